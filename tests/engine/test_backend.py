"""The way of a value, there and back, through the database backend: it needs no server and shows it all."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
from airflow.sdk.bases.xcom import BaseXCom
from airflow_versions import row_of
from hypothesis import given
from hypothesis import strategies as st

from exclusive_xcom import Handle, errors, lazy, scratch
from exclusive_xcom.address import Address
from exclusive_xcom.backend import XComBackend
from exclusive_xcom.binding import Question, deleting
from exclusive_xcom.codecs._json import plain
from exclusive_xcom.db import DbXComBackend
from exclusive_xcom.reference import is_reference, parse
from exclusive_xcom.s3 import S3XComBackend
from exclusive_xcom.transfer import Transfer

COORDINATES = {"dag_id": "orders", "run_id": "run 1", "task_id": "extract", "map_index": -1}
ADDRESS = Address("orders", "run 1", "extract", -1, "value")
LIMIT = 2**20

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def push(value: Any, key: str = "value") -> Any:
    """The row of a pushed value, as it comes back from a database."""
    row = row_of(DbXComBackend, key, value, **COORDINATES)
    return json.loads(json.dumps(row, allow_nan=False))


def pull(row: Any) -> Any:
    """What a consumer gets of a row. Airflow hands over an object with a value and perhaps no more."""
    return DbXComBackend.deserialize_value(SimpleNamespace(value=row))


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types all the way down; a frame or an array in every detail."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(map(repr, one)) == list(map(repr, other)) and all(
            same(one[key], other[key]) for key in one
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
        return True
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return repr(one) == repr(other)


# -- plain values stay as Airflow keeps them --------------------------------------------------------

PLAIN = [
    True,
    0,
    -(2**63),
    "",
    [0.1, 1.0],
    "größe 数 😀 \u2028",
    [],
    {},
    ["a", 1, 2.5, None, False],
    {"b": {"a": [1, {"": None}]}, "a": []},
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values_are_kept_byte_for_byte_as_by_airflow(value: Any) -> None:
    row = DbXComBackend.serialize_value(value, key="value", **COORDINATES)
    assert json.dumps(row) == json.dumps(BaseXCom.serialize_value(value)) == json.dumps(value)
    assert same(pull(row), value)


@given(json_values)
def test_json_comes_back_exactly(value: Any) -> None:
    row = push(value)
    assert same(pull(row), value)
    if plain(value):
        assert json.dumps(row) == json.dumps(BaseXCom.serialize_value(value))
    else:
        assert is_reference(row)


@pytest.mark.parametrize(
    "value",
    [
        {"$xcom": "3"},
        {"$xcom": "3", "uri": "s3://bucket/other"},
        {"$xcom": None},
        {"__classname__": "datetime.datetime", "__version__": 2, "__data__": 1},
        {"__type": "dict", "__var": {}},
        {"$t": "tuple", "v": []},
        [{"$xcom": "3"}],
        {"inner": {"$xcom": "3", "data": "x"}},
    ],
    ids=repr,
)
def test_what_looks_like_a_reference_is_only_a_value(value: Any) -> None:
    row = push(value)
    assert same(pull(row), value)
    if isinstance(value, dict) and "$xcom" in value:
        assert parse(row).codec == "structured/1"


def test_a_reference_pushed_as_a_value_is_not_followed() -> None:
    """A task that pulls a row by other means and passes it on does not hand over what it refers to."""
    row = push(b"content")
    assert pull(push(row)) == row


# -- other values are enveloped ---------------------------------------------------------------------

OTHERS = {
    "tuple": (1, (2,)),
    "set": {1, 2},
    "bytes": b"\x00\xff" * 50,
    "NaN": [float("nan"), float("inf"), -0.0],
    "large number": 10**30,
    "float": 1.0,
    "keys": {1: "a", "1": "b", None: "c", (1, 2): "d"},
    "time": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    "decimal": Decimal("12345678901234567890.123"),
    "frame": pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=pd.Index([5, 7], name="id")),
    "array": np.arange(6, dtype="int16").reshape(2, 3),
    "nested": {"frame": pd.DataFrame({"a": [0.5]}), "list": [np.zeros(2), (b"x",)]},
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_values_come_back(name: str) -> None:
    row = push(OTHERS[name])
    reference = parse(row)
    assert reference.address == ADDRESS
    assert reference.uri is None
    assert reference.where == "row"
    payload = reference.inline_bytes()
    assert (reference.length, reference.sha256) == (len(payload), hashlib.sha256(payload).hexdigest())
    assert same(pull(row), OTHERS[name])


def test_text_stays_legible_in_the_row() -> None:
    row = push((1, "größe"))
    assert row["media_type"] == "application/json"
    assert "größe" in row["data"]


def test_a_file_travels(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    path.write_bytes(b"line\n" * 100)
    pulled = pull(push(path))
    assert isinstance(pulled, Path)
    assert pulled != path
    assert pulled.name == "report.txt"
    assert pulled.read_bytes() == path.read_bytes()
    scratch.clear()
    assert not pulled.exists()


def test_a_file_whose_name_is_no_unicode_travels(tmp_path: Path) -> None:
    path = tmp_path / b"r\xe9sum\xe9.txt".decode(errors="surrogateescape")
    path.write_bytes(b"content")
    row = push(path)
    json.dumps(row, ensure_ascii=False).encode()
    assert pull(row).read_bytes() == b"content"


def test_what_no_codec_carries_is_an_error_that_names_the_xcom() -> None:
    with pytest.raises(errors.UnsupportedValue, match=r"XCom 'value' of orders\.extract, run run 1"):
        push(object())


def test_the_key_that_the_scheduler_reads_stays_as_it_is() -> None:
    value = {"skipped": ["a", "b"]}
    assert push(value, "skipmixin_key") == value
    assert push((1, 2), "skipmixin_key") == json.loads(json.dumps(BaseXCom.serialize_value((1, 2))))


def test_a_mapped_task_is_told_apart() -> None:
    row = DbXComBackend.serialize_value(b"x", key="k", **{**COORDINATES, "map_index": 3})
    assert parse(row).address == Address("orders", "run 1", "extract", 3, "k")


def test_airflow_may_leave_out_the_coordinates() -> None:
    assert pull(DbXComBackend.serialize_value(b"x")) == b"x"
    assert parse(DbXComBackend.serialize_value(b"x")).address == Address("", "", "", -1, "return_value")


# -- rows have a limit ------------------------------------------------------------------------------

ADVICE = (
    "Keep it in an object store: `make switch BACKEND=s3` (or redis, up to 256 MiB). Or push less, "
    "or raise AIRFLOW__XCOM__MAX_ROW_SIZE in config/airflow.env if your database can take it."
)


def test_a_plain_value_that_is_too_large() -> None:
    with pytest.raises(errors.ValueTooLarge) as caught:
        push(["x" * 99] * 12_000)
    assert str(caught.value) == (
        "A list of 1.2 MB does not fit into a row of Airflow's metadata database, whose limit is 1.0 MB "
        f"(AIRFLOW__XCOM__MAX_ROW_SIZE) (XCom 'value' of orders.extract, run run 1). {ADVICE}"
    )


def test_another_value_that_is_too_large() -> None:
    with pytest.raises(errors.ValueTooLarge) as caught:
        push(np.zeros(500_000))
    assert str(caught.value) == (
        "A numpy array of 4.0 MB does not fit into a row of Airflow's metadata database, whose limit is "
        f"1.0 MB (AIRFLOW__XCOM__MAX_ROW_SIZE) (XCom 'value' of orders.extract, run run 1). {ADVICE}"
    )


def test_a_value_that_is_too_large_in_base64() -> None:
    with pytest.raises(
        errors.ValueTooLarge, match=r"A bytes that takes 1\.3 MB in Airflow's metadata database"
    ):
        push(b"x" * 1_000_000)


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(20 * 10**9)
    with pytest.raises(errors.ValueTooLarge, match=r"A file of 20\.0 GB"):
        push(path)


def test_the_limit_counts_the_bytes_of_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__XCOM__MAX_ROW_SIZE", "2000")
    assert push("x" * 1998) == "x" * 1998  # and two quotes
    with pytest.raises(errors.ValueTooLarge):
        push("x" * 1999)
    row = push((1, "x" * 1400))
    assert len(json.dumps(row, separators=(",", ":"))) <= 2000
    with pytest.raises(errors.ValueTooLarge):
        push((1, "x" * 1998))


def test_the_limit_of_a_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__XCOM__MAX_SIZE", "1000")
    assert pull(push(b"x" * 1000)) == b"x" * 1000
    with pytest.raises(errors.ValueTooLarge, match=r"A bytes of 1\.0 kB is over the limit of 1\.0 kB"):
        push(b"x" * 1001)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("MAX_ROW_SIZE", "1 MB", "a whole number of at least 1024"),
        ("MAX_ROW_SIZE", "100", "a whole number of at least 1024"),
        ("MAX_SIZE", "0", "a whole number of at least 1"),
        ("INLINE_LIMIT", "-1", "a whole number of at least 0"),
        ("FRAME_FORMAT", "csv", "arrow or parquet or packed"),
    ],
)
def test_a_wrong_option_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, rule: str) -> None:
    monkeypatch.setenv(f"AIRFLOW__XCOM__{name}", value)
    with pytest.raises(errors.BadOption) as caught:
        push(OTHERS["frame"])
    assert str(caught.value) == (
        f"Option AIRFLOW__XCOM__{name} is {value!r}, but must be {rule} "
        "(XCom 'value' of orders.extract, run run 1). Correct it in config/airflow.env or in the environment."
    )


# -- lazy values ------------------------------------------------------------------------------------


@pytest.fixture
def frame() -> pd.DataFrame:
    """A frame of 1,000 rows."""
    return pd.DataFrame({"number": range(1000), "text": [f"row {n}" for n in range(1000)]})


@pytest.fixture
def handle(frame: pd.DataFrame) -> Handle:
    """A pulled handle to the frame."""
    found = pull(push(lazy(frame)))
    assert isinstance(found, Handle)
    return found


def test_a_handle_says_what_it_stands_for(handle: Handle) -> None:
    assert handle.kind == "pandas DataFrame"
    assert handle.summary == "1,000 rows × 2 columns"
    assert handle.uri is None
    assert handle.length > 1000
    assert str(handle) == repr(handle)
    assert str(handle) == (
        f"<XCom pandas DataFrame, 1,000 rows × 2 columns, {handle.length / 1000:.1f} kB: "
        "'value' of orders.extract, run run 1>"
    )


def test_a_handle_loads(handle: Handle, frame: pd.DataFrame) -> None:
    assert same(handle.load(), frame)
    assert same(handle.load(columns=["text"]), frame[["text"]])


def test_a_handle_gives_the_payload(handle: Handle, frame: pd.DataFrame) -> None:
    payload = handle.path().read_bytes()
    assert len(payload) == handle.length
    assert stat_mode(handle.path().parent) == 0o700
    with handle.open() as stream:
        assert stream.read() == payload
    with handle.open() as stream:
        assert not Path(str(stream.name)).parent.exists()  # only the stream has it
        assert b"".join(iter(lambda: stream.read(100), b"")) == payload
        stream.seek(-3, io.SEEK_END)
        assert stream.read() == payload[-3:]
    assert same(pd.read_feather(handle.path()), frame)


def stat_mode(path: Path) -> int:
    """The permissions of a file or folder."""
    return path.stat().st_mode & 0o777


def test_columns_are_for_tables() -> None:
    handle = pull(push(lazy(b"content")))
    with pytest.raises(errors.UnsupportedValue) as caught:
        handle.load(columns=["a"])
    assert str(caught.value) == (
        "A bytes has no columns to choose from (XCom 'value' of orders.extract, run run 1). "
        "Call load() without columns."
    )


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_a_plain_value_can_be_lazy(value: Any) -> None:
    handle = pull(push(lazy(value)))
    assert isinstance(handle, Handle)
    assert same(handle.load(), value)


def test_a_handle_is_not_handed_on(handle: Handle) -> None:
    with pytest.raises(errors.UnsupportedValue, match="A Handle was pushed"):
        push(handle)


def test_what_airflow_logs_of_a_lazy_value_is_short() -> None:
    assert repr(lazy(list(range(100_000)))) == "<lazy list>"


def test_a_dict_of_lazy_values_for_multiple_outputs(frame: pd.DataFrame) -> None:
    """Airflow pushes each value by its key, where it is lazy, and then the dict as the returned value."""
    assert same(pull(push({"frame": lazy(frame), "rows": 1000})), {"frame": frame, "rows": 1000})


# -- nothing but the whole value --------------------------------------------------------------------


def altered(row: dict[str, Any]) -> dict[str, Any]:
    """The row with one bit of its payload turned."""
    payload = bytearray(parse(row).inline_bytes())
    payload[len(payload) // 2] ^= 1
    return {**row, "data": base64.b64encode(payload).decode()}


def truncated(row: dict[str, Any]) -> dict[str, Any]:
    """The row with the last byte of its payload gone."""
    return {**row, "data": base64.b64encode(parse(row).inline_bytes()[:-1]).decode()}


DAMAGED = [(altered, errors.PayloadAltered), (truncated, errors.PayloadTruncated)]


@pytest.mark.parametrize(("damage", "error"), DAMAGED)
@pytest.mark.parametrize(
    "value", [b"content" * 100, OTHERS["frame"], OTHERS["array"]], ids=lambda v: type(v).__name__
)
def test_damage_is_noticed(value: Any, damage: Any, error: type[Exception]) -> None:
    row = damage(push(value))
    with pytest.raises(
        error, match=r"at row .*XCom 'value' of orders\.extract.*Run the task that pushed it again"
    ):
        pull(row)


@pytest.mark.parametrize(("damage", "error"), DAMAGED)
def test_damage_is_noticed_by_a_handle(frame: pd.DataFrame, damage: Any, error: type[Exception]) -> None:
    handle = pull(damage(push(lazy(frame))))
    for read in (handle.load, handle.path, lambda: handle.load(columns=["text"]), handle.open):
        with pytest.raises(error):
            read()


def test_a_damaged_file_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch.clear()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    handle = pull(altered(push(lazy(b"content"))))
    with pytest.raises(errors.PayloadAltered):
        handle.path()
    scratch_files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".in-use"]
    assert not scratch_files
    scratch.clear()


GARBAGE = [None, True, 0, -1, 1e308, "", "x", "../..", "[" * 100_000, [], ["x"], {}, {"x": "y"}]
FIELDS = sorted({*push((1, 2)), *push(lazy(Path(__file__))), "uri"})
HARMLESS = {"attempt", "kind", "summary", "filename", "lazy", "media_type", "preview"}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", GARBAGE, ids=lambda value: repr(value)[:20])
def test_a_forged_row_is_an_error_and_never_another_value(field: str, value: Any) -> None:
    """Any of our errors will do, but no other, and nothing but what was pushed may be handed over."""
    row = push(OTHERS["nested"])
    row[field] = value
    try:
        found = pull(row)
    except errors.XComError:
        return
    assert field in HARMLESS or (field, value) == ("uri", None)
    assert same(found.load() if isinstance(found, Handle) else found, OTHERS["nested"])


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("http://example.org/payload", errors.BadReference),
        ("/etc/passwd", errors.BadReference),
        ("", errors.BadReference),
        ("row:", errors.BadReference),
        ("pickle:x", errors.BadReference),
        ("__import__:os", errors.BadReference),
    ],
)
def test_a_uri_of_nobodys_is_refused(uri: str, error: type[Exception]) -> None:
    row = push(b"content")
    del row["data"]
    with pytest.raises(error):
        pull({**row, "uri": uri})


def test_an_unknown_codec_is_named() -> None:
    row = push(b"content") | {"codec": "pickle/1"}
    with pytest.raises(errors.UnknownCodec, match="codec 'pickle', which this project does not have"):
        pull(row)


# -- purge ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        None,
        "text",
        {"$xcom": "3"},
        {"$xcom": "3", "uri": "s3://bucket/x"},
        {"$xcom": []},
        push(b"content"),
        {**push(b"content"), "data": "no base64"},
        {**push(b"content"), "codec": "unknown"},
        *[
            {**{key: value for key, value in push(b"content").items() if key != "data"}, "uri": uri}
            for uri in (
                "http://example.org/x",
                "/etc/passwd",
                "s3://no-such-bucket-here/x",
                "redis://nowhere/x",
            )
        ],
    ],
    ids=lambda row: str(row)[:40],
)
def test_purge_never_raises(row: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__XCOM__URL", "file:///nonexistent")
    DbXComBackend.purge(SimpleNamespace(value=row))
    with deleting(Question(ADDRESS)):
        DbXComBackend.purge(SimpleNamespace(value=row))
        DbXComBackend.purge(SimpleNamespace(value=row), None)


def test_purge_takes_anything() -> None:
    DbXComBackend.purge(None)
    DbXComBackend.purge(SimpleNamespace())


# -- what is logged ---------------------------------------------------------------------------------


class Transfers(logging.Handler):
    """Collects what is logged of pushes and pulls."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Transfer] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record down."""
        if transfer := getattr(record, "xcom", None):
            self.found.append(transfer)


