"""A platform that has an Airflow pinned which is too old: one sentence, and not what would fail later."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from projects import TEMPLATE, UV, Machine

# A real one, but without what it needs: Airflow itself is not imported.
OLD = "apache-airflow-core==3.2.0"


@pytest.mark.installed
def test_an_airflow_that_is_too_old_is_told_in_one_sentence(machine: Machine, tmp_path: Path) -> None:
    machine.run(UV, "venv", "--quiet", "old", cwd=tmp_path)
    machine.run(UV, "pip", "install", "--quiet", "--no-deps", "--python", "old", OLD, cwd=tmp_path)
    done = machine.run(
        *(os.path.join("old", "bin", "python"), "-B", "-c", "import exclusive_xcom"),
        cwd=tmp_path,
        check=False,
        PYTHONPATH=str(TEMPLATE / "engine" / "src"),
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: exclusive-xcom works with Apache Airflow 3.3 and 3.4, and this is 3.2.0: take one of "
        "these, or unset AIRFLOW__CORE__XCOM_BACKEND and uninstall exclusive-xcom."
    )
