"""The same values handed over by plain Airflow and by us: the tables of docs/values.md.

Each row is an expression. Plain Airflow's own way is walked from its serialisation over the message to the
supervisor and the JSON of the request to its deserialisation; ours is that of the backend `db`.
`make compared` writes the tables, a test compares them.
"""

from __future__ import annotations

import array
import collections
import datetime as dt
import enum
import http
import json
import os
import re
import sqlite3
import time
import types
from collections import Counter, OrderedDict, UserDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import attrs
import dateutil.tz
import markupsafe
import msgspec
import numpy as np
import pandas as pd
import pendulum
import polars as pl
import pyarrow as pa
import pydantic
import sqlalchemy as sa
from airflow.sdk import Asset, serde
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.execution_time.comms import SetXCom, _RequestFrame
from PIL import Image
from ruamel.yaml import YAML

from exclusive_xcom import scratch
from exclusive_xcom.codecs import encoded
from exclusive_xcom.db import DbXComBackend
from exclusive_xcom.testing.identical import identical

CHAPTER = Path(__file__).resolve().parents[3] / "engine/docs/values.md"
START, END = "<!-- compared: written by the template's `make compared` -->\n", "<!-- compared: end -->\n"
WHOSE = {"dag_id": "orders", "run_id": "run", "task_id": "extract", "map_index": -1}


# -- classes of a project's own, which are allowed --------------------------------------------------------


class Point(NamedTuple):
    """A named tuple."""

    x: int
    y: int


class Level(enum.IntEnum):
    """Numbers with names."""

    LOW = 1


class Colour(enum.Enum):
    """Names."""

    RED = "red"


@dataclass
class Line:
    """A part of an order."""

    price: Decimal


@dataclass
class Order:
    """A dataclass that holds others."""

    lines: list[Line]


class Customer(pydantic.BaseModel):
    """A model whose validator must not run twice."""

    name: str

    @pydantic.field_validator("name")
    @classmethod
    def shout(cls, name: str) -> str:
        """Changes it each time."""
        return f"{name}!"


@attrs.define
class Item:
    """A class of attrs."""

    tags: frozenset[str]


def parsed(text: str) -> dt.datetime:
    """As pydantic reads it from JSON: a model's field, or Airflow's own `dag_run.run_after`."""
    return pydantic.TypeAdapter(dt.datetime).validate_python(text)


def file() -> Path:
    """A file of the task's."""
    path = scratch.new_file("report.txt")
    path.write_text("content", encoding="utf-8")
    return path


def sqlalchemy_row() -> Any:
    """A row of a query."""
    with sa.create_engine("sqlite://").connect() as connection:
        return connection.execute(sa.text("select 1 a, 'x' b")).one()


def sqlite_row() -> Any:
    """A row of a query."""
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    return connection.execute("select 1 a, 'x' b").fetchone()


def dates(**more: Any) -> pd.DatetimeIndex:
    """Two days."""
    return pd.date_range("2024-01-01", periods=2, **more)


OWN = (Point, Level, Colour, Line, Order, Customer, Item)
NAMES: dict[str, Any] = {
    **{made.__name__: made for made in (*OWN, parsed, file, sqlalchemy_row, sqlite_row, dates)},
    **{
        kind.__name__: kind
        for kind in (Asset, Counter, Decimal, OrderedDict, UserDict, YAML, ZoneInfo, defaultdict)
    },
    **{
        module.__name__: module
        for module in (array, collections, http, markupsafe, pendulum, pydantic, types)
    },
    **{
        "dateutil": dateutil,
        "deque": deque,
        "dt": dt,
        "Image": Image,
        "np": np,
        "pa": pa,
        "pd": pd,
        "pl": pl,
    },
}

# -- rows: (in words, the value, what of the value is shown where it comes back as another) ---------------

