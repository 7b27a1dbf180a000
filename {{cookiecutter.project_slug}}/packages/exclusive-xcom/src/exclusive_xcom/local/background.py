"""Airflow with its UI in the background of this machine, for development: start it, find it, end it.

`start` leaves one process behind, the keeper (keeper.py), in a session of its own. It holds a lock on a file
for as long as it lives: the lock, not the number in a pid file, tells whether it runs. All that it has
started stays in its session: by that `stop` finds what must end.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..console import Failed
from . import processes

PARTS = {"metadatabase", "scheduler", "triggerer", "dag_processor"}  # as the api-server names them
END_TIMEOUT = 15  # seconds that components have to end by themselves
# What a second command says that would write to the database at the same time.
ALONE = "Another `xcom run` is at work in this project. Wait until it is done."


@dataclass(frozen=True)
class State:
    """What the keeper tells about itself: its pid, which is its session's, too; the UI's port; and whether
    all components have been started."""

    pid: int
    port: int
    ready: bool = False

    @property
    def url(self) -> str:
        """Where the UI is."""
        return f"http://127.0.0.1:{self.port}"


class Background:
    """The background Airflow of one project. `home` is its AIRFLOW_HOME."""

    def __init__(self, home: Path) -> None:
        self.home, self.logs, self.lock = home, home / "logs" / "up", home / "up.lock"
        self._log, self._state = self.logs / "keeper.log", home / "up.json"

    def find(self) -> State | None:
        """The running keeper's state; None while there is no keeper, or it has not come to saying it."""
        return self._noted() if processes.is_locked(self.lock) else None

    def note(self, state: State) -> None:
        """Write down the state, for `find`. For the keeper."""
        unfinished = self._state.with_suffix(".new")
        unfinished.write_bytes(msgspec.json.encode(state))
        unfinished.replace(self._state)

    def start(self, port: int) -> State:
        """Start the keeper and wait until it has started all components. Raises `Failed`."""
        self._sweep()
        self.logs.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", f"{__package__}.keeper", str(self.home), str(port)]
        keeper = processes.start(command, self._log, start_new_session=True)
        while keeper.poll() is None:
            state = self.find()
            if state and state.ready:
                return state
            time.sleep(0.1)
        raise Failed(self._last_words())

    def well(self, state: State) -> set[str]:
        """Which parts answer that they are well. Raises `Failed` when a component has ended."""
        if self.find() is None:
            raise Failed(self._last_words())
        report: dict[str, dict[str, str]] = {}
        with contextlib.suppress(ValueError):
            report = json.loads(_page(state.port, "/api/v2/monitor/health") or "{}")
        return {part for part in PARTS if report.get(part, {}).get("status") == "healthy"}

    def answers(self, port: int) -> bool:
        """Whether the api-server takes what tasks say."""
        return _page(port, "/execution/health/ping") is not None

    def login(self) -> tuple[str, str] | None:
        """User and password that Airflow made up for this project; None with another auth manager."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            file = self.home / "simple_auth_manager_passwords.json.generated"
            users: dict[str, str] = json.loads(file.read_text())
            return next(iter(users.items()), None)
        return None

    def connection(self) -> dict[str, str]:
        """The variable that leads `xcom gc` to the api-server; none while it is not up, or has another auth
        manager."""
        state, login = self.find(), self.login()
        if state is None or login is None:
            return {}
        where = {"conn_type": "http", "host": "127.0.0.1", "port": state.port}
        return {"AIRFLOW_CONN_XCOM_API": json.dumps({**where, "login": login[0], "password": login[1]})}

    def stop(self) -> bool:
        """End all of it: when this returns, no process and no port is left. Returns whether there was any.
        Raises `Failed` if a process did not end, or may be Airflow's and can't be looked at."""
        state = self.find()
        if state is None:
            return self._sweep()
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended, or is another user's
            os.kill(state.pid, signal.SIGTERM)
        deadline = time.monotonic() + 2 * END_TIMEOUT
        while processes.is_locked(self.lock) and time.monotonic() < deadline:
            time.sleep(0.1)
        self._end(state.pid, 0)
        self._state.unlink(missing_ok=True)
        return True

    def _sweep(self) -> bool:
        """End what a killed keeper left behind. Returns whether there was anything."""
        if processes.is_locked(self.lock):
            raise Failed("Airflow is being started by another command.")
        state = self._noted()
        if state is None:
            return False
        # The keeper is dead, for its lock is free. If its pid lives, it was given to another program,
        # which the system does only after the last process of the session has gone.
        left = [] if processes.lives(state.pid) else processes.session(state.pid)
        folders = [processes.folder(process) for process in left]
        ours = Path.cwd() in folders
        if not ours and None in folders:
            raise Failed(
                f"Session {state.pid} may be what is left of Airflow, but you may not look at it. See "
                f"`ps -s {state.pid}`: end it there. If it is not Airflow, remove {self._state}."
            )
        if ours:
            self._end(state.pid, END_TIMEOUT)
        self._state.unlink(missing_ok=True)
        return ours

    def _end(self, leader: int, seconds: float) -> None:
        processes.end(processes.session(leader), seconds)
        if processes.is_locked(self.lock) or processes.session(leader):
            raise Failed(f"Session {leader} could not be ended. See `ps -s {leader}`.")

    def _noted(self) -> State | None:
        try:
            return msgspec.json.decode(self._state.read_bytes(), type=State)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _last_words(self) -> str:
        return processes.last_words(self._log, otherwise="Airflow was ended from outside.")


def _page(port: int, path: str) -> bytes | None:
    """A page of the api-server; None while it does not answer, or says that something is wrong."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(client):
        client.request("GET", path)
        answer = client.getresponse()
        return answer.read() if answer.status == 200 else None
    return None


def free_port(port: int) -> int:
    """The port, or one that is free for 0. Raises `Failed` when somebody has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            taken = f"Port {port} of 127.0.0.1 can't be used ({error.strerror})."
            other = f"`make up PORT={port + 1}`, or `make up PORT=0` for any that is free"
            raise Failed(f"{taken} Choose another one: {other}.") from error
        return int(probe.getsockname()[1])
