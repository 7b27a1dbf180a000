"""A value in short: small, at once, harmless, and without values for who did not ask for them."""

from __future__ import annotations

import json
import tracemalloc
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from exclusive_xcom.preview import MOST, preview, size_in_words
from exclusive_xcom.preview.lines import lines

PLAIN = {"name": ["a", "größe"], "n": [1, 2]}
FRAMES = {
    "pandas": pd.DataFrame(PLAIN),
    "polars": pl.DataFrame(PLAIN),
    "arrow": pa.table(PLAIN),
    "arrow batch": pa.RecordBatch.from_pydict(PLAIN),
}
SECRET = "sesame"


class Trap:
    """Notices when one of its methods is called."""

    def __repr__(self) -> str:
        raise AssertionError("a method was called")

    __str__ = __bool__ = __repr__  # type: ignore[assignment]


def shown(value: Any, width: int = 80) -> list[str]:
    """The lines that a person gets."""
    return lines(preview(value, values=True), width)


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_a_frame_has_names_types_and_rows(frame: Any) -> None:
    names, types, _, first, second = shown(frame)
    assert names.split() == ["name", "n"]
    assert len(types.split()) == 2 and "64" in types.lower()
    assert (first.split(), second.split()) == (["a", "1"], ["größe", "2"])
    assert size_in_words(preview(frame)) == "2 rows × 2 columns"
    assert "head" not in preview(frame) and [line.split()[0] for line in lines(preview(frame))] == [
        "name",
        "n",
    ]


def test_a_lazy_frame_does_not_run() -> None:
    def trap(frame: Any) -> Any:
        raise AssertionError("it ran")

    lazy = pl.LazyFrame(PLAIN).map_batches(trap, schema={"name": pl.String, "n": pl.Int64})
    found = preview(lazy, values=True)
    assert found["rows"] is None and [column["name"] for column in found["columns"]] == ["name", "n"]


def test_a_large_frame_is_shown_in_its_beginning() -> None:
    frame = pd.DataFrame({f"c{number}": range(1000) for number in range(20)})
    assert len(shown(frame, 120)) == 14
    assert shown(frame, 120)[-1] == "… 990 more rows and 8 more columns"
    assert shown(frame, 30)[-1] == "… 990 more rows and 16 more columns", "as many as there is room for"
    assert max(map(len, shown(frame, 30)[:-1])) <= 30


def test_of_a_cell_with_a_million_items_only_the_beginning_is_made() -> None:
    many = pa.array(np.arange(10**6))
    one = pa.ListArray.from_arrays([0, 10**6], many)
    table = pa.table(
        {
            "list": one,
            "nested": pa.ListArray.from_arrays([0, 1], one),
            "struct": pa.StructArray.from_arrays([one], ["a"]),
            "fixed": pa.FixedSizeListArray.from_arrays(many, 10**6),
            "none": pa.nulls(1, pa.list_(pa.int64())),
        }
    )
    mapped = pa.table({"map": pa.MapArray.from_arrays([0, 10**6], many, many)})
    text = '[0, 1, 2, 3, "… 999,996 more"]'
    for value in (table, pl.from_arrow(table), mapped):
        preview(value, values=True)  # so that modules are there
        tracemalloc.start()
        (head,) = preview(value, values=True)["head"]
        assert tracemalloc.get_traced_memory()[1] < 10**5
        tracemalloc.stop()
        if value is not mapped:
            assert head == [text, f"[{text}]", f'{{"a": {text}}}', text, "None"]


def test_an_index_that_says_something_is_a_column() -> None:
    frame = pd.DataFrame({"n": [1]}, index=pd.Index(["a"], name="name"))
    assert shown(frame)[0].split() == ["name", "n"]
    numbers = pd.Series([1, 2], index=pd.Index([0.5, 20.5], name="at"))
    assert size_in_words(preview(numbers)) == "2 rows × 2 columns"


def test_a_range_is_not_counted_out() -> None:
    """It may be longer than there is memory for its numbers."""
    assert shown(pd.RangeIndex(10**13, name="row"))[-1] == "… 9,999,999,999,990 more rows"


