"""pyarrow tables, record batches and arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from . import OURS, Options
from ._arrow_types import batches_of, has_views, rows_per_batch
from ._tables import Table, TableCodec
from .common import extent


class ArrowCodec(TableCodec):
    """Keeps schema, metadata and every value; not how the rows were divided into chunks. A column of
    dictionaries gets one dictionary for all its rows."""

    name = "arrow"
    what = "Arrow table"

    def table(self, value: Any, options: Options) -> Table:
        shape = next(name for name in OURS[self.name][1:] if isinstance(value, getattr(pa, name)))
        framed = shape in ("Table", "RecordBatch")
        table = value if framed else pa.table({"values": value})
        table = pa.Table.from_batches([table]) if shape == "RecordBatch" else table
        summary = extent(table.num_rows, table.num_columns if framed else None)
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


CODEC = ArrowCodec()
