"""The `xcom` command: looks at XComs, and takes in the commands that other parts of the package offer.

`probe` needs only the engine and Airflow. Any installed distribution can add commands: by
an entry point in the group `exclusive_xcom.commands` that names a function `add(app)`. A wing that has to set
the environment up first does it in the app's callback; if it puts a function into `context.obj` that gives a
context, the commands that look at XComs run inside of that; it is told whether they need the store.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from .console import SIGNS, Failed, Refused, console


class Commands(TyperGroup):
    """The commands. An error is told in its own words. Exit codes: 1 failed, 2 refused, 130 interrupted."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was given."""
        ctx.meta["folder"] = Path.cwd()  # from which the person counts: a wing may change into another
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # while typer still takes a reader who has seen enough for no error
            return result
        except Failed as error:
            print(error, file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            raise typer.Exit(130) from None


def main() -> None:
    """Run a command, and end this process with its exit code."""
    try:
        os.getcwd()  # typer, Airflow and what they import ask for it
    except FileNotFoundError:
        print("The current folder is not there any more. Change into one that is.", file=sys.stderr)
        raise SystemExit(Refused.exit_code) from None
    application()(prog_name="xcom")


def application() -> typer.Typer:
    """The app with all commands that are installed."""
    app = typer.Typer(
        cls=Commands,
        help="What tasks hand to each other: look at it, and at the backend that keeps it.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,  # it would print the values of variables, and some are secret
    )
    app.command(rich_help_panel="XComs")(probe)
    for entry in entry_points(group="exclusive_xcom.commands"):
        try:
            entry.load()(app)
        except ImportError as error:
            print(f"The commands of {entry.value} are not there: {error}.", file=sys.stderr)
    return app


def probe(context: typer.Context) -> None:
    """Try everything that a task will need of the XCom backend."""
    out = console()
    with (context.obj or nullcontext)():
        from . import inspection

        checks = inspection.probe()
    for check in checks:
        sign = SIGNS["success" if check.ok else "failed"]
        out.print(f"{sign} {escape(check.name)}: {escape(check.detail)}", soft_wrap=True)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)
