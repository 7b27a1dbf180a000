"""The codec of Python's own values: what JSON holds, what it does not, classes, hostile text."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import gc
import importlib.resources
import io
import json
import math
import struct
import sys
import threading
import tracemalloc
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple
from zoneinfo import ZoneInfo

import attrs
import dateutil.tz
import numpy as np
import pandas as pd
import pendulum
import pyarrow as pa
import pydantic
import pytest
from airflow.sdk import Asset, ObjectStoragePath
from hypothesis import given
from hypothesis import strategies as st

from exclusive_xcom import errors
from exclusive_xcom.codecs import _json
from exclusive_xcom.codecs._json import plain
from exclusive_xcom.testing.codec_contract import OPTIONS, CodecContract, damaged, data_of, decode, encode
from exclusive_xcom.testing.identical import identical

LEGIBLE = replace(OPTIONS, compress=False)


class Colour(enum.Enum):
    RED = 1
    ROSSO = 1
    PAIR = (1, 2)


class Level(enum.IntEnum):
    LOW = 1


class Rights(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Point(NamedTuple):
    x: int
    y: Any = None


@dataclasses.dataclass
class Order:
    number: int
    lines: list[Any]
    total: decimal.Decimal | None = None
    checked: bool = dataclasses.field(init=False, default=False)

    def __post_init__(self) -> None:
        self.total = decimal.Decimal("99")  # must not run again in the consumer

    @functools.cached_property
    def size(self) -> int:
        return len(self.lines)


@dataclasses.dataclass
class Watched:
    """With a property that runs code when it is set."""

    number: int

    def seen(self, value: Any) -> None:
        raise SystemExit

    seen = property(fset=seen)  # type: ignore[assignment]


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    name: str
    at: tuple[float, float]


@attrs.define
class Sized:
    number: int
    lines: list[Any]

    def __attrs_post_init__(self) -> None:
        self.number += 1  # must not run again in the consumer


@attrs.frozen(slots=False)
class Frozen:
    name: str | None


@attrs.define
class Cached:
    """What it works out takes a slot, and asking for that works it out."""

    number: int

    @functools.cached_property
    def worked_out(self) -> object:
        return object()

    def used(self) -> Cached:
        assert self.worked_out
        return self


@attrs.define
class Track(Sequence[Any]):
    """Its items are not all that it has."""

    notes: list[Any]
    name: str

    def __getitem__(self, at: Any) -> Any:
        return self.notes[at]

    def __len__(self) -> int:
        return len(self.notes)


class Account:
    """As Airflow's documentation has it."""

    __version__ = 2

    def __init__(self, name: str, number: int) -> None:
        self.name, self.number = name, number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Account) and vars(self) == vars(other)

    def serialize(self) -> dict[str, Any]:
        return {"name": self.name, "number": (self.number,)}

    @staticmethod
    def deserialize(data: dict[str, Any], version: int) -> Account:
        if version > 2:
            raise TypeError(f"version {version}")
        return Account(data.pop("name"), *data["number"])


class Forgetful(Account):
    """Comes back as its base."""


def parsed(text: str) -> dt.datetime:
    """As pydantic reads a moment."""
    return pydantic.TypeAdapter(dt.datetime).validate_python(text)


class Customer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    name: str
    since: dt.date | None = None
    friends: list[Customer] = []
    _secret: tuple[int, ...] = (1, 2)

    @pydantic.field_validator("name")
    @classmethod
    def loud(cls, name: str) -> str:
        return name + "!"  # must not run again in the consumer


class Root(pydantic.RootModel[dict[str, int]]):
    pass


class Outer:
    @dataclasses.dataclass
    class Inner:
        x: int


class MyList(list[Any]):
    pass


@dataclasses.dataclass
class MyDict(dict[str, int]):
    x: int = 1


def order() -> Order:
    made = Order(7, [Place("here", (1.0, -0.0)), Place("there", (2.5, math.nan))])
    made.total = decimal.Decimal("1.10")
    assert made.size == 2  # leaves something in its __dict__
    return made


