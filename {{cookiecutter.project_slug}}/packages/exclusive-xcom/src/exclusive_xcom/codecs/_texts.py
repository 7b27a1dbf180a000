"""The texts and bytes in Arrow's arrays, as they lie in memory, and in which row of them something is."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from typing import Any

import pyarrow as pa

from . import Holds, Options
from ._places import halved


class Texts:
    """Has the texts of a table looked at, batch by batch. Batches that come again are not looked at again."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._rows = 0  # that were looked at
        self._known: set[int] = set()  # addresses of dictionaries, which all batches share

    def look_at(self, batch: Any, before: int) -> None:
        """Look at a batch with so many rows before it."""
        if before < self._rows:
            return
        self._rows = before + batch.num_rows
        for number, column in enumerate(batch.columns, 1):
            for part, noun in self._parts(column):
                place = partial(_place, part, f"column {number}, {noun}", before if noun == "row" else 0)
                for text in _texts(part):
                    self._options.look_at(text, place)

    def _parts(self, column: Any) -> Iterator[tuple[Any, str]]:
        if not pa.types.is_dictionary(column.type):
            yield column, "row"
        elif not (places := _addresses(column.dictionary)) <= self._known:
            self._known |= places
            yield column.dictionary, "category"


def _place(array: Any, noun: str, before: int, holds: Holds) -> str | None:
    return next((f"{noun} {before + row + 1}" for row in _rows(array, holds)), None)


def _addresses(array: Any) -> set[int]:
    return {buffer.address for buffer in array.buffers() if buffer}


def _rows(array: Any, holds: Holds) -> Iterator[int]:
    """The rows that hold it. Texts of several rows lie side by side, and may have it between them alone."""
    several = halved(len(array), lambda at, end: any(map(holds, _texts(array.slice(at, end - at)))), 0)
    return (row for row in several if any(map(holds, _cells(array[row].as_py()))))


def _cells(value: Any) -> Iterator[Any]:
    """The texts and bytes in a value of a cell."""
    if isinstance(value, str | bytes):
        yield value
    elif isinstance(value, dict):
        for pair in value.items():
            yield from _cells(pair)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _cells(item)


def _texts(array: Any) -> Iterator[memoryview]:
    """What the texts of an array are in memory, one behind the other."""
    is_, kind = pa.types, array.type
    if isinstance(kind, pa.BaseExtensionType):
        yield from _texts(array.storage)
    elif is_.is_string_view(kind) or is_.is_binary_view(kind):
        yield from _texts(array.cast(pa.large_binary()))
    elif is_.is_string(kind) or is_.is_binary(kind):
        yield from _slice(array, "i")
    elif is_.is_large_string(kind) or is_.is_large_binary(kind):
        yield from _slice(array, "q")
    elif is_.is_fixed_size_binary(kind):
        _, data = array.buffers()
        start = array.offset * kind.byte_width
        if data is not None:
            yield memoryview(data)[start : start + len(array) * kind.byte_width]
    elif is_.is_dictionary(kind):
        yield from _texts(array.dictionary)
    elif is_.is_struct(kind):
        for inner in array.flatten():
            yield from _texts(inner)
    elif is_.is_union(kind):
        for number in range(kind.num_fields):
            yield from _texts(array.field(number))
    elif is_.is_run_end_encoded(kind):
        yield from _texts(array.values)
    elif is_.is_map(kind):
        first, end = array.offsets[0].as_py(), array.offsets[len(array)].as_py()
        for inner in (array.keys, array.items):
            yield from _texts(inner.slice(first, end - first))
    elif is_.is_nested(kind):  # lists of all kinds
        yield from _texts(array.flatten())


def _slice(array: Any, form: str) -> Iterator[memoryview]:
    _, offsets, data = array.buffers()
    if len(array) and offsets is not None and data is not None:
        width = struct.calcsize(form)
        first, end = (
            struct.unpack_from(form, offsets, width * (array.offset + n))[0] for n in (0, len(array))
        )
        yield memoryview(data)[first:end]
