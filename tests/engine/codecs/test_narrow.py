"""Columns in narrower types: which ones, and that every bit comes back whatever follows the first rows."""

from __future__ import annotations

import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exclusive_xcom import errors
from exclusive_xcom.codecs import Payload, _arrow_types, _ipc, _narrow
from exclusive_xcom.testing import codec_contract
from exclusive_xcom.testing.codec_contract import data_of, decode

PACKED = replace(codec_contract.OPTIONS, frame_format="packed")
ROWS = 16  # in a batch, of a column of floats


@pytest.fixture(autouse=True, scope="module")
def _small_batches() -> Iterator[None]:
    """Batches of a few rows, narrowed however small they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_narrow, "WORTH", (0, 0))
        patch.setattr(_arrow_types, "_BATCH", 8 * ROWS)
        yield


def encode(value: Any) -> Payload:
    """A packed payload."""
    return codec_contract.encode(value, PACKED)


def stored_types(value: Any) -> list[str]:
    """The types in the file, as other tools see them."""
    return [str(kind) for kind in pa.ipc.open_file(pa.py_buffer(data_of(encode(value)))).schema.types]


def comes_back(values: Any) -> bool:
    """Whether a numpy array comes back bit for bit as a column of pandas, polars and Arrow."""
    frame = decode(encode(pd.DataFrame({"a": values})))
    found = [frame["a"].to_numpy()]
    found.append(decode(encode(pl.DataFrame({"a": values})))["a"].to_numpy())
    found.append(decode(encode(pa.table({"a": values})))["a"].to_numpy())
    return all(one.dtype == values.dtype and one.tobytes() == values.tobytes() for one in found)


def test_what_is_narrowed(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 100
    monkeypatch.setattr(_arrow_types, "_BATCH", 2**20)
    value = {
        "bytes": np.arange(rows) - 50,
        "shorts": np.arange(rows) * 300,
        "integers": np.arange(rows, dtype="uint64") * 10**6,
        "wide": np.arange(rows) * 10**12,
        "prices": np.round(np.arange(rows) * 1.1, 1),
        "random": np.random.default_rng(1).random(rows),
        "towns": ["Rom", "Paris"] * (rows // 2),
        "names": [f"name {n}" for n in range(rows)],
    }
    expected = ["int8", "int16", "int32", "int64", "decimal32(9, 1)", "double"]
    expected += ["dictionary<values=string, indices=int16, ordered=0>", "string"]
    assert stored_types(pa.table(value)) == expected


def test_only_a_reader_that_knows_it_reads_it() -> None:
    payload = encode(pa.table({"a": [1, 2, 3]}))
    assert (payload.meta["format"], payload.suffix) == ("packed", ".arrow")
    with pytest.raises(errors.PayloadUnreadable, match="'folded', which this release does not know"):
        decode(replace(payload, meta=payload.meta | {"format": "folded"}))
    assert encode(pa.table({"a": [0.1, 1 / 3]})).meta["format"] == "arrow"  # nothing to narrow in it


def test_nothing_is_narrowed_unless_it_is_asked_for() -> None:
    payload = codec_contract.encode(pa.table({"a": [1, 2, 3]}))
    assert payload.meta["format"] == "arrow"
    assert str(pa.ipc.open_file(pa.py_buffer(data_of(payload))).schema.types[0]) == "int64"


def test_small_tables_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_narrow, "WORTH", (0, 2**20))
    assert stored_types(pa.table({"a": [1, 2, 3]})) == ["int64"]
    monkeypatch.setattr(_narrow, "WORTH", (2**12, 0))
    assert stored_types(pa.table({"a": [1, 2, 3]})) == ["int64"]


def test_other_tools_read_decimals() -> None:
    data = data_of(encode(pa.table({"a": [1.25, float("nan"), -3.5]})))
    assert [None if cell is None else float(cell) for cell in pl.read_ipc(data)["a"]] == [1.25, None, -3.5]


FLOATS = st.one_of(
    st.integers(-(10**6), 10**6).map(lambda n: n / 100),
    st.sampled_from([0.0, -0.0, float("nan"), 0.1 + 0.2, 9_999_999.99, 10_000_000.0]),
    st.floats(width=64),
    # a NaN of another pattern of bits
    st.just(struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_0001))[0]),
)


PRICES = st.lists(st.integers(-500, 500).map(lambda n: n / 100), max_size=2 * ROWS)


@given(PRICES, st.lists(FLOATS, max_size=9))
def test_any_floats_come_back(first: list[float], then: list[float]) -> None:
    assert comes_back(np.array(first + then))


@given(
    st.lists(st.integers(-9, 9), max_size=2 * ROWS),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=9),
    st.sampled_from(["int16", "int32", "int64", "uint16", "uint32", "uint64"]),
)
def test_any_integers_come_back(first: list[int], then: list[int], dtype: str) -> None:
    assert comes_back(np.array(first + then, "int64").astype(dtype))


@given(
    st.lists(st.sampled_from(["", "a", "bb", None]), max_size=64),
    st.lists(st.one_of(st.none(), st.text()), max_size=9),
)
def test_any_texts_come_back(first: list[str | None], then: list[str | None]) -> None:
    for kind in (pa.string(), pa.large_string()):
        table = pa.table({"a": pa.array(first + then, kind)})
        assert decode(encode(table)).equals(table)


@pytest.mark.parametrize(
    "then", [2.0**40, float("inf"), 1 / 3, struct.unpack("<d", struct.pack("<Q", 0xFFF8_0000_0000_0001))[0]]
)
def test_a_number_that_does_not_fit_comes_late(then: float) -> None:
    values = np.append(np.arange(20.0 * ROWS), then)
    assert comes_back(values)
    other = np.round(np.arange(len(values)) / 10, 1)
    assert stored_types(pa.table({"a": values, "b": other})) == ["double", "decimal32(9, 1)"]


def test_negative_zeros_come_back() -> None:
    values = np.arange(10.0 * ROWS)
    values[::ROWS] = -0.0
    assert stored_types(pa.table({"a": values})) == ["decimal32(9, 0)"]
    assert comes_back(values)
    assert comes_back(np.full(10 * ROWS, -0.0))


def test_negative_zeros_of_chosen_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arrow_types, "_BATCH", 2**20)
    value = pd.DataFrame({name: np.arange(4.0 * ROWS) for name in "abc"})
    value.iloc[ROWS, 2] = -0.0
    payload = encode(value)
    found = _ipc.Ipc(memoryview(data_of(payload)), PACKED, packed=True).batches([2])
    column = np.concatenate([batch.column(0).to_numpy() for batch in found])
    assert column.tobytes() == value["c"].to_numpy().tobytes()


@pytest.mark.parametrize("batch", [2**16, 2**20])
def test_too_many_texts_come_late(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arrow_types, "_BATCH", batch)
    texts = ["a", "b"] * 2**14 + [str(n) for n in range(2**15)]
    table = pa.table({"a": texts, "b": ["x"] * len(texts)})
    assert decode(encode(table)).equals(table)
    assert [kind.partition("<")[0] for kind in stored_types(table)] == ["string", "dictionary"]


def test_numbers_that_grow_with_the_rows_get_room() -> None:
    assert stored_types(pa.table({"a": np.arange(100) - 50})) == ["int16"]  # -50 in a sixth of the rows


def test_a_bomb_of_one_long_text_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arrow_types, "_BATCH", 2**27)
    payload = encode(pa.table({"a": ["x" * 100_000] * 1000}))
    assert payload.length < 100_000
    with pytest.raises(errors.PayloadUnreadable, match="would take"):
        decode(payload, options=replace(PACKED, max_size=2**20))


def test_what_is_not_nullable_and_what_has_metadata_stays() -> None:
    fields = [pa.field("a", pa.int64(), nullable=False), pa.field("b", pa.int64(), metadata={"unit": "m"})]
    table = pa.table([pa.array([1, 2]), pa.array([3, 4])], schema=pa.schema(fields))
    assert stored_types(table) == ["int64", "int64"]
    assert decode(encode(table)).schema.equals(table.schema, check_metadata=True)


def test_our_own_metadata_is_refused() -> None:
    schema = pa.schema([pa.field("a", pa.int8(), metadata={"xcom:was": "int64"})])
    table = pa.table([pa.array([1], pa.int8())], schema=schema)
    with pytest.raises(errors.UnsupportedValue, match="Column 'a' has our own metadata"):
        encode(table)
    found = decode(codec_contract.encode(table))
    assert found.schema.equals(schema, check_metadata=True)
    assert found.equals(table)


def test_a_frame_of_polars_needs_no_pandas() -> None:
    """A task is a new process, in which pandas takes a third of a second."""
    code = """
        import sys
        from dataclasses import replace

        import polars as pl
        from exclusive_xcom.testing.codec_contract import OPTIONS, decode, encode

        nan, rows = float("nan"), range(5_000)
        columns = {
            "whole": rows,
            "some": [None if row % 7 else row for row in rows],
            "decimals": [row / 4 for row in rows],
            "nan": [row / 2 if row % 7 else nan for row in rows],
            "texts": [f"text {row % 9}" for row in rows],
        }
        for form in ("arrow", "packed", "parquet"):
            payload = encode(pl.DataFrame(columns), replace(OPTIONS, frame_format=form))
            assert decode(payload).height == len(rows)
        print("pandas" in sys.modules)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
