"""Fixtures for the tests of a project: an Airflow of their own, its XCom store, and pipelines that run once.

An owner's tests/conftest.py loads them:

    pytest_plugins = ["exclusive_xcom.testing.fixtures"]

and a pipeline's test is then

    def test_every_order_counts(run):
        done = run("orders", orders_since="2024-07-01")     # a Variable, by its name
        assert len(done.value("revenue")) == 40             # what the task `revenue` handed over
        assert done.table("revenue.csv")[0]["name"] == "Green Hotels"
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ..console import Failed
from ..local import environment, services

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

    from ..store import Store

for _module in ("codec_contract", "identical", "payloads", "store_contract"):
    pytest.register_assert_rewrite(f"exclusive_xcom.testing.{_module}")
_HOME = pytest.StashKey[Path]()
# What airflow.sdk and the hooks of all providers end in, and the former ways that still exist.
_READS = {
    "airflow.sdk.execution_time.context._get_variable": "Variable",
    "airflow.sdk.execution_time.context._get_connection": "Connection",
    "airflow.models.Variable.get": "Variable",
    "airflow.models.Connection.get_connection_from_secrets": "Connection",
}


# -- an Airflow for the tests -------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Set Airflow's environment. Not in a fixture: Airflow reads it when the first test module imports it."""
    project = config.rootpath
    if not (project / environment.SETTINGS).is_file():
        missing = f"There is no {environment.SETTINGS} in {project}"
        raise pytest.UsageError(f"{missing}: is it the project's folder?")
    if "airflow" in sys.modules:
        raise pytest.UsageError(
            "Airflow was imported before it was told of the tests' own folder and database. In conftest.py, "
            "import it inside of fixtures."
        )
    home = config.stash[_HOME] = Path(tempfile.mkdtemp(prefix="airflow-tests-"))
    for name in environment.MISLEADING:
        os.environ.pop(name, None)
    try:
        found = environment.read(project, os.environ, secrets=False, store=False)
    except Failed as error:
        raise pytest.UsageError(str(error)) from None
    for name, text in found.items():  # what lies in the project's .airflow lies in `home`
        if name.startswith("AIRFLOW"):
            found[name] = text.replace(str(project / ".airflow"), str(home))
    os.environ.update(found | environment.reach_loopback(found))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder."""
    if home := config.stash.get(_HOME, None):
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def airflow(pytestconfig: pytest.Config) -> Iterator[None]:
    """Airflow with a fresh database, and the server that its XCom backend needs."""
    from ..local import metadata

    with services.running(os.environ, pytestconfig.stash[_HOME] / "services") as variables:
        os.environ.update(variables)
        metadata.migrate()
        yield


# -- pipelines ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A finished run of a pipeline: how each task ended, by its id (of a mapped task as `task[0]`), and the
    folder of what it wrote by `output_file`."""

    dag_id: str
    run_id: str
    states: Mapping[str, str]
    output: Path

    def value(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """What a task handed over, as its consumer gets it. Raises LookupError, which says what there is, and
        `XComError` if it can't be read."""
        from airflow.models.xcom import XComModel
        from airflow.sdk.execution_time.xcom import XCom
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            rows = list(session.scalars(select(XComModel).filter_by(dag_id=self.dag_id, run_id=self.run_id)))
            found = {(row.task_id, row.key, row.map_index): row for row in rows}
            if (task_id, key, map_index) not in found:
                there = ", ".join(f"value{name}" for name in sorted(found)) or "nothing"
                missing = f"{self.dag_id} has no value{(task_id, key, map_index)}"
                raise LookupError(f"{missing}. There is: {there}.")
            return XCom.deserialize_value(found[task_id, key, map_index])

    def text(self, name: str) -> str:
        """A text file that the run wrote."""
        return (self.output / name).read_text(encoding="utf-8")

    def table(self, name: str) -> list[dict[str, str]]:
        """A CSV file that the run wrote, a dict for each row."""
        with (self.output / name).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


@dataclass(frozen=True)
class Runner:
    """Runs a pipeline once, to its end: what the fixture `run` is."""

    pipelines: DagBag
    output: Path
    monkeypatch: pytest.MonkeyPatch

    def __call__(
        self, dag_id: str, *, day: date | None = None, fails: bool = False, **variables: object
    ) -> Run:
        """Run a pipeline on a day (without one: now), with Airflow Variables for this run alone. Each of its
        tasks has to succeed, unless the run is meant to fail."""
        bag = self.pipelines
        if dag_id not in bag.dags:
            broken = "".join(f"\n{file}:\n{reason}" for file, reason in bag.import_errors.items())
            pytest.fail(f"There is no pipeline {dag_id!r}, only {sorted(bag.dags)}.{broken}", pytrace=False)
        now = datetime.now(UTC)
        moment = datetime.combine(day or now, now.timetz())  # no two runs have the same
        with self.monkeypatch.context() as environ:
            environ.setenv("AIRFLOW_VAR_OUTPUT_FOLDER", str(self.output))
            for name, value in variables.items():
                environ.setenv(f"AIRFLOW_VAR_{name.upper()}", str(value))
            done = bag.dags[dag_id].test(run_after=moment, logical_date=moment)
        states = {
            task.task_id if task.map_index < 0 else f"{task.task_id}[{task.map_index}]": str(task.state)
            for task in done.get_task_instances()
        }
        if (str(done.state) != "success") != fails:
            pytest.fail(f"{dag_id} came to the end {done.state}: {states}. Its log is below.", pytrace=False)
        return Run(dag_id, done.run_id, states, self.output / dag_id)


@pytest.fixture(scope="session")
def pipelines(airflow: None) -> DagBag:
    """All pipelines, as Airflow finds them in dags/. Nobody waits before a second try of a task."""
    from airflow.configuration import conf
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(conf.get("core", "dags_folder"))
    for dag in bag.dags.values():
        for task in dag.tasks:
            task.retry_delay = timedelta(0)
    return bag


@pytest.fixture
def reads_at_import(airflow: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], list[str]]:
    """Imports a folder of DAG files and gives the Variables and Connections that they read meanwhile: none is
    right. Airflow imports DAG files all the time, and would ask its database each time."""
    from airflow.dag_processing.dagbag import DagBag

    def imported(folder: Path) -> list[str]:
        noted: list[str] = []

        def read(kind: str, name: str, *args: Any, **options: Any) -> Any:
            noted.append(f"{kind} {name}")
            raise RuntimeError(f"{kind} {name} was read while a DAG file is imported: read it in a task")

        with monkeypatch.context() as patched:
            for function, kind in _READS.items():
                patched.setattr(function, partial(read, kind))
            DagBag(folder)
        return noted

    return imported


