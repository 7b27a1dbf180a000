"""What `xcom probe` says of the rows whose payloads a rule of the bucket ends before their time."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow_versions import ROWS_PER_TRY, row_of
from s3_servers import boto, configured

from exclusive_xcom import keep
from exclusive_xcom.s3 import S3XComBackend
from exclusive_xcom.store import Check

NOW = datetime.now(UTC)


@pytest.fixture
def bucket(moto: str, airflow: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One of the test's own, with a rule that ends everything after 90 days."""
    name = f"bucket-{uuid.uuid4()}"
    client = boto(moto)
    client.create_bucket(Bucket=name)
    rule = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "xcom/"}, "Expiration": {"Days": 90}}
    client.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [rule]})
    with configured(moto, f"s3://{name}/xcom"):
        yield name


def write(run: str, age: int, value: Any) -> None:
    """A row of Airflow's that is so many days old. It has no run, which does not matter here."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import text

    of = {"dag_id": "orders", "run_id": run, "task_id": "load", "map_index": -1}
    stored = row_of(S3XComBackend, "return_value", value, **of)
    with create_session() as session:
        session.execute(text("PRAGMA foreign_keys=OFF"))
        made = XComModel(key="return_value", value=stored, dag_run_id=uuid.uuid4().int % 2**31, **of)
        made.timestamp = NOW - timedelta(days=age)
        session.add(made)


@pytest.mark.skipif(ROWS_PER_TRY, reason="Airflow 3.4 shows no row without its task instance and run")
def test_the_first_row_that_should_stay_is_named(bucket: str) -> None:
    from exclusive_xcom import inspection

    assert list(inspection._lost_first()) == []
    write("plain", 89, 1)
    write("short", 88, keep((1,), "1h"))
    write("stays", 80, (1,))
    write("later", 70, (1,))
    (check,) = inspection._lost_first()
    assert not check.ok
    assert "'return_value' of orders.load, run stays is the first that is lost" in check.detail
    assert f"{NOW + timedelta(days=10):%Y-%m-%d}" in check.detail and "by 'old'" in check.detail


def test_the_probe_tells_the_rules_or_what_is_wrong_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from exclusive_xcom import inspection

    assert inspection._retention("7d") == Check("retention", True, "7d by default")
    file = tmp_path / "retention.toml"
    monkeypatch.setenv("AIRFLOW__XCOM__RETENTION", str(file))
    file.write_text('default = "90d"\n[[rule]]\ndag = "a*"\nkeep = "run"\n', encoding="utf-8")
    assert inspection._retention("7d").detail == "90d by default, and 1 rule before it"
    file.write_text('default = "90d"\n[[rule]]\ndag = "a*"\nkeep = "soon"\n', encoding="utf-8")
    check = inspection._retention("7d")
    assert not check.ok and 'Rule 1 (dag = "a*", keep = "soon")' in check.detail
