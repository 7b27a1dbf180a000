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
    """Fails with all that the inner pytest said."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            HERE.parent / "engine.ini",
            "--confcutdir",
            HERE,
            HERE / "test_tasks.py",
            HERE / "test_bound_tasks.py",
            HERE / "test_arguments.py",
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
