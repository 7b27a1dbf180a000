"""Arithmetic over what bench.py measured, and how a figure is written."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from contestants import CONTESTANTS, Contestant, named

Results = list[dict[str, Any]]
MOVING = {
    "s3": ("obstore_put", "obstore_get"),
    "valkey": ("redis_set", "redis_get"),
    "file": ("folder_put", "folder_get"),
}
WIDE = 0.2  # a spread above it is a wide one
FEW_WIDE = 0.25  # share of wide ones that a run may have
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
    "file": 268.4,
    "three frames": 60,
}


def median(results: Iterable[dict[str, Any]], field: str) -> float | None:
    """The median of a field over all rounds; None when nobody measured it."""
    found = [result[field] for result in results if result.get(field) is not None]
    return statistics.median(found) if found else None


def of(results: Results, payload: str, contestant: str) -> Results:
    """The rounds of one contestant with one payload."""
    return [r for r in results if r["payload"] == payload and r["contestant"] == contestant]


def sums(results: Results) -> list[float]:
    """Seconds of push plus pull in each round."""
    return [r["push"] + r["pull"] for r in results if "push" in r]


def total(results: Results) -> float | None:
    """Median seconds of push plus pull."""
    found = sums(results)
    return statistics.median(found) if found else None


def spread(values: list[float]) -> float | None:
    """How far the values lie from their median, as a share of it: half of what lies between the smallest and
    the largest. None for fewer than two."""
    if len(values) < 2:
        return None
    return (max(values) - min(values)) / 2 / statistics.median(values)


def steadiness(whole: dict[str, Any]) -> str:
    """A sentence on the spread of the whole run: of push plus pull of each contestant with each payload."""
    results: Results = whole.get("transfers", [])
    spreads = [spread(sums(of(results, *pair))) for pair in kinds(results, "payload", "contestant")]
    known = [each for each in spreads if each is not None]
    if not known:
        return "One round of each: no spread is known, and none of these figures is worth much by itself."
    wide = sum(each > WIDE for each in known)
    text = f"{wide} of {len(known)} figures have a spread of more than ± {WIDE:.0%}"
    if wide > len(known) * FEW_WIDE:
        return f"**The spread is wide: {text}. The machine had something else to do. Measure again.**"
    return f"{text}; the median spread is ± {statistics.median(known):.0%}."


def peak(results: Results) -> float | None:
    """The larger of the median peaks of push and pull, in bytes."""
    peaks = [p for field in ("push_peak", "pull_peak") if (p := median(results, field)) is not None]
    return max(peaks) if peaks else None


def best_peer(results: Results, payload: str, server: str = "s3") -> Contestant | None:
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


def runs_of(whole: dict[str, Any], payload: str, contestant: str, way: str) -> list[float]:
    """Seconds of each DAG run."""
    wanted = (payload, contestant, way)
    runs = [r for r in whole.get("end_to_end", []) if (r["payload"], r["contestant"], r["way"]) == wanted]
    return [second for run in runs for second in run.get("seconds", [])]


def run_seconds(whole: dict[str, Any], payload: str, contestant: str, way: str) -> float | None:
    """Median seconds of a DAG run."""
    found = runs_of(whole, payload, contestant, way)
    return statistics.median(found) if found else None


def kinds(results: Results, *fields: str) -> list[tuple[Any, ...]]:
    """The different values of some fields, in the order in which they came."""
    return list(dict.fromkeys(tuple(r[field] for field in fields) for r in results))


def seconds_of(values: list[float]) -> str:
    """The median of some seconds with its spread, in one unit: "0.44 ± 0.02 s", "5.8 ± 0.3 ms"."""
    if not values:
        return ""
    middle, about = statistics.median(values), spread(values)
    factor, unit = (1, "s") if middle >= 0.1 else (1000, "ms")
    digits = 2 if middle * factor < 10 else 1
    text = f"{middle * factor:.{digits}f}"
    return f"{text} ± {about * middle * factor:.{digits}f} {unit}" if about is not None else f"{text} {unit}"


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