CHANGED = [
    ("keys that are no text", '{1: "a", 2: "b"}', "value"),
    ("", '{1: "a", "1": "b"}', "value"),
    ("", "{(2024, 1): 5}", "value"),
    ("money", 'Decimal("1.10")', "value"),
    ("", 'Decimal("12345678901234567.89")', "value"),
    ("a named tuple", "Point(1, 2)", "value"),
    ("an enum of numbers", "Level.LOW", "value"),
    ("a dataclass in another", 'Order([Line(Decimal("1.5"))])', "value.lines[0]"),
    ("a pydantic model whose validator changes something", 'Customer(name="a")', "value.name"),
    ("", 'Counter("aab")', "value"),
    ("", "defaultdict(list, a=[1])", "value"),
    ("", "OrderedDict(a=1)", "value"),
    ("an hour that a clock shows twice", "dt.datetime(2024, 10, 27, 2, 30, fold=1)", "value.fold"),
    ("a zone", "dt.datetime(2024, 1, 1, tzinfo=dt.UTC)", "type(value.tzinfo)"),
    (
        "",
        'dt.datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Paris"))',
        "type(value.tzinfo)",
    ),
    ("a moment that pydantic read", 'parsed("2024-01-01T00:00:00Z")', "type(value.tzinfo)"),
    ("microseconds of a long time", "dt.timedelta(days=99999, microseconds=1)", "value.microseconds"),
    ("a frame with missing text", 'pd.DataFrame({"a": ["x", None]}, dtype=object)', "value.a[1]"),
    ("a frame of days, with its frequency", 'pd.DataFrame({"a": [1, 2]}, index=dates())', "value.index.freq"),
    ("a frame with tuples", 'pd.DataFrame({"a": [(1, 2)]})', "type(value.a[0])"),
    ("a frame with lists", 'pd.DataFrame({"a": [[1, 2]]})', "type(value.a[0])"),
    ("a frame with dicts", 'pd.DataFrame({"a": [{"b": 1}, {"c": 2}]})', "value.a[0]"),
    ("a frame with money", 'pd.DataFrame({"a": [Decimal("1.5"), Decimal("1.123")]})', "value.a[0]"),
    ("a frame with categories of numbers", 'pd.DataFrame({"a": pd.Categorical([1, 2])})', "value.a.dtype"),
    ("a frame in seconds", 'pd.DataFrame({"a": dates(unit="s")})', "value.a.dtype"),
]
REFUSED = [
    ("a missing value, as in `df.to_dict()`", 'float("nan")', ""),
    ("", 'float("inf")', ""),
    ("", "2**64", ""),
    ("", 'Decimal("NaN")', ""),
    ("half of a surrogate pair", r'"a\ud800"', ""),
    ("", 'b"abc"', ""),
    ("", "1 + 2j", ""),
    ("", "range(3)", ""),
    ("", "deque([1, 2])", ""),
    ("an enum", "Colour.RED", ""),
    ("", "dt.time(12, 30)", ""),
    ("", "dt.datetime(1, 1, 1)", ""),
    ("", "dt.datetime.max.replace(tzinfo=dt.UTC)", ""),
    ("an offset", "dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5)))", ""),
    ("", 'parsed("2024-01-01T00:00:00+05:30")', ""),
    ("", "dt.datetime(2024, 1, 1, tzinfo=dateutil.tz.tzoffset(None, 3600))", ""),
    ("", "pendulum.duration(days=1)", ""),
    ("", 'pd.Timestamp("2024-01-01")', ""),
    ("", "pd.NA", ""),
    ("", "pd.Series([1, 2])", ""),
    ("two columns of one name", 'pd.DataFrame([[1, 2]], columns=["a", "a"])', ""),
    ("cells of several types", 'pd.DataFrame({"a": [1, "x"]})', ""),
    ("", 'pl.DataFrame({"a": [1]})', ""),
    ("", 'pa.table({"a": [1]})', ""),
    ("", "np.arange(6).reshape(2, 3)", ""),
    ("", 'np.datetime64("2024-01-01")', ""),
    ("", 'Image.new("RGB", (640, 480))', ""),
    ("a file", "file()", ""),
    ("an address", 'pydantic.AnyUrl("https://example.com")', ""),
    ("names that Airflow uses itself", '{"__classname__": "x"}', ""),
    ("", '{"__type": "x", "__var": 1}', ""),
]
PLAIN = [
    ("a class that is not allowed", "http.HTTPStatus.OK", "value"),
    ("", 'markupsafe.Markup("<b>")', "value"),
    ("", "defaultdict(lambda: 0, a=1)", "value"),
    ("", "UserDict(a=1)", "value"),
    ("", 'collections.ChainMap({"a": 1}, {"b": 2})', "value"),
    ("", 'types.MappingProxyType({"a": 1})', "value"),
    ("", 'YAML().load("a: 1")', "value"),
    ("", 'array.array("i", [1, 2])', "value"),
    ("a row of SQLAlchemy", "sqlalchemy_row()", "value"),
    ("", "sqlalchemy_row()._mapping", "value"),
    ("a row of sqlite3", "sqlite_row()", "value"),
    (
        "a zone of this machine",
        "dt.datetime(2024, 7, 1, tzinfo=dateutil.tz.gettz('Europe/Paris'))",
        "value.tzinfo",
    ),
]
SAME = [
    ("", '{"a": [1, 2.5, None, True, "x"]}', ""),
    ("", "(1, (2,))", ""),
    ("", "{1, 2}", ""),
    ("", "dt.date(2024, 1, 1)", ""),
    ("", "np.float32(0.1)", ""),
    ("", 'pd.DataFrame({"a": [1, 2]}, index=["x", "y"])', ""),
    ("a frame with arrays", 'pd.DataFrame({"a": [np.array([1.5]), np.array([1.5, 2])]})', ""),
    ("attrs", 'Item(frozenset({"a"}))', ""),
    ("", 'Asset("orders")', ""),
]


