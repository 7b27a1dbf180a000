"""Trees of Python values as JSON: what JSON does not hold exactly becomes an object {"$t": tag, "v": ...}.

    part                            number of a part of the container: a frame, an array, a file
    the kinds of _kinds.py          tuple, set, dict with other keys than text, datetime, ...
    those of _objects.py            enum, namedtuple, dataclass, pydantic

A project's own codecs are asked first, but not about what JSON holds.
"""

from __future__ import annotations

import collections
import datetime as dt
import enum
import re
from collections import abc
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from ..errors import PayloadUnreadable, UnsupportedValue
from . import Options, _objects, carrying, codec_for, is_of, own_codecs
from ._json import MAX_DEPTH, dumps, is_unicode, paused_gc
from ._kinds import FACTORIES, kind_of, make, plain_of
from ._objects import TAG, Json
from .common import check_encoded

_INLINE = 4096  # bytes that stay in the text, as base64; more become a part of a container
_HANDLES = "exclusive_xcom.handle"  # which is of what stands above codecs
_WRAPPERS = {
    "lazy": (_HANDLES, "Lazy"),
    "keep": ("exclusive_xcom.keeping", "Kept"),
    "exclusive": ("exclusive_xcom.access", "Exclusive"),
}
_CONTAINERS = (list, tuple, set, frozenset, dict, collections.deque)


