"""Arrow's types: which are safe to read, which a format does not hold, and how much memory values take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from ..errors import PayloadUnreadable, UnsupportedValue

_BATCH = 8 * 2**20  # bytes of rows taken together: what a frame may cost beyond itself and its encoded bytes
_EXTENSION = b"ARROW:extension:name"
# Extension types that Arrow itself reads, without code of others (CVE-2023-47248, CVE-2026-41486).
_SAFE = {b"arrow.uuid", b"arrow.json", b"arrow.bool8", b"arrow.opaque", b"arrow.fixed_shape_tensor"}


def rows_per_batch(rows: int, size: int) -> int:
    """How many rows to take together, of a table of so many rows and bytes in memory."""
    return max(1, rows * _BATCH // max(size, 1))


def batches_of(table: Any, rows: int | None = None) -> Any:
    """The RecordBatches of a table, of at most so many rows; at least one."""
    return table.to_batches(rows) or [no_rows(table.schema)]


def no_rows(schema: Any) -> Any:
    """A RecordBatch without rows. pyarrow's own ways to one do not know all types."""
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def pieces(batch: Any) -> Iterator[Any]:
    """A RecordBatch in slices that are not large. Ours is not, others may be."""
    step = rows_per_batch(batch.num_rows, memory(batch.columns))
    return (batch.slice(start, step) for start in range(0, batch.num_rows or 1, step))


def memory(columns: Iterable[Any]) -> int:
    """Bytes of Arrow arrays, without dictionaries, which others share; at least one per cell."""
    return sum(getattr(column, "indices", column).nbytes + len(column) for column in columns)


def spelled_out(column: Any) -> int:
    """Bytes of the texts of a dictionary array once each stands in its own row. They may be long."""
    lengths = pa.compute.binary_length(column.dictionary).take(column.indices)
    return int(pa.compute.sum(lengths).as_py() or 0) + 9 * len(column)


def check_rows(found: int, promised: int, what: str = "rows") -> None:
    """Raise `PayloadUnreadable` for a table of other than the rows, or columns, that were pushed."""
    if found != promised:
        raise PayloadUnreadable(f"The table has {found:,} {what} instead of {promised}")


def not_held(form: str, reason: str, column: str | None = None) -> UnsupportedValue:
    """The error for a table that a format does not hold exactly, because of a column (its label's repr)."""
    or_else = ", or set AIRFLOW__XCOM__FRAME_FORMAT=arrow" if form == "parquet" else ""
    where = f", in column {column[:100]}" if column else ""
    what = f"The table can't be written as {form}: {reason[:200].rstrip('.')}{where}"
    return UnsupportedValue(what, f"Cast the column to another type, rename it, or drop it{or_else}.")


def check_schema(schema: Any, form: str) -> None:
    """Refuse types that can't be read safely, and what parquet would change; also inside others."""
    for column, what, advice in _unsafe(schema.serialize().to_pybytes()):
        raise UnsupportedValue(f"Column {column!r} has {what}", advice)
    for field in schema if form == "parquet" else ():
        for inner in tree(field):
            kind = inner.type
            inside = pa.types.is_dictionary(kind) and inner is not field
            # Of lists without room Arrow's writer makes an end of the whole process.
            no_room = pa.types.is_fixed_size_list(kind) and not kind.list_size
            if kind == pa.date64() or inside or no_room:
                raise not_held(form, f"column {field.name!r} has a part of type {kind}")


def read_schema(raw: Any) -> Any:
    """The schema at the start of an IPC stream. Raises `PayloadUnreadable` if one of its types is unsafe."""
    message = pa.ipc.read_message(pa.py_buffer(raw)).serialize().to_pybytes()
    for column, what, _ in _unsafe(message):
        raise PayloadUnreadable(f"The payload's column {column!r} has {what}")
    return pa.ipc.read_schema(pa.py_buffer(message))


def _unsafe(message: bytes) -> Iterator[tuple[str, str, str]]:
    """The columns of a schema that can't be read safely: name, reason, advice. No extension type is made."""
    hidden = _EXTENSION.replace(b":", b"_")
    for field in pa.ipc.read_schema(pa.py_buffer(message.replace(_EXTENSION, hidden))):
        for inner in tree(field):
            name, kind = (inner.metadata or {}).get(hidden), inner.type
            if name is not None and name not in _SAFE:
                words = name.decode(errors="replace")[:100]
                yield (
                    field.name,
                    f"the extension type {words!r}, which is not known to be safe to read",
                    "Return its storage: column.cast(column.type.storage_type), or cast it to a plain type.",
                )
            elif pa.types.is_union(kind):  # asked for its bytes, pyarrow crashes or hangs (no rows, a slice)
                what = "a union type, which pyarrow does not read safely"
                yield field.name, what, "Return its values as a list: to_pylist(), or in pandas to_list()."
            elif pa.types.is_dictionary(kind) and _has_dictionary(kind.value_type):
                yield field.name, "a dictionary in a dictionary", "Decode it: column.dictionary_decode()."


def _has_dictionary(kind: Any) -> bool:
    return any(pa.types.is_dictionary(inner.type) for inner in tree(pa.field("", kind)))


def alike(one: Any, other: Any) -> bool:
    """Whether two types are the same but for names in them, units of time, and how the codes of categories
    and the places of text are counted: libraries and their releases differ in these."""
    is_ = pa.types
    one, other = (
        kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind for kind in (one, other)
    )
    if is_.is_dictionary(one) and is_.is_dictionary(other):
        return alike(one.value_type, other.value_type)
    texts = (is_.is_string, is_.is_large_string, is_.is_string_view)
    data = (is_.is_binary, is_.is_large_binary, is_.is_binary_view)
    for group in (texts, data):
        if any(test(one) for test in group):
            return any(test(other) for test in group)
    inner = range(one.num_fields)
    same = one.id == other.id and one.num_fields == other.num_fields
    return bool(same) and all(alike(one.field(i).type, other.field(i).type) for i in inner)


def has_views(field: Any) -> bool:
    """Whether each slice of such a column would be written with all that the column views."""
    is_ = pa.types
    views = (is_.is_string_view, is_.is_binary_view, is_.is_list_view, is_.is_large_list_view)
    return any(test(inner.type) for inner in tree(field) for test in views)


def tree(field: Any) -> Iterator[Any]:
    """A field and all fields inside it."""
    yield field
    kind = field.type.storage_type if isinstance(field.type, pa.BaseExtensionType) else field.type
    inner = [kind.field(i) for i in range(kind.num_fields)]
    if pa.types.is_dictionary(kind):
        inner.append(pa.field("", kind.value_type))
    for child in inner:
        yield from tree(child)
