"""pandas data frames, series and indexes."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa

from ..errors import UnsupportedValue
from . import OURS, Options, Payload
from ._arrow_types import check_rows, check_schema, memory, rows_per_batch
from ._json import decoded_size, dumps, loads
from ._objects import class_name
from ._pandas_columns import (
    arrow_of,
    check_type,
    dense_dtype,
    objects_of,
    plan,
    plan_alone,
    plan_index,
    restore,
    restore_alone,
    restore_index,
    shared_objects,
    values_of,
)
from ._pandas_objects import Cut, Note, held_in
from ._tables import Table, TableCodec, check_columns, named
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

    def encode(self, value: Any, options: Options) -> Payload:
        value, turned = _with_known_zones(value, options)
        return replace(super().encode(value, options), turned=turned)

    def table(self, value: Any, options: Options) -> Table:
        shape = next(name for name in OURS[self.name][1:] if isinstance(value, getattr(pd, name)))
        name = type(value).__name__
        if getattr(pd, name, None) is not type(value):
            advice = f"Return pandas.{shape}(value).{self._then(value, shape, options)}"
            if hasattr(value, "to_wkb"):  # geopandas
                advice = "Return value.to_wkb(), and beside it str(value.crs)."
            raise UnsupportedValue(f"A {name} would come back as pandas' own", advice)
        notes, columns = _plan(value, shape, options)
        empty = _batch(columns, slice(0, 0))
        check_schema(empty.schema, options.frame_format)  # before anything is asked for its bytes
        held = sum(held_in(values) for values, _ in columns.values())
        rows, size = len(value), int(np.sum(value.memory_usage())) + held
        check_encoded(f"A pandas {name}", size, options)
        schema = empty.schema.with_metadata({_NOTES: dumps(notes)})
        summary = extent(rows, value.shape[1] if shape == "DataFrame" else None)
        step = rows_per_batch(rows, size)
        rows = rows if columns else 0  # in Arrow's table
        parts = [slice(start, start + step) for start in range(0, rows or 1, step)]
        batches = partial(map, partial(_batch, columns), parts)
        cost = partial(_cost, _columns(notes))
        return Table(f"pandas {name}", summary, shape, schema, rows, batches, cost, _objects(notes, empty))

    def _then(self, value: Any, shape: str, options: Options) -> str:
        """What to do about pandas' own value in place of a subclass, if it would be refused in its turn."""
        try:
            own = getattr(pd, shape)(self.part(value, 1))
            self._written(own, options)
        except UnsupportedValue as error:
            return f" Before that: {error.what[0].lower()}{error.what[1:]}. {error.advice}"
        return ""

    def value(self, schema: Any, batches: Iterator[Any], shape: str, options: Options) -> Any:
        return _build(_notes(schema, options), batches, shape, options)

    def choose(self, found: Any, shape: str, columns: Sequence[str], options: Options) -> Any:
        """A frame of these columns, with the whole index."""
        if shape != "DataFrame":
            raise UnsupportedValue(f"A pandas {shape} has no columns", "Call load() without columns.")
        notes = _notes(found.schema, options)
        labels = restore_alone(notes["labels"], options)
        check_rows(len(labels), len(notes["columns"]), "columns")  # a range of any length takes no bytes
        check_columns(columns, labels)
        numbers = np.arange(len(labels))
        places = (numbers[labels.get_loc(column)] for column in columns)
        picked = [i for place in places for i in np.atleast_1d(place).tolist()]
        fields = sorted(set(picked))
        notes["columns"] = [notes["columns"][i] for i in fields]
        notes["labels"] = plan_alone(labels[fields], options)
        batches = found.batches([*fields, *range(len(labels), len(found.schema))])
        frame = _build(notes, batches, shape, options)
        order = [fields.index(i) for i in picked]
        return frame if order == list(range(frame.shape[1])) else frame.iloc[:, order]

    def part(self, value: Any, rows: int, columns: slice = slice(None)) -> Any:
        if isinstance(value, pd.DataFrame):
            return value.iloc[:rows, columns]
        return value[:rows] if isinstance(value, pd.Index) else value.iloc[:rows]

    def difference(self, found: Any, value: Any) -> str | None:
        if isinstance(value, pd.DataFrame):
            pairs = zip(value.columns, found.items(), value.items(), strict=True)
            columns = [(f"Column {named(label)}", one, other) for label, (_, one), (_, other) in pairs]
        else:
            columns = [] if isinstance(value, pd.Index) else [("The series", found, value)]
        for what, one, other in columns:
            if one.dtype != other.dtype or type(one.dtype) is not type(other.dtype):
                return f"{what} of dtype {other.dtype} would come back as {one.dtype}"
            if not _same_values(values_of(one), values_of(other)):
                return f"{what} would come back with other values"
        axes = [(found, value)] if isinstance(value, pd.Index) else zip(found.axes, value.axes, strict=True)
        for one, other in axes:
            if not _same_index(one, other):
                return f"The index {named(other)} would come back as {named(one)}"[:300]
        return None


CODEC = PandasCodec()


