"""The part of README.md that shows what bench.py measured."""

from __future__ import annotations

import statistics
from typing import Any

import report
from contestants import CONTESTANTS, ENCRYPTED, IN_ROWS, WITH, WITHOUT, named
from figures import (
    Results,
    best_peer,
    grid,
    median,
    number,
    of,
    peak,
    runs_of,
    seconds_of,
    steadiness,
    sums,
)

BEGIN, END = "<!-- benchmarks: written by `make bench-readme` -->", "<!-- benchmarks: end -->"
ROWS = (
    ("pandas mixed", "pandas, 1,000,000 × 10 mixed columns"),
    ("polars mixed", "polars, 1,000,000 × 10 mixed columns"),
    ("pandas random", "pandas, 1,000,000 × 10 random floats"),
    ("pandas small", "pandas, 10,000 × 10 mixed columns"),
    ("json records", "300,000 JSON log records"),
    ("numpy", "numpy, float64, 1000 × 4000"),
    ("image", "image, 4000 × 3000"),
    ("bytes", "64 MiB of random bytes"),
    ("file", "a file of 256 MiB"),
    ("small dict", "a dict of 200 bytes"),
    ("mapped", "1,000 mapped values of 200 bytes"),
)
ABOUT = dict(ROWS) | {"mapped@10": "10 mapped values of 200 bytes"}
RUNS = {"json records": "300,000 JSON log records", "polars mixed@480000": "polars frame of 38 MB"}
SMALL = {IN_ROWS: "with `s3`", "Airflow default": "with Airflow's own"}
DAGSTER = "Dagster S3 pickle"


def section(whole: dict[str, Any]) -> str:
    """The figures for README.md."""
    results: Results = whole["transfers"]
    on = whole["machine"]
    text = (
        f"Measured on {on['cores']} cores of {on['processor']}, {on['memory_gib']} GiB, {on['system']},\n"
        f"Python {on['python']}; medians of up to {whole['rounds']} rounds in turn, each in\n"
        "a process of its own, ± half of what lies between the fastest and the slowest.\n"
        f"{steadiness(whole)}\n"
        "`s3` and the peers talk to the same SeaweedFS, `redis` to Valkey, all on one machine.\n"
        "Of Airflow's object storage the faster of no compression and zstd is shown (gzip never is), or the\n"
        "error with which it refuses a value. `redis` has a higher limit here than 256 MiB, its default.\n"
    )
    parts = [text, _transfers(results), "![Seconds of push and pull](docs/bench-seconds.png)\n"]
    if whole.get("scaling"):
        parts.append("![Time and memory against size](docs/bench-scaling.png)\n")
    parts += [_options(results), _runs(whole), _scheduled(whole), _far(whole), _formats(whole)]
    return "\n".join(part for part in parts if part)


def _transfers(results: Results) -> str:
    rows = []
    for payload, about in ROWS:
        ours = of(results, payload, "ours, s3")
        if not ours:
            continue
        peer = best_peer(results, payload)
        theirs = of(results, payload, peer.name) if peer else []
        stored = [number((median(of_, "stored") or 0) / 1e6, 1) if of_ else "" for of_ in (ours, theirs)]
        memory = [number((peak(of_) or 0) / 1e6, 0) if of_ else "" for of_ in (ours, theirs)]
        rows.append(
            [
                about,
                seconds_of(sums(ours)),
                _shown(results, payload, "ours, redis"),
                seconds_of(sums(theirs)) or _refused(results, payload),
                _shown(results, payload, DAGSTER) if named(DAGSTER).takes_part(payload) else "–",
                f"{stored[0]} / {stored[1] or '–'}",
                f"{memory[0]} / {memory[1] or '–'}",
            ]
        )
    head = ["push + pull", "`s3`", "`redis`", "Airflow's object storage", "Dagster, S3 pickle"]
    return grid([*head, "MB stored, `s3` / Airflow's", "peak MB, `s3` / Airflow's"], rows)


def _shown(results: Results, payload: str, name: str) -> str:
    rounds = of(results, payload, name)
    refused = next((report.short(r["refused"]) for r in rounds if "refused" in r), "")
    return seconds_of(sums(rounds)) or refused or "–"


def _refused(results: Results, payload: str) -> str:
    """The error of Airflow's object storage."""
    names = [c.name for c in CONTESTANTS if c.name.startswith("Airflow object storage")]
    found = [r["refused"] for name in names for r in of(results, payload, name) if "refused" in r]
    return report.short(found[0]) if found else "–"


def _options(results: Results) -> str:
    """What previews, the search for secrets and encryption cost."""
    rows = []
    for payload, about in ROWS:
        found = [of(results, payload, name) for name in (WITHOUT, "ours, s3", WITH, ENCRYPTED)]
        if all(rounds and "refused" not in rounds[0] for rounds in found):
            pulls = [found[1], found[3]]
            cells = [seconds_of([each["push"] for each in rounds]) for rounds in found]
            rows.append([about, *cells, *(seconds_of([each["pull"] for each in one]) for one in pulls)])
    head = [
        "`s3`",
        "push, no preview",
        "push as it comes: preview of the shape",
        "push, full preview, 20 secrets",
    ]
    return grid([*head, "push, encrypted", "pull", "pull, encrypted"], rows) if rows else ""


