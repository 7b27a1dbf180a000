"""The example pipelines hand over more than 100 MB each: log records, and a file, by `xcom run` and moto."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from conftest import PROJECT

SIZES = {
    "AIRFLOW_VAR_WEB_LOGS_RECORDS": "800000",  # of about 140 bytes
    "AIRFLOW_VAR_SENSOR_ARCHIVE_KIBIBYTES": "131072",
}


@pytest.mark.slow
def test_pipelines_hand_over_more_than_100_mb() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    done = subprocess.run(
        [sys.executable, "-m", "exclusive_xcom.cli", "run", "web_logs", "sensor_archive"],
        cwd=PROJECT,
        env={**environment, **SIZES, "COLUMNS": "160"},  # a table, not a list for a narrow terminal
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"export\.csv +13\d MB", done.stdout), done.stdout
    assert re.search(r"parse .*800,000 items", done.stdout), done.stdout
