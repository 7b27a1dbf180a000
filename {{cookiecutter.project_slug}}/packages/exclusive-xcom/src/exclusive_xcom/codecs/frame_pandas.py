"""pandas data frames, series and indexes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ..errors import UnsupportedValue
from . import OURS, Options
from ._arrow_types import rows_per_batch
from ._json import dumps, loads
from ._pandas_columns import (
    Cut,
    Note,
    dense_dtype,
    plan,
    plan_alone,
    plan_index,
    restore,
    restore_alone,
    restore_index,
    values_of,
)
from ._tables import Table, TableCodec, check_columns
from ._tagged import tag, untag
from .common import check_decoded, check_encoded, extent, within

_NOTES = b"xcom:pandas"  # where the file says how pandas had what it holds


class PandasCodec(TableCodec):
    """Keeps dtypes, every cell, the index of whatever kind with its freq and names, column labels of whatever
    kind, attrs. Whether rows or columns were contiguous in memory is not kept.

    In the file each column has Arrow's natural type, so that other tools can use it: text, times, categories
    as dictionaries. Cells of mixed types are JSON text.
    """

    name = "frame_pandas"
    what = "pandas frame"

    def table(self, value: Any, options: Options) -> Table:
        shape = next(name for name in OURS[self.name][1:] if isinstance(value, getattr(pd, name)))
        name = type(value).__name__
        if getattr(pd, name, None) is not type(value):
            what = f"A {name} would come back as pandas' own"
            raise UnsupportedValue(what, f"Return pandas.{shape}(value).")
        rows, size = len(value), int(np.sum(value.memory_usage()))
        check_encoded(f"A pandas {name}", size, options)
        notes, columns = _plan(value, shape, options)
        empty = _batch(columns, slice(0, 0))
        schema = empty.schema.with_metadata({_NOTES: dumps(notes)})
        _check(notes, empty, value[:0] if shape == "Index" else value.iloc[:0], shape, options)
        summary = extent(rows, value.shape[1] if shape == "DataFrame" else None)
        step = rows_per_batch(rows, size)
        rows = rows if columns else 0  # in Arrow's table
        parts = [slice(start, start + step) for start in range(0, rows or 1, step)]
        batches = partial(map, partial(_batch, columns), parts)
        return Table(f"pandas {name}", summary, shape, schema, rows, batches)

    def value(self, schema: Any, batches: Iterator[Any], shape: str, options: Options) -> Any:
        return _build(loads(schema.metadata[_NOTES]), batches, shape, options)

    def choose(self, found: Any, shape: str, columns: Sequence[str], options: Options) -> Any:
        """A frame of these columns, with the whole index."""
        if shape != "DataFrame":
            raise UnsupportedValue(f"A pandas {shape} has no columns", "Call load() without columns.")
        notes = loads(found.schema.metadata[_NOTES])
        labels = restore_alone(notes["labels"], options)
        check_columns(columns, labels)
        places = (np.arange(len(labels))[labels.get_loc(column)] for column in columns)
        picked = [i for place in places for i in np.atleast_1d(place).tolist()]
        fields = sorted(set(picked))
        notes["columns"] = [notes["columns"][i] for i in fields]
        notes["labels"] = plan_alone(labels[fields], options)
        batches = found.batches([*fields, *range(len(labels), len(found.schema))])
        frame = _build(notes, batches, shape, options)
        order = [fields.index(i) for i in picked]
        return frame if order == list(range(frame.shape[1])) else frame.iloc[:, order]


CODEC = PandasCodec()


def _plan(value: Any, shape: str, options: Options) -> tuple[Note, dict[str, tuple[Any, Cut]]]:
    """Notes on a value, and its columns by name: their values and what makes Arrow arrays of their slices."""
    index = value if shape == "Index" else value.index
    items = value.items() if shape == "DataFrame" else [("values", value)] if shape == "Series" else []
    notes: Note = {"rows": len(value), "columns": []}
    columns: dict[str, tuple[Any, Cut]] = {}

    def add(label: Any, values: Any, cut: Cut) -> None:
        wanted = name = str(label).encode("utf-8", "replace").decode()
        number = itertools.count(1)
        while name in columns:
            name = f"{wanted}.{next(number)}"
        columns[name] = values, cut

    for label, column in items:
        values = values_of(column)
        with within(f"column {label!r}"):
            note, cut = plan(values, options)
        notes["columns"].append(note)
        add(label, values, cut)
    with within("the index"):
        notes["index"], levels = plan_index(index, options)
    for name, (values, cut) in zip(index.names, levels, strict=False):
        add("index" if name is None else name, values, cut)
    if shape != "Index":
        labels = plan_alone(value.columns, options) if shape == "DataFrame" else tag(value.name, options)
        duplicates = value.flags.allows_duplicate_labels
        notes |= {"labels": labels, "attrs": tag(value.attrs, options), "duplicates": duplicates}
    return notes, columns


def _batch(columns: dict[str, tuple[Any, Cut]], rows: slice) -> Any:
    """Some rows as a RecordBatch."""
    arrays = []
    for name, (values, cut) in columns.items():
        try:
            with within(f"column {name!r}"):
                arrays.append(cut(values[rows]))
        except UnsupportedValue:
            raise
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            what = f"Column {name!r} can't be turned into Arrow ({error})"[:300]
            raise UnsupportedValue(what, "Convert it with astype().") from error
    return pa.RecordBatch.from_arrays(arrays, list(columns))


def _gather(batches: Iterable[Any], notes: Note, options: Options) -> list[Any]:
    """For each column what `restore` wants of it.

    Numbers go into arrays of their own as they are read, so that there never is a second copy of the frame
    in memory; columns of one dtype share one array, as pandas has them.
    """
    index, rows, at = notes["index"], notes["rows"], 0
    columns = notes["columns"] + ([index["values"]] if "values" in index else index.get("levels", []))
    keys = [(dense_dtype(note), i < len(notes["columns"])) for i, note in enumerate(columns)]
    check_decoded(rows * sum(1 if dtype is None else dtype.itemsize for dtype, _ in keys), options)
    blocks = {key: iter(np.empty((keys.count(key), rows), key[0])) for key in set(keys) if key[0] is not None}
    found: list[Any] = [next(blocks[key]) if key in blocks else [] for key in keys]
    for batch in batches:
        for target, column in zip(found, batch.columns, strict=True):
            if isinstance(target, list):
                target.append(column)
            else:
                target[at : at + len(column)] = column.to_numpy(zero_copy_only=False)
        at += batch.num_rows
    return found


def _build(notes: Note, batches: Iterable[Any], shape: str, options: Options) -> Any:
    """The frame, series or index of these batches."""
    found, rows = _gather(batches, notes, options), notes["rows"]
    data = [restore(note, column, options) for note, column in zip(notes["columns"], found, strict=False)]
    index = restore_index(notes["index"], found[len(data) :], options)
    if rows == 0:
        index = index[:0]
    if shape == "Index":
        return index
    if shape == "Series":
        value = pd.Series(data[0], index=index, dtype=data[0].dtype, copy=False)
        value.name = untag(notes["labels"], options)
    else:
        bases: list[Any] = [getattr(column, "base", None) for column in data]
        if not data:
            value = pd.DataFrame(index=index)
        elif getattr(bases[0], "shape", ()) == (len(data), rows) and all(base is bases[0] for base in bases):
            value = pd.DataFrame(bases[0].T, copy=False)  # one dtype: the array that `_gather` made
        else:
            series = {i: pd.Series(column, dtype=column.dtype, copy=False) for i, column in enumerate(data)}
            value = pd.DataFrame(series, copy=False)
        value.columns, value.index = restore_alone(notes["labels"], options), index
    value.attrs = untag(notes["attrs"], options)
    value.flags.allows_duplicate_labels = notes["duplicates"]
    return value


def _check(notes: Note, empty: Any, value: Any, shape: str, options: Options) -> None:
    """Compare a value without its rows with what comes back of it: what nobody thought of is refused."""
    try:
        found = _build(loads(dumps(notes | {"rows": 0})), [empty], shape, options)
    except Exception as error:
        raise UnsupportedValue(
            f"pandas can't put the value together again ({type(error).__name__}: {error})"[:300],
            "Convert unusual dtypes with astype(), an unusual index with reset_index().",
        ) from error
    ours, theirs = ([*x.dtypes] if isinstance(x, pd.DataFrame) else [x.dtype] for x in (found, value))
    for one, other in zip(ours, theirs, strict=True):
        if one != other or type(one) is not type(other):
            raise UnsupportedValue(f"dtype {other} would come back as {one}", "Convert it with astype().")
    axes = [(found, value)] if isinstance(value, pd.Index) else zip(found.axes, value.axes, strict=True)
    for one, other in axes:
        same = type(one) is type(other) and one.dtype == other.dtype and one.equals(other)
        if not same or one.names != other.names or getattr(one, "freq", None) != getattr(other, "freq", None):
            what = f"The index {other!r} would come back as {one!r}"[:300]
            raise UnsupportedValue(what, "Return the frame after reset_index().")
