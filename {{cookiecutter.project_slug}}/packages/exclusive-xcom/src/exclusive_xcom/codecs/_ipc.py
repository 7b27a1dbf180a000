"""Arrow's IPC files, with the types that a table has, or packed: with its columns in narrower ones.

Read batch by batch, once it is known how large the whole will be, and each batch validated before anything
relies on it: an offset that leads out of its array would be a read of foreign memory.
"""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import pyarrow as pa

from ..errors import BadOption
from . import Options
from ._arrow_types import check_rows, memory, read_schema
from .common import THREADS, check_decoded

Written = tuple[io.BytesIO, dict[str, Any]]  # a file, and what its reader has to know


def write_ipc(schema: Any, rows: int, batches: Callable[[], Iterator[Any]], *, packed: bool) -> Written:
    """A file, and what its reader has to know.

    Args:
        schema: pyarrow Schema of the batches.
        rows: how many there are in all of them.
        batches: gives record batches, the same ones when it is called again.
        packed: narrow the columns that can be. Raises what `Narrowing` does, and `BadOption` without numpy.
    """
    zstd = pa.Codec("zstd", compression_level=1)
    form = pa.ipc.IpcWriteOptions(compression=zstd, emit_dictionary_deltas=True)
    found, narrowing = batches(), None
    if packed:
        try:
            from ._narrow import Narrowing
        except ImportError as error:
            raise BadOption(
                f"AIRFLOW__XCOM__FRAME_FORMAT=packed needs numpy, which can't be imported here ({error})",
                "Install it (`uv sync --extra numpy`), or set AIRFLOW__XCOM__FRAME_FORMAT=arrow.",
            ) from error
        first = next(found)
        found, narrowing = chain([first], found), Narrowing(first, rows)
    with ThreadPoolExecutor(THREADS, "xcom-narrow") as pool:
        while narrowing:  # at most twice: each column is tried with each batch
            out, narrowing.fits = io.BytesIO(), True
            with pa.ipc.new_file(out, narrowing.schema(schema), options=form) as writer:
                for batch in found:
                    narrowed, notes = narrowing.batch(batch, pool)
                    if narrowing.fits:
                        writer.write_batch(narrowed, notes)
            if narrowing.fits:
                return out, {"format": "packed"}
            found = batches()
    out = io.BytesIO()
    with pa.ipc.new_file(out, schema, options=form) as writer:
        for batch in found:
            writer.write_batch(batch)
    return out, {"format": "arrow"}


def alone(arrays: Sequence[Any]) -> str:
    """A few Arrow arrays of one length as text, to be kept in metadata."""
    out = pa.BufferOutputStream()
    batch = pa.RecordBatch.from_arrays(list(arrays), [str(i) for i in range(len(arrays))])
    with pa.ipc.new_file(out, batch.schema) as writer:
        writer.write_batch(batch)
    return base64.b64encode(out.getvalue()).decode()


def from_alone(text: str, options: Options) -> list[Any]:
    """The arrays that `alone` made text of."""
    (batch,) = Ipc(memoryview(base64.b64decode(text)), options).batches()
    return list(batch.columns)


class Ipc:
    """An IPC file of `schema`, read as the stream in it; its footer says nothing that the stream does not."""

    def __init__(self, data: Any, options: Options, rows: int | None = None, *, packed: bool = False) -> None:
        whole = pa.py_buffer(data)
        whole = whole if whole.address % 8 == 0 else pa.py_buffer(bytes(data))
        self._stream = whole[8:]  # behind "ARROW1"
        self._rows, self._options = rows, options
        self.schema = read_schema(self._stream)
        self._widening: Any = None
        if packed:
            from ._narrow import Widening

            self._widening = Widening(self.schema)
            self.schema = self._widening.schema
        check_decoded(sum(_decoded_sizes(self._stream, len(self.schema))), options)

    def batches(self, fields: Sequence[int] | None = None) -> Iterator[Any]:
        """RecordBatches of these columns (in the file's order) or of all."""
        options, rows, size = pa.ipc.IpcReadOptions(included_fields=fields), 0, 0
        wanted = sorted(range(len(self.schema)) if fields is None else fields)
        stream = pa.ipc.open_stream(pa.BufferReader(self._stream), options=options)
        for batch, notes in stream.iter_batches_with_custom_metadata():
            batch.validate(full=True)
            rows += batch.num_rows
            widening = self._widening if wanted else None
            size += widening.size(batch.columns, wanted) if widening else memory(batch.columns)
            check_decoded(size, self._options)
            yield widening.batch(batch.columns, wanted, notes or {}) if widening else batch
        check_rows(rows, rows if self._rows is None else self._rows)


def _decoded_sizes(stream: Any, columns: int) -> Iterator[int]:
    """Bytes that each message of an IPC stream takes when decompressed, at least one per row and column.

    Arrow allocates whatever the compressed buffers claim, and has neither a question for it nor a limit (its
    capped memory pool is not in pyarrow). What they claim is in front of each buffer; where the buffers are
    is in the message's header, a FlatBuffer (Message.fbs in apache/arrow).
    """
    for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(stream)):
        head, body = message.metadata.to_pybytes(), message.body
        if body is None or message.type == "schema":
            continue
        batch = _table(head, _table(head, 0), 2)
        if message.type == "dictionary":
            batch = _table(head, batch, 1)
        rows_at, buffers, compressed = _slot(head, batch, 0), _table(head, batch, 2), _slot(head, batch, 3)
        size = columns * (struct.unpack_from("<q", head, rows_at)[0] if rows_at else 0)
        (count,) = struct.unpack_from("<I", head, buffers)
        for offset, length in struct.iter_unpack("<qq", head[buffers + 4 : buffers + 4 + 16 * count]):
            claimed = struct.unpack_from("<q", body, offset)[0] if compressed and length else -1
            size += length if claimed == -1 else claimed
        yield size


def _slot(data: bytes, table: int, number: int) -> int:
    """Where a field of a FlatBuffers table is; 0 if the table does not have it."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    (size,) = struct.unpack_from("<H", data, vtable)
    at = 4 + 2 * number
    (offset,) = struct.unpack_from("<H", data, vtable + at) if at < size else (0,)
    return table + offset if offset else 0


def _table(data: bytes, table: int, number: int | None = None) -> int:
    """Where the table or vector is that a field refers to; without a number, the root of the buffer."""
    at = table if number is None else _slot(data, table, number)
    return at + int(struct.unpack_from("<I", data, at)[0])
