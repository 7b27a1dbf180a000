"""Parquet files that give an Arrow table back exactly, and of which a few columns can be read alone."""

from __future__ import annotations

import base64
import hashlib
import io
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from math import prod
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import parquet

from ..errors import PayloadAltered, PayloadUnreadable
from . import Options
from ._arrow_types import alike, check_rows, memory, not_held, read_schema, spelled_out, tree
from ._ipc import Written, alone, from_alone
from ._json import decoded_size, dumps, loads
from .common import check_decoded

#: The name of what is written here, in a payload's notes. It was "parquet" before chunks had digests.
FORM = "parquet 2"

_ROWS = 2**17  # rows decoded at a time: a group may repeat a long text any number of times
_OVERHEAD = 16  # bytes in memory for each of a footer's own
_DIGEST = hashlib.sha256().digest_size
_AGAIN = (
    "Nothing of it was handed on. Run the task that pushed it again; if it recurs, check the store's disk."
)
_COLUMNS = b"xcom:columns"  # where the file keeps the exact Arrow schema, and categories in their order
_SCHEMA = b"ARROW:schema"  # where Arrow itself keeps it


def write_parquet(schema: Any, batches: Iterator[Any]) -> Written:
    """A file of record batches, and what its reader has to know.

    What parquet has no type for is written as something that other tools read, with a note of how it was.
    Categories that are no text become their values. The categories themselves, in order and with those that
    are not used, go into the file's metadata, where each value must be found again.

    Before the footer stand the digests of all column chunks, where readers of parquet do not look. The
    reference has the length and the digest of that tail, so that it vouches for each chunk on its own.
    """
    if len(set(schema.names)) < len(schema):
        raise not_held("parquet", "two columns have the same name")
    out, first = io.BytesIO(), next(batches)
    fields, dictionaries = list(schema), {}
    for i, field in enumerate(fields):
        if pa.types.is_dictionary(field.type):
            values = dictionaries[i] = first.column(i).dictionary
            found = pa.compute.index_in(values, value_set=values).to_pylist()
            if values.null_count or found != list(range(len(values))):
                raise pa.ArrowInvalid(f"the categories of column {field.name!r} are not distinct")
            if values.type not in (pa.string(), pa.large_string()):
                fields[i] = field.with_type(values.type)
    kept = {str(i): alone([values]) for i, values in dictionaries.items()}
    notes = {"schema": base64.b64encode(schema.serialize()).decode(), "dictionaries": kept}
    repeated = [f.name for f in fields if pa.types.is_dictionary(f.type) or _repeats(first[f.name])]
    form = {"compression": "zstd", "compression_level": 1, "write_page_checksum": True}
    stored = pa.schema(fields, schema.metadata)
    with parquet.ParquetWriter(out, stored, use_dictionary=repeated, **form) as writer:
        for batch in chain([first], batches):
            pairs = zip(fields, batch.columns, strict=True)
            columns = [c if c.type == field.type else c.dictionary_decode() for field, c in pairs]
            # write_table, because write_batch would keep up to a million rows in memory.
            group = pa.Table.from_arrays(columns, schema=writer.schema)
            writer.write_table(group, row_group_size=max(1, group.num_rows))
        text = dumps(notes)
        writer.add_key_value_metadata({_COLUMNS: text})
    with out.getbuffer() as written:  # given back before the file grows
        end, footer = len(written), _parted(written)[1]
        if footer.count(_SCHEMA) != 1:  # the reader could not tell which one it is
            raise not_held("parquet", f"a label or value in it is {_SCHEMA.decode()!r}")
        chunks = Chunks(footer, lambda at, size, _: written[at : at + size])
        size, digests = chunks.overhead, []
        for group in range(chunks.metadata.num_row_groups):
            size += chunks.decoded_size(group, range(len(schema)))
            for j in range(chunks.metadata.num_columns):
                digests.append(hashlib.sha256(chunks.data(group, j)).digest())
    tail = b"".join(digests) + footer
    out.seek(end - len(footer))
    out.write(tail)
    size = max(size, decoded_size(text, 0, plain=True))  # as the reader will count
    return out, size, {"format": FORM, "tail": [len(tail), hashlib.sha256(tail).hexdigest()]}