def test_what_is_no_table(tmp_path: Path) -> None:
    (file := tmp_path / "report.pdf").write_bytes(b"%PDF")
    for value, words in (
        (Image.new("RGBA", (30, 20)), "30 × 20 pixels, RGBA"),
        (np.zeros((2, 3), "int16"), "2 × 3, int16"),
        (file, "report.pdf, 4 B"),
        (b"%PDF", "4 B"),
        ("größe", "5 characters"),
        ({"a": 1}, "1 item"),
        (7, ""),
    ):
        assert size_in_words(preview(value)) == words
    assert shown("größe") == ["größe"] and shown("x" * 10_000) == ["x" * 79 + "…", "…"]
    assert shown(np.arange(3)) == ["0, 1, 2", "▁▄█"]
    assert shown(np.arange(99)[:, None])[0] == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …"
    records = [{"name": "a", "n": 1}, {"name": "b", "n": 2}]
    assert size_in_words(preview(records)) == "2 rows × 2 columns"
    assert [line.split() for line in shown(records)[3:]] == [["a", "1"], ["b", "2"]]


def test_what_is_json_or_nearly_so() -> None:
    value = {
        "d": Decimal("1.50"),
        "day": date(2024, 1, 2),
        "t": (1, {2}),
        "n": np.int16(7),
        "nan": float("nan"),
    }
    value |= {"x": b"\xff", "frame": FRAMES["pandas"], "trap": Trap(), "long": list(range(99))}
    found = preview(value, values=True)["value"]
    assert found == {
        "d": "1.50",
        "day": "2024-01-02",
        "t": [1, [2]],
        "n": "7",
        "nan": "nan",
        "x": "<bytes, 1 B>",
        "frame": "<pandas DataFrame, 2 rows × 2 columns>",
        "trap": "<Trap>",
        "long": [*range(10), "… 89 more"],
    }
    assert preview(value)["outline"]["d"] == "Decimal" and preview(value)["outline"]["t"] == [
        "number",
        ["number"],
    ]


@pytest.mark.parametrize(
    "value",
    [
        pd.DataFrame({"a": [SECRET], "b": [[SECRET]]}),
        pl.DataFrame({"a": [SECRET]}),
        pa.table({"a": [SECRET]}),
        np.array([SECRET]),
        SECRET,
        {"a": SECRET, "b": [SECRET, {"c": SECRET}]},
        [SECRET],
        SECRET.encode(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_value_is_told_to_who_did_not_ask(value: Any) -> None:
    found = preview(value)
    assert SECRET not in json.dumps(found) and SECRET not in "".join(lines(found))


HOSTILE = "\x1b]0;owned\x07\u202e\r\n[bold]"


@pytest.mark.parametrize("values", [False, True])
@pytest.mark.parametrize(
    "value",
    [
        HOSTILE,
        "\ud800",
        {HOSTILE: HOSTILE},
        [HOSTILE],
        pd.DataFrame({HOSTILE: [HOSTILE]}),
        pd.DataFrame({"a": [{HOSTILE: [HOSTILE]}]}),
        np.array([HOSTILE[:3]]),
        np.zeros(1, dtype=[("\x1b", "i4")]),
        Path("/tmp") / "\x1b\u202e",
    ],
    ids=lambda value: type(value).__name__,
)
def test_nothing_steers_a_terminal(value: Any, values: bool, tmp_path: Path) -> None:
    if isinstance(value, Path):
        value = tmp_path / value.name
        value.write_text("")
    found = preview(value, values=values)
    text = "\n".join([size_in_words(found), *lines(found)])
    assert all(character.isprintable() or character == "\n" for character in text)


LARGE = [
    pd.DataFrame({f"c{number}": ["z" * 1000] * 50 for number in range(500)}),
    {f"{number}" * 50: "y" * 1000 for number in range(10_000)},
    [[[["deep" * 100] * 50] * 50] * 50] * 50,
    pa.table({"\u00e4" * 500 + str(number): [1] for number in range(30)}),
    10**5000,
    [Trap()] * 1000,
    pd.DataFrame({"a": [Trap()]}),
    np.array([Trap()]),
    Trap(),
]


@pytest.mark.parametrize("values", [False, True])
@pytest.mark.parametrize("value", LARGE, ids=lambda value: type(value).__name__)
def test_it_is_small_and_calls_nobody(value: Any, values: bool) -> None:
    assert len(json.dumps(preview(value, values=values))) <= MOST


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=40,
)


@given(plain, st.booleans(), st.integers(20, 200))
@settings(max_examples=100)
def test_any_plain_value(value: Any, values: bool, width: int) -> None:
    found = preview(value, values=values)
    assert len(json.dumps(found, allow_nan=False)) <= MOST
    assert all(line.isprintable() for line in lines(found, width))