@pytest.fixture
def transfers() -> Iterator[list[Transfer]]:
    """The transfers of this test, in order."""
    handler = Transfers()
    logger = logging.getLogger("exclusive_xcom")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler.found
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_a_push_and_a_pull_are_logged(transfers: list[Transfer], frame: pd.DataFrame) -> None:
    row = push(frame)
    pull(row)
    for transfer, direction in zip(transfers, ["push", "pull"], strict=True):
        assert transfer.direction == direction
        assert transfer.address == ADDRESS
        assert (transfer.kind, transfer.summary) == ("pandas DataFrame", "1,000 rows × 2 columns")
        assert transfer.length == parse(row).length
        assert transfer.where == "row"
        assert transfer.seconds > 0


def test_a_plain_value_is_logged_too(transfers: list[Transfer]) -> None:
    push("text")
    (transfer,) = transfers
    assert (transfer.kind, transfer.length, transfer.where) == ("text", 6, "row")


def test_a_handle_logs_when_it_loads(transfers: list[Transfer], handle: Handle) -> None:
    assert [transfer.direction for transfer in transfers] == ["push"]
    handle.load()
    handle.path()
    with handle.open() as stream:
        assert stream.read(1)
    pushed, *pulled = transfers
    assert [transfer.direction for transfer in pulled] == ["pull"] * 3
    assert {(transfer.address, transfer.length) for transfer in pulled} == {(ADDRESS, pushed.length)}