# -- the two ways -----------------------------------------------------------------------------------------


def pushed_by_airflow(value: Any) -> Any:
    """The row of plain Airflow."""
    message = SetXCom(key="k", value=BaseXCom.serialize_value(value), **WHOSE)
    frame = _RequestFrame(id=0, body=message.model_dump()).as_bytes()
    return _sent(msgspec.msgpack.decode(memoryview(frame)[4:])[1]["value"])


def pushed_by_us(value: Any) -> Any:
    """The row of the backend `db`."""
    return _sent(DbXComBackend.serialize_value(value, key="k", **WHOSE))


def _sent(row: Any) -> Any:
    return json.loads(json.dumps(row, allow_nan=False))  # as httpx does it in Airflow's client


Way = tuple[Callable[[Any], Any], type[BaseXCom]]
AIRFLOW: Way = (pushed_by_airflow, BaseXCom)
OURS: Way = (pushed_by_us, DbXComBackend)


@contextmanager
def prepared() -> Iterator[None]:
    """This module's classes are allowed, as those of a project's models.py are; the clock shows UTC, as in a
    container: plain Airflow keeps a moment without a zone by the clock of the machine."""
    before, zone = set(serde._extra_allowed), os.environ.get("TZ")
    for cls in OWN:
        serde.allow_class(cls)
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        serde._extra_allowed.intersection_update(before)
        del os.environ["TZ"]
        os.environ |= {"TZ": zone} if zone is not None else {}
        time.tzset()


def outcome(way: Way, code: str, look: str = "") -> tuple[str, str]:
    """What becomes of a value: "same", "changed", "refused" or "lost", and in words."""
    push, backend = way
    value, again = eval(code, NAMES), eval(code, NAMES)
    try:
        row = push(value)
    except Exception as error:
        return "refused", f"the push fails: {type(error).__name__}"
    try:
        found = backend.deserialize_value(types.SimpleNamespace(value=row))
    except Exception as error:
        return "lost", f"is pushed, and the consumer fails: {type(error).__name__}"
    try:
        identical(found, again)
    except AssertionError:
        shown = repr(eval(look, NAMES | {"value": found}))
        shown = re.sub(r"OrderedDict\(\[\((.*), (.*)\)\]\)", r"OrderedDict({\1: \2})", shown)  # Python 3.11's
        return "changed", f"`{shown}`" if look == "value" else f"`{look}` is `{shown}`"
    return "same", "the same"


def told(code: str) -> tuple[str, ...]:
    """What the task's log says of it."""
    return encoded(eval(code, NAMES), DbXComBackend.codec_options()).turned


def tables() -> str:
    """The tables of the chapter."""
    groups = {
        "Changed by plain Airflow, without a word": CHANGED,
        "Refused by plain Airflow": REFUSED,
        "Here, Python's own kind in its place, and a line in the log": PLAIN,
        "The same with both": SAME,
    }
    lines: list[str] = []
    with prepared():
        for title, rows in groups.items():
            lines += ["", f"**{title}**", "", "| a task returns | plain Airflow | here |", "|---|---|---|"]
            for words, code, look in rows:
                name = f"{words}: `{code}`" if words else f"`{code}`"
                lines.append(
                    f"| {name} | {outcome(AIRFLOW, code, look)[1]} | {outcome(OURS, code, look)[1]} |"
                )
    return "\n".join([*lines[1:], ""])


def write() -> None:
    """Put the tables into the chapter."""
    before, _, rest = CHAPTER.read_text(encoding="utf-8").partition(START)
    CHAPTER.write_text(f"{before}{START}{tables()}{END}{rest.partition(END)[2]}", encoding="utf-8")


def written() -> str:
    """The tables that are in the chapter."""
    return CHAPTER.read_text(encoding="utf-8").partition(START)[2].partition(END)[0]
