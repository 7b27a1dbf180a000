"""Runs whole tasks with each backend: Airflow learns in the first moment of a process which one it has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("backend", ["db", "s3", "redis"])
def test_tasks_hand_over_with(backend: str) -> None:
    """Values and rows."""
    run(backend, "test_tasks.py", "test_bound_tasks.py", "test_loops.py")
    run(backend, "test_kept_tasks.py", "test_told_tasks.py", "test_whole_readers.py", "test_whole_secrets.py")
    run(backend, "test_whole_encrypted.py", "test_whole_downloads.py")


# What Airflow shows of arguments depends on the values, and hardly on the backend.
@pytest.mark.parametrize(
    "backend", ["db", *(pytest.param(name, marks=pytest.mark.slow) for name in ("s3", "redis"))]
)
def test_arguments_arrive_with(backend: str) -> None:
    """Large and odd ones."""
    run(backend, "test_arguments.py")


@pytest.mark.parametrize("backend", ["s3", "redis"])
def test_mapped_tasks_fetch_their_item_with(backend: str) -> None:
    """A large list."""
    run(backend, "test_mapped.py")


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