# -- a mapped task ----------------------------------------------------------------------------------


@pytest.fixture
def mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The rows of a mapped task that pushed: two numbers, a frame, a tuple, a file, a handle."""
    monkeypatch.setenv("AIRFLOW__XCOM__URL", (tmp_path / "store").as_uri())
    (tmp_path / "report.txt").write_text("content")
    values = [0, 1.5, OTHERS["frame"], (1, 2), tmp_path / "report.txt", lazy([6])]
    return [
        S3XComBackend.serialize_value(value, key="value", **{**COORDINATES, "map_index": index})
        for index, value in enumerate(values)
    ]


def all_of(rows: list[Any]) -> list[Any]:
    """What a consumer of all map indexes gets."""
    return S3XComBackend._answer(Question(replace(ADDRESS, map_index=-1), any_index=True), rows)


def test_its_values_come_in_their_order(mapped: list[Any], transfers: list[Transfer]) -> None:
    number, half, frame, pair, file, handle = all_of(mapped)
    assert (number, half, pair, file.read_text(), handle.load()) == (0, 1.5, (1, 2), "content", [6])
    assert same(frame, OTHERS["frame"])
    together = transfers[1]  # after that of the plain one
    assert (together.direction, together.summary, together.address.map_index) == ("pull", "4 values", -1)


def test_one_that_is_altered_is_named(mapped: list[Any]) -> None:
    path = Path(urlsplit(mapped[3]["uri"]).path)
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(errors.PayloadAltered) as caught:
        all_of(mapped)
    assert caught.value.address.map_index == 3


def test_one_that_is_gone_is_named(mapped: list[Any]) -> None:
    Path(urlsplit(mapped[3]["uri"]).path).unlink()
    with pytest.raises(errors.PayloadMissing, match="XCom 'value' of orders") as caught:
        all_of(mapped)
    assert caught.value.address.map_index == 3


def test_one_that_is_nobodys_is_named(mapped: list[Any]) -> None:
    mapped[3]["uri"] = "http://example.org/payload"
    with pytest.raises(errors.BadReference) as caught:
        all_of(mapped)
    assert caught.value.address.map_index == 3


# -- what Airflow expects of a backend --------------------------------------------------------------


def test_nothing_of_airflows_is_replaced_by_accident() -> None:
    """A method of ours that bears the name of one of BaseXCom's replaces it, private or not."""
    pushing, pulling = {"serialize_value", "set", "aset"}, {"deserialize_value", "get_one", "get_all"}
    pulling |= {"aget_one", "aget_all"}
    hooks = pushing | pulling | {"purge", "delete"}
    hooks |= {"store_value", "load_value", "_push", "_apush"}  # Airflow 3.4's; see airflow_compat.PRIVATE
    for backend in (XComBackend, DbXComBackend):
        ours = {name for name in vars(backend) if not name.startswith("__")}
        assert ours & set(dir(BaseXCom)) <= hooks


def test_importing_it_loads_no_heavy_library() -> None:
    """Every component of Airflow imports the backend when it starts."""
    code = (
        "import sys, airflow.sdk\n"
        "before = set(sys.modules)\n"
        "import exclusive_xcom.db\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "pandas", "polars", "pyarrow", "PIL", "obstore", "boto3", "redis"}
    assert not heavy & set(done.stdout.split())


def test_the_log_says_once_what_comes_back_as_a_plain_value(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        row = push([HTTPStatus.OK, {"a": HTTPStatus.NOT_FOUND}])
        push([200])
    assert same(pull(row), [200, {"a": 404}])
    (record,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert record.getMessage() == f"XCom {ADDRESS} comes back with plain values: class http.HTTPStatus as int"
