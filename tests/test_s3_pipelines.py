"""Example pipelines hand over more than 100 MB each, records and a file, by `make run` and an S3 server."""

from __future__ import annotations

import re

import pytest
from projects import BakedProject

pytestmark = [pytest.mark.installed, pytest.mark.slow]

SIZES = {
    "AIRFLOW_VAR_WEB_LOGS_RECORDS": "800000",  # of about 140 bytes
    "AIRFLOW_VAR_SENSOR_ARCHIVE_KIBIBYTES": "131072",
}


@pytest.mark.parametrize("installed", ["s3"], indirect=True)
def test_pipelines_hand_over_more_than_100_mb(installed: BakedProject) -> None:
    # So wide a terminal gets a table, and not a list.
    said = installed.make("run", ONLY="web_logs sensor_archive", COLUMNS="160", **SIZES).stdout
    assert re.search(r"export\.csv +13\d MB", said), said
    assert re.search(r"parse .*800,000 items", said), said
