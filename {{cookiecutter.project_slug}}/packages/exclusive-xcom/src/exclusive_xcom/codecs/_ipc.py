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

from ..errors import BadOption, PayloadUnreadable
from . import Options
from ._arrow_types import check_rows, check_schema, memory, read_schema
from .common import THREADS, check_decoded

# A file, the bytes that it takes when it is decoded, and what its reader has to know.
Written = tuple[io.BytesIO, int, dict[str, Any]]


def write_ipc(schema: Any, rows: int, batches: Callable[[], Iterator[Any]], *, packed: bool) -> Written:
    """A file of record batches.

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
                "Add it, by `make add PACKAGES=numpy` in the project, or set "
                "AIRFLOW__XCOM__FRAME_FORMAT=arrow.",
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
                return out, decoded_size(out.getbuffer()[8:]), {"format": "packed"}
            found = batches()
    out = io.BytesIO()
    with pa.ipc.new_file(out, schema, options=form) as writer:
        for batch in found:
            writer.write_batch(batch)
    return out, decoded_size(out.getbuffer()[8:]), {"format": "arrow"}


def alone(arrays: Sequence[Any]) -> str:
    """A few Arrow arrays of one length as text, to be kept in metadata."""
    out = pa.BufferOutputStream()
    batch = pa.RecordBatch.from_arrays(list(arrays), [str(i) for i in range(len(arrays))])
    check_schema(batch.schema, "arrow")
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
        # Before any of it is decompressed.
        check_decoded(decoded_size(self._stream), options)
        self.schema = read_schema(self._stream)
        self._widening: Any = None
        if packed:
            from ._narrow import Widening

            self._widening = Widening(self.schema)
            self.schema = self._widening.schema

    def batches(self, fields: Sequence[int] | None = None) -> Iterator[Any]:
        """RecordBatches of these columns (in the file's order) or of all."""
        options, rows, size = pa.ipc.IpcReadOptions(included_fields=fields), 0, 0
        wanted = sorted(range(len(self.schema)) if fields is None else fields)
        # Of Arrow's own pool what a batch took and is done with stays with the threads that unpacked it.
        pool, source = pa.system_memory_pool(), pa.BufferReader(self._stream)
        stream = pa.ipc.open_stream(source, options=options, memory_pool=pool)
        for batch, notes in stream.iter_batches_with_custom_metadata():
            batch.validate(full=True)
            rows += batch.num_rows
            widening = self._widening if wanted else None
            size += widening.size(batch.columns, wanted) if widening else memory(batch.columns)
            check_decoded(size, self._options)
            yield widening.batch(batch.columns, wanted, notes or {}) if widening else batch
        if self._rows is not None:
            check_rows(rows, self._rows)


def decoded_size(stream: Any) -> int:
    """Bytes that a stream will take: what its messages say of themselves, which Arrow holds them to.

    Raises `PayloadUnreadable` for what we never write and Arrow would read: former versions of the format,
    whose compression is told elsewhere; the other byte order; a dictionary that is replaced. Where things are
    is told in the format's schema files (Message.fbs and Schema.fbs in apache/arrow).
    """
    size, dictionaries = 0, dict[int, int]()
    for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(stream)):
        head, body = message.metadata.to_pybytes(), message.body
        size += _OVERHEAD * len(head)
        root = _table(head, 0)
        batch = _table(head, root, 2)
        if _field(head, root, 0, "<h") != _VERSION or message.type not in _TYPES:
            raise PayloadUnreadable("The payload is in a form of Arrow's format that we do not write")
        if message.type == "schema":
            if _field(head, batch, 0, "<h"):
                raise PayloadUnreadable("The payload is in another byte order than ours")
            continue
        number, grows = _field(head, batch, 0, "<q"), _field(head, batch, 2, "<B")
        if of_dictionary := message.type == "dictionary":
            batch = _table(head, batch, 1)
        part = _batch_size(head, batch, body)
        if of_dictionary:
            if (number in dictionaries) != bool(grows):
                raise PayloadUnreadable("A dictionary in the payload is replaced by another")
            # The batches from here on have the whole of it, in a copy of their own.
            part = dictionaries[number] = part + dictionaries.get(number, 0)
        size += part
    return size


def _batch_size(head: bytes, batch: int, body: Any) -> int:
    """Bytes that a batch or dictionary takes, and one for each of its values: some take nothing, as nulls."""
    compressed = _slot(head, batch, 3)
    if compressed and _field(head, _table(head, batch, 3), 0, "<b") != _ZSTD:
        raise PayloadUnreadable("The payload is compressed in a way that we do not use")
    size = sum(length for length, _ in _pairs(head, _table(head, batch, 1)))
    for offset, length in _pairs(head, _table(head, batch, 2)):
        claimed = struct.unpack_from("<q", body, offset)[0] if compressed and length else -1
        size += length if claimed == -1 else _natural(claimed)
    return size


_TYPES = ("schema", "dictionary", "record batch")
_VERSION, _ZSTD = 4, 1  # V5; in the format's enumerations
_OVERHEAD = (
    16  # bytes in memory for each of a message's own, at most: of 8,000 columns in each of many batches
)


def _natural(number: int) -> int:
    if number < 0:
        raise PayloadUnreadable("The payload has a part of less than no bytes")
    return number


def _pairs(data: bytes, vector: int) -> Iterator[tuple[int, int]]:
    """The pairs of numbers in a vector: lengths and nulls of arrays, or places and lengths of buffers."""
    (count,) = struct.unpack_from("<I", data, vector)
    for one, other in struct.iter_unpack("<qq", data[vector + 4 : vector + 4 + 16 * count]):
        yield _natural(one), _natural(other)


def _field(data: bytes, table: int, number: int, form: str) -> int:
    """A number in a table; 0 if it is not there."""
    at = _slot(data, table, number)
    return int(struct.unpack_from(form, data, at)[0]) if at else 0


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
    if not at and number is not None:
        raise PayloadUnreadable("The payload lacks a part of Arrow's format")
    return at + int(struct.unpack_from("<I", data, at)[0])
