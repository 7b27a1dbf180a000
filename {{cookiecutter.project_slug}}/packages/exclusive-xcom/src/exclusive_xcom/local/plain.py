"""What plain `airflow`, a script or a notebook gets in a project's folder, just before it imports Airflow.

All of them get the project's environment, and the store for development if it runs. Who will run tasks
gets it in any case, and a database where there is none yet: a script, a notebook, `airflow dags test`.
Nothing is imported here that imports Airflow.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from ..console import Failed, Refused
from . import environment, processes, services

RUN_TASKS = {("dags", "test"), ("tasks", "test"), ("tasks", "run")}
RUN_ALL = {"standalone", "scheduler", "triggerer"}
NEED_NO_DATABASE = {"cheat-sheet", "config", "db", "info", "plugins", "providers", "standalone", "version"}
MAKE_DATABASE = "from exclusive_xcom.local import metadata; metadata.prepare()"
MAKING_TIMEOUT = 120  # seconds to wait for another command that makes it
_held = contextlib.ExitStack()  # as long as this process


def set_up() -> None:
    """Set the environment. In a deployment, in tests, and outside of a project it stays as it is."""
    if Path(sys.argv[0] if sys.argv else "").name == "xcom":  # it sees to all of this itself
        return
    try:
        here, project = Path.cwd(), environment.project()
    except (environment.NotInProject, FileNotFoundError):
        return
    home = project / ".airflow"
    if Path(os.environ.get("AIRFLOW_HOME") or home).resolve() != home.resolve():
        return
    try:
        environment.activate()
    except Failed as problem:
        sys.exit(str(problem))
    except (OSError, ValueError) as problem:
        sys.exit(f"The settings of the project in {project} can't be read: {problem}")
    finally:
        os.chdir(here)  # a script counts its files from where it was called
    try:
        arguments = _airflow()
        if _runs_tasks(arguments):
            _make_database(project, home)
            _take(services.running(os.environ, home / "services", wait=False, say=_say))
        else:
            if _needs_database(arguments):
                _make_database(project, home)
            _take(services.joined(os.environ, home / "services"))
    except (Failed, OSError) as problem:
        _say(str(problem))  # much works without


def _take(store: contextlib.AbstractContextManager[dict[str, str]]) -> None:
    os.environ.update(_held.enter_context(store))
    atexit.register(_held.close)


def _airflow() -> list[str]:
    """The arguments, if this is Airflow's own command."""
    name = Path(sys.argv[0]).name if sys.argv else ""
    if name == "-m":  # Python has not come to the module yet
        name = sys.orig_argv[-len(sys.argv)]
    return sys.argv[1:] if name in ("airflow", "apache-airflow") else []


def _runs_tasks(arguments: list[str]) -> bool:
    if arguments:
        wanted = tuple(arguments[:2]) in RUN_TASKS or arguments[0] in RUN_ALL
        return wanted and not {"-h", "--help"} & set(arguments)
    if hasattr(sys, "ps1"):  # a notebook, IPython, or Python itself with a prompt
        return True
    main = sys.modules["__main__"]
    file = Path(getattr(main, "__file__", None) or os.devnull).resolve()
    tool = any(file.is_relative_to(Path(prefix).resolve()) for prefix in (sys.prefix, sys.base_prefix))
    return file.suffix == ".py" and getattr(main, "__spec__", None) is None and not tool


def _needs_database(arguments: list[str]) -> bool:
    known = bool(arguments) and not arguments[0].startswith("-") and arguments[0] not in NEED_NO_DATABASE
    return known and not {"-h", "--help"} & set(arguments)


def _make_database(project: Path, home: Path) -> None:
    """Make the project's SQLite database with its Variables if there is none, or wait for who is making it.
    Raises `Failed`."""
    url = os.environ.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "")
    file = re.fullmatch(r"sqlite:///([^?]+)(\?.*)?", url)
    if not file or _is_made(Path(file[1])):
        return
    _say("Making Airflow's database, this once")
    deadline = time.monotonic() + MAKING_TIMEOUT
    while not _is_made(Path(file[1])):
        with contextlib.suppress(Refused), processes.lock(home / "run.lock", ""):
            command = [sys.executable, "-P", "-c", MAKE_DATABASE]
            made = subprocess.run(command, cwd=project, check=False, capture_output=True, text=True)
            if made.returncode:
                said = (made.stderr.strip() or "?").splitlines()[-1]
                raise Failed(f"Airflow's database could not be made: {said}")
            return
        if time.monotonic() > deadline:
            raise Failed("Another command is about to make Airflow's database.")


def _is_made(file: Path) -> bool:
    """Whether the database has all its tables: Airflow notes their version when it has made them."""
    address = f"{file.absolute().as_uri()}?mode=ro"
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(address, uri=True)) as database,
    ):
        return bool(database.execute("SELECT count(*) FROM alembic_version").fetchone()[0])
    return False


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # standard output may be read by a program
