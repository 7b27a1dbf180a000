"""A value in short, for people and pages: its kind, its size, its columns; its beginning for who asks for it.

What comes out is small (`MOST`), takes no time that grows with the value, and can be shown as it is: what
would steer a terminal stands as an escape. No method of a class that is not Python's or a known library's is
called, and no library is loaded for what is not there.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, NamedTuple
from uuid import UUID

from rich.cells import cell_len, set_cell_size

from .codecs import OURS, is_of, kind_word
from .codecs.common import count
from .errors import visible
from .handle import human_size

MOST = 4096  # bytes of JSON
_NUMBERS = re.compile(r"u?int|float|double|decimal", re.IGNORECASE)  # types whose cells stand to the right
_DIGITS = 10_000  # bits of a number that is written out
_TOLD = (type(None), bool, float, complex, Decimal, date, datetime, time, timedelta, UUID)


class _Limits(NamedTuple):
    rows: int
    columns: int
    characters: int
    items: int  # of a list
    names: int  # of a dict
    depth: int


# The first with which a preview is small enough counts.
_LIMITS = [_Limits(10, 12, 40, 10, 20, 6), _Limits(10, 12, 24, 5, 12, 4), _Limits(5, 6, 24, 3, 6, 3)]
_LIMITS.append(_Limits(2, 3, 12, 2, 2, 2))
_LINES = 40  # of a text


def preview(value: Any, *, values: bool = False) -> dict[str, Any]:
    """What a value is, as JSON of at most `MOST` bytes.

    Always: "kind". Of a frame or table "rows" (None if it would have to run for that), "columns" (a list of
    {"name", "type"}), "more_columns"; of an array "dtype", "shape"; of an image "width", "height", "mode"; of
    a file "name", "bytes"; of bytes "bytes"; of a text "characters"; of what JSON has a form for "items" and
    "outline": names and kinds of what is in it.

    Args:
        values: whether the beginning is told, too: "head" (rows of texts), "first" (of an array), "beginning"
            (of a text), "value" (in the place of "outline").
    """
    for limits in _LIMITS:
        found = {"kind": kind(value), **_told(value, values, limits)}
        if len(json.dumps(found)) <= MOST:
            return found
    return {"kind": _text(kind(value), 40)}


def kind(value: Any) -> str:
    """What a person calls a value: "pandas DataFrame", "image", "list"."""
    for name, word in (("frame_pandas", "pandas"), ("frame_polars", "polars"), ("arrow", "Arrow")):
        if is_of(value, *OURS[name]):
            return f"{word} {type(value).__name__}"
    if is_of(value, *OURS["image"]):
        return "image"
    if is_of(value, *OURS["numpy_array"]):
        return "numpy array"
    return "file" if isinstance(value, PurePath) else kind_word(value)


def size_in_words(found: dict[str, Any]) -> str:
    """How much there is of a value, from its preview: "2 rows × 3 columns"."""
    if "columns" in found:
        rows = "" if found["rows"] is None else f"{count(found['rows'], 'row')} × "
        return rows + count(len(found["columns"]) + found["more_columns"], "column")
    if "dtype" in found:
        return f"{' × '.join(map(str, found['shape'])) or 'one value'}, {found['dtype']}"
    if "mode" in found:
        return f"{found['width']} × {found['height']} pixels, {found['mode']}"
    if "bytes" in found:
        return ", ".join(filter(None, (found.get("name"), human_size(found["bytes"]))))
    for name, word in (("characters", "character"), ("items", "item")):
        if name in found:
            return count(found[name], word)
    return ""


def lines(found: dict[str, Any], width: int = 200) -> list[str]:
    """A preview in lines of text, as wide as a window is, without its kind and size."""
    if "columns" in found:
        return _aligned(found, width)
    for name in ("first", "value", "outline"):
        if name in found:
            # JSON writes a backslash as two, which is for programs: here one stands for an escape.
            return [_short(line.replace("\\\\", "\\"), width) for line in _folded(found[name], width)]
    return [_short(line, width) for line in str(found.get("beginning", "")).splitlines()]


# -- by kind ----------------------------------------------------------------------------------------


def _told(value: Any, values: bool, limits: _Limits) -> dict[str, Any]:
    if any(is_of(value, *OURS[name]) for name in ("frame_pandas", "frame_polars", "arrow")):
        return _frame(value, values, limits)
    if is_of(value, *OURS["image"]):
        return {"width": int(value.width), "height": int(value.height), "mode": str(value.mode)}
    if is_of(value, *OURS["numpy_array"]):
        told = {"dtype": _text(str(value.dtype), limits.characters), "shape": [*map(int, value.shape)]}
        first = [_cell(cell, limits) for cell in islice(value.flat, limits.items)] if values else []
        return told | ({"first": first} if values else {})
    if isinstance(value, PurePath):
        return {"name": _text(value.name, 200), "bytes": Path(value).stat().st_size}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"bytes": memoryview(value).nbytes}
    if type(value) is str:
        return {"characters": len(value), **({"beginning": _beginning(value)} if values else {})}
    items = {"items": len(value)} if type(value) in (dict, list, tuple, set, frozenset, deque) else {}
    name, told_by = ("value", _clipped) if values else ("outline", _outlined)
    if items or values:
        return {**items, name: told_by(value, limits, limits.depth)}
    return {}


def _frame(value: Any, values: bool, limits: _Limits) -> dict[str, Any]:
    rows: Iterable[Any]
    if is_of(value, "polars", "LazyFrame"):  # it would have to run
        schema = value.collect_schema()
        names, types, rows, height, width = schema.names(), schema.dtypes(), [], None, schema.len()
    elif is_of(value, *OURS["frame_pandas"]):
        part = getattr(value, "iloc", value)[: limits.rows]  # a range may be longer than memory
        part = part.iloc[:, : limits.columns] if part.ndim == 2 else part
        frame, height = as_pandas(part), len(value)
        names, types, rows = frame.columns, frame.dtypes, frame.itertuples(index=False, name=None)
        columns = value.shape[1] if value.ndim == 2 else 1
        width = columns + frame.shape[1] - (part.shape[1] if part.ndim == 2 else 1)
    elif is_of(value, *OURS["frame_polars"]):
        frame = as_polars(value)
        names, types, height, width = frame.columns, frame.dtypes, frame.height, frame.width
        part = frame[: limits.rows, : limits.columns]
        rows = zip(*([_of_polars(each, at) for at in range(part.height)] for each in part), strict=True)
    else:
        frame = as_arrow(value)
        names, types = frame.column_names, frame.schema.types
        height, width = frame.num_rows, frame.num_columns
        part = frame.slice(0, limits.rows).columns[: limits.columns]
        rows = zip(*([_of_arrow(cell) for cell in column] for column in part), strict=True)
    shown = islice(zip(names, types, strict=True), limits.columns)
    most = limits.characters
    told = [{"name": _cell(name, limits), "type": _text(str(each), most)} for name, each in shown]
    found: dict[str, Any] = {"rows": height, "columns": told, "more_columns": width - len(told)}
    if values and height is not None:
        found["head"] = [[_cell(cell, limits) for cell in row[: limits.columns]] for row in rows]
    return found


def as_pandas(value: Any) -> Any:
    """A pandas DataFrame of a frame, series or index: an index that says something is a column."""
    import pandas as pd

    frame = value if isinstance(value, pd.DataFrame) else value.to_frame()
    plain = (isinstance(frame.index, pd.RangeIndex) and frame.index.name is None) or isinstance(
        value, pd.Index
    )
    return frame if plain else frame.reset_index(allow_duplicates=True)


def as_polars(value: Any) -> Any:
    """A polars DataFrame of a frame or series."""
    import polars as pl

    if isinstance(value, pl.LazyFrame):
        return value.collect()
    return value.to_frame() if isinstance(value, pl.Series) else value


def as_arrow(value: Any) -> Any:
    """An Arrow table of a table, batch or array."""
    import pyarrow as pa

    if isinstance(value, pa.RecordBatch):
        return pa.Table.from_batches([value])
    return value if isinstance(value, pa.Table) else pa.table({"value": value})


class _Part(list[Any]):
    """The first items of a cell's list, which has `length`: a cell may hold millions."""

    length = 0

    @classmethod
    def of(cls, items: Iterable[Any], length: int) -> _Part:
        """Of these items, of so many."""
        made = cls(items)
        made.length = length
        return made


