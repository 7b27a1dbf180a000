"""The commands for Airflow on this machine, a function each: run pipelines, start and end all of Airflow."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..console import Refused, console
from ..transfer import Transfer
from . import environment, metadata, processes, report, services
from . import variables as own_variables
from .background import ALONE, Background
from .lifecycle import down, restart, secrets, tell_readable, up
from .new import new_pipeline
from .runner import PipelineEnd, Runner, TaskEnd
from .start_clean import remove_examples

__all__ = [
    "activate",
    "airflow",
    "down",
    "new",
    "restart",
    "run",
    "secrets",
    "start_clean",
    "up",
    "variables",
]


def activate(context: typer.Context) -> None:
    """What comes before every command: in a project, its environment, and servers for who asks for them."""
    if folder := environment.activate():
        context.obj = _stores
        if context.invoked_subcommand != "secrets":  # which closes them
            tell_readable(folder)


def run(
    pipelines: Annotated[list[str] | None, typer.Argument(metavar="PIPELINE", help="Only these.")] = None,
) -> None:
    """Run every pipeline once and show what was handed over."""
    out, home = console(), _home()
    if state := Background(home).find():
        raise Refused(
            "Airflow is up, and its scheduler would run the same tasks at the same time. Trigger pipelines "
            f"in its UI, {state.url}, or end it first: `make down`."
        )
    started = time.monotonic()
    with processes.lock(home / "run.lock", ALONE), _stores(), Runner() as runner:
        out.print("Starting Airflow")
        found = runner.prepare()
        names = _chosen(pipelines or [], found.pipelines)
        out.print(f"Running {len(names)} pipeline{'' if len(names) == 1 else 's'}")
        events = []
        for event in runner.run(names):
            events.append(event)
            if isinstance(event, TaskEnd):
                report.task_end(out, event)
    out.print()
    report.handed_over(out, report.gather(event for event in events if isinstance(event, Transfer)))
    ends = [event for event in events if isinstance(event, PipelineEnd)]
    failed = [end for end in ends if end.state != "success"]
    broken = {} if pipelines else found.errors
    if failed or broken:
        out.print()
        report.failures(out, [event for event in events if isinstance(event, TaskEnd)], failed)
        report.broken(out, broken)
    seconds = time.monotonic() - started
    out.print(f"\n{len(ends) - len(failed)} of {len(ends)} pipelines succeeded in {seconds:.0f} s.")
    if failed or broken:
        raise typer.Exit(1)


def _chosen(names: Sequence[str], pipelines: dict[str, str]) -> list[str]:
    """The ids of the pipelines that were named, by id or by file; all of them, if none was."""
    by_file = {Path(file).stem: dag_id for dag_id, file in pipelines.items()}
    chosen = [name if name in pipelines else by_file.get(Path(name).stem, "") for name in names]
    if "" in chosen:
        unknown = names[chosen.index("")]
        raise Refused(f"There is no pipeline {unknown!r} in dags/. There are: {', '.join(pipelines)}.")
    return list(dict.fromkeys(chosen)) or list(pipelines)


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


def new(
    pipeline: Annotated[str, typer.Argument(metavar="[FOLDER/]NAME", help="Its id, which names its file.")],
) -> None:
    """Begin a pipeline: its file, a class of Variables, a test."""
    environment.project()
    for name in new_pipeline(pipeline):
        print(f"  {name}")
    print(f"\nNext: make run ONLY={Path(pipeline).name}")


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
    with contextlib.suppress(environment.NotInProject):
        if state := Background(_home()).find():
            os.environ.update(state.variables)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "airflow", *context.args])


def _home() -> Path:
    """Airflow's folder in this project. Raises `NotInProject`."""
    return environment.home()