class Tagger:
    """Turns one value into JSON. `parts`, if there may be any, are what other codecs have to encode, each
    with a name made of its keys."""

    def __init__(self, options: Options, *, parts: bool = True) -> None:
        self.parts: list[tuple[str, Any]] = []
        self.made: Any = None  # by `run`
        self._parts_allowed = parts
        self._options = options
        self._own_codecs = list(own_codecs(options.codecs).values()) if parts else []
        self._path: list[Any] = []
        self._open: set[int] = set()
        self._done: dict[int, tuple[Any, Any, int]] = {}  # by id: container, its JSON, the items in it
        self._items = 0
        self._zones: dict[int, tuple[Any, bool]] = {}  # by id: a zone, and whether it comes back
        self.plain: dict[int, tuple[Any, Any]] = {}  # by id: a value, and the plain one that comes back
        self.turned: dict[str, None] = {}  # the same for people, as `Payload` has it

    def run(self, value: Any) -> Any:
        """The value as JSON. Raises `UnsupportedValue` naming what can't be carried, and where it is."""
        try:
            with paused_gc(), carrying(value):
                self.made = self._any(value)
                return self.made
        except UnsupportedValue as error:
            if not self._path:
                raise
            where = f"value{''.join(f'[{key!r}]' for key in self._path)}"
            where, advice = where if len(where) < 100 else f"{where[:100]}…", error.advice
            if advice.startswith("Return ") and not where.endswith("…"):
                advice = "Put there: " + re.sub(r"\bvalue\b", lambda _: where, advice.removeprefix("Return "))
            raise UnsupportedValue(f"{error.what}, at {where}", advice) from error

    def _any(self, value: Any) -> Any:
        cls: Any = type(value)
        if (is_in_json := _IN_JSON.get(cls)) is not None and is_in_json(value):
            return value
        if cls is list or (cls is dict and _is_json_object(value)):
            return self._once(value, self._items_of if cls is list else self._dict)
        large = cls in (bytes, bytearray) and len(value) > _INLINE and self._parts_allowed
        if large or any(codec.accepts(value) for codec in self._own_codecs):
            return self._once(value, self._part)
        if (kind := kind_of(cls)) is not None:
            tag, take = kind
            if cls is collections.defaultdict and _factory(value) is None:
                return self._once(value, self._object)
            if cls in _CONTAINERS or isinstance(value, dict):
                return self._once(value, lambda v: {TAG: tag, "v": self._contained(take(v), v)})
            found = take(self._with_known_zone(value))
            return {TAG: tag, "v": [*map(self._any, found)] if type(found) is list else found}
        if isinstance(value, enum.Enum):
            return self._object(value)
        carried = codec_for(value, self._options).name not in ("structured", "binary")
        return self._once(value, self._part if carried else self._object)

    def _once(self, value: Any, turn: Callable[[Any], Any]) -> Any:
        """Turn each container once, however often it occurs: no endless loop, no endless work."""
        mark = id(value)
        if mark in self._done:
            _, turned, items = self._done[mark]
            self._count(items)
            return turned
        if mark in self._open:
            raise UnsupportedValue("The value contains itself", "Break the cycle before you return it.")
        if len(self._open) >= MAX_DEPTH:
            what = f"The value is nested more than {MAX_DEPTH} levels deep"
            raise UnsupportedValue(what, "Flatten it, or write it to a file.")
        before = self._items
        self._open.add(mark)
        turned = turn(value)
        self._open.remove(mark)
        self._done[mark] = value, turned, self._items - before
        return turned

    def _count(self, items: int) -> None:
        self._items += items
        advice = "If it holds the same list or dict again and again, push that one once."
        check_encoded("The value's text", 2 * self._items, self._options, first=advice)

    def _items_of(self, values: Iterable[Any], keys: Iterable[Any] | None = None) -> list[Any]:
        turned = list(values)
        self._count(len(turned))
        for number, (key, item) in enumerate(zip(count() if keys is None else keys, turned, strict=False)):
            if (is_in_json := _IN_JSON.get(type(item))) is None or not is_in_json(item):
                self._path.append(key)
                turned[number] = self._any(item)
                self._path.pop()
        return turned

    def _dict(self, value: dict[str, Any]) -> Any:
        return dict(zip(value, self._items_of(value.values(), value), strict=True))

    def _fields(self, value: dict[str, Any]) -> Any:
        """Attributes by name: of a pydantic model any text may be one."""
        if _is_json_object(value):
            return self._dict(value)
        return {TAG: "dict", "v": self._contained(value, value)}

    def _contained(self, taken: Any, value: Any) -> list[Any]:
        """What a container holds, as "v" of its object."""
        if type(taken) is list:
            return self._keys(taken, value) if isinstance(value, abc.Set) else self._items_of(taken)
        found: list[Any] = [self._keys(taken, value), self._items_of(taken.values(), taken)]
        if isinstance(value, collections.defaultdict):
            found.append(_factory(value) or None)
        return found

    def _keys(self, taken: Iterable[Any], value: Any) -> list[Any]:
        """The items of a set or keys of a dict. Rows that differ in their columns alone become one tuple."""
        noted, found = len(self.plain), self._items_of(taken)
        if len(self.plain) != noted and len({*map(dumps, found)}) != len(found):
            what = f"Of two items of a {type(value).__name__} the plain ones are the same"
            raise UnsupportedValue(what, "Return list(value).")
        return found

    def _part(self, value: Any) -> Json:
        if not self._parts_allowed:
            what = f"A {type(value).__name__} inside a cell of a table"
            if is_of(value, "numpy", "ndarray"):
                raise UnsupportedValue(
                    what, f"Return {'list(value)' if value.ndim == 1 else 'value.tolist()'}."
                )
            raise UnsupportedValue(what, "Take it out of the table, and return both in a dict.")
        self.parts.append(("-".join(map(str, self._path)), value))
        return {TAG: "part", "v": len(self.parts) - 1}

    def _object(self, value: Any) -> Any:
        if _special_advice(value, type(value)):
            raise _unknown(value)
        try:
            named = _objects.name_of(type(value), self._options)
            refused = _unknown(value)
        except UnsupportedValue as error:
            named, refused = None, error
        if named is not None:
            return _objects.take(value, named, self._fields)
        if not self._parts_allowed or (plain := plain_of(value)) is None:
            raise refused
        self._note(value, plain)
        return self._any(plain)

    def _note(self, value: Any, plain: Any) -> None:
        """Remember that something comes back as a plain value."""
        self.plain[id(value)] = value, plain
        self.turned[f"{_objects.class_name(type(value))} as {type(plain).__name__}"] = None

    def _with_known_zone(self, value: Any) -> Any:
        """A moment or time whose zone no consumer can make: with the offset from UTC that it has there."""
        zone: Any = value.tzinfo if isinstance(value, dt.datetime | dt.time) else None
        if zone is None or self._knows(zone):
            return value
        if not self._parts_allowed:
            what = f"A {type(value).__name__} whose zone is of {_objects.class_name(type(zone))}"
            to = (
                "astimezone(datetime.timezone.utc)"
                if isinstance(value, dt.datetime)
                else "replace(tzinfo=None)"
            )
            raise UnsupportedValue(what, f"Return value.{to}.")
        try:
            offset = value.utcoffset()
        except NotImplementedError:
            offset = None
        if offset is None:  # of a time alone
            return value
        self._note(zone, fixed := dt.timezone(offset))
        return value.replace(tzinfo=fixed)

    def _knows(self, zone: Any) -> bool:
        """Whether a zone comes back as it is."""
        if id(zone) not in self._zones:
            cls: Any = type(zone)
            kind = kind_of(cls)
            try:
                if kind is not None:
                    kind[1](zone)
            except UnsupportedValue:
                kind = None
            self._zones[id(zone)] = zone, kind is not None
        return self._zones[id(zone)][1]


def tag(value: Any, options: Options) -> Any:
    """A value without parts as JSON. Raises `UnsupportedValue` if it can't be."""
    return Tagger(options, parts=False).run(value)


def _no_part(number: int) -> Any:
    raise PayloadUnreadable("The text refers to a part, but there is none")


