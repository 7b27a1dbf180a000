"""Trees of Python values as JSON: what JSON does not hold exactly becomes an object {"$t": tag, "v": ...}.

    enum, namedtuple, dataclass, pydantic     "class": "module:qualified.name"; name, items or fields
    part                                      number of a part of the container: a frame, an array, a file
    and the kinds of _kinds.py                tuple, set, dict with other keys than text, datetime, ...

Objects are put together again from their fields: neither `__init__` nor any validator runs, so that they
come back as they were and a payload can't make a constructor do something.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import functools
import importlib
import sys
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from ..errors import PayloadUnreadable, UnsupportedValue, ValueTooLarge
from . import Options
from ._json import MAX_DEPTH, is_unicode, paused_gc
from ._kinds import FACTORIES, kind_of, make

TAG = "$t"
INLINE = 4096  # bytes that stay in the text, as base64; more become a part of a container
Json = dict[str, Any]

_CONTAINERS = (list, tuple, set, frozenset, dict, collections.deque)
_PROJECT = __name__.partition(".")[0]


class Tagger:
    """Turns one value into JSON.

    Attributes:
        parts: what another codec has to encode, each with a name made of its keys.

    Args:
        options: which classes may be built, and how large the value may get.
        parts: whether there may be any.
    """

    def __init__(self, options: Options, *, parts: bool = True) -> None:
        self.parts: list[tuple[str, Any]] = []
        self._parts_allowed = parts
        self._options = options
        self._path: list[Any] = []
        self._open: set[int] = set()
        self._done: dict[int, tuple[Any, Any, int]] = {}  # by id: container, its JSON, the items in it
        self._items = 0

    def run(self, value: Any) -> Any:
        """The value as JSON.

        Raises:
            UnsupportedValue: the text names what can't be carried, and where in the value it is.
        """
        try:
            with paused_gc():
                return self._any(value)
        except UnsupportedValue as error:
            if not self._path:
                raise
            where = "".join(f"[{key!r}]" for key in self._path)
            where = where if len(where) < 100 else f"{where[:100]}…"
            raise UnsupportedValue(f"{error.what}, at value{where}", error.advice) from error

    def _any(self, value: Any) -> Any:
        cls: Any = type(value)
        if (is_in_json := _IN_JSON.get(cls)) is not None and is_in_json(value):
            return value
        if cls is list or (cls is dict and _is_json_object(value)):
            return self._once(value, self._items_of if cls is list else self._dict)
        if cls in (bytes, bytearray) and len(value) > INLINE and self._parts_allowed:
            return self._once(value, self._part)
        if (kind := kind_of(cls)) is not None:
            tag, take = kind
            if cls in _CONTAINERS or isinstance(value, dict):
                return self._once(value, lambda v: {TAG: tag, "v": self._contained(take(v), v)})
            found = take(value)
            return {TAG: tag, "v": [*map(self._any, found)] if type(found) is list else found}
        if isinstance(value, enum.Enum):
            by_name = cls.__members__.get(value.name) is value
            return {TAG: "enum", "class": self._class(cls), "v": value.name if by_name else value.value}
        if any(codec.accepts(value) for codec in _codecs()):
            return self._once(value, self._part)
        return self._once(value, self._object)

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
            raise UnsupportedValue(
                f"The value is nested more than {MAX_DEPTH} levels deep", "Flatten it, or write it to a file."
            )
        self._open.add(mark)
        before = self._items
        turned = turn(value)
        self._open.remove(mark)
        self._done[mark] = value, turned, self._items - before
        return turned

    def _count(self, items: int) -> None:
        self._items += items
        if 2 * self._items > self._options.max_size:
            raise ValueTooLarge(
                f"Written out, the value would take more than {self._options.max_size:,} bytes",
                "If it holds the same list or dict again and again, push that one once; otherwise raise "
                "AIRFLOW__XCOM__MAX_DECODED_SIZE.",
            )

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

    def _contained(self, taken: Any, value: Any) -> list[Any]:
        """What a container holds, as "v" of its object."""
        if type(taken) is list:
            return self._items_of(taken)
        found: list[Any] = [self._items_of(taken), self._items_of(taken.values(), taken)]
        if isinstance(value, collections.defaultdict):
            factory = value.default_factory
            found.append(None if factory is None else getattr(factory, "__name__", ""))
            if factory is not None and FACTORIES.get(found[2]) is not factory:
                raise UnsupportedValue("A defaultdict with a factory of one's own", "Return dict(value).")
        return found

    def _part(self, value: Any) -> Json:
        if not self._parts_allowed:
            raise UnsupportedValue(
                f"A {type(value).__name__} inside a cell of a table", "Return it beside the table, in a dict."
            )
        self.parts.append(("-".join(map(str, self._path)), value))
        return {TAG: "part", "v": len(self.parts) - 1}

    def _object(self, value: Any) -> Json:
        """An object of a class that the consumer may build: its fields, if these are all that it has."""
        cls = type(value)
        if isinstance(value, tuple) and cls.__bases__ == (tuple,) and hasattr(cls, "_fields"):
            if object.__getstate__(value) is None:
                return {TAG: "namedtuple", "class": self._class(cls), "v": self._items_of(value, cls._fields)}
        elif _is_pydantic(cls):
            made = {TAG: "pydantic", "class": self._class(cls), "v": self._dict(_attributes(value))}
            made["set"] = sorted(value.__pydantic_fields_set__)
            for name in ("extra", "private"):
                if (more := getattr(value, f"__pydantic_{name}__")) is not None:
                    made[name] = self._dict(more)
            return made
        elif dataclasses.is_dataclass(cls) and cls.__new__ is object.__new__:  # not a dict, an exception, ...
            fields = _attributes(value)
            names = {field.name for field in dataclasses.fields(cls)}
            # A default that __init__ doesn't take stays on the class.
            if odd := fields.keys() - names or {name for name in names if not hasattr(value, name)}:
                raise UnsupportedValue(
                    f"A {cls.__name__} whose attributes are not its fields: {', '.join(sorted(odd))}",
                    "Make them fields, or return a dict.",
                )
            return {TAG: "dataclass", "class": self._class(cls), "v": self._dict(fields)}
        raise unknown(value)

    def _class(self, cls: type) -> str:
        """How the consumer finds a class. Raises unless it can, and may."""
        module, name = cls.__module__, cls.__qualname__
        advice = f"Move the class to {_PROJECT}.models (or another module that you add to "
        advice += "AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES), or return a dict."
        in_dag_file = module == "__main__" or module.startswith("unusual_prefix_")
        if in_dag_file or _look_up(sys.modules.get(module), name) is not cls:
            raise UnsupportedValue(f"The consumer could not import class {module}.{name}", advice)
        if not self._options.class_allowed(f"{module}.{name}"):
            raise UnsupportedValue(f"Class {module}.{name} may not be built from an XCom", advice)
        return f"{module}:{name}"


class Untagger:
    """Turns JSON made by `Tagger` into values again, in place.

    Args:
        options: which classes may be built.
        part: gives the value of a part by its number.
    """

    def __init__(self, options: Options, part: Callable[[int], Any]) -> None:
        self._options = options
        self._part = part

    def run(self, found: Any) -> Any:
        """The value. Malformed values raise what their classes raise; the caller makes one error of it."""
        cls = type(found)
        if cls is list and not _NESTED.isdisjoint(map(type, found)):
            found[:] = map(self.run, found)
        elif cls is dict:
            if TAG in found:
                return self._untag(found)
            for key, item in found.items():
                if type(item) in _NESTED:
                    found[key] = self.run(item)
        return found

    def _untag(self, found: Json) -> Any:
        tag = found[TAG]
        if tag == "part":
            return self._part(found["v"])
        if "class" in found:
            return self._object(self._class(found["class"]), found)
        return make(tag, self.run(found["v"]))

    def _object(self, cls: Any, found: Json) -> Any:
        tag, v = found[TAG], self.run(found["v"])
        if tag == "enum" and issubclass(cls, enum.Enum):
            return cls.__members__[v] if v in cls.__members__ else cls(v)
        if tag == "namedtuple" and issubclass(cls, tuple) and len(v) == len(cls._fields):
            return tuple.__new__(cls, v)
        if tag == "pydantic" and _is_pydantic(cls):
            more = {name: self.run(found.get(name)) for name in ("extra", "private")}
            more["fields_set"] = set(found["set"])
            v = {"__dict__": v} | {f"__pydantic_{name}__": item for name, item in more.items()}
            names = set(v)
        elif tag == "dataclass":
            names = {field.name for field in dataclasses.fields(cls)}
        else:
            raise ValueError(f"{cls} is no {tag}")
        made = object.__new__(cls)
        for name, item in v.items():
            object.__setattr__(made, name, item)
        if v.keys() - names or not all(hasattr(made, name) for name in names):
            raise ValueError(f"{cls} does not have these fields")
        return made

    def _class(self, found: str) -> Any:
        module, _, name = found.partition(":")
        if not self._options.class_allowed(f"{module}.{name}"):
            raise PayloadUnreadable(
                f"It holds an object of class {module}.{name}, which may not be built from an XCom here",
                "Add the class to AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES if you trust who pushed it.",
            )
        cls = _look_up(importlib.import_module(module), name)
        # An alias under an allowed name could be any class.
        if not isinstance(cls, type) or (cls.__module__, cls.__qualname__) != (module, name):
            raise ValueError(f"there is no class {name} in {module}")
        return cls


_NESTED = frozenset({list, dict})


def tag(value: Any, options: Options) -> Any:
    """A value without parts as JSON. Raises `UnsupportedValue` if it can't be."""
    return Tagger(options, parts=False).run(value)


