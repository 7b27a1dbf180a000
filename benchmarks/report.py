"""Tables and plots of what bench.py measured.

python report.py [build/bench/bench.json]      writes bench.md and the plots beside the file
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from contestants import CONTESTANTS
from payloads import PAYLOADS

COLUMNS = (
    "push s",
    "pull s",
    "both s",
    "MB stored",
    "push MB above",
    "pull MB above",
    "× best peer",
    "× limit",
)


def median(results: Iterable[dict[str, Any]], field: str) -> float | None:
    """The median of a field over all rounds; None when nobody measured it."""
    found = [result[field] for result in results if result.get(field) is not None]
    return statistics.median(found) if found else None


def of(results: list[dict[str, Any]], payload: str, contestant: str) -> list[dict[str, Any]]:
    """The rounds of one contestant with one payload."""
    return [r for r in results if r["payload"] == payload and r["contestant"] == contestant]


def total(results: list[dict[str, Any]]) -> float | None:
    """Median seconds of push plus pull."""
    sums = [r["push"] + r["pull"] for r in results if "push" in r]
    return statistics.median(sums) if sums else None


def limit_of(results: list[dict[str, Any]], payload: str, server: str) -> float | None:
    """Seconds of encoding, moving the encoded bytes there and back with the bare client, and decoding."""
    rounds = of(results, payload, "limit")
    moving = {"moto": ("obstore_put", "obstore_get"), "valkey": ("redis_set", "redis_get")}.get(server)
    fields = ("encode", "decode", *(moving or ()))
    parts = [median(rounds, field) for field in fields]
    return None if moving is None or any(part is None for part in parts) else sum(part or 0 for part in parts)


def table(results: list[dict[str, Any]], payload: str) -> str:
    """One payload as a Markdown table."""
    peers = [
        seconds
        for contestant in CONTESTANTS
        if not contestant.ours and contestant.server == "moto"
        if (seconds := total(of(results, payload, contestant.name))) is not None
    ]
    lines = [
        f"### {payload}: {(PAYLOADS[payload].__doc__ or payload).splitlines()[0]}",
        "",
        "| | " + " | ".join(COLUMNS) + " |",
        "|---|" + "---:|" * len(COLUMNS),
    ]
    for contestant in CONTESTANTS:
        rounds = of(results, payload, contestant.name)
        refused = next((r["refused"] for r in rounds if "refused" in r), None)
        if refused or not rounds:
            lines.append(f"| {contestant.name} | cannot take it: {refused} |" + " |" * (len(COLUMNS) - 1))
            continue
        both = total(rounds) or 0.0
        limit = limit_of(results, payload, contestant.server) if contestant.ours else None
        peer = min(peers) if peers and contestant.ours else None
        cells = (
            _number(median(rounds, "push"), 3),
            _number(median(rounds, "pull"), 3),
            _number(both, 3),
            _number((median(rounds, "stored") or 0) / 1e6, 2),
            _number((median(rounds, "push_peak") or 0) / 1e6, 0),
            _number((median(rounds, "pull_peak") or 0) / 1e6, 0),
            _number(peer / both if peer and both else None, 1),
            _number(both / limit if limit else None, 2),
        )
        lines.append(f"| {contestant.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def main(path: Path) -> None:
    """Write bench.md beside the results."""
    whole = json.loads(path.read_text())
    results = whole["transfers"]
    payloads = list(dict.fromkeys(result["payload"] for result in results))
    text = "\n".join(table(results, payload) for payload in payloads)
    path.with_name("bench.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("build/bench/bench.json"))
