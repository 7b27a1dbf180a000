"""Gives the engine's tests an Airflow of their own, in a temporary folder, and real servers on free ports.

XCOM_TEST_BACKEND (db, s3 or redis) is the backend that Airflow is told of, for the tests that run whole
tasks; test_backends.py runs these with each. All others call the backend that they are about.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

BACKENDS = {"db": "db.DbXComBackend", "s3": "s3.S3XComBackend", "redis": "redis.RedisXComBackend"}
BACKEND = os.environ.get("XCOM_TEST_BACKEND", "db")
# Whole tasks need a backend that Airflow is told of from the start: test_backends.py runs them.
_WHOLE = ("arguments", "bound_tasks", "kept_tasks", "loops", "mapped", "tasks", "told_tasks")
_WHOLE += ("whole_downloads", "whole_encrypted", "whole_readers", "whole_secrets")
collect_ignore = [] if "XCOM_TEST_BACKEND" in os.environ else [f"test_{name}.py" for name in _WHOLE]
HOME = Path(tempfile.mkdtemp(prefix="engine-airflow-"))
MIGRATED = HOME / "migrated"  # is there when Airflow's database is
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

# Here and not in a fixture: Airflow reads them when the first test module imports it.
for _name in [name for name in os.environ if name.startswith(("AIRFLOW", "AWS_"))]:
    del os.environ[_name]
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": str(HOME / "dags"),
    # At its end Airflow 3.4 closes its pool from outside of the event loop, which SQLAlchemy refuses aloud.
    "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_ENABLED": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db?timeout=30",
}
if "XCOM_TEST_BACKEND" in os.environ:
    os.environ["AIRFLOW__CORE__XCOM_BACKEND"] = f"exclusive_xcom.{BACKENDS[BACKEND]}"
    os.environ["AIRFLOW__XCOM__CONN_ID"] = "" if BACKEND == "db" else f"xcom_{BACKEND}"
    if BACKEND == "s3":
        os.environ["AIRFLOW__XCOM__URL"] = "s3://engine-tests/xcom"
    # `dag.test()` wants to find its DAG in a bundle, and Airflow 3.4 reads once in a process which there are.
    BUNDLE = HOME / "tests"
    BUNDLE.mkdir()
    of_folder = "airflow.dag_processing.bundles.local.LocalDagBundle"
    os.environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps(
        [{"name": "tests", "classpath": of_folder, "kwargs": {"path": str(BUNDLE)}}]
    )
# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("engine", deadline=None)
hypothesis.settings.load_profile("engine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first: else one process has it to do while the others have nothing left."""
    items.sort(key=lambda item: item.path.name != "test_backends.py")


@pytest.fixture(autouse=True)
def same_settings() -> Iterator[None]:
    """A test leaves Airflow's settings as they were: what stayed would change the tests after it."""
    before = airflow_settings()
    yield
    after = airflow_settings()
    for name in after:
        del os.environ[name]
    os.environ.update(before)
    assert after == before, "the test left other settings than it found"


@pytest.fixture(autouse=True)
def same_rows() -> Iterator[None]:
    """A test leaves Airflow's Variables, pools and connections as they were, too."""
    before = airflow_rows() if MIGRATED.exists() else None
    yield
    assert before is None or airflow_rows() == before, "the test left other rows than it found"


def airflow_rows() -> list[tuple[str, str]]:
    """Which Variables, pools and connections Airflow's database has."""
    names = {"variable": "key", "slot_pool": "pool", "connection": "conn_id"}
    asked = " union all ".join(f"select '{table}', {name} from {table}" for table, name in names.items())
    with contextlib.closing(sqlite3.connect(HOME / "airflow.db", timeout=30)) as database:
        return sorted(database.execute(asked))


def airflow_settings() -> dict[str, str]:
    """The variables of the environment that Airflow reads."""
    return {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW")}


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The folder in which whole tasks' DAGs have to be, for `dag.test()`."""
    return BUNDLE


@pytest.fixture(scope="session")
def airflow() -> Iterator[None]:
    """Airflow with a fresh database, and the store of the backend that it is told of."""
    from exclusive_xcom.local import metadata, services

    with services.running(os.environ, HOME / "services") as variables:
        os.environ.update(variables)
        metadata.migrate()
        MIGRATED.touch()
        yield


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The address of moto's S3 server."""
    import s3_servers

    with s3_servers.moto() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of rclone's S3 server."""
    import s3_servers

    with s3_servers.rclone(tmp_path_factory.mktemp("rclone")) as endpoint:
        yield endpoint
