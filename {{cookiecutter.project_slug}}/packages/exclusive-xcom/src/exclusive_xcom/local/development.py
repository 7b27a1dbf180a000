"""The commands for Airflow on this machine, a function each: run pipelines, start and end all of Airflow."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ..console import Failed, Refused, console
from . import environment, metadata, processes, report, services
from .background import PARTS, Background, State, free_port
from .pipelines import choose
from .project import Project
from .runner import PipelineEnd, Runner, TaskEnd
from .start_clean import remove_examples

ALONE = "Another `xcom run` is at work in this project. Wait until it is done."
READY_TIMEOUT = 300  # seconds; two idle processors take twenty, busy ones many times that


def activate(context: typer.Context) -> None:
    """What comes before every command: in a project, its environment, and servers for who asks for them."""
    if environment.activate():
        context.obj = _stores


def run(
    pipelines: Annotated[
        list[str] | None, typer.Argument(metavar="PIPELINE", help="Only these: DAG ids or files.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Those without a tag of run-tags, too.")] = False,
) -> None:
    """Run pipelines once and show what was handed over: those that are named, otherwise those that have one
    of the run-tags in pyproject.toml."""
    out, home, names = console(), _home(), pipelines or []
    if names and every:
        raise Refused("Name pipelines, or say --all: not both.")
    _refuse_while_up(home)
    tags = () if every else Project.read(Path.cwd()).run_tags
    started = time.monotonic()
    with processes.lock(home / "run.lock", ALONE), _stores(), Runner() as runner:
        out.print("Starting Airflow")
        chosen = choose(runner.prepare(), names, tags)
        count = len(chosen.dag_ids)
        out.print(f"Running {count} pipeline{'' if count == 1 else 's'}")
        events = []
        for event in runner.run(chosen.dag_ids):
            events.append(event)
            if isinstance(event, TaskEnd):
                report.task_end(out, event)
    report.summary(out, events, chosen, tags, time.monotonic() - started)
    if chosen.broken or any(isinstance(event, PipelineEnd) and event.state != "success" for event in events):
        raise typer.Exit(1)


def debug(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="Its DAG id, or its file.")],
    task: Annotated[str | None, typer.Option(help="Run only this task, and those before it.")] = None,
    post_mortem: Annotated[bool, typer.Option("--post-mortem", help="Stop where a task fails.")] = False,
) -> None:
    """Run a pipeline in this terminal: breakpoint() works, and all that is said is seen."""
    home = _home()
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
    """What the backend needs: that of the background Airflow while it runs, otherwise a server of our own."""
    home = _home()
    if up := Background(home).find():
        os.environ.update(up.variables)
        yield
        return
    if service := services.needed(os.environ):
        print(f"Starting {service.server}, a server for development", flush=True)
    with services.running(os.environ, home / "services") as variables:
        os.environ.update(variables)
        yield


def up(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the UI. 0: any that is free.")] = 8080,
) -> None:
    """Start Airflow with its UI in the background, on this machine only."""
    background = Background(_home())
    if state := background.find():
        print("Airflow is up already.")
        _tell(background, state)
        return
    port = free_port(port)
    print("Preparing the database", flush=True)
    with processes.lock(background.home / "run.lock", ALONE):
        metadata.prepare()
    print("Starting Airflow", flush=True)
    state = background.start(port)
    try:
        _await(background, state)
    except BaseException:
        background.stop()
        raise
    _tell(background, state)


def _await(background: Background, state: State) -> None:
    """Wait until all parts of Airflow are well, and say so one by one."""
    said: set[str] = set()
    deadline = time.monotonic() + READY_TIMEOUT
    while time.monotonic() < deadline:
        well = background.well(state)
        for part in sorted(well - said):
            print(f"  ✓ {part.replace('_', ' ')}", flush=True)
        if well == PARTS:
            return
        said |= well
        time.sleep(0.5)
    missing = ", ".join(sorted(PARTS - well))
    raise Failed(f"After {READY_TIMEOUT} s Airflow has no {missing} yet. The logs are in {background.logs}.")


def _tell(background: Background, state: State) -> None:
    print(f"\nAirflow: {state.url}  (from this machine only)")
    if login := background.login():
        print(f"User:    {login[0]}\nPassword: {login[1]}")
    print("\nPipelines are switched on: they run when you trigger them, and by their schedules.")
    print("`make down` ends everything.")


def down() -> None:
    """End what `up` started."""
    ended = Background(_home()).stop()
    print("Airflow has ended." if ended else "Airflow was not running.")


def secrets() -> None:
    """Write .env with fresh random secrets where they are missing."""
    added = environment.write_secrets(environment.project())
    print(f"Added to .env: {', '.join(added)}." if added else "All secrets are in .env already.")


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
    with contextlib.suppress(environment.NotInProject):
        if state := Background(_home()).find():
            os.environ.update(state.variables)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "airflow", *context.args])


def _home() -> Path:
    """Airflow's folder in this project. Raises `NotInProject`."""
    environment.project()
    return Path(os.environ["AIRFLOW_HOME"])
