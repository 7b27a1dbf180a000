"""Single values that JSON does not hold exactly, each as an object {"$t": tag, "v": text or numbers, ...}.

float              "nan", "inf", "-inf"
int                hexadecimal text, beyond 64 bits
str                base64 of UTF-8 with lone surrogates
bytes, bytearray   base64
decimal, uuid, date, timedelta, range, complex: as their own text or numbers
datetime, time     [ISO text without zone, zone or null, fold]
tzinfo             a zone: ["fixed", microseconds, name], ["zone", name], ["pytz", name],
                   ["pendulum", name] or ["pendulum-fixed", seconds, name]
pendulum           "type"; as above, or numbers
numpy              base64 of its memory, "dtype"; "text" is for people
pandas             "type"; number since 1970, "unit", "tz"
airflow            an ObjectStoragePath's [URL, connection, options]
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import re
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any

from ..errors import UnsupportedValue
from ._json import exact

TAG = "$t"
Json = dict[str, Any]

_MICROSECOND = dt.timedelta(microseconds=1)


def _b64(data: bytes | bytearray) -> str:
    return base64.b64encode(data).decode()


def _unb64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _lone(text: str) -> str:
    return _b64(text.encode("utf-8", "surrogatepass"))


# type → its tag, to JSON, from JSON
_SIMPLE: dict[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = {
    bytes: ("bytes", _b64, _unb64),
    bytearray: ("bytearray", _b64, lambda v: bytearray(_unb64(v))),
    str: ("str", _lone, lambda v: _unb64(v).decode("utf-8", "surrogatepass")),
    int: ("int", hex, lambda v: int(v, 16)),
    float: ("float", repr, float),
    decimal.Decimal: ("decimal", str, decimal.Decimal),
    uuid.UUID: ("uuid", str, uuid.UUID),
    dt.date: ("date", dt.date.isoformat, dt.date.fromisoformat),
    dt.timedelta: ("timedelta", lambda v: [v.days, v.seconds, v.microseconds], lambda v: dt.timedelta(*v)),
    range: ("range", lambda v: [v.start, v.stop, v.step], lambda v: range(*v)),
    complex: ("complex", lambda v: [repr(v.real), repr(v.imag)], lambda v: complex(*map(float, v))),
    dt.datetime: ("datetime", lambda v: _clock(v), lambda v: _unclock(dt.datetime, v)),
    dt.time: ("time", lambda v: _clock(v), lambda v: _unclock(dt.time, v)),
}
_FROM = {tag: from_json for tag, _, from_json in _SIMPLE.values()}


def encode(value: Any) -> Json | None:
    """A single value as JSON; None if it is not one that this module knows.

    Raises:
        UnsupportedValue: it is of a kind known here, but would not come back exactly.
    """
    cls = type(value)
    if (found := _SIMPLE.get(cls)) is not None:
        tag, to_json, _ = found
        return {TAG: tag, "v": to_json(value)}
    if isinstance(value, dt.tzinfo):
        return {TAG: "tzinfo", "v": zone(value)}
    library = cls.__module__.partition(".")[0]
    made = _LIBRARIES[library][0](value) if library in _LIBRARIES else None
    return None if made is None else {TAG: library, **made}


def decode(found: Json) -> Any:
    """The value of a tagged object. Raises KeyError for a tag that is not of this module; text or
    numbers that make no such value raise whatever its class raises."""
    tag = found[TAG]
    if tag in _FROM:
        return _FROM[tag](found["v"])
    if tag == "tzinfo":
        return unzone(found["v"])
    return _LIBRARIES[tag][1](found)


# -- time -------------------------------------------------------------------------------------------


def _clock(value: dt.datetime | dt.time) -> list[Any]:
    """[ISO text without zone, zone or null, fold]."""
    return [value.replace(tzinfo=None).isoformat(), value.tzinfo and zone(value.tzinfo), value.fold]


def _unclock(cls: Any, found: list[Any]) -> Any:
    text, tz, fold = found
    return cls.fromisoformat(text).replace(tzinfo=tz and unzone(tz), fold=fold)


def zone(tz: dt.tzinfo) -> list[Any]:
    """A time zone as JSON. Raises `UnsupportedValue` for one that can't be named."""
    library = type(tz).__module__.partition(".")[0]
    if type(tz) is dt.timezone:
        offset, *name = tz.__getinitargs__()  # type: ignore[attr-defined]  # what pickle asks for
        return ["fixed", offset // _MICROSECOND, *name]
    if type(tz) is zoneinfo.ZoneInfo and tz.key is not None:
        return ["zone", tz.key]
    if library == "pendulum" and isinstance(tz, zoneinfo.ZoneInfo):
        return ["pendulum", tz.key]
    if library == "pendulum":
        return ["pendulum-fixed", tz.offset, tz.name]  # type: ignore[attr-defined]
    if library == "pytz" and (name := getattr(tz, "zone", None)) and unzone(["pytz", name]) is tz:
        return ["pytz", name]
    raise UnsupportedValue(
        f"A time zone of type {type(tz).__module__}.{type(tz).__qualname__}", "Use zoneinfo.ZoneInfo(name)."
    )


def unzone(found: list[Any]) -> dt.tzinfo:
    """The time zone that `zone` described. Raises ValueError, TypeError, KeyError or ImportError."""
    how, value, *rest = found
    if how == "fixed":
        return dt.timezone(value * _MICROSECOND, *rest)
    if how == "zone":
        return zoneinfo.ZoneInfo(value)
    if how == "pytz":
        import pytz  # type: ignore[import-untyped,unused-ignore]

        tz: dt.tzinfo = pytz.timezone(value)
        return tz
    import pendulum

    return pendulum.FixedTimezone(value, *rest) if how == "pendulum-fixed" else pendulum.timezone(str(value))


# -- libraries: what a value of theirs becomes, and back ----------------------------------------------


def _to_pendulum(value: Any) -> Json | None:
    import pendulum

    name = type(value).__name__
    if type(value) in (pendulum.DateTime, pendulum.Time):
        return {"type": name, "v": _clock(value)}
    if type(value) is pendulum.Date:
        return {"type": name, "v": value.isoformat()}
    if type(value) is pendulum.Interval:
        start, end, absolute = value.__reduce__()[1]
        if isinstance(start, pendulum.DateTime) and isinstance(end, pendulum.DateTime):
            return {"type": name, "v": [_clock(start), _clock(end), absolute]}
    if type(value) is pendulum.Duration:
        numbers = [value.years, value.months, value.weeks, value.remaining_days]
        made = {"type": name, "v": [*numbers, value.remaining_seconds, value.microseconds]}
        if repr(_from_pendulum(made)) == repr(value):
            return made
    return None


def _from_pendulum(found: Json) -> Any:
    import pendulum

    name, v = found["type"], found["v"]
    if name == "Duration":
        units = ("years", "months", "weeks", "days", "seconds", "microseconds")
        return pendulum.duration(**dict(zip(units, v, strict=True)))
    if name == "Interval":
        return pendulum.Interval(_unclock(pendulum.DateTime, v[0]), _unclock(pendulum.DateTime, v[1]), v[2])
    if name == "Date":
        return pendulum.Date.fromisoformat(v)
    return _unclock({"DateTime": pendulum.DateTime, "Time": pendulum.Time}[name], v)


def _to_numpy(value: Any) -> Json | None:
    import numpy as np

    if not issubclass(type(value), np.generic):
        return None
    kind = value.dtype.kind
    if kind in "SU":  # as builtin values, in a way that does not drop trailing NULs as numpy's own do
        return {"dtype": kind, "v": _b64(bytes(value)) if kind == "S" else _lone("".join(value))}
    dtype = value.dtype.str
    if kind not in "biufcMm" or np.dtype(dtype).type is not type(value):
        return None
    return {"dtype": dtype, "v": _b64(value.tobytes()), "text": str(value)}


def _from_numpy(found: Json) -> Any:
    import numpy as np

    dtype, data = found["dtype"], _unb64(found["v"])
    if dtype in ("S", "U"):
        return np.bytes_(data) if dtype == "S" else np.str_(data.decode("utf-8", "surrogatepass"))
    if not re.fullmatch(r"[<>|][biufcMm]\d+(\[\w+\])?", dtype):
        raise ValueError(f"not the dtype of a scalar: {dtype!r}")
    (scalar,) = np.frombuffer(data, dtype)
    return scalar


def _to_pandas(value: Any) -> Json | None:
    import pandas as pd

    if value is pd.NaT or value is pd.NA:
        return {"type": "NaT" if value is pd.NaT else "NA"}
    if type(value) is pd.Timestamp:
        return {
            "type": "Timestamp",
            "v": int(value.asm8.view("i8")),
            "unit": value.unit,
            "tz": value.tz and zone(value.tz),
        }
    if type(value) is pd.Timedelta:
        return {"type": "Timedelta", "v": int(value.asm8.view("i8")), "unit": value.unit}
    return None


def _from_pandas(found: Json) -> Any:
    import numpy as np
    import pandas as pd

    name = found["type"]
    if name in ("NaT", "NA"):
        return getattr(pd, name)
    if name == "Timedelta":
        return pd.Timedelta(np.timedelta64(found["v"], found["unit"]))
    moment = pd.Timestamp(np.datetime64(found["v"], found["unit"]))
    return moment if found["tz"] is None else moment.tz_localize("UTC").tz_convert(unzone(found["tz"]))


def _to_airflow(value: Any) -> Json | None:
    if type(value).__name__ != "ObjectStoragePath" or not exact(options := dict(value.storage_options)):
        return None
    return {"v": [str(value), value.conn_id, options]}


def _from_airflow(found: Json) -> Any:
    from airflow.sdk import ObjectStoragePath

    path, connection, options = found["v"]
    return ObjectStoragePath(path, conn_id=connection, **options)


_LIBRARIES: dict[str, tuple[Callable[[Any], Json | None], Callable[[Json], Any]]] = {
    "airflow": (_to_airflow, _from_airflow),
    "numpy": (_to_numpy, _from_numpy),
    "pandas": (_to_pandas, _from_pandas),
    "pendulum": (_to_pendulum, _from_pendulum),
}
