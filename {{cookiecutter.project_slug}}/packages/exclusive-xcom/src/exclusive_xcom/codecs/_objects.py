"""Objects of classes as JSON and back: enums, named tuples, dataclasses, attrs classes, pydantic models, and
those that have Airflow's own extension point, `serialize()` and `deserialize(data, version)`.

All but the last are put together again from their fields: neither `__init__` nor any validator runs, so that
they come back as they were and a payload can't make a constructor do something.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import importlib
import sys
from collections.abc import Callable
from types import MemberDescriptorType
from typing import Any

from ..errors import PayloadUnreadable, UnsupportedValue
from . import Options
from ._kinds import is_lazy_sequence, known_kind

TAG = "$t"  # the name of the item that says what an object in the text stands for
_DAG_FILE = (
    "unusual_prefix_"  # and a digest, an underscore and the file's name: the module that Airflow makes
)
Json = dict[str, Any]
Fields = Callable[[dict[str, Any]], Json]  # values by name → the same as JSON


def name_of(cls: type, options: Options) -> tuple[str, str] | None:
    """The tag of a class, and the name under which a consumer finds it; None if it is none of these. Raises
    `UnsupportedValue` unless the consumer can find it, and may build it."""
    tag = next((tag for tag, kind in _KINDS.items() if kind.fits(cls)), None)
    return None if tag is None else (tag, _named(cls, options))


def take(value: Any, named: tuple[str, str], fields: Fields) -> Json:
    """What `make` makes an object again of, whose class has this `name_of`."""
    return {TAG: named[0], "class": named[1], **_KINDS[named[0]].take(value, fields)}


def make(found: Json, turn: Callable[[Any], Any], options: Options) -> Any:
    """The object that `take` took apart; `turn` makes values of what it holds. Raises `PayloadUnreadable` if
    it may not be built, and what Python does for whatever else is wrong."""
    kind, cls = known_kind(_KINDS, found[TAG]), _class(found["class"], options)
    _expect(kind.fits(cls), cls)
    return kind.make(cls, {key: turn(item) for key, item in found.items()})


def _named(cls: type, options: Options) -> str:
    module, name = cls.__module__, cls.__qualname__
    advice = "Move the class to models.py in your package (or another module that "
    advice += "AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES lists), or return a dict."
    if "[" in name:
        advice = f"Give {name} a name: a class in models.py of your package that inherits from it."
    if not importable(cls):
        raise UnsupportedValue(f"The consumer could not import {class_name(cls)}", advice)
    if not options.class_allowed(f"{module}.{name}"):
        raise UnsupportedValue(f"Class {module}.{name} may not be built from an XCom", advice)
    return f"{module}:{name}"


def importable(cls: type) -> bool:
    """Whether another process finds a class under its name."""
    in_dag_file = cls.__module__ == "__main__" or cls.__module__.startswith(_DAG_FILE)
    return not in_dag_file and _look_up(sys.modules.get(cls.__module__), cls.__qualname__) is cls


def class_name(cls: type) -> str:
    """A class for people. Airflow imports DAG files under names of its own."""
    module, name = cls.__module__, cls.__qualname__
    if module.startswith(_DAG_FILE):
        return f"class {name} of the DAG file {module.removeprefix(_DAG_FILE).partition('_')[2]}.py"
    return f"class {name}" if module == "builtins" else f"class {module}.{name}"


def _class(named: str, options: Options) -> Any:
    module, _, name = named.partition(":")
    if not options.class_allowed(f"{module}.{name}"):
        raise PayloadUnreadable(
            f"It holds an object of class {module}.{name}, which may not be built from an XCom here",
            "Add the class to AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES if you trust who pushed it.",
        )
    cls = _look_up(importlib.import_module(module), name)
    # An alias under an allowed name could be any class.
    if not isinstance(cls, type) or (cls.__module__, cls.__qualname__) != (module, name):
        raise ValueError(f"there is no class {name} in {module}")
    return cls


def _look_up(module: Any, qualified_name: str) -> Any:
    return functools.reduce(lambda found, name: getattr(found, name, None), qualified_name.split("."), module)


class _Enum:
    """By name; by value if it is a combination that has none."""

    def fits(self, cls: type) -> bool:
        return issubclass(cls, enum.Enum)

    def take(self, value: Any, fields: Fields) -> Json:
        by_name = type(value).__members__.get(value.name) is value
        return {"v": value.name if by_name else value.value}

    def make(self, cls: Any, found: Json) -> Any:
        return cls.__members__[found["v"]] if found["v"] in cls.__members__ else cls(found["v"])


class _NamedTuple:
    """By its items."""

    def fits(self, cls: Any) -> bool:
        return cls.__bases__ == (tuple,) and hasattr(cls, "_fields") and not cls.__dictoffset__

    def take(self, value: Any, fields: Fields) -> Json:
        return {"v": list(fields(dict(zip(value._fields, value, strict=True))).values())}

    def make(self, cls: Any, found: Json) -> Any:
        _expect(len(found["v"]) == len(cls._fields), cls)
        return tuple.__new__(cls, found["v"])


class _Pydantic:
    """By its fields, which of them were set, and what it keeps beside them."""

    def fits(self, cls: type) -> bool:
        return issubclass(cls, getattr(sys.modules.get("pydantic"), "BaseModel", ()))

    def take(self, value: Any, fields: Fields) -> Json:
        made: Json = {"v": fields(_without_cached(type(value), vars(value)))}
        made["set"] = sorted(value.__pydantic_fields_set__)
        for name in ("extra", "private"):
            if (more := getattr(value, f"__pydantic_{name}__")) is not None:
                made[name] = fields(more)
        return made

    def make(self, cls: Any, found: Json) -> Any:
        parts = {f"__pydantic_{name}__": found.get(name) for name in ("extra", "private")}
        parts |= {"__dict__": found["v"], "__pydantic_fields_set__": set(found["set"])}
        return _assembled(cls, parts, set(parts))


class _Serialized:
    """By Airflow's own extension point. It comes back as exactly as these two methods make it."""

    def fits(self, cls: Any) -> bool:
        return callable(getattr(cls, "serialize", None)) and callable(getattr(cls, "deserialize", None))

    def take(self, value: Any, fields: Fields) -> Json:
        cls, data = type(value), value.serialize()
        version, held = getattr(cls, "__version__", 0), fields({"data": data})["data"]
        # In a consumer it would be too late. It may take apart what it is given: Airflow's own do.
        if type(cls.deserialize(_containers_of(data), version)) is not cls:
            what = f"A {cls.__name__} whose deserialize(serialize(), {version}) makes no {cls.__name__}"
            raise UnsupportedValue(what, "Correct these two methods, or return a dict.")
        return {"v": held, "version": version}

    def make(self, cls: Any, found: Json) -> Any:
        made = cls.deserialize(found["v"], found["version"])
        _expect(type(made) is cls, cls)
        return made


