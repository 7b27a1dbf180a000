"""Collections beside a real Airflow: people and Airflow delete runs and rows, and processes are killed.

The store is a folder, so that a payload's age can be set: the modification time of its file.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from airflow_versions import ROWS_PER_TRY
from faulty import Fault, faulty
from small_project import Project, eventually

pytestmark = pytest.mark.slow

PIPELINES = """
import os, signal
from airflow.sdk import dag, task
from exclusive_xcom import attempt, lazy

@dag(schedule=None)
def made():
    @task
    def extract(**context):
        for _ in range(2):
            context["ti"].xcom_push("more", os.urandom(3000))
        return lazy(os.urandom(5000))

    @task
    def size(value):
        return len(value.load())

    size(extract())

@dag(schedule=None)
def killed():
    @task(retries=0)
    def push():
        attempt.confirm = lambda current: os.kill(os.getpid(), signal.SIGKILL)
        return os.urandom(5000)

    push()

@dag(schedule=None)
def tried_twice():
    @task(retries=1, retry_delay=0)
    def push(**context):
        if context["ti"].try_number == 1:
            attempt.confirm = lambda current: os.kill(os.getpid(), signal.SIGKILL)
        return os.urandom(5000)

    push()

@dag(schedule=None)
def mapped():
    @task
    def push(number):
        return os.urandom(5000)

    push.expand(number=list(range(10)))

made()
killed()
tried_twice()
mapped()
"""
(HOUSEKEEPING,) = Path(__file__).parents[3].glob("{{cookiecutter.project_slug}}/dags/*housekeeping.py*")
HOURS = 3600.0


@dataclass
class Up:
    """A project whose Airflow is up, with a store in a folder."""

    project: Project
    store: Path
    url: str
    login: tuple[str, str]
    token: str

    def ask(self, method: str, path: str, *, good: int = 200, **body: Any) -> Any:
        """Airflow's answer, as the UI gets it."""
        headers = {"Authorization": f"Bearer {self.token}"}
        said = httpx.request(
            method, f"{self.url}/api/v2{path}", headers=headers, timeout=60, json=body or None
        )
        assert said.status_code == good, said.text
        return said.json() if said.content else None

    def run(self, dag_id: str, state: str = "success") -> str:
        """Trigger a run and wait for its end; its id. All that it stored is old then."""
        run_id = str(self.ask("POST", f"/dags/{dag_id}/dagRuns", logical_date=None)["dag_run_id"])
        self.wait(dag_id, run_id, state)
        return run_id

    def wait(self, dag_id: str, run_id: str, state: str = "success") -> None:
        """Wait for the end of a run, and make old what it stored."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}"
        assert eventually(lambda: self.ask("GET", path)["state"] in ("success", "failed"), 240)
        assert self.ask("GET", path)["state"] == state
        for file in self.files():
            os.utime(file, (time.time() - 2 * HOURS,) * 2)

    def runs_again(self, dag_id: str, run: str, times: int) -> None:
        """Clear all tasks of a run and wait for its end, so many times."""
        for _ in range(times):
            self.ask(
                "POST", f"/dags/{dag_id}/clearTaskInstances", dry_run=False, dag_run_id=run, only_failed=False
            )
            self.wait(dag_id, run)

    def files(self, part: str = "") -> list[Path]:
        """The payloads that lie in the store, with a text in their path."""
        found = [path for path in sorted(self.store.rglob("*")) if path.is_file()]
        return [path for path in found if f"{self.store}/." not in str(path) and part in str(path)]

    def gc(self, *options: str, code: int = 0, **more: str) -> str:
        """What `xcom gc` says."""
        done = self.project.xcom("gc", *options, **more)
        assert done.returncode == code, done.stdout
        return done.stdout

    def is_garbage(self, why: str) -> None:
        """What no row refers to is found and deleted. Where each try has rows of its own (Airflow 3.4), only
        those of the last one can be asked for, so what another may have a row for goes with its run."""
        said = self.gc()
        if ROWS_PER_TRY:
            assert "another try may have a row for it" in said and why not in said
        else:
            assert why in said
            self.gc("--delete")

    def is_gone(self) -> None:
        """What runs had that are gone is found and deleted."""
        assert "its run is gone" in self.gc()
        self.gc("--delete")

    def through(self, url: str) -> dict[str, str]:
        """The variable that leads to Airflow another way."""
        host, port = url.removeprefix("http://").split(":")
        where = {"conn_type": "http", "host": host, "port": int(port)}
        return {
            "AIRFLOW_CONN_XCOM_API": json.dumps({**where, "login": self.login[0], "password": self.login[1]})
        }


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Airflow, and a store that belongs to it."""
    folder = tmp_path_factory.mktemp("drill")
    project, store = Project(folder / "project"), folder / "store"
    store.mkdir()
    settings = project.folder / "config" / "airflow.env"
    text = settings.read_text().replace("db.DbXComBackend", "s3.S3XComBackend")
    settings.write_text(
        f"{text}AIRFLOW__XCOM__URL={store.as_uri()}\nAIRFLOW__XCOM__CONN_ID=\nAIRFLOW__XCOM__INLINE_LIMIT=0\n"
        "AIRFLOW__XCOM__GRACE=3600\n"
    )
    project.pipelines(pipelines=PIPELINES, housekeeping=HOUSEKEEPING.read_text())
    try:
        done = project.xcom("up", "--port", "0")
        assert done.returncode == 0, done.stdout
        url = f"http://127.0.0.1:{json.loads((project.home / 'up.json').read_text())['port']}"
        users = json.loads((project.home / "simple_auth_manager_passwords.json.generated").read_text())
        login = next(iter(users.items()))
        body = {"username": login[0], "password": login[1]}
        token = httpx.post(f"{url}/auth/token", json=body, timeout=60).json()["access_token"]
        made = Up(project, store, url, login, token)
        assert eventually(lambda: len(made.ask("GET", "/dags")["dags"]) == 5)
        yield made
    finally:
        project.xcom("down")


