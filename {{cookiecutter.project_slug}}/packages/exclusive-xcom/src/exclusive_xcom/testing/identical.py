"""Whether two values are the same in everything that a consumer could notice: types, order, dtypes, zones."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import struct
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image
from pydantic import BaseModel


def identical(one: Any, other: Any) -> bool:
    """True, or an AssertionError that says where they differ. Much stricter than ==: 1 is not 1.0 or True,
    0.0 is not -0.0, NaN is NaN, and dicts have an order."""
    _same(one, other, "value")
    return True


def _same(one: Any, other: Any, where: str) -> None:
    assert type(one) is type(other), f"{where}: {type(one)} is not {type(other)}"
    kind = f"{type(one).__module__}.{type(one).__name__}"
    if isinstance(one, np.generic):
        assert one.dtype == other.dtype and one.tobytes() == other.tobytes(), (
            f"{where}: {one!r} is not {other!r}"
        )
    elif type(one) is int:
        assert one == other, f"{where}: other number"
    elif isinstance(one, float):
        assert one.hex() == other.hex(), f"{where}: {one!r} is not {other!r}"
    elif isinstance(one, enum.Enum):
        assert one is other, f"{where}: {one!r} is not {other!r}"
    elif isinstance(one, dict):
        _all(list(one), list(other), f"keys of {where}")
        for (key, item), found in zip(one.items(), other.values(), strict=True):
            _same(item, found, f"{where}[{key!r}]")
        assert getattr(one, "default_factory", None) is getattr(other, "default_factory", None), where
    elif isinstance(one, (set, frozenset)):
        _all(sorted(one, key=repr), sorted(other, key=repr), where)
    elif isinstance(one, (dt.datetime, dt.time)):
        assert repr(one) == repr(other) and one.fold == other.fold, f"{where}: {one!r} is not {other!r}"
        assert type(one.tzinfo) is type(other.tzinfo), f"{where}: zone {one.tzinfo!r} is not {other.tzinfo!r}"
    elif isinstance(one, Decimal):
        assert one.as_tuple() == other.as_tuple(), f"{where}: {one!r} is not {other!r}"
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype and one.shape == other.shape, f"{where}: {one.dtype} {one.shape}"
        assert one.tobytes() == other.tobytes(), f"{where}: other numbers"
    elif isinstance(one, (pd.DataFrame, pd.Series, pd.Index)):
        _same_pandas(one, other, where)
    elif isinstance(one, pa.Table | pa.RecordBatch):
        assert one.schema.equals(other.schema, check_metadata=True) and one.equals(other), where
    elif isinstance(one, pa.Array | pa.ChunkedArray):
        assert one.type == other.type and one.equals(other), f"{where}: {one.type} is not {other.type}"
    elif kind.startswith("polars."):
        assert getattr(one, "schema", None) == getattr(other, "schema", None), f"{where}: other schema"
        assert getattr(one, "dtype", None) == getattr(other, "dtype", None), f"{where}: other dtype"
        assert one.equals(other, null_equal=True), f"{where}: other cells"
        assert one.name == other.name if kind.endswith("Series") else True, f"{where}: other name"
    elif isinstance(one, Image.Image):
        assert (one.mode, one.size) == (other.mode, other.size), where
        assert one.tobytes() == other.tobytes() and one.getpalette() == other.getpalette(), (
            f"{where}: other pixels"
        )
        _same(dict(sorted(one.info.items())), dict(sorted(other.info.items())), f"{where}.info")
    elif isinstance(one, BaseModel):
        for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__"):
            _same(getattr(one, name), getattr(other, name), f"{where}.{name}")
    elif dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            _same(getattr(one, field.name), getattr(other, field.name), f"{where}.{field.name}")
    elif isinstance(one, Path):
        assert one.name == other.name and one.read_bytes() == other.read_bytes(), f"{where}: other file"
    elif kind.startswith("airflow."):
        assert (
            one == other and one.conn_id == other.conn_id and one.storage_options == other.storage_options
        ), where
    elif isinstance(one, (list, tuple)) or kind == "collections.deque":
        assert getattr(one, "maxlen", None) == getattr(other, "maxlen", None), where
        _all(one, other, where)
    else:
        assert repr(one) == repr(other), f"{where}: {one!r} is not {other!r}"


def _all(one: Iterable[Any], other: Iterable[Any], where: str) -> None:
    one, other = list(one), list(other)
    assert len(one) == len(other), f"{where}: {len(one)} items, not {len(other)}"
    for number, (item, found) in enumerate(zip(one, other, strict=True)):
        _same(item, found, f"{where}[{number}]")


def _same_pandas(one: Any, other: Any, where: str) -> None:
    if isinstance(one, pd.Index):
        pd.testing.assert_index_equal(one, other, exact=True)
        _all(one.names, other.names, f"{where}.names")
        assert getattr(one, "freq", None) == getattr(other, "freq", None), f"{where}: other freq"
        if isinstance(one, pd.MultiIndex):
            for number, levels in enumerate(zip(one.levels, other.levels, strict=True)):
                _same(*levels, f"{where}.levels[{number}]")
        _same_values(one.array, other.array, where) if not isinstance(one, pd.MultiIndex) else None
        return
    _same(one.attrs, other.attrs, f"{where}.attrs")
    assert one.flags == other.flags, f"{where}: other flags"
    _same_pandas(one.index, other.index, f"{where}.index")
    if isinstance(one, pd.Series):
        _same(one.name, other.name, f"{where}.name")
        _same_values(one.array, other.array, where)
        return
    _same_pandas(one.columns, other.columns, f"{where}.columns")
    for number in range(one.shape[1]):
        _same_values(one.iloc[:, number].array, other.iloc[:, number].array, f"{where}.iloc[:, {number}]")


def _same_values(one: Any, other: Any, where: str) -> None:
    assert one.dtype == other.dtype, f"{where}: dtype {one.dtype} is not {other.dtype}"
    if isinstance(one.dtype, pd.CategoricalDtype):
        _same_pandas(one.categories, other.categories, f"{where}.categories")
        assert one.ordered == other.ordered and one.codes.tolist() == other.codes.tolist(), where
    elif one.dtype.kind == "f" and isinstance(one.dtype, np.dtype):
        assert struct.pack(f"{len(one)}d", *one) == struct.pack(f"{len(one)}d", *other), (
            f"{where}: other numbers"
        )
    elif isinstance(one.dtype, pd.DatetimeTZDtype):
        assert type(one.dtype.tz) is type(other.dtype.tz), f"{where}: zone {one.dtype.tz!r}"
        assert one.asi8.tolist() == other.asi8.tolist(), where
    else:
        _all(list(one), list(other), where)
