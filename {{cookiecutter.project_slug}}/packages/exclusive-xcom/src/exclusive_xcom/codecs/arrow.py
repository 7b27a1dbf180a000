"""pyarrow tables, record batches and arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from . import Options
from ._arrow_types import has_views, rows_per_batch
from ._tables import Table, TableCodec
from .common import extent


class ArrowCodec(TableCodec):
    """Keeps schema, metadata and every value; not how the rows were divided into chunks.

    Extension types are carried if Arrow itself defines them (uuid, json, bool8, ...). A column of
    dictionaries gets one dictionary for all its rows.
    """

    name = "arrow"
    what = "Arrow table"

    def table(self, value: Any, options: Options) -> Table:
        """A table; of one column, if it is an array."""
        kinds = (pa.Table, pa.RecordBatch, pa.ChunkedArray, pa.Array)
        shape = next(kind.__name__ for kind in kinds if isinstance(value, kind))
        table = value
        if shape == "RecordBatch":
            table = pa.Table.from_batches([value])
        elif shape != "Table":
            table = pa.table({"values": value})
        summary = extent(table.num_rows, table.num_columns if shape in ("Table", "RecordBatch") else None)
        rows = None if any(map(has_views, table.schema)) else rows_per_batch(table.num_rows, table.nbytes)
        batches = table.unify_dictionaries().to_batches(rows) or [
            pa.RecordBatch.from_pylist([], table.schema)
        ]
        return Table(f"Arrow {shape}", summary, shape, table.schema, table.num_rows, lambda: batches)

    def value(self, schema: Any, batches: Iterator[Any], shape: str, options: Options) -> Any:
        """What was pushed, in one chunk or several."""
        table = pa.Table.from_batches(batches, schema)
        if shape == "Table":
            return table
        if shape == "RecordBatch":
            return table.combine_chunks().to_batches()[0]
        column = table.column(0)
        return column if shape == "ChunkedArray" else pa.concat_arrays(column.chunks)


CODEC = ArrowCodec()