@pytest.fixture(autouse=True)
def adopted(up: Up) -> None:
    """The store belongs to this Airflow."""
    said = up.project.xcom("adopt")
    assert said.returncode == 0 and "belong" in said.stdout, said.stdout


def test_what_has_rows_stays(up: Up) -> None:
    run = up.run("made")
    before = up.files()
    assert len(up.files(run.split("+")[0][:20])) == 3
    assert "Nothing is garbage." in up.gc()
    assert "Nothing is left to delete" in up.gc("--delete", code=2)
    assert up.files() == before


def test_a_run_that_was_deleted_as_the_ui_does_it(up: Up) -> None:
    gone, kept = up.run("made"), up.run("made")
    before = up.files()
    up.ask("DELETE", f"/dags/made/dagRuns/{gone}", good=204)
    said = up.gc()
    assert "its run is gone" in said and "Garbage: 3 payloads" in said
    assert up.files() == before, "nothing goes by looking"
    assert "Deleted: 3 payloads" in up.gc("--delete")
    assert len(up.files()) == len(before) - 3
    shown = up.project.xcom("show", "made", "extract", "--run", kept)
    assert shown.returncode == 0, shown.stdout


def test_an_xcom_that_was_deleted(up: Up) -> None:
    run, before = up.run("made"), len(up.files())
    up.ask("DELETE", f"/dags/made/dagRuns/{run}/taskInstances/extract/xcomEntries/more", good=204)
    up.is_garbage("its XCom is gone")
    assert len(up.files()) == before - (not ROWS_PER_TRY)


