"""`xcom ls`: which XComs there are, run by run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import Side, table
from ..handle import human_size
from . import choosing
from .telling import age, amount, at_work, cell, console, tell_json

if TYPE_CHECKING:
    from .rows import Entry, Run

_COLUMNS: dict[str, Side] = {"task": "left", "kind": "left", "size": "right", "age": "right"}
_COLUMNS |= {"left": "right", "in": "left"}


def ls(
    context: typer.Context,
    dag: choosing.Dag = None,
    run: choosing.Run = None,
    task: choosing.Task = None,
    key: choosing.Key = None,
    older: choosing.Older = None,
    newer: choosing.Newer = None,
    larger: choosing.Larger = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 50,
    largest: Annotated[bool, typer.Option("--largest", help="The largest first, of all.")] = False,
    where: Annotated[bool, typer.Option("--where", help="With whole addresses of payloads.")] = False,
    as_json: choosing.AsJson = False,
) -> None:
    """List XComs: kind, size, age, where they are kept. The newest runs first.

    xcom ls orders                              those of a DAG

    xcom ls orders --run latest --where         of its latest run, with addresses

    xcom ls 'etl_*' --task load --larger 10MB   of several DAGs

    xcom ls --largest --limit 5 --json          for programs
    """
    chosen = choosing.Selection.of(dag, run, task, key, older, newer, larger)
    found: list[tuple[Run, list[Entry]]] = []
    number, cut = 0, False
    with at_work(context, "Looking", store=False) as status:
        from .rows import current_rows, now

        for of_run, entries in current_rows().chosen(chosen):
            if limit and not largest and number + len(entries) > limit:
                entries, cut = entries[: limit - number], True
            if entries:
                found.append((of_run, entries))
            number += len(entries)
            status.update(f"{number:,} XComs found …")
            if cut:
                break
        if largest:
            every = sorted(((r, e) for r, es in found for e in es), key=lambda pair: -pair[1].length)
            cut = 0 < limit < len(every)
            found = [(of_run, [entry]) for of_run, entry in (every[:limit] if limit else every)]
        time = now()
    listed = [entry for _, entries in found for entry in entries]
    if as_json:
        tell_json({"xcoms": [entry.told() for entry in listed], "all": not cut})
        return
    out = console()
    if largest and listed:
        _tell_entries(out, listed, time, [of_run for of_run, _ in found])
        out.print()
    for of_run, entries in [] if largest else found:
        out.print(_title(of_run, time), soft_wrap=True)
        _tell_entries(out, entries, time)
        if where:
            _tell_where(out, entries)
        out.print()
    total = amount(len(listed), sum(entry.length for entry in listed))
    more = "  There are more: `--limit`, or say which." if cut else ""
    out.print(f"{total}.{more}" if listed else "There is no such XCom.", soft_wrap=True)


def _title(run: Run, time: Any) -> str:
    colour = {"success": "green", "failed": "red"}.get(run.state, "yellow")
    ago = f", {age(run.began, time)} ago" if run.began else ""
    return f"[bold]{cell(run.dag_id)}[/]  {cell(run.run_id)}  [{colour}]{cell(run.state)}[/][dim]{ago}[/]"


def _tell_entries(out: Any, entries: list[Entry], time: Any, runs: list[Run] | None = None) -> None:
    """A table of XComs, whose runs are named if they are given; in a narrow window two lines for each."""
    named = [_name(entry, runs[at] if runs else None) for at, entry in enumerate(entries)]
    rows = [[name, *_cells(entry, time)] for name, entry in zip(named, entries, strict=True)]
    columns = dict(_COLUMNS)
    if not any(row[4] for row in rows):
        del columns["left"]
        rows = [[*row[:4], row[5]] for row in rows]
    if made := table(out, columns, rows, ["kind"]):
        out.print(made)
        return
    for name, kind, size, old, *left, place in rows:
        kept = f", {left[0]} left" if left and left[0] and left[0] != "over" else ""
        out.print(f"{name}  [dim]{size}, {old} old, in {place}{kept}[/]", soft_wrap=True)
        out.print(f"  {kind}", soft_wrap=True)


def _name(entry: Entry, run: Run | None) -> str:
    """Task and key; the usual key is left out."""
    of = entry.address
    task = of.task_id if of.map_index < 0 else f"{of.task_id}[{of.map_index}]"
    task += f", turn {of.turn + 1}" if of.turn >= 0 else ""
    name = cell(task) + (f" [cyan]{cell(of.key)}[/]" if of.key != "return_value" else "")
    return f"{cell(run.dag_id)}  {cell(run.run_id)}  {name}" if run else name


def _cells(entry: Entry, time: Any) -> list[str]:
    kind = cell(entry.kind, "red" if entry.why_not else "")
    if entry.summary:
        kind += f"[dim], {cell(entry.summary)}[/]"
    left = ""
    if entry.ref and entry.ref.expires and entry.ref.expires.run:
        left = "run"
    if entry.expires and (left != "run" or entry.expires < time):
        left = "[yellow]over[/]" if entry.expires < time else age(time, entry.expires)
    place = cell(entry.where.partition(":")[0])
    return [kind, human_size(entry.length), age(entry.written, time), left, place]


def _tell_where(out: Any, entries: list[Entry]) -> None:
    """An address is never broken: it can be copied."""
    for entry in entries:
        if entry.where != "row":
            out.print(cell(entry.where, "dim"), soft_wrap=True)