def odd_order() -> Order:
    made = order()
    made.extra = 1  # type: ignore[attr-defined]
    return made


def local_class() -> Any:
    @dataclasses.dataclass
    class Local:
        x: int = 1

    return Local()


def from_dag_file() -> Any:
    made = dataclasses.make_dataclass("InDag", ["x"])
    made.__module__ = f"unusual_prefix_{'0123456789' * 4}_my_dag"
    return made(1)


def zone_of_a_file(key: str | None) -> ZoneInfo:
    data = importlib.resources.files("tzdata.zoneinfo").joinpath("UTC").read_bytes()
    return ZoneInfo.from_file(io.BytesIO(data), key=key)


def cyclic() -> list[Any]:
    value: list[Any] = [1]
    value.append({"back": value})
    return value


def deep(levels: int, inner: Any = 1) -> Any:
    for _ in range(levels):
        inner = [inner]
    return inner


def doubled(levels: int, kind: Callable[[Any], Any]) -> Any:
    """Small in memory, endless when written out."""
    value = kind([1, 1])
    for _ in range(levels):
        value = kind([value, value])
    return value


NANS = ("7ff8000000000001", "fff8000000000000", "7ff0000000000001", "ffffffffffffffff")
PARIS = ZoneInfo("Europe/Paris")


SIZED = [
    *("[]", "{}", "[N]", '{"":N}', '{"N":N}', '{"a":1.5,"b":2,"c":3,"d":4,"e":5}', '"N"', '"\\u20acN"'),
    *('{"$t":"set","v":[N]}', '{"$t":"frozenset","v":[]}', '{"$t":"dict","v":[[N],[N]]}'),
    *('{"$t":"OrderedDict","v":[[N],[N]]}', '{"$t":"deque","v":[[N],null]}', '{"$t":"tuple","v":[N]}'),
    *('{"$t":"set","v":[N,1,2,3,4,5,6,7,8,9]}', '{"$t":"dict","v":[[N,1,2,3,4,5],[1,2,3,4,5,6]]}'),
    *('{"$t":"dateutil.tzoffset","v":["N",{"$t":"timedelta","v":[0,N,0]}]}',),
    *('{"$t":"pydantic_core.TzInfo","v":[N]}', '{"$t":"pydantic.url","v":["AnyUrl","http://N/"]}'),
    f'{{"$t":"attrs","class":"{__name__}:Sized","v":{{"number":N,"lines":[N]}}}}',
    f'{{"$t":"serialized","class":"{__name__}:Account","v":{{"name":"N","number":[N]}},"version":2}}',
    *('{"$t":"Decimal","v":"N"}', '{"$t":"timedelta","v":[N,0,0]}', '{"$t":"bytes","v":"AAAA"}'),
    '{"$t":"pandas.Timestamp","v":[N,"s",null]}',
    f'{{"$t":"dataclass","class":"{__name__}:Place","v":{{"name":"N","at":[N,N]}}}}',
    f'{{"$t":"dataclass","class":"{__name__}:Order","v":{{"number":N,"lines":[],"total":1,"checked":true}}}}',
]


