"""A project in the hands of somebody who is not root: all other tests may run as root, as CI often does."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflows import wait_for
from projects import Bake, BakedProject

pytestmark = pytest.mark.installed

# What the system has for everybody: a Python, git and make, and no uv.
PROGRAMS = "/usr/local/bin:/usr/bin:/bin"
ROOT = os.geteuid() == 0
NOBODY = "nobody"

# A pipeline that is due as soon as there is a scheduler, and whose tasks have no second try.
DUE = """
import subprocess
from datetime import datetime

from airflow.sdk import dag, task


@dag(schedule="@daily", start_date=datetime(2024, 1, 1), catchup=False, default_args={"retries": 0})
def due():
    @task
    def first():
        return "done"

    @task
    def sleeps(_):
        subprocess.run(["sleep", "900"])

    sleeps(first())


due()
"""


@dataclass(frozen=True)
class Person:
    """Somebody who is not root, and their project."""

    project: BakedProject

    def make(self, *words: str) -> str:
        """What a make command prints, which has to succeed."""
        environment = self.project.machine.environment(HOME=str(self.project.path.parent), PATH=PROGRAMS)
        environment = {name: value for name, value in environment.items() if not name.startswith("UV_")}
        somebody = pwd.getpwnam(NOBODY)
        ids = {"user": somebody.pw_uid, "group": somebody.pw_gid, "extra_groups": []} if ROOT else {}
        done = subprocess.run(
            ["make", "--no-print-directory", *words],
            cwd=self.project.path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
            **ids,  # type: ignore[call-overload]
        )
        assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        return str(done.stdout)


@pytest.fixture(scope="module")
def person(bake_into: Bake) -> Iterator[Person]:
    """A project on s3 whose files and home folder belong to `nobody`, or to who runs the tests without being
    root."""
    home = Path(tempfile.mkdtemp(prefix="unprivileged-"))
    try:
        baked = bake_into(home, xcom_backend="s3")
        (baked.path / "dags" / "due.py").write_text(DUE.lstrip(), encoding="utf-8")
        baked.commit("As baked")
        somebody = pwd.getpwnam(NOBODY)
        for path in (home, *home.rglob("*")) if ROOT else ():
            os.chown(path, somebody.pw_uid, somebody.pw_gid, follow_symlinks=False)
        yield Person(baked)
    finally:
        shutil.rmtree(home)


@pytest.mark.parametrize("target", ["run", "lint", "test"])
def test_its_commands_work(person: Person, target: str) -> None:
    """One after the other, as a person would: `run` installs, from nothing."""
    if not ROOT and target != "run":
        pytest.skip("whoever is not root shows it by all the other tests")
    person.make(target)


def test_a_task_that_is_due_when_airflow_comes_up_does_not_fail(person: Person) -> None:
    """The scheduler starts tasks when there is who listens. What `make run` said is in the UI, too."""
    said = person.make("up", "PORT=0")
    home = person.project.path / ".airflow"
    try:
        wait_for(
            "the second task",
            lambda: tries(home, "sleeps") == [("running", 1)],
            timeout=180,
            log=lambda: str(tries(home, "first")),
        )
        assert tries(home, "first") == [("success", 1)]
        url, password = said.split("Airflow: ")[1].split()[0], said.split("Password: ")[1].split()[0]
        token = ask(f"{url}/auth/token", {"username": "admin", "password": password})["access_token"]
        (run, *_) = ask(f"{url}/api/v2/dags/first_pipeline/dagRuns", token=token)["dag_runs"]
        where = f"{url}/api/v2/dags/first_pipeline/dagRuns/{run['dag_run_id'].replace('+', '%2B')}"
        log = ask(f"{where}/taskInstances/make/logs/1?full_content=true", token=token)
        assert "Returned value was" in json.dumps(log)
    finally:
        state = json.loads((home / "up.json").read_text())
        os.kill(state["pid"], signal.SIGKILL)
        wait_for("the keeper's end", lambda: state["pid"] not in session(state["pid"]), timeout=180)
        ended = person.make("down")
    # Airflow's supervisors of tasks let nobody but root see where they work.
    assert "Airflow has ended." in ended
    assert session(state["pid"]) == []


def test_clean_removes_all_of_it(person: Person) -> None:
    person.make("clean")
    assert not (person.project.path / ".airflow").exists()


def tries(home: Path, task: str) -> list[tuple[str, int]]:
    """State and number of each try of a task of the pipeline `due`."""
    with contextlib.closing(sqlite3.connect(home / "airflow.db", timeout=30)) as rows:
        wanted = "select state, try_number from task_instance where dag_id = 'due' and task_id = ?"
        return list(rows.execute(wanted, [task]))


def session(leader: int) -> list[int]:
    """The living processes of a session; those that nobody has waited for are not among them."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,stat="], capture_output=True, text=True, check=True)
    found = []
    for line in listed.stdout.splitlines():
        pid, state = line.split()
        with contextlib.suppress(ProcessLookupError):
            if not state.startswith("Z") and os.getsid(int(pid)) == leader:
                found.append(int(pid))
    return found


def ask(url: str, body: dict[str, str] | None = None, token: str = "") -> dict[str, Any]:
    """What Airflow's API answers."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found
