"""`xcom run` from outside, in a small project that has a blank in its path."""

from __future__ import annotations

import contextlib
import fcntl
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from small_project import BACKENDS, SLEEPS, Project, eventually

GOOD = """
import pandas as pd
from airflow.sdk import Variable, dag, task

@dag(schedule=None)
def good():
    @task
    def load():
        return pd.DataFrame({"a": range(1000)})

    @task
    def count(frame):
        return f"{len(frame)} rows, {Variable.get('greeting')}"

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

TENANTS = """
from airflow.sdk import dag, task

def make(name):
    @dag(dag_id=f"tenant.{name}", schedule=None, tags=["smoke"])
    def tenant():
        @task
        def hello():
            return name

        hello()

    tenant()

for name in "ab":
    make(name)
"""

STOPS = """
from airflow.sdk import dag, task

@dag(schedule=None)
def stops():
    @task
    def look():
        breakpoint()

    look()

stops()
"""

BROKEN = """
from airflow.sdk import dag

def half(number):
    return number / 0

half(1)
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


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project for tests that only run pipelines."""
    made = Project(tmp_path_factory.mktemp("run") / "my project")
    made.pipelines(
        good=GOOD,
        bad=BAD,
        dies=DIES,
        stops=STOPS,
        broken="from airflow.sdk import dag, nothing_of_the_kind\n",
    )
    return made


@pytest.fixture(scope="module")
def done(project: Project) -> subprocess.CompletedProcess[str]:
    """A run of all pipelines: one is good, the others are not."""
    return project.xcom("run", COLUMNS="160")


class TestRun:
    """`xcom run`."""

    def test_shows_what_was_handed_over(self, done: subprocess.CompletedProcess[str]) -> None:
        (load,) = (line for line in done.stdout.splitlines() if line.startswith("good "))
        assert "load" in load and "return_value" in load and "pandas DataFrame, 1,000 rows × 1 column" in load
        assert load.split()[-1] in ("ms", "s") and load.split()[-3] in ("ms", "s"), "pushed and pulled"

    def test_shows_why_something_failed_and_goes_on(self, done: subprocess.CompletedProcess[str]) -> None:
        assert done.returncode == 1
        assert "1 of 4 pipelines succeeded" in done.stdout
        # Both map indexes failed twice in the same way: that is one error.
        assert done.stdout.count("ValueError: [no] luck with 1") == 1
        assert "bad.fails[0, 1]" in done.stdout and "in dags/bad.py, line 9, fails" in done.stdout
        assert "bad did not come to: after" in done.stdout
        assert "ended by SIGKILL while it ran dies" in done.stdout and "my last words" in done.stdout
        assert "broken.py can't be imported" in done.stdout and "nothing_of_the_kind" in done.stdout

    def test_a_breakpoint_is_an_error_and_nobody_is_waited_for(
        self, done: subprocess.CompletedProcess[str]
    ) -> None:
        assert "breakpoint() needs a terminal: `make debug DAG=…` gives it one." in done.stdout

    def test_shows_errors_and_not_logs(
        self, project: Project, done: subprocess.CompletedProcess[str]
    ) -> None:
        assert len(done.stdout.splitlines()) < 40
        assert "Traceback" not in done.stdout
        assert "Traceback" in (project.home / "logs/run/bad.log").read_text()

    def test_airflow_s_ui_finds_the_log_of_each_try(
        self, project: Project, done: subprocess.CompletedProcess[str]
    ) -> None:
        (good,) = project.home.glob("logs/dag_id=good/run_id=*/task_id=count/attempt=1.log")
        assert "Returned value was: 1000 rows, hello" in good.read_text()
        assert "XCom pushed 'return_value' of good.count" in good.read_text()
        assert "xcom=" not in good.read_text()  # the fields for programs would say all of it again
        tries = {
            tuple(part.partition("=")[2].removesuffix(".log") for part in path.parts[-2:])
            for path in project.home.glob("logs/dag_id=bad/run_id=*/task_id=fails/map_index=*/attempt=*.log")
        }
        assert tries == {("0", "1"), ("0", "2"), ("1", "1"), ("1", "2")}
        for path in project.home.glob("logs/dag_id=bad/**/attempt=2.log"):
            assert path.read_text().count("ValueError: [no] luck with 1") == 1

    def test_touches_no_other_airflow_and_leaves_no_process(
        self, project: Project, done: subprocess.CompletedProcess[str]
    ) -> None:
        assert (project.home / "airflow.db").is_file()
        assert not (project.folder.parent / "another").exists()
        assert project.processes() == []

    def test_left_xcoms_that_can_be_looked_at(
        self, project: Project, done: subprocess.CompletedProcess[str]
    ) -> None:
        listed = project.xcom("ls", "good", COLUMNS="200")
        assert listed.returncode == 0, listed.stdout
        assert "pandas DataFrame, 1,000 rows × 1 column" in listed.stdout and "count" in listed.stdout
        shown = project.xcom("show", "good", "count", COLUMNS="200")
        assert shown.returncode == 0 and "hello from variables.json" in shown.stdout, shown.stdout

    def test_refuses_an_unknown_name(self, project: Project) -> None:
        done = project.xcom("run", "god")
        assert done.returncode == 1, "it may be in the file that is broken"
        said = (
            "no pipeline 'god' in dags/. Did you mean good? There are: bad, dies, good, stops. It may be in"
        )
        assert said in done.stdout and "dags/broken.py, line 1: from airflow.sdk import dag" in done.stdout

    def test_refuses_to_run_twice_at_once(self, project: Project) -> None:
        project.home.mkdir(exist_ok=True)
        with (project.home / "run.lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            done = project.xcom("run")
        assert done.returncode == 2 and "Another `xcom run`" in done.stdout

    def test_refuses_while_airflow_is_up(self, project: Project) -> None:
        with (project.home / "up.lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            state = {"pid": 1, "port": 8080, "ready": True}
            (project.home / "up.json").write_text(json.dumps(state))
            done = project.xcom("run")
        (project.home / "up.json").unlink()
        assert done.returncode == 2
        assert "Airflow is up" in done.stdout and "http://127.0.0.1:8080" in done.stdout


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with two DAGs in one file, which is in a folder, with tags, and a file that is broken."""
    made = Project(tmp_path_factory.mktemp("names") / "my project")
    (made.folder / "pyproject.toml").write_text('[tool.exclusive-xcom]\nrun-tags = ["smoke", "quick"]\n')
    made.pipelines(good=GOOD, broken=BROKEN, **{"finance/factory": TENANTS})
    return made


