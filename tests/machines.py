"""Runs every pipeline of a project with each task on a machine of its own: a test to put among the project's.

A machine here is a process of Airflow's own that runs one task: with a copy of the project, a working folder
and a temporary folder that no other task has. Common are Airflow's database and the XComs' store.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.executors.base_executor import BaseExecutor

PROJECT = Path(__file__).resolve().parents[1]
# The last one asks Airflow's api-server for what is not there any more.
PIPELINES = sorted({path.stem for path in (PROJECT / "dags").glob("*.py")} - {"housekeeping"})
PORT = int(os.environ["EXECUTION_PORT"])  # a free one


class Machines(BaseExecutor):
    """Runs each task on a new machine, one after the other."""

    def start(self) -> None:
        """There is nothing to start."""

    def end(self) -> None:
        """Nor to end."""

    def _process_workloads(self, workload_items: Sequence[Any]) -> None:
        for workload in workload_items:
            del self.queued_tasks[workload.key]
            machine = Path(tempfile.mkdtemp(prefix="machine-", dir=os.environ["MACHINES"]))
            if not (child := os.fork()):
                try:
                    _move_to(machine)
                    workload.dag_rel_path = Path(workload.dag_rel_path).relative_to(PROJECT / "dags")
                    os._exit(self.run_workload(workload))
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
            end = self.fail if os.waitpid(child, 0)[1] else self.success
            end(workload.key)


def _move_to(machine: Path) -> None:
    """Make a new folder this process's machine."""
    for name in ("config", "dags", "data", "include", "plugins"):
        shutil.copytree(PROJECT / name, machine / name)
    (machine / "tmp").mkdir()
    os.chdir(machine)
    for name, text in os.environ.items():
        if name.startswith(("AIRFLOW_CONN_", "AIRFLOW__CORE__PLUGINS_FOLDER")):
            for common in (str(PROJECT), os.environ["AIRFLOW_HOME"]):
                text = text.replace(common, str(machine))
            os.environ[name] = text
    folder = {"classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "name": "dags-folder"}
    bundles = [folder | {"kwargs": {"path": str(machine / "dags")}}]
    os.environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps(bundles)
    os.environ["TMPDIR"] = tempfile.tempdir = str(machine / "tmp")


@pytest.fixture(scope="module")
def api(airflow: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Airflow's interface for tasks, which they reach over the network."""
    with pytest.MonkeyPatch.context() as environ:
        address = f"http://127.0.0.1:{PORT}/execution/"
        environ.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", address)
        environ.setenv("AIRFLOW__CORE__EXECUTOR", f"{__name__}.Machines")
        environ.setenv("MACHINES", str(tmp_path_factory.mktemp("machines")))
        airflow_command = str(Path(sys.executable).with_name("airflow"))
        command = [airflow_command, "api-server", "--apps=execution", "--host=127.0.0.1", f"--port={PORT}"]
        log = tmp_path_factory.mktemp("api") / "log"
        with log.open("wb") as said:
            server = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            while not _answers(address):
                assert server.poll() is None, log.read_text(encoding="utf-8")
                time.sleep(0.2)
            yield
        finally:
            server.terminate()
            server.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.mark.parametrize("name", PIPELINES)
def test_it_needs_nothing_that_one_machine_alone_has(
    api: None, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever a task leaves for another one, that one gets."""
    before = set(PROJECT.glob("output/**/*"))
    # As its text says: where tasks run on several machines, all of them have to reach the archive.
    monkeypatch.setenv("AIRFLOW_VAR_PRICE_LIST_ARCHIVE", tmp_path.as_uri())
    dag = DagBag(PROJECT / "dags").dags[name]
    done = dag.test(run_after=(now := datetime.now(UTC)), logical_date=now, use_executor=True)
    states = {f"{task.task_id}[{task.map_index}]": str(task.state) for task in done.get_task_instances()}
    assert set(states.values()) == {"success"}, states
    assert set(PROJECT.glob("output/**/*")) == before, "a task was not on its machine"