@pytest.fixture
def run(pipelines: DagBag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Runs pipelines, by Airflow's own `dag.test()`; what they write goes to a folder of the test's own."""
    return Runner(pipelines, tmp_path / "output", monkeypatch)


# -- the store ----------------------------------------------------------------------------------------


RoundTrip = Callable[[Any], Any]  # the value as a consumer gets it; raises `XComError`


@pytest.fixture
def round_trip(airflow: None) -> RoundTrip:
    """Pushes and pulls values through the configured backend and its real store.

    def test_my_class_travels(round_trip):
        assert round_trip(Quality(readings=3)) == Quality(readings=3)
    """
    from airflow.sdk.execution_time.xcom import XCom

    def there_and_back(value: Any) -> Any:
        run_id = f"test__{uuid.uuid4()}"
        whose = {"dag_id": "round_trip", "task_id": "push", "run_id": run_id, "map_index": -1}
        row = XCom.serialize_value(value, key="return_value", **whose)
        return XCom.deserialize_value(SimpleNamespace(value=json.loads(json.dumps(row))))

    return there_and_back


@pytest.fixture
def store(airflow: None, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The configured backend's store, empty: below a prefix of the test's own.

    What is left there goes with the server for development. In a store of your own, to which an
    AIRFLOW_CONN_… outside leads, it stays below that prefix, `test-…`; in Redis for an hour.
    """
    from airflow.sdk.execution_time.xcom import XCom

    own = f"test-{uuid.uuid4()}"
    if url := os.environ.get("AIRFLOW__XCOM__URL"):
        monkeypatch.setenv("AIRFLOW__XCOM__URL", f"{url}/{own}")
    monkeypatch.setenv("AIRFLOW__XCOM__PREFIX", own)
    monkeypatch.setenv("AIRFLOW__XCOM__RETENTION", "3600")
    kept: Store = XCom.store()
    return kept
