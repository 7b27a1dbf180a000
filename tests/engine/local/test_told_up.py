"""What a task in a worker tells: fields in its log, metrics over UDP, and assets to a plugin."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from small_project import Project, eventually
from statsd_receiver import Receiver

pytestmark = pytest.mark.slow

PIPELINE = """
from airflow.sdk import dag, task, get_current_context
from exclusive_xcom import lazy

@dag(schedule=None)
def told():
    @task(retries=0)
    def pushes():
        ti = get_current_context()["ti"]
        ti.xcom_push("first", b"secret" * 100)
        ti.xcom_push("number", 5)
        return lazy(b"secret" * 1000)

    @task(retries=0)
    def pulls(value):
        assert value.load() == b"secret" * 1000
        return object()

    pulls(pushes())

told()
"""
# As OpenLineage's listener does: what was collected is read when the task has ended.
PLUGIN = """
import json, sys
from pathlib import Path
from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.lineage import HookLineageReader

def told(task_instance):
    found = HookLineageReader().retrieve_hook_lineage()
    ways = {"inputs": found.inputs, "outputs": found.outputs}
    text = {way: [[one.asset.uri, one.asset.extra] for one in several] for way, several in ways.items()}
    file = Path(__file__).with_name(f"{task_instance.task_id}.json")
    file.with_suffix(".part").write_text(json.dumps(text))
    file.with_suffix(".part").rename(file)

@hookimpl
def on_task_instance_success(previous_state, task_instance):
    told(task_instance)

@hookimpl
def on_task_instance_failed(previous_state, task_instance, error):
    told(task_instance)

class Reads(AirflowPlugin):
    name = "reads_lineage"
    hook_lineage_readers = [HookLineageReader]
    listeners = [sys.modules[__name__]]
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Receiver]]:
    """A project in which the pipeline ran once, by Airflow's own worker, with a store in a folder."""
    folder = tmp_path_factory.mktemp("told")
    project, store = Project(folder / "project"), folder / "store"
    store.mkdir()
    (project.home / "plugins").mkdir(parents=True)
    (project.home / "plugins" / "reads.py").write_text(PLUGIN)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
        receiver.setblocking(False)
        settings = project.folder / "config" / "airflow.env"
        text = settings.read_text().replace("db.DbXComBackend", "s3.S3XComBackend")
        settings.write_text(
            f"{text}AIRFLOW__XCOM__URL={store.as_uri()}\nAIRFLOW__XCOM__CONN_ID=\n"
            "AIRFLOW__METRICS__STATSD_ON=True\nAIRFLOW__METRICS__STATSD_HOST=127.0.0.1\n"
            f"AIRFLOW__METRICS__STATSD_PORT={receiver.getsockname()[1]}\n"
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED=True\n"
            "AIRFLOW__METRICS__METRICS_ALLOW_LIST=xcom\n"
        )
        project.pipelines(told=PIPELINE)
        try:
            up = project.xcom("up", "--port", "0")
            assert up.returncode == 0, up.stdout
            _run(project)
            yield project, Receiver(receiver)
        finally:
            project.xcom("down")


def _run(project: Project) -> None:
    url = f"http://127.0.0.1:{json.loads((project.home / 'up.json').read_text())['port']}"
    users = json.loads((project.home / "simple_auth_manager_passwords.json.generated").read_text())
    body = dict(zip(("username", "password"), next(iter(users.items())), strict=True))
    token = httpx.post(f"{url}/auth/token", json=body, timeout=60).json()["access_token"]

    def ask(method: str, path: str, **body: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        said = httpx.request(method, f"{url}/api/v2{path}", headers=headers, json=body or None, timeout=60)
        return said.json()

    assert eventually(lambda: len(ask("GET", "/dags")["dags"]) == 1)
    run_id = ask("POST", "/dags/told/dagRuns", logical_date=None)["dag_run_id"]
    path = f"/dags/told/dagRuns/{run_id}"
    assert eventually(lambda: ask("GET", path)["state"] in ("success", "failed"), 240)


def lines(project: Project, task_id: str) -> list[dict[str, Any]]:
    """What the engine told in the log of a task's try."""
    (log,) = (project.home / "logs").rglob(f"*task_id={task_id}/attempt=1.log")
    found = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in found if "xcom" in line]


def test_its_log_has_fields(done: tuple[Project, Receiver]) -> None:
    pushed = [line["xcom"] for line in lines(done[0], "pushes")]
    assert [one["key"] for one in pushed if one["kind"] == "bytes"] == ["first", "return_value"]
    assert {one["operation"] for one in pushed} == {"push"}
    assert len({one["ti_id"] for one in pushed}) == 1 and {one["try_number"] for one in pushed} == {1}
    pulled, failed = lines(done[0], "pulls")
    assert pulled["xcom"]["operation"] == "pull" and pulled["xcom"]["ti_id"] == pushed[0]["ti_id"]
    assert failed["xcom"]["error"] == "UnsupportedValue" and failed["level"] == "error"
    assert "secretsecret" not in str([pushed, pulled, failed])


def test_its_metrics_come_over_the_network(done: tuple[Project, Receiver]) -> None:
    receiver = done[1]
    assert len(receiver.of("xcom.push.duration")) == 3
    assert [metric.tags["kind"] for metric in receiver.of("xcom.pull.bytes")] == ["bytes"]
    (refused,) = receiver.of("xcom.refused")
    assert refused.tags["error"] == "UnsupportedValue"


def test_its_payloads_are_assets(done: tuple[Project, Receiver]) -> None:
    files = [done[0].home / "plugins" / f"{name}.json" for name in ("pushes", "pulls")]
    assert eventually(lambda: all(file.exists() for file in files)), "the plugin writes once a task has ended"
    pushed, pulled = (json.loads(file.read_text()) for file in files)
    assert [extra["key"] for _, extra in pushed["outputs"]] == ["first", "return_value"]
    assert pulled["inputs"] == pushed["outputs"][1:] and not pulled["outputs"]
