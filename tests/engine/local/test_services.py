"""When a server for development is started, and what is said when it does not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from exclusive_xcom.console import Failed
from exclusive_xcom.local import services

S3 = {"AIRFLOW__XCOM__URL": "s3://bucket/xcom", "AIRFLOW__XCOM__CONN_ID": "xcom_s3"}
REDIS = {"AIRFLOW__XCOM__CONN_ID": "xcom_redis"}


@pytest.mark.parametrize(
    ("environ", "server"),
    [
        ({}, None),
        (S3, "seaweedfs"),
        (REDIS, "valkey"),
        (S3 | {"AIRFLOW_CONN_XCOM_S3": "aws://"}, None),
        (REDIS | {"AIRFLOW_CONN_XCOM_REDIS": "redis://example.com"}, None),
        (S3 | {"AIRFLOW__XCOM__CONN_ID": "our_aws"}, None),
        (S3 | {"AIRFLOW__XCOM__URL": "gs://bucket/xcom"}, None),
        (S3 | {"AIRFLOW__XCOM__URL": "file:///tmp/xcom"}, None),
    ],
)
def test_a_server_is_started_only_for_a_connection_that_nobody_defines(
    environ: dict[str, str], server: str | None
) -> None:
    assert getattr(services.needed(environ), "server", None) == server


def test_nothing_is_started_for_the_database(tmp_path: Path) -> None:
    with services.running({}, tmp_path) as variables:
        assert variables == {}


def test_a_server_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "needed", lambda environ: services.Service("none", "xcom_s3"))
    with (
        pytest.raises(Failed, match=r"KeyError: 'none'.*AIRFLOW_CONN_XCOM_S3 in connections\.env"),
        services.running({}, tmp_path),
    ):
        pass
