"""`xcom adopt` and `xcom gc`: say that a store is this Airflow's, find what no row refers to, delete it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from ..console import Failed, Refused, Side, clean, console, table

PANEL = "XComs"
MANIFEST = "xcom-garbage.jsonl"
_COLUMNS: dict[str, Side] = {"": "left", "payloads": "right", "size": "right", "oldest": "right"}


def add(app: typer.Typer) -> None:
    """Add the commands to the app. The entry point `collect` in `exclusive_xcom.commands` names this."""
    for name, command in (("adopt", adopt), ("gc", collect)):
        app.command(name, rich_help_panel=PANEL)(command)


def adopt(context: typer.Context) -> None:
    """Say once that the store holds XComs of this Airflow: `xcom gc` needs it."""
    with _in_words(), (context.obj or nullcontext)():
        from . import marker
        from .airflow_rest import Airflow
        from .inventory import current_inventory

        inventory, airflow = current_inventory(), Airflow.configured()
        found, new = marker.adopt(inventory, airflow)
    said = "belongs to" if new else "belonged already to"
    print(clean(f"{inventory.url} {said} Airflow at {airflow.url} (id {found})."))


def collect(
    context: typer.Context,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete what the list has and what is garbage still.")
    ] = False,
    manifest: Annotated[
        str, typer.Option("--manifest", metavar="FILE", help="The list of what is garbage.")
    ] = MANIFEST,
    most_gone: Annotated[
        int, typer.Option(min=0, max=100, help="How many of a hundred runs Airflow may no longer have.")
    ] = 50,
    rate: Annotated[
        float, typer.Option(min=0.1, max=10000, help="Requests to Airflow, and deletions, in a second.")
    ] = 100,
) -> None:
    """Find payloads that no row refers to any more, and delete them.

    `xcom gc` deletes nothing: it writes a list, and shows what is on it.

    `xcom gc --delete` looks at what is on the list again, and deletes it.

    Both go on where they were interrupted.
    """
    out, path = console(), context.meta["folder"] / manifest
    _check(path, delete=delete)
    with _in_words(), (context.obj or nullcontext)():
        from .. import airflow_compat, config
        from .airflow_rest import Airflow
        from .collect import Collection, Pace, log
        from .inventory import current_inventory
        from .manifest import Manifest

        airflow_compat.start_stats()
        log.setLevel(logging.WARNING)  # it is shown below
        pace, inventory = Pace(rate), current_inventory()
        airflow = Airflow.configured(pace)
        grace = config.GRACE.read()
        with out.status("…") as at_work, Manifest(path) as listed:
            collection = Collection(inventory, airflow, grace, most_gone / 100, pace, _teller(at_work))
            tally = collection.delete(listed) if delete else collection.look(listed)
            remarks = inventory.remarks() if not delete else []
            now = float(listed.head["cut"]) + float(listed.head["grace"])
    _show(out, tally, now)
    _conclude(out, tally, path, delete=delete)
    for remark in remarks:
        out.print(f"[yellow]![/] {escape(clean(remark))}", soft_wrap=True)


def _check(path: Path, *, delete: bool) -> None:
    if path.is_dir():
        raise Refused(f"{path} is a folder. Name a file in it.")
    if not path.parent.is_dir():
        raise Refused(f"There is no folder {path.parent}.")
    if delete and not path.exists():
        raise Refused(f"There is no list {path}: `xcom gc` writes it.")


def _teller(at_work: Any) -> Any:
    def tell(tally: Any) -> None:
        found = sum(count.payloads for count in tally.by_reason.values())
        at_work.update(f"{found:,} payloads looked at, {tally.garbage.payloads:,} of them garbage")

    return tell


def _show(out: Console, tally: Any, now: float) -> None:
    """What was found, by reason: garbage first."""
    from ..handle import human_size
    from .judge import GARBAGE, Why

    order = sorted(Why, key=lambda why: (why not in GARBAGE, list(Why).index(why)))
    rows = []
    for why in order:
        if count := tally.by_reason.get(why):
            colour = "yellow" if why in GARBAGE else "dim"
            cells = f"{count.payloads:,}", human_size(count.bytes), age(now - (count.oldest or now))
            rows.append([f"[{colour}]{escape(why)}[/]", *cells])
    if rows and (made := table(out, _COLUMNS, rows, [""])):
        out.print(made)
    else:
        for row in rows:
            out.print(" ".join(row), soft_wrap=True)


def _conclude(out: Console, tally: Any, path: Path, *, delete: bool) -> None:
    from ..handle import human_size

    garbage = tally.garbage
    what = f"{garbage.payloads:,} payload{'' if garbage.payloads == 1 else 's'}, {human_size(garbage.bytes)}"
    if delete:
        out.print(f"Deleted: {what}.", soft_wrap=True)
    elif not garbage.payloads:
        out.print("Nothing is garbage.")
    else:
        out.print(
            f"Garbage: {what}. The list is in {escape(clean(str(path)))}; `xcom gc --delete` deletes it.",
            soft_wrap=True,
        )


def age(seconds: float) -> str:
    """How old something is, for people: "3 d", "5 h", "12 min"."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


@contextmanager
def _in_words() -> Iterator[None]:
    """Errors of the store, of Airflow and of the list's file, in words for people."""
    from ..errors import XComError

    try:
        yield
    except BrokenPipeError:
        raise
    except (XComError, OSError) as error:
        raise Failed(clean(str(error))) from error
