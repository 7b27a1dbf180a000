"""Columns of Python objects of pandas as Arrow arrays and back: text, dates, arrays, cells of all kinds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ..errors import PayloadUnreadable
from . import Options
from ._json import dumps, loads
from ._tagged import tag, untag

Note = dict[str, Any]
Cut = Callable[[Any], Any]  # a slice of the column's values → Arrow array
Plan = tuple[Note, Cut]

_OBJECTS = {str: pa.large_string(), bytes: pa.large_binary(), dt.date: pa.date32(), bool: pa.bool_()}
_MISSING = {type(None): "None", type(pd.NA): "NA", float: "nan"}
_MISSING_CELLS = {"None": None, "NA": pd.NA, "nan": np.nan}
_ARRAY = 136  # bytes of an array that is a part of another one's memory


class Objects:
    """Objects that are all text, bytes, dates or booleans, with one kind of missing value."""

    def plan(self, values: Any, options: Options) -> Plan | None:
        if values.dtype != object:
            return None
        kinds = set(map(type, values))
        missing, only = kinds & _MISSING.keys(), kinds - _MISSING.keys()
        numbers = float in kinds and _are_numbers(values)
        if len(missing) > 1 or len(only) > 1 or not only <= _OBJECTS.keys() or numbers:
            return None
        kind = _OBJECTS[only.pop() if only else str]
        note = {"missing": _MISSING[missing.pop() if missing else type(None)]}
        return note, lambda v: pa.array(v, kind, from_pandas=True)

    def fits(self, note: Note, kind: Any) -> bool:
        return kind in _OBJECTS.values()

    def objects(self, note: Note, column: Any) -> int:
        return texts_of(column)

    def restore(self, note: Note, found: Any, options: Options) -> Any:
        cells = [cell for array in found for cell in array.to_pylist()]
        made = np.fromiter(cells, object, len(cells))
        if note["missing"] != "None":
            made[[cell is None for cell in cells]] = _MISSING_CELLS[note["missing"]]
        return made


def _are_numbers(values: Any) -> bool:
    """Whether a float in a column of objects is more than a mark for what is missing: also NaN of other bits
    than the usual one's is."""
    floats = np.array([cell for cell in values if type(cell) is float], "f8")
    return bool((floats.view("i8") != np.array(np.nan).view("i8")).any())


class Arrays:
    """Arrays of one dimension and dtype of numbers, however long, with one kind of missing value: lists."""

    def plan(self, values: Any, options: Options) -> Plan | None:
        if values.dtype != object:
            return None
        kinds = set(map(type, values))
        arrays = [cell for cell in values if type(cell) is np.ndarray]
        dtypes = {cell.dtype for cell in arrays if cell.ndim == 1}
        if not arrays or len(kinds) > 2 or not kinds <= {np.ndarray, *_MISSING} or len(dtypes) != 1:
            return None
        (dtype,) = dtypes
        odd = dtype.kind not in "biuf" or dtype.itemsize > 8 or not dtype.isnative or dtype.metadata
        numbers = float in kinds and _are_numbers(values)
        if odd or numbers or any(cell.ndim != 1 for cell in arrays):
            return None
        missing = [_MISSING[kind] for kind in kinds if kind in _MISSING]
        return {"dtype": dtype.str, "missing": missing[0] if missing else "None"}, partial(_lists, dtype)

    def fits(self, note: Note, kind: Any) -> bool:
        dtype = dtype_of(note["dtype"], "biuf", 8)
        return bool(pa.types.is_large_list(kind) and kind.value_type == pa.from_numpy_dtype(dtype))

    def objects(self, note: Note, column: Any) -> int:
        return int(_ARRAY * len(column) + column.nbytes)

    def restore(self, note: Note, found: Any, options: Options) -> Any:
        dtype, missing, cells = dtype_of(note["dtype"], "biuf", 8), _MISSING_CELLS[note["missing"]], []
        for array in found:
            if array.values.null_count:
                raise ValueError("there are missing numbers in an array")
            flat = np.array(array.values.to_numpy(zero_copy_only=False), dtype)  # a copy, to be written to
            ends = array.offsets.to_numpy()
            there = array.is_valid().to_numpy(zero_copy_only=False)
            places = zip(ends, ends[1:], there, strict=False)
            cells += [flat[start:end] if valid else missing for start, end, valid in places]
        return np.fromiter(cells, object, len(cells))


def _lists(dtype: Any, cells: Any) -> Any:
    arrays = [cell if type(cell) is np.ndarray else None for cell in cells]
    ends = np.cumsum([0, *(0 if cell is None else len(cell) for cell in arrays)])
    flat = np.concatenate([np.empty(0, dtype), *(cell for cell in arrays if cell is not None)])
    missing = pa.array([cell is None for cell in arrays], pa.bool_())
    return pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), pa.array(flat), mask=missing)


def held_in(values: Any) -> int:
    """Bytes of the arrays in the cells of a column."""
    if values.dtype != object:
        return 0
    return sum(cell.nbytes for cell in values if type(cell) is np.ndarray)


class Cells:
    """What Arrow has no type for, mixed objects and complex numbers: each cell as JSON text."""

    def plan(self, values: Any, options: Options) -> Plan | None:
        dtype = values.dtype
        if not isinstance(dtype, np.dtype) or dtype.kind not in "Oc" or dtype.itemsize > 16:
            return None
        text = pa.large_string()
        return {"dtype": dtype.str}, lambda v: pa.array(list(map(dumps, tag(v.tolist(), options))), text)

    def fits(self, note: Note, kind: Any) -> bool:
        return bool(kind == pa.large_string())

    def objects(self, note: Note, column: Any) -> int:
        parts = [pa.compute.sum(pa.compute.count_substring(column, mark)).as_py() or 0 for mark in "[{,:"]
        return int(texts_of(column) + 3 * column.nbytes + 80 * sum(parts))

    def restore(self, note: Note, found: Any, options: Options) -> Any:
        cells = [cell for array in found for cell in array.to_pylist()]
        made = untag(loads(f"[{','.join(cells)}]".encode()), options)
        return np.fromiter(made, object, len(cells)).astype(dtype_of(note["dtype"], "Oc", 16), copy=False)


def dtype_of(text: str, kinds: str, size: int) -> Any:
    """The numpy dtype of a note. Raises `PayloadUnreadable` unless of these kinds and at most this size."""
    if (dtype := np.dtype(text)).kind not in kinds or dtype.itemsize > size:
        raise PayloadUnreadable(f"The payload has a column of dtype {dtype}, which we do not write")
    return dtype


def texts_of(column: Any) -> int:
    """Bytes of the Python objects of an array. One character that is not ASCII makes all of its text wide."""
    wide = is_text(column.type) and pa.compute.all(pa.compute.string_is_ascii(column)).as_py() is False
    return int(64 * len(column) + column.nbytes * (4 if wide else 1))


def is_text(kind: Any) -> bool:
    return bool(kind in (pa.string(), pa.large_string()))
