"""A real Airflow for tests: its components as processes of their own, on free ports, and what they say.

Whoever waits here waits for a fact: a state that the api-server tells, a note that a task left, what the
kernel says of a process. Time-outs only end what hangs.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

Found = TypeVar("Found")


class NotYetError(Exception):
    """What is waited for has not happened."""


def wait_for(
    what: str, look: Callable[[], Found], *, timeout: float = 600, log: Callable[[], str] = str
) -> Found:
    """Look again and again until `look` gives something true; it may raise NotYetError to say why not.

    After `timeout` seconds the test fails and shows what `log` gives.
    """
    end = time.monotonic() + timeout
    reason = ""
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except NotYetError as not_yet:
            reason = f" ({not_yet})"
        time.sleep(0.2)
    pytest.fail(f"Waited {timeout:.0f} s in vain for {what}{reason}.\n{log()}", pytrace=False)


# -- processes, as the kernel sees them -------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """A process by its id and start time, so that another one that gets its id later is not taken for it."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this id now."""
        return cls(pid, _stat(pid)[19])

    @property
    def alive(self) -> bool:
        """Whether it is there and not a zombie in the sense of the kernel: ended, but not asked for yet."""
        try:
            stat = _stat(self.pid)
        except OSError:
            return False
        return stat[19] == self.started and stat[0] not in "ZX"

    @property
    def frozen(self) -> bool:
        """Whether it has been stopped by SIGSTOP."""
        return self.alive and _stat(self.pid)[0] == "T"

    @property
    def told_to_end(self) -> bool:
        """Whether a SIGTERM waits for it to be woken."""
        return bool(_pending(self.pid) & 1 << (signal.SIGTERM - 1))

    @property
    def work(self) -> tuple[str, int]:
        """Its state ("S": asleep, as while it waits for an answer) and the processor time it has had."""
        stat = _stat(self.pid)
        return stat[0], int(stat[11]) + int(stat[12])

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.alive, f"process {self.pid} is gone"
        os.kill(self.pid, number)


def _stat(pid: int) -> list[str]:
    """/proc/<pid>/stat from its third field on, see proc(5); the second one may hold spaces and brackets."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _pending(pid: int) -> int:
    """The signals that wait for a process, one bit for each."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return sum(int(line.split()[1], 16) for line in lines if line.startswith("ShdPnd:"))


def members(session: int) -> list[int]:
    """The processes of a session. Tasks are process groups of their own, but stay in the session."""
    found = []
    for pid in _ids():
        with suppress(OSError):
            stat = _stat(pid)
            if int(stat[3]) == session and stat[0] not in "ZX":
                found.append(pid)
    return found


def _ids() -> list[int]:
    """Of every process."""
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]


