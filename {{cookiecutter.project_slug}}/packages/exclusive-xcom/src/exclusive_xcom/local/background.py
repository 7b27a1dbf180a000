"""Airflow with its UI in the background of this machine, for development: start it, find it, end it.

`start` leaves one process behind, the keeper (`python -m <package>.background`). It leads a session of its
own, in which it runs what the backend needs (services.py) and Airflow's four components, and it holds a
lock on a file for as long as it lives. The lock, not the number in a pid file, tells whether it runs. Tasks
move to process groups of their own, but stay in the session: by that `stop` finds what must end.

The components are those of `airflow standalone`, which offers the logs of all tasks to the whole network
(ports 8793 and 8794) and leaves processes behind when it is told to end.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from . import services

COMPONENTS = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
HEALTHY = ("metadatabase", "scheduler", "triggerer", "dag_processor")  # as the api-server names them
END_TIMEOUT = 15  # seconds that components have to end by themselves


class BackgroundError(RuntimeError):
    """Airflow could not be started or ended; the text says why."""


@dataclass(frozen=True)
class State:
    """What the keeper tells about itself.

    Attributes:
        pid: of the keeper, and the id of its session.
        port: of the UI.
        variables: what leads Airflow to the servers for development.
        ready: whether all components have been started.
    """

    pid: int
    port: int
    variables: dict[str, str] = field(default_factory=dict)
    ready: bool = False

    @property
    def url(self) -> str:
        """Where the UI is."""
        return f"http://127.0.0.1:{self.port}"


class Background:
    """The background Airflow of one project. `home` is its AIRFLOW_HOME."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.logs = home / "logs" / "up"
        self._state = home / "up.json"
        self._lock = home / "up.lock"

    # -- for who starts and ends it --------------------------------------------------------------------

    def find(self) -> State | None:
        """The running keeper's state; None while there is no keeper."""
        if not self._locked():
            return None
        try:
            return State(**json.loads(self._state.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None  # it has not come to writing it

    def start(self, port: int) -> State:
        """Start the keeper and wait until it has started Airflow's components.

        Args:
            port: for the UI, see `free_port`.

        Raises:
            BackgroundError: something did not start.
        """
        self._sweep()
        self.logs.mkdir(parents=True, exist_ok=True)
        self._state.unlink(missing_ok=True)
        with (self.logs / "keeper.log").open("wb") as output:
            keeper = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.background", str(self.home), str(port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while keeper.poll() is None:
            state = self.find()
            if state and state.ready:
                return state
            time.sleep(0.1)
        raise BackgroundError(self._last_words())

    def health(self, state: State) -> dict[str, bool]:
        """Which parts answer that they are well; all False while the api-server does not answer.

        Raises:
            BackgroundError: a component has ended.
        """
        if self.find() is None:
            raise BackgroundError(self._last_words())
        report: dict[str, dict[str, str]] = {}
        client = http.client.HTTPConnection("127.0.0.1", state.port, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError), contextlib.closing(client):
            client.request("GET", "/api/v2/monitor/health")
            report = json.loads(client.getresponse().read())
        return {part: report.get(part, {}).get("status") == "healthy" for part in HEALTHY}

    def login(self) -> tuple[str, str] | None:
        """User and password that Airflow made up for this project; None with another auth manager."""
        file = self.home / "simple_auth_manager_passwords.json.generated"
        try:
            users: dict[str, str] = json.loads(file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return next(iter(users.items()), None)

    def stop(self) -> bool:
        """End all of it: when this returns, no process and no port is left.

        Returns:
            Whether there was anything to end.

        Raises:
            BackgroundError: a process did not end.
        """
        state = self.find()
        if state is None:
            return self._sweep()
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGTERM)
        deadline = time.monotonic() + 2 * END_TIMEOUT
        while self._locked() and time.monotonic() < deadline:
            time.sleep(0.1)
        _end(_session(state.pid), 0)
        if self._locked() or _session(state.pid):
            raise BackgroundError(f"Session {state.pid} could not be ended. See `ps -s {state.pid}`.")
        self._state.unlink(missing_ok=True)
        return True

    def _sweep(self) -> bool:
        """End what a killed keeper left behind. Returns whether there was anything."""
        if self._locked():
            raise BackgroundError("Airflow is being started by another command.")
        try:
            pid = State(**json.loads(self._state.read_text())).pid
        except (FileNotFoundError, ValueError, TypeError):
            return False
        # The keeper is dead, for its lock is free. If its pid lives, it was given to another program,
        # which the system does only after the last process of the session has gone.
        left = [] if _lives(pid) else _session(pid)
        left = [process for process in left if _works_in(process, Path.cwd())]
        _end(left, END_TIMEOUT)
        self._state.unlink(missing_ok=True)
        return bool(left)

    def _locked(self) -> bool:
        with contextlib.suppress(FileNotFoundError), self._lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _last_words(self) -> str:
        log = self.logs / "keeper.log"
        said = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
        return said[-1] if said else "Airflow was ended from outside."

    # -- the keeper itself -----------------------------------------------------------------------------

    def keep(self, port: int) -> None:
        """Run Airflow until SIGTERM, or until a component ends. Runs in the keeper's own process."""
        os.umask(0o077)
        with self._holding_lock():
            told_to_end = _on_signal(signal.SIGTERM)
            self._say(State(os.getpid(), port))
            try:
                with services.running(os.environ, self.home / "services") as variables:
                    servers = _session(os.getpid())
                    try:
                        components = self._components(port, variables)
                        self._say(State(os.getpid(), port, variables, ready=True))
                        while not told_to_end():
                            for name, process in components.items():
                                if process.poll() is not None:
                                    raise BackgroundError(self._obituary(name, process.returncode))
                            time.sleep(0.2)
                    finally:
                        _end([each for each in _session(os.getpid()) if each not in servers], END_TIMEOUT)
            except (BackgroundError, services.ServiceError) as error:
                sys.exit(str(error))
            finally:
                _end(_session(os.getpid()), END_TIMEOUT)

    def _components(self, port: int, variables: dict[str, str]) -> dict[str, subprocess.Popen[bytes]]:
        environment = {
            **os.environ,
            **variables,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            "PYTHONUNBUFFERED": "1",
        }
        started = {}
        for name, arguments in COMPONENTS.items():
            with (self.logs / f"{name}.log").open("wb") as log:
                started[name] = subprocess.Popen(
                    [sys.executable, "-m", "airflow", *arguments],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
        return started

    def _obituary(self, name: str, code: int) -> str:
        log = self.logs / f"{name}.log"
        said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        last = said[-1] if said else "it said nothing"
        return f"Airflow's {name} ended with exit code {code}: {last}. Its log is {log}."

    def _say(self, state: State) -> None:
        unfinished = self._state.with_suffix(".new")
        unfinished.write_text(json.dumps(asdict(state)))
        unfinished.replace(self._state)

    @contextlib.contextmanager
    def _holding_lock(self) -> Iterator[None]:
        with self._lock.open("ab") as file:
            for _ in range(50):  # who looks whether we run holds it for a moment, too
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(0.02)
            else:
                sys.exit("Airflow runs in this project already.")
            yield


def free_port(port: int) -> int:
    """The port, or one that is free for 0. Raises `BackgroundError` when somebody has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise BackgroundError(
                f"Port {port} of 127.0.0.1 can't be used ({error.strerror}). Choose another one: "
                f"`make up PORT={port + 1}`, or `make up PORT=0` for any that is free."
            ) from error
        found: int = probe.getsockname()[1]
        return found


def _session(leader: int) -> list[psutil.Process]:
    """All living processes of a session but this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            member = os.getsid(process.pid) == leader and process.pid != os.getpid()
            if member and _lives(process.pid):
                found.append(process)
    return found


def _lives(pid: int) -> bool:
    """Whether there is such a process, and not only the entry of one that nobody has waited for."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()) == folder
    except psutil.Error:
        return False


def _end(processes: list[psutil.Process], seconds: float) -> None:
    """SIGTERM to all, and after some seconds SIGKILL to those that are left."""
    for process in processes if seconds else []:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(processes, timeout=seconds)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5)


def _on_signal(number: signal.Signals) -> Callable[[], bool]:
    """A function that tells whether the signal has come."""
    came = []
    signal.signal(number, lambda *_: came.append(True))
    return lambda: bool(came)


if __name__ == "__main__":
    Background(Path(sys.argv[1])).keep(int(sys.argv[2]))
