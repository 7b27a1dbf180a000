"""Gives the tests an Airflow of their own: its folder, its database, and what the XCom backend needs.

All of it lies in a temporary folder and on free ports, and is gone afterwards. The settings are those of
config/airflow.env; variables that are set outside win, but .env is left out: what it leads to is real.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from {{ cookiecutter.__package }} import environment, services

PROJECT = Path(__file__).resolve().parents[1]
HOME = Path(tempfile.mkdtemp(prefix="airflow-tests-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
pytest.register_assert_rewrite("server_contract", "store_contract", "codec_contract", "identical")

# Here and not in a fixture: Airflow reads them when the first test module imports it.
for name in environment.MISLEADING:
    os.environ.pop(name, None)
os.environ.update(environment.read(PROJECT, os.environ, secrets=False))
os.environ.update(environment.reach_loopback(os.environ))
os.environ["AIRFLOW_HOME"] = str(HOME)
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{HOME}/airflow.db?timeout=30"
os.environ["AIRFLOW_CONN_PROJECT_SQLITE"] = f"sqlite://{HOME}/project.db"


@pytest.fixture(scope="session", autouse=True)
def airflow() -> Iterator[None]:
    """Airflow with a fresh database and the store of its XComs."""
    from {{ cookiecutter.__package }} import metadata

    with services.running(os.environ, HOME / "services") as variables:
        os.environ.update(variables)
        metadata.migrate()
        yield
