"""One line for a value where the value itself is too much: its kind and its size.

Airflow shows arguments by walking through them, and sends that as msgpack and as JSON. So a value is also
shown in a line if these can't hold it. The line says the same in every process and on every day.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from math import isfinite
from typing import Any

from .codecs import is_of, kind_word
from .codecs.common import count, extent

_DEPTH = 64  # levels of containers that Airflow is left to show: it ends at 254, MySQL at 100
_MANY = 64  # arguments of one field that are looked at one by one

_TABLES = {
    "pandas": ("DataFrame", "Series", "Index"),
    "polars": ("DataFrame", "LazyFrame", "Series"),
    "pyarrow": ("Table", "RecordBatch", "ChunkedArray", "Array"),
}


class _TooMuch(Exception):
    """Airflow would walk for long, or fail."""


def shown(field: Any, xcoms: Any, limit: int) -> Any:
    """A task's field as Airflow is to show it: with a line for each argument that is too much.

    Args:
        xcoms: the keys of the items that are XComs; True if the field itself is one. Any other text is one of
            the DAG's own, of which the beginning says more than the size.
        limit: bytes up to which an argument is shown as it is.
    """
    is_xcom = xcoms is True
    if isinstance(field, dict) and len(field) <= _MANY and not any(_is_too_much(key, limit) for key in field):
        return {key: _item(value, is_xcom or key in xcoms, limit) for key, value in field.items()}
    if type(field) in (list, tuple) and len(field) <= _MANY:
        return [_item(value, is_xcom or at in xcoms, limit) for at, value in enumerate(field)]
    return _item(field, is_xcom, limit)


def _item(value: Any, is_xcom: bool, limit: int) -> Any:
    if type(value) is str and not is_xcom:
        limit = 4 * len(value)
    return f"<{_kind_and_size(value)}>" if _is_too_much(value, limit) else value


def in_one_line(value: Any, limit: int) -> str | None:
    """The line in the log for a value of more than `limit` bytes, about, or whose text has half a character,
    which ends a log in UTF-8; None for any other."""
    # Inside of a list or dict a text is shown by `repr`, which escapes it.
    for_log = not isinstance(value, str)
    return f"<{_kind_and_size(value)}>" if _is_too_much(value, limit, for_log=for_log) else None


def _is_too_much(value: Any, limit: int, *, for_log: bool = False) -> bool:
    try:
        _measure(value, limit, for_log)
    except _TooMuch:
        return True
    return False


def _measure(value: Any, room: int, for_log: bool) -> None:
    """Raise `_TooMuch` as soon as it is known."""
    level: list[Any] = [value]
    for _ in range(_DEPTH):
        below: list[Any] = []
        for one in level:
            inner = _inner(one)
            room -= _size(one, for_log) if inner is None else 2 * len(inner)
            if room < 0:
                raise _TooMuch
            below += inner or ()
        if not below:
            return
        level = below
    raise _TooMuch


def _inner(value: Any) -> Any:
    """What a container holds, which has a length; None for what is none."""
    if isinstance(value, dict):
        return _Entries(value)
    if isinstance(value, list | tuple | set | frozenset | deque):
        return value
    if isinstance(value, type):
        return None
    if dataclasses.is_dataclass(value) or hasattr(type(value), "__pydantic_fields__"):
        return _Entries(getattr(value, "__dict__", {})) or None
    return None


class _Entries:
    """Keys and values of a dict, which are not copied before their number is known."""

    def __init__(self, held: dict[Any, Any]) -> None:
        self._held = held

    def __len__(self) -> int:
        return len(self._held) * 2

    def __iter__(self) -> Any:
        yield from self._held.keys()
        yield from self._held.values()


def _size(value: Any, for_log: bool) -> int:
    """Bytes, about, that are shown of what holds nothing else. Tables and arrays have a short text."""
    if isinstance(value, str):
        return len(value) if for_log or value.isascii() else _encoded(value)
    if isinstance(value, int):
        if not (for_log or -(2**63) <= value < 2**64):
            raise _TooMuch
        return value.bit_length() // 8
    if isinstance(value, float):
        if not (for_log or isfinite(value)):
            raise _TooMuch
        return 8
    if isinstance(value, bytes | bytearray | memoryview):
        return 2 * memoryview(value).nbytes
    if is_of(value, "numpy", "ndarray"):
        return 0 if for_log else _bytes(value)
    if _is_table(value):
        return _encoded(str(value)) if for_log else _bytes(value)
    return _encoded(str(value))


def _bytes(value: Any) -> int:
    if is_of(value, "polars", *_TABLES["polars"]):
        raise _TooMuch  # Airflow would call its serialize()
    if is_of(value, "pandas", *_TABLES["pandas"]):
        return int(value.size) * 8
    return int(value.nbytes)


def _is_table(value: Any) -> bool:
    return any(is_of(value, library, *names) for library, names in _TABLES.items())


def _encoded(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise _TooMuch from None


def _kind_and_size(value: Any) -> str:
    kind = kind_word(value)
    if isinstance(value, float):
        return str(float(value))
    if isinstance(value, int):
        return f"{kind}, {count(value.bit_length(), 'bit')}"
    if isinstance(value, str):
        return f"{kind}, {count(len(value), 'character')}"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{kind}, {count(memoryview(value).nbytes, 'byte')}"
    if is_of(value, "numpy", "ndarray"):
        return f"numpy array, {' × '.join(map(str, value.shape))} {value.dtype}"
    for library, names in _TABLES.items():
        if is_of(value, library, *names):
            if kind == "LazyFrame":  # it would have to run for its size to be known
                return f"{library} {kind}"
            shape = getattr(value, "shape", (len(value),))
            return f"{library} {kind}, {extent(*shape[:2])}"
    sized = isinstance(value, dict | list | tuple | set | frozenset | deque)
    return f"{kind}, {count(len(value), 'item')}" if sized else kind