class _Fields:
    """By its fields, if these are all that it has; not a dict, an exception, ... `names` gives those of a
    class."""

    def __init__(self, names: Callable[[Any], set[str] | None]) -> None:
        self._names = names

    def fits(self, cls: Any) -> bool:
        return cls.__new__ is object.__new__ and self._names(cls) is not None

    def take(self, value: Any, fields: Fields) -> Json:
        cls = type(value)
        held = _without_cached(cls, _state(value))
        names = self._names(cls) or set()
        # A default that __init__ doesn't take stays on the class.
        if odd := held.keys() - names or {name for name in names if not hasattr(value, name)}:
            what = f"A {cls.__name__} whose attributes are not its fields: {', '.join(sorted(odd))}"
            raise UnsupportedValue(what, "Make them fields, or return a dict.")
        return {"v": fields(held)}

    def make(self, cls: Any, found: Json) -> Any:
        return _assembled(cls, found["v"], self._names(cls) or set())


def _of_dataclass(cls: Any) -> set[str] | None:
    return {field.name for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else None


def _of_attrs(cls: Any) -> set[str] | None:
    has = "__attrs_attrs__" in vars(cls) and not is_lazy_sequence(cls)
    return {field.name for field in cls.__attrs_attrs__} if has else None


_KINDS: dict[str, Any] = {
    "enum": _Enum(),
    "namedtuple": _NamedTuple(),
    "pydantic": _Pydantic(),
    "serialized": _Serialized(),
    "dataclass": _Fields(_of_dataclass),
    "attrs": _Fields(_of_attrs),
}


def _assembled(cls: Any, attributes: dict[str, Any], names: set[str]) -> Any:
    _expect(not attributes.keys() - names, cls)  # before anything is set: a property runs code
    made = object.__new__(cls)
    for name, item in attributes.items():
        object.__setattr__(made, name, item)
    _expect(all(hasattr(made, name) for name in names), cls)
    return made


def _expect(fits: bool, cls: Any) -> None:
    if not fits:
        raise ValueError(f"{cls} is not the class of such an object")


def _state(value: Any) -> dict[str, Any]:
    """An object's attributes. Each slot is asked, as an attrs class fills an empty one by a `__getattr__`."""
    state = dict(getattr(value, "__dict__", {}))
    for base in type(value).__mro__:
        for name, slot in vars(base).items():
            if isinstance(slot, MemberDescriptorType):
                with contextlib.suppress(AttributeError):
                    state[name] = slot.__get__(value)
    return state


def _without_cached(cls: type, attributes: dict[str, Any]) -> dict[str, Any]:
    """Without what functools.cached_property left among an object's attributes; of attrs, in slots."""
    cached, slots = functools.cached_property, set[str]()
    for base in (base for base in cls.__mro__ if "__attrs_attrs__" in vars(base)):
        slots |= {*vars(base).get("__slots__", ())} - {field.name for field in vars(base)["__attrs_attrs__"]}
    slots -= {"_attrs_cached_hash"}  # which its __hash__ can't do without
    return {
        name: item
        for name, item in attributes.items()
        if name not in slots and not isinstance(getattr(cls, name, None), cached)
    }


def _containers_of(data: Any) -> Any:
    """The same in lists and dicts of its own."""
    if type(data) is dict:
        return {key: _containers_of(item) for key, item in data.items()}
    return [_containers_of(item) for item in data] if type(data) is list else data