def _of_arrow(cell: Any) -> Any:
    """A cell of Arrow's as Python's, without what of it is never told."""
    import pyarrow as pa

    if isinstance(cell, pa.ExtensionScalar | pa.DictionaryScalar):
        return _of_arrow(cell.value) if cell.is_valid else None
    kind = cell.type
    if pa.types.is_struct(kind) and cell.is_valid:
        fields = range(min(kind.num_fields, _LIMITS[0].names))
        return {kind.field(at).name: _of_arrow(cell[at]) for at in fields}
    if hasattr(cell, "values") and hasattr(cell.values, "slice"):  # all kinds of lists, and maps
        return _Part.of(map(_of_arrow, cell.values.slice(0, _LIMITS[0].items)), len(cell.values))
    return cell.as_py()


def _of_polars(column: Any, at: int) -> Any:
    """The same of a cell in a column of polars'."""
    import polars as pl

    if column.dtype == pl.Struct:
        names = [field.name for field in column.dtype.fields[: _LIMITS[0].names]]
        whole = column.slice(at, 1)
        if whole.null_count():
            return None
        return {name: _of_polars(whole.struct.field(name), 0) for name in names}
    cell = column[at]
    if isinstance(cell, pl.Series):
        most = min(len(cell), _LIMITS[0].items)
        return _Part.of((_of_polars(cell, place) for place in range(most)), len(cell))
    return cell


