"""Adds this wing's commands to `xcom`; without what they need, stand-ins that say what to install."""

from __future__ import annotations

from collections.abc import Callable

import typer

from ..console import Refused

PANEL = "Airflow on this machine"


def add(app: typer.Typer) -> None:
    """Add `run`, `up`, `down`, `secrets` and `airflow`. Named by the entry point in `exclusive_xcom.commands`."""
    try:
        from . import development
    except ModuleNotFoundError as missing:
        _add_stand_ins(app, missing.name or str(missing))
    else:
        app.callback()(development.activate)
        for command in (development.run, development.up, development.down, development.secrets):
            app.command(rich_help_panel=PANEL)(command)
        app.command(rich_help_panel=PANEL, **ANYTHING)(development.airflow)


# Every option and argument is for the command itself, --help included.
ANYTHING = {
    "add_help_option": False,
    "context_settings": {
        "allow_extra_args": True,
        "allow_interspersed_args": False,
        "ignore_unknown_options": True,
    },
}


def _add_stand_ins(app: typer.Typer, missing: str) -> None:
    def refuse(name: str) -> Callable[[], None]:
        def command() -> None:
            raise Refused(f"`xcom {name}` needs {missing}: install `exclusive-xcom[local]`.")

        return command

    for name in ("run", "up", "down", "secrets", "airflow"):
        app.command(name, rich_help_panel=PANEL, help="Needs `exclusive-xcom[local]`.", **ANYTHING)(
            refuse(name)
        )
