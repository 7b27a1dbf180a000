"""What of a value is told in a few characters, and what of what JSON has a form for."""

from __future__ import annotations

import codecs
import functools
import json
from collections import Counter, deque
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, NamedTuple
from uuid import UUID

from ..codecs import OURS, is_of, kind_word
from ..codecs.common import count
from ..errors import is_failure, visible
from ..handle import human_size

_DIGITS = 10_000  # bits of a number that is written out
_SECRET = 4096  # characters of a secret that is found although it begins at the end of what is shown
_RECORDS = 20  # dicts of a list that are looked at before it counts as a table
_MANY = 1000  # names of a dict that is a record
_LINES = 40  # of a text
UNREAD = "<not shown>"  # in the place of what Python has no value for, as a day in the year 200,000
_TOLD = (type(None), bool, float, complex, Decimal, date, datetime, time, timedelta, UUID)

Hide = Callable[[str, str], str]  # a text, and the name that it stands under: what may be shown of it


def as_it_is(text: str, name: str) -> str:
    """Everything may be shown."""
    return text


class Limits(NamedTuple):
    """How much is told, and what `preview` was asked for."""

    rows: int
    columns: int
    characters: int
    items: int  # of a list
    names: int  # of a dict
    depth: int
    hide: Hide = as_it_is
    kept: bool = False


# The first with which a preview is small enough counts.
LIMITS = [Limits(10, 12, 40, 10, 20, 6), Limits(10, 12, 24, 5, 12, 4), Limits(5, 6, 24, 3, 6, 3)]
LIMITS.append(Limits(2, 3, 12, 2, 2, 2))


def kind(value: Any) -> str:
    """What a person calls a value: "pandas DataFrame", "image", "list"."""
    if type(value).__module__ == "builtins":  # nearly all that is in lists and dicts
        return kind_word(value)
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


class Part(list[Any]):
    """The first items of a cell's list, which has `length`: a cell may hold millions."""

    length = 0

    @classmethod
    def of(cls, items: Iterable[Any], length: int) -> Part:
        """Of these items, of so many."""
        made = cls(items)
        made.length = length
        return made


def read(get: Callable[..., Any], *of: Any) -> Any:
    """What a library gives; `UNREAD` if it can't."""
    try:
        return get(*of)
    except BaseException as error:
        if not is_failure(error):
            raise
        return UNREAD


def clipped(value: Any, limits: Limits, depth: int) -> Any:
    """The beginning of a value, as JSON."""
    return _walked(value, limits, depth, _scalar)


def outlined(value: Any, limits: Limits, depth: int) -> Any:
    """The same without values: kinds in their places."""
    return _walked(value, limits, depth, lambda item, _: clip(kind(item), 40))


def names_of_records(value: Any) -> list[str]:
    """The names that the dicts of a list have, if all of its first ones have the same; otherwise none."""
    if type(value) not in (list, tuple) or len(value) < 2 or type(value[0]) is not dict:
        return []
    names = value[0].keys()
    if len(names) > _MANY or not all(type(name) is str for name in names):
        return []
    alike = all(type(item) is dict and item.keys() == names for item in value[:_RECORDS])
    return [*names] if alike else []


def table_of_records(value: Any, names: list[str], values: bool, limits: Limits) -> dict[str, Any]:
    """A list of dicts with the same names, as a frame with these columns."""
    first, shown = value[:_RECORDS], names[: limits.columns]
    one_of_each = ({type(item[name]): item[name] for item in first}.values() for name in shown)
    kinds = [dict.fromkeys(map(kind, each)) for each in one_of_each]
    told = [
        {"name": cell(name, limits), "type": clip(" or ".join(each), limits.characters)}
        for name, each in zip(shown, kinds, strict=True)
    ]
    width = len(value[0])
    found: dict[str, Any] = {"rows": len(value), "columns": told, "more_columns": width - len(told)}
    if values:
        rows = ([item[name] for name in shown] for item in value[: min(limits.rows, _RECORDS)])
        found["head"] = [row_cells(row, shown, limits) for row in rows]
    return found


def kinds(value: Any) -> dict[str, int]:
    """How many there are of each kind among the first items."""
    items = value.values() if type(value) is dict else value
    return dict(Counter(clip(kind(item), 40) for item in islice(items, 100)).most_common(10))


