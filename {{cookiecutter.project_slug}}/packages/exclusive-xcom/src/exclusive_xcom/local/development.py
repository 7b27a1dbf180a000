"""The commands for Airflow on this machine, a function each: run pipelines, start and end all of Airflow."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..console import Refused, console
from . import environment, metadata, processes, report, services
from . import variables as own_variables
from .background import ALONE, Background
from .lifecycle import down, restart, secrets, tell_readable, up
from .new import new_pipeline
from .pipelines import choose
from .project import Project
from .runner import PipelineEnd, Runner
from .start_clean import remove_examples

# Those that commands.py adds, also from modules of their own.
__all__ = ["activate", "airflow", "debug", "down", "new", "restart", "run"]
__all__ += ["secrets", "start_clean", "up", "variables"]


def activate(context: typer.Context) -> None:
    """What comes before every command: in a project, its environment, and servers for who asks for them."""
    if folder := environment.activate():
        context.obj = _servers
        if context.invoked_subcommand != "secrets":  # which closes them
            tell_readable(folder)


def run(
    pipelines: Annotated[
        list[str] | None, typer.Argument(metavar="PIPELINE", help="Only these: DAG ids or files.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Those without a tag of run-tags, too.")] = False,
) -> None:
    """Run pipelines once and show what was handed over.

    Those that are named, otherwise those that have one of the run-tags in pyproject.toml.
    """
    out, home, names = console(), environment.home(), pipelines or []
    if names and every:
        raise Refused("Name pipelines, or say --all: not both.")
    _refuse_while_up(home)
    tags = () if every else Project.read(Path.cwd()).run_tags
    started = time.monotonic()
    # Airflow loads while the store starts; the worker, if it came so far, ends before the store does.
    with processes.lock(home / "run.lock", ALONE), Runner() as runner, _stores(), runner:
        out.print("Starting Airflow")
        with out.status("…") as at_work:  # in a terminal alone
            chosen = choose(runner.prepare(), names, tags)
            count = len(chosen.dag_ids)
            out.print(f"Running {count} pipeline{'' if count == 1 else 's'}")
            events = []
            for event in runner.run(chosen.dag_ids):
                events.append(event)
                report.progress(out, at_work, event)
    report.summary(out, events, chosen, tags, time.monotonic() - started)
    if chosen.broken or any(isinstance(event, PipelineEnd) and event.state != "success" for event in events):
        raise typer.Exit(1)


def debug(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="Its DAG id, or its file.")],
    task: Annotated[str | None, typer.Option(help="Run only this task, and those before it.")] = None,
    post_mortem: Annotated[bool, typer.Option("--post-mortem", help="Stop where a task fails.")] = False,
) -> None:
    """Run a pipeline in this terminal: breakpoint() works, and all that is said is seen."""
    home = environment.home()
    _refuse_while_up(home)
    with processes.lock(home / "run.lock", ALONE), _stores():
        print("Starting Airflow", flush=True)
        from .debug import debug as run_here  # it imports Airflow

        if not run_here(pipeline, task, post_mortem):
            raise typer.Exit(1)


def _refuse_while_up(home: Path) -> None:
    if state := Background(home).find():
        raise Refused(
            "Airflow is up, and its scheduler would run the same tasks at the same time. Trigger pipelines "
            f"in its UI, {state.url}, or end it first: `make down`."
        )


@contextlib.contextmanager
def _stores() -> Iterator[None]:
    """What the backend needs: found if it runs, or started."""
    say = partial(print, flush=True)
    with services.running(os.environ, environment.home() / "services", wait=False, say=say) as variables:
        os.environ.update(variables)
        yield


@contextlib.contextmanager
def _servers(store: bool = True) -> Iterator[None]:
    """The same, unless it is not needed, and the way to this project's Airflow if it is up."""
    with _stores() if store else contextlib.nullcontext():
        for name, connection in Background(environment.home()).connection().items():
            os.environ.setdefault(name, connection)
        yield


def new(
    pipeline: Annotated[str, typer.Argument(metavar="[FOLDER/]NAME", help="Its id, which names its file.")],
) -> None:
    """Begin a pipeline: its file, a class of Variables, a test."""
    environment.project()
    dag_id, written = new_pipeline(pipeline)
    print(*(f"  {name}" for name in written), f"\nNext: make run ONLY={dag_id}", sep="\n")


def variables() -> None:
    """Write config/variables.json from the settings, and say what changed."""
    environment.project()
    lines = own_variables.update()
    print("\n".join([*lines, f"{metadata.VARIABLES} is written."]) if lines else "Nothing changed.")


def start_clean() -> None:
    """Remove the example pipelines and all that is theirs."""
    environment.project()
    if not (done := remove_examples()):
        print("There is no example here.")
        return
    print(*(f"  {name}" for name in done), f"{len(done)} files removed or changed.", sep="\n")
    print("Look with `git diff`, then commit. `git checkout .` brings everything back.")


def airflow(context: typer.Context) -> None:
    """Run Airflow's own command in this project's environment."""
    sys.stdout.flush()  # the rest is done by plain.py, as for `airflow` itself
    os.execv(sys.executable, [sys.executable, "-m", "airflow", *context.args])