class Component:
    """A command in a session of its own, with everything it starts. It ends with us, however we end."""

    def __init__(self, command: list[str | Path], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self._leash = subprocess.Popen(
                [sys.executable, __file__, *command],
                cwd=log.parent,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether it has not ended by itself."""
        return self._leash.poll() is None

    @property
    def processes(self) -> list[Process]:
        """Those of the session."""
        found = []
        for pid in _ids():
            with suppress(OSError):
                if _stat(pid)[1] == str(self._leash.pid):
                    found += members(pid)
        return [Process.of(pid) for pid in found]

    def stop(self) -> None:
        """End the whole session."""
        assert self._leash.stdin
        self._leash.stdin.close()
        self._leash.wait()


def _lead(command: list[str]) -> None:
    """Run a command as the leader of a session until our standard input is closed: by `stop`, or because who
    started us is gone. Then end the session: politely, and after a moment whatever is left, frozen or not."""
    leader = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def end_session() -> None:
        while left := members(leader.pid):
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def follow() -> None:
        code = leader.wait()
        end_session()
        os._exit(abs(code))

    threading.Thread(target=follow, daemon=True).start()
    sys.stdin.read()
    leader.terminate()
    time.sleep(1)
    end_session()
    time.sleep(10)  # `follow` ends us


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# -- an Airflow -------------------------------------------------------------------------------------


@dataclass
class Airflow:
    """One Airflow: its home folder, its settings, and what of it runs."""

    home: Path
    binaries: Path
    environment: dict[str, str] = field(repr=False)
    name: str = ""
    components: dict[str, Component] = field(default_factory=dict, repr=False)
    url: str = ""
    token: str = field(default="", repr=False)

    def command(self, *arguments: str) -> str:
        """Run `airflow …` to its end; what it printed."""
        done = subprocess.run(
            [self.binaries / "airflow", *arguments],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=1500,  # only ends what hangs, also on a machine that has no time for us
            check=False,
        )
        assert done.returncode == 0, f"airflow {arguments}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def fill_database(self) -> None:
        """Make Airflow's tables and put the drills' DAGs into them."""
        self.command("db", "migrate")
        self.command("dags", "reserialize")

    def start(self, name: str, *arguments: str) -> Component:
        """Start one of its components: "api-server", "scheduler", "triggerer"."""
        component = Component(
            [self.binaries / "airflow", name, *arguments], self.environment, self.home / f"{name}.log"
        )
        self.components[name] = component
        return component

    def start_all(self) -> None:
        """Start api-server, scheduler and triggerer, and wait until each says that it works."""
        self.url = f"http://127.0.0.1:{self.environment['AIRFLOW__API__PORT']}"
        self.start("api-server")
        self.start("scheduler", "--skip-serve-logs")
        self.start("triggerer", "--skip-serve-logs")

        def healthy() -> bool:
            health = self.ask("GET", "/api/v2/monitor/health")
            return all(health[part]["status"] == "healthy" for part in ("scheduler", "triggerer"))

        self.wait_for("the api-server", self._log_in)
        self.wait_for("scheduler and triggerer", healthy)

    def stop(self) -> None:
        """End everything that it started."""
        for component in reversed(self.components.values()):
            component.stop()

    def wait_for(self, what: str, look: Callable[[], Found], *, timeout: float = 600) -> Found:
        """`wait_for`, which fails early when a component has ended by itself, and shows the logs."""

        def check() -> Found:
            for name, component in self.components.items():
                if not component.alive:
                    pytest.fail(f"{name} has ended.\n{self.logs()}", pytrace=False)
            return look()

        return wait_for(what, check, timeout=timeout, log=self.logs)

    def logs(self) -> str:
        """The ends of all logs: of the components, and of each try of each task."""
        files = [component.log for component in self.components.values()]
        files += sorted((self.home / "logs").rglob("attempt=*.log"))
        return "\n".join(
            f"--- {file.name if file.parent == self.home else file.relative_to(self.home / 'logs')}\n"
            + "\n".join(file.read_text("utf-8", "replace").splitlines()[-25:])
            for file in files
        )

    # -- its REST interface

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The api-server's answer to a request, from JSON. Raises NotYetError for none, or a refusal."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            raise NotYetError(f"{path}: {error}: {error.read()[:500]!r}") from error
        except OSError as error:
            raise NotYetError(f"{path}: {error}") from error

    def _log_in(self) -> bool:
        self.token = self.ask("GET", "/auth/token")["access_token"]
        return True

    def run(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> Run:
        """Start a run of a DAG."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        self.ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)
        return Run(self, dag_id, run_id)


@dataclass(frozen=True)
class Run:
    """A run of a DAG."""

    airflow: Airflow
    dag_id: str
    run_id: str

    def ask(self, path: str = "", *, method: str = "GET", body: Any = None) -> Any:
        """What the api-server knows of it, or answers to another request."""
        run = urllib.parse.quote(self.run_id, safe="")
        return self.airflow.ask(method, f"/api/v2/dags/{self.dag_id}/dagRuns/{run}{path}", body)

    def task(self, task_id: str) -> dict[str, Any]:
        """What the api-server knows of the current try of a task."""
        found: dict[str, Any] = self.ask(f"/taskInstances/{task_id}")
        return found

    def succeeded(self, timeout: float = 600) -> None:
        """Wait until it is over; it has to have succeeded."""

        def over() -> str | None:
            state: str = self.ask()["state"]
            return state if state in ("success", "failed") else None

        state = self.airflow.wait_for(f"run {self.run_id} of {self.dag_id} to end", over, timeout=timeout)
        assert state == "success", self.airflow.logs()


if __name__ == "__main__":
    _lead(sys.argv[1:])
