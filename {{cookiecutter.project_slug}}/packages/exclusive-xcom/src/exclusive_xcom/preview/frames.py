"""What of a frame or table is told: its columns, what they count, its first rows."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from ..codecs import OURS, is_of
from .cells import LIMITS, UNREAD, Limits, Part, cell, read, row_cells

COUNTED = 100_000  # rows up to which columns are looked through


def frame_told(value: Any, values: bool, limits: Limits) -> dict[str, Any]:
    """What of a frame, series, index, table or array of a table's library is told."""
    rows: Iterable[Any]
    before = 0  # columns that are an index
    if is_of(value, "polars", "LazyFrame"):  # it would have to run
        schema = value.collect_schema()
        names, types, rows, height, width = schema.names(), schema.dtypes(), [], None, schema.len()
    elif is_of(value, *OURS["frame_pandas"]):
        part = getattr(value, "iloc", value)[: limits.rows]  # a range may be longer than memory
        part = part.iloc[:, : limits.columns] if part.ndim == 2 else part
        frame, height = as_pandas(part), len(value)
        names, types = frame.columns, frame.dtypes
        rows = frame.itertuples(index=False, name=None) if values else []
        columns = value.shape[1] if value.ndim == 2 else 1
        before = frame.shape[1] - (part.shape[1] if part.ndim == 2 else 1)
        width = columns + before
    elif is_of(value, *OURS["frame_polars"]):
        frame = as_polars(value)
        names, types, height, width = frame.columns, frame.dtypes, frame.height, frame.width
        part = frame[: limits.rows, : limits.columns]
        cells = ([read(_of_polars, each, at) for at in range(part.height)] for each in part)
        rows = zip(*cells, strict=True) if values else []
    else:
        frame = as_arrow(value)
        names, types = frame.column_names, frame.schema.types
        height, width = frame.num_rows, frame.num_columns
        part = frame.slice(0, limits.rows).columns[: limits.columns]
        cells = ([read(_of_arrow, cell) for cell in column] for column in part)
        rows = zip(*cells, strict=True) if values else []
    shown = islice(zip(names, types, strict=True), limits.columns)
    told = [{"name": cell(name, limits), "type": cell(_type(each), limits)} for name, each in shown]
    for column, counted in zip(told[before:], _counted(value, limits.columns, values), strict=False):
        column |= {"nulls": counted.pop("nulls")}
        column |= {name: row_cells([end], [column["name"]], limits)[0] for name, end in counted.items()}
    found: dict[str, Any] = {"rows": height, "columns": told, "more_columns": width - len(told)}
    if values and height is not None:
        names = [column["name"] for column in told]
        found["head"] = [row_cells(row, names, limits) for row in rows]
    return found


def _type(kind: Any) -> str:
    """A column's type as a text."""
    return str(_without_words(kind)).replace("Enum(categories=[])", "Enum")


def _without_words(kind: Any) -> Any:
    """A type of polars' without the words that its Enums allow, which are values; any other as it is."""
    if is_of(kind, "polars", "Enum"):
        return type(kind)([])
    if is_of(kind, "polars", "List"):
        return type(kind)(_without_words(kind.inner))
    if is_of(kind, "polars", "Array"):
        return type(kind)(_without_words(kind.inner), kind.size)
    if is_of(kind, "polars", "Struct"):
        return type(kind)({field.name: _without_words(field.dtype) for field in kind.fields})
    return kind


