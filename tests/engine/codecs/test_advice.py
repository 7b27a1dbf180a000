"""What a refusal advises can be followed: then the value is carried."""

from __future__ import annotations

import datetime
import io
import ipaddress
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.lib.recfunctions
import pandas as pd
import pytest
import requests
import sqlalchemy as sa

from exclusive_xcom import errors, lazy
from exclusive_xcom.testing.codec_contract import decode, encode


class Wordy(NamedTuple):
    """A named tuple of a subclass, which would lose its type."""

    x: int


class Wordier(Wordy):
    pass


class Stop(BaseException):
    """An order to stop."""


class PanicException(BaseException):
    """What Rust code raises."""


class Failing(NamedTuple):
    """Its reading fails."""

    error: Any

    def __iter__(self) -> Any:
        raise self[0]


def response() -> requests.Response:
    made = requests.Response()
    made._content = b"[1]"
    made.headers["A"] = "1"
    return made


def rows() -> Any:
    with sa.create_engine("sqlite://").connect() as connection:
        return connection.execute(sa.text("select 1 a, 2 b")).fetchall()


def sqlite_row() -> Any:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    return connection.execute("select 1 a").fetchone()


FIELDS = np.ones(3, [("a", "i4"), ("b", "f8"), ("c", "i2")])
REFUSED: dict[str, Callable[[], Any]] = {
    "response": response,
    "bytes in memory": lambda: io.BytesIO(b"x"),
    "text in memory": lambda: io.StringIO("x"),
    "network": lambda: ipaddress.ip_network("10.0.0.0/8"),
    "address": lambda: ipaddress.ip_address("10.0.0.1"),
    "keys": lambda: {"a": 1}.keys(),
    "values": lambda: {"a": 1}.values(),
    "generator": lambda: (n for n in (1, 2)),
    "map": lambda: map(str, [1]),
    "items of one hash": lambda: {n * (2**61 - 1) for n in range(100)},
    "keys of one hash": lambda: dict.fromkeys(n * (2**61 - 1) for n in range(100)),
    "fields out of order": lambda: FIELDS[["c", "a"]],
    "aligned fields": lambda: np.zeros(2, np.dtype("i1,f8", align=True)),
    "metadata": lambda: np.zeros(2, np.dtype("i4", metadata={"a": 1})),
    "metadata of a field": lambda: np.zeros(2, [("a", np.dtype("i4", metadata={"a": 1}))]),
    "record": lambda: FIELDS[0],
    "records": lambda: np.rec.array([(1, 2)]),
    "matrix": lambda: np.matrix([1]),
    "array of objects": lambda: np.array(["a", None], object),
    "cells of a column": lambda: pd.Series(["x", "y"]).unique(),
}
EXPRESSION = re.compile(
    r"(?:Return|Put there:) ((?:[\w.]+\(value.*?\)+|value[\w.()\[\]']*\(.*?\)+))(?=[.,:; ]|$)"
)
NAMES = {
    "datetime": datetime,
    "numpy": np,
    "pandas": pd,
    "repack_fields": numpy.lib.recfunctions.repack_fields,
}


def followed(advice: str, value: Any) -> Any:
    """What somebody gets who does what the first words of the advice say."""
    found = EXPRESSION.search(advice)
    assert found, advice
    return eval(found[1], {"value": value, **NAMES})


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_advice_can_be_followed(make: Callable[[], Any]) -> None:
    with pytest.raises(errors.UnsupportedValue) as caught:
        encode(make())
    decode(encode(followed(caught.value.advice, make())))


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_advice_about_a_part_says_where(make: Callable[[], Any]) -> None:
    """Only what is in that place is to be replaced."""
    value = [1, {"a": make()}]
    with pytest.raises(errors.UnsupportedValue) as caught:
        encode(value)
    if "in part" in str(caught.value):  # of another codec: its advice is of the part
        value = value[1]["a"]
    decode(encode([1, {"a": followed(caught.value.advice, value)}]))


def test_an_open_file_is_to_be_read_or_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("content")
    with (
        path.open() as file,
        pytest.raises(errors.UnsupportedValue, match=r"value.read\(\).*Path\(value.name"),
    ):
        encode(file)
    assert decode(encode(Path(file.name))).read_text() == "content"


def test_lazy_inside_of_a_list_is_to_stand_outside() -> None:
    with pytest.raises(errors.UnsupportedValue, match=r"Put lazy\(\.\.\.\) around the whole") as caught:
        encode([lazy(1)])
    assert "models" not in str(caught.value)


@pytest.mark.parametrize("error", [ValueError("a b"), PanicException("panicked"), ZeroDivisionError()])
def test_whatever_a_library_raises_is_told_with_the_part(error: BaseException) -> None:
    name = type(error).__name__
    with pytest.raises(errors.UnsupportedValue, match=rf"can't be encoded \({name}.*at value\[1\]\['a'\]"):
        encode([1, {"a": Failing(error)}])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), Stop()])
def test_an_order_to_stop_is_none(error: BaseException) -> None:
    with pytest.raises(type(error)):
        encode([1, {"a": Failing(error)}])


def test_too_little_memory_is_told_as_such() -> None:
    with pytest.raises(errors.UnsupportedValue, match="not enough memory"):
        encode([Failing(MemoryError())])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "can't be decoded as x (there is too little memory). Give the worker more"),
        (ImportError("no y"), "can't be decoded as x (ImportError: no y). Install it"),
        (OSError(5, "Input/output error"), "(Input/output error). The payload is well: look at this machine"),
        (OSError("bad zstd"), "Perhaps another version"),
        (PanicException("panicked"), "can't be decoded as x (PanicException: panicked). Perhaps"),
    ],
    ids=str,
)
def test_what_went_wrong_while_decoding_has_words_of_its_own(error: BaseException, words: str) -> None:
    from exclusive_xcom.codecs.common import readable

    with pytest.raises(errors.PayloadUnreadable) as caught, readable("x"):
        raise error
    assert words in str(caught.value)
    for order in (KeyboardInterrupt(), Stop()):
        with pytest.raises(type(order)), readable("x"):
            raise order


def test_a_handle_says_how_its_value_is_had() -> None:
    from exclusive_xcom.address import Address, Attempt
    from exclusive_xcom.handle import Handle
    from exclusive_xcom.reference import Reference

    address = Address("dag", "run", "task", -1, "key")
    handle: Any = Handle(Reference(address, Attempt(1, ""), "binary/1", "bytes", "", 0, "0" * 64), None)  # type: ignore[arg-type]
    for use in (lambda: handle["x"], lambda: list(handle), lambda: handle.columns):
        with pytest.raises((TypeError, AttributeError), match=r"load\(\)"):
            use()
    assert not hasattr(handle, "template_fields")
    with pytest.raises(errors.UnsupportedValue, match=r"load\(\)"):
        encode([handle])
