"""A value in short, for people and pages: its kind, its size, its columns; its beginning for who asks for it.

What comes out is small (`MOST`), takes no time that grows with the value, and can be shown as it is: what
would steer a terminal stands as an escape. No method of a class that is not Python's or a known library's is
called, and no library is loaded for what is not there.
"""

from __future__ import annotations

import json
from collections import deque
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

from ..codecs import OURS, is_of
from .cells import (
    LIMITS,
    UNREAD,
    Hide,
    Limits,
    as_it_is,
    beginning,
    cell,
    clip,
    clipped,
    first_lines,
    kind,
    kinds,
    names_of_records,
    outlined,
    read,
    size_in_words,
    table_of_records,
)
from .frames import as_arrow, as_pandas, as_polars, frame_told

__all__ = [
    "MOST",
    "as_arrow",
    "as_pandas",
    "as_polars",
    "kind",
    "preview",
    "size_in_words",
    "without_values",
]

MOST = 4096  # bytes of JSON
_VALUES = ("beginning", "first", "head", "line", "picture", "value")


def preview(value: Any, *, values: bool = False, kept: bool = False, hide: Hide = as_it_is) -> dict[str, Any]:
    """What a value is, as JSON of at most `MOST` bytes.

    Always: "kind". Of a frame or table "rows" (None if it would have to run for that), "columns" (a list of
    {"name", "type"}, and "nulls" where they were counted), "more_columns"; of an array "dtype", "shape"; of
    an image "width", "height", "mode"; of a file "name", "bytes"; of bytes "bytes"; of a text "characters";
    of what JSON has a form for "items" and "outline": names and kinds of what is in it. A list of dicts that
    all have the same names is a table.

    Args:
        values: whether the beginning is told, too: "head" (rows of texts), "first" and "line" (of an array's
            numbers; the line's go from 0 to 100), "beginning" (of a text), "value" (in the place of
            "outline"), and "least" and "most" of a column.
        kept: as a row keeps it: of a dict no name is told without `values`, as it may be a value ("kinds"
            and how many of each stand in the place of "outline"); images and arrays have "picture" (base64).
        hide: what may be shown of a text, and of what has a name.
    """
    for limits in LIMITS:
        limits = limits._replace(hide=hide, kept=kept)
        found = _found(value, values, limits)
        if (left := MOST - len(json.dumps(found))) >= 0:
            picture = read(_picture, value, left - 20, kept) if values else {}
            return found if picture is UNREAD else found | picture
    return {"kind": clip(kind(value), 40)}


def _found(value: Any, values: bool, limits: Limits) -> dict[str, Any]:
    """What there is to tell; without its beginning if that can't be read."""
    found: Any = read(told, value, True, limits) if values else UNREAD
    return {"kind": kind(value)} | (told(value, False, limits) if found is UNREAD else found)


def _picture(value: Any, most: int, kept: bool) -> dict[str, Any]:
    from . import thumbnails

    return thumbnails.thumbnail(value, most) if kept else thumbnails.line(value)


def without_values(found: dict[str, Any]) -> dict[str, Any]:
    """The same preview as it would be without `values`; of JSON without its outline."""
    left = {name: told for name, told in found.items() if name not in _VALUES}
    if "columns" in left:
        plain = ("name", "type", "nulls")
        left["columns"] = [{name: c[name] for name in plain if name in c} for c in left["columns"]]
    return left


def told(value: Any, values: bool, limits: Limits) -> dict[str, Any]:
    """What there is to tell of a value but for its kind, within limits."""
    if any(is_of(value, *OURS[name]) for name in ("frame_pandas", "frame_polars", "arrow")):
        return frame_told(value, values, limits)
    if is_of(value, *OURS["image"]):
        return {"width": int(value.width), "height": int(value.height), "mode": str(value.mode)}
    if is_of(value, *OURS["numpy_array"]):
        told = {"dtype": cell(str(value.dtype), limits), "shape": [*map(int, value.shape)]}
        first = [cell(each, limits) for each in islice(value.flat, limits.items)] if values else []
        return told | ({"first": first} if values else {})
    if isinstance(value, PurePath):
        file: dict[str, Any] = {
            "name": clip(limits.hide(value.name, ""), 200),
            "bytes": Path(value).stat().st_size,
        }
        return file | (first_lines(Path(value), limits) if limits.kept and values else {})
    if isinstance(value, bytes | bytearray | memoryview):
        return {"bytes": memoryview(value).nbytes}
    if type(value) is str:
        return {"characters": len(value), **({"beginning": beginning(value, limits)} if values else {})}
    if names := names_of_records(value):
        return table_of_records(value, names, values, limits)
    items = {"items": len(value)} if type(value) in (dict, list, tuple, set, frozenset, deque) else {}
    if items and limits.kept and not values:
        return {**items, "kinds": kinds(value)}
    name, told_by = ("value", clipped) if values else ("outline", outlined)
    if items or values:
        return {**items, name: told_by(value, limits, limits.depth)}
    return {}
