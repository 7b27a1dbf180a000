"""Looking at XComs and forgetting them beside a real Airflow, by its REST API, in a folder and in Redis."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from small_project import BACKENDS, XCOM, Project, eventually

pytestmark = pytest.mark.slow

PIPELINES = """
import os
from airflow.sdk import dag, task
from exclusive_xcom import lazy

@dag(schedule=None)
def made():
    @task
    def extract(**context):
        context["ti"].xcom_push("more", os.urandom(3000))
        context["ti"].xcom_push("odd\\u202e key", os.urandom(100))
        context["ti"].xcom_push("path/like", 7)
        return lazy(os.urandom(5000))

    @task
    def part(number: int):
        return {"number": number}

    extract(), part.expand(number=[1, 2, 3])

made()
"""


class Up:
    """A project whose Airflow is up."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.url = f"http://127.0.0.1:{json.loads((project.home / 'up.json').read_text())['port']}"
        users = json.loads((project.home / "simple_auth_manager_passwords.json.generated").read_text())
        name, password = next(iter(users.items()))
        body = {"username": name, "password": password}
        self.token = httpx.post(f"{self.url}/auth/token", json=body, timeout=60).json()["access_token"]

    def ask(self, method: str, path: str, *, good: int = 200, **body: Any) -> Any:
        """Airflow's answer, as the UI gets it."""
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"{self.url}/api/v2{path}"
        said = httpx.request(method, url, headers=headers, timeout=60, json=body or None)
        assert said.status_code == good, said.text
        return said.json() if said.content else None

    def run(self) -> str:
        """Trigger a run and wait for its end; its id."""
        run_id = str(self.ask("POST", "/dags/made/dagRuns", logical_date=None)["dag_run_id"])
        self.wait(run_id)
        return run_id

    def wait(self, run_id: str) -> None:
        """Wait for the end of a run."""
        path = f"/dags/made/dagRuns/{run_id}"
        assert eventually(lambda: self.ask("GET", path)["state"] in ("success", "failed"), 300)
        assert self.ask("GET", path)["state"] == "success"

    def rows(self, run_id: str) -> int:
        """How many rows a run has."""
        path = f"/dags/made/dagRuns/{run_id}/taskInstances/~/xcomEntries"
        return int(self.ask("GET", path)["total_entries"])

    def says(self, *arguments: str, code: int = 0) -> str:
        """What a command says."""
        done = self.project.xcom(*arguments)
        assert done.returncode == code and "Traceback" not in done.stdout, done.stdout
        assert not {"\x1b", "\x07"} & set(done.stdout)
        return done.stdout

    def json(self, *arguments: str, code: int = 0) -> Any:
        """What it prints on standard output alone."""
        done = subprocess.run([XCOM, *arguments], cwd=self.project.folder, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    def forget(self, run_id: str, *arguments: str, code: int = 0) -> Any:
        """The receipt of what was forgotten of a run."""
        return self.json("forget", "--dag", "made", "--run", run_id, "--yes", *arguments, code=code)


@contextmanager
def airflow(folder: Path, backend: str, **options: str) -> Iterator[Up]:
    """Airflow with a backend."""
    project = Project(folder / "project")
    settings = project.folder / "config" / "airflow.env"
    lines = "".join(f"{name}={value}\n" for name, value in (BACKENDS[backend] | options).items())
    settings.write_text(settings.read_text() + lines)
    project.pipelines(pipelines=PIPELINES)
    try:
        done = project.xcom("up", "--port", "0")
        assert done.returncode == 0, done.stdout
        up = Up(project)
        assert eventually(lambda: len(up.ask("GET", "/dags")["dags"]) == 1)
        yield up
    finally:
        project.xcom("down")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that keeps payloads; another project's lies beside it."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "ours").mkdir()
    return folder


@pytest.fixture(scope="module")
def up(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Airflow whose payloads are files."""
    url = (store / "ours").as_uri()
    options = {"AIRFLOW__XCOM__URL": url, "AIRFLOW__XCOM__CONN_ID": "", "AIRFLOW__XCOM__INLINE_LIMIT": "0"}
    with airflow(tmp_path_factory.mktemp("seeing"), "s3", **options) as found:
        yield found


def files(store: Path, part: str = "") -> list[Path]:
    """The payloads, with a text in their path."""
    found = [
        path for path in sorted(store.rglob("*")) if path.is_file() and ".exclusive-xcom" not in str(path)
    ]
    return [path for path in found if part in str(path.relative_to(store))]


def of(run_id: str) -> str:
    """How a run is named in paths."""
    return run_id.replace(":", "@3A").replace("+", "@2B")


def test_what_airflow_has_is_seen(up: Up) -> None:
    run = up.run()
    found = up.json("ls", "made", "--run", run, "--json")["xcoms"]
    assert len(found) == 7 == up.rows(run)
    (more,) = (each for each in found if each["key"] == "more")
    assert (more["kind"], more["bytes"]) == ("bytes", 3000) and more["kept_in"].startswith("file://")
    said = up.says("ls", "made", "--run", "latest", "--where")
    assert r"odd\u202e key" in said and "part[2]" in said and "7 XComs, " in said
    assert up.json("show", "made", "part", "--map-index", "1", "--json")["preview"]["value"] == {"number": 2}
    assert up.json("stats", "--json")["dags"]["made"]["xcoms"] >= 7
    assert "map index 0, 1, 2" in up.says("show", "made", "part", code=2)
    assert "no XCom 'x'. In run" in up.says("show", "made", "extract", "x", code=2)
    assert "There are runs of: made." in up.says("ls", "never", code=2)
    assert "no run 'x'" in up.says("get", "made", "extract", "--run", "x", "-o", "y", code=2)


def test_what_is_wrong_is_told_as_what_it_is(up: Up, store: Path) -> None:
    run = up.run()
    assert up.json("verify", "made", "--run", run, "--json")["whole"] == 7
    more, odd = (
        next(path for path in files(store, of(run)) if part in str(path)) for part in ("/more/", "/odd")
    )
    more.write_bytes(b"x" * 3000)
    odd.unlink()
    row = up.ask("GET", f"/dags/made/dagRuns/{run}/taskInstances/extract/xcomEntries/more")["value"]
    path = f"/dags/made/dagRuns/{run}/taskInstances/extract/xcomEntries/return_value"
    up.ask("PATCH", path, value=row)  # another XCom's
    found = up.json("verify", "made", "--run", run, "--json", code=1)
    errors = {each["key"]: each["error"] for each in found["wrong_xcoms"]}
    assert errors == {
        "more": "PayloadAltered",
        "odd\u202e key": "PayloadMissing",
        "return_value": "MisplacedReference",
    }
    assert len(found["wrong_xcoms"]) == 3 and found["whole"] == 4
    assert "unreadable row" in up.says("ls", "made", "--run", run)
    assert "does not belong to this XCom" in up.says("show", "made", "extract", "--run", run, code=1)
    receipt = up.forget(run, "--key", "return_value")
    (xcom,) = (each for each in receipt["xcoms"] if each["task"] == "extract")
    assert (xcom["payload"], xcom["row"]) == ("not found by this row", "deleted")
    assert more.exists(), "a forged row leads to no other payload"


def test_one_key_is_forgotten(up: Up, store: Path) -> None:
    run, before = up.run(), len(files(store))
    receipt = up.forget(run, "--task", "extract", "--key", "more")
    assert receipt["complete"] and len(receipt["xcoms"]) == 1
    assert (receipt["xcoms"][0]["payload"], receipt["xcoms"][0]["row"]) == ("deleted", "deleted")
    assert up.rows(run) == 6 and len(files(store)) == before - 1
    assert "There is no such XCom" in up.says(
        "forget", "--dag", "made", "--run", run, "--key", "more", "--yes", code=2
    )
    assert "There is no terminal to ask in" in up.says("forget", "--dag", "made", "--run", run, code=2)
    assert up.rows(run) == 6


def test_a_run_is_forgotten_with_what_earlier_tries_left(up: Up, store: Path) -> None:
    run = up.run()
    (other := store / "theirs" / "made" / of(run) / "extract" / "-1" / "more").mkdir(parents=True)
    (other / "payload").write_text("another project's")
    ours = store / "ours"
    more = next(path for path in files(ours, of(run)) if "/more/" in str(path))
    nonce = more.name.partition(".")[0]
    left = more.with_name(more.name.replace(nonce, nonce[:-1] + ("0" if nonce[-1] != "0" else "1")))
    shutil.copy(more, left)  # as a push leaves it that is killed before its row
    receipt = up.forget(run, "--task", "part", "--key", "return_value")
    assert receipt["complete"] and receipt["superseded"] == [] and "`xcom adopt`" in receipt["notes"][0]
    up.says("adopt")
    receipt = up.forget(run)
    assert receipt["complete"] and len(receipt["xcoms"]) == 4
    assert [Path(each["uri"]).name for each in receipt["superseded"]] == [left.name]
    assert up.rows(run) == 0 and files(ours, of(run)) == []
    assert (other / "payload").exists()


def test_a_run_that_works_is_refused(up: Up) -> None:
    run = up.run()
    up.ask("PATCH", "/dags/made", is_paused=True)
    try:
        up.ask("PATCH", f"/dags/made/dagRuns/{run}", state="queued")
        assert "has not ended (queued)" in up.says("forget", "--dag", "made", "--run", run, "--yes", code=1)
        assert up.rows(run) == 7
    finally:
        up.ask("DELETE", f"/dags/made/dagRuns/{run}", good=204)
        up.ask("PATCH", "/dags/made", is_paused=False)


@pytest.mark.skipif(
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN, reason="as in the background of a shell"
)
def test_it_can_be_interrupted(up: Up) -> None:
    with up.project.start("verify") as process:
        process.send_signal(signal.SIGINT)
        assert process.wait() in (130, -signal.SIGINT)


def test_redis(tmp_path: Path) -> None:
    with airflow(tmp_path, "redis", AIRFLOW__XCOM__INLINE_LIMIT="0") as up:
        run = up.run()
        assert up.json("verify", "--json")["whole"] == 7
        found = up.json("ls", "--json")["xcoms"]
        (more,) = (each for each in found if each["key"] == "more")
        assert more["kept_in"].startswith("redis:") and more["expires"]
        receipt = up.forget(run, "--key", "more")
        assert receipt["complete"] and receipt["xcoms"][0]["payload"] == "deleted"
        assert up.json("verify", "--json")["whole"] == 6
