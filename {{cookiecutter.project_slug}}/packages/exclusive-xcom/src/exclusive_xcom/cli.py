"""The `xcom` command: looks at XComs, and takes in the commands that other parts of the package offer.

`probe`, `show` and `get` need only the engine and Airflow. Any installed distribution can add commands: by
an entry point in the group `exclusive_xcom.commands` that names a function `add(app)`. A wing that has to set
the environment up first does it in the app's callback; if it puts a function into `context.obj` that gives a
context, `probe` and `get` run inside of that.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from .atomic import replacing
from .console import SIGNS, Failed, Refused, Side, clean, console, table
from .handle import human_size


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
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,  # it would print the values of variables, and some are secret
    )
    for command in (probe, show, get):
        app.command(rich_help_panel="XComs")(command)
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


def show(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="Its id.")],
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="Its id; else the latest.")] = None,
) -> None:
    """List the XComs of a run: kind, size, where they are kept."""
    with _in_words():
        from . import inspection

        run_id = run or inspection.latest_run(pipeline)
        rows = inspection.xcoms(pipeline, run_id)
    out = console()
    out.print(f"Run {escape(clean(run_id))}{'' if rows else ': nothing was handed over'}", soft_wrap=True)
    found = []
    for row in rows:
        task = row.task_id if row.map_index < 0 else f"{row.task_id}[{row.map_index}]"
        size = "" if row.length is None else human_size(row.length)
        cells = (task, row.key, row.kind, row.summary, size, row.where)
        found.append([escape(clean(cell)) for cell in cells])
    columns: dict[str, Side] = dict.fromkeys(("task", "key", "kind", "summary", "size", "kept in"), "left")
    columns["size"] = "right"
    if made := table(out, columns, found, ["kind", "summary"]):
        out.print(made)
        return
    for task, key, kind, summary, size, where in found:  # an address is never broken: it can be copied
        out.print(f"[bold]{task}[/] [cyan]{key}[/]  {', '.join(filter(None, (kind, summary, size)))}")
        out.print(f"  {where}", style="dim", soft_wrap=True)


def get(
    context: typer.Context,
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="Its id.")],
    task: Annotated[str, typer.Argument(metavar="TASK", help="Its id.")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="What it pushed it as.")] = "return_value",
    run: Annotated[str | None, typer.Option(help="Of which run; else the latest that has it.")] = None,
    map_index: Annotated[int | None, typer.Option(min=-1, help="Which one of a mapped task.")] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write it: .csv, .parquet, .json, … `-`: to a pipe."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Show what a task handed over, or write it into a file."""
    target = _target(output, context.meta["folder"], force=force)
    pipe = sys.stdout.buffer
    # What Airflow and servers say goes elsewhere: standard output may be a pipe that wants the value alone.
    with redirect_stdout(sys.stderr), _in_words(), (context.obj or nullcontext)():
        from . import export, inspection

        # The value was asked for, not how it came.
        logging.getLogger(f"{__package__}.transfer").setLevel(logging.WARNING)
        found = inspection.find(pipeline, task, key, run_id=run, map_index=map_index)
        value = found.load()
        if output == "-":
            export.write(value, "", pipe)
        elif target:
            with replacing(target, private=True) as file:
                export.write(value, target.suffix, file)
        shown = export.view(value) if output is None else ""
    if target:
        print(f"{clean(str(target))}: {human_size(target.stat().st_size)}")
    if output is None:
        row, formats = found.row, ", ".join(export.writers(value)).replace(export.ANY, "as it is")
        size = "" if row.length is None else f", {human_size(row.length)}"
        about = f"Run {found.run_id}: {export.kind(value)}{size}"
        print(clean(f"{about}\n\n{shown}\n\n-o FILE writes it: {formats}"))


def _target(output: str | None, folder: Path, *, force: bool) -> Path | None:
    """The file that is to be written, if it is one. Raises `Refused` if it can't be."""
    if output == "-" and sys.stdout.isatty():
        raise Refused("`-o -` is for a pipe or a file, and standard output is a terminal.")
    if output in (None, "-"):
        return None
    target = folder / str(output)
    if not target.parent.is_dir():
        raise Refused(f"There is no folder {target.parent}.")
    if target.is_dir():
        raise Refused(f"{target} is a folder. Name a file in it.")
    if target.exists() and not force:
        raise Refused(f"{target} is there already. `--force` overwrites it.")
    return target


@contextmanager
def _in_words() -> Iterator[None]:
    """Errors of the database, of what is looked for and of the store, in words for people."""
    from sqlalchemy.exc import SQLAlchemyError

    from .errors import XComError

    try:
        yield
    except SQLAlchemyError as error:
        reason = str(error).strip().splitlines()[0]
        advice = "`airflow db migrate` makes it, and in a project `xcom run`."
        raise Failed(f"Airflow's database can't be read: {reason}. {advice}") from error
    except BrokenPipeError:  # the reader of a pipe has seen enough
        raise
    except (XComError, OSError) as error:
        raise Failed(clean(str(error))) from error
    except (LookupError, ValueError) as error:
        from . import export, inspection

        if isinstance(error, inspection.NotThere | export.NotWritable):
            raise Refused(clean(str(error))) from error
        raise
