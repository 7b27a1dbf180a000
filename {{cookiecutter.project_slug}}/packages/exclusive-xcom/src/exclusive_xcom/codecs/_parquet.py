"""Parquet files that give an Arrow table back exactly, and of which a few columns can be read alone."""

from __future__ import annotations

import base64
import hashlib
import io
import struct
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from ..errors import PayloadUnreadable
from . import Options
from ._arrow_types import batches_of, check_rows, memory, not_held, read_schema
from ._ipc import Written, alone, from_alone
from ._json import dumps, loads
from .common import check_decoded

_ROWS = 2**17  # rows decoded at a time: a group may repeat a long text any number of times
_COLUMNS = b"xcom:columns"  # where the file keeps the exact Arrow schema, and categories in their order
_SCHEMA = b"ARROW:schema"  # where Arrow itself keeps it


def write_parquet(schema: Any, batches: Iterator[Any]) -> Written:
    """A file of record batches, and what its reader has to know.

    What parquet has no type for is written as something that other tools read, with a note of how it was.
    Categories that are no text become their values. The categories themselves, in order and with those that
    are not used, go into the file's metadata, where each value must be found again.
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
        writer.add_key_value_metadata({_COLUMNS: dumps(notes)})
    footer = _footer(pa.BufferReader(out.getbuffer()))
    if footer.count(_SCHEMA) != 1:  # the reader could not tell which one it is
        raise not_held("parquet", f"a label or value in it is {_SCHEMA.decode()!r}")
    return out, {"format": "parquet", "footer": hashlib.sha256(footer).hexdigest()}


def _repeats(column: Any) -> bool:
    """Whether parquet's dictionaries pay: trying them on random numbers costs four times the writing."""
    sample = column.slice(0, 10_000)
    try:
        return bool(2 * pa.compute.count_distinct(sample).as_py() < len(sample))
    except pa.ArrowNotImplementedError:
        return False


class Parquet:
    """A parquet file, of `schema`; from a reader of ranges only the bytes of the columns asked for."""

    def __init__(self, source: Any, footer: str, options: Options, rows: int) -> None:
        # Pages have checksums, the footer has none: the reference holds its digest.
        found = _footer(source)
        if hashlib.sha256(found).hexdigest() != footer:
            raise PayloadUnreadable("The footer of the parquet file is not the one that was pushed")
        _check_extensions(found)
        metadata = parquet.read_metadata(io.BytesIO(b"PAR1" + found))
        sizes = (metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
        check_decoded(max(sum(sizes), metadata.num_rows * metadata.num_columns), options)
        check_rows(metadata.num_rows, rows)
        notes = loads(metadata.metadata[_COLUMNS])
        self.schema = read_schema(base64.b64decode(notes["schema"]))
        self._options = options
        self._dictionaries = {int(i): from_alone(one, options)[0] for i, one in notes["dictionaries"].items()}
        self._file = parquet.ParquetFile(source, metadata=metadata, page_checksum_verification=True)

    def batches(self, fields: Sequence[int] | None = None) -> Iterator[Any]:
        """RecordBatches of these columns (in the file's order) or of all; at least one."""
        wanted = sorted(range(len(self.schema)) if fields is None else fields)
        schema = pa.schema([self.schema.field(i) for i in wanted], self.schema.metadata)
        names = None if fields is None else schema.names
        groups = range(self._file.num_row_groups)
        found: Any = chain.from_iterable(
            self._file.iter_batches(_ROWS, row_groups=[group], columns=names) for group in groups
        )
        if not self._file.metadata.num_rows:
            found = batches_of(self._file.schema_arrow.empty_table())
        size = 0
        for batch in found:
            batch.validate(full=True)
            columns = [self._restore(i, batch.column(self.schema.field(i).name)) for i in wanted]
            size += memory(columns)
            check_decoded(size, self._options)
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _restore(self, i: int, column: Any) -> Any:
        kind, dictionary = self.schema.field(i).type, self._dictionaries.get(i)
        if dictionary is None:
            return column if column.type == kind else column.cast(kind)
        if coded := pa.types.is_dictionary(column.type):  # not decoded: a long text may repeat
            indices, column = column.indices, column.dictionary
        codes = pa.compute.index_in(column.cast(dictionary.type), value_set=dictionary).cast(kind.index_type)
        codes = codes.take(indices) if coded else codes
        return pa.DictionaryArray.from_arrays(codes, dictionary, ordered=kind.ordered)


def _footer(source: Any) -> bytes:
    """The end of a parquet file: its metadata, their length, the magic."""
    size = source.size()
    source.seek(size - 8)
    (length,) = struct.unpack("<I", source.read(4))
    source.seek(size - 8 - length)
    return bytes(source.read(length + 8))


def _check_extensions(footer: bytes) -> None:
    """Refuse a footer whose Arrow schema has unsafe extension types: opening the file makes them. So it is
    first opened with that schema under another key."""
    hidden = io.BytesIO(b"PAR1" + footer.replace(_SCHEMA, _SCHEMA.lower()))
    found = parquet.read_metadata(hidden).metadata
    if footer.count(_SCHEMA) != 1:
        raise PayloadUnreadable("The parquet file does not have one Arrow schema")
    read_schema(base64.b64decode(found[_SCHEMA.lower()], validate=True))