# -- what is in it ----------------------------------------------------------------------------------


def _clipped(value: Any, limits: _Limits, depth: int) -> Any:
    """The beginning of a value, as JSON."""
    return _walked(value, limits, depth, _scalar)


def _outlined(value: Any, limits: _Limits, depth: int) -> Any:
    """The same without values: kinds in their places."""
    return _walked(value, limits, depth, lambda item, _: _text(kind(item), 40))


def _walked(value: Any, limits: _Limits, depth: int, leaf: Callable[[Any, _Limits], Any]) -> Any:
    is_list = type(value) in (list, tuple, set, frozenset, deque, _Part)
    length = value.length if type(value) is _Part else len(value) if is_list or type(value) is dict else 0
    if not is_list and type(value) is not dict:
        return leaf(value, limits)
    if depth == 0:
        return f"… {count(length, 'item')}"
    more = length - (limits.items if is_list else limits.names)
    if is_list:
        part = [_walked(item, limits, depth - 1, leaf) for item in islice(value, limits.items)]
        return [*part, f"… {more:,} more"] if more > 0 else part
    named = {
        _cell(name, limits): _walked(item, limits, depth - 1, leaf)
        for name, item in islice(value.items(), limits.names)
    }
    return {**named, "…": f"{more:,} more"} if more > 0 else named


def _scalar(value: Any, limits: _Limits) -> Any:
    """What is no list and no dict, as JSON has it or as a text."""
    if value is None or type(value) is bool or (type(value) is int and abs(value) < 2**53):
        return value
    if type(value) is float and value == value and abs(value) != float("inf"):
        return value
    return _cell(value, limits)


