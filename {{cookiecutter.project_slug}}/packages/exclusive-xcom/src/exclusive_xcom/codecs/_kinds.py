"""Values of fixed kinds that JSON does not hold: for each what becomes of it, and back.

In the text each is an object {"$t": tag, "v": ...}; "v" is text, a number, or a list of values that may be
such objects again. The tag is the name of a class of Python's, or that of a library and its class.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import functools
import importlib
import sys
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

from ..errors import UnsupportedValue

FACTORIES = {kind.__name__: kind for kind in (list, dict, set, tuple, int, float, str, bool)}

Turn = Callable[[Any], Any]
_library = importlib.import_module


@functools.cache
def kind_of(cls: type) -> tuple[str, Turn] | None:
    """The tag of a class, and what makes text, a number or a list of its values; None if it has no kind."""
    library, name = cls.__module__.partition(".")[0], cls.__name__
    if library == "numpy" and issubclass(cls, sys.modules["numpy"].generic):
        name = "generic"
    elif library == "pytz":
        name = "tzinfo"
    tag = name if cls in _OWN else f"{library}.{name}"
    return (tag, _KINDS[tag][0]) if tag in _KINDS else None


def make(tag: str, found: Any) -> Any:
    """The value of a tagged object whose "v" was found. Raises KeyError, or what the value's class does."""
    return _KINDS[tag][1](found)


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


def _pairs(found: list[list[Any]]) -> dict[Any, Any]:
    return dict(zip(*found, strict=True))


def _clock(value: dt.datetime | dt.time) -> list[Any]:
    return [value.replace(tzinfo=None).isoformat(), value.tzinfo, value.fold]


def _unclock(cls: Any, found: list[Any]) -> Any:
    text, tz, fold = found
    return cls.fromisoformat(text).replace(tzinfo=tz, fold=fold)


def _duration(v: Any) -> list[Any]:
    return [v.remaining_days, v.remaining_seconds, v.microseconds, 0, 0, 0, v.weeks, v.years, v.months]


def _take_timestamp(value: Any) -> list[Any]:
    if value.fold and value.tz is None:  # in a zone, the number tells it
        raise UnsupportedValue(f"{value!r} with fold=1 and no zone", "Return value.replace(fold=0).")
    return [int(value.asm8.view("i8")), value.unit, value.tz]


def _timestamp(found: list[Any]) -> Any:
    number, unit, tz = found
    moment = _library("pandas").Timestamp(_library("numpy").datetime64(number, unit))
    return moment if tz is None else moment.tz_localize("UTC").tz_convert(tz)


def _timedelta(found: list[Any]) -> Any:
    return _library("pandas").Timedelta(_library("numpy").timedelta64(*found))


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
    return scalar


# Of a dict, `Tagger` takes a list of keys and one of values, and puts a defaultdict's factory behind them.
_OWN: dict[type, tuple[Turn, Turn]] = {
    tuple: (list, tuple),
    set: (list, set),
    frozenset: (list, frozenset),
    deque: (lambda v: [list(v), v.maxlen], lambda v: deque(*v)),
    dict: (dict, _pairs),
    OrderedDict: (dict, lambda v: OrderedDict(_pairs(v))),
    Counter: (dict, lambda v: Counter(_pairs(v))),
    defaultdict: (dict, lambda v: defaultdict(v[2] and FACTORIES[v[2]], _pairs(v[:2]))),
    bytes: (_b64, _unb64),
    bytearray: (_b64, lambda v: bytearray(_unb64(v))),
    str: (_text, _untext),
    int: (hex, lambda v: int(v, 16)),
    float: (repr, float),
    complex: (lambda v: [v.real, v.imag], lambda v: complex(*v)),
    range: (lambda v: [v.start, v.stop, v.step], lambda v: range(*v)),
    decimal.Decimal: (str, decimal.Decimal),
    uuid.UUID: (str, uuid.UUID),
    dt.date: (dt.date.isoformat, dt.date.fromisoformat),
    dt.timedelta: (lambda v: [v.days, v.seconds, v.microseconds], lambda v: dt.timedelta(*v)),
    dt.datetime: (_clock, lambda v: _unclock(dt.datetime, v)),
    dt.time: (_clock, lambda v: _unclock(dt.time, v)),
    dt.timezone: (lambda v: list(v.__getinitargs__()), lambda v: dt.timezone(*v)),  # pickle asks for it
    zoneinfo.ZoneInfo: _same(lambda v: v.key, zoneinfo.ZoneInfo),
}
_KINDS: dict[str, tuple[Turn, Turn]] = {cls.__name__: turns for cls, turns in _OWN.items()} | {
    "pendulum.DateTime": (_clock, lambda v: _unclock(_library("pendulum").DateTime, v)),
    "pendulum.Time": (_clock, lambda v: _unclock(_library("pendulum").Time, v)),
    "pendulum.Date": (dt.date.isoformat, lambda v: _library("pendulum").Date.fromisoformat(v)),
    "pendulum.Duration": _same(_duration, _new("pendulum", "duration")),
    "pendulum.Interval": _same(lambda v: list(v.__reduce__()[1]), _new("pendulum", "Interval")),
    "pendulum.Timezone": _same(lambda v: v.key, lambda v: _library("pendulum").timezone(str(v))),
    "pendulum.FixedTimezone": (lambda v: [v.offset, v.name], _new("pendulum", "FixedTimezone")),
    "pytz.tzinfo": _same(lambda v: v.zone, lambda v: _library("pytz").timezone(v)),
    "numpy.generic": (_take_numpy, _make_numpy),
    "pandas.NaTType": (lambda v: None, lambda v: _library("pandas").NaT),
    "pandas.NAType": (lambda v: None, lambda v: _library("pandas").NA),
    "pandas.Timestamp": (_take_timestamp, _timestamp),
    "pandas.Timedelta": (lambda v: [int(v.asm8.view("i8")), v.unit], _timedelta),
    "airflow.ObjectStoragePath": (lambda v: [str(v), v.conn_id, dict(v.storage_options)], _storage_path),
}
