"""`xcom up` and `down` from outside, in a small project that has a blank in its path."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from small_project import SLEEPS, Project, eventually, lives

from exclusive_xcom.local import processes

# Like Airflow's supervisors of tasks: nobody but root sees where it works and what it has open.
SAVED = """
from airflow.sdk import dag, task
from include.queries import ANSWER

@dag(schedule=None, tags=["{tag}"])
def saved():
    task(lambda: ANSWER, task_id="answer")()

saved()
"""
HIDES = f"'{sys.executable}' -c 'import ctypes, time; ctypes.CDLL(None).prctl(4, 0); time.sleep(600)'"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose Airflow never ran."""
    made = Project(tmp_path / "my project")
    made.home.mkdir()
    return made


@pytest.mark.slow
class TestUpAndDown:
    """`xcom up` and `down`: the whole Airflow."""

    @pytest.fixture
    def up(self, tmp_path: Path) -> Iterator[Project]:
        """A project whose Airflow is up, on any free port. Its pipeline runs when it was triggered."""
        made = Project(tmp_path / "my project")
        made.pipelines(sleeps=SLEEPS)
        (made.folder / "include").mkdir()
        (made.folder / "include" / "queries.py").write_text("ANSWER = 42\n")
        done = made.xcom("up", "--port", "0")
        assert done.returncode == 0, done.stdout + _logs(made)
        yield made
        made.xcom("down")

    def test_it_is_for_this_machine_alone_and_leaves_nothing(self, up: Project) -> None:
        state = json.loads((up.home / "up.json").read_text())
        again = up.xcom("up")
        assert again.returncode == 0 and "up already" in again.stdout
        url = f"http://127.0.0.1:{state['port']}"
        password = again.stdout.split("Password:")[1].split()[0]
        refused = up.xcom("run")
        assert refused.returncode == 2 and "Airflow is up" in refused.stdout
        with urllib.request.urlopen(url, timeout=30) as page:
            assert b"Airflow" in page.read()
        token = _post(f"{url}/auth/token", {"username": "admin", "password": password})["access_token"]
        run = _post(f"{url}/api/v2/dags/sleeps/dagRuns", {"logical_date": None}, token)
        assert run["state"] == "queued"
        assert eventually(lambda: any(process.name() == "sleep" for process in _session(state["pid"])))

        session = _session(state["pid"])
        listening = [address for process in session for address in _listening(process)]
        assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}
        assert state["port"] in {address.port for address in listening}

        restarted = up.xcom("restart")
        assert restarted.returncode == 0, restarted.stdout + _logs(up)
        assert url in restarted.stdout
        assert json.loads((up.home / "up.json").read_text())["pid"] != state["pid"]
        assert [process for process in session if lives(process)] == []
        state = json.loads((up.home / "up.json").read_text())
        session = _session(state["pid"])

        # Airflow itself would look for new files every five minutes.
        up.pipelines(saved=SAVED.format(tag="first"))
        assert eventually(lambda: "first" in _tags(up)), _logs(up)
        up.pipelines(saved=SAVED.format(tag="second"))
        assert eventually(lambda: "second" in _tags(up)), _logs(up)

        assert up.xcom("down").returncode == 0
        assert [process for process in session if lives(process)] == []
        assert _session(state["pid"]) == []
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", state["port"])) != 0
        assert "was not running" in up.xcom("down").stdout


class TestUpRefused:
    """What `xcom up` says when it can't."""

    def test_a_port_that_is_taken(self, project: Project) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            refused = project.xcom("up", "--port", str(port))
        assert refused.returncode == 1
        assert f"Port {port} of 127.0.0.1 can't be used" in refused.stdout
        assert "make up PORT=" in refused.stdout and "Traceback" not in refused.stdout


