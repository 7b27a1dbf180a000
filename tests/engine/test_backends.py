"""Runs whole tasks with each backend: Airflow learns in the first moment of a process which one it has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


class WholeTasks:
    """What each backend has to show: a class for each, so that several processes share them out."""

    backend: str

    def test_hand_over(self) -> None:
        """Values and rows."""
        run(self.backend, "test_tasks.py", "test_bound_tasks.py", "test_loops.py", "test_kept_tasks.py")
        run(self.backend, "test_told_tasks.py", "test_whole_readers.py", "test_whole_secrets.py")
        run(self.backend, "test_whole_encrypted.py", "test_whole_downloads.py")


class TestDb(WholeTasks):
    """Values are rows."""

    backend = "db"

    def test_arguments_arrive(self) -> None:
        """Large and odd ones."""
        run(self.backend, "test_arguments.py")


class WholeLists(WholeTasks):
    """What is kept outside of the rows."""

    @pytest.mark.slow
    def test_arguments_arrive(self) -> None:
        """Large and odd ones: what Airflow shows of them depends on the values, and hardly on the backend."""
        run(self.backend, "test_arguments.py")

    def test_mapped_tasks_fetch_their_item(self) -> None:
        """A large list."""
        run(self.backend, "test_mapped.py")


class TestS3(WholeLists):
    """Payloads are objects."""

    backend = "s3"


class TestRedis(WholeLists):
    """Payloads are keys."""

    backend = "redis"


def run(backend: str, *files: str) -> None:
    """Fail with all that the inner pytest said."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            HERE.parent / "engine.ini",
            "--confcutdir",
            HERE,
            *(HERE / file for file in files),
        ],
        cwd=HERE.parent,
        env={**os.environ, "XCOM_TEST_BACKEND": backend, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{done.stdout}\n{done.stderr}", pytrace=False)
