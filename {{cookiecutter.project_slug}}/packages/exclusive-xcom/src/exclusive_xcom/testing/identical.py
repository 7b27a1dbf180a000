"""Whether two values are the same in everything that a consumer could notice: types, order, dtypes, zones."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import struct
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from exclusive_xcom.codecs import is_of


def identical(one: Any, other: Any) -> bool:
    """True, or an AssertionError that says where they differ. Much stricter than ==: 1 is not 1.0 or True,
    0.0 is not -0.0, NaN is NaN, and dicts have an order. Objects of other classes are compared by
    their `repr`, or by == if they have none of their own."""
    _same(one, other, "value")
    return True


def _same(one: Any, other: Any, where: str) -> None:
    cls: Any = type(one)
    assert cls is type(other), f"{where}: {cls} is not {type(other)}"
    kind, own = f"{cls.__module__}.{cls.__name__}", cast("Any", cls.__repr__)
    if is_of(one, "numpy", "generic"):
        _equal((one.dtype, one.tobytes()), (other.dtype, other.tobytes()), where)
    elif isinstance(one, float):
        _equal(struct.pack(">d", one), struct.pack(">d", other), where)  # NaN has many forms
    elif cls is complex:
        _same((one.real, one.imag), (other.real, other.imag), where)
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
        _equal((repr(one), one.fold, type(one.tzinfo)), (repr(other), other.fold, type(other.tzinfo)), where)
    elif isinstance(one, Decimal):
        _equal(one.as_tuple(), other.as_tuple(), where)
    elif is_of(one, "numpy", "ndarray"):
        _equal((one.dtype, one.shape), (other.dtype, other.shape), where)
        _equal(one.dtype.isalignedstruct, other.dtype.isalignedstruct, where)
        assert one.tobytes() == other.tobytes(), f"{where}: other numbers"
    elif is_of(one, "pandas", "DataFrame", "Series", "Index"):
        _same_pandas(one, other, where)
    elif is_of(one, "pyarrow", "Table", "RecordBatch"):
        assert one.schema.equals(other.schema, check_metadata=True), f"{where}: other schema"
        assert one.equals(other), f"{where}: other cells"
    elif is_of(one, "pyarrow", "Array", "ChunkedArray"):
        _equal(one.type, other.type, where)
        assert one.equals(other), f"{where}: other cells"
    elif kind.startswith("polars."):
        for name in ("schema", "dtype", "name"):
            _equal(getattr(one, name, None), getattr(other, name, None), f"{where}.{name}")
        assert one.equals(other, null_equal=True), f"{where}: other cells"
    elif is_of(one, "PIL.Image", "Image"):
        _equal((one.mode, one.size, one.getpalette()), (other.mode, other.size, other.getpalette()), where)
        assert one.tobytes() == other.tobytes(), f"{where}: other pixels"
        _same(dict(sorted(one.info.items())), dict(sorted(other.info.items())), f"{where}.info")
    elif isinstance(one, BaseModel):
        for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__"):
            _same(getattr(one, name), getattr(other, name), f"{where}.{name}")
    elif dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            _same(getattr(one, field.name), getattr(other, field.name), f"{where}.{field.name}")
    elif isinstance(one, Path):
        _equal((one.name, one.read_bytes()), (other.name, other.read_bytes()), where)
    elif kind.startswith("airflow.") and hasattr(one, "storage_options"):
        _equal((one, one.conn_id), (other, other.conn_id), where)
        _equal(one.storage_options, other.storage_options, where)
    elif isinstance(one, (list, tuple)) or kind == "collections.deque":
        assert getattr(one, "maxlen", None) == getattr(other, "maxlen", None), where
        _all(one, other, where)
    elif cls is int:
        assert one == other, f"{where}: other number"  # which may have too many digits for a text
    elif own is object.__repr__:
        _equal(one, other, where)
    else:
        _equal(repr(one), repr(other), where)


def _equal(one: Any, other: Any, where: str) -> None:
    assert one == other, f"{where}: {str(one)[:1000]} is not {str(other)[:1000]}"


def _all(one: Iterable[Any], other: Iterable[Any], where: str) -> None:
    one, other = list(one), list(other)
    assert len(one) == len(other), f"{where}: {len(one)} items, not {len(other)}"
    for number, (item, found) in enumerate(zip(one, other, strict=True)):
        _same(item, found, f"{where}[{number}]")


def _same_pandas(one: Any, other: Any, where: str) -> None:
    import pandas as pd

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
    import pandas as pd

    assert one.dtype == other.dtype, f"{where}: dtype {one.dtype} is not {other.dtype}"
    if isinstance(one.dtype, pd.CategoricalDtype):
        _same_pandas(one.categories, other.categories, f"{where}.categories")
        _equal((one.ordered, one.codes.tolist()), (other.ordered, other.codes.tolist()), where)
    elif is_of(one.dtype, "numpy", "dtype") and one.dtype.kind == "f":
        assert struct.pack(f"{len(one)}d", *one) == struct.pack(f"{len(one)}d", *other), (
            f"{where}: other numbers"
        )
    elif isinstance(one.dtype, pd.DatetimeTZDtype):
        assert type(one.dtype.tz) is type(other.dtype.tz), f"{where}: zone {one.dtype.tz!r}"
        assert one.asi8.tolist() == other.asi8.tolist(), where
    else:
        _all(list(one), list(other), where)
