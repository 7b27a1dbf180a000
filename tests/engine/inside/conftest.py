"""What the tests share that run in the environment of the baked project `engine`.

They import the package by that project's name, and the store contract from its tests.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Airflow reads these when it is imported, so they are set before anything imports it.
_home = tempfile.mkdtemp(prefix="engine-airflow-")
for _name in [name for name in os.environ if name.startswith(("AIRFLOW", "AWS_"))]:
    del os.environ[_name]
os.environ["AIRFLOW_HOME"] = _home
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"

_package = importlib.util.find_spec("engine")
if _package is None or _package.origin is None:
    raise RuntimeError("these tests run in the environment of a baked project called `engine`")
PROJECT = Path(_package.origin).parents[2]
sys.path.insert(0, str(PROJECT / "tests" / "xcom"))
pytest.register_assert_rewrite("store_contract")


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    import shutil

    shutil.rmtree(_home, ignore_errors=True)


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of moto's S3 server."""
    import s3_servers

    with s3_servers.moto(tmp_path_factory.mktemp("moto")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of rclone's S3 server."""
    import s3_servers

    with s3_servers.rclone(tmp_path_factory.mktemp("rclone")) as endpoint:
        yield endpoint
