"""The line that Airflow shows for an argument, and for which arguments it shows one."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import subprocess
import sys
from collections import OrderedDict, deque, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic
import pytest
from airflow.sdk.execution_time.comms import SetRenderedFields, _RequestFrame
from airflow.sdk.execution_time.task_runner import _serialize_template_field

from exclusive_xcom.shown import in_one_line, shown

LIMIT = 1000


class Model(pydantic.BaseModel):
    """A model."""

    rows: list[float]


@dataclasses.dataclass
class Data:
    """A dataclass."""

    rows: list[float]


class Unsaid:
    """An object that can't say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("as intended")


class Colour(enum.Enum):
    """An enumeration."""

    RED = "red"


Point = namedtuple("Point", "x y")
DEEP: list[Any] = []
for _ in range(300):
    DEEP = [DEEP]
ITSELF: list[Any] = []
ITSELF.append(ITSELF)

AS_IT_IS = [
    None,
    True,
    0,
    2**64 - 1,
    -(2**63),
    1.5,
    "text",
    "ü",
    "x" * LIMIT,
    b"bytes",
    [1, {"a": (2, {3})}],
    {1: "a", None: "b"},
    np.float64(1.5),
    np.float32(math.inf),
    np.arange(9),
    pd.DataFrame({"a": [1.0, math.nan]}),
    pa.table({"a": [1, 2]}),
    datetime.datetime(2024, 1, 1),
    decimal.Decimal("1.5"),
    Path("folder/file"),
    Colour.RED,
    Point(1, 2),
    Model(rows=[1.0]),
    Data([1.0]),
    Data,
    print,
]
IN_A_LINE = [
    (math.nan, "<nan>"),
    (-math.inf, "<-inf>"),
    (2**64, "<number, 65 bits>"),
    (-(2**70), "<number, 71 bits>"),
    ("a\ud800", "<text, 2 characters>"),
    ("x" * 1001, "<text, 1,001 characters>"),
    ("ü" * 600, "<text, 600 characters>"),
    (b"x" * 501, "<bytes, 501 bytes>"),
    ([{"a": math.nan}], "<list, 1 item>"),
    ({"\udfff": 1}, "<dict, 1 item>"),
    ({"a": {"b": [2**70]}}, "<dict, 1 item>"),
    (list(range(501)), "<list, 501 items>"),
    (OrderedDict.fromkeys(range(501)), "<OrderedDict, 501 items>"),
    (set(range(501)), "<set, 501 items>"),
    (deque("x" * 501), "<deque, 501 items>"),
    (DEEP, "<list, 1 item>"),
    (ITSELF, "<list, 1 item>"),
    (Path("folder/\udcff"), "<PosixPath>"),
    (Model(rows=[1.0] * 501), "<Model>"),
    (Data([math.nan]), "<Data>"),
    (np.zeros((20, 30)), "<numpy array, 20 × 30 float64>"),
    (pd.DataFrame({"a": range(500)}), "<pandas DataFrame, 500 rows × 1 column>"),
    (pd.Series(range(500)), "<pandas Series, 500 values>"),
    (pl.DataFrame({"a": [1]}), "<polars DataFrame, 1 row × 1 column>"),
    (pl.LazyFrame({"a": [1]}), "<polars LazyFrame>"),
    (pa.table({"a": range(500)}), "<pyarrow Table, 500 rows × 1 column>"),
    (pa.array(range(500)), "<pyarrow Int64Array, 500 values>"),
]


@pytest.mark.parametrize("value", AS_IT_IS, ids=repr)
def test_what_is_small_is_shown_as_it_is(value: Any) -> None:
    """And Airflow's own way with it works."""
    assert shown({"value": value}, {"value"}, LIMIT)["value"] is value
    assert shown([value], {0}, LIMIT)[0] is value
    sent(value)


@pytest.mark.parametrize(("value", "line"), IN_A_LINE, ids=[line for _, line in IN_A_LINE])
def test_what_is_large_or_odd_is_shown_in_a_line(value: Any, line: str) -> None:
    assert shown({"value": value}, {"value"}, LIMIT) == {"value": line}
    assert shown((value,), {0}, LIMIT) == [line]
    sent(shown([value], {0}, LIMIT))


def sent(value: Any) -> None:
    """Send it to Airflow's supervisor, in bytes, and from there on as JSON."""
    field = _serialize_template_field([value], "op_args")
    message = SetRenderedFields(rendered_fields={"op_args": field})
    _RequestFrame(id=1, body=message.model_dump()).as_bytes()
    message.model_dump_json().encode()


def test_what_no_line_was_made_for_would_have_failed() -> None:
    """So that the table above does not say more than is needed."""
    for value in (2**64, "a\ud800", DEEP):
        with pytest.raises(Exception):  # noqa: B017, PT011 - each fails in its own way
            sent(value)


def test_text_that_is_no_xcom_is_shown_as_it_is() -> None:
    """A query, say: Airflow shows its beginning. But not one that Airflow can't send."""
    query = "select ü" * LIMIT
    assert shown({"sql": query, "rows": query}, {"rows"}, LIMIT) == {
        "sql": query,
        "rows": "<text, 8,000 characters>",
    }
    assert shown(query, set(), LIMIT) == query
    assert shown(query, True, LIMIT) == "<text, 8,000 characters>"
    assert shown([query + "\ud800"], set(), LIMIT) == ["<text, 8,001 characters>"]


def test_a_field_that_is_large_itself_is_one_line() -> None:
    assert shown([1] * 65, True, 10) == "<list, 65 items>"
    assert shown({str(key): 1 for key in range(65)}, True, 10) == "<dict, 65 items>"
    assert shown({"\ud800": 1}, set(), LIMIT) == "<dict, 1 item>"


def test_lists_of_any_size_are_not_walked() -> None:
    class Watched(list[Any]):
        def __iter__(self) -> Any:
            raise AssertionError("walked")

    assert shown([Watched([1] * 501)], {0}, LIMIT) == ["<Watched, 501 items>"]


def test_what_can_t_be_said_is_the_caller_s() -> None:
    with pytest.raises(RuntimeError):
        shown([Unsaid()], {0}, LIMIT)


@pytest.mark.parametrize(
    "value", [math.nan, ["a\ud800"], 2**70, np.zeros(9**5), pl.DataFrame({"a": [1]}), [1]]
)
def test_the_log_says_in_full_what_is_small(value: Any) -> None:
    """It is a text there; tables and arrays have a short one."""
    assert in_one_line(value, LIMIT) is None


def test_the_log_says_in_a_line_what_is_large() -> None:
    assert in_one_line([{"a": 1}] * 501, LIMIT) == "<list, 501 items>"
    assert in_one_line("x" * 1001, LIMIT) == "<text, 1,001 characters>"


def test_the_log_says_in_a_line_what_its_file_can_not_hold() -> None:
    assert in_one_line("a\ud800", LIMIT) == "<text, 2 characters>"
    label = pd.DataFrame([[1]], columns=pd.Index(["\ud800"], dtype=object))
    assert in_one_line(label, LIMIT) == "<pandas DataFrame, 1 row × 1 column>"
    assert in_one_line([label], LIMIT) == "<list, 1 item>"


def test_the_line_is_the_same_in_each_process() -> None:
    code = "from exclusive_xcom.shown import shown; print(shown([{*map(str, range(999))}, 2**99], {0}, 99))"
    said = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in "12"}
    assert said == {"['<set, 999 items>', '<number, 100 bits>']\n"}