def _runs(whole: dict[str, Any]) -> str:
    """Whole DAG runs."""
    columns = [("ours, s3", way) for way in ("without", "lazy, not loaded", "lazy", "value")]
    columns.append(("Airflow object storage", "value"))
    rows = [
        [
            name,
            *(
                seconds_of(runs_of(whole, payload, *column)) or _run_refused(whole, payload)
                for column in columns
            ),
        ]
        for payload, name in RUNS.items()
        if runs_of(whole, payload, *columns[0])
    ]
    if not rows:
        return ""
    head = ["`dag.test()` of producer and consumer", "nothing handed over", "`lazy`, not loaded"]
    text = grid([*head, "`lazy`, loaded", "plain value", "Airflow's object storage"], rows)
    expand = runs_of(whole, "texts", "ours, s3", "expand")
    without = runs_of(whole, "texts", "ours, s3", "expand, without")
    if expand and without:
        more = (statistics.median(expand) - statistics.median(without)) / 50 * 1000
        text += (
            "\n`expand(x=upstream())` over a list of 50 texts of 100 kB, all of it in "
            f"{seconds_of(expand)}: {more:.1f} ms for\neach mapped task more than over 50 numbers.\n"
        )
    return text


def _run_refused(whole: dict[str, Any], payload: str) -> str:
    found = [r["refused"] for r in whole["end_to_end"] if r["payload"] == payload and "refused" in r]
    return report.short(found[0]) if found else "–"


def _scheduled(whole: dict[str, Any]) -> str:
    """What consumers wait for under the real scheduler."""
    found = [r for r in whole.get("scheduled", []) if "seconds" in r]
    rows = []
    for payload, about in RUNS.items():
        of_payload = [r for r in found if r["payload"] == payload]
        if not of_payload:
            continue
        ways = {way: [r for r in of_payload if r["way"] == way] for way in ("without", "lazy", "value")}
        value, memory = report.memory_of(of_payload, ways["value"] or of_payload)
        rows.append([about, *(seconds_of([r["seconds"] for r in ways[way]]) for way in ways), value, memory])
    head = [
        "LocalExecutor, from the consumer's start until it has it",
        "nothing handed over",
        "`lazy`, loaded",
    ]
    text = grid([*head, "plain value", "MB of the value", "MB of the consumer for it"], rows) if rows else ""
    small = {name: [r for r in found if (r["contestant"], r["payload"]) == (name, "small")] for name in SMALL}
    if all(small.values()):
        said = [f"{seconds_of([r['seconds'] for r in small[name]])} {SMALL[name]}" for name in SMALL]
        text += f"\n{small[IN_ROWS][0]['way']} small tasks that hand over a dict: {', '.join(said)}.\n"
    return text


def _far(whole: dict[str, Any]) -> str:
    """Slower networks, and the round trips that show there."""
    found = whole.get("far", [])
    if not found:
        return ""
    rows = []
    for payload in dict.fromkeys(r["payload"] for r in found):
        for network in dict.fromkeys(r["network"] for r in found):
            there = [r for r in found if r["network"] == network]
            peer = best_peer(there, payload)
            rows.append(
                [
                    f"{ABOUT[payload]}, {network}",
                    _shown(there, payload, "ours, s3"),
                    _shown(there, payload, "ours, redis"),
                    seconds_of(sums(of(there, payload, peer.name))) if peer else _refused(there, payload),
                ]
            )
    head = ["push + pull over 1 Gbit/s, round trip", "`s3`", "`redis`", "Airflow's object storage"]
    counted = {
        r["contestant"]: r for r in whole.get("trips", []) if r["payload"] == "small dict" and "push" in r
    }
    names = {
        "ours, s3": "`s3`",
        "ours, redis": "`redis`",
        "Airflow object storage": "Airflow's object storage",
    }
    said = [f"{names[n]} {counted[n]['push']} and {counted[n]['pull']}" for n in names if n in counted]
    trips = (
        f"\nRequests for which a push and a pull of a small dict wait: {', '.join(said)}.\n" if said else ""
    )
    return grid(head, rows) + trips


def _formats(whole: dict[str, Any]) -> str:
    """Formats of frames beside each other."""
    found = whole.get("formats", [])
    if not found or any("refused" in each for each in found):
        return ""
    contestants = {"arrow": "ours, s3", "packed": "ours, s3, packed", "parquet": "ours, s3, parquet"}
    rows = []
    for each in found:
        rounds = of(whole["transfers"], "pandas mixed", contestants[each["format"]])
        seen = [f"{each[tool]['types']}" for tool in ("pandas", "polars", "duckdb")]
        rows.append(
            [
                f"`{each['format']}` ({each['suffix']})",
                seconds_of([r["push"] for r in rounds if "push" in r]),
                seconds_of([r["pull"] for r in rounds if "pull" in r]),
                number(each["stored"] / 1e6, 1),
                *seen,
            ]
        )
    head = ["the first frame as", "push", "pull", "MB", "pandas sees", "polars sees", "duckdb sees"]
    return grid(head, rows)
