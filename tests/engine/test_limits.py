"""What may be pushed under a limit can be pulled under it, though who pulls may count a little more."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image

from exclusive_xcom import errors
from exclusive_xcom.db import DbXComBackend

WHOSE = {"dag_id": "orders", "run_id": "run 1", "task_id": "extract", "map_index": -1, "key": "value"}

VALUES: dict[str, Callable[[], Any]] = {
    "bits that say what is missing": lambda: pd.DataFrame({"a": np.zeros(50_000, bool)}),
    "categories of polars": lambda: pl.DataFrame({"a": [f"item {n}" for n in range(20_000)]}).cast(
        pl.Categorical
    ),
    "categories of pandas": lambda: pd.DataFrame({"a": pd.Categorical([f"{n}" for n in range(20_000)])}),
    "a list of many parts": lambda: [Image.new("L", (4, 4)) for _ in range(100)],
    "frames beside text": lambda: {
        "text": ["x"] * 9000,
        "frames": [pd.DataFrame({"a": [1, 2]}) for _ in range(20)],
    },
}


def push(value: Any) -> Any:
    """The row of a value."""
    return json.loads(json.dumps(DbXComBackend.serialize_value(value, **WHOSE)))


@pytest.mark.parametrize("form", ["arrow", "parquet", "packed"])
@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES)
def test_under_the_least_limit_for_a_push_it_can_be_pulled(
    make: Callable[[], Any], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = make()
    monkeypatch.setenv("AIRFLOW__XCOM__MAX_ROW_SIZE", str(2**26))
    monkeypatch.setenv("AIRFLOW__XCOM__FRAME_FORMAT", form)
    low, high = 1, 2**26
    while high - low > high // 500:
        limit = (low + high) // 2
        monkeypatch.setenv("AIRFLOW__XCOM__MAX_DECODED_SIZE", str(limit))
        try:
            push(value)
            high = limit
        except errors.ValueTooLarge:
            low = limit
    monkeypatch.setenv("AIRFLOW__XCOM__MAX_DECODED_SIZE", str(high))
    DbXComBackend.deserialize_value(SimpleNamespace(value=push(value)))
