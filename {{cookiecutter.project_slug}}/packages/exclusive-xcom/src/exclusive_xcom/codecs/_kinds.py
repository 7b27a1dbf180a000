"""Values of fixed kinds that JSON does not hold: for each what becomes of it, and back.

In the text each is an object {"$t": tag, "v": ...}; "v" is text, a number, or a list of values that may be
such objects again. The tag is the name of a class of Python's, or that of a library and its class. What a
tag stands for never changes: another kind has another tag, which older releases refuse.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import functools
import importlib
import struct
import sys
import uuid
import zoneinfo
from collections import Counter, OrderedDict, UserString, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby, islice
from operator import eq
from typing import Any, TypeVar

from ..errors import PayloadUnreadable, UnsupportedValue

FACTORIES = {kind.__name__: kind for kind in (list, dict, set, tuple, int, float, str, bool)}

T = TypeVar("T")
Turn = Callable[[Any], Any]
_SAME_HASH = 64
_LONG = 1024  # bits
_NAN = struct.pack(">d", float("nan"))
_library = importlib.import_module


@functools.cache
def kind_of(cls: type) -> tuple[str, Turn] | None:
    """The tag of a class, and what makes text, a number or a list of its values; None if it has no kind."""
    library, name = cls.__module__.partition(".")[0], cls.__name__
    if library == "numpy" and issubclass(cls, sys.modules["numpy"].generic):
        name = "generic"
    elif library == "pytz":
        name = "tzinfo"
    elif cls.__module__ == "pydantic.networks" and hasattr(cls, "unicode_string"):
        name = "url"
    tag = name if cls in _OWN else f"{library}.{name}"
    return (tag, _KINDS[tag][0]) if tag in _KINDS else None


def plain_of(value: Any) -> Any:
    """The nearest of Python's own kinds that a value of another class is: what its class inherits from, or by
    its protocol a dict, list, text or bytes, or a tuple if it is a row of a database. None if it is none, if
    that would not be equal to it or not have its length; nor of a class that adds fields to such a kind."""
    cls: Any = type(value)
    has_fields = hasattr(cls, "__dataclass_fields__") or hasattr(cls, "__attrs_attrs__")
    if has_fields and not is_lazy_sequence(cls):
        return None
    if base := next((base for base in cls.__mro__[1:] if base in _BASES or base in _OWN), None):
        if base in _BASES:
            return _BASES[base](value)
        take, make = _OWN[base]
        made = base(take(value)) if issubclass(base, dict) else make(take(value))
        return made if made == value else None
    kind: Any = next((kind for of, kind in _PROTOCOLS.items() if isinstance(value, of)), None)
    if kind is list and any(hasattr(value, name) for name in _OF_ROWS):
        kind = tuple
    if kind is None:
        return None
    made = kind(value[:] if kind is list else value)  # of a mapped task's results in one request
    return made if len(made) == len(value) else None


def is_lazy_sequence(cls: type) -> bool:
    """Whether it is Airflow's `LazyXComSequence`: its items count, and its fields only say where they are."""
    return issubclass(cls, Sequence) and cls.__module__.startswith("airflow.")


def make(tag: str, found: Any) -> Any:
    """The value of a tagged object whose "v" was found. Raises `PayloadUnreadable` for a tag that is not
    known, or what the value's class does."""
    return known_kind(_KINDS, tag)[1](found)


def known_kind(kinds: dict[str, T], name: Any) -> T:
    """One of some kinds by its name. Raises `PayloadUnreadable` for one that this release does not have."""
    if not isinstance(name, str) or name not in kinds:
        advice = "Another release wrote it. Bring this worker to that release, or run the task again."
        what = f"It holds a value of kind {str(name)[:100]!r}, which is not known here"
        raise PayloadUnreadable(what, advice)
    return kinds[name]


def _same(take: Turn, make: Turn) -> tuple[Turn, Turn]:
    """`take` and `make` of a kind of which some values would come back as others: these are refused."""

    def taken(value: Any) -> Any:
        found = take(value)
        if not found or repr(make(found)) != repr(value):
            advice = "Use zoneinfo.ZoneInfo(name)." if isinstance(value, dt.tzinfo) else "Return its parts."
            raise UnsupportedValue(f"{value!r} would come back as another value"[:300], advice)
        return found

    return taken, make


def _new(library: str, name: str) -> Turn:
    return lambda found: getattr(_library(library), name)(*found)


def _b64(data: Any) -> str:
    return base64.b64encode(data).decode()


def _unb64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _text(text: str) -> str:
    return _b64(text.encode("utf-8", "surrogatepass"))


def _untext(text: str) -> str:
    return _unb64(text).decode("utf-8", "surrogatepass")