def untag(found: Any, options: Options) -> Any:
    """The value that `tag` made JSON of. Malformed values raise what their classes raise."""
    return Untagger(options, _no_part).run(found)


def _no_part(number: int) -> Any:
    raise PayloadUnreadable("The text refers to a part, but there is none")


def unknown(value: Any) -> UnsupportedValue:
    """The error for a value of a class that nothing carries, with advice for the classes people meet."""
    cls = type(value)
    base = next((kind for kind in cls.__mro__[1:] if kind in _CONTAINERS or kind in (str, int, float)), None)
    if base is not None:
        advice = f"Return {base.__name__}(value): a subclass of {base.__name__} would lose its type."
    elif isinstance(value, dt.tzinfo):
        advice = "Use zoneinfo.ZoneInfo(name)."
    elif hasattr(value, "__next__"):
        advice = "Return list(value): a generator can be read only once."
    elif hasattr(cls, "__iter__"):
        advice = "Return list(value)."
    else:
        advice = "Return plain values, a dataclass or a pydantic model, or add a codec to xcom/codecs."
    return UnsupportedValue(f"No codec carries a value of type {cls.__module__}.{cls.__qualname__}", advice)


@functools.cache
def _codecs() -> list[Any]:
    from . import registry

    return [codec for name, codec in registry().items() if name != "structured"]


def _is_json_object(value: dict[Any, Any]) -> bool:
    return TAG not in value and {str}.issuperset(map(type, value)) and is_unicode("".join(value))


_IN_JSON: dict[type, Callable[[Any], bool]] = {
    bool: lambda value: True,
    type(None): lambda value: True,
    int: lambda value: -(2**63) <= value < 2**64,
    float: lambda value: value - value == 0,
    str: is_unicode,
}


def _look_up(module: Any, qualified_name: str) -> Any:
    return functools.reduce(lambda found, name: getattr(found, name, None), qualified_name.split("."), module)


def _is_pydantic(cls: type) -> bool:
    model = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    return model is not None and issubclass(cls, model)


def _attributes(value: Any) -> dict[str, Any]:
    """All that an object holds, in its dict or its slots, but what functools.cached_property left there."""
    cls = type(value)
    state: Any = vars(value) if _is_pydantic(cls) else object.__getstate__(value) or {}
    attributes: dict[str, Any] = {**(state[0] or {}), **state[1]} if isinstance(state, tuple) else state
    return {
        name: item
        for name, item in attributes.items()
        if not isinstance(getattr(cls, name, None), functools.cached_property)
    }