def untag(found: Any, options: Options, part: Callable[[int], Any] = _no_part) -> Any:
    """The value that `Tagger` made JSON of, built in it; `part` gives that of a part by its number. Malformed
    ones raise what their classes raise."""

    def run(found: Any) -> Any:
        cls = type(found)
        if cls is list and not _NESTED.isdisjoint(map(type, found)):
            found[:] = map(run, found)
        elif cls is dict:
            if TAG in found:
                return tagged(found)
            for key, item in found.items():
                if type(item) in _NESTED:
                    found[key] = run(item)
        return found

    def tagged(found: Json) -> Any:
        if found[TAG] == "part":
            return part(found["v"])
        return _objects.make(found, run, options) if "class" in found else make(found[TAG], run(found["v"]))

    return run(found)


_NESTED = frozenset({list, dict})


def _unknown(value: Any) -> UnsupportedValue:
    """With advice that can be followed, for the classes people meet."""
    cls = type(value)
    return UnsupportedValue(f"No codec carries a value of {_objects.class_name(cls)}", _advice(value, cls))


def _advice(value: Any, cls: Any) -> str:
    base = next((kind for kind in cls.__mro__[1:] if kind in _CONTAINERS or kind in (str, int, float)), None)
    if special := _special_advice(value, cls):
        return special
    if hasattr(cls, "_asdict"):  # rows of databases, named tuples with more in them
        return "Return value._asdict()."
    if isinstance(value, abc.Mapping) or is_of(value, "sqlite3", "Row"):
        if isinstance(value, abc.Mapping) and len(dict(value)) != len(value):
            return "Return list(value.items()): some of its keys are there more than once."
        return "Return dict(value)." + (
            f" A subclass of {base.__name__} would lose its type." if base else ""
        )
    if base is not None:
        return f"Return {base.__name__}(value): a subclass of {base.__name__} would lose its type."
    if isinstance(value, dt.date | dt.time):
        kind = next(kind for kind in (dt.datetime, dt.date, dt.time) if isinstance(value, kind))
        return f"Return datetime.{kind.__name__}.fromisoformat(value.isoformat())."
    if isinstance(value, dt.tzinfo):
        return "Use zoneinfo.ZoneInfo(name)."
    if isinstance(value, collections.UserString):
        return "Return str(value)."
    if hasattr(cls, "__array__"):
        return "Return numpy.asarray(value)."
    if isinstance(value, abc.Iterator):
        return "Return list(value): it can be read only once."
    if isinstance(value, abc.Collection):
        return "Return list(value)."
    return _FOR_OTHERS


def _special_advice(value: Any, cls: Any) -> str | None:
    """Of what is more than its protocol says: it never becomes a plain value by itself."""
    if wrapper := next((name for name, where in _WRAPPERS.items() if is_of(value, *where)), None):
        return f"Put {wrapper}(...) around the whole value, or push this under a key of its own."
    if is_of(value, _HANDLES, "Handle"):
        return "Return value.load()."
    if cls.__module__ == "ipaddress":
        return "Return str(value)."
    if is_of(value, "io", "BytesIO", "StringIO"):
        return "Return value.getvalue()."
    if is_of(value, "io", "IOBase"):
        return "Return what value.read() gives, or pathlib.Path(value.name) once it is closed."
    if is_of(value, "scipy.sparse", "sparray", "spmatrix"):
        return (
            "Return value.toarray(), or the arrays of value.tocoo() (coords, data) and the shape in a dict."
        )
    if is_of(value, "requests", "Response"):
        return "Return value.json(), value.text or value.content."
    if is_of(value, "pandas.api.extensions", "ExtensionArray"):
        return "Return pandas.Series(value)."
    if is_of(value, "xarray", "Dataset", "DataArray"):
        return f"Return value.to_dict(); xarray.{cls.__name__}.from_dict() makes it again."
    return None


_FOR_OTHERS = (
    "Return plain values, a dataclass or a pydantic model, or write a codec: a module of your package with a "
    "CODEC, named in AIRFLOW__XCOM__CODECS."
)


def _factory(value: Any) -> str | None:
    """The name of a defaultdict's factory, "" without one; None if it is not among those that come back."""
    factory = value.default_factory
    name = "" if factory is None else getattr(factory, "__name__", "")
    return name if factory is FACTORIES.get(name) else None


def _is_json_object(value: dict[Any, Any]) -> bool:
    return TAG not in value and {str}.issuperset(map(type, value)) and is_unicode("".join(value))


_IN_JSON: dict[type, Callable[[Any], bool]] = {
    bool: lambda value: True,
    type(None): lambda value: True,
    int: lambda value: -(2**63) <= value < 2**64,
    float: lambda value: value - value == 0,
    str: is_unicode,
}
