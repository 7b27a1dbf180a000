"""Odd tables, each of which broke something: what comes back, what is refused, and how one goes on."""

from __future__ import annotations

import cProfile
import datetime as dt
import hashlib
import io
import pstats
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from exclusive_xcom import errors
from exclusive_xcom.codecs import _arrow_types, _tables
from exclusive_xcom.testing.codec_contract import OPTIONS, data_of, decode, encode
from exclusive_xcom.testing.identical import identical

FORMS = ("arrow", "packed", "parquet")
PARIS = ZoneInfo("Europe/Paris")


def options_of(form: str) -> Any:
    return replace(OPTIONS, frame_format=form)


def floats(cells: list[float], missing: list[bool], dtype: str = "f8") -> Any:
    return pd.arrays.FloatingArray(np.array(cells, dtype), np.array(missing))


# -- what comes back -------------------------------------------------------------------------------------

NAN = float("nan")
EXACT: dict[str, Callable[[], Any]] = {
    "NaN and NA": lambda: pd.Series(floats([NAN, 1, 2], [False, True, False])),
    "NaN and NA in 32 bits": lambda: pd.DataFrame({"a": floats([NAN, 1], [False, True], "f4")}),
    "NaN and NA in the index": lambda: pd.Index(floats([NAN, 1, 2], [False, True, False])),
    "NaN and NA further on": lambda: pd.Series(floats([1] * 98 + [NAN, 1], [False] * 99 + [True])),
    "NaN and NA of a sum": lambda: pd.Series([1.0, None, -1.0], dtype="Float64").mul(np.inf).cumsum(),
    "categories of a frequency": lambda: pd.Categorical(pd.date_range("2024", periods=2)).categories,
    "a fold without a zone": lambda: pd.Series([pd.Timestamp(2024, 10, 27, 2, fold=1), 1], dtype=object),
    "a fold in a zone": lambda: pd.Series([pd.Timestamp(2024, 10, 27, 2, tz=PARIS, fold=1), 1], dtype=object),
    "no rows of a batch": lambda: pa.record_batch({"a": [1, 2]}).filter(pa.array([False] * 2)),
    "no rows of maps of UUIDs": lambda: pa.record_batch({"a": pa.nulls(0, pa.map_(pa.string(), pa.uuid()))}),
    "no columns of a batch": lambda: pa.record_batch({"a": [1, 2]}).select([]),
    "a list with a name": lambda: pa.array([[1]], pa.list_(pa.field("x", pa.int64()))),
    "dates beyond": lambda: pl.Series([-(2**31), 2**31 - 1], dtype=pl.Int32).cast(pl.Date),
    "moments beyond": lambda: pl.Series([2**63 - 1]).cast(pl.Datetime("ms")).to_frame("a"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", EXACT.values(), ids=EXACT.keys())
def test_it_comes_back_exactly(make: Callable[[], Any], form: str) -> None:
    assert identical(decode(encode(make(), options_of(form))), make())


@pytest.mark.parametrize("form", FORMS)
def test_categories_of_polars_are_the_same_in_all_batches(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arrow_types, "_BATCH", 64)
    words = pl.Series([f"w{n % 7}" for n in range(60)], dtype=pl.Categorical)
    value = pl.DataFrame({"a": words, "n": range(60)})
    assert identical(decode(encode(value, options_of(form))), value)
    nested = pl.DataFrame({"s": pl.Series([[word] for word in words], dtype=pl.List(pl.Categorical))})
    assert identical(decode(encode(nested)), nested)


# -- what is refused, and what its advice leads to -------------------------------------------------------


class Sales(pd.DataFrame):
    """A subclass."""


class PointDtype(pd.api.extensions.ExtensionDtype):
    """A dtype of another library's."""

    name = "point"
    type = str

    @classmethod
    def construct_array_type(cls) -> Any:
        return Points


class Points(pd.api.extensions.ExtensionArray):
    """Its columns."""

    dtype = PointDtype()

    def __init__(self, cells: Any) -> None:
        self.cells = list(cells)

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, at: Any) -> Any:
        return self.cells[at] if isinstance(at, int) else Points(self.cells[at])

    def isna(self) -> Any:
        return np.zeros(len(self), bool)

    def copy(self) -> Any:
        return Points(self.cells)

    @property
    def nbytes(self) -> int:
        return 16 * len(self)

    @classmethod
    def _from_sequence(cls, scalars: Any, *, dtype: Any = None, copy: bool = False) -> Any:
        return cls(scalars)


def union() -> pa.Table:
    kinds, places = pa.array([0, 1], pa.int8()), pa.array([0, 0], pa.int32())
    return pa.table({"x": pa.UnionArray.from_dense(kinds, places, [pa.array([1]), pa.array(["x"])])})


def monthly() -> pd.DataFrame:
    index = pd.date_range("2024-01-31", periods=3, freq=pd.DateOffset(months=1))
    return pd.DataFrame({"v": range(3)}, index=index)


def without_frequency(value: pd.DataFrame) -> pd.DataFrame:
    value.index.freq = None
    return value


def replaced(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def uuids() -> pa.Array:
    return pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16], pa.binary(16)))


