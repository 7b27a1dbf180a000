"""pyarrow tables, record batches and arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import Options, Payload, is_of
from ._common import extent
from ._tables import TableCodec, rows_per_batch, write


class ArrowCodec(TableCodec):
    """Keeps schema, metadata and every value; not how the rows were divided into chunks.

    Extension types are carried if Arrow itself defines them (uuid, json, bool8, ...). A column of
    dictionaries gets one dictionary for all its rows.
    """

    name = "arrow"
    what = "Arrow table"

    def accepts(self, value: Any) -> bool:
        """Table, RecordBatch, ChunkedArray and Array."""
        return is_of(value, "pyarrow", "Table", "RecordBatch", "ChunkedArray", "Array")

    def encode(self, value: Any, options: Options) -> Payload:
        """An IPC file or parquet. Raises `UnsupportedValue` for types that the format does not hold."""
        import pyarrow as pa

        shape = next(
            k.__name__ for k in (pa.Table, pa.RecordBatch, pa.ChunkedArray, pa.Array) if isinstance(value, k)
        )
        table = value
        if shape == "RecordBatch":
            table = pa.Table.from_batches([value])
        elif shape != "Table":
            table = pa.table({"values": value})
        summary = extent(table.num_rows, table.num_columns if shape in ("Table", "RecordBatch") else None)
        payload = Payload(self.name, f"Arrow {shape}", "", "", [], summary, meta={"shape": shape})
        rows = None if any(map(_has_views, table.schema)) else rows_per_batch(table.num_rows, table.nbytes)
        batches = table.unify_dictionaries().to_batches(rows) or [
            pa.RecordBatch.from_pylist([], table.schema)
        ]
        return write(payload, table.schema, table.num_rows, lambda: iter(batches), options)

    def value(self, schema: Any, batches: Iterator[Any], shape: str) -> Any:
        """What was pushed, in one chunk or several."""
        import pyarrow as pa

        table = pa.Table.from_batches(batches, schema)
        if shape == "Table":
            return table
        if shape == "RecordBatch":
            return table.combine_chunks().to_batches()[0]
        column = table.column(0)
        return column if shape == "ChunkedArray" else pa.concat_arrays(column.chunks)


CODEC = ArrowCodec()


def _has_views(field: Any) -> bool:
    """Whether each slice of such a column would be written with all that the column views."""
    import pyarrow as pa

    is_, kind = pa.types, field.type
    views = (is_.is_string_view, is_.is_binary_view, is_.is_list_view, is_.is_large_list_view)
    return any(test(kind) for test in views) or any(_has_views(kind.field(i)) for i in range(kind.num_fields))