def _apart(keys: Iterable[Any], wrong: Callable[[str], Exception] = ValueError) -> Iterable[Any]:
    """The items of a set or the keys of a dict themselves, unless so many have the same hash that to build it
    would take forever: each is compared with all before it. Of long numbers none may: to compare an integer
    with a Decimal, it is turned into one. And none is there twice: one that is looked for among all others
    would be so as often as it is there."""
    ordered = sorted(keys, key=hash)
    hashes = list(map(hash, ordered))
    if any(map(eq, hashes, islice(hashes, _SAME_HASH, None))):
        raise wrong(f"More than {_SAME_HASH} items of a set, or keys of a dict, have the same hash")
    if any(map(eq, hashes, islice(hashes, 1, None))):
        if any(map(_is_long, ordered)):
            raise wrong("Items of a set, or keys of a dict, with numbers of many digits have the same hash")
        runs = (list(run) for _, run in groupby(ordered, hash))
        if any(len(set(run)) < len(run) for run in runs):
            raise wrong("An item of a set, or a key of a dict, is there twice")
    return keys


def _is_long(item: Any) -> bool:
    """Whether it is, or holds, a number of many digits."""
    if isinstance(item, int):
        return item.bit_length() > _LONG
    held = [*item] if isinstance(item, tuple | frozenset) else []
    held += getattr(item, "__dict__", {}).values()
    held += (getattr(item, name, None) for name in getattr(item, "__slots__", ()))
    return any(map(_is_long, held))


def _listed(value: Any, advice: str = "Return list(value).") -> list[Any]:
    return list(_apart(value, functools.partial(UnsupportedValue, advice=advice)))


def _pairs(found: list[list[Any]]) -> dict[Any, Any]:
    return dict(zip(_apart(found[0]), found[1], strict=True))


def _unpairs(value: dict[Any, Any]) -> dict[Any, Any]:
    return dict(zip(_listed(value, "Return list(value.items())."), value.values(), strict=True))


def _float(value: float) -> str:
    """Of a NaN that is not the usual one, its bits."""
    bits = struct.pack(">d", value)
    return repr(value) if value == value or bits == _NAN else bits.hex()


def _unfloat(text: str) -> float:
    return float(text) if len(text) != 16 else float(*struct.unpack(">d", bytes.fromhex(text)))


def _clock(value: dt.datetime | dt.time) -> list[Any]:
    return [value.replace(tzinfo=None).isoformat(), value.tzinfo, value.fold]


def _unclock(cls: Any, found: list[Any]) -> Any:
    # Not by its methods: pendulum's make another zone of the zone.
    text, tz, fold = found
    of = dt.datetime if issubclass(cls, dt.datetime) else dt.time
    clock = of.fromisoformat(text)
    names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
    return cls(*(getattr(clock, name) for name in names if hasattr(clock, name)), tzinfo=tz, fold=fold)


def _zone_key(value: zoneinfo.ZoneInfo) -> Any:
    try:
        value.__reduce__()
    except Exception:  # as it says that it is of a file of its own, whatever its name
        return None
    return value.key


def _duration(v: Any) -> list[Any]:
    return [v.remaining_days, v.remaining_seconds, v.microseconds, 0, 0, 0, v.weeks, v.years, v.months]


def _untimestamp(value: Any) -> list[Any]:
    # With a zone, the fold says nothing that the moment doesn't.
    return [int(value.asm8.view("i8")), value.unit, value.tz, *[1] * (value.fold and value.tz is None)]


def zone(found: Any) -> dt.tzinfo:
    """A time zone itself. Of a name, pandas would open whatever file "dateutil//a/path" means."""
    if not isinstance(found, dt.tzinfo):
        raise PayloadUnreadable("The payload has the name of a time zone in place of one")
    return found


def _timestamp(found: list[Any]) -> Any:
    number, unit, tz, *fold = found
    moment = _library("pandas").Timestamp(_library("numpy").datetime64(number, unit))
    moment = moment if tz is None else moment.tz_localize("UTC").tz_convert(zone(tz))
    return moment.replace(fold=1) if fold else moment


def _timedelta(found: list[Any]) -> Any:
    return _library("pandas").Timedelta(_library("numpy").timedelta64(*found))


def _url(found: list[str]) -> Any:
    name, text = found
    cls = getattr(_library("pydantic.networks"), name)
    if kind_of(cls) != ("pydantic.url", _KINDS["pydantic.url"][0]):
        raise ValueError(f"{name} is no class of addresses")
    return cls(text)


def _storage_path(found: list[Any]) -> Any:
    path, conn_id, options = found
    return _library("airflow.sdk").ObjectStoragePath(path, conn_id=conn_id, **options)


def _take_numpy(value: Any) -> list[str]:
    kind, dtype = value.dtype.kind, value.dtype.str
    if kind in "SU":  # as builtin values, in a way that does not drop trailing NULs as numpy's own do
        return [kind, _b64(bytes(value)) if kind == "S" else _text("".join(value))]
    if kind not in "biufcMm" or _library("numpy").dtype(dtype).type is not type(value):
        raise UnsupportedValue(f"A numpy scalar of dtype {value.dtype}", "Return value.item().")
    return [dtype, _b64(value.tobytes()), str(value)]  # the last one is for people


