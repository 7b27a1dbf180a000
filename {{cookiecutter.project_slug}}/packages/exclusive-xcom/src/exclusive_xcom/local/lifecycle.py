"""The commands around the background Airflow, a function each: start, end, restart it; and its secrets."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from ..console import Failed, Refused
from . import environment, metadata, processes, secret_files, services
from .background import ALONE, PARTS, Background, State, free_port

READY_TIMEOUT = 300  # seconds; two idle processors take twenty, busy ones many times that
PORT = 8080


def _port(given: str | int) -> int:
    """A port; the default is one already. Raises `Refused`, in words that fit `make up PORT=…`, too."""
    text = str(given)
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or int(text) > 65535:
        raise Refused(f"The port is a whole number from 0 (any that is free) to 65535, and not {text!r}.")
    return int(text)


Port = Annotated[int, typer.Option(parser=_port, metavar="PORT", help="Of the UI. 0: any that is free.")]


def up(port: Port = PORT) -> None:
    """Start Airflow with its UI in the background, on this machine only."""
    background = Background(environment.home())
    if state := background.find():
        print("Airflow is up already.")
        _tell(background, state)
        return
    _start(background, free_port(port))


def restart(port: Port = PORT) -> None:
    """End Airflow and start it again, on the port that it had; on this one if it was not up."""
    background = Background(environment.home())
    state = background.find()
    if state:
        print("Ending Airflow", flush=True)
        background.stop()
    _start(background, free_port(state.port if state else port))


def down() -> None:
    """End what `up` started."""
    home = environment.home()
    ended = Background(home).stop()
    print("Airflow has ended." if ended else "Airflow was not running.")
    for server in services.settle(home / "services"):
        print(f"{server} goes on as long as another process of this project uses it.")


def _start(background: Background, port: int) -> None:
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
    print(f"\nAirflow:  {state.url}  (from this machine only)")
    if login := background.login():
        print(f"User:     {login[0]}\nPassword: {login[1]}")
    print(
        "\nPipelines are switched on: they run when you trigger them, and by their schedules."
        "\nWhat you save in dags/ is there within 10 s."
    )
    print("`make down` ends everything.")


def secrets() -> None:
    """Fill .env: each secret that is missing there gets a random value."""
    folder = environment.project()
    added = secret_files.fill_in(folder)
    for file in secret_files.close(folder):
        print(f"{file} could be read by others on this machine: now it is yours alone.")
    print(f"Added to .env: {', '.join(added)}." if added else "All secrets are in .env already.")


def tell_readable(folder: Path) -> None:
    """A line on standard error if others may read the secrets."""
    if files := secret_files.readable_by_others(folder):
        names = " and ".join(map(str, files))
        print(
            f"Others on this machine can read {names}: `chmod 600 {names.replace(' and', '')}`.",
            file=sys.stderr,
        )