def _with_known_zones(value: Any, options: Options) -> tuple[Any, tuple[str, ...]]:
    """A value in which a zone that no consumer can make is the offset from UTC that all moments of its column
    have there; and what was turned so. Where they have several, the column is refused later."""
    turned: dict[str, None] = {}

    def known(column: Any) -> Any:
        if not isinstance(column.dtype, pd.DatetimeTZDtype):
            return column
        with contextlib.suppress(UnsupportedValue):
            tag(column.dtype.tz, options)
            return column
        moments = pd.DatetimeIndex(column)
        offsets = (moments.tz_localize(None) - moments.tz_convert("UTC").tz_localize(None)).dropna().unique()
        if len(offsets) > 1:
            return column
        turned[f"{class_name(type(column.dtype.tz))} as timezone"] = None
        zone = dt.timezone(offsets[0].to_pytimedelta()) if len(offsets) else dt.UTC
        return (column.dt if isinstance(column, pd.Series) else column).tz_convert(zone)

    if isinstance(value, pd.Index):
        return known(value), tuple(turned)
    frame = isinstance(value, pd.DataFrame)
    columns = {i: known(column) for i, (_, column) in enumerate(value.items())} if frame else {}
    made = value.copy(deep=False) if frame else known(value)
    axes = [known(axis) for axis in value.axes]
    if not turned:
        return value, ()
    for i, column in columns.items():
        if column.dtype != value.dtypes.iloc[i]:
            made.isetitem(i, column)
    made.index, *labels = axes
    if frame:
        (made.columns,) = labels
    return made.__finalize__(value), tuple(turned)


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
        with within(f"column {named(label)}"):
            note, cut = plan(values, options)
        notes["columns"].append(note)
        add(label, values, cut)
    with within("the index"):
        notes["index"], levels = plan_index(index, options)
    for name, (values, cut) in zip(index.names, levels, strict=False):
        add("index" if name is None else name, values, cut)
    if shape != "Index":
        with within("the column labels"):
            labels = plan_alone(value.columns, options) if shape == "DataFrame" else tag(value.name, options)
        duplicates = value.flags.allows_duplicate_labels
        notes |= {"labels": labels, "attrs": tag(value.attrs, options), "duplicates": duplicates}
    return notes, columns


def _notes(schema: Any, options: Options) -> Note:
    text = schema.metadata[_NOTES]
    check_decoded(decoded_size(text, options.max_size, plain=False), options)
    return cast("Note", loads(text))


def _batch(columns: dict[str, tuple[Any, Cut]], rows: slice) -> Any:
    """Some rows as a RecordBatch."""
    arrays = []
    for name, (values, cut) in columns.items():
        with within(f"column {name!r}"):
            arrays.append(arrow_of(cut, values[rows]))
    return pa.RecordBatch.from_arrays(arrays, list(columns))


def _columns(notes: Note) -> list[Note]:
    """The notes on all columns of the batches: those of the value, and of its index."""
    index = notes["index"]
    return [*notes["columns"], *([index["values"]] if "values" in index else index.get("levels", []))]


def _cost(columns: list[Note], batch: Any) -> int:
    """Bytes that a batch takes, in Arrow's arrays and as Python's objects."""
    pairs = zip(columns, batch.columns, strict=True)
    return memory(batch.columns) + sum(objects_of(note, column) for note, column in pairs)


def _objects(notes: Note, batch: Any) -> int:
    """Bytes that the objects take which all batches share: categories."""
    pairs = zip(_columns(notes), batch.columns, strict=True)
    return sum(shared_objects(note, column) for note, column in pairs)


def _gather(batches: Iterable[Any], notes: Note, options: Options) -> list[Any]:
    """For each column what `restore` wants of it.

    Numbers go into arrays of their own as they are read, so that there never is a second copy of the frame
    in memory; columns of one dtype share one array, as pandas has them.
    """
    rows, at, columns = notes["rows"], 0, _columns(notes)
    keys = [(dense_dtype(note), i < len(notes["columns"])) for i, note in enumerate(columns)]
    dense = rows * sum(dtype.itemsize for dtype, _ in keys if dtype is not None)
    check_decoded(max(rows, dense), options)
    blocks = {key: iter(np.empty((keys.count(key), rows), key[0])) for key in set(keys) if key[0] is not None}
    found: list[Any] = [next(blocks[key]) if key in blocks else [] for key in keys]
    size = 0
    for batch in batches:
        if not at:
            for note, field in zip(columns, batch.schema, strict=True):
                check_type(note, field)
            size = _objects(notes, batch)
        size += _cost(columns, batch)
        check_decoded(size, options)
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
    check_rows(len(index), rows)
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


def _same_values(one: Any, other: Any) -> bool:
    """Whether two columns have the same values, bit for bit; NaN is NaN, but not NA."""
    if type(one) is not type(other) or one.dtype != other.dtype or len(one) != len(other):
        return False
    if isinstance(one, np.ndarray) and one.dtype != object:
        return bool(one.tobytes() == other.tobytes())
    same = not isinstance(one, np.ndarray) and one.equals(other)
    return bool(same or list(map(_cell, one)) == list(map(_cell, other)))


def _cell(value: Any) -> tuple[Any, ...]:
    if type(value) is np.ndarray:
        return value.dtype, value.shape, value.tobytes()
    return type(value), repr(value), getattr(value, "fold", 0)


def _same_index(one: Any, other: Any) -> bool:
    """Whether two indexes are the same, with their names and frequency."""
    same = type(one) is type(other) and one.dtype == other.dtype and one.equals(other)
    same = same and getattr(one, "freq", None) == getattr(other, "freq", None)
    return bool(same and list(map(_cell, one.names)) == list(map(_cell, other.names)))
