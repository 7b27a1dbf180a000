"""The commands for Airflow on this machine, a function each: run pipelines, start and end all of Airflow."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..console import Failed, Refused, console
from ..transfer import Transfer
from . import environment, metadata, processes, report, services
from .background import PARTS, Background, State, free_port
from .runner import PipelineEnd, Runner, TaskEnd
from .start_clean import remove_examples

ALONE = "Another `xcom run` is at work in this project. Wait until it is done."
READY_TIMEOUT = 300  # seconds; two idle processors take twenty, busy ones many times that


def activate(context: typer.Context) -> None:
    """What comes before every command: in a project, its environment, and servers for who asks for them."""
    if environment.activate():
        context.obj = _stores


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
    """What the backend needs: found if it runs, or started."""
    say = partial(print, flush=True)
    with services.running(os.environ, _home() / "services", wait=False, say=say) as variables:
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
    home = _home()
    ended = Background(home).stop()
    print("Airflow has ended." if ended else "Airflow was not running.")
    for server in services.settle(home / "services"):
        print(f"{server} goes on as long as another process of this project uses it.")


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
    sys.stdout.flush()  # the rest is done by plain.py, as for `airflow` itself
    os.execv(sys.executable, [sys.executable, "-m", "airflow", *context.args])


def _home() -> Path:
    """Airflow's folder in this project. Raises `NotInProject`."""
    environment.project()
    return Path(os.environ["AIRFLOW_HOME"])
