"""What the codecs of tables do alike: a value becomes an Arrow table, that a file, and back.

Written batch by batch, so that the peak is the frame and its encoded bytes. Before that, what its first rows
become is decoded and compared: who pushes is told what would fail or change at who pulls.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

from ..errors import PayloadUnreadable, UnsupportedValue, XComError, is_failure, one
from . import OURS, Content, Options, OurCodec, Payload
from ._arrow_types import check_schema, memory, not_held
from ._ipc import Ipc, write_ipc
from ._texts import Texts
from .common import check_encoded, check_known, readable

_FIRST = 20  # rows that are decoded when they are pushed


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
        cost: bytes that the value of a batch takes, beside what all of them share.
        shared: bytes of that.
    """

    kind: str
    summary: str
    shape: str
    schema: Any
    rows: int
    batches: Callable[[], Iterable[Any]]
    cost: Callable[[Any], int] = lambda batch: memory(batch.columns)
    shared: int = 0


class TableCodec(OurCodec, ABC):
    """Carries values that have the columns of an Arrow table. `what` they are is for a person's eyes."""

    what: str

    @abstractmethod
    def table(self, value: Any, options: Options) -> Table:
        """The value as a table. Raises `UnsupportedValue` for what would not come back exactly."""

    @abstractmethod
    def value(self, schema: Any, batches: Iterator[Any], shape: str, options: Options) -> Any:
        """The value of a schema and record batches."""

    @abstractmethod
    def part(self, value: Any, rows: int, columns: slice = slice(None)) -> Any:
        """The first rows of a value, and these columns of a frame."""

    @abstractmethod
    def difference(self, found: Any, value: Any) -> str | None:
        """What is other in the value that came back, in words; None if nothing is."""

    def encode(self, value: Any, options: Options) -> Payload:
        try:
            if hasattr(value, "__len__") and len(value) > _FIRST:
                self._checked(self.part(value, _FIRST), options)
                return self._written(value, options)
            return self._checked(value, options)
        except BaseException as error:
            if not _by_library(error):
                raise
            reason = str(error) if isinstance(error, _Lost) else f"{type(error).__name__}: {error}"
            raise not_held(options.frame_format, reason, self._culprit(value, options)) from error

    def _checked(self, value: Any, options: Options) -> Payload:
        """A payload of which the same value came back."""
        payload = self._written(value, options)
        try:
            found = self.decode(cast("Content", _Given(payload)), payload.meta, options)
        except PayloadUnreadable as error:
            raise _Lost(f"it could not be read again: {error.what}") from error
        if other := self.difference(found, value):
            raise UnsupportedValue(other, "Convert it first: what is pulled would not be what was pushed.")
        return payload

    def _culprit(self, value: Any, options: Options) -> str | None:
        """The column of a frame that fails, found by halves; None if all its columns do it together."""
        low, high = 0, value.shape[1] if len(getattr(value, "shape", ())) == 2 else 0
        if not high:
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._fails(value, slice(low, middle), options) else (middle, high)
        found = slice(low, high)
        labels = getattr(value, "column_names", None) or value.columns
        return named(labels[low]) if self._fails(value, found, options) else None

    def _fails(self, value: Any, columns: slice, options: Options) -> bool:
        try:
            self._checked(self.part(value, len(value), columns), options)
        except BaseException as error:
            if not _by_library(error) and not isinstance(error, XComError):
                raise
            return True
        return False

    def _written(self, value: Any, options: Options) -> Payload:
        table = self.table(value, options)
        form = options.frame_format if len(table.schema) else "arrow"  # parquet has no rows without columns
        check_schema(table.schema, form)
        kind = one(table.kind)
        texts = Texts(options) if options.look else None
        options.look_at(
            table.schema.serialize(), lambda holds: "the names of columns and what is noted of them"
        )

        def checked() -> Iterator[Any]:
            size, rows = table.shared, 0
            for batch in table.batches():
                batch.validate(full=True)  # as the reader will
                size += table.cost(batch)
                check_encoded(kind, size, options)
                if texts:
                    texts.look_at(batch, rows)
                rows += batch.num_rows
                yield batch

        if form == "parquet":
            from ._parquet import write_parquet

            written, suffix = write_parquet(table.schema, checked()), ".parquet"
        else:
            packed = form == "packed"
            written, suffix = write_ipc(table.schema, table.rows, checked, packed=packed), ".arrow"
        out, size, notes = written
        check_encoded(kind, size, options)
        media_type = "application/vnd.apache" + {".arrow": ".arrow.file"}.get(suffix, suffix)
        meta = {"shape": table.shape, "rows": table.rows, **notes}
        return Payload(self.name, table.kind, media_type, suffix, [out.getvalue()], table.summary, meta)

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> Any:
        with readable(self.what):
            check_known(meta["shape"], OURS[self.name][1:], "kind")
            found = _open(content, meta, options)
            return self.value(found.schema, found.batches(), meta["shape"], options)

    def select(self, content: Content, meta: dict[str, Any], options: Options, columns: Sequence[str]) -> Any:
        """A frame or table of these columns, in this order; of parquet without reading others."""
        with readable(self.what):
            check_known(meta["shape"], OURS[self.name][1:], "kind")
            found = _open(content, meta, options, ranges=True)
            return self.choose(found, meta["shape"], columns, options)

    def choose(self, found: Any, shape: str, columns: Sequence[str], options: Options) -> Any:
        """Some columns of what is found in a payload."""
        names = found.schema.names if shape in ("DataFrame", "Table", "RecordBatch") else []
        check_columns(columns, names)
        fields = sorted({names.index(column) for column in columns})
        schema = pa.schema([found.schema.field(i) for i in fields], found.schema.metadata)
        return self.value(schema, found.batches(fields), "Table", options).select(list(columns))


def named(label: Any) -> str:
    """A column's label for people. pandas can't write down all of its moments."""
    try:
        return repr(label)
    except Exception:
        return f"of type {type(label).__name__}"


def _by_library(error: BaseException) -> bool:
    """Whether a library raised it about the value: no words of our own, no lack of memory or disk, no order
    to stop."""
    if isinstance(error, XComError | MemoryError | ImportError) or getattr(error, "errno", None):
        return False
    return is_failure(error)


class _Lost(Exception):
    """What was encoded can't be decoded."""


@dataclass(frozen=True)
class _Given:
    """A payload as its own reader has it."""

    payload: Payload

    @property
    def length(self) -> int:
        return self.payload.length

    def buffer(self, *, as_bytes: bool = False) -> memoryview:
        return memoryview(cast("Sequence[memoryview]", self.payload.body)[0])


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
    from ._parquet import FORM, Parquet

    if form != FORM:
        raise PayloadUnreadable(
            f"The table was written in the form {form!r}, which this release does not know",
            "Read it with the release that wrote it, or run the task that pushed it again.",
        )
    return Parquet(content, meta["tail"], options, rows, ranges=ranges)
