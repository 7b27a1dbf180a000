"""`xcom stats`: how much there is by DAG and by day, what is largest, what goes soon, what has no row."""

from __future__ import annotations

import heapq
from collections import defaultdict
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console

from ..console import Side, clean
from ..handle import human_size
from . import choosing
from .gc_command import MANIFEST
from .telling import age, amount, at_work, cell, console, length_of, tell_json, tell_table

if TYPE_CHECKING:
    from .rows import Entry

_LARGEST = 5


class Totals:
    """What was counted: numbers of XComs and bytes, by name."""

    def __init__(self) -> None:
        self.by_dag: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        self.by_day: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        self.by_place: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        self.all, self.soon, self.over = [0, 0], [0, 0], [0, 0]
        self._largest: list[tuple[int, int, Entry]] = []
        self._number = count()

    def add(self, entry: Entry, time: Any, soon: float) -> None:
        """One more. Soon are so many seconds."""
        day = f"{entry.written:%Y-%m-%d}"
        place = entry.where.partition(":")[0]
        found = [self.all, self.by_dag[entry.address.dag_id], self.by_day[day], self.by_place[place]]
        if entry.expires and entry.expires <= time:
            found.append(self.over)
        elif entry.expires and (entry.expires - time).total_seconds() <= soon:  # a sum may be past year 9999
            found.append(self.soon)
        for each in found:
            each[0] += 1
            each[1] += entry.length
        heapq.heappush(self._largest, (entry.length, next(self._number), entry))
        if len(self._largest) > _LARGEST:
            heapq.heappop(self._largest)

    @property
    def largest(self) -> list[Entry]:
        """The largest ones, the largest first."""
        return [entry for _, _, entry in sorted(self._largest, reverse=True)]


def stats(
    context: typer.Context,
    dag: choosing.Dag = None,
    run: choosing.Run = None,
    older: choosing.Older = None,
    newer: choosing.Newer = None,
    days: Annotated[int, typer.Option(min=1, help="So many of the last days with XComs.")] = 14,
    soon: Annotated[str, typer.Option(metavar="TIME", help="What expires within it is told.")] = "7d",
    manifest: Annotated[
        str, typer.Option("--manifest", metavar="FILE", help="The last list of `xcom gc`.")
    ] = MANIFEST,
    as_json: choosing.AsJson = False,
) -> None:
    """Count XComs and their bytes: by DAG, by day, the largest, those that expire soon.

    xcom stats                       everything that Airflow has rows for

    xcom stats --newer 30d           of the last month

    xcom stats --json                for a dashboard

    What no row refers to is told as the last `xcom gc` found it.
    """
    chosen, within = choosing.Selection.of(dag, run, None, None, older, newer), choosing.seconds(soon)
    file, totals = context.meta["folder"] / manifest, Totals()
    with at_work(context, "Counting", store=False) as status:
        from .rows import current_rows, now

        time = now()
        for _, entries in current_rows().chosen(chosen):
            for entry in entries:
                totals.add(entry, time, within)
            status.update(f"{totals.all[0]:,} XComs counted …")
        orphans = _orphans(file)
    if as_json:
        tell_json(_as_json(totals, orphans, within))
        return
    _tell(console(), totals, orphans, days, within, time)


def _orphans(file: Path) -> dict[str, Any] | None:
    """What a list of `xcom gc` says of payloads that no row refers to; None without a complete one. Raises
    `Refused` for a file that is none, or while a collection is at work with it."""
    if not file.is_file():
        return None
    from datetime import UTC, datetime

    from .manifest import Manifest

    with Manifest(file) as listed:
        if not listed.ended:
            return None
        found, done = listed.tally.garbage, listed.done.garbage
        looked = float(listed.head["cut"]) + float(listed.head["grace"])
        return {
            "payloads": found.payloads - done.payloads,
            "bytes": found.bytes - done.bytes,
            "looked": datetime.fromtimestamp(looked, UTC).isoformat(),
        }


def _as_json(totals: Totals, orphans: dict[str, Any] | None, within: float) -> dict[str, Any]:
    def named(counts: list[int]) -> dict[str, int]:
        return {"xcoms": counts[0], "bytes": counts[1]}

    told: dict[str, Any] = named(totals.all)
    for name, found in (("dags", totals.by_dag), ("days", totals.by_day), ("places", totals.by_place)):
        told[name] = {each: named(counts) for each, counts in sorted(found.items())}
    told["largest"] = [entry.told() for entry in totals.largest]
    told["expired"] = named(totals.over)
    told["expiring"] = {**named(totals.soon), "within_seconds": within}
    return {**told, "orphans": orphans}


def _tell(
    out: Console, totals: Totals, orphans: dict[str, Any] | None, days: int, within: float, time: Any
) -> None:
    if totals.all[0]:
        by_size = sorted(totals.by_dag.items(), key=lambda pair: -pair[1][1])
        by_day, by_place = sorted(totals.by_day.items())[-days:], sorted(totals.by_place.items())
        width = max(cell_len(clean(name)) for name, _ in [*by_size, *by_day, *by_place])
        for title, counts in (("DAG", by_size), ("day (UTC)", by_day), ("kept in", by_place)):
            _tell_counts(out, title, counts, width)
        columns: dict[str, Side] = {"largest": "left", "run": "left", "size": "right", "age": "right"}
        tell_table(out, columns, [_cells(entry, time) for entry in totals.largest])
        out.print()
    out.print(f"In all: {amount(totals.all[0], totals.all[1])}.")
    if totals.soon[0]:
        out.print(f"Expiring within {length_of(within)}: {amount(totals.soon[0], totals.soon[1])}.")
    if totals.over[0]:
        out.print(f"Expired, with their rows still there: {amount(totals.over[0], totals.over[1])}.")
    if orphans:
        found = amount(orphans["payloads"], orphans["bytes"], "payload")
        out.print(f"Without a row: {found}, as `xcom gc` found on {orphans['looked'][:10]}.")


def _cells(entry: Entry, time: Any) -> list[str]:
    of = entry.address
    key = f" [cyan]{cell(of.key)}[/]" if of.key != "return_value" else ""
    index = f"[{of.map_index}]" if of.map_index >= 0 else ""
    name = cell(f"{of.dag_id}.{of.task_id}{index}") + key
    return [name, cell(of.run_id, "dim"), human_size(entry.length), age(entry.written, time)]


def _tell_counts(out: Console, title: str, counts: list[tuple[str, list[int]]], width: int) -> None:
    """Names, in a column of a width, with their counts, and a bar for each."""
    most = max(each[1] for _, each in counts) or 1
    columns: dict[str, Side] = {title.ljust(width): "left", "XComs": "right", "size": "right", "": "left"}
    rows = []
    for name, (number, length) in counts:
        bar = "█" * max(round(20 * length / most), 1 if length else 0)
        rows.append([cell(name), f"{number:,}", human_size(length).rjust(8), f"[blue]{bar}[/]"])
    tell_table(out, columns, rows)
    out.print()