def astype(dtype: Any) -> Callable[[Any], Any]:
    return lambda value: value.astype(dtype)


def dropped(value: Any) -> Any:
    return value.drop("a") if isinstance(value, pl.DataFrame) else value.drop_columns("a")


UNLIKE = [pa.DictionaryArray.from_arrays(pa.array([0]), pa.array([[n]])) for n in (1, 2)]
ADVICE: dict[str, tuple[Callable[[], Any], str, Callable[[Any], Any]]] = {
    "union": (union, "to_pylist()", lambda value: value.to_pylist()),
    "union without rows": (lambda: union()[:0], "to_pylist()", lambda value: value.to_pylist()),
    "union behind no rows": (
        lambda: pa.concat_tables([union()[:0], union()]),
        "Column 'x' has a union",
        lambda value: value.to_pylist(),
    ),
    "union in pandas": (
        lambda: pd.Series(pd.arrays.ArrowExtensionArray(union()["x"])),
        "to_list()",
        lambda value: value.to_list(),
    ),
    "dictionary of UUIDs": (
        lambda: pa.table({"a": pa.DictionaryArray.from_arrays(pa.array([0]), uuids())}),
        "in column 'a'",
        dropped,
    ),
    "unlike dictionaries": (
        lambda: pa.table({"b": [1, 2], "a": pa.chunked_array(UNLIKE)}),
        "in column 'a'",
        dropped,
    ),
    "frequency": (monthly, "index.freq = None", without_frequency),
    "surrogate in a label": (
        lambda: pd.DataFrame([[1]], columns=pd.Index(["\ud800"], dtype=object)),
        "in the column labels",
        lambda value: value.rename(columns=replaced),
    ),
    "surrogate in a category": (
        lambda: pd.Series(pd.Categorical(pd.Index(["\ud800"], dtype=object))),
        'text.encode("utf-8", "replace")',
        lambda value: value.cat.rename_categories(replaced),
    ),
    "NUL in a name": (
        lambda: pl.DataFrame({"b": [1], "a\0": [1]}),
        "in column 'a\\x00'",
        lambda value: value.drop("a\0"),
    ),
    "no width": (
        lambda: pl.DataFrame({"a": pl.Series([[]], dtype=pl.Array(pl.Int8, 0))}),
        "olumn 'a'",
        dropped,
    ),
    "objects in lists": (
        lambda: pl.DataFrame({"a": pl.Series([], dtype=pl.List(pl.Object))}),
        "olumn 'a'",
        dropped,
    ),
    "long double": (lambda: pd.Series(np.zeros(2, "g")), 'astype("float64")', astype("float64")),
    "foreign dtype": (lambda: pd.Series(Points(["1 2"])), "astype(str)", astype(str)),
    "subclass": (lambda: Sales({"a": [1]}), "pandas.DataFrame(value).", pd.DataFrame),
    "subclass with a foreign dtype": (
        lambda: Sales({"a": Points(["1 2"])}),
        "Before that: the dtype is point",
        lambda value: pd.DataFrame(value).astype(str),
    ),
    "sparse": (
        lambda: pd.Series(pd.arrays.SparseArray([1, 0])),
        "to_dense()",
        lambda value: value.sparse.to_dense(),
    ),
    "sparse index": (
        lambda: pd.Index(pd.arrays.SparseArray([1, 0])),
        "numpy.asarray(index)",
        lambda value: pd.Index(np.asarray(value)),
    ),
    "zone of dateutil": (
        lambda: pd.Series(pd.date_range("2024", periods=2, freq="180D", tz="dateutil/Europe/Paris")),
        'dt.tz_convert("UTC")',
        lambda value: value.dt.tz_convert("UTC"),
    ),
    "intervals in a zone of dateutil": (
        lambda: pd.Series(pd.interval_range(pd.Timestamp("2024", tz="dateutil/Europe/Paris"), periods=2)),
        'from_arrays(a.left.tz_convert("UTC"), a.right.tz_convert("UTC"), a.closed)',
        lambda value: pd.Series(
            pd.arrays.IntervalArray.from_arrays(
                (a := value.array).left.tz_convert("UTC"), a.right.tz_convert("UTC"), a.closed
            )
        ),
    ),
    "arrays of texts": (
        lambda: pd.Series([np.array(["a"]), np.array(["b", "c"])]),
        "list(value[0])",
        lambda value: value.map(list),
    ),
    "arrays of two dimensions": (
        lambda: pd.Series([np.ones((2, 2))]),
        "value[0].tolist()",
        lambda value: value.map(np.ndarray.tolist),
    ),
    "table in a cell": (
        lambda: pd.DataFrame({"a": [pd.Series([1])]}),
        "return both in a dict",
        lambda value: {"frame": value.drop(columns="a"), "a": list(value["a"])},
    ),
    "array of pandas": (lambda: pd.Series(["x", "y"]).unique(), "pandas.Series(value)", pd.Series),
}  # fmt: skip