class TestStructured(CodecContract):
    codec = "structured"
    fuzz = "many kinds"
    values: ClassVar = {
        "nothing": lambda: None,
        "text": lambda: "größe \0 \u2028",
        "lone surrogate": lambda: ["a\ud800", {"\udfff": 1}],
        "JSON": lambda: {"b": [1, 2.5, None, True], "a": {"c": "x"}, "": []},
        "ints": lambda: [2**63 - 1, -(2**63), 2**64, -(2**200), 10**5000],
        "floats": lambda: [0.1, -0.0, 1e16, 1e300, 5e-324, math.nan, math.inf, -math.inf],
        "NaNs of all bits": lambda: [
            *(struct.unpack(">d", bytes.fromhex(f"{bits}"))[0] for bits in NANS),
            complex(*struct.unpack(">dd", bytes.fromhex("fff80000000000007ff8000000000001"))),
        ],
        "like our own tags": lambda: {"$t": "tuple", "v": [1], "x": {"$t": {"$t": 1}}},
        "keys of two kinds": lambda: [{"a": 1}, {np.str_("a"): 1}],
        "keys": lambda: {1: "a", "1": "b", None: 0, False: 1, (1, 2): 2, 1.5: 3},
        "tuples": lambda: ((), (1, (2, [3])), [(None,)]),
        "sets": lambda: [set(), {1, "a", (2,)}, frozenset({frozenset()})],
        "collections": lambda: [
            collections.OrderedDict([("b", 1), ("a", 2)]),
            collections.Counter("abca"),
            collections.defaultdict(list, {1: [2]}),
            collections.defaultdict(None, a=1),
            collections.deque([1, (2,)], 5),
        ],
        "bytes": lambda: [b"", b"\0\xff", bytearray(b"abc")],
        "datetimes": lambda: [
            dt.datetime(2024, 10, 27, 2, 30, tzinfo=PARIS),
            dt.datetime(2024, 10, 27, 2, 30, tzinfo=PARIS, fold=1),
            dt.datetime.max,
            dt.datetime(1, 1, 1, tzinfo=dt.UTC),
            dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-5, microseconds=1), "here")),
            dt.time(1, 2, 3, 4, tzinfo=dt.UTC),
            dt.date(2024, 2, 29),
            dt.timedelta(-1, 5, 7),
            PARIS,
            dt.UTC,
            dt.datetime(2024, 1, 1, tzinfo=pendulum.timezone("Europe/Paris")),
        ],
        "pendulum": lambda: [
            pendulum.datetime(2024, 10, 27, 2, 30, tz="Europe/Paris", fold=1),
            pendulum.datetime(2024, 1, 1, tz=pendulum.FixedTimezone(3600, "x")),
            pendulum.date(2024, 1, 1),
            pendulum.time(1, 2, 3),
            pendulum.duration(years=1, months=2, weeks=3, days=4, seconds=5, microseconds=6),
            pendulum.datetime(2024, 1, 1) - pendulum.datetime(2023, 1, 1),
            pendulum.UTC,
            pendulum.DateTime(2024, 10, 27, 2, 30, tzinfo=PARIS, fold=1),
            pendulum.DateTime(2024, 1, 1, tzinfo=dt.UTC),
            pendulum.DateTime(1, 1, 1),
            pendulum.Time(1, 2, 3, 4, tzinfo=PARIS),
        ],
        "decimals": lambda: [
            decimal.Decimal(x) for x in ("1.10", "-0", "1E+9999", "NaN", "sNaN12", "-Infinity")
        ],
        "Airflow's paths": lambda: [
            ObjectStoragePath("s3://conn@bucket/a/b", anon=True),
            ObjectStoragePath("/tmp"),
        ],
        "uuid, range, complex": lambda: [uuid.UUID(int=7), range(3, 10**20, 2), complex(-0.0, math.nan)],
        "numpy scalars": lambda: [
            np.float64(0.1),
            np.float32(0.1),
            np.int8(-3),
            np.uint64(2**64 - 1),
            np.bool_(True),
            np.str_("a\0"),
            np.bytes_(b"a\0"),
            np.datetime64("2024-01-01T00", "h"),
            np.timedelta64(5, "25s"),
            np.datetime64("NaT"),
            np.complex64(1 + 2j),
        ],
        "pandas scalars": lambda: [
            pd.Timestamp("2024-10-27 01:30", tz="UTC").tz_convert("Europe/Paris"),
            pd.Timestamp("2024-01-01").as_unit("s"),
            pd.Timestamp("2024-10-27 02:30:00.123456789").replace(fold=1),
            pd.Timestamp("2024-10-27 01:30").as_unit("s").replace(fold=1),
            pd.Timedelta(5),
            pd.NaT,
            pd.NA,
        ],
        "enums": lambda: [Colour.RED, Colour.PAIR, Level.LOW, Rights.READ, Rights.READ | Rights.WRITE],
        "named tuple": lambda: [Point(1), Point(2, [Point(3)])],
        "dataclass": order,
        "frozen dataclass": lambda: Place("here", (1.0, 2.0)),
        "inner class": lambda: Outer.Inner(5),
        "pydantic": lambda: Customer(name="a", friends=[Customer(name="b", age=(1,))], colour=Colour.RED),
        "pydantic, a root": lambda: [Root({"a": 1, "root": 2, "$t": 3}), Root.model_construct({"b": 1})],
        "pydantic, a root without a class": lambda: pydantic.RootModel[dict[str, int]]({"a": 1}),
        "pydantic, odd extras": lambda: Customer(**{"name": "a", "$t": "set", "v": [1], "größe": ()}),
        "pydantic, not validated": lambda: Customer.model_construct(name=5),
        "attrs": lambda: [Sized(1, [Frozen("a")]), Frozen(None)],
        "attrs, with a cached property": lambda: [Cached(1), Cached(2).used()],
        "attrs, a sequence": lambda: Track([1, 2], "b"),
        "Airflow's own assets": lambda: [Asset("x", uri="s3://bucket/x", extra={"a": 1}), Asset("y")],
        "methods of its own": lambda: {"account": Account("a", 7), "all": [Account("b", 8)]},
        "zones of libraries": lambda: [
            parsed("2024-01-01T00:00:00Z"),
            parsed("2024-01-01T00:00:00-05:30"),
            dt.datetime(2024, 1, 1, tzinfo=dateutil.tz.tzutc()),
            dt.datetime(2024, 1, 1, tzinfo=dateutil.tz.tzoffset("X", -3600)),
            dt.time(1, tzinfo=dateutil.tz.tzoffset(None, 19800)),
            pd.Timestamp("2024-01-01", tz=dateutil.tz.tzutc()),
        ],
        "addresses": lambda: [
            pydantic.AnyUrl("http://größe.de/ü?a=b#c"),
            pydantic.HttpUrl("https://a"),
            pydantic.PostgresDsn("postgres://u:p@h1:1,h2/db"),
        ],
        "many kinds": lambda: [
            (i, {i}, 1j * i, np.float32(i), dt.date(2024, 1, 1), {i: b"x"}) for i in range(50)
        ],
        "the same list twice": lambda: [[1]] * 3,
        "as deep as allowed": lambda: deep(_json.MAX_DEPTH),
    }
    refused: ClassVar = {
        "object": (lambda: {"a": [1, {"b": object()}]}, "value['a'][1]['b']"),
        "generator": (lambda: (i for i in ()), "list(value)"),
        "function": (lambda: [len], "value[0]"),
        "module": (lambda: sys, "module"),
        "lock": (lambda: {"lock": threading.Lock()}, "value['lock']"),
        "cyclic": (cyclic, "contains itself"),
        "deep": (lambda: deep(10**5), "levels deep"),
        "deep tuples": (lambda: deep(300, (1,)), "levels deep"),
        "class without a name": (lambda: pydantic.RootModel[set[int]]({1}), "inherits from it"),
        "local class": (local_class, "models"),
        "class of a DAG file": (from_dag_file, "class InDag of the DAG file my_dag.py"),
        "odd attribute": (odd_order, "extra"),
        "methods that make another": (lambda: Forgetful("a", 1), "makes no Forgetful"),
        "dataclass that is a dict": (lambda: MyDict(), "dict(value)"),
        "zone of a file": (lambda: zone_of_a_file("Europe/Rome"), "zoneinfo"),
        "zone of a file without a name": (lambda: zone_of_a_file(None), "zoneinfo"),
        "zone of its own": (lambda: dt.time(tzinfo=type("Z", (dt.tzinfo,), {})()), "zoneinfo"),
        "items of one hash": (lambda: {n * (2**61 - 1) for n in range(100)}, "list"),
        "keys of one hash": (lambda: dict.fromkeys(n * (2**61 - 1) for n in range(100)), "list"),
        "arrow scalar": (lambda: pa.scalar(1), "pyarrow"),
    }

    @pytest.mark.parametrize("kind", [list, tuple])
    def test_what_has_no_end_written_out_is_refused(self, kind: Any) -> None:
        with pytest.raises(errors.ValueTooLarge, match="again and again"):
            encode(doubled(60, kind))

    def test_nothing_runs_in_the_consumer(self) -> None:
        assert decode(encode(order())).total == decimal.Decimal("1.10")
        assert decode(encode(Customer(name="a"))).name == "a!"

    def test_dicts_keep_their_order(self) -> None:
        assert list(decode(encode({"b": (1,), "a": 2, "0": 3}))) == ["b", "a", "0"]

    def test_plain_values_are_plain_json_for_others(self) -> None:
        value = {"a": [1, 2.5, None, {"$t": "x"}]}
        payload = encode(value, LEGIBLE)
        assert (payload.media_type, payload.suffix) == ("application/json", ".json")
        assert json.loads(data_of(payload)) == value
        assert data_of(encode(value)) == data_of(payload)  # small text is not worth packing

    def test_long_text_is_packed(self) -> None:
        value = [{"a": i} for i in range(20_000)]
        payload = encode(value)
        assert (payload.media_type, payload.suffix) == ("application/zstd", ".json.zst")
        text = pa.decompress(data_of(payload), payload.meta["size"], "zstd", asbytes=True)
        assert json.loads(text) == value and identical(decode(payload), value)
        for data in damaged(data_of(payload), 100):
            with contextlib.suppress(errors.PayloadUnreadable):
                decode(payload, data)

    def test_text_that_stays_legible_comes_back_too(self) -> None:
        for make in self.values.values():
            value = make()
            assert identical(decode(encode(value, LEGIBLE), options=LEGIBLE), value)

    def test_it_is_described(self) -> None:
        values = ({"a": 1}, [1, 2], (1,), "text", 5, None, Colour.RED)
        assert [(payload.kind, payload.summary) for payload in map(encode, values)] == [
            ("dict", "1 item"),
            ("list", "2 items"),
            ("tuple", "1 item"),
            ("text", "4 characters"),
            ("number", ""),
            ("nothing", ""),
            ("Colour", ""),
        ]

    def test_classes_must_be_allowed_when_written(self) -> None:
        for value in (Colour.RED, order(), Customer(name="a")):
            with pytest.raises(errors.UnsupportedValue, match="ALLOWED_DESERIALIZATION_CLASSES"):
                encode([value], replace(OPTIONS, class_allowed=lambda name: False))

    def test_classes_must_be_allowed_when_read(self) -> None:
        for value in (Colour.RED, Point(1), order(), Customer(name="a")):
            payload = encode([value])
            with pytest.raises(errors.PayloadUnreadable, match="ALLOWED_DESERIALIZATION_CLASSES"):
                decode(payload, options=replace(OPTIONS, class_allowed=lambda name: False))

    @pytest.mark.parametrize(
        "forged",
        [
            {"$t": "enum", "class": "os:system", "v": "true"},
            {"$t": "of another release", "class": f"{__name__}:Order", "v": {}},
            {"$t": "pydantic.url", "v": ["NameEmail", "a@b"]},
            {"$t": "pydantic.url", "v": ["import_email_validator", "x"]},
            {"$t": "pydantic.url", "v": ["AnyUrl", "no address"]},
            {"$t": "serialized", "class": f"{__name__}:Order", "v": {}, "version": 0},
            {"$t": "serialized", "class": f"{__name__}:Account", "v": {}, "version": 2},
            {"$t": "attrs", "class": f"{__name__}:Frozen", "v": {"name": 1, "more": 2}},
            {"$t": "attrs", "class": f"{__name__}:Order", "v": {}},
            {"$t": "dataclass", "class": "subprocess:Popen", "v": {"args": ["true"]}},
            {"$t": "dataclass", "class": f"{__name__}:dataclasses.dataclass", "v": {}},
            {"$t": "dataclass", "class": f"{__name__}:sys.exit", "v": {}},
            {"$t": "dataclass", "class": f"{__name__}:Order", "v": {"number": 1}},
            {"$t": "dataclass", "class": f"{__name__}:Colour", "v": {}},
            {"$t": "dataclass", "class": f"{__name__}:Watched", "v": {"number": 1, "seen": 2}},
            {"$t": "enum", "class": f"{__name__}:Order", "v": "x"},
            {"$t": "pydantic", "class": f"{__name__}:Order", "v": {}, "set": []},
            {"$t": "namedtuple", "class": f"{__name__}:Point", "v": [1, 2, 3]},
            {"$t": "namedtuple", "class": "no_such_module:Point", "v": [1]},
            {"$t": "enum", "class": __name__, "v": 1},
            {"$t": "defaultdict", "v": [[], [], "eval"]},
            {"$t": "part", "v": 0},
            {"$t": "pandas.Timestamp", "v": [0, "s", "dateutil//usr/share/zoneinfo/UTC"]},
            {"$t": "pandas.Timestamp", "v": [0, "s", "UTC"]},
            {"$t": "set", "v": [1, 2, 1]},
            {"$t": "frozenset", "v": [1, {"$t": "int", "v": hex(2**61)}, 1]},
            {"$t": "dict", "v": [[1, 2, 1.0], [0, 0, 0]]},
            {"$t": "numpy.generic", "v": ["O", "AAAAAAAAAAA="]},
            {"$t": "numpy.generic", "v": ["<f8", "AA=="]},
            {"$t": "ZoneInfo", "v": "../../etc/passwd"},
            {"$t": "datetime", "v": ["2024-01-01", ["zone", "../../etc/passwd"], 0]},
            {"$t": "os.system", "v": "true"},
            {"$t": "dict", "v": [[1], []]},
            {"$t": "dict", "v": [[[]], [1]]},
            {"$t": "set", "v": [[]]},
            {"$t": "no such tag", "v": 1},
            {"$t": ["x"], "v": 1},
            {"$t": "tuple"},
            {"$t": "bytes", "v": "%%%"},
            {"$t": "range", "v": [0, 1, 0]},
        ],
        ids=str,
    )
    def test_forged_text_is_an_error(self, forged: Any) -> None:
        text = json.dumps([forged]).encode()
        payload = encode([(1,)], LEGIBLE)
        payload.meta["size"] = len(text)
        with pytest.raises(errors.PayloadUnreadable):
            decode(
                payload, text, replace(LEGIBLE, class_allowed=lambda name: name.startswith(f"{__name__}."))
            )

    @pytest.mark.parametrize("form", ["plain", "tagged"])
    def test_deep_text_is_an_error(self, form: str) -> None:
        text = b"[" * 10**6
        payload = encode([(1,)], LEGIBLE)
        payload.meta.update(size=len(text), form=form)
        with pytest.raises(errors.PayloadUnreadable):
            decode(payload, text, LEGIBLE)

    def test_a_decompression_bomb_is_not_unpacked(self) -> None:
        payload = encode("a" * 10**7)
        assert payload.length < 10_000
        with pytest.raises(errors.PayloadUnreadable, match="MAX_DECODED_SIZE"):
            decode(payload, options=replace(OPTIONS, max_size=10**6))
        payload.meta["size"] = 1000  # a lie, so that it passes the first check
        with pytest.raises(errors.PayloadUnreadable):
            decode(payload, options=replace(OPTIONS, max_size=10**6))

    @pytest.mark.parametrize("text", SIZED, ids=str)
    def test_no_value_takes_more_than_was_counted(self, text: str) -> None:
        """Neither its objects nor what they are made of; with as little as 2,000 of them."""
        data = f"[{','.join(text.replace('N', str(number)) for number in range(2000, 4000))}]".encode()
        decode(encode([{1}]), None)  # what is imported at first use
        payload = encode([(1,)], LEGIBLE)
        payload.meta.update(size=len(data), form="tagged" if "$t" in text else "plain")
        tracemalloc.start()
        try:
            found = decode(payload, data, LEGIBLE)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(found) == 2000
        limit = _json.decoded_size(data, 2**40, plain=payload.meta["form"] == "plain")
        assert peak - 3 * len(data) < limit  # of the payload itself there are copies

    def test_the_collector_is_left_as_it_was(self) -> None:
        decode(encode([1]))
        assert gc.isenabled()
        gc.disable()
        try:
            decode(encode([1]))
            with pytest.raises(errors.PayloadUnreadable):
                decode(encode([1], LEGIBLE), b"[", LEGIBLE)
            assert not gc.isenabled()
        finally:
            gc.enable()


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary(max_size=20)
    | st.decimals()
    | st.uuids()
    | st.complex_numbers()
    | st.dates()
    | st.timedeltas()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.times(timezones=st.none() | st.just(dt.UTC))
    | st.characters(categories=["Cs"])
    | st.sampled_from([*Colour, *Rights, Level.LOW])
)
keys = st.text() | st.integers() | st.booleans() | st.none() | st.tuples(st.integers(), st.text())
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.just("$t"), inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
        | st.builds(Point, st.integers(), inner)
        | st.builds(Place, st.text(), st.tuples(inner, inner))
        | st.sets(st.integers() | st.text(), max_size=4)
    ),
    max_leaves=30,
)