def _cell(value: Any, limits: _Limits) -> str:
    """A value in a few characters. Of a class that nobody knows only its name is told."""
    most = limits.characters
    if type(value) is str:
        return _text(value, most)
    if type(value) is int:
        return _text(str(value), most) if value.bit_length() < _DIGITS else count(value.bit_length(), "bit")
    if type(value) in _TOLD or _is_of_a_library(value):
        return _text(str(value), most)
    if type(value) in (list, tuple, set, frozenset, deque, dict, _Part):
        return _text(
            json.dumps(_clipped(value, limits._replace(items=4, names=4), 2), ensure_ascii=False), most
        )
    if type(value).__module__ == "builtins" and not isinstance(value, bytes | bytearray | memoryview):
        return _text(kind(value), most)
    told = "" if isinstance(value, PurePath) else size_in_words(_told(value, False, _LIMITS[-1]))
    return _text(f"<{', '.join(filter(None, (kind(value), told)))}>", 80)


def _is_of_a_library(value: Any) -> bool:
    """Whether it is a number or a time of numpy's or pandas's: their texts are short."""
    if type(value).__module__.partition(".")[0] not in ("numpy", "pandas"):
        return False
    return not is_of(value, *OURS["frame_pandas"]) and not is_of(value, "numpy", "ndarray", "void")


def _beginning(text: str) -> str:
    """Some lines of a text, and whether there is more."""
    start = text[: _LINES * 50]
    found = start.splitlines()
    shown = "\n".join(_text(line, 200) for line in found[:_LINES])
    return f"{shown}\n…" if len(text) > len(start) or len(found) > _LINES else shown


def _text(text: str, most: int) -> str:
    return visible(_short(text[: most + 1].replace("\n", "⏎"), most))


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


# -- in a window ------------------------------------------------------------------------------------


def _folded(value: Any, width: int, indent: str = "", name: str = "", end: str = "") -> Iterator[str]:
    """JSON for people: what fits into a line is one."""
    text = f"{indent}{name}{json.dumps(value, ensure_ascii=False)}{end}"
    if not isinstance(value, dict | list) or not value or cell_len(text) <= width:
        yield text
        return
    is_dict = isinstance(value, dict)
    yield f"{indent}{name}{'{' if is_dict else '['}"
    inner = value.items() if isinstance(value, dict) else [("", item) for item in value]
    for at, (key, item) in enumerate(inner, 1):
        named = f"{json.dumps(key, ensure_ascii=False)}: " if is_dict else ""
        yield from _folded(item, width, f"{indent}  ", named, "," if at < len(value) else "")
    yield f"{indent}{'}' if is_dict else ']'}{end}"


def _aligned(found: dict[str, Any], width: int) -> list[str]:
    """A frame's columns: side by side with the first rows, as many as there is room for; without rows one
    below the other."""
    columns, head = found["columns"], found.get("head", [])
    if "head" not in found:
        widest = max((cell_len(column["name"]) for column in columns), default=0)
        told = [f"{set_cell_size(column['name'], widest)}  {column['type']}" for column in columns]
        more = found["more_columns"]
        return [*told, *([f"… {count(more, 'more column')}"] if more else [])]
    cells = [[c["name"], c["type"], *(row[at] for row in head)] for at, c in enumerate(columns)]
    widths = [max(map(cell_len, column)) for column in cells]
    fit = len(widths)
    while fit > 1 and sum(widths[:fit]) + 2 * (fit - 1) > width:
        fit -= 1
    sides = [_NUMBERS.match(column["type"]) is not None for column in columns]
    shown = ["  ".join(map(_padded, row, widths, sides)).rstrip() for row in zip(*cells[:fit], strict=True)]
    shown.insert(2, "  ".join("─" * each for each in widths[:fit]))
    more_rows, more_columns = (found["rows"] or 0) - len(head), len(columns) - fit + found["more_columns"]
    left = [count(more_rows, "more row")] if more_rows else []
    left += [count(more_columns, "more column")] if more_columns else []
    return [*shown, *([f"… {' and '.join(left)}"] if left else [])]


def _padded(text: str, width: int, right: bool) -> str:
    return " " * (width - cell_len(text)) + text if right else set_cell_size(text, width)