@pytest.mark.parametrize(("make", "words", "follow"), ADVICE.values(), ids=ADVICE.keys())
def test_who_follows_the_advice_can_push(
    make: Callable[[], Any], words: str, follow: Callable[[Any], Any]
) -> None:
    with pytest.raises(errors.UnsupportedValue) as caught:
        encode(make())
    assert words in str(caught.value)
    encode(follow(make()))


def test_moments_that_pandas_does_not_write_down() -> None:
    far = pd.DatetimeIndex(np.array([2**40], "M8[s]"))
    value = pd.DataFrame([[1]], columns=far, index=far)
    found = decode(encode(value))
    assert found.columns.equals(far) and found.index.equals(far)
    with pytest.raises(errors.UnsupportedValue, match="in column"):
        encode(pd.DataFrame([[object()]], columns=far))


def test_parquet_names_the_column_that_it_does_not_give_back() -> None:
    views = pa.array([[1], None], pa.list_view(pa.timestamp("s")))
    value = pa.table({**{str(n): [1, 2] for n in range(9)}, "a": views})
    with pytest.raises(errors.UnsupportedValue, match=r"could not be read again.*in column 'a'.*=arrow"):
        encode(value, options_of("parquet"))
    assert identical(decode(encode(value)), value)


def test_a_part_without_room_in_parquet_does_not_end_the_process() -> None:
    room = pa.list_(pa.json_(), 0)
    with pytest.raises(errors.UnsupportedValue, match="FRAME_FORMAT=arrow"):
        encode(pa.table({"a": pa.nulls(30, pa.list_(pa.struct([("x", room)])))}), options_of("parquet"))