class TestDownAfterTheKeeperWasKilled:
    """The process is gone whose number was noted; its number may be another's by now."""

    @pytest.fixture
    def left_behind(self, project: Project) -> Iterator[Callable[..., psutil.Process]]:
        """A process in the session of a leader that has ended, and the leader's pid noted as the keeper's."""
        project.home.mkdir(exist_ok=True)
        with contextlib.ExitStack() as stack:

            def leave(folder: Path, command: str = "sleep 600", *, waited_for: bool = True) -> psutil.Process:
                leader = stack.enter_context(
                    subprocess.Popen(
                        ["sh", "-c", f"{command} >/dev/null & echo $!"],
                        cwd=folder,
                        start_new_session=True,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
                assert leader.stdout is not None
                process = psutil.Process(int(leader.stdout.readline()))
                stack.callback(lambda: process.kill() if lives(process) else None)
                assert eventually(lambda: not lives(psutil.Process(leader.pid)))
                if waited_for:
                    leader.wait()
                state = {"pid": leader.pid, "port": 8080, "ready": True}
                (project.home / "up.json").write_text(json.dumps(state))
                return process

            yield leave

    @pytest.mark.parametrize("waited_for", [True, False])
    def test_what_it_left_behind_is_ended(
        self, project: Project, left_behind: Callable[..., psutil.Process], waited_for: bool
    ) -> None:
        process = left_behind(project.folder, waited_for=waited_for)
        assert "has ended" in project.xcom("down").stdout
        assert not lives(process)

    def test_what_works_elsewhere_is_not_ours(
        self, project: Project, left_behind: Callable[..., psutil.Process], tmp_path: Path
    ) -> None:
        process = left_behind(tmp_path)
        assert "was not running" in project.xcom("down").stdout
        assert lives(process)

    @pytest.mark.skipif(os.geteuid() == 0 or sys.platform != "linux", reason="nothing is hidden from us")
    @pytest.mark.parametrize(("command", "ended"), [(f"sleep 600 >&2 & {HIDES}", True), (HIDES, False)])
    def test_what_may_not_be_seen_ends_with_its_session_or_is_told(
        self, project: Project, left_behind: Callable[..., psutil.Process], command: str, ended: bool
    ) -> None:
        hidden = left_behind(project.folder, command)
        assert eventually(lambda: processes.folder(hidden) is None)
        done = project.xcom("down")
        assert lives(hidden) != ended
        assert ("has ended" if ended else "you may not look at it") in done.stdout
        assert done.returncode == (0 if ended else 1)

    def test_a_process_that_got_its_number_is_left_alone(self, project: Project) -> None:
        project.home.mkdir(exist_ok=True)
        with subprocess.Popen(["sleep", "600"], start_new_session=True, cwd=project.folder) as other:
            state = {"pid": other.pid, "port": 8080, "ready": True}
            (project.home / "up.json").write_text(json.dumps(state))
            ended = project.xcom("down")
            assert other.poll() is None
            other.kill()
        assert ended.returncode == 0 and "was not running" in ended.stdout


def _post(url: str, body: dict[str, object], token: str = "") -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, str] = json.load(answer)
    return found


def _session(leader: int) -> list[psutil.Process]:
    """The living processes of a session."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and lives(process):
                found.append(process)
        except (ProcessLookupError, PermissionError):
            pass
    return found


def _listening(process: psutil.Process) -> list[Any]:
    """The addresses at which a process waits for others; nothing of one that hides them from us."""
    try:
        found = process.net_connections("inet")
    except psutil.AccessDenied:
        return []
    return [connection.laddr for connection in found if connection.status == psutil.CONN_LISTEN]


def _tags(project: Project) -> set[str]:
    """The tags of all DAGs in the project's database."""
    with contextlib.closing(sqlite3.connect(project.home / "airflow.db", timeout=30)) as rows:
        return {name for (name,) in rows.execute("select name from dag_tag")}


def _logs(project: Project) -> str:
    return "".join(f"\n--- {log}\n{log.read_text()[-2000:]}" for log in project.home.glob("logs/up/*.log"))
