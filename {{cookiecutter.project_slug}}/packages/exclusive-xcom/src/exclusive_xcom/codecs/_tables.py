"""Arrow tables as bytes and back: IPC files or parquet, for the codecs of pandas, polars and Arrow.

Written batch by batch, so that the peak is the frame and its encoded bytes. Read batch by batch, once it is
known how large the whole will be, and each batch validated before anything relies on it: an offset that
leads out of its array would be a read of foreign memory.
"""

from __future__ import annotations

import base64
import hashlib
import io
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

from ..errors import PayloadUnreadable, UnsupportedValue
from . import Content, Options, Payload
from ._common import THREADS, check_decoded, check_encoded, readable
from ._json import dumps, loads
from ._narrow import WAS, Narrowing, Widening, memory

_BATCH = 8 * 2**20  # bytes of rows taken together: what a frame may cost beyond itself and its encoded bytes
_ROWS = 2**17  # rows decoded at a time from parquet, where a group may repeat a long text any number of times
_MEDIA_TYPES = {"arrow": "application/vnd.apache.arrow.file", "parquet": "application/vnd.apache.parquet"}
_MAGIC = b"ARROW1\0\0"
_COLUMNS = b"xcom:columns"  # where a parquet file keeps the exact Arrow schema, and categories in their order
_SCHEMA = b"ARROW:schema"  # where Arrow itself keeps it

_EXTENSION = b"ARROW:extension:name"
# Extension types that Arrow itself reads, without code of others (CVE-2023-47248, CVE-2026-41486).
_EXTENSIONS = {b"arrow.uuid", b"arrow.json", b"arrow.bool8", b"arrow.opaque", b"arrow.fixed_shape_tensor"}