class TestNames:
    """What is run by which name, and without one."""

    def test_no_name_means_the_tagged_ones_and_what_is_left_out_is_said(self, tagged: Project) -> None:
        # Airflow's own examples are not the project's, and nothing goes wrong beside them.
        done = tagged.xcom("run", AIRFLOW__CORE__LOAD_EXAMPLES="True")
        assert "2 of 2 pipelines succeeded" in done.stdout and "tenant.a.hello" in done.stdout
        (line,) = (line for line in done.stdout.splitlines() if line.startswith("Left out"))
        assert "none of the tags smoke, quick: good. `make run ONLY=good` runs one" in line
        assert done.returncode == 1, "a file is broken, and nobody named others"
        assert "✗ dags/broken.py can't be imported\n  ZeroDivisionError: division by zero" in done.stdout
        assert "  in dags/broken.py, line 5, half: return number / 0" in done.stdout

    @pytest.mark.slow
    def test_all_means_all(self, tagged: Project) -> None:
        done = tagged.xcom("run", "--all")
        assert "3 of 3 pipelines succeeded" in done.stdout and "Left out" not in done.stdout

    @pytest.mark.slow
    def test_a_file_means_all_of_its_pipelines(self, tagged: Project) -> None:
        done = tagged.xcom("run", "finance/factory")
        assert done.returncode == 0, done.stdout
        assert "2 of 2 pipelines succeeded" in done.stdout
        assert (tagged.home / "logs/run/tenant.a.log").is_file()
        assert "broken, too" in done.stdout and "dags/broken.py, line 5" in done.stdout

    @pytest.mark.slow
    def test_an_id_means_one_of_them(self, tagged: Project) -> None:
        done = tagged.xcom("run", "tenant.b")
        assert "1 of 1 pipelines succeeded" in done.stdout and "tenant.a" not in done.stdout

    def test_an_id_has_letters_of_any_script(self, tagged: Project) -> None:
        tagged.pipelines(umlaut=TENANTS.replace("tenant.", "Größe_").replace('"ab"', '["日本"]'))
        done = tagged.xcom("run", "Größe_日本")
        (tagged.folder / "dags" / "umlaut.py").unlink()
        assert "1 of 1 pipelines succeeded" in done.stdout, done.stdout

    def test_a_broken_file_fails_by_its_name(self, tagged: Project) -> None:
        done = tagged.xcom("run", "broken")
        assert done.returncode == 1
        assert "line 5, half: return number / 0" in done.stdout and "no pipeline" not in done.stdout


@pytest.mark.parametrize(("backend", "kept"), [("s3", "s3://bucket/xcom"), ("redis", "redis:")])
def test_starts_what_the_backend_needs(project: Project, backend: str, kept: str) -> None:
    done = project.xcom("run", "dags/good.py", COLUMNS="160", **BACKENDS[backend])
    assert done.returncode == 0, done.stdout
    assert "the store for development" in done.stdout and "1 of 1 pipelines succeeded" in done.stdout
    (load,) = (line for line in done.stdout.splitlines() if line.startswith("good "))
    assert f"  {backend}  " in load and kept in done.stdout
    assert eventually(lambda: project.processes() == [])