def _walked(value: Any, limits: Limits, depth: int, leaf: Callable[[Any, Limits], Any]) -> Any:
    is_list = type(value) in (list, tuple, set, frozenset, deque, Part)
    length = value.length if type(value) is Part else len(value) if is_list or type(value) is dict else 0
    if not is_list and type(value) is not dict:
        return leaf(value, limits)
    if depth == 0:
        return f"… {count(length, 'item')}"
    more = length - (limits.items if is_list else limits.names)
    if is_list:
        part = [_walked(item, limits, depth - 1, leaf) for item in islice(value, limits.items)]
        return [*part, f"… {more:,} more"] if more > 0 else part
    named = {
        cell(name, limits): _under(name, item, limits, depth - 1, leaf)
        for name, item in islice(value.items(), limits.names)
    }
    return {**named, "…": f"{more:,} more"} if more > 0 else named


def _under(name: Any, item: Any, limits: Limits, depth: int, leaf: Callable[[Any, Limits], Any]) -> Any:
    """An item of a dict; of one whose name says that it is secret nothing."""
    is_secret = type(name) is str and _says_secret(limits.hide, name[:200])
    return limits.hide("-", name[:200]) if is_secret else _walked(item, limits, depth, leaf)


@functools.lru_cache(256)
def _says_secret(hide: Hide, name: str) -> bool:
    """Whether nothing may be shown of what stands under that name."""
    return hide("-", name) != "-"


def _scalar(value: Any, limits: Limits) -> Any:
    """What is no list and no dict, as JSON has it or as a text."""
    short_int = type(value) is int and abs(value) < 2**53
    if short_int or (type(value) is float and value == value and abs(value) != float("inf")):
        text = str(value)
        return value if (shown := limits.hide(text, "")) == text else shown
    return value if value is None or type(value) is bool else cell(value, limits)


def cell(value: Any, limits: Limits) -> str:
    """A value in a few characters. Of a class that nobody knows only its name is told."""
    most = limits.characters
    if type(value) is str:
        return clip(_hidden(value, most, limits), most)
    if type(value) is int:
        return (
            clip(_hidden(str(value), most, limits), most)
            if value.bit_length() < _DIGITS
            else count(value.bit_length(), "bit")
        )
    if type(value) in _TOLD or _is_of_a_library(value):
        return clip(_hidden(str(value), most, limits), most)
    if type(value) in (list, tuple, set, frozenset, deque, dict, Part):
        return clip(
            json.dumps(clipped(value, limits._replace(items=4, names=4), 2), ensure_ascii=False), most
        )
    if type(value).__module__ == "builtins" and not isinstance(value, bytes | bytearray | memoryview):
        return clip(kind(value), most)
    told = "" if isinstance(value, PurePath) else size_in_words(_size_of(value))
    return clip(f"<{', '.join(filter(None, (kind(value), told)))}>", 80)


def row_cells(row: Iterable[Any], names: list[str], limits: Limits) -> list[str]:
    """A row's cells, below the names of their columns."""
    cells = [(cell(each, limits), name) for each, name in zip(row, names, strict=False)]
    return [
        limits.hide(text, name) if _says_secret(limits.hide, name[:200]) else text for text, name in cells
    ]


def _size_of(value: Any) -> dict[str, Any]:
    from . import told

    return told(value, False, LIMITS[-1])


def _is_of_a_library(value: Any) -> bool:
    """Whether it is a number or a time of numpy's or pandas's: their texts are short."""
    if type(value).__module__.partition(".")[0] not in ("numpy", "pandas"):
        return False
    return not is_of(value, *OURS["frame_pandas"]) and not is_of(value, "numpy", "ndarray", "void")


def beginning(text: str, limits: Limits) -> str:
    """Some lines of a text, and whether there is more."""
    most = _LINES * 50
    start = _hidden(text, most, limits)[:most]
    found = start.splitlines()
    shown = "\n".join(clip(line, 200) for line in found[:_LINES])
    return f"{shown}\n…" if len(text) > most or len(found) > _LINES else shown


def first_lines(path: Path, limits: Limits) -> dict[str, Any]:
    """How a file of text begins; nothing of another one."""
    most = _LINES * 50
    with path.open("rb") as file:
        start = file.read(most + _SECRET)
    if b"\0" in start:
        return {}
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return {}
    return {"beginning": beginning(text, limits)} if text else {}


def _hidden(text: str, most: int, limits: Limits) -> str:
    """A text as it may be shown. It is cut afterwards: half a secret would not be found."""
    return limits.hide(text[: most + _SECRET], "")


def clip(text: str, most: int) -> str:
    """A text in one line of at most so many characters, and escapes."""
    return visible(short(text[: most + 1].replace("\n", "⏎"), most))


def short(text: str, most: int) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
