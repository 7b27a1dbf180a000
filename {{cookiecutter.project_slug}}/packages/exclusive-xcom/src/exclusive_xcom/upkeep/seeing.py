"""Adds the commands that look at XComs, and `forget`."""

from __future__ import annotations

import typer

from .forget_command import forget
from .ls_command import ls
from .show_command import get, show
from .stats_command import stats
from .telling import PANEL
from .verify_command import verify


def add(app: typer.Typer) -> None:
    """Add them to the app. The entry point `see` in `exclusive_xcom.commands` names this."""
    for command in (ls, show, get, verify, stats, forget):
        app.command(rich_help_panel=PANEL)(command)