HANGS = """
import re
from airflow.sdk import dag, task

@dag(schedule=None)
def hangs():
    @task
    def long():
        print("now", flush=True)
        re.match("(a+)+$", "a" * 60 + "b")  # takes years, and no other thread of this process gets a turn

    long()

hangs()
"""

# What `xcom run` does with a worker that says nothing while no task runs; reading this file takes too long.
# Airflow reads no file that names neither of the two words in its first line.
SILENT = "# airflow dag\nimport time\nprint('still here', flush=True)\ntime.sleep(25)\n"
IMPATIENT = """
from exclusive_xcom.console import Failed
from exclusive_xcom.local import environment
from exclusive_xcom.local.runner import Runner

environment.activate()
with Runner(silence=2) as runner:
    try:
        runner.prepare()
    except Failed as error:
        print(error)
"""


def test_a_worker_that_hangs_is_ended_and_its_log_says_where(tmp_path: Path) -> None:
    project = Project(tmp_path / "my project")
    project.pipelines(silent=SILENT)
    done = subprocess.run(
        [sys.executable, "-c", IMPATIENT], cwd=project.folder, capture_output=True, text=True, check=True
    )
    assert (
        "ended by SIGKILL while it made the database ready. It said nothing for 2 s, and was" in done.stdout
    )
    assert "Current thread" in (project.home / "logs/run/~start.log").read_text()
    assert project.processes() == []


# A task that says how long it wants to wait for its second try, and what `xcom run` does meanwhile.
WAITS = """
from datetime import timedelta
from airflow.sdk import dag, get_current_context, task
from airflow.sdk.definitions.retry_policy import ExceptionRetryPolicy, RetryAction, RetryRule

@dag(schedule=None)
def waits():
    rule = RetryRule(exception=ValueError, retry_delay=timedelta(seconds=30))

    @task(retries=1, retry_policy=ExceptionRetryPolicy(rules=[rule]))
    def second():
        if get_current_context()["ti"].try_number == 1:
            raise ValueError("not yet")

    last = RetryRule(exception=ValueError, action=RetryAction.FAIL)

    @task(retries=1, retry_policy=ExceptionRetryPolicy(rules=[last]))
    def never():
        raise ValueError("never")

    second()
    never()

waits()
"""
PATIENT = """
from exclusive_xcom.local import environment
from exclusive_xcom.local.runner import Runner, TaskEnd

environment.activate()
with Runner() as runner:
    runner.prepare()
    runner._silence = 20
    *events, end = runner.run(["waits"])
    tries = (event for event in events if isinstance(event, TaskEnd))
    print(*sorted(f"{one.task_id}:{one.state}" for one in tries), end.error)
"""


def test_a_task_s_retry_policy_says_whether_and_when_it_is_tried_again(tmp_path: Path) -> None:
    project = Project(tmp_path / "my project")
    project.pipelines(waits=WAITS)
    done = subprocess.run(
        [sys.executable, "-c", PATIENT], cwd=project.folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["never:failed", "second:success", "second:up_for_retry"], done.stdout


def _runs(project: Project, name: str) -> bool:
    """Whether the project runs a program of this name; one that ends meanwhile is no answer."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return any(each.name() == name for each in project.processes())
    return False


class TestInterrupted:
    """What is left of a run that does not come to its end: nothing."""

    @pytest.fixture
    def running(self, tmp_path: Path) -> Iterator[tuple[Project, subprocess.Popen[str]]]:
        """A run in the middle of a task, which waits for a program that it has started."""
        project = Project(tmp_path / "my project")
        project.pipelines(sleeps=SLEEPS)
        with project.start("run", **BACKENDS["redis"]) as process:
            assert eventually(lambda: _runs(project, "sleep"))
            yield project, process
            process.kill()

    def test_by_ctrl_c(self, running: tuple[Project, subprocess.Popen[str]]) -> None:
        project, process = running
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate()
        assert process.returncode == 130
        assert said.splitlines()[-1] == "Interrupted." and "Traceback" not in said
        assert eventually(lambda: project.processes() == [])  # the store is the last to go

    def test_a_worker_that_can_not_notice_it_ends_with_its_parent(self, tmp_path: Path) -> None:
        project = Project(tmp_path / "my project")
        project.pipelines(hangs=HANGS)
        log = project.home / "logs/run/hangs.log"
        with project.start("run") as process:
            assert eventually(lambda: log.is_file() and "now" in log.read_text())
            process.kill()
        assert eventually(lambda: project.processes() == [])

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_by_force(self, running: tuple[Project, subprocess.Popen[str]], number: signal.Signals) -> None:
        project, process = running
        process.send_signal(number)
        assert eventually(lambda: project.processes() == [])