def test_tasks_that_ran_again(up: Up) -> None:
    run, before = up.run("made"), len(up.files())
    up.runs_again("made", run, 3)
    up.gc()
    up.project.xcom("gc", "--delete")
    assert len(up.files()) == before + 3 * 3 * ROWS_PER_TRY, "what the last tries pushed, and no more"
    assert "Nothing is garbage." in up.gc()
    up.ask("DELETE", f"/dags/made/dagRuns/{run}", good=204)
    up.is_gone()
    assert len(up.files()) == before - 3


def test_a_hundred_tries_that_were_replaced(up: Up) -> None:
    """Ten tasks, ten times again. What is deleted with the rows of the tries before is deleted by Airflow."""
    run, before = up.run("mapped"), len(up.files())
    up.runs_again("mapped", run, 10)
    assert before <= len(up.files()) <= before + 100
    up.gc()
    up.project.xcom("gc", "--delete")
    assert len(up.files()) == before + 100 * ROWS_PER_TRY, "what the last tries pushed, and no more"
    for index in range(10):
        shown = up.project.xcom("show", "mapped", "push", "--run", run, "--map-index", str(index))
        assert shown.returncode == 0, shown.stdout


def test_a_try_that_was_killed_before_another_one(up: Up) -> None:
    before = len(up.files())
    up.run("tried_twice")
    assert len(up.files()) == before + 2
    up.is_garbage("its XCom has another value")
    assert len(up.files()) == before + 1 + ROWS_PER_TRY
    assert up.project.xcom("show", "tried_twice", "push").returncode == 0


def test_a_push_that_was_killed(up: Up) -> None:
    before = len(up.files())
    up.run("killed", "failed")
    assert len(up.files()) == before + 1
    up.is_garbage("its XCom is gone")
    assert len(up.files()) == before + ROWS_PER_TRY


def test_a_run_that_works_is_left_alone(up: Up) -> None:
    run, before = up.run("made"), len(up.files())
    up.ask("DELETE", f"/dags/made/dagRuns/{run}/taskInstances/extract/xcomEntries/more", good=204)
    up.ask("PATCH", "/dags/made", is_paused=True)
    try:
        up.ask("PATCH", f"/dags/made/dagRuns/{run}", state="queued")
        said = up.gc()
        assert "its run has not ended" in said and "Nothing is garbage." in said
        assert len(up.files()) == before
    finally:
        up.ask("DELETE", f"/dags/made/dagRuns/{run}", good=204)
        up.ask("PATCH", "/dags/made", is_paused=False)
    up.gc()
    up.gc("--delete")
    assert len(up.files()) == before - 3


def test_a_project_s_housekeeping(up: Up) -> None:
    """Its file as every project has it: off until it is switched on."""
    path, gone, kept = "/dags/housekeeping", up.run("made"), up.run("made")
    assert up.ask("GET", path)["is_paused"]
    before = up.files("made/")
    up.ask("DELETE", f"/dags/made/dagRuns/{gone}", good=204)
    up.ask("PATCH", path, is_paused=False)
    try:
        run = up.run("housekeeping")
    finally:
        up.ask("PATCH", path, is_paused=True)
    assert len(up.files("made/")) == len(before) - 3
    report = up.project.xcom("get", "-o", "-", "housekeeping", "collect", "--run", run).stdout
    assert "its run is gone" in report and "deleted" in report and "kept" in report
    counted = json.loads(up.ask("GET", "/variables/exclusive_xcom_report")["value"])
    assert counted["dags"]["made"]["payloads"] == len(before) - 3 and counted["garbage"][0] == 3
    assert up.project.xcom("show", "made", "extract", "--run", kept).returncode == 0


def test_rows_that_airflow_cleaned(up: Up) -> None:
    for _ in range(2):
        up.run("made")
    now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + HOURS))
    cleaned = up.project.xcom(
        "airflow", "db", "clean", "--yes", "--skip-archive", "-t", "dag_run", "--clean-before-timestamp", now
    )
    assert cleaned.returncode == 0, cleaned.stdout
    assert "its run is gone" in up.gc("--most-gone", "100")
    up.gc("--delete")
    left = up.ask("GET", "/dags/~/dagRuns")["dag_runs"]
    payloads = {"made": 3, "mapped": 10, "tried_twice": 1, "killed": 0, "housekeeping": 1}
    assert len(up.files()) == sum(payloads[run["dag_id"]] for run in left)


