"""Adds this wing's commands to `xcom`; without what they need, stand-ins that say what to install."""

from __future__ import annotations

from typing import Any

import typer
from rich.markup import escape

from ..console import Refused

NAMES = ("run", "debug", "up", "down", "restart", "new", "variables", "secrets", "start-clean", "airflow")
PANEL = "Airflow on this machine"
# Every argument is for the command itself, --help included.
UNREAD: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True}
UNREAD |= {"allow_interspersed_args": False, "help_option_names": []}


def add(app: typer.Typer) -> None:
    """Add the commands to the app. The entry point `local` in `exclusive_xcom.commands` names this."""
    try:
        from . import development
    except ModuleNotFoundError as missing:
        _add_stand_ins(app, (missing.name or str(missing)).partition(".")[0])
        return
    app.callback()(development.activate)
    for name in NAMES:
        settings = UNREAD if name == "airflow" else None
        command = getattr(development, name.replace("-", "_"))
        app.command(name, rich_help_panel=PANEL, context_settings=settings)(command)


def _add_stand_ins(app: typer.Typer, missing: str) -> None:
    def refuse(context: typer.Context) -> None:
        raise Refused(f"`xcom {context.info_name}` needs {missing}: install `exclusive-xcom[local]`.")

    for name in NAMES:
        about = escape("Needs `exclusive-xcom[local]`, which is not installed.")
        app.command(name, rich_help_panel=PANEL, help=about, context_settings=UNREAD)(refuse)
