"""Says what `make test-all` has tried: for each Airflow and backend how many tests, pipelines, drills passed.

pytest leaves a report of each suite in build/tested/<version of Airflow>. A suite that has left none did not
come to its end, which counts as a failure.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Table

TESTED = Path(__file__).resolve().parents[1] / "build" / "tested"
SUITES = ("engine", "template")
KINDS = ("tests", "pipelines", "zombies")
BACKENDS = ("db", "s3", "redis", "all")  # the last is for what is not about one of them
# tests/engine/redis/…, tests/test_s3_…, TestRedis, fixtures and parameters that are called after a backend
BACKEND = re.compile(r"(?:^|[.\[_-]|(?<=\.)Test)(db|s3|redis)(?=[]._ -]|$)", re.IGNORECASE)

Counts = defaultdict[tuple[str, str], Counter[str]]


def read(report: Path) -> Iterator[tuple[tuple[str, str], str]]:
    """Of each test the backend and kind, and what came of it."""
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        backend = BACKEND.search(name)
        kind = "pipelines" if re.search(r"test_make_run_runs|pipelines_hand_over", name) else "tests"
        if ".zombie." in name:
            kind = "zombies"
        failed = any(case.find(tag) is not None for tag in ("failure", "error"))
        outcome = "failed" if failed else "skipped" if case.find("skipped") is not None else "passed"
        yield (backend[1].lower() if backend else "all", kind), outcome


def shown(counts: Counter[str]) -> str:
    """A cell: "1,234", or "60, 5 skipped"."""
    more = [f"{counts[outcome]:,} {outcome}" for outcome in ("skipped", "failed") if counts[outcome]]
    return ", ".join([f"{counts['passed']:,}", *more]) if counts else ""


def main() -> int:
    """Print the table. 1 if something has failed, or is missing."""
    console, found = Console(), sorted(TESTED.iterdir()) if TESTED.is_dir() else []
    table = Table("Airflow", "backend", *KINDS, "seconds")
    wrong = [] if len(found) == 2 else [f"reports of {len(found)} versions of Airflow instead of 2"]
    for folder in found:
        counts: Counts = defaultdict(Counter)
        seconds = 0.0
        for suite in SUITES:
            report = folder / f"{suite}.xml"
            if not report.is_file():
                wrong.append(f"Airflow {folder.name}: {suite} did not come to its end")
                continue
            seconds += sum(float(one.get("time", 0)) for one in ElementTree.parse(report).iter("testsuite"))
            for place, outcome in read(report):
                counts[place][outcome] += 1
        for number, backend in enumerate(BACKENDS):
            cells = [shown(counts[backend, kind]) for kind in KINDS]
            first, last = ("", "") if number else (folder.name, f"{seconds:,.0f}")
            table.add_row(first, backend, *cells, last, end_section=backend == BACKENDS[-1])
        if failed := sum(one["failed"] for one in counts.values()):
            wrong.append(f"Airflow {folder.name}: {failed:,} failed")
    console.print(table, *wrong, sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
