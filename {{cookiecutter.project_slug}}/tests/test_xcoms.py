"""What tasks of this project hand over: its kinds of values through its own store, and the store itself."""

from __future__ import annotations

import collections
import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from exclusive_xcom import Handle, lazy
from exclusive_xcom.errors import UnsupportedValue
from exclusive_xcom.store import Store
from exclusive_xcom.testing.fixtures import RoundTrip
from exclusive_xcom.testing.identical import identical
from exclusive_xcom.testing.store_contract import StoreContract
from PIL import Image

NOON = dt.datetime(2024, 3, 31, 12, tzinfo=ZoneInfo("Europe/Berlin"))

# Add the kinds of values that your pipelines hand over.
VALUES: dict[str, Any] = {
    "nothing in it": [],
    "text": "Größe 数据 😀\n",
    "JSON": {"a": [1, 2.5, True, None, {"b": "c"}]},
    "numbers": [2**80, 0.1, float("nan"), float("-inf"), -0.0],
    "dict with other keys than text": {1: "a", (2, 3): "b", None: "c"},
    "tuple and set": ((1, 2), {3, 4}),
    "times": [NOON, NOON.date(), dt.timedelta(microseconds=1)],
    "decimal and UUID": [Decimal("12345678901234567890.123"), UUID(int=7)],
    "deque": collections.deque([1, 2], maxlen=3),
    "bytes": bytes(range(256)) * 300,
    "numpy array": np.arange(12, dtype=np.int16).reshape(3, 4),
    "pandas Series": pd.Series([1, None, 3], dtype="Int64", name="count"),
    "data frame": pd.DataFrame(
        {
            "day": pd.date_range("2024-01-01", periods=300, tz="Europe/Berlin"),
            "kind": pd.Categorical(["a", "b", "c"] * 100),
            "price": np.linspace(0, 1, 300).round(2),
            "name": ["x", None, "z"] * 100,
        },
        index=pd.Index(range(300, 0, -1), name="number"),
    ),
    "image": Image.new("RGB", (30, 20), (200, 100, 50)),
    "dict of frames": {"one": pd.DataFrame({"x": [1, 2]}), "other": pd.DataFrame({"y": ["a"]})},
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_it_comes_back_exactly(round_trip: RoundTrip, value: Any) -> None:
    assert identical(round_trip(value), value)


def test_a_file_comes_back_with_its_name(round_trip: RoundTrip, tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_text("all is well", encoding="utf-8")
    found = round_trip(tmp_path / "report.txt")
    assert (found.name, found.read_text(encoding="utf-8")) == ("report.txt", "all is well")
    assert found != tmp_path / "report.txt"


def test_what_is_lazy_comes_back_as_a_handle_that_loads(round_trip: RoundTrip) -> None:
    frame = pd.DataFrame({"x": range(10), "y": range(10)})
    handle = round_trip(lazy(frame))
    assert isinstance(handle, Handle)
    assert identical(handle.load(columns=["y"]), frame[["y"]])


def test_what_would_not_come_back_exactly_is_refused_in_words(round_trip: RoundTrip) -> None:
    with pytest.raises(UnsupportedValue, match=r"\['a'\]\[0\]"):
        round_trip({"a": [print]})


class TestStore(StoreContract):
    """What every store must do, done by this project's own."""

    large = 2**19

    @pytest.fixture
    def store(self, store: Store) -> Store:
        """Empty for each test."""
        return store