def _repeats(column: Any) -> bool:
    """Whether parquet's dictionaries pay: trying them on random numbers costs four times the writing."""
    sample = column.slice(0, 10_000)
    try:
        return bool(2 * pa.compute.count_distinct(sample).as_py() < len(sample))
    except pa.ArrowNotImplementedError:
        return False


Read = Callable[[int, int, memoryview | bytes], memoryview]


class Chunks:
    """The column chunks of a file: what they take when they are decoded is told by all their pages.

    What a footer says of a chunk binds nobody, and a page of a few bytes may hold a million values. Each page
    must be as we write them: other encodings unfold without a measure. Where things are is told in the
    format's parquet.thrift.

    Args:
        read: gives so many bytes from a place on, which have a digest if there are `digests`.
        digests: of all chunks, group by group; none where the whole file is verified.
    """

    def __init__(self, footer: bytes, read: Read, digests: memoryview | None = None) -> None:
        self._read, self._digests = read, digests
        self.metadata = parquet.read_metadata(io.BytesIO(b"PAR1" + footer))
        texts = sum(map(len, (self.metadata.metadata or {}).values()))
        #: Bytes that the footer takes: many times its own, but for the texts in it.
        self.overhead = _OVERHEAD * (len(footer) - texts) + texts
        self._kinds = [self.metadata.schema.column(j) for j in range(self.metadata.num_columns)]
        if digests is not None and len(digests) != _DIGEST * len(self._kinds) * self.metadata.num_row_groups:
            raise PayloadUnreadable("The parquet file has not a digest for each column chunk")
        self._leaves: list[tuple[range, int]] = []  # of each column, and how many values one of them may be
        at = 0
        for field in self.metadata.schema.to_arrow_schema():
            inner = [part.type for part in tree(field)]
            count = sum(len(list(tree(pa.field("", kind)))) == 1 for kind in inner)
            lists = [kind.list_size for kind in inner if pa.types.is_fixed_size_list(kind)]
            self._leaves.append((range(at, at + count), prod(lists)))
            at += count
        if at != len(self._kinds) or not all(times for _, times in self._leaves):
            raise PayloadUnreadable("The parquet file has other columns than its Arrow schema")
        #: Paths of columns of text that is encoded as a dictionary.
        self.coded_texts: list[str] = []
        if self.metadata.num_row_groups:
            first = self.metadata.row_group(0)
            coded = [first.column(j).has_dictionary_page for j in range(at)]
            self.coded_texts = [
                kind.path
                for kind, one in zip(self._kinds, coded, strict=True)
                if one and kind.physical_type == "BYTE_ARRAY"
            ]

    def decoded_size(self, group: int, fields: Iterable[int]) -> int:
        """Bytes that these columns of a group of rows take. Raises `PayloadUnreadable`, and `PayloadAltered`
        of a chunk with another digest."""
        leaves = [self._leaves[i] for i in fields]
        return sum(times * self._chunk_size(group, j) for columns, times in leaves for j in columns)

    def data(self, group: int, j: int) -> memoryview:
        """The bytes of a chunk."""
        chunk, at = self.metadata.row_group(group).column(j), _DIGEST * (group * len(self._kinds) + j)
        start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
        digest = b"" if self._digests is None else self._digests[at : at + _DIGEST]
        return self._read(start, chunk.total_compressed_size, digest)

    def _chunk_size(self, group: int, j: int) -> int:
        chunk, kind = self.metadata.row_group(group).column(j), self._kinds[j]
        coded = chunk.has_dictionary_page
        values, unpacked, found = _pages(self.data(group, j))
        as_promised = (values, found) == (chunk.num_values, coded) and chunk.compression == "ZSTD"
        texts = kind.physical_type == "BYTE_ARRAY"
        if not as_promised or (coded and texts and kind.path not in self.coded_texts):
            raise PayloadUnreadable(f"The pages of column {kind.path!r} are not as they are written")
        decimal = kind.logical_type.type == "DECIMAL"
        width = 32 if decimal else max(kind.length, _WIDTHS.get(kind.physical_type, 0))
        return int(max(unpacked, values * (width + 8 * kind.max_repetition_level)))


_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 8}
_DATA, _DICTIONARY = 0, 2  # kinds of pages
_PLAIN, _CODES, _LEVELS = (0,), (2, 8), 3  # encodings
_LONGEST = 64  # bits of a number in a header: to put together a long one takes forever