def test_a_collection_that_was_killed(up: Up) -> None:
    kept = len(up.files())
    for _ in range(3):
        run = up.run("made")
        up.ask("DELETE", f"/dags/made/dagRuns/{run}", good=204)
    assert "Garbage: 9 payloads" in up.gc()
    with up.project.start("gc", "--delete", "--rate", "1") as process:
        assert eventually(lambda: len(up.files()) < kept + 9)
        process.send_signal(signal.SIGKILL)
    assert kept < len(up.files()) < kept + 9
    assert "Deleted: 9 payloads" in up.gc("--delete")
    assert len(up.files()) == kept


@pytest.mark.parametrize(
    ("where", "what", "status", "said"),
    [
        ("/dagRuns/", "status", 401, "it answered 401"),
        ("/dagRuns/", "status", 403, "it answered 403"),
        ("/dagRuns/", "status", 500, "it answered 500"),
        ("/dagRuns/", "status", 404, "it answered 404, but not that this is not there"),
        ("/dagRuns/", "status", 200, "it answered something else"),
        ("/dagRuns/", "status", 302, "it answered 302"),
        ("/dagRuns/", "reset-reply", 0, "no answer from"),
        ("/xcomEntries/", "status", 403, "it answered 403"),
        ("/xcomEntries/", "status", 404, "it answered 404, but not that this is not there"),
        ("/variables/", "status", 403, "it answered 403"),
        ("/variables/", "status", 404, "it answered 404, but not that this is not there"),
    ],
)
def test_an_answer_that_is_not_clear(up: Up, where: str, what: str, status: int, said: str) -> None:
    if not up.files():
        up.run("made")
    before = up.files()
    with faulty(up.url) as proxy:
        proxy.faults.append(Fault(what, status, method="GET", where=where, times=9))
        assert said in up.gc(code=1, **up.through(proxy.url))
        assert "is not complete" in up.gc("--delete", code=2) or where == "/variables/"
    assert up.files() == before


def test_a_request_that_was_lost_is_asked_again(up: Up) -> None:
    with faulty(up.url) as proxy:
        for what, status in (("status", 503), ("lost-reply", 0), ("status", 401)):
            proxy.faults.append(Fault(what, status, method="GET", where="/dagRuns/"))
        assert "Nothing is garbage." in up.gc(**up.through(proxy.url))


def test_a_token_instead_of_a_password(up: Up) -> None:
    where = {"conn_type": "http", "host": "127.0.0.1", "port": int(up.url.rpartition(":")[2])}
    good, bad = (
        {"AIRFLOW_CONN_XCOM_API": json.dumps({**where, "password": word})} for word in (up.token, "x")
    )
    assert "Nothing is garbage." in up.gc(**good)
    assert "it answered 403" in up.gc(code=1, **bad)
    wrong = {"AIRFLOW_CONN_XCOM_API": json.dumps({**where, "login": "admin", "password": "secret-word"})}
    said = up.gc(code=1, **wrong)
    assert "it gave admin no token (401)" in said and "secret-word" not in said


def test_another_airflow_deletes_nothing(up: Up) -> None:
    up.ask("PATCH", "/variables/exclusive_xcom_store_id", key="exclusive_xcom_store_id", value="another")
    try:
        said = up.gc(code=1)
        assert "they do not belong together" in said
        refused = up.project.xcom("adopt")
        assert refused.returncode == 1 and "they do not belong together" in refused.stdout
    finally:
        there = json.loads((up.store / ".exclusive-xcom" / "store.json").read_text())["id"]
        up.ask("PATCH", "/variables/exclusive_xcom_store_id", key="exclusive_xcom_store_id", value=there)
