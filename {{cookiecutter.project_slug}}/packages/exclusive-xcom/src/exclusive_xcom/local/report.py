"""What `xcom run` prints: progress line by line, errors, and the table of XComs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os.path import commonprefix
from statistics import median

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from ..console import SIGNS, Side, clean, table
from ..handle import human_size
from ..transfer import Transfer
from .pipelines import Chosen, listed
from .runner import Event, PipelineEnd, TaskBegin, TaskEnd

RIGHT = ("size", "push", "pull")
COLUMNS: dict[str, Side] = {
    title: "right" if title in RIGHT else "left"
    for title in ("pipeline", "task", "key", "kind", "size", "kept in", "push", "pull")
}
_BELOW: dict[str, Side] = {title: COLUMNS[title] for title in COLUMNS if title not in ("pipeline", "key")}
_RETURNED = "return_value"


@dataclass
class Xcom:
    """What became of one task's key: the last push of each map index, and the pulls of all consumers."""

    dag_id: str
    task_id: str
    key: str
    pushes: dict[int, Transfer] = field(default_factory=dict)
    pulls: list[Transfer] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        """Task, key, kind, size, place, push and pull; of several map indexes also their number."""
        pushes = list(self.pushes.values())
        first, size = pushes[0], human_size(sum(push.length for push in pushes))
        task, kind = self.task_id, first.what
        if len(pushes) > 1:
            task = f"{task} ×{len(pushes)}"
            if any(push.what != kind for push in pushes):
                kind = ", ".join(dict.fromkeys(push.kind for push in pushes))
        return task, self.key, kind, size, first.where, _time(pushes), _time(self.pulls)


def gather(transfers: Iterable[Transfer]) -> list[Xcom]:
    """Put pushes and pulls of the same key together, pipeline by pipeline in the order of the pushes."""
    found: dict[tuple[str, str, str], Xcom] = {}
    for event in transfers:
        address = event.address
        name = (address.dag_id, address.task_id, address.key)
        entry = found.setdefault(name, Xcom(*name))
        if event.direction == "push":
            entry.pushes[address.map_index] = event
        else:
            entry.pulls.append(event)
    return sorted((entry for entry in found.values() if entry.pushes), key=lambda entry: entry.dag_id)


def handed_over(out: Console, xcoms: Sequence[Xcom]) -> None:
    """Print what was handed over: as a table, with whole addresses where there is room for them; with less
    room the name of a pipeline stands above its tasks; in a narrow window each XCom has two lines. No address
    is ever broken or cut: who wants one can copy it."""
    if not xcoms:
        out.print("No task pushed an XCom through this project's backend.")
        return
    cells = [[_plain(text) for text in (entry.dag_id, *entry.cells())] for entry in xcoms]
    places = [row[5] for row in cells]
    folders, short = _shortened(places)
    for where in (places, short):
        rows = [[*row[:5], place, *row[6:]] for row, place in zip(cells, where, strict=True)]
        for before, row in zip(reversed(rows[:-1]), reversed(rows[1:]), strict=True):
            row[0] = "" if before[0] == row[0] else row[0]
        if made := table(out, COLUMNS, rows, []):
            out.print(made)
            break
    else:
        below = list(_below(cells, short))
        if made := table(out, _BELOW, below, ["kind"]):
            out.print(made)
        else:
            _narrow(out, below)
        where = short
    if where is short:
        _tell_folders(out, folders)


def _below(cells: Sequence[Sequence[str]], short: Sequence[str]) -> Iterator[list[str]]:
    """Each pipeline's name alone, and below it its tasks with their keys, but for `return_value`."""
    last = ""
    for (dag_id, task, key, kind, size, _, push, pull), place in zip(cells, short, strict=True):
        if dag_id != last:
            yield [f"[bold]{dag_id}[/]", *[""] * (len(_BELOW) - 1)]
        named = "" if key == _RETURNED else f" [cyan]{key}[/]"
        yield [f"  {task}{named}", kind, size, place, push, pull]
        last = dag_id


def _narrow(out: Console, below: Sequence[Sequence[str]]) -> None:
    """Two lines for each XCom: what it is; where and how fast."""
    for name, kind, size, place, push, pull in below:
        out.print(f"{name}  {kind}, {size}" if kind else name)
        if kind:
            out.print(f"    {place}, push {push}, pull {pull}", style="dim")


