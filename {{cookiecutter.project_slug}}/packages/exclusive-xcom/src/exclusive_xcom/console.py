"""How the `xcom` commands speak: what they print to, their signs, and the errors that end them."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from .errors import visible

Side = Literal["left", "right"]
_GAP = 2  # columns between two cells
_LEAST = 24  # columns; a cell of some words is not made narrower
SIGNS = {"success": "[green]✓[/]", "failed": "[red]✗[/]"}
SIGNS |= {"skipped": "[yellow]-[/]", "up_for_retry": "[yellow]↻[/]"}


class Failed(RuntimeError):
    """A command could not be done. The text, for people, says why: it is all that they are shown."""

    exit_code: ClassVar[int] = 1


class Refused(Failed):
    """A command can't be done as it was given. The text says why, and what would do."""

    exit_code = 2


def console() -> Console:
    """Standard output. Where it is no terminal, lines may be long: nothing wraps in a log file."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160
    return Console(width=width, highlight=False)


def table(
    out: Console, columns: Mapping[str, Side], rows: Sequence[Sequence[str]], folds: Collection[str]
) -> Table | None:
    """A table of these rows, which are markup; None where the window has no room for it. Columns are given by
    their titles, each with its side, "left" or "right". Only those that `folds` names are ever broken,
    between words: rich would cut all others, or lose the last."""
    made, room = Table(box=None, header_style="bold", pad_edge=False), out.width - _GAP * (len(columns) - 1)
    for place, (title, side) in enumerate(columns.items()):
        widest = max(
            Text.from_markup(text).cell_len for text in (escape(title), *(row[place] for row in rows))
        )
        least = min(widest, _LEAST) if title in folds else widest
        room -= least
        made.add_column(title, justify=side, min_width=least, no_wrap=title not in folds)
    for row in rows:
        made.add_row(*row)
    return made if room >= 0 else None


def clean(text: str) -> str:
    """A text of somebody else's, for a terminal: what would steer it, or turn the reading direction, is shown
    as an escape (`\\x1b`). Line ends and tabs stay."""
    return visible(text, "\n\t")