def _pages(data: memoryview) -> tuple[int, int, bool]:
    """The values in the pages of a chunk, the bytes of them unpacked, and whether one is a dictionary."""
    at = values = unpacked = 0
    coded = False
    while at < len(data):
        start = at
        header, at = _thrift(data, at)
        kind, size, stored = header[1], header[2], header[3]
        known = 4 in header and min(size, stored) >= 0  # its checksum
        if kind == _DICTIONARY and start == 0:
            coded = True
            known = known and header[7][2] in (*_PLAIN, *_CODES)
        else:
            page = header.get(5, {})
            count, encoding = page.get(1, -1), page.get(2)
            known = known and kind == _DATA and page.get(3) == page.get(4) == _LEVELS and count >= 0
            known = known and encoding in (_CODES + _PLAIN if coded else _PLAIN)
            values += count
        if not known:
            raise PayloadUnreadable("The parquet file has a page that we do not write")
        unpacked += size
        at += stored
    if at != len(data):
        raise PayloadUnreadable("The parquet file has a page that is cut off")
    return values, unpacked, coded


def _thrift(data: memoryview, at: int) -> tuple[dict[int, Any], int]:
    """A structure in Thrift's compact protocol, by the numbers of its fields, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while head := data[at]:
        value: Any = None
        number, kind, at = number + (head >> 4), head & 15, at + 1
        if not head >> 4:
            raise PayloadUnreadable("The parquet file has a header that we do not write")
        if kind in (5, 6):  # whole numbers
            value, at = _varint(data, at)
            value = (value >> 1) ^ -(value & 1)
        elif kind == 8:  # bytes
            length, at = _varint(data, at)
            at += length
        elif kind == 12:
            value, at = _thrift(data, at)
        elif kind not in (1, 2):  # True, False
            raise PayloadUnreadable("The parquet file has a header that we do not write")
        fields[number] = value
    return fields, at + 1


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at
        if shift >= _LONGEST:
            raise PayloadUnreadable("The parquet file has a number that we do not write")


class _Verified(io.RawIOBase):
    """What has been read of a file by ranges and verified; Arrow gets nothing else."""

    def __init__(self, reader: BinaryIO, length: int) -> None:
        self._reader, self._length, self._at = reader, length, 0
        self._kept: dict[int, bytes] = {}

    def fetch(self, at: int, size: int, digest: memoryview | bytes) -> memoryview:
        """Bytes that have this digest. Raises `PayloadAltered` if they have not."""
        if not 0 <= at <= at + size <= self._length:
            raise PayloadUnreadable("The parquet file is said to go on behind its end")
        self._reader.seek(at)
        found = self._kept[at] = self._reader.read(size)
        return _same(memoryview(found), digest)

    def forget(self) -> None:
        """Drop what was read."""
        self._kept.clear()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, at: int, whence: int = io.SEEK_SET) -> int:
        self._at = at + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        kept = self._kept.get(self._at)
        if kept is None or not 0 <= size <= len(kept):
            raise PayloadUnreadable("A part of the parquet file that was not verified was to be read")
        self._at += size
        return kept[:size]


class Parquet:
    """A parquet file, of `schema`; from a reader of ranges only the bytes of the columns asked for."""

    def __init__(
        self, content: Any, tail: Sequence[Any], options: Options, rows: int, *, ranges: bool
    ) -> None:
        reader = content.reader() if ranges else None
        self._ranges = _Verified(reader, content.length) if reader else None
        size, digest = tail[0], bytes.fromhex(tail[1])
        check_decoded(size, options)
        read: Read
        if self._ranges:
            read, source = self._ranges.fetch, pa.PythonFile(self._ranges, mode="r")
            digests, found = _parted(read(content.length - size, size, digest))
        else:
            whole = content.buffer()
            read, source, digests = lambda at, size, _: whole[at : at + size], pa.BufferReader(whole), None
            _, found = _parted(_same(whole[max(0, len(whole) - size) :], digest))
        _check_extensions(found)
        self._chunks = Chunks(found, read, digests)
        check_decoded(self._chunks.overhead, options)
        check_rows(self._chunks.metadata.num_rows, rows)
        text = self._chunks.metadata.metadata[_COLUMNS]
        check_decoded(decoded_size(text, options.max_size, plain=True), options)
        notes = loads(text)
        self.schema = read_schema(base64.b64decode(notes["schema"]))
        self._options = options
        self._dictionaries = {int(i): from_alone(one, options)[0] for i, one in notes["dictionaries"].items()}
        # Text that is the same over and over stays so until it is known how long it is as a whole.
        self._file = parquet.ParquetFile(
            source,
            metadata=self._chunks.metadata,
            page_checksum_verification=True,
            pre_buffer=False,  # it would read what is between two chunks, too
            read_dictionary=self._chunks.coded_texts,
        )
        for stored, field in zip(self._file.schema_arrow, self.schema, strict=True):
            if not alike(_values(stored.type), _values(field.type)):
                raise PayloadUnreadable(f"The column {field.name!r} of the parquet file is {stored.type}")

    def batches(self, fields: Sequence[int] | None = None) -> Iterator[Any]:
        """RecordBatches of these columns (in the file's order) or of all; at least one."""
        wanted = sorted(range(len(self.schema)) if fields is None else fields)
        schema = pa.schema([self.schema.field(i) for i in wanted], self.schema.metadata)
        names = None if fields is None else schema.names
        claimed, size = self._chunks.overhead, 0
        for group in range(self._file.num_row_groups):
            if self._ranges:
                self._ranges.forget()
            claimed += self._chunks.decoded_size(group, wanted)
            check_decoded(claimed, self._options)
            for batch in self._file.iter_batches(_ROWS, row_groups=[group], columns=names):
                batch.validate(full=True)
                columns = []
                for i in wanted:
                    column = batch.column(self.schema.field(i).name)
                    size += spelled_out(column) if self._spells_out(i, column) else memory([column])
                    check_decoded(size, self._options)
                    columns.append(self._restore(i, column))
                yield pa.RecordBatch.from_arrays(columns, schema=schema)
        if not self._file.metadata.num_rows:
            stored = self._file.schema_arrow
            columns = [self._restore(i, pa.nulls(0, stored.field(i).type)) for i in wanted]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _spells_out(self, i: int, column: Any) -> bool:
        return pa.types.is_dictionary(column.type) and i not in self._dictionaries

    def _restore(self, i: int, column: Any) -> Any:
        kind, dictionary = self.schema.field(i).type, self._dictionaries.get(i)
        if dictionary is None:
            if pa.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            if column.type != kind:
                column = column.cast(kind)
            # Parquet has names of its own for what is in a list.
            return column if column.type.equals(kind, check_metadata=True) else column.view(kind)
        if coded := pa.types.is_dictionary(column.type):  # not decoded: a long text may repeat
            indices, column = column.indices, column.dictionary
        codes = pa.compute.index_in(column.cast(dictionary.type), value_set=dictionary).cast(kind.index_type)
        codes = codes.take(indices) if coded else codes
        return pa.DictionaryArray.from_arrays(codes, dictionary, ordered=kind.ordered)


def _values(kind: Any) -> Any:
    """The type of the values of a column: parquet makes categories of them, or the reverse."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _same(found: memoryview, digest: memoryview | bytes) -> memoryview:
    if hashlib.sha256(found).digest() != digest:
        raise PayloadAltered("A part of the parquet file is not the one that was pushed", _AGAIN)
    return found


def _parted(tail: memoryview) -> tuple[memoryview, bytes]:
    """What is before the footer, and the footer: the file's metadata, their length, the magic."""
    (length,) = struct.unpack("<I", tail[-8:-4])
    start = len(tail) - 8 - length
    if start < 0:
        raise PayloadUnreadable("The parquet file is shorter than its footer")
    return tail[:start], bytes(tail[start:])


def _check_extensions(footer: bytes) -> None:
    """Refuse a footer whose Arrow schema has unsafe extension types: opening the file makes them. So it is
    first opened with that schema under another key."""
    hidden = io.BytesIO(b"PAR1" + footer.replace(_SCHEMA, _SCHEMA.lower()))
    found = parquet.read_metadata(hidden).metadata
    if footer.count(_SCHEMA) != 1:
        raise PayloadUnreadable("The parquet file does not have one Arrow schema")
    read_schema(base64.b64decode(found[_SCHEMA.lower()], validate=True))
