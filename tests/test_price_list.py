"""The example of external storage, its archive in a bucket: a real S3 server and an Airflow connection."""

from __future__ import annotations

import pytest
from projects import BakedProject

pytestmark = pytest.mark.installed

# What ObjectStoragePath needs for s3://. Too much for every project: 40 MB, and an older boto3.
S3 = "apache-airflow-providers-amazon[s3fs]>=9.15"

TEST = """
import os
from datetime import date


def test_the_archive_lies_in_a_bucket(run):
    bucket = os.environ["AIRFLOW__XCOM__URL"].split("/")[2]  # the server that the tests started has one
    where = {"price_list_archive": f"s3://{bucket}/prices", "price_list_archive_connection": "xcom_s3"}
    first = run("price_list", day=date(2025, 3, 3), **where).value("publish")
    assert str(first) == f"s3://xcom_s3@{bucket}/prices/2025-03-03.csv"
    done = run("price_list", day=date(2025, 3, 4), price_list_vat_percent=10, **where)
    assert done.value("changes")["changed"]["lamp"] == {"before": 58.8, "now": 53.9}
    assert [path.name for path in first.parent.iterdir()] == ["2025-03-03.csv", "2025-03-04.csv"]
    assert not done.output.exists()
"""


@pytest.mark.parametrize("installed", ["s3"], indirect=True)
def test_the_archive_lies_in_a_bucket(installed: BakedProject) -> None:
    test = installed.path / "tests" / "test_bucket.py"
    test.write_text(TEST, encoding="utf-8")
    try:
        installed.uv("run", "--no-sync", "--with", S3, "pytest", "--only=bucket")
    finally:
        test.unlink()
