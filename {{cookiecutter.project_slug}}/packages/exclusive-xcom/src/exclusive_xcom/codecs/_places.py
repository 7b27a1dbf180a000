"""Where in a value something is, by position: what `Options.look` is told, in words for people.

Counted from 1. A name is never told: a key of a dict may itself be what must not be told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from . import LOOKED_AT, Holds, Look, Options, Payload
from ._json import dumps
from ._objects import TAG

_SEQUENCES = ("tuple", "set", "frozenset")
_DICTS = ("dict", "OrderedDict", "Counter", "defaultdict")
_FIELDS = ("v", "extra", "private")  # of objects of classes
Steps = Iterator[list[str]]


def look_at_tree(tree: Any, text: bytes, options: Options, *, tagged: bool, first: int = 0) -> None:
    """Have the text of a value looked at: JSON's own types, or what `Tagger` makes of others. `first` is the
    number of the first item, of a few items of a list."""
    options.look_at(text, partial(_place, tree, tagged=tagged, first=first))


def look_at_payload(made: Payload, options: Options, *, as_it_is: bool) -> None:
    """Have what the reference will say of a payload looked at; and the beginning of its bytes, if these are
    written as they are."""
    name, noted = made.filename or "", dumps([made.filename, made.summary, made.meta])
    what = f"what is noted of the {made.kind}"
    options.look_at(noted, lambda holds: "the name of the file" if holds(name) else what)
    if as_it_is:
        options.look_at(_beginning(made), lambda holds: f"the content of the {made.kind}")


def _beginning(made: Payload) -> bytes | memoryview:
    chunks = made.chunks(LOOKED_AT)
    first = next(chunks, b"")
    if len(first) == LOOKED_AT or (isinstance(made.body, list | tuple) and len(made.body) == 1):
        return first
    found = bytearray(first)
    while len(found) < LOOKED_AT and (more := next(chunks, None)) is not None:
        found += more
    return bytes(found[:LOOKED_AT])


@dataclass(frozen=True)
class Inside:
    """Looks at a part of a value, of which `tree` is the JSON: its `number` stands in the part's place."""

    look: Look
    tree: Any
    number: int

    def holds(self, data: str | bytes | memoryview) -> bool:
        return self.look.holds(data)

    def found(self, place: str) -> None:
        mark = dumps({TAG: "part", "v": self.number})
        outer = _place(self.tree, lambda data: mark in bytes(_as_bytes(data)), tagged=True)
        self.look.found(f"{outer}, {place}")


def position(place: Iterable[Any]) -> str:
    """Of an item in lists in lists, or in an array, by its indexes: "item 1, item 3"."""
    return ", ".join(f"item {number + 1}" for number in place) or "the only item"


def halved(length: int, has: Callable[[int, int], bool], first: int = 0) -> Iterator[int]:
    """The numbers, of so many from `first` on, of those that have something; `has` tells of several."""
    end = first + length
    if length and has(first, end):
        if length == 1:
            yield first
        else:
            yield from halved(length // 2, has, first)
            yield from halved(length - length // 2, has, first + length // 2)


def _place(tree: Any, holds: Holds, *, tagged: bool, first: int = 0) -> str | None:
    steps = next(_Walk(holds, tagged).any(tree, first), None)
    return None if steps is None else ", ".join(steps) or "the whole of it"


def _as_bytes(data: str | bytes | memoryview) -> bytes | memoryview:
    return data.encode() if isinstance(data, str) else data


@dataclass(frozen=True)
class _Walk:
    """Looks for texts in JSON. The texts of several items are made and looked at together, then of half of
    them, and so on: all in all little more than the text once."""

    holds: Holds
    tagged: bool

    def any(self, tree: Any, first: int = 0) -> Steps:
        if type(tree) is dict:
            if self.tagged and TAG in tree:
                yield from self._object(tree)
            else:
                yield from self._dict(tree, "entry")
        elif type(tree) is list:
            yield from self._items(tree, "item", first)
        elif type(tree) is str and self.holds(tree):
            yield []

    def _items(self, items: list[Any], noun: str, first: int = 0) -> Steps:
        for number in halved(len(items), lambda at, end: self.holds(dumps(items[at:end]))):
            for steps in self.any(items[number]):
                yield [f"{noun} {first + number + 1}", *steps]

    def _dict(self, found: dict[str, Any], noun: str) -> Steps:
        yield from self._items([*found], f"the name of {noun}")
        yield from self._items([*found.values()], noun)

    def _object(self, tree: dict[str, Any]) -> Steps:
        tag, held = tree[TAG], tree.get("v")
        if "class" in tree:
            for name in _FIELDS:
                part: Any = tree.get(name)
                is_plain = type(part) is dict and TAG not in part
                if part is not None:
                    yield from self._dict(part, "field") if is_plain else self.any(part)
        elif tag in _DICTS and type(held) is list:
            yield from self._items(held[0], "the name of entry")
            yield from self._items(held[1], "entry")
        elif tag == "deque" and type(held) is list:
            yield from self.any(held[0])
        elif tag in _SEQUENCES or type(held) is str:
            yield from self.any(held)
        elif self.holds(dumps(tree)):  # a part, a moment, an address
            yield []
