"""How the `xcom` commands speak: what they print to, their signs, and the errors that end them."""

from __future__ import annotations

import os
import sys
from typing import ClassVar

from rich.console import Console

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


def clean(text: str) -> str:
    """A text of somebody else's, for a terminal: what would steer it, or turn the reading direction, is shown
    as an escape (`\\x1b`). Line ends and tabs stay."""
    return "".join(
        each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode()
        for each in text
    )
