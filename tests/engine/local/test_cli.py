"""The `xcom` command from outside: in a copy of this project with pipelines of its own."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from exclusive_xcom.local import environment

PROJECT = environment.project()

GOOD = """
import pandas as pd
from airflow.sdk import dag, task

@dag(schedule=None)
def good():
    @task
    def load():
        return pd.DataFrame({"a": range(1000)})

    @task
    def count(frame):
        return f"{len(frame)} rows"

    count(load())

good()
"""

BAD = """
from datetime import timedelta
from airflow.sdk import dag, task

@dag(schedule=None, default_args={"retries": 1, "retry_delay": timedelta(hours=1)})
def bad():
    @task
    def fails(number):
        raise ValueError(f"[no] luck with {number}")

    @task
    def after(numbers):
        pass

    after(fails.expand(number=[1, 1]))

bad()
"""

DIES = """
import os, signal
from airflow.sdk import dag, task

@dag(schedule=None)
def dies():
    @task
    def killed():
        print("my last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    killed()

dies()
"""

SLEEPS = """
import subprocess, time
from airflow.sdk import dag, task

@dag(schedule=None)
def sleeps():
    @task
    def long():
        subprocess.run(["sleep", "600"])

    long()

sleeps()
"""


@dataclass
class Copy:
    """A copy of this project: its settings and its code, but its own pipelines."""

    folder: Path

    def __post_init__(self) -> None:
        for name in ("config", "src"):
            shutil.copytree(PROJECT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(PROJECT / ".env.example", self.folder)
        (self.folder / "dags").mkdir()
        self.home = self.folder / ".airflow"

    def pipelines(self, **files: str) -> None:
        """Write files into dags/."""
        for name, text in files.items():
            (self.folder / "dags" / f"{name}.py").write_text(text)

    @property
    def environ(self) -> dict[str, str]:
        """A person's shell, who has exported the folder of another Airflow."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        return clean | {
            "PYTHONPATH": str(self.folder / "src"),
            "AIRFLOW_HOME": str(self.folder.parent / "another"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////nowhere/another.db",
        }

    def xcom(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the command; its output is text, standard error included."""
        return subprocess.run(
            [sys.executable, "-m", f"{environment.__package__}.cli", *arguments],
            cwd=self.folder.parent,
            env=self.environ | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy for tests that only run pipelines."""
    made = Copy(tmp_path_factory.mktemp("run") / "project")
    made.pipelines(good=GOOD, bad=BAD, dies=DIES, broken="from airflow.sdk import dag, nothing_of_the_kind\n")
    return made


@pytest.fixture(scope="module")
def done(copy: Copy) -> subprocess.CompletedProcess[str]:
    """A run of all pipelines: one is good, the others are not."""
    return copy.xcom("run", COLUMNS="160")


class TestRun:
    """`xcom run`."""

    def test_shows_what_was_handed_over(self, done: subprocess.CompletedProcess[str]) -> None:
        (load,) = (line for line in done.stdout.splitlines() if line.startswith("good "))
        assert "load" in load and "return_value" in load and "pandas DataFrame, 1,000 rows × 1 column" in load
        assert load.split()[-1] in ("ms", "s") and load.split()[-3] in ("ms", "s"), "pushed and pulled"

    def test_shows_why_something_failed_and_goes_on(self, done: subprocess.CompletedProcess[str]) -> None:
        assert done.returncode == 1
        assert "1 of 3 pipelines succeeded" in done.stdout
        # Both map indexes failed twice in the same way: that is one error.
        assert done.stdout.count("ValueError: [no] luck with 1") == 1
        assert "bad.fails[0, 1]" in done.stdout and "in dags/bad.py, line 9, fails" in done.stdout
        assert "bad did not come to: after" in done.stdout
        assert "ended by SIGKILL while it ran dies" in done.stdout and "my last words" in done.stdout
        assert "broken.py can't be imported" in done.stdout and "nothing_of_the_kind" in done.stdout

    def test_shows_errors_and_not_logs(self, copy: Copy, done: subprocess.CompletedProcess[str]) -> None:
        assert len(done.stdout.splitlines()) < 40
        assert "Traceback" not in done.stdout
        assert "Traceback" in (copy.home / "logs/run/bad.log").read_text()

    def test_touches_no_other_airflow_and_leaves_no_process(
        self, copy: Copy, done: subprocess.CompletedProcess[str]
    ) -> None:
        assert (copy.home / "airflow.db").is_file()
        assert not (copy.folder.parent / "another").exists()
        assert [process for process in psutil.process_iter() if _is_of(process, copy.folder)] == []

    def test_left_xcoms_that_can_be_looked_at(
        self, copy: Copy, done: subprocess.CompletedProcess[str]
    ) -> None:
        shown = copy.xcom("show", "good", COLUMNS="200")
        assert shown.returncode == 0, shown.stdout
        assert "pandas DataFrame" in shown.stdout and "1,000 rows × 1 column" in shown.stdout
        assert "count" in shown.stdout

    def test_refuses_an_unknown_name(self, copy: Copy) -> None:
        done = copy.xcom("run", "god")
        assert done.returncode == 2
        assert "no pipeline 'god' in dags/. There are: bad, dies, good." in done.stdout

    def test_refuses_to_run_twice_at_once(self, copy: Copy) -> None:
        copy.home.mkdir(exist_ok=True)
        with (copy.home / "run.lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            done = copy.xcom("run")
        assert done.returncode == 2 and "Another `xcom run`" in done.stdout


class TestLookingAtThings:
    """`xcom show`, `probe`, `secrets` and `airflow`."""

    def test_show_refuses_a_pipeline_that_never_ran(
        self, copy: Copy, done: subprocess.CompletedProcess[str]
    ) -> None:
        shown = copy.xcom("show", "never")
        assert shown.returncode == 2 and "no run of 'never'" in shown.stdout

    def test_probe_says_that_all_is_well(self, copy: Copy) -> None:
        done = copy.xcom("probe")
        assert done.returncode == 0, done.stdout
        assert "metadata database: sqlite" in done.stdout and "✗" not in done.stdout

    def test_probe_says_what_is_wrong(self, copy: Copy) -> None:
        backend = {"AIRFLOW__CORE__XCOM_BACKEND": "airflow.sdk.execution_time.xcom.BaseXCom"}
        done = copy.xcom("probe", **backend)
        assert done.returncode == 1 and "not one of this project's" in done.stdout

    def test_secrets_are_written_once(self, copy: Copy) -> None:
        assert "FERNET_KEY" in copy.xcom("secrets").stdout
        assert "already" in copy.xcom("secrets").stdout

    def test_airflow_runs_in_the_environment_of_the_project(self, copy: Copy) -> None:
        done = copy.xcom("airflow", "config", "get-value", "core", "dags_folder")
        assert done.stdout.strip().splitlines()[-1] == str(copy.folder / "dags")


@pytest.mark.slow
class TestUpAndDown:
    """`xcom up` and `down`: the whole Airflow."""

    @pytest.fixture
    def up(self, tmp_path: Path) -> Iterator[Copy]:
        """A project whose Airflow is up, on any free port. Its pipeline runs when it was triggered."""
        made = Copy(tmp_path / "project")
        made.pipelines(sleeps=SLEEPS)
        done = made.xcom("up", "--port", "0")
        assert done.returncode == 0, done.stdout + _logs(made)
        yield made
        made.xcom("down")

    def test_it_is_for_this_machine_alone_and_leaves_nothing(self, up: Copy) -> None:
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
        assert _eventually(lambda: any(process.name() == "sleep" for process in _session(state["pid"])))

        session = _session(state["pid"])
        open_to_others = [
            connection.laddr
            for process in session
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN and connection.laddr.ip not in ("127.0.0.1", "::1")
        ]
        assert open_to_others == []

        assert up.xcom("down").returncode == 0
        assert [process for process in session if _lives(process)] == []
        assert _session(state["pid"]) == []
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", state["port"])) != 0
        assert "was not running" in up.xcom("down").stdout


class TestUpRefused:
    """What `xcom up` says when it can't."""

    def test_a_port_that_is_taken(self, copy: Copy) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            refused = copy.xcom("up", "--port", str(port))
        assert refused.returncode == 1
        assert f"Port {port} of 127.0.0.1 can't be used" in refused.stdout
        assert "make up PORT=" in refused.stdout and "Traceback" not in refused.stdout


class TestDownAfterTheKeeperWasKilled:
    """The process is gone whose number was noted; its number may be another's by now."""

    @pytest.fixture
    def left_behind(self, copy: Copy) -> Iterator[Callable[..., psutil.Process]]:
        """A process in the session of a leader that has ended, and the leader's pid noted as the keeper's."""
        copy.home.mkdir(exist_ok=True)
        with contextlib.ExitStack() as stack:

            def leave(folder: Path, *, waited_for: bool = True) -> psutil.Process:
                leader = stack.enter_context(
                    subprocess.Popen(
                        ["sh", "-c", "sleep 600 >/dev/null & echo $!"],
                        cwd=folder,
                        start_new_session=True,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
                assert leader.stdout is not None
                process = psutil.Process(int(leader.stdout.readline()))
                stack.callback(lambda: process.kill() if _lives(process) else None)
                assert _eventually(lambda: not _lives(psutil.Process(leader.pid)))
                if waited_for:
                    leader.wait()
                state = {"pid": leader.pid, "port": 8080, "variables": {}, "ready": True}
                (copy.home / "up.json").write_text(json.dumps(state))
                return process

            yield leave

    @pytest.mark.parametrize("waited_for", [True, False])
    def test_what_it_left_behind_is_ended(
        self, copy: Copy, left_behind: Callable[..., psutil.Process], waited_for: bool
    ) -> None:
        process = left_behind(copy.folder, waited_for=waited_for)
        assert "has ended" in copy.xcom("down").stdout
        assert not _lives(process)

    def test_what_works_elsewhere_is_not_ours(
        self, copy: Copy, left_behind: Callable[..., psutil.Process], tmp_path: Path
    ) -> None:
        process = left_behind(tmp_path)
        assert "was not running" in copy.xcom("down").stdout
        assert _lives(process)

    def test_a_process_that_got_its_number_is_left_alone(self, copy: Copy) -> None:
        copy.home.mkdir(exist_ok=True)
        with subprocess.Popen(["sleep", "600"], start_new_session=True, cwd=copy.folder) as other:
            state = {"pid": other.pid, "port": 8080, "variables": {}, "ready": True}
            (copy.home / "up.json").write_text(json.dumps(state))
            ended = copy.xcom("down")
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
            if os.getsid(process.pid) == leader and _lives(process):
                found.append(process)
        except (ProcessLookupError, PermissionError):
            pass
    return found


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _is_of(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()) == folder and _lives(process)
    except psutil.Error:
        return False


def _eventually(condition: Callable[[], bool], seconds: float = 120) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return False


def _logs(copy: Copy) -> str:
    return "".join(f"\n--- {log}\n{log.read_text()[-2000:]}" for log in copy.home.glob("logs/up/*.log"))
