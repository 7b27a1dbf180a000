"""JSON text: which values it holds exactly, and which of them may stay in Airflow's own row."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, filterfalse, repeat
from math import copysign, isfinite
from typing import Any

import msgspec

MAX_DEPTH = 200  # levels of containers in a value that a codec carries: far below Python's recursion limit
ROW_DEPTH = 64  # levels of a value in a row: MySQL ends at 100, Airflow's api-server at 254

_TYPES = frozenset({dict, list, str, int, float, bool, type(None)})
_BLOCK = 512  # containers whose items are looked at together
_CROWD = 2**16  # containers from which on we look whether they are the same few over and over

NOT_FINITE = b"null"  # what `dumps` writes for NaN and infinity, as for None
_PIECE = 2**18  # bytes of text that are looked at together
# Bytes that objects take for each such sign in their text, measured with CPython 3.11 to 3.14: a list and its
# items, a dict and its entries, a number or a place in a list, a string.
_WEIGHTS = {b"[": 96, b"{": 184, b",": 40, b":": 36, b'"': 26}

_WEIGHTS_OF_TAGGED = _WEIGHTS | {b"{": 400, b",": 120}  # a deque takes 800, a set thrice what its list does

# What Airflow's serialisation gives a meaning of its own (FORBIDDEN_XCOM_KEYS in its task SDK).
_RESERVED = frozenset(
    {"__classname__", "__version__", "__data__", "__id__", "__cache__", "__type", "__source", "__var"}
)


def plain(value: Any, limit: int | None = None) -> bool:
    """Whether a value may stay in Airflow's row as it is and comes back exactly, whatever the database. What
    can't fit into `limit` bytes may not, and is not read to its end.

    Stricter than JSON: PostgreSQL's JSONB makes integers of floats from 1e16 on, drops the sign of -0.0
    and refuses NUL; SQLite makes a number of text that is one, an integer of 1.0 and now and then another
    last bit of others (numeric affinity), so no float stands alone; msgpack, on the way to the supervisor,
    ends at 64 bits; Airflow reserves some keys, and we reserve `$xcom`.
    """
    if type(value) is float or (type(value) is dict and "$xcom" in value):
        return False
    room = float("inf") if limit is None else limit
    try:
        for level, kinds, dicts in _blocks(value, ROW_DEPTH):
            keys = set(chain.from_iterable(dicts))
            room -= 2 * len(level)  # every item takes one character and a comma, at least
            floats = [item for item in level if type(item) is float] if float in kinds else []
            integers = [item for item in level if type(item) is int] if int in kinds else [0]
            text = "".join(chain(keys, [item for item in level if type(item) is str]))
            room -= len(text)
            if (
                room < -2
                or max(map(abs, floats), default=0) >= 1e16
                or -1.0 in map(copysign, repeat(1.0), filterfalse(None, floats))
                or min(integers) < -(2**63)
                or max(integers) >= 2**63
                or not _RESERVED.isdisjoint(keys)
                or "\0" in text
                or not is_unicode(text)
            ):
                return False
    except _NotJson:
        return False
    return True


def exact(value: Any, *, floats: bool = True) -> bool:
    """Whether JSON text holds a value exactly. Whether its text and integers can be written, `dumps` says.
    Not to look at its `floats` saves a quarter: they are finite if `NOT_FINITE` is not in the text."""
    try:
        for _ in _blocks(value, MAX_DEPTH, floats=floats):
            pass
    except _NotJson:
        return False
    return True


class _NotJson(Exception):
    """JSON does not hold the value."""


def _blocks(
    value: Any, depth: int, *, floats: bool = True
) -> Iterator[tuple[list[Any], set[type], list[dict[str, Any]]]]:
    """The items of a value, some containers' at a time: these, their types, and the dicts among them. Raises
    `_NotJson` for anything but JSON's own types, string keys and finite floats.

    With loops that run in C or are comprehensions, over as many items as a processor's cache holds: each of
    them looks at every leaf of 300,000 records.
    """
    ahead: list[tuple[int, list[Any]]] = [(0, [[value]])]
    walked = 0
    while ahead:
        level, inner = ahead.pop()
        of_dicts = type(inner[0]) is dict
        items = list(chain.from_iterable(map(dict.values, inner) if of_dicts else inner))
        kinds = set(map(type, items))
        lists = [item for item in items if type(item) is list] if list in kinds else []
        dicts = [item for item in items if type(item) is dict] if dict in kinds else []
        if not kinds <= _TYPES or not set(map(type, chain.from_iterable(dicts))) <= {str}:
            raise _NotJson
        if (
            floats
            and float in kinds
            and not all(map(isfinite, [item for item in items if type(item) is float]))
        ):
            raise _NotJson
        yield items, kinds, dicts
        if (lists or dicts) and level == depth:
            raise _NotJson
        for containers in (lists, dicts):
            walked += len(containers)
            # A list that holds the same list twice, and so on down, would have a text without an end.
            if walked >= _CROWD and is_repeated(containers):
                raise _NotJson
            starts = range(0, len(containers), _BLOCK)
            ahead += [(level + 1, containers[start : start + _BLOCK]) for start in starts]


def is_repeated(items: list[Any]) -> bool:
    """Whether many of a list's items are the same few objects."""
    sample = items[:: max(1, len(items) // 4096)]
    return len(items) >= _BLOCK and 4 * len(set(map(id, sample))) < len(sample)


def is_unicode(text: str) -> bool:
    """Whether UTF-8 holds a text; not if there is half of a surrogate pair in it, as Python's str allows."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def dumps(value: Any) -> bytes:
    """Compact JSON text in UTF-8. The caller knows that JSON holds the value (`exact`). Raises
    UnicodeEncodeError (half of a surrogate pair), ValueError (sys.set_int_max_str_digits), RecursionError."""
    return msgspec.json.encode(value)


def loads(text: bytes | memoryview) -> Any:
    """Builtin objects from JSON text. Raises msgspec.DecodeError, ValueError or RecursionError."""
    with paused_gc():
        return msgspec.json.decode(text)


def decoded_size(text: bytes | memoryview, limit: int, *, plain: bool) -> int:
    """Bytes that the text and what is made of it take, at most. What is inside of strings is looked at only
    where it matters, that is where the rest would be over the limit.

    Args:
        plain: whether nothing else is made of the objects in it, as a set of a list.
    """
    return decoded_sizes(lambda: [text], limit, plain=plain)


def decoded_sizes(texts: Callable[[], Iterable[bytes | memoryview]], limit: int, *, plain: bool) -> int:
    """The same of several texts, all in all."""
    size = sum(_size(text, plain=plain) for text in texts())
    return size if size <= limit else sum(_size(text, plain=plain, outside_strings=True) for text in texts())


def _size(text: bytes | memoryview, *, plain: bool, outside_strings: bool = False) -> int:
    weights = _WEIGHTS if plain else _WEIGHTS_OF_TAGGED
    width, objects = 1, 0
    for piece in _pieces(text):
        objects += 0 if outside_strings else _weight(piece, weights)
        # One character of four bytes, or one that is escaped, makes all characters of a string that wide.
        if not piece.isascii() or rb"\u" in piece:
            width = 4
    if outside_strings:
        objects = sum(_weight(piece, weights) for piece in _outside_strings(_pieces(text)))
    return (1 + width) * len(text) + objects


def most_decoded(length: int, *, plain: bool) -> int:
    """Bytes that any JSON text of that length and what is made of it take, at most: for where the limit is
    far, and shared by nothing else. Counting takes a fifth of the time in which a text is decoded."""
    weights = _WEIGHTS if plain else _WEIGHTS_OF_TAGGED
    return (5 + weights[b"{"] // 2) * length  # of "{}", which takes most for its length


def _pieces(text: bytes | memoryview) -> Iterator[bytes]:
    return (bytes(text[start : start + _PIECE]) for start in range(0, len(text), _PIECE))


def _weight(piece: bytes, weights: dict[bytes, int]) -> int:
    return sum(weight * piece.count(sign) for sign, weight in weights.items())


def _outside_strings(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """What of the text is in no string, and the quotes around strings."""
    inside, ending = False, b""
    for piece in pieces:
        piece = ending + piece
        whole = piece.rstrip(b"\\")  # an escape that the next piece ends
        ending = piece[len(whole) :]
        parts = whole.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')
        yield b'"'.join(parts[inside::2])
        inside ^= not len(parts) & 1


@contextlib.contextmanager
def paused_gc() -> Iterator[None]:
    """Build many objects without the garbage collector walking over them again and again.

    Afterwards they count as old, so that the next collection doesn't walk over them either. Measured with
    300,000 records: 1.4 s with the collector on, 0.4 s with it paused, and 0.2 s saved in what follows.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not _has_frozen(os.getpid()):  # unfreeze() would undo what a process did for itself or its forks
            gc.freeze()
            gc.unfreeze()
        if running:
            gc.enable()


@functools.cache
def _has_frozen(process: int) -> bool:
    """Whether the process holds objects that the collector leaves alone. To count them takes a walk over all:
    0.2 s in a worker of Airflow, which freezes 800,000 of them. So each process asks once."""
    return gc.get_freeze_count() > 0