def test_only_the_first_rows_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    decoded = _tables.TableCodec.decode

    def spy(self: Any, content: Any, meta: Any, options: Any) -> Any:
        seen.append(meta["rows"])
        return decoded(self, content, meta, options)

    monkeypatch.setattr(_tables.TableCodec, "decode", spy)
    for value in (
        pd.DataFrame({"a": range(1000)}),
        pl.DataFrame({"a": range(1000)}),
        pa.table({"a": range(1000)}),
    ):
        encode(value)
    assert seen == [20, 20, 20]


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, pa.table])
@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_the_work_grows_with_the_columns_and_no_faster(kind: Any, form: str) -> None:
    def calls(columns: int) -> int:
        value = kind({f"c{n}": [1.0, 2.0] for n in range(columns)})
        profile = cProfile.Profile()
        profile.runcall(encode, value, options_of(form))
        return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]

    calls(1)
    assert calls(1000) < 12 * calls(100)


# -- what a payload may not be ---------------------------------------------------------------------------


def refused(value: Any, data: bytes, **meta: Any) -> None:
    payload = encode(value)
    with pytest.raises(errors.PayloadUnreadable) as caught:
        decode(replace(payload, meta=payload.meta | meta), data)
    assert "another version" not in caught.value.advice  # it is refused, and did not only fail


def written(schema: pa.Schema, *batches: pa.RecordBatch, **options: Any) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_file(out, schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return out.getvalue()


def test_no_union_is_read() -> None:
    table = pa.concat_tables([union()[:0], union()])
    refused(pa.table({"x": [1, 2]}), written(table.schema, *table.to_batches()))


def test_only_our_own_form_of_the_format_is_read() -> None:
    value = pa.table({"a": [1] * 1000})
    (batch,) = value.to_batches()
    refused(value, written(value.schema, batch, metadata_version=pa.ipc.MetadataVersion.V4))
    refused(value, written(value.schema, batch, compression="lz4"))


def test_a_dictionary_is_not_replaced() -> None:
    parts = [pa.record_batch({"a": pa.array([word]).dictionary_encode()}) for word in "ab"]
    out = io.BytesIO()
    with pa.ipc.new_stream(out, parts[0].schema) as writer:
        for part in parts:
            writer.write_batch(part)
    refused(pa.table({"a": ["a", "b"]}), b"ARROW1\0\0" + out.getvalue())


@pytest.mark.parametrize(
    "form", [{"write_page_checksum": False}, {"compression": "snappy"}, {"data_page_version": "2.0"}]
)
def test_only_our_own_pages_of_parquet_are_read(form: dict[str, Any]) -> None:
    value = pa.table({"a": range(100)})
    payload = encode(value, options_of("parquet"))
    ours = parquet.read_metadata(io.BytesIO(data_of(payload))).metadata
    out, form = io.BytesIO(), {"compression": "zstd", "write_page_checksum": True} | form
    with parquet.ParquetWriter(out, value.schema, **form) as writer:
        writer.write_table(value)
        writer.add_key_value_metadata({b"xcom:columns": ours[b"xcom:columns"]})
    data = out.getvalue()
    (length,) = struct.unpack("<I", data[-8:-4])
    refused(
        value, data, format="parquet 2", tail=[length + 8, hashlib.sha256(data[-8 - length :]).hexdigest()]
    )


def test_what_takes_too_much_is_refused_when_it_is_pushed() -> None:
    """Objects of Python's take many times what their text takes."""
    value = pd.DataFrame({"a": pd.Series(["x"] * 1000, dtype=object)})
    small = replace(OPTIONS, max_size=60_000)
    with pytest.raises(errors.ValueTooLarge, match="MAX_DECODED_SIZE"):
        encode(value, small)
    with pytest.raises(errors.PayloadUnreadable, match="MAX_DECODED_SIZE"):
        decode(encode(value), options=small)
    dates = pd.DataFrame({"a": pd.Series([dt.date(2024, 1, 1)] * 1000, dtype=object)})
    with pytest.raises(errors.ValueTooLarge, match="MAX_DECODED_SIZE"):
        encode(dates, small)
    text = pl.DataFrame({"a": pl.Series([["x"]] * 100_000)})
    with pytest.raises(errors.ValueTooLarge, match="MAX_DECODED_SIZE"):
        encode(text, replace(OPTIONS, max_size=3_000_000))
