"""A preview in lines of text, as wide as a window is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import prod
from typing import Any

from rich.cells import cell_len, set_cell_size

from ..codecs.common import count
from .cells import short

NUMBERS = re.compile(
    r"u?int|float|double|decimal|number$", re.IGNORECASE
)  # types whose cells stand to the right

_BARS = "▁▂▃▄▅▆▇█"


def lines(found: dict[str, Any], width: int = 200) -> list[str]:
    """A preview in lines of text, as wide as a window is, without its kind and size."""
    if "columns" in found:
        return _aligned(found, width)
    bars = "".join(" " if point is None else _BARS[point * 7 // 100] for point in found.get("line", []))
    if "first" in found:
        return [short(text, width) for text in (first(found), bars) if text]
    for name in ("value", "outline"):
        if name in found:
            # JSON writes a backslash as two, which is for programs: here one stands for an escape.
            return [short(line.replace("\\\\", "\\"), width) for line in _folded(found[name], width)]
    if "kinds" in found:
        return [short(f"{number:,} × {kind}", width) for kind, number in found["kinds"].items()]
    return [short(line, width) for line in str(found.get("beginning", "")).splitlines()]


def first(found: dict[str, Any]) -> str:
    """The first numbers of an array, and whether these are all."""
    return ", ".join([*found["first"], *(["…"] if prod(found["shape"]) > len(found["first"]) else [])])


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
        told = [f"{set_cell_size(each['name'], widest)}  {each['type']}{_nulls(each)}" for each in columns]
        more = found["more_columns"]
        return [*told, *([f"… {count(more, 'more column')}"] if more else [])]
    cells = [[c["name"], c["type"], *(row[at] for row in head)] for at, c in enumerate(columns)]
    widths = [max(map(cell_len, column)) for column in cells]
    fit = len(widths)
    while fit > 1 and sum(widths[:fit]) + 2 * (fit - 1) > width:
        fit -= 1
    sides = [NUMBERS.match(column["type"]) is not None for column in columns]
    shown = ["  ".join(map(_padded, row, widths, sides)).rstrip() for row in zip(*cells[:fit], strict=True)]
    shown.insert(2, "  ".join("─" * each for each in widths[:fit]))
    more_rows, more_columns = (found["rows"] or 0) - len(head), len(columns) - fit + found["more_columns"]
    left = [count(more_rows, "more row")] if more_rows else []
    left += [count(more_columns, "more column")] if more_columns else []
    return [*shown, *([f"… {' and '.join(left)}"] if left else [])]


def _nulls(column: dict[str, Any]) -> str:
    return f", {count(column['nulls'], 'null')}" if column.get("nulls") else ""


def _padded(text: str, width: int, right: bool) -> str:
    return " " * (width - cell_len(text)) + text if right else set_cell_size(text, width)