def _make_numpy(found: list[str]) -> Any:
    np, dtype, data = _library("numpy"), found[0], found[1]
    if dtype in ("S", "U"):
        return np.bytes_(_unb64(data)) if dtype == "S" else np.str_(_untext(data))
    (scalar,) = np.frombuffer(_unb64(data), dtype)  # which refuses dtypes of objects
    if scalar.dtype.kind not in "biufcMm":
        raise ValueError(f"{dtype} is no number's")
    return scalar


# Of a dict, `Tagger` takes a list of keys and one of values, and puts a defaultdict's factory behind them.
_OWN: dict[type, tuple[Turn, Turn]] = {
    tuple: (list, tuple),
    set: (_listed, lambda v: set(_apart(v))),
    frozenset: (_listed, lambda v: frozenset(_apart(v))),
    deque: (lambda v: [list(v), v.maxlen], lambda v: deque(*v)),
    dict: (_unpairs, _pairs),
    OrderedDict: (_unpairs, lambda v: OrderedDict(_pairs(v))),
    Counter: (_unpairs, lambda v: Counter(_pairs(v))),
    defaultdict: (_unpairs, lambda v: defaultdict(v[2] and FACTORIES[v[2]], _pairs(v[:2]))),
    bytes: (_b64, _unb64),
    bytearray: (_b64, lambda v: bytearray(_unb64(v))),
    str: (_text, _untext),
    int: (hex, lambda v: int(v, 16)),
    float: (_float, _unfloat),
    complex: (lambda v: [v.real, v.imag], lambda v: complex(*v)),
    range: (lambda v: [v.start, v.stop, v.step], lambda v: range(*v)),
    decimal.Decimal: (str, decimal.Decimal),
    uuid.UUID: (str, uuid.UUID),
    dt.date: (dt.date.isoformat, dt.date.fromisoformat),
    dt.timedelta: (lambda v: [v.days, v.seconds, v.microseconds], lambda v: dt.timedelta(*v)),
    dt.datetime: (_clock, lambda v: _unclock(dt.datetime, v)),
    dt.time: (_clock, lambda v: _unclock(dt.time, v)),
    dt.timezone: (lambda v: list(v.__getinitargs__()), lambda v: dt.timezone(*v)),  # pickle asks for it
    zoneinfo.ZoneInfo: _same(_zone_key, zoneinfo.ZoneInfo),
}
# What `plain_of` takes a value's part of that is Python's own by, whatever its class made of `str(value)`.
_BASES: dict[type, Turn] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    list: lambda v: made if (made := [*v]) == v else None,
    defaultdict: lambda v: {**v},
}
_PROTOCOLS: dict[type, type] = {
    UserString: str,
    memoryview: bytes,
    Mapping: dict,
    Sequence: list,
}
_OF_ROWS = ("_asdict", "_mapping", "keys")  # of named tuples, SQLAlchemy, sqlite3

_KINDS: dict[str, tuple[Turn, Turn]] = {cls.__name__: turns for cls, turns in _OWN.items()} | {
    "pendulum.DateTime": (_clock, lambda v: _unclock(_library("pendulum").DateTime, v)),
    "pendulum.Time": (_clock, lambda v: _unclock(_library("pendulum").Time, v)),
    "pendulum.Date": (dt.date.isoformat, lambda v: _library("pendulum").Date.fromisoformat(v)),
    "pendulum.Duration": _same(_duration, _new("pendulum", "duration")),
    "pendulum.Interval": _same(lambda v: list(v.__reduce__()[1]), _new("pendulum", "Interval")),
    "pendulum.Timezone": _same(lambda v: v.key, lambda v: _library("pendulum").timezone(str(v))),
    "pendulum.FixedTimezone": (lambda v: [v.offset, v.name], _new("pendulum", "FixedTimezone")),
    "pytz.tzinfo": _same(lambda v: v.zone, lambda v: _library("pytz").timezone(v)),
    "dateutil.tzutc": (lambda v: None, lambda v: _library("dateutil.tz").tzutc()),
    "dateutil.tzoffset": _same(
        lambda v: [v.tzname(None), v.utcoffset(None)], _new("dateutil.tz", "tzoffset")
    ),
    "pydantic_core.TzInfo": _same(
        lambda v: [int(v.utcoffset(None).total_seconds())], _new("pydantic_core", "TzInfo")
    ),
    "pydantic.url": _same(lambda v: [type(v).__name__, str(v)], _url),
    "numpy.generic": (_take_numpy, _make_numpy),
    "pandas.NaTType": (lambda v: None, lambda v: _library("pandas").NaT),
    "pandas.NAType": (lambda v: None, lambda v: _library("pandas").NA),
    "pandas.Timestamp": (_untimestamp, _timestamp),
    "pandas.Timedelta": (lambda v: [int(v.asm8.view("i8")), v.unit], _timedelta),
    "PIL.IFDRational": _same(
        lambda v: [v.numerator, v.denominator], _new("PIL.TiffImagePlugin", "IFDRational")
    ),
    "PIL.iTXt": (lambda v: [str.__str__(v), v.lang, v.tkey], _new("PIL.PngImagePlugin", "iTXt")),
    "airflow.ObjectStoragePath": (lambda v: [str(v), v.conn_id, dict(v.storage_options)], _storage_path),
}
