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


def memory(columns: Iterable[Any]) -> int:
    """Bytes of Arrow arrays, without the dictionaries that they share with others. At least one per cell:
    cells of no bytes may become objects."""
    return sum(getattr(column, "indices", column).nbytes + len(column) for column in columns)


def check_rows(found: int, promised: int) -> None:
    """Raise `PayloadUnreadable` for a table of fewer or more rows than were pushed."""
    if found != promised:
        raise PayloadUnreadable(f"The table has {found:,} rows instead of {promised}")


def not_held(form: str, reason: str) -> UnsupportedValue:
    """The error for a table that a format does not hold exactly."""
    advice = ", or set AIRFLOW__XCOM__FRAME_FORMAT=arrow." if form == "parquet" else "."
    return UnsupportedValue(
        f"The table can't be written as {form}: {reason[:200]}", f"Convert the column{advice}"
    )


def check_field(field: Any, form: str) -> None:
    """Refuse extension types that can't be read safely, and what parquet would change; also inside others."""
    for inner in _tree(field):
        kind, name = inner.type, (inner.metadata or {}).get(_EXTENSION)
        if isinstance(kind, pa.BaseExtensionType):
            name = kind.extension_name.encode()
        if name is not None and name not in _SAFE:
            raise UnsupportedValue(
                f"Column {field.name!r} has the extension type {name.decode(errors='replace')!r}, "
                "which is not in the list of those that are safe to read",
                "Return its storage: column.storage, or cast it to a plain type.",
            )
        nested = pa.types.is_dictionary(kind) and inner is not field
        if form == "parquet" and (kind == pa.date64() or nested):
            raise not_held(form, f"column {field.name!r} has a part of type {kind}")


def read_schema(raw: Any) -> Any:
    """The schema at the start of an IPC stream; first without extension types, to see if one is unsafe."""
    message = pa.ipc.read_message(pa.py_buffer(raw)).serialize().to_pybytes()
    hidden = _EXTENSION.replace(b":", b"_")
    for field in pa.ipc.read_schema(pa.py_buffer(message.replace(_EXTENSION, hidden))):
        for inner in _tree(field):
            name = (inner.metadata or {}).get(hidden)
            if name is not None and name not in _SAFE:
                raise PayloadUnreadable(
                    f"The payload has the extension type {name[:100]!r}, which is not safe to read"
                )
    return pa.ipc.read_schema(pa.py_buffer(message))


def has_views(field: Any) -> bool:
    """Whether each slice of such a column would be written with all that the column views."""
    is_ = pa.types
    views = (is_.is_string_view, is_.is_binary_view, is_.is_list_view, is_.is_large_list_view)
    return any(test(inner.type) for inner in _tree(field) for test in views)


def _tree(field: Any) -> Iterator[Any]:
    """A field and all fields inside it."""
    yield field
    kind = field.type.storage_type if isinstance(field.type, pa.BaseExtensionType) else field.type
    inner = [kind.field(i) for i in range(kind.num_fields)]
    if pa.types.is_dictionary(kind):
        inner.append(pa.field("", kind.value_type))
    for child in inner:
        yield from _tree(child)
