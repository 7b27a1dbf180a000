"""The process that keeps Airflow running in the background, until it is told to end or a component ends.

    python -m exclusive_xcom.local.keeper AIRFLOW_HOME PORT

It leads a session of its own, in which it runs Airflow's four components, and sees to it that they have the
store that the backend needs (services.py). The components are those of `airflow standalone`, which itself
offers the logs of all tasks to the whole network (ports 8793 and 8794) and leaves processes behind.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from subprocess import Popen

from ..console import Failed
from . import processes, services
from .background import END_TIMEOUT, Background, State

COMPONENTS = ("api-server", "dag-processor", "triggerer --skip-serve-logs")
# It starts tasks at once, and a task speaks to the api-server first: without an answer its try has failed.
LAST = "scheduler --skip-serve-logs"


def keep(background: Background, port: int) -> None:
    """Run Airflow until SIGTERM. Raises `Failed` when something does not start, or a component ends."""
    told_to_end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told_to_end.set())
    this = os.getpid()
    background.note(State(this, port))
    try:
        with services.running(os.environ, background.home / "services") as variables:
            try:
                environment = _environment(port, variables)
                components = _start(background.logs, environment, *COMPONENTS)
                while not background.answers(port):
                    _check(background.logs, components)
                    if told_to_end.wait(0.2):
                        return
                # Tasks that collect what no row refers to ask this api-server, unless they are told another.
                environment = {**background.connection(), **environment}
                components |= _start(background.logs, environment, LAST)
                background.note(State(this, port, ready=True))
                while not told_to_end.wait(0.2):
                    _check(background.logs, components)
            finally:  # before the store: a task may be writing its XCom
                processes.end(processes.session(this), END_TIMEOUT)
    finally:
        processes.end(processes.session(this), END_TIMEOUT)


def _environment(port: int, variables: dict[str, str]) -> dict[str, str]:
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, **variables, "PYTHONUNBUFFERED": "1", "AIRFLOW__API__WORKERS": "1"}
    environment |= {"AIRFLOW__API__HOST": "127.0.0.1", "AIRFLOW__API__PORT": str(port)}
    execution = "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"
    return environment | {"AIRFLOW__API__BASE_URL": url, execution: f"{url}/execution/"}


def _check(logs: Path, components: dict[str, Popen[bytes]]) -> None:
    """Raises `Failed` when a component has ended."""
    for name, process in components.items():
        if process.poll() is not None:
            log = logs / f"{name}.log"
            how, said = processes.how(process.returncode), processes.last_words(log)
            raise Failed(f"Airflow's {name} ended {how}: {said}. Its log is {log}.")


def _start(logs: Path, environment: dict[str, str], *components: str) -> dict[str, Popen[bytes]]:
    started = {}
    for name, *options in map(str.split, components):
        command = [sys.executable, "-m", "airflow", name, *options]
        started[name] = processes.start(command, logs / f"{name}.log", env=environment)
    return started


def _main(home: Path, port: int) -> None:
    os.umask(0o077)
    background = Background(home)
    try:
        with processes.lock(background.lock, "Airflow runs in this project already."):
            keep(background, port)
    except Failed as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]))
