"""`xcom verify`: reads payloads again and compares each with the digest in its row."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import typer

from ..console import Side
from ..errors import PayloadExpired, StoreError, XComError
from . import choosing
from .telling import amount, at_work, cell, console, tell_json, tell_table

if TYPE_CHECKING:
    from .rows import Entry

_AT_ONCE = 4
_COLUMNS: dict[str, Side] = {"XCom": "left", "what is wrong": "left"}


def verify(
    context: typer.Context,
    dag: choosing.Dag = None,
    run: choosing.Run = None,
    task: choosing.Task = None,
    key: choosing.Key = None,
    older: choosing.Older = None,
    newer: choosing.Newer = None,
    larger: choosing.Larger = None,
    as_json: choosing.AsJson = False,
) -> None:
    """Read payloads again, and compare length and sha256 with what was pushed. Exit code 1 if one is wrong.

    xcom verify                               everything

    xcom verify orders --run latest           the latest run of a DAG

    xcom verify --newer 24h --json            for a scheduled check

    What is gone because its time was over is told, and is no error.
    """
    chosen = choosing.Selection.of(dag, run, task, key, older, newer, larger)
    counts: Counter[str] = Counter()
    wrong: list[tuple[Entry, XComError]] = []
    with at_work(context, "Reading") as status, ThreadPoolExecutor(_AT_ONCE) as pool:
        from .. import airflow_compat
        from .rows import current_rows

        airflow_compat.start_stats()
        logging.getLogger("exclusive_xcom.transfer").setLevel(logging.ERROR)  # it is shown below
        try:
            for _, entries in current_rows().chosen(chosen):
                for entry, state, error in pool.map(_checked, entries):
                    counts[state] += 1
                    counts["bytes"] += entry.length if state == "whole" else 0
                    if error is not None:
                        wrong.append((entry, error))
                    done = counts.total() - counts["bytes"]
                    status.update(f"{done:,} looked at, {counts['wrong']:,} of them wrong …")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if as_json:
        _tell_json(counts, wrong)
    else:
        _tell(counts, wrong)
    if counts["wrong"]:
        raise typer.Exit(1)


def _checked(entry: Entry) -> tuple[Entry, str, XComError | None]:
    """What is so about an XCom: "whole", "plain" (a value in its row, which has no digest), "expired" or
    "wrong". Raises `StoreError`: what can't be asked for is not wrong."""
    from ..transfer import refused
    from .looking import check

    if entry.is_plain:
        return entry, "plain", None
    try:
        if entry.error:
            raise entry.error
        assert entry.ref
        check(entry.ref)
    except PayloadExpired as error:  # as it was meant
        return entry, "expired", error
    except XComError as error:
        refused("verify", error)
        if isinstance(error, StoreError):
            raise
        return entry, "wrong", error
    return entry, "whole", None


def _tell_json(counts: Counter[str], wrong: Iterable[tuple[Entry, XComError]]) -> None:
    told: dict[str, Any] = {name: counts[name] for name in ("whole", "bytes", "plain", "expired", "wrong")}
    for name in ("wrong", "expired"):
        told[f"{name}_xcoms"] = [
            {**entry.told(), "error": type(error).__name__, "why": error.what}
            for entry, error in wrong
            if isinstance(error, PayloadExpired) == (name == "expired")
        ]
    tell_json(told)


def _tell(counts: Counter[str], wrong: list[tuple[Entry, XComError]]) -> None:
    out = console()
    if wrong:
        rows = []
        for entry, error in wrong:
            colour = "yellow" if isinstance(error, PayloadExpired) else "red"
            rows.append([cell(str(entry.address)), cell(error.what, colour)])
        tell_table(out, _COLUMNS, rows, ["XCom", "what is wrong"])
        out.print()
    out.print(f"Whole: {amount(counts['whole'], counts['bytes'], 'payload')}.")
    for name, text in (("plain", "Plain values in their rows, without a digest"), ("expired", "Expired")):
        if counts[name]:
            out.print(f"{text}: {counts[name]:,}.")
    out.print(f"[red]Wrong: {counts['wrong']:,}.[/]" if counts["wrong"] else "Nothing is wrong.")
