"""What other programs see in a stored frame: the types and values that were pushed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from exclusive_xcom.testing.codec_contract import OPTIONS, data_of, encode

ROWS = 20_000  # enough that what is packed is narrowed
MOMENTS = pd.date_range("2026-01-01", periods=ROWS, freq="min").as_unit("us")
FRAME = pd.DataFrame(
    {
        "text": pd.Series([None, "", "größe", "Rom"] * (ROWS // 4), dtype="str"),
        "whole": np.arange(ROWS) - 5,
        "short": np.arange(ROWS, dtype="int16"),
        "price": np.arange(ROWS) / 100,
        "gaps": np.where(np.arange(ROWS) % 3, np.linspace(0, 1, ROWS), np.nan),
        "zoned": MOMENTS.tz_localize("UTC").tz_convert("Europe/Rome"),
        "moment": MOMENTS,
        "colour": pd.Categorical(["red", None, "green", "red"] * (ROWS // 4), ["green", "red", "blue"]),
        "flag": np.arange(ROWS) % 2 == 0,
    }
)
# Two columns that pandas has no types of numpy's for: others see Arrow's nullable ones.
NULLS = pd.DataFrame(
    {
        "count": pd.array([1, None, 2**62] * 10, "Int64"),
        "maybe": pd.Series([True, None, False] * 10, dtype=object),
    }
)


@pytest.fixture(params=["arrow", "parquet"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Any], Path]:
    """Writes what a store would keep of a value, and says where."""

    def write(value: Any) -> Path:
        payload = encode(value, replace(OPTIONS, frame_format=request.param))
        path = tmp_path / f"frame{payload.suffix}"
        path.write_bytes(data_of(payload))
        return path

    return write


def table(path: Path) -> pa.Table:
    """As pyarrow reads it."""
    return parquet.read_table(path) if path.suffix == ".parquet" else feather.read_table(path)


@pytest.mark.parametrize("columns", [None, ["price", "colour"]])
def test_pandas(stored: Callable[[Any], Path], columns: list[str] | None) -> None:
    path = stored(FRAME)
    found = (pd.read_parquet if path.suffix == ".parquet" else pd.read_feather)(path, columns=columns)
    pd.testing.assert_frame_equal(found, FRAME if columns is None else FRAME[columns])


def test_pandas_reads_nulls(stored: Callable[[Any], Path]) -> None:
    path = stored(NULLS)
    read = pd.read_parquet if path.suffix == ".parquet" else pd.read_feather
    found = read(path, dtype_backend="numpy_nullable")
    pd.testing.assert_frame_equal(found, NULLS.astype({"maybe": "boolean"}))


def test_polars(stored: Callable[[Any], Path]) -> None:
    path = stored(FRAME)
    found = (pl.read_parquet if path.suffix == ".parquet" else pl.read_ipc)(path)
    expected = {
        "text": pl.String,
        "whole": pl.Int64,
        "short": pl.Int16,
        "price": pl.Float64,
        "gaps": pl.Float64,
        "zoned": pl.Datetime("us", "Europe/Rome"),
        "moment": pl.Datetime("us"),
        "colour": pl.Categorical,
        "flag": pl.Boolean,
    }
    assert dict(found.schema) == expected
    pd.testing.assert_frame_equal(
        found.to_pandas().astype({"colour": "str"}), FRAME.astype({"colour": "str"}), check_exact=True
    )
    found = (pl.read_parquet if path.suffix == ".parquet" else pl.read_ipc)(stored(NULLS))
    assert found.to_dict(as_series=False) == {
        "count": [1, None, 2**62] * 10,
        "maybe": [True, None, False] * 10,
    }


def test_pyarrow(stored: Callable[[Any], Path]) -> None:
    path = stored(FRAME)
    found = table(path)
    kinds = [str(kind) for kind in found.schema.types]
    text = "string" if path.suffix == ".parquet" else "large_string"
    assert kinds == [
        "large_string",
        "int64",
        "int16",
        "double",
        "double",
        "timestamp[us, tz=Europe/Rome]",
        "timestamp[us]",
        f"dictionary<values={text}, indices=int8, ordered=0>",
        "bool",
    ]
    pd.testing.assert_frame_equal(found.to_pandas(ignore_metadata=True), FRAME)
    assert table(stored(NULLS)).to_pylist()[:3] == [
        {"count": 1, "maybe": True},
        {"count": None, "maybe": None},
        {"count": 2**62, "maybe": False},
    ]


def test_duckdb(stored: Callable[[Any], Path]) -> None:
    path = stored(FRAME)
    source = duckdb.read_parquet(str(path)) if path.suffix == ".parquet" else duckdb.from_arrow(table(path))
    types = ["VARCHAR", "BIGINT", "SMALLINT", "DOUBLE", "DOUBLE", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP"]
    assert list(map(str, source.types)) == [*types, "VARCHAR", "BOOLEAN"]
    # DuckDB keeps NaN as a number of its own, and moments without their zone.
    found = source.project(
        "count(text), min(text), sum(whole), max(short), sum(price), count(*) filter (isnan(gaps)), "
        "epoch_us(min(zoned)), epoch_us(max(moment)), count(colour), count(*) filter (flag)"
    ).fetchall()
    assert found == [
        (
            FRAME["text"].count(),
            "",
            FRAME["whole"].sum(),
            FRAME["short"].max(),
            pytest.approx(FRAME["price"].sum()),
            FRAME["gaps"].isna().sum(),
            MOMENTS[0].value // 1000,
            MOMENTS[-1].value // 1000,
            FRAME["colour"].count(),
            FRAME["flag"].sum(),
        )
    ]


def test_frames_of_polars_and_tables(stored: Callable[[Any], Path]) -> None:
    frame = pl.from_pandas(FRAME.drop(columns="colour"))
    path = stored(frame)
    assert (pl.read_parquet if path.suffix == ".parquet" else pl.read_ipc)(path).equals(frame)
    pd.testing.assert_frame_equal(table(path).to_pandas(), FRAME.drop(columns="colour"))
    arrow = pa.Table.from_pandas(FRAME, preserve_index=False).drop_columns("colour")
    assert table(stored(arrow)).equals(arrow)
