"""Tables of what bench.py measured."""

from __future__ import annotations

from typing import Any

from contestants import CONTESTANTS, named
from figures import (
    MEGABYTES,
    Results,
    grid,
    kinds,
    limit_of,
    median,
    number,
    of,
    ratio,
    run_seconds,
    runs_of,
    seconds_of,
    sums,
    total,
)
from payloads import PAYLOADS, split

COLUMNS = (
    "push s",
    "pull s",
    "both",
    "MB/s",
    "MB stored",
    "push peak MB",
    "pull peak MB",
    "× best peer",
    "÷ limit",
)


def table(results: Results, payload: str) -> str:
    """One payload as a Markdown table."""
    name, size = split(payload)
    about = (PAYLOADS[name].__doc__ or name).splitlines()[0]
    rows = []
    peers = [total(of(results, payload, c.name)) for c in CONTESTANTS if not c.ours and c.server == "s3"]
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
                seconds_of(sums(rounds)),
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
    """Round trips, counted on the way to the server."""
    rows = [
        [r["payload"], r["contestant"], str(r.get("push", r.get("refused", ""))), str(r.get("pull", ""))]
        for r in whole.get("trips", [])
    ]
    return "### Requests for which somebody waits\n\n" + grid(["payload", "", "push", "pull"], rows)


def far_table(whole: dict[str, Any]) -> str:
    """The same on slower networks."""
    found = whole.get("far", [])
    names = [network for (network,) in kinds(found, "network")]
    rows = []
    for payload, contestant in kinds(
        [r for r in found if r["contestant"] != "limit"], "payload", "contestant"
    ):
        row = [payload, contestant]
        for network in names:
            there = [r for r in found if r["network"] == network]
            rounds = of(there, payload, contestant)
            limit = limit_of(there, payload, named(contestant).server) if named(contestant).ours else None
            refused = next((r["refused"] for r in rounds if "refused" in r), "")
            row += [short(refused) or seconds_of(sums(rounds)), number(ratio(total(rounds), limit))]
        rows.append(row)
    head = ["payload", "", *(column for name in names for column in (f"{name}, push + pull", "÷ limit"))]
    return "### Further away: round trips of 5 and 30 ms, 1 Gbit/s\n\n" + grid(head, rows)


def server_table(whole: dict[str, Any]) -> str:
    """What the S3 server itself takes of all that."""
    limits = [r for r in whole["transfers"] if r["contestant"] == "limit" and "server_put" in r]
    rows = [
        [
            payload,
            *(
                seconds_of([r[f"{who}_{way}"] for r in of(limits, payload, "limit")])
                for way in ("put", "get")
                for who in ("server", "obstore", "boto3")
            ),
        ]
        for (payload,) in kinds(limits, "payload")
    ]
    head = ["the bytes of", "put: server", "obstore", "boto3", "get: server", "obstore", "boto3"]
    about = "SeaweedFS, asked by a client that does nothing: requests signed before, bytes not looked at."
    return f"### What the S3 server itself takes\n\n{about}\n\n" + grid(head, rows)


def formats_table(whole: dict[str, Any]) -> str:
    """What other tools see in the object of a pandas frame."""
    tools = ("pandas", "polars", "duckdb")
    rows = []
    for found in whole.get("formats", []):
        if "refused" in found:
            rows.append([found["format"], short(found["refused"]), *[""] * len(tools)])
            continue
        seen = [f"{found[tool]['types']} ({seconds_of([found[tool]['seconds']])})" for tool in tools]
        rows.append([f"{found['format']} ({found['suffix']})", number(found["stored"] / 1e6, 1), *seen])
    head = ["", "MB", *(f"{tool} sees, after" for tool in tools)]
    return "### What other tools see in the object of pandas mixed\n\n" + grid(head, rows)


def short(refused: str) -> str:
    """The kind of error alone."""
    return refused.partition(":")[0]


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
        base = run_seconds(whole, payload, contestant, "expand, without" if payload == "texts" else "without")
        shown = seconds_of(runs_of(whole, payload, contestant, way)) or short(
            next(
                r.get("refused", "")
                for r in whole["end_to_end"]
                if (r["payload"], r["contestant"], r["way"]) == (payload, contestant, way)
            )
        )
        rows.append([payload, contestant, way, shown, number(ratio(seconds, base))])
    head = ["payload", "", "way", "", "÷ without"]
    return "### Whole DAG runs, `dag.test()` from a DagBag\n\n" + grid(head, rows)


def scheduled_table(whole: dict[str, Any]) -> str:
    """What consumers wait for under the real scheduler."""
    rows = []
    found = whole.get("scheduled", [])
    for payload, contestant, way in kinds(found, "payload", "contestant", "way"):
        rounds = [r for r in found if (r["payload"], r["contestant"], r["way"]) == (payload, contestant, way)]
        refused = next((r["refused"] for r in rounds if "refused" in r), "")
        shown = refused or seconds_of([r["seconds"] for r in rounds])
        rows.append([payload, contestant, way, shown, *memory_of(found, rounds)])
    head = ["payload", "", "way", "", "MB of the value", "MB of the consumer, more than without"]
    about = (
        "Seconds from a consumer's start until it has the value (`small`: of so many tasks);\n"
        "the consumer's memory at its largest until then."
    )
    return f"### Under the real scheduler, LocalExecutor\n\n{about}\n\n" + grid(head, rows)


def memory_of(found: list[dict[str, Any]], rounds: list[dict[str, Any]]) -> tuple[str, str]:
    """Megabytes of a value, and of the process that got it, at its largest."""
    first = rounds[0]
    without = [r for r in found if (r["payload"], r["way"]) == (first["payload"], "without")]
    base, largest, value = (
        median(without, "peak_kib"),
        median(rounds, "peak_kib"),
        median(without, "value_kib"),
    )
    if base is None or largest is None or value is None:
        return "", ""
    return number(value * 1024 / 1e6, 0), number((largest - base) * 1024 / 1e6, 0)


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