@given(value=values)
def test_any_value_comes_back(value: Any) -> None:
    assert identical(decode(encode(value)), value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


@given(value=json_values)
def test_what_is_exact_survives_any_json_library(value: Any) -> None:
    if _json.exact(value):
        assert identical(json.loads(_json.dumps(value)), value)


class TestPlain:
    @pytest.mark.parametrize(
        "value",
        [
            None,
            True,
            0,
            [1.5, 9.9e15],
            "",
            "größe",
            [],
            {},
            {"a": [1, {"b": [None]}]},
            2**63 - 1,
            -(2**63),
            "x" * 10**6,
        ],
        ids=repr,
    )
    def test_stays_in_the_row(self, value: Any) -> None:
        assert plain(value)
        assert plain([value]) and plain({"a": value})

    @pytest.mark.parametrize(
        "value",
        [
            2**63,
            -(2**63) - 1,
            math.nan,
            math.inf,
            -math.inf,
            -0.0,
            1e16,
            -1e16,
            1.5e300,
            "a\0b",
            "\ud800",
            (1,),
            {1},
            b"",
            np.float64(1),
            np.str_("a"),
            Level.LOW,
            {1: 2},
            {None: 1},
            {"a\0": 1},
            {"\ud800": 1},
            {np.str_("a"): 1},
            [{"a": 1}, {np.str_("a"): 1}],
            {"__classname__": 1},
            {"__type": 1},
            {"__var": 1},
            {"__data__": 1},
            {"__version__": 1},
            object(),
            collections.OrderedDict(),
            dt.date(2024, 1, 1),
            deep(100),
            deep(10**5),
            cyclic(),
            doubled(60, list),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_is_encoded(self, value: Any) -> None:
        assert not plain(value)
        assert not plain([1, value]) and not plain({"a": {"b": [value]}})

    def test_our_own_key_is_reserved_at_the_top_only(self) -> None:
        assert not plain({"$xcom": 1})
        assert plain({"a": {"$xcom": 1}}) and plain(["$xcom"])

    def test_what_does_not_fit_is_not_read_to_its_end(self) -> None:
        value: Any = [[0] * 1000] * 10
        assert plain(value, 21_000) and not plain(value, 10_000)
        assert plain("x" * 998, 1000) and not plain("x" * 1000, 900)
        assert plain([], 2) and plain("", 2) and plain(None, 4)

    @given(value=json_values, limit=st.integers(0, 200))
    def test_nothing_that_fits_is_turned_away(self, value: Any, limit: int) -> None:
        fits = len(json.dumps(value, separators=(",", ":"), ensure_ascii=False)) <= limit
        assert plain(value, limit) or not plain(value) or not fits


def test_a_process_that_froze_its_objects_counts_them_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """To count them takes 0.2 s in a worker of Airflow: not for each value."""
    asked: list[int] = []
    monkeypatch.setattr(gc, "get_freeze_count", lambda: asked.append(1) or 1)
    _json._has_frozen.cache_clear()
    try:
        for _ in range(3):
            with _json.paused_gc():
                pass
        assert len(asked) == 1
    finally:
        _json._has_frozen.cache_clear()