def _shortened(places: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The folder that all addresses of a store have in common, by the word that takes an address's place in a
    table ("s3"); and each place as that word."""
    kinds = [place.partition(":")[0] for place in places]
    found: dict[str, list[str]] = {}
    for kind, place in zip(kinds, places, strict=True):
        if kind != place:
            found.setdefault(kind, []).append(place)
    # Of addresses, not of paths: `commonpath` would make s3:/bucket of s3://bucket.
    common = {kind: commonprefix(each) for kind, each in found.items()}  # noqa: RUF071
    # In Redis the part in braces chooses the slot: it is one name, which has no half.
    folders = {kind: text.partition("{")[0].rpartition("/")[0] or kind for kind, text in common.items()}
    return folders, kinds


def _tell_folders(out: Console, folders: Mapping[str, str]) -> None:
    if folders:
        told = ", ".join(f"{kind}: {folder}/" for kind, folder in folders.items())
        out.print(f"\n{told}  [dim](whole addresses: .venv/bin/xcom ls PIPELINE --where)[/]", soft_wrap=True)


def progress(out: Console, at_work: Status, event: Event) -> None:
    """Show what a terminal's last line says of the task that runs, and print that it came to its end."""
    if isinstance(event, TaskBegin):
        at_work.update(f"{_name(event)} …")
    elif isinstance(event, TaskEnd):
        at_work.update("…")
        task_end(out, event)


def task_end(out: Console, event: TaskEnd) -> None:
    """Print that a try of a task came to its end."""
    note = {"up_for_retry": ", is tried again", "skipped": ", skipped"}.get(event.state, "")
    out.print(f"  {SIGNS.get(event.state, '?')} {_name(event)} [dim]{event.seconds:.1f} s{note}[/]")


def summary(
    out: Console, events: Sequence[Event], chosen: Chosen, tags: Sequence[str], seconds: float
) -> None:
    """Print what comes after a run: what was handed over, what went wrong, what was not run."""
    ends = [event for event in events if isinstance(event, PipelineEnd)]
    failed = [end for end in ends if end.state != "success"]
    out.print()
    if ends:
        handed_over(out, gather(event for event in events if isinstance(event, Transfer)))
        out.print()
    failures(out, [event for event in events if isinstance(event, TaskEnd)], failed)
    broken(out, chosen.broken)
    if chosen.beside:
        out.print(("\n" if failed else "") + "These files are broken, too, beside what was run:")
        broken(out, chosen.beside)
    if failed or chosen.broken or chosen.beside:
        out.print()
    if ends:
        out.print(f"{len(ends) - len(failed)} of {len(ends)} pipelines succeeded in {seconds:.0f} s.")
    elif not chosen.broken:
        out.print("No pipeline was run." if chosen.left_out else "There is no pipeline in this project yet.")
    left_out(out, chosen, tags)


def failures(out: Console, tasks: Sequence[TaskEnd], pipelines: Sequence[PipelineEnd]) -> None:
    """Print why tasks and pipelines failed, and where their logs are. `tasks` may hold others, too."""
    alike: dict[tuple[str, str, str], list[int]] = {}
    for task in (task for task in tasks if task.state == "failed"):
        alike.setdefault((task.dag_id, task.task_id, task.error), []).append(task.map_index)
    for (dag_id, task_id, error), indexes in alike.items():
        which = "" if indexes[0] < 0 else f"[{', '.join(map(str, sorted(indexes)))}]"
        _crossed(out, f"{dag_id}.{task_id}{which}", error)
    for pipeline in pipelines:
        if pipeline.error:
            _crossed(out, pipeline.dag_id, pipeline.error)
        if pipeline.not_run:
            out.print(f"  {_plain(pipeline.dag_id)} did not come to: {_plain(', '.join(pipeline.not_run))}")
        out.print(f"  log: {_plain(pipeline.log)}", soft_wrap=True)


def broken(out: Console, errors: Mapping[str, str]) -> None:
    """Print which files could not be imported, and why."""
    for file, error in errors.items():
        _crossed(out, f"{file} can't be imported", error)


def left_out(out: Console, chosen: Chosen, tags: Sequence[str]) -> None:
    """Print in one line which pipelines were not run because of their tags, and how to run them."""
    if not chosen.left_out:
        return
    names, tag = listed(chosen.left_out), f"tag{'s' if len(tags) > 1 else ''} {', '.join(tags)}"
    how = f"`make run ONLY={chosen.left_out[0]}` runs one, `make run ALL=1` all."
    out.print(_plain(f"Left out, for they have none of the {tag}: {names}. {how}"), soft_wrap=True)


def _crossed(out: Console, what: str, why: str) -> None:
    out.print(f"[red]✗ {_plain(what)}[/]")
    for line in why.splitlines():
        out.print(f"  {_plain(line)}", soft_wrap=True)


def _name(event: TaskBegin | TaskEnd) -> str:
    index = "" if event.map_index < 0 else f"[{event.map_index}]"
    return _plain(f"{event.dag_id}.{event.task_id}{index}")


def _time(transfers: Iterable[Transfer]) -> str:
    """One time as it is; of several the middle one, and how many."""
    seconds = [transfer.seconds for transfer in transfers]
    if not seconds:
        return "-"
    middle = median(seconds)
    text = f"{middle * 1000:.1f} ms" if middle < 1 else f"{middle:.2f} s"
    return f"{len(seconds)} × {text}" if len(seconds) > 1 else text


def _plain(text: str) -> str:
    """A text of tasks and of their libraries, which neither rich nor the terminal acts on."""
    return escape(clean(text))