def rows_per_batch(rows: int, size: int) -> int:
    """How many rows to take together, of a table of so many rows and bytes in memory."""
    return max(1, rows * _BATCH // max(size, 1))


# -- writing ----------------------------------------------------------------------------------------


def write(
    payload: Payload, schema: Any, rows: int, batches: Callable[[], Iterable[Any]], options: Options
) -> Payload:
    """Fill in body, media type, suffix and meta of a payload.

    Args:
        payload: with codec, kind and summary.
        schema: pyarrow Schema.
        rows: how many there are in all batches.
        batches: gives pyarrow RecordBatches, at least one, and the same ones when it is called again. A
            dictionary column (a category) has the same dictionary in all of them.

    Raises:
        UnsupportedValue: the format does not hold one of the types exactly.
    """
    import pyarrow as pa

    form = options.frame_format if len(schema) else "arrow"  # parquet has no rows without columns
    for field in schema:
        _check_type(field, form)
        if WAS in (field.metadata or {}):
            raise UnsupportedValue(
                f"Column {field.name!r} has our own metadata {WAS.decode()!r}", "Take it out of the field."
            )
    if form == "parquet" and len(set(schema.names)) < len(schema):
        raise _not_held(form, "two columns have the same name")

    def checked() -> Iterator[Any]:
        size = 0
        for batch in batches():
            batch.validate(full=True)  # as the reader will
            size += sum(map(memory, batch.columns))
            check_encoded(payload.kind, size, options)
            yield batch

    try:
        out = _parquet(schema, checked()) if form == "parquet" else _ipc(schema, rows, checked)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise _not_held(form, str(error)) from error
    data = out.getbuffer()
    payload.body, payload.suffix, payload.media_type = [data], f".{form}", _MEDIA_TYPES[form]
    payload.meta |= {"format": form, "rows": rows}
    if form == "parquet":
        footer = _footer(pa.BufferReader(data))
        if footer.count(_SCHEMA) != 1:  # the reader could not tell which one it is
            raise _not_held(form, f"a label or value in it is {_SCHEMA.decode()!r}")
        payload.meta["footer"] = hashlib.sha256(footer).hexdigest()
    return payload


def _not_held(form: str, reason: str) -> UnsupportedValue:
    advice = ", or set AIRFLOW__XCOM__FRAME_FORMAT=arrow." if form == "parquet" else "."
    return UnsupportedValue(
        f"The table can't be written as {form}: {reason[:200]}", f"Convert the column{advice}"
    )


def _check_type(field: Any, form: str) -> None:
    """Refuse extension types that can't be read safely, and what parquet would change; also inside others."""
    import pyarrow as pa

    for inner in _tree(field):
        kind, name = inner.type, (inner.metadata or {}).get(_EXTENSION)
        if isinstance(kind, pa.BaseExtensionType):
            name = kind.extension_name.encode()
        if name is not None and name not in _EXTENSIONS:
            raise UnsupportedValue(
                f"Column {field.name!r} has the extension type {name.decode(errors='replace')!r}, "
                "which is not in the list of those that are safe to read",
                "Return its storage: column.storage, or cast it to a plain type.",
            )
        if form == "parquet" and (
            kind == pa.date64() or (pa.types.is_dictionary(kind) and inner is not field)
        ):
            raise _not_held(form, f"column {field.name!r} has a part of type {kind}")


def _tree(field: Any) -> Iterator[Any]:
    """A field and all fields inside it."""
    import pyarrow as pa

    yield field
    kind = field.type.storage_type if isinstance(field.type, pa.BaseExtensionType) else field.type
    inner = [kind.field(i) for i in range(kind.num_fields)]
    if pa.types.is_dictionary(kind):
        inner.append(pa.field("", kind.value_type))
    for child in inner:
        yield from _tree(child)


def _ipc(schema: Any, rows: int, batches: Callable[[], Iterator[Any]]) -> io.BytesIO:
    import pyarrow as pa

    zstd = pa.Codec("zstd", compression_level=1)
    options = pa.ipc.IpcWriteOptions(compression=zstd, emit_dictionary_deltas=True)
    found = batches()
    first = next(found)
    narrowing, found = Narrowing(first, rows), chain([first], found)
    with ThreadPoolExecutor(THREADS, "xcom-narrow") as pool:
        while True:
            narrowing.fits, out = True, io.BytesIO()
            with pa.ipc.new_file(out, narrowing.schema(schema), options=options) as writer:
                for batch in found:
                    narrowed, notes = narrowing.batch(batch, pool)
                    if narrowing.fits:
                        writer.write_batch(narrowed, notes)
            if narrowing.fits:  # at the second time at the latest: each column was tried with each batch
                return out
            found = batches()


def _parquet(schema: Any, batches: Iterator[Any]) -> io.BytesIO:
    """Write what parquet has no type for as something that other tools read, and note how it was.

    Categories become their values; the categories themselves, in order and with those that are not used, go
    into the file's metadata, where each value must be found again.
    """
    import pyarrow as pa
    from pyarrow import parquet

    out, first = io.BytesIO(), next(batches)
    fields, dictionaries = list(schema), {}
    for i, field in enumerate(fields):
        if pa.types.is_dictionary(field.type):
            values = dictionaries[i] = first.column(i).dictionary
            found = pa.compute.index_in(values, value_set=values).to_pylist()
            if values.null_count or found != list(range(len(values))):
                raise pa.ArrowInvalid(f"the categories of column {field.name!r} are not distinct")
            fields[i] = field.with_type(values.type)
    kept = {str(i): alone([values]) for i, values in dictionaries.items()}
    notes = {"schema": _b64(schema.serialize()), "dictionaries": kept}
    with parquet.ParquetWriter(
        out,
        pa.schema(fields, schema.metadata),
        compression="zstd",
        compression_level=1,
        write_page_checksum=True,
        use_dictionary=[name for name in schema.names if _repeats(first.column(name))],
    ) as writer:
        for batch in chain([first], batches):
            columns = [c.dictionary_decode() if i in dictionaries else c for i, c in enumerate(batch.columns)]
            # write_table, because write_batch would keep up to a million rows in memory.
            group = pa.Table.from_arrays(columns, schema=writer.schema)
            writer.write_table(group, row_group_size=max(1, group.num_rows))
        writer.add_key_value_metadata({_COLUMNS: dumps(notes)})
    return out


def _repeats(column: Any) -> bool:
    """Whether parquet's dictionaries pay: trying them on random numbers costs four times the writing."""
    import pyarrow as pa

    sample = column.slice(0, 10_000)
    try:
        return bool(2 * pa.compute.count_distinct(sample).as_py() < len(sample))
    except pa.ArrowNotImplementedError:
        return False


def alone(arrays: Sequence[Any]) -> str:
    """A few Arrow arrays of one length as text, to be kept in metadata."""
    import pyarrow as pa

    out = pa.BufferOutputStream()
    batch = pa.RecordBatch.from_arrays(list(arrays), [str(i) for i in range(len(arrays))])
    with pa.ipc.new_file(out, batch.schema) as writer:
        writer.write_batch(batch)
    return _b64(out.getvalue())


def from_alone(text: str, options: Options) -> list[Any]:
    """The arrays that `alone` made text of."""
    (batch,) = Ipc(memoryview(base64.b64decode(text)), options).batches()
    return list(batch.columns)


def _b64(data: Any) -> str:
    return base64.b64encode(data).decode()


# -- reading ----------------------------------------------------------------------------------------


class Ipc:
    """An IPC file, read as the stream that it holds; its footer says nothing that the stream does not.

    Attributes:
        schema: pyarrow Schema of all columns.
    """

    def __init__(self, data: memoryview, options: Options, rows: int | None = None) -> None:
        import pyarrow as pa

        self._rows = rows
        if bytes(data[:8]) != _MAGIC:
            raise PayloadUnreadable("The payload is not an Arrow file")
        whole = pa.py_buffer(data)
        self._stream = (whole if whole.address % 8 == 0 else pa.py_buffer(bytes(data)))[8:]
        self._widening, self._options = Widening(_read_schema(self._stream)), options
        self.schema = self._widening.schema
        check_decoded(sum(_decoded_sizes(self._stream, len(self.schema))), options)

    def batches(self, fields: Sequence[int] | None = None) -> Iterator[Any]:
        """RecordBatches of these columns (in the file's order) or of all."""
        import pyarrow as pa

        options, rows, size = pa.ipc.IpcReadOptions(included_fields=fields), 0, 0
        wanted = sorted(range(len(self.schema)) if fields is None else fields)
        stream = pa.ipc.open_stream(pa.BufferReader(self._stream), options=options)
        for batch, notes in stream.iter_batches_with_custom_metadata():
            batch.validate(full=True)
            rows += batch.num_rows
            size += self._widening.size(batch.columns, wanted)
            check_decoded(size, self._options)
            yield self._widening.batch(batch.columns, wanted, notes or {}) if wanted else batch
        _check_rows(rows, rows if self._rows is None else self._rows)


class Parquet:
    """A parquet file; from a reader of ranges only the bytes of the columns that are asked for.

    Attributes:
        schema: pyarrow Schema of all columns.
    """

    def __init__(self, source: Any, footer: str, options: Options, rows: int) -> None:
        from pyarrow import parquet

        # Pages have checksums, the footer has none: the reference holds its digest.
        found = _footer(source)
        if hashlib.sha256(found).hexdigest() != footer:
            raise PayloadUnreadable("The footer of the parquet file is not the one that was pushed")
        _check_extensions(found)
        metadata = parquet.read_metadata(io.BytesIO(b"PAR1" + found))
        groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
        check_decoded(
            max(sum(g.total_byte_size for g in groups), metadata.num_rows * metadata.num_columns), options
        )
        _check_rows(metadata.num_rows, rows)
        notes = loads(metadata.metadata[_COLUMNS])
        self.schema = _read_schema(base64.b64decode(notes["schema"]))
        self._options = options
        self._dictionaries = {int(i): from_alone(one, options)[0] for i, one in notes["dictionaries"].items()}
        self._file = parquet.ParquetFile(source, metadata=metadata, page_checksum_verification=True)

    def batches(self, fields: Sequence[int] | None = None) -> Iterator[Any]:
        """RecordBatches of these columns (in the file's order) or of all; at least one."""
        import pyarrow as pa

        wanted = sorted(range(len(self.schema)) if fields is None else fields)
        schema = pa.schema([self.schema.field(i) for i in wanted], self.schema.metadata)
        names = None if fields is None else schema.names
        groups = range(self._file.num_row_groups)
        found: Any = (self._file.iter_batches(_ROWS, row_groups=[group], columns=names) for group in groups)
        found = chain.from_iterable(found)
        if not self._file.metadata.num_rows:
            found = [self._file.schema_arrow.empty_table().combine_chunks()]
        size = 0
        for batch in found:
            batch.validate(full=True)
            check_decoded(batch.nbytes, self._options)
            columns = [self._restore(i, batch.column(self.schema.field(i).name)) for i in wanted]
            restored = pa.RecordBatch.from_arrays(columns, schema=schema)
            size += sum(map(memory, columns))
            check_decoded(size, self._options)
            yield restored

    def _restore(self, i: int, column: Any) -> Any:
        import pyarrow as pa

        kind, dictionary = self.schema.field(i).type, self._dictionaries.get(i)
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        if dictionary is None:
            return column if column.type == kind else column.cast(kind)
        codes = pa.compute.index_in(column.cast(dictionary.type), value_set=dictionary).cast(kind.index_type)
        return pa.DictionaryArray.from_arrays(codes, dictionary, ordered=kind.ordered)


def open_table(
    content: Content, meta: dict[str, Any], options: Options, *, ranges: bool = False
) -> Ipc | Parquet:
    """The table in a payload.

    Args:
        ranges: read parquet through `content.reader()`, if there is one: less than the whole is wanted.

    Raises:
        PayloadUnreadable: it is damaged or too large. Other exceptions are for `readable` to turn into that.
    """
    import pyarrow as pa

    if meta["format"] == "arrow":
        return Ipc(content.buffer(), options, meta["rows"])
    reader = content.reader() if ranges else None
    source = pa.PythonFile(reader, mode="r") if reader else pa.BufferReader(content.buffer())
    return Parquet(source, meta["footer"], options, meta["rows"])


def _check_rows(found: int, promised: int) -> None:
    if found != promised:
        raise PayloadUnreadable(f"The table has {found:,} rows instead of {promised}")


class TableCodec(ABC):
    """What the codecs do alike whose values have the columns of an Arrow table.

    A subclass has `what` for a person's eyes, puts "shape" into meta, and makes a value of batches.
    """

    what: str

    @abstractmethod
    def value(self, schema: Any, batches: Iterator[Any], shape: str) -> Any:
        """The value of a schema and record batches."""

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> Any:
        """What was pushed."""
        with readable(self.what):
            table = open_table(content, meta, options)
            return self.value(table.schema, table.batches(), meta["shape"])

    def select(self, content: Content, meta: dict[str, Any], options: Options, columns: Sequence[str]) -> Any:
        """A table of these columns, in this order."""
        import pyarrow as pa

        with readable(self.what):
            table = open_table(content, meta, options, ranges=True)
            names = table.schema.names if meta["shape"] in ("DataFrame", "Table", "RecordBatch") else []
            check_columns(columns, names)
            fields = sorted({names.index(column) for column in columns})
            schema = pa.schema([table.schema.field(i) for i in fields], table.schema.metadata)
            return self.value(schema, table.batches(fields), "Table").select(list(columns))


def check_columns(wanted: Sequence[str], names: Any) -> None:
    """Raise `UnsupportedValue` for a column that is not among the names."""
    for column in wanted:
        if column not in names:
            known = ", ".join(map(str, names[:50])) or "none"
            raise UnsupportedValue(f"There is no column {column!r}", f"Its columns are: {known}.")


def _footer(source: Any) -> bytes:
    """The end of a parquet file: its metadata, their length, the magic."""
    size = source.size()
    source.seek(size - 8)
    length, magic = struct.unpack("<I4s", source.read(8))
    if magic != b"PAR1" or length > size - 12:
        raise PayloadUnreadable("The payload is not a parquet file")
    source.seek(size - 8 - length)
    return bytes(source.read(length + 8))


def _read_schema(raw: Any) -> Any:
    """The schema at the start of an IPC stream; first without extension types, to see if one is unsafe."""
    import pyarrow as pa

    message = pa.ipc.read_message(pa.py_buffer(raw)).serialize().to_pybytes()
    neutral = message.replace(_EXTENSION, _EXTENSION.replace(b":", b"_"))
    for field in chain.from_iterable(map(_tree, pa.ipc.read_schema(pa.py_buffer(neutral)))):
        name = (field.metadata or {}).get(_EXTENSION.replace(b":", b"_"))
        if name is not None and name not in _EXTENSIONS:
            raise PayloadUnreadable(
                f"The payload has the extension type {name[:100]!r}, which is not safe to read"
            )
    return pa.ipc.read_schema(pa.py_buffer(message))


def _check_extensions(footer: bytes) -> None:
    """Refuse a parquet footer whose Arrow schema has unsafe extension types: opening the file makes them. So
    it is first opened with that schema under another key."""
    from pyarrow import parquet

    hidden = io.BytesIO(b"PAR1" + footer.replace(_SCHEMA, _SCHEMA.lower()))
    found = parquet.read_metadata(hidden).metadata
    if footer.count(_SCHEMA) != 1:
        raise PayloadUnreadable("The parquet file does not have one Arrow schema")
    _read_schema(base64.b64decode(found[_SCHEMA.lower()], validate=True))


def _decoded_sizes(stream: Any, columns: int) -> Iterator[int]:
    """Bytes that each message of an IPC stream takes when decompressed, at least one per row and column.

    Arrow allocates whatever the compressed buffers claim. What they claim is in front of each buffer; where
    the buffers are is in the message's header, a FlatBuffer (Message.fbs in apache/arrow).
    """
    import pyarrow as pa

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
