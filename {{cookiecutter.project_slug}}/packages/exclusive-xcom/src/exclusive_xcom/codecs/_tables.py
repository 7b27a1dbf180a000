"""What the codecs of tables do alike: a value becomes an Arrow table, that a file, and back.

Written batch by batch, so that the peak is the frame and its encoded bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ..errors import PayloadUnreadable, UnsupportedValue
from . import Content, Options, OurCodec, Payload
from ._arrow_types import check_schema, memory, not_held
from ._ipc import Ipc, write_ipc
from .common import check_encoded, readable


@dataclass(frozen=True)
class Table:
    """A value as an Arrow table.

    Attributes:
        kind, summary: of the value, for people.
        shape: which of the codec's kinds of values it is.
        schema: pyarrow Schema.
        rows: how many there are in all batches.
        batches: gives pyarrow RecordBatches, at least one, and the same ones when it is called again. A
            dictionary column (a category) has the same dictionary in all of them.
    """

    kind: str
    summary: str
    shape: str
    schema: Any
    rows: int
    batches: Callable[[], Iterable[Any]]


class TableCodec(OurCodec, ABC):
    """Carries values that have the columns of an Arrow table. `what` they are is for a person's eyes."""

    what: str

    @abstractmethod
    def table(self, value: Any, options: Options) -> Table:
        """The value as a table. Raises `UnsupportedValue` for what would not come back exactly."""

    @abstractmethod
    def value(self, schema: Any, batches: Iterator[Any], shape: str, options: Options) -> Any:
        """The value of a schema and record batches."""

    def encode(self, value: Any, options: Options) -> Payload:
        table = self.table(value, options)
        form = options.frame_format if len(table.schema) else "arrow"  # parquet has no rows without columns
        check_schema(table.schema, form)

        def checked() -> Iterator[Any]:
            size = 0
            for batch in table.batches():
                batch.validate(full=True)  # as the reader will
                size += memory(batch.columns)
                check_encoded(f"A {table.kind}", size, options)
                yield batch

        try:
            if form == "parquet":
                from ._parquet import write_parquet

                (out, notes), suffix = write_parquet(table.schema, checked()), ".parquet"
            else:
                packed = form == "packed"
                (out, notes), suffix = write_ipc(table.schema, table.rows, checked, packed=packed), ".arrow"
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise not_held(form, str(error)) from error
        media_type = "application/vnd.apache" + {".arrow": ".arrow.file"}.get(suffix, suffix)
        meta = {"shape": table.shape, "rows": table.rows, **notes}
        return Payload(self.name, table.kind, media_type, suffix, [out.getbuffer()], table.summary, meta)

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> Any:
        with readable(self.what):
            found = _open(content, meta, options)
            return self.value(found.schema, found.batches(), meta["shape"], options)

    def select(self, content: Content, meta: dict[str, Any], options: Options, columns: Sequence[str]) -> Any:
        """A frame or table of these columns, in this order; of parquet without reading others."""
        with readable(self.what):
            found = _open(content, meta, options, ranges=True)
            return self.choose(found, meta["shape"], columns, options)

    def choose(self, found: Any, shape: str, columns: Sequence[str], options: Options) -> Any:
        """Some columns of what is found in a payload."""
        names = found.schema.names if shape in ("DataFrame", "Table", "RecordBatch") else []
        check_columns(columns, names)
        fields = sorted({names.index(column) for column in columns})
        schema = pa.schema([found.schema.field(i) for i in fields], found.schema.metadata)
        return self.value(schema, found.batches(fields), "Table", options).select(list(columns))


def check_columns(wanted: Sequence[str], names: Any) -> None:
    """Raise `UnsupportedValue` for a column that is not among the names."""
    for column in wanted:
        if column not in names:
            known = ", ".join(map(str, names[:50])) or "none"
            raise UnsupportedValue(f"There is no column {column!r}", f"Its columns are: {known}.")


def _open(content: Content, meta: dict[str, Any], options: Options, *, ranges: bool = False) -> Any:
    """The table in a payload; of parquet only the `ranges` that are needed, where the store has them."""
    form, rows = meta["format"], meta["rows"]
    if form in ("arrow", "packed"):
        return Ipc(content.buffer(), options, rows, packed=form == "packed")
    if form != "parquet":
        raise PayloadUnreadable(
            f"The table was written in the form {form!r}, which this release does not know",
            "Read it with the release that wrote it, or run the task that pushed it again.",
        )
    from ._parquet import Parquet

    reader = content.reader() if ranges else None
    source = pa.PythonFile(reader, mode="r") if reader else pa.BufferReader(content.buffer())
    return Parquet(source, meta["footer"], options, rows)
