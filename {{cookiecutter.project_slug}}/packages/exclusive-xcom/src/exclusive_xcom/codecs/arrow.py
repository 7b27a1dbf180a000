"""pyarrow tables, record batches and arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from . import OURS, Options
from ._arrow_types import batches_of, check_schema, has_views, rows_per_batch
from ._tables import Table, TableCodec
from .common import extent


class ArrowCodec(TableCodec):
    """Keeps schema, metadata and every value; not how the rows were divided into chunks. A column of
    dictionaries gets one dictionary for all its rows."""

    name = "arrow"
    what = "Arrow table"

    def table(self, value: Any, options: Options) -> Table:
        shape = next(name for name in OURS[self.name][1:] if isinstance(value, getattr(pa, name)))
        table = _table_of(value)
        check_schema(table.schema, options.frame_format)  # before anything is asked for its bytes
        summary = extent(table.num_rows, table.num_columns if shape in _FRAMES else None)
        step = None if any(map(has_views, table.schema)) else rows_per_batch(table.num_rows, table.nbytes)
        batches = batches_of(table.unify_dictionaries(), step)
        return Table(f"Arrow {shape}", summary, shape, table.schema, table.num_rows, lambda: batches)

    def value(self, schema: Any, batches: Iterator[Any], shape: str, options: Options) -> Any:
        table = pa.Table.from_batches(batches, schema)
        if shape == "Table":
            return table
        if shape == "RecordBatch":
            return batches_of(table.combine_chunks())[0]
        column = table.column(0)
        return column if shape == "ChunkedArray" else pa.concat_arrays(column.chunks)

    def part(self, value: Any, rows: int, columns: slice = slice(None)) -> Any:
        if isinstance(value, pa.Table | pa.RecordBatch):
            value = value.select(range(value.num_columns)[columns])
        return value.slice(0, rows)

    def difference(self, found: Any, value: Any) -> str | None:
        one, other = _table_of(found), _table_of(value)
        if type(found) is not type(value):
            return f"A {type(value).__name__} would come back as a {type(found).__name__}"
        if not one.schema.equals(other.schema, check_metadata=True):
            return f"The schema {other.schema} would come back as {one.schema}"
        for name, mine, theirs in zip(other.column_names, one.columns, other.columns, strict=True):
            # As text, where NaN is NaN.
            if not mine.equals(theirs) and _text(mine) != _text(theirs):
                return f"Column {name!r} would come back with other values"
        return None


_FRAMES = ("Table", "RecordBatch")


def _table_of(value: Any) -> Any:
    if isinstance(value, pa.RecordBatch):
        return pa.Table.from_batches([value])
    return value if isinstance(value, pa.Table) else pa.table({"values": value})


def _text(column: Any) -> str:
    return pa.chunked_array([pa.concat_arrays(column.chunks)]).to_string() if column.num_chunks else ""


CODEC = ArrowCodec()
