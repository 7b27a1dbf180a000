"""`xcom forget`: deletes XComs for good, and gives a receipt."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ..atomic import replacing
from ..console import Failed, Refused, Side, clean
from ..handle import human_size
from . import choosing
from .telling import amount, at_work, cell, tell_table

if TYPE_CHECKING:
    from .rows import Entry

_COLUMNS: dict[str, Side] = {"run": "left", "task": "left", "key": "left", "size": "right"}
_SHOWN = 20


def forget(
    context: typer.Context,
    dag: Annotated[str, typer.Option("--dag", help="Its id.")],
    run: Annotated[str, typer.Option("--run", help="Its id, a pattern, or `latest`.")],
    task: choosing.Task = None,
    key: choosing.Key = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    running: Annotated[bool, typer.Option("--running", help="Also of runs that have not ended.")] = False,
    receipt: Annotated[
        str | None, typer.Option("--receipt", metavar="FILE", help="Write the receipt there.")
    ] = None,
) -> None:
    """Delete XComs for good: payloads, what earlier tries left of them, then rows. Prints a receipt as JSON.

    xcom forget --dag orders --run manual__2024-07-01T00:00:00+00:00

    xcom forget --dag orders --run latest --task load --key return_value

    xcom forget --dag people --run '*' --yes --receipt receipt.json

    It asks before. Exit code 1 if something is left; say it again then.
    """
    said, file = Console(stderr=True, highlight=False), _receipt_file(context, receipt)
    chosen = choosing.Selection.of(dag, run, task, key)
    if chosen.exact[0] is None:
        raise Refused("Name one DAG by its id: `--dag orders`.")
    with at_work(context, "Looking") as status:
        from .. import airflow_compat
        from .forget import Forgetting, Receipt
        from .rows import configured_airflow

        if (airflow := configured_airflow()) is None:
            raise Refused(
                "Rows are deleted by Airflow's API alone, so Airflow has to be up: `make up` in a project. "
                "Elsewhere, say where it is: the connection of AIRFLOW__XCOM__API_CONN_ID."
            )
        airflow_compat.start_stats()
        logging.getLogger("exclusive_xcom.transfer").setLevel(logging.ERROR)  # the receipt tells it
        forgetting = Forgetting(airflow, chosen)
        entries, others = forgetting.find(running)
        size = sum(entry.length for entry in entries) + sum(item.size for item in others)
        what = amount(len(entries) + len(others), size, "value")
        if not entries and not others:
            raise Refused("There is no such XCom.")
        status.stop()
        if not yes:
            _show(said, entries, len(others))
            for note in forgetting.notes:
                said.print(cell(note, "yellow"), soft_wrap=True)
            if not _agreed(f"Delete {what}, for good?"):
                raise Refused("Nothing was deleted.")
        status.start()
        asked = {"dag": dag, "run": run, "task": task, "key": key}
        made = Receipt(airflow.url, asked)
        try:
            forgetting.forget(entries, others, made, lambda n: status.update(f"{n:,} of {len(entries):,} …"))
        finally:
            _give(made.told(), file)
    if not made.complete:
        left = [each for each in [*made.xcoms, *made.superseded] if each["payload"] == "kept"]
        if not left:
            raise Failed('Old versions of payloads are left in the bucket: see "versions" in the receipt.')
        raise Failed(f"{len(left):,} of {what} could not be deleted: {clean(left[0]['why'])}")
    said.print(f"Deleted: {what}.")


def _receipt_file(context: typer.Context, receipt: str | None) -> Any:
    """Where the receipt is to be; None for standard output. Raises `Refused`."""
    if receipt is None:
        return None
    file = context.meta["folder"] / receipt
    if not file.parent.is_dir():
        raise Refused(f"There is no folder {file.parent}.")
    if file.exists():
        raise Refused(f"{file} is there already. A receipt overwrites nothing.")
    return file


def _show(said: Console, entries: list[Entry], others: int) -> None:
    rows = []
    for entry in entries[:_SHOWN]:
        of = entry.address
        task = of.task_id if of.map_index < 0 else f"{of.task_id}[{of.map_index}]"
        rows.append([cell(of.run_id), cell(task), cell(of.key, "cyan"), human_size(entry.length)])
    tell_table(said, _COLUMNS, rows)
    if len(entries) > _SHOWN:
        said.print(f"… and {len(entries) - _SHOWN:,} more")
    if others:
        said.print(f"… and {others:,} that earlier tries left in the store")


def _agreed(question: str) -> bool:
    """Whether the person says so. Raises `Refused` where nobody can be asked."""
    if not sys.stdin.isatty():
        raise Refused("There is no terminal to ask in. `--yes` says that it is meant.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _give(receipt: dict[str, Any], file: Any) -> None:
    if file is None:
        with_out = sys.__stdout__ or sys.stdout
        print(json.dumps(receipt, indent=2), file=with_out, flush=True)
        return
    with replacing(file, private=True) as opened:
        opened.write(json.dumps(receipt, indent=2).encode() + b"\n")