def _counted(value: Any, columns: int, values: bool) -> list[dict[str, Any]]:
    """Nulls of the first columns, and their least and most; nothing of what would take long."""
    if not hasattr(value, "__len__") or len(value) > COUNTED or is_of(value, "pandas", "RangeIndex"):
        return []
    if is_of(value, *OURS["frame_pandas"]):
        part = value.iloc[:, :columns] if value.ndim == 2 else value.to_frame()
        nulls, ends = part.isna().sum().tolist(), _ends_of_pandas
        several = [part.iloc[:, at] for at in range(part.shape[1])] if values else []
    elif is_of(value, *OURS["frame_polars"]):
        frame = value if is_of(value, "polars", "DataFrame") else value.to_frame()
        several, ends = frame.get_columns()[:columns], _ends_of_polars
        nulls = [column.null_count() for column in several]
    else:
        several = value.columns[:columns] if hasattr(value, "column_names") else [value]
        nulls, ends = [column.null_count for column in several], _ends_of_arrow
    found: list[dict[str, Any]] = [{"nulls": int(number)} for number in nulls]
    for told, column in zip(found, several if values else [], strict=False):
        if told["nulls"] < len(column) and (both := read(ends, column)) is not UNREAD:
            told |= dict(zip(("least", "most"), both, strict=False))
    return found


def _ends_of_pandas(column: Any) -> tuple[Any, ...]:
    return (column.min(), column.max()) if getattr(column.dtype, "kind", "") in tuple("iufmM") else ()


def _ends_of_polars(column: Any) -> tuple[Any, ...]:
    return (column.min(), column.max()) if column.dtype.is_numeric() or column.dtype.is_temporal() else ()


def _ends_of_arrow(column: Any) -> tuple[Any, ...]:
    import pyarrow as pa
    import pyarrow.compute as pc

    of, kind = pa.types, column.type
    if not (of.is_integer(kind) or of.is_floating(kind) or of.is_timestamp(kind) or of.is_date(kind)):
        return ()
    ends = pc.min_max(column)
    return ends["min"].as_py(), ends["max"].as_py()


def as_pandas(value: Any) -> Any:
    """A pandas DataFrame of a frame, series or index: an index that says something is a column."""
    import pandas as pd

    frame = value if isinstance(value, pd.DataFrame) else value.to_frame()
    plain = (isinstance(frame.index, pd.RangeIndex) and frame.index.name is None) or isinstance(
        value, pd.Index
    )
    return frame if plain else frame.reset_index(allow_duplicates=True)


def as_polars(value: Any) -> Any:
    """A polars DataFrame of a frame or series."""
    import polars as pl

    if isinstance(value, pl.LazyFrame):
        return value.collect()
    return value.to_frame() if isinstance(value, pl.Series) else value


def as_arrow(value: Any) -> Any:
    """An Arrow table of a table, batch or array."""
    import pyarrow as pa

    if isinstance(value, pa.RecordBatch):
        return pa.Table.from_batches([value])
    return value if isinstance(value, pa.Table) else pa.table({"value": value})


def _of_arrow(cell: Any) -> Any:
    """A cell of Arrow's as Python's, without what of it is never told."""
    import pyarrow as pa

    if isinstance(cell, pa.ExtensionScalar | pa.DictionaryScalar):
        return _of_arrow(cell.value) if cell.is_valid else None
    kind = cell.type
    if pa.types.is_struct(kind) and cell.is_valid:
        fields = range(min(kind.num_fields, LIMITS[0].names))
        return {kind.field(at).name: _of_arrow(cell[at]) for at in fields}
    if hasattr(cell, "values") and hasattr(cell.values, "slice"):  # all kinds of lists, and maps
        return Part.of(map(_of_arrow, cell.values.slice(0, LIMITS[0].items)), len(cell.values))
    return cell.as_py()


def _of_polars(column: Any, at: int) -> Any:
    """The same of a cell in a column of polars'."""
    import polars as pl

    if column.dtype == pl.Struct:
        names = [field.name for field in column.dtype.fields[: LIMITS[0].names]]
        whole = column.slice(at, 1)
        if whole.null_count():
            return None
        return {name: _of_polars(whole.struct.field(name), 0) for name in names}
    cell = column[at]
    if isinstance(cell, pl.Series):
        most = min(len(cell), LIMITS[0].items)
        return Part.of((_of_polars(cell, place) for place in range(most)), len(cell))
    return cell
