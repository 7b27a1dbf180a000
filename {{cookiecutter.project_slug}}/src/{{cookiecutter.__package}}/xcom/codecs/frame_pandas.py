"""pandas data frames, series and indexes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..errors import UnsupportedValue
from . import Content, Options, Payload, is_of
from ._common import check_decoded, check_encoded, count, readable
from ._json import dumps, loads
from ._pandas_columns import (
    Cut,
    Note,
    dense_dtype,
    no_part,
    plan,
    plan_alone,
    plan_index,
    restore,
    restore_alone,
    restore_index,
    values_of,
)
from ._tables import open_table, rows_per_batch, write
from ._tagged import Tagger, Untagger

_NOTES = b"xcom:pandas"  # where the file says how pandas had what it holds


class PandasCodec:
    """Keeps dtypes, every cell, the index of whatever kind with its freq and names, column labels of whatever
    kind, attrs. Whether rows or columns were contiguous in memory is not kept.

    In the file each column has Arrow's natural type, so that other tools can use it: text, times, categories
    as dictionaries. Cells of mixed types are JSON text.
    """

    name = "frame_pandas"

    def accepts(self, value: Any) -> bool:
        """DataFrame, Series and Index; subclasses too, which `encode` refuses."""
        return is_of(value, "pandas", "DataFrame", "Series", "Index")

    def encode(self, value: Any, options: Options) -> Payload:
        """An IPC file or parquet. Raises `UnsupportedValue` naming the column that would not come back."""
        import pandas as pd

        shape = next(kind.__name__ for kind in (pd.DataFrame, pd.Series, pd.Index) if isinstance(value, kind))
        name = type(value).__name__
        if getattr(pd, name, None) is not type(value):
            raise UnsupportedValue(
                f"A {name} would come back as pandas' own", f"Return pandas.{shape}(value)."
            )
        rows, index = len(value), value if shape == "Index" else value.index
        size = int(value.memory_usage(index=True).sum() if shape == "DataFrame" else value.memory_usage())
        check_encoded(f"pandas {name}", size, options)
        columns = value.items() if shape == "DataFrame" else [("values", value)] if shape == "Series" else []
        table = _Table(options)
        notes: Note = {
            "shape": shape,
            "rows": rows,
            "columns": [table.add(label, column) for label, column in columns],
            "index": table.add_index(index),
        }
        if shape != "Index":
            notes["attrs"] = Tagger(options, parts=False, careful=True).run(value.attrs)
            notes["duplicates"] = value.flags.allows_duplicate_labels
            labels = plan_alone(value.columns, options) if shape == "DataFrame" else None
            notes["labels"] = labels or Tagger(options, parts=False, careful=True).run(value.name)
        empty = table.batch(slice(0, 0))
        schema = empty.schema.with_metadata({_NOTES: dumps(notes)})
        _check(notes, empty, value[:0] if shape == "Index" else value.iloc[:0], options)
        summary = count(rows, "row" if shape == "DataFrame" else "value")
        if shape == "DataFrame":
            summary += f" × {count(value.shape[1], 'column')}"
        payload = Payload(self.name, f"pandas {name}", "", "", [], summary)
        return write(payload, schema, table.batches(rows, rows_per_batch(rows, size)), options)

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> Any:
        """The frame, series or index, in memory of its own."""
        with readable("pandas frame"):
            found = open_table(content, meta, options)
            notes = loads(found.schema.metadata[_NOTES])
            rows = notes["rows"]
            return _build(notes, _gather(found.batches(), notes, rows, options), rows, options)

    def select(self, content: Content, meta: dict[str, Any], options: Options, columns: Sequence[str]) -> Any:
        """A frame of these columns, in this order, with the whole index."""
        import numpy as np

        with readable("pandas frame"):
            found = open_table(content, meta, options, ranges=True)
            notes = loads(found.schema.metadata[_NOTES])
            if notes["shape"] != "DataFrame":
                raise UnsupportedValue(
                    f"A pandas {notes['shape']} has no columns", "Call load() without columns."
                )
            labels = restore_alone(notes["labels"], options)
            picked: list[int] = []
            for column in columns:
                if column not in labels:
                    known = ", ".join(map(str, labels[:50]))
                    raise UnsupportedValue(f"There is no column {column!r}", f"Its columns are: {known}.")
                picked += np.atleast_1d(np.arange(len(labels))[labels.get_loc(column)]).tolist()
            fields = sorted(set(picked))
            notes["columns"] = [notes["columns"][i] for i in fields]
            notes["labels"] = plan_alone(labels[fields], options)
            fields += range(len(labels), len(found.schema))
            frame = _build(
                notes, _gather(found.batches(fields), notes, notes["rows"], options), notes["rows"], options
            )
            order = [fields.index(i) for i in picked]
            return frame if order == list(range(frame.shape[1])) else frame.iloc[:, order]


CODEC = PandasCodec()


class _Table:
    """An Arrow table in the making: the names, values and cuts of its columns."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._columns: dict[str, tuple[Any, Cut]] = {}

    def add(self, label: Any, column: Any) -> Note:
        """Add a column; gives its note."""
        values = values_of(column)
        try:
            note, cut = plan(values, self._options)
        except UnsupportedValue as error:
            raise UnsupportedValue(f"{error.what}, in column {label!r}", error.advice) from error
        self._add(label, values, cut)
        return note

    def add_index(self, index: Any) -> Note:
        """Add the columns of an index; gives its note."""
        try:
            note, columns = plan_index(index, self._options)
        except UnsupportedValue as error:
            raise UnsupportedValue(f"{error.what}, in the index", error.advice) from error
        for name, (values, cut) in zip(index.names, columns, strict=False):
            self._add("index" if name is None else name, values, cut)
        return note

    def _add(self, label: Any, values: Any, cut: Cut) -> None:
        wanted = name = str(label).encode("utf-8", "replace").decode()
        number = 1
        while name in self._columns:
            name, number = f"{wanted}.{number}", number + 1
        self._columns[name] = values, cut

    def batch(self, rows: slice) -> Any:
        """Some rows as a RecordBatch."""
        import pyarrow as pa

        arrays = {}
        for name, (values, cut) in self._columns.items():
            try:
                arrays[name] = cut(values[rows])
            except UnsupportedValue as error:
                raise UnsupportedValue(f"{error.what}, in column {name!r}", error.advice) from error
            except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
                raise UnsupportedValue(
                    f"Column {name!r} can't be turned into Arrow ({error})"[:300], "Convert it with astype()."
                ) from error
        return pa.RecordBatch.from_arrays(list(arrays.values()), list(arrays))

    def batches(self, rows: int, step: int) -> Iterator[Any]:
        """All rows, `step` at a time; one empty batch if there are none."""
        for start in range(0, max(rows, 1) if self._columns else 1, step):
            yield self.batch(slice(start, start + step))


