"""What commands that look at XComs print: tables and JSON, and errors in words."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from ..console import Failed, Refused, Side, clean, console, table
from ..errors import visible
from ..handle import human_size

PANEL = "XComs"


@contextmanager
def at_work(context: typer.Context, doing: str, *, store: bool = True) -> Iterator[Status]:
    """Airflow at hand, and the store unless it is not needed; what libraries say on standard error, progress
    in a terminal's last line, errors in words for people."""
    status = Console(stderr=True).status(f"{doing} …")
    with in_words(), redirect_stdout(sys.stderr), status, (context.obj or nullcontext)(store):
        yield status


@contextmanager
def in_words() -> Iterator[None]:
    """Errors of the database, of Airflow, of what is looked for and of the store, in words for people."""
    from sqlalchemy.exc import SQLAlchemyError

    from ..errors import XComError
    from ..export import NotWritable

    try:
        yield
    except SQLAlchemyError as error:
        reason = str(error).strip().splitlines()[0]
        advice = (
            "In a project `xcom run` makes it. Elsewhere, say where Airflow's api-server is: the connection "
            "of AIRFLOW__XCOM__API_CONN_ID."
        )
        raise Failed(clean(f"Airflow's database can't be read: {reason}. {advice}")) from error
    except BrokenPipeError:  # the reader of a pipe has seen enough
        raise
    except NotWritable as error:
        raise Refused(clean(str(error))) from error
    except (XComError, OSError) as error:
        raise Failed(clean(str(error))) from error
    except LookupError as error:
        from ..inspection import NotThere

        if isinstance(error, NotThere):
            raise Refused(clean(str(error))) from error
        raise


def tell_json(found: Any) -> None:
    """For programs. Only ASCII, so nothing in it steers a terminal."""
    print(json.dumps(found, indent=2))


def cell(text: str, style: str = "") -> str:
    """A text of somebody else's, in a table."""
    plain = escape(visible(text))
    return f"[{style}]{plain}[/]" if style and plain else plain


def tell_table(
    out: Console, columns: dict[str, Side], rows: Sequence[Sequence[str]], folds: Sequence[str] = ()
) -> None:
    """A table; in a window without room for it, some lines for each row. The cells are markup."""
    if made := table(out, columns, rows, folds):
        out.print(made)
        return
    for first, *others in rows:
        out.print(first, soft_wrap=True)
        out.print(f"  {'  '.join(filter(None, others))}", soft_wrap=True)


def age(written: datetime, now: datetime) -> str:
    """How old something is, for people: "3 d", "5 h", "12 min"."""
    return length_of((now - written).total_seconds())


def length_of(seconds: float) -> str:
    """A time, for people."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length or (unit != "d" and seconds >= length):
            return f"{seconds / length:,.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def amount(number: int, length: int, noun: str = "XCom") -> str:
    """How many, and how large together: "2 XComs, 12.3 kB"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}, {human_size(length)}"


__all__ = ["PANEL", "age", "amount", "at_work", "cell", "console", "in_words", "tell_json", "tell_table"]
