"""Fixtures for the tests of a project: an Airflow of their own, its XCom store, and pipelines that run once.

An owner's tests/conftest.py loads them:

    pytest_plugins = ["exclusive_xcom.testing.fixtures"]

and a pipeline's test is then

    def test_every_order_counts(run):
        done = run("orders", orders_since="2024-07-01")     # a Variable, by its name
        assert len(done.value("revenue")) == 40             # what the task `revenue` handed over
        assert done.table("revenue.csv")[0]["name"] == "Green Hotels"

`pytest --only=NAME` runs what belongs to one pipeline: see selection.py.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from ..console import Failed
from ..local import environment, services
from .loading import Loaded, dags_folder, load
from .runs import Run as Run
from .runs import Runner

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

    from ..store import Store

for _module in ("codec_contract", "identical", "payloads", "store_contract"):
    pytest.register_assert_rewrite(f"exclusive_xcom.testing.{_module}")
pytest_plugins = ["exclusive_xcom.testing.selection"]
_HOME = pytest.StashKey[Path]()


# -- an Airflow for the tests -------------------------------------------------------------------------


def _no_deadlines() -> None:
    """How long an example takes says more of the machine than of the code. Who has chosen a profile of their
    own (`settings.load_profile`, `--hypothesis-profile`) keeps it."""
    if settings.get_current_profile_name() == "default":
        settings.register_profile("exclusive-xcom", deadline=None)
        settings.load_profile("exclusive-xcom")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Set Airflow's environment. Not in a fixture: Airflow reads it when the first test module imports it."""
    _no_deadlines()
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
    # Airflow shows the last two lines of an import that failed, which are those of a library as often as not.
    found.setdefault("AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH", "100")
    # At its end Airflow 3.4 closes its pool from outside of the event loop, which SQLAlchemy refuses aloud.
    found.setdefault("AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_ENABLED", "False")
    os.environ.update(found | environment.reach_loopback(found))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder."""
    if home := config.stash.get(_HOME, None):
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def airflow(pytestconfig: pytest.Config) -> Iterator[None]:
    """Airflow with a fresh database, and the server that its XCom backend needs."""
    from ..local import metadata, quick

    with services.running(os.environ, pytestconfig.stash[_HOME] / "services") as variables:
        os.environ.update(variables)
        metadata.migrate()
        quick.make_api()
        yield


# -- pipelines ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def loaded(airflow: None) -> Loaded:
    """The files in dags/, imported: what `dag_rules` looks at."""
    return load(dags_folder())


@pytest.fixture(scope="session")
def pipelines(loaded: Loaded) -> DagBag:
    """All pipelines, as Airflow finds them in dags/. Nobody waits before a second try of a task."""
    return loaded.bag


@pytest.fixture
def run(loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Runs pipelines, by Airflow's own `dag.test()`; what they write goes to a folder of the test's own."""
    monkeypatch.setenv("AIRFLOW_VAR_OUTPUT_FOLDER", str(tmp_path / "output"))
    return Runner(loaded, tmp_path / "output", monkeypatch)


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
    monkeypatch.setenv("AIRFLOW__XCOM__RETENTION", "1h")
    kept: Store = XCom.store()
    return kept