def _gather(batches: Iterable[Any], notes: Note, rows: int, options: Options) -> list[Any]:
    """For each column what `restore` wants of it.

    Numbers go into arrays of their own as they are read, so that there never is a second copy of the frame
    in memory; columns of one dtype share one array, as pandas has them.
    """
    import numpy as np

    index = notes["index"]
    columns = notes["columns"] + ([index["values"]] if "values" in index else index.get("levels", []))
    dtypes = [(dense_dtype(note), i < len(notes["columns"])) for i, note in enumerate(columns)]
    check_decoded(rows * sum(1 if dtype is None else dtype.itemsize for dtype, _ in dtypes), options)
    blocks = {
        key: iter(np.empty((dtypes.count(key), rows), key[0]))
        for key in dict.fromkeys(dtypes)
        if key[0] is not None
    }
    found: list[Any] = [next(blocks[key]) if key in blocks else [] for key in dtypes]
    at = 0
    for batch in batches:
        for target, column in zip(found, batch.columns, strict=True):
            if isinstance(target, list):
                target.append(column)
            else:
                target[at : at + len(column)] = column.to_numpy(zero_copy_only=False)
        at += batch.num_rows
    return found


def _build(notes: Note, found: list[Any], rows: int, options: Options) -> Any:
    """The frame, series or index of the gathered columns."""
    import pandas as pd

    data = [restore(note, column, options) for note, column in zip(notes["columns"], found, strict=False)]
    index = restore_index(notes["index"], found[len(data) :], options)
    if rows == 0:
        index = index[:0]
    if notes["shape"] == "Index":
        return index
    if notes["shape"] == "Series":
        value = pd.Series(data[0], index=index, dtype=data[0].dtype, copy=False)
        value.name = Untagger(options, part=no_part).run(notes["labels"])
    else:
        bases: list[Any] = [getattr(column, "base", None) for column in data]
        if not data:
            value = pd.DataFrame(index=index)
        elif getattr(bases[0], "shape", ()) == (len(data), rows) and all(base is bases[0] for base in bases):
            value = pd.DataFrame(bases[0].T, copy=False)  # one dtype: the array that `_gather` made
        else:
            series = {i: pd.Series(column, dtype=column.dtype, copy=False) for i, column in enumerate(data)}
            value = pd.DataFrame(series, copy=False)
        value.columns = restore_alone(notes["labels"], options)
        value.index = index
    value.attrs = Untagger(options, part=no_part).run(notes["attrs"])
    value.flags.allows_duplicate_labels = notes["duplicates"]
    return value


def _check(notes: Note, empty: Any, value: Any, options: Options) -> None:
    """Compare a value without its rows with what comes back of it: what nobody thought of is refused."""
    import pandas as pd

    try:
        notes = loads(dumps(notes))
        found = _build(notes, _gather([empty], notes, 0, options), 0, options)
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
            raise UnsupportedValue(
                f"The index {other!r} would come back as {one!r}"[:300],
                "Return the frame after reset_index().",
            )
