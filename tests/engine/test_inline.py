"""What a row itself holds may unfold to some times a row's size, and no more: rows can be edited."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from exclusive_xcom import errors
from exclusive_xcom.codecs.common import ROW_UNFOLDS
from exclusive_xcom.db import DbXComBackend
from exclusive_xcom.s3 import S3XComBackend

WHOSE = {"dag_id": "orders", "run_id": "run 1", "task_id": "extract", "map_index": -1, "key": "value"}
ROW = 2**16


def pushed(value: Any) -> Any:
    """Its row."""
    return json.loads(json.dumps(DbXComBackend.serialize_value(value, **WHOSE)))


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small row."""
    monkeypatch.setenv("AIRFLOW__XCOM__MAX_ROW_SIZE", str(ROW))


def zeros(size: int) -> Any:
    """A table of so many bytes, which travels in a few thousand."""
    import pyarrow as pa

    return pa.table({"a": np.zeros(size // 8)})


def test_whoever_pushes_is_told() -> None:
    assert pushed(zeros(ROW_UNFOLDS * ROW // 2))["$xcom"]
    with pytest.raises(errors.ValueTooLarge, match="MAX_ROW_SIZE"):
        pushed(zeros(ROW_UNFOLDS * ROW * 2))


def test_no_row_unfolds_to_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever backend reads it."""
    monkeypatch.setenv("AIRFLOW__XCOM__MAX_ROW_SIZE", str(ROW * 4))
    row = pushed(zeros(ROW_UNFOLDS * ROW * 2))
    assert len(json.dumps(row)) < ROW
    for backend in (DbXComBackend, S3XComBackend):
        monkeypatch.setenv("AIRFLOW__XCOM__MAX_ROW_SIZE", str(ROW * 4))
        assert len(backend.deserialize_value(SimpleNamespace(value=row))) == ROW_UNFOLDS * ROW * 2 // 8
        monkeypatch.setenv("AIRFLOW__XCOM__MAX_ROW_SIZE", str(ROW))
        with pytest.raises(errors.PayloadUnreadable, match="MAX_ROW_SIZE"):
            backend.deserialize_value(SimpleNamespace(value=row))


def test_a_row_that_claims_to_be_long_takes_no_memory() -> None:
    """Nor is the machine blamed for having too little of it."""
    row = pushed(np.zeros(3)) | {"length": 10**14}
    with pytest.raises(errors.PayloadTruncated, match=r"instead of 100,000,000,000,000"):
        DbXComBackend.deserialize_value(SimpleNamespace(value=row))
