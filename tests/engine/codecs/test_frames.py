"""Codecs of tables: pandas, polars, Arrow, each as IPC file and as parquet."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import dateutil.tz
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing.parametric import dataframes
from pyarrow import parquet
from pydantic_core import TzInfo

from exclusive_xcom import errors
from exclusive_xcom.codecs import Options, _narrow, codec_named
from exclusive_xcom.testing.codec_contract import OPTIONS, CodecContract, Stored, data_of, decode, encode
from exclusive_xcom.testing.identical import identical

BOTH = ("arrow", "parquet")
ALL = ("arrow", "packed", "parquet")
formats = st.sampled_from([replace(OPTIONS, frame_format=form) for form in ALL])


@pytest.fixture(autouse=True, scope="module")
def _narrow_small_ones_too() -> Iterator[None]:
    """Columns are narrowed in large tables only; here in all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_narrow, "WORTH", (0, 0))
        yield


def select(payload: Any, columns: list[str], stored: Stored | None = None) -> Any:
    """Some columns of a payload."""
    codec: Any = codec_named(payload.codec, OPTIONS)
    return codec.select(stored or Stored(data_of(payload)), payload.meta, OPTIONS, columns)


# -- pandas -----------------------------------------------------------------------------------------

ROWS = 3
OBJECTS = {
    "text": ["a", "größe", ""],
    "text and None": ["a", None, "b"],
    "text and NaN": ["a", np.nan, "b"],
    "text and NA": ["a", pd.NA, "b"],
    "text, None and NaN": ["a", None, np.nan],
    "text and NaN of another sign": ["a", -np.nan],
    "booleans": [True, None, False],
    "booleans and NaN": [True, np.nan, False],
    "text and a number": ["a", 1.5, np.nan],
    "bytes": [b"a", None, b"\0\xff"],
    "dates": [dt.date(1, 1, 1), None, dt.date(9999, 12, 31)],
    "only None": [None, None, None],
    "integers": [1, 2**70, True],
    "lists": [[1], [2, [3]], None],
    "dicts": [{"a": 1}, {}, None],
    "decimals": [Decimal("1.10"), None, Decimal("NaN")],
    "mixed": [1, "a", (1, 2)],
    "timestamps": [pd.Timestamp("2024-01-01"), pd.NaT, 1],
    "arrays": [np.array([1, 2.5], "f4"), np.array([np.nan, -0.0], "f4"), np.array([3, 4], "f4")],
    "ragged arrays": [np.arange(9.0)[::2], None, np.array([])],
    "arrays and NaN": [np.array([True, False]), np.nan, np.array([], "?")],
    "arrays and NA": [pd.NA, np.array([-1, 2**62]), np.array([7])],
}
MOMENTS = np.array(["2024-01-01", "NaT", "2025-02-03"], "M8[s]")
TYPED: dict[str, Any] = {
    "int8": np.array([1, 2, 3], "i1"),
    "uint64": np.array([1, 2**64 - 1, 3], "u8"),
    "float": np.array([0.1, np.nan, -0.0]),
    "half": np.array([1, 2, 3], "f2"),
    "bool": np.array([True, False, True]),
    "complex": np.array([1 + 2j, np.nan, 0]),
    "complex64": np.array([1 + 2j, 3, 0], "c8"),
    "big-endian": np.array([1, 2, 3], ">i4"),
    "seconds": MOMENTS,
    "milliseconds": MOMENTS.astype("M8[ms]"),
    "microseconds": MOMENTS.astype("M8[us]"),
    "nanoseconds": MOMENTS.astype("M8[ns]"),
    "durations": np.array([1, "NaT", 3], "m8[ms]"),
    "zone": pd.DatetimeIndex(MOMENTS).tz_localize("Europe/Paris"),
    "fixed zone": pd.DatetimeIndex(MOMENTS).tz_localize(dt.timezone(dt.timedelta(hours=5, minutes=30))),
    "UTC": pd.DatetimeIndex(MOMENTS).tz_localize(dt.UTC),
    "ZoneInfo UTC": pd.DatetimeIndex(MOMENTS).tz_localize(ZoneInfo("UTC")),
    "nullable integer": pd.array([1, None, 3], "Int64"),
    "nullable boolean": pd.array([True, None, False], "boolean"),
    "nullable float": pd.array([1.5, None, np.nan], "Float32"),
    "str": pd.array(["a", None, "größe"], "str"),
    "string": pd.array(["a", None, "b"], "string"),
    "string in Python": pd.array(["a", None, "b"], pd.StringDtype("python")),
    "str in Python": pd.array(["a", None, "b"], pd.StringDtype("python", na_value=np.nan)),
    "category": pd.Categorical(["b", None, "a"], ["b", "a", "unused"], ordered=True),
    "category of numbers": pd.Categorical([3, None, 1], [3, 1, 2]),
    "category of floats": pd.Categorical([1.5, None, 2.5]),
    "category of dates": pd.Categorical(pd.DatetimeIndex(MOMENTS)),
    "category of intervals": pd.cut([1, 2, 3], 2),
    "category of a range": pd.Categorical.from_codes([0, 2, 1], pd.RangeIndex(3)),
    "category of anything": pd.Categorical(["a", 1, None], pd.Index(["a", 1], dtype=object)),
    "period": pd.PeriodIndex(["2024-01", None, "2024-03"], freq="M"),
    "interval": pd.arrays.IntervalArray.from_tuples([(0, 1), None, (1, 2)], closed="left"),
    "zone of dateutil": pd.DatetimeIndex(MOMENTS).tz_localize(dateutil.tz.tzutc()),
    "zone of pydantic": pd.DatetimeIndex(MOMENTS).tz_localize(TzInfo(-19800)),
    "interval in a zone": pd.arrays.IntervalArray.from_tuples(
        [(pd.Timestamp("2024", tz="Europe/Paris"), pd.Timestamp("2025", tz="Europe/Paris")), None, None]
    ),
    "interval in a zone of dateutil": pd.arrays.IntervalArray.from_breaks(
        pd.date_range("2024", periods=4, tz=dateutil.tz.tzutc()), closed="both"
    ),
    "category of intervals in a zone": pd.cut(
        pd.date_range("2024", periods=3, tz=dateutil.tz.tzoffset("X", 60)), 2
    ),
    "interval of dates": pd.arrays.IntervalArray.from_breaks(pd.date_range("2024", periods=4)),
    "Arrow integer": pd.array([1, None, 3], "int64[pyarrow]"),
    "Arrow list": pd.array([[1], None, []], pd.ArrowDtype(pa.list_(pa.int64()))),
    "Arrow dictionary": pd.array(["a", None, "b"], pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))),
    "Arrow decimal": pd.array([Decimal("1.50"), None, None], pd.ArrowDtype(pa.decimal128(5, 2))),
    "Arrow timestamp": pd.array(MOMENTS, pd.ArrowDtype(pa.timestamp("us", "UTC"))),
}
INDEXES: dict[str, Any] = {
    "range": pd.RangeIndex(2, 8, 2, name="r"),
    "numbers": pd.Index([1, 5, 3], name=7),
    "text": pd.Index(["a", "b", "b"], name="n"),
    "mixed": pd.Index([1, "a", None], dtype=object),
    "tuples": pd.Index([(1, 2), (3, 4), (5, 6)], tupleize_cols=False),
    "nullable": pd.Index([1, None, 2], dtype="Int64"),
    "floats": pd.Index([0.5, np.nan, 2]),
    "booleans": pd.Index([True, False, True]),
    "dates": pd.DatetimeIndex(MOMENTS),
    "monthly": pd.date_range("2024-01-01", periods=3, freq="MS", tz="Europe/Paris", name="month"),
    "business days": pd.date_range("2024-01-01", periods=3, freq="B"),
    "durations": pd.timedelta_range("1h", periods=3, freq="h"),
    "periods": pd.period_range("2024", periods=3, freq="Q-NOV"),
    "intervals": pd.interval_range(0, 3, closed="both"),
    "categories": pd.CategoricalIndex(["a", "b", "a"], ["b", "a", "unused"]),
    "two levels": pd.MultiIndex.from_tuples([(1, "a"), (1, "b"), (2, None)], names=["x", None]),
    "unused levels": pd.MultiIndex([["a", "b", "z"], [1, 2, 3]], [[0, 1, -1], [2, 1, 0]]),
    "levels of categories": pd.MultiIndex.from_arrays(
        [
            pd.date_range("2024", periods=3),
            pd.CategoricalIndex(["a", "b", "a"], ["c", "b", "a"], ordered=True),
        ],
        names=[("t", 1), "c"],
    ),
    "levels of intervals": pd.MultiIndex.from_arrays([pd.interval_range(0, 3), [1, 1, 2]]),
    "one level": pd.MultiIndex.from_arrays([[1, 2, 3]]),
}


def frame(**columns: Any) -> Callable[[], pd.DataFrame]:
    return lambda: pd.DataFrame({name: pd.Series(column) for name, column in columns.items()})


def wide() -> pd.DataFrame:
    value = pd.DataFrame(np.arange(12.0).reshape(3, 4), columns=["a", ("b", 1), 5, None], index=[7, 8, 9])
    value.attrs = {"source": ("x", 1), "when": dt.date(2024, 1, 1)}
    value.flags.allows_duplicate_labels = False
    return value


def all_columns() -> pd.DataFrame:
    columns = {name: pd.Series(cells) for name, cells in TYPED.items() if name != "big-endian"}
    objects = {name: pd.Series(cells, dtype=object) for name, cells in OBJECTS.items()}
    return pd.DataFrame({**columns, **objects})


def odd_frequency(offset: Any) -> Callable[[], pd.Series]:
    return lambda: pd.Series([1, 2], index=pd.date_range("2024-01-01", periods=2, freq=offset))


class Sales(pd.DataFrame):
    """A subclass."""


class TestPandas(CodecContract):
    codec = "frame_pandas"
    formats: ClassVar = ALL
    fuzz = "all kinds of columns"
    values: ClassVar = (
        {
            f"series of {name}": lambda cells=cells: pd.Series(cells, name=("x", 1))
            for name, cells in TYPED.items()
        }
        | {
            f"series of objects: {name}": lambda cells=cells: pd.Series(cells, dtype=object)
            for name, cells in OBJECTS.items()
        }
        | {f"index: {name}": lambda index=index: index for name, index in INDEXES.items()}
        | {
            f"frame with index: {name}": lambda index=index: pd.DataFrame(
                {"a": [1, 2, 3], "b": ["x", None, "z"]}, index
            )
            for name, index in INDEXES.items()
        }
        | {
            f"frame with columns: {name}": lambda index=index: pd.DataFrame(np.zeros((2, 3)), columns=index)
            for name, index in INDEXES.items()
        }
        | {
            f"no columns, index: {name}": lambda index=index: pd.DataFrame(index=index)
            for name, index in INDEXES.items()
        }
        | {
            "all kinds of columns": all_columns,
            "no rows": lambda: all_columns()[:0],
            "no rows, no columns": pd.DataFrame,
            "attrs, flags, odd labels": wide,
            "the same label twice": lambda: pd.DataFrame([[1, "x", 2.5]], columns=["a", "a", "b"]),
            "strided": lambda: pd.DataFrame(np.arange(24.0).reshape(4, 6))[::2],
            "sliced text": lambda: pd.Series(["a", "b", "c", "d"])[1:3],
            "reordered": lambda: all_columns().iloc[[2, 0]],
        }
    )
    refused: ClassVar = {
        "sparse": (frame(a=pd.arrays.SparseArray([1, 0, 0])), "to_dense"),
        "long double": (frame(a=np.zeros(2, "g")), "column 'a'"),
        "frames in cells": (frame(a=[pd.DataFrame()]), "column 'a'"),
        "arrays of two dimensions in cells": (frame(b=[np.zeros((2, 2))]), "column 'b'"),
        "objects in cells": (frame(c=pd.Series([object()])), "column 'c'"),
        "lone surrogate": (frame(d=pd.Series(["\ud800"], dtype=object)), "column 'd'"),
        "subclass": (lambda: Sales({"a": [1]}), "pandas.DataFrame(value)"),
        "frequency": (odd_frequency(pd.offsets.CustomBusinessDay(holidays=["2024-01-02"])), "freq = None"),
        "frequency in no word": (odd_frequency(pd.DateOffset(months=1, days=3)), "freq = None"),
        "attrs": (lambda: pd.Series([1], name=object()), "object"),
    }

    def test_the_consumer_can_write_to_it(self, options: Options) -> None:
        found = decode(encode(pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": ["x", "y"]}), options))
        found.loc[0, "a"] = 7
        arrays = decode(encode(pd.Series([np.zeros(2), np.ones(1)]), options))
        arrays[0][1] = 5
        assert (arrays[0].tolist(), arrays[1].tolist()) == ([0.0, 5.0], [1.0])
        found["b"] *= 2
        found.loc[1, "c"] = "z"
        assert found.to_dict("list") == {"a": [7, 2], "b": [1.0, 3.0], "c": ["x", "z"]}

    def test_other_tools_read_it(self) -> None:
        value = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.Categorical(["u", "v"])})
        data = data_of(encode(value))
        assert pd.read_feather(io.BytesIO(data)).astype(value.dtypes).equals(value)
        assert pl.read_ipc(data)["b"].to_list() == ["x", None]
        data = data_of(encode(value, replace(OPTIONS, frame_format="parquet")))
        assert pd.read_parquet(io.BytesIO(data))["c"].tolist() == ["u", "v"]
        assert pl.read_parquet(data)["a"].to_list() == [1, 2]

    def test_a_zone_that_nobody_can_make_becomes_its_offset(self, options: Options) -> None:
        """If it is one for the whole column; the moments and what a clock shows are the same."""
        paris = dateutil.tz.gettz("Europe/Paris")
        dates = pd.DatetimeIndex(["2024-01-01 12:30", None, "2024-02-01"]).tz_localize(paris)
        frame = pd.DataFrame({"a": dates, "b": 1}, index=dates)
        frame.attrs = {"by": (1,)}
        for value in (frame, frame["a"], dates, pd.DataFrame([[1, 2, 3]], columns=dates)):
            payload = encode(value, options)
            assert payload.turned == ("class dateutil.tz.tz.tzfile as timezone",)
            found = decode(payload, options=options)
            axes = [found] if isinstance(found, pd.Index) else [found.index]
            found_dates = found.columns if value.shape == (1, 3) else axes[0]
            assert found_dates.tz == dt.timezone(dt.timedelta(hours=1))
            assert found_dates.equals(dates.tz_convert(found_dates.tz))
            assert found_dates[0].hour == 12
        assert decode(encode(dates[:0], options), options=options).tz is dt.UTC
        assert frame["a"].dt.tz is paris  # the producer's own stays as it is
        assert decode(encode(frame, options), options=options).attrs == {"by": (1,)}

    def test_arrays_are_lists_for_others(self) -> None:
        data = data_of(encode(pd.DataFrame({"a": [np.array([1.5, 2]), np.array([])]})))
        assert pl.read_ipc(data)["a"].to_list() == [[1.5, 2.0], []]

    def test_some_columns(self, options: Options) -> None:
        value = all_columns()
        payload = encode(value, options)
        for columns in (["category"], ["text", "int8"], ["str", "float", "bool"]):
            assert identical(select(payload, columns), value[columns])
        with pytest.raises(errors.UnsupportedValue, match=r"no column 'missing'.*int8"):
            select(payload, ["int8", "missing"])

    def test_some_columns_of_odd_labels(self, options: Options) -> None:
        value = pd.DataFrame([[1, 2.5, "x"]], columns=["a", "a", "b"], index=["i"])
        assert identical(select(encode(value, options), ["a"]), value[["a"]])
        levels = pd.DataFrame(
            [[1, 2.5, "x"]], columns=pd.MultiIndex.from_tuples([(1, "a"), (1, "b"), ("u", "a")])
        )
        found = select(encode(levels, options), ["u"])
        assert found.columns.tolist() == [("u", "a")] and found.iat[0, 0] == "x"
        with pytest.raises(errors.UnsupportedValue, match="no columns"):
            select(encode(value["b"], options), ["b"])

    def test_it_is_described(self) -> None:
        assert encode(pd.DataFrame({"a": range(1000), "b": 1})).summary == "1,000 rows × 2 columns"
        assert encode(pd.DataFrame({"a": range(1000), "b": 1})).kind == "pandas DataFrame"
        assert encode(pd.Series([1])).kind == "pandas Series"
        assert encode(pd.RangeIndex(5)).kind == "pandas RangeIndex"


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """Frames of up to four columns of any dtype, with any index."""
    rows = draw(st.integers(0, 5))

    def cells(of: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(of, min_size=rows, max_size=rows))

    def series() -> pd.Series:
        missing = st.none()
        match draw(st.integers(0, 10)):
            case 0:
                return pd.Series(cells(st.integers(-(2**63), 2**63 - 1)), dtype="int64")
            case 1:
                return pd.Series(cells(st.floats()), dtype="float64")
            case 2:
                return pd.Series(cells(st.text() | missing), dtype="str")
            case 3:
                return pd.Series(
                    cells(st.text() | st.integers() | missing | st.tuples(st.text())), dtype=object
                )
            case 4:
                return pd.Series(cells(st.integers(-(2**62), 2**62) | missing), dtype="Int64")
            case 5:
                unit = draw(st.sampled_from(["s", "ms", "us", "ns"]))
                numbers = np.array(cells(st.integers(-(2**52), 2**52)), "i8")
                return pd.Series(numbers.view(f"M8[{unit}]"))
            case 6:
                numbers = np.array(cells(st.integers(-(2**52), 2**52)), "i8")
                zone = draw(st.timezones())
                return pd.Series(numbers.view("M8[us]")).dt.tz_localize("UTC").dt.tz_convert(zone)
            case 7:
                words = draw(st.lists(st.text(), min_size=1, unique=True))
                codes = cells(st.integers(-1, len(words) - 1))
                return pd.Series(pd.Categorical.from_codes(codes, words, ordered=draw(st.booleans())))
            case 8:
                return pd.Series(cells(st.booleans() | missing), dtype="boolean")
            case 9:
                return pd.Series(np.array(cells(st.integers(-(2**60), 2**60)), "i8").view("m8[ns]"))
            case _:
                return pd.Series(cells(st.binary() | missing), dtype=object)

    value = pd.DataFrame({i: series() for i in range(draw(st.integers(0, 4)))}, index=range(rows))
    value.columns = pd.Index(
        draw(st.lists(st.text(), min_size=value.shape[1], max_size=value.shape[1])), dtype=object
    )
    match draw(st.integers(0, 2)):
        case 0:
            value.index = pd.Index(series())
        case 1:
            value.index = pd.MultiIndex.from_arrays([series(), series()])
    return value


@given(value=frames(), options=formats)
def test_any_frame_comes_back(value: pd.DataFrame, options: Options) -> None:
    try:
        payload = encode(value, options)
    except errors.UnsupportedValue as error:
        if "'ARROW:schema'" not in str(error):  # Hypothesis tries constants that it finds in our code
            raise
        return
    assert identical(decode(payload), value)


# -- polars -----------------------------------------------------------------------------------------

POLARS = {
    "numbers": pl.Series([1, None, 3], dtype=pl.Int8),
    "floats": pl.Series([0.1, None, float("nan")]),
    "half": pl.Series([1.5, None], dtype=pl.Float16),
    "text": pl.Series(["a", None, "größe"]),
    "bytes": pl.Series([b"a", None]),
    "booleans": pl.Series([True, None]),
    "decimals": pl.Series([Decimal("1.50"), None], dtype=pl.Decimal(10, 2)),
    "dates": pl.Series([dt.date(2024, 1, 1), None]),
    "times": pl.Series([dt.time(1, 2, 3, 4), None]),
    "moments": pl.Series([dt.datetime(2024, 1, 1), None], dtype=pl.Datetime("ms")),
    "zoned": pl.Series([dt.datetime(2024, 1, 1), None], dtype=pl.Datetime("ns", "Europe/Paris")),
    "durations": pl.Series([dt.timedelta(1), None], dtype=pl.Duration("ms")),
    "categories": pl.Series(["b", "a", None, "b"], dtype=pl.Categorical),
    "enums": pl.Series(["b", None], dtype=pl.Enum(["b", "a", "unused"])),
    "nulls": pl.Series([None, None]),
    "lists": pl.Series([[1, 2], None, []]),
    "arrays": pl.Series([[1, 2], None], dtype=pl.Array(pl.Int8, 2)),
    "structs": pl.Series([{"a": 1, "b": "x"}, None]),
}


class TestPolars(CodecContract):
    codec = "frame_polars"
    formats: ClassVar = ALL
    fuzz = "frame"
    values: ClassVar = (
        {f"series of {name}": lambda s=s: s.alias("größe") for name, s in POLARS.items()}
        | {f"no {name}": lambda s=s: s.clear() for name, s in POLARS.items()}
        | {f"unnamed frame of {name}": lambda s=s: s.to_frame() for name, s in POLARS.items()}
        | {
            "frame": lambda: pl.DataFrame(
                {name: s.extend_constant(None, 9).head(5) for name, s in POLARS.items()}
            ),
            "no columns": pl.DataFrame,
            "chunked": lambda: pl.concat([pl.DataFrame({"a": ["x"]})] * 3, rechunk=False),
        }
    )
    refused: ClassVar = {
        "lazy": (pl.LazyFrame, "collect()"),
        "objects": (lambda: pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}), "'o'"),
        "128 bits": (lambda: pl.DataFrame({"i": pl.Series([2**100], dtype=pl.Int128)}), "'i'"),
        "subclass": (lambda: type("Sales", (pl.DataFrame,), {})(), "polars.DataFrame(value)"),
    }

    def test_lists_of_categories_need_arrow(self) -> None:
        value = pl.DataFrame({"l": pl.Series([["a"], ["b"]], dtype=pl.List(pl.Categorical))})
        assert identical(decode(encode(value)), value)
        with pytest.raises(errors.UnsupportedValue, match="FRAME_FORMAT=arrow"):
            encode(value, replace(OPTIONS, frame_format="parquet"))

    def test_some_columns(self, options: Options) -> None:
        value = self.values["frame"]()
        payload = encode(value, options)
        assert identical(select(payload, ["enums", "text"]), value.select("enums", "text"))
        with pytest.raises(errors.UnsupportedValue, match="no column 'missing'"):
            select(payload, ["missing"])

    @pytest.mark.parametrize("form", BOTH)
    def test_other_tools_read_it(self, form: str) -> None:
        value = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
        data = data_of(encode(value, replace(OPTIONS, frame_format=form)))
        read = {"arrow": (pd.read_feather, pl.read_ipc), "parquet": (pd.read_parquet, pl.read_parquet)}
        with_pandas, with_polars = read[form]
        assert with_pandas(io.BytesIO(data))["a"].tolist() == [1, 2]
        assert with_polars(data).cast(value.schema).equals(value)

    def test_it_is_described(self) -> None:
        payload = encode(pl.DataFrame({"a": [1]}))
        assert (payload.kind, payload.summary) == ("polars DataFrame", "1 row × 1 column")


@given(
    value=dataframes(excluded_dtypes=[pl.Object, pl.Int128, pl.UInt128, pl.Categorical, pl.Enum], max_size=5),
    options=formats,
)
def test_any_polars_frame_comes_back(value: pl.DataFrame, options: Options) -> None:
    try:
        payload = encode(value, options)
    except errors.UnsupportedValue:
        return  # a struct without fields, an array without width
    assert identical(decode(payload), value)


# -- Arrow ------------------------------------------------------------------------------------------

ARROW = {
    str(kind): pa.array([1, None], kind)
    for kind in (pa.int8(), pa.uint64(), pa.float16(), pa.timestamp("s"), pa.timestamp("ns", "Europe/Paris"))
} | {
    "time32[s]": pa.array([1, None], pa.time32("s")),
    "duration": pa.array([1, None], pa.duration("s")),
    "decimal": pa.array([Decimal("1.5"), None], pa.decimal256(60, 2)),
    "text": pa.array(["a", None]),
    "large text": pa.array(["a", None], pa.large_string()),
    "text views": pa.array(["a", None], pa.string_view()),
    "bytes": pa.array([b"a", None], pa.binary(1)),
    "lists": pa.array([[1], None]),
    "list views": pa.array([[1], None], pa.list_view(pa.int64())),
    "structs": pa.array([{"a": 1}, None]),
    "maps": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
    "dictionary": pa.array(["a", None, "b"]).dictionary_encode(),
    "dictionary of numbers": pa.array([2, None, 1]).dictionary_encode(),
    "ordered dictionary": pa.DictionaryArray.from_arrays(
        pa.array([1, 0], pa.int8()), ["a", "b"], ordered=True
    ),
    "nulls": pa.nulls(2),
    "uuid": pa.array([b"0" * 16, None], pa.uuid()),
    "bool8": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None], pa.int8())),
}


def table(array: Any) -> pa.Table:
    field = pa.field("größe", array.type, metadata={"unit": "m"})
    return pa.Table.from_arrays([array], schema=pa.schema([field], {"source": "here"}))


class Secret(pa.ExtensionType):
    """An extension type as they should not be: reading it runs code."""

    unpickled: ClassVar = 0

    def __init__(self) -> None:
        super().__init__(pa.int64(), "tests.secret")

    def __arrow_ext_serialize__(self) -> bytes:
        return b"import os"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: Any, serialized: bytes) -> Secret:
        cls.unpickled += 1
        return cls()


class TestArrow(CodecContract):
    codec = "arrow"
    formats: ClassVar = ALL
    fuzz = "table of many"
    values: ClassVar = (
        {f"array of {name}": lambda array=array: array for name, array in ARROW.items()}
        | {f"table of {name}": lambda array=array: table(array) for name, array in ARROW.items()}
        | {f"no rows of {name}": lambda array=array: table(array)[:0] for name, array in ARROW.items()}
        | {
            "batch": lambda: table(ARROW["text"]).to_batches()[0],
            "no rows in a batch": lambda: table(ARROW["text"]).to_batches()[0][:0],
            "chunks": lambda: pa.chunked_array([[1], [2, None], []]),
            "no chunks": lambda: pa.chunked_array([], pa.int64()),
            "slice": lambda: table(ARROW["lists"])[1:],
            "no columns": lambda: pa.table({}),
            "rows without columns": lambda: pa.table({"a": [1, 2]}).select([]),
            "table of many": lambda: pa.table({name: array[:2] for name, array in ARROW.items()}),
        }
    )
    refused: ClassVar = {
        "extension type": (
            lambda: pa.table({"a": pa.ExtensionArray.from_storage(Secret(), pa.array([1]))}),
            "tests.secret",
        ),
        "extension type inside": (
            lambda: pa.nulls(1, pa.struct([("a", pa.list_(Secret()))])),
            "tests.secret",
        ),
        "half a day": (lambda: pa.array([1], pa.date64()), "whole number of days"),
    }

    def test_dictionaries_become_one(self, options: Options) -> None:
        parts = [pa.array(["a", "b"]).dictionary_encode(), pa.array(["b", "c"]).dictionary_encode()]
        value = pa.table({"d": pa.chunked_array(parts)})
        found = decode(encode(value, options))
        assert found.schema == value.schema and found.to_pylist() == value.to_pylist()

    def test_what_parquet_does_not_hold_needs_arrow(self) -> None:
        parquet_ = replace(OPTIONS, frame_format="parquet")
        for value in (
            pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
            pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"]),
            pa.array([86_400_000], pa.date64()),
            pa.array([["a"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
            pa.array([{}], pa.struct([])),
            pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["same", "same"]),
        ):
            assert identical(decode(encode(value)), value)
            with pytest.raises(errors.UnsupportedValue, match="FRAME_FORMAT=arrow"):
                encode(value, parquet_)

    def test_some_columns(self, options: Options) -> None:
        value = self.values["table of many"]()
        payload = encode(value, options)
        assert identical(select(payload, ["maps", "text"]), value.select(["maps", "text"]))
        with pytest.raises(errors.UnsupportedValue, match="no column 'missing'"):
            select(payload, ["missing"])

    @pytest.mark.parametrize("form", BOTH)
    def test_no_extension_type_is_made_of_a_payload(self, form: str) -> None:
        pa.register_extension_type(Secret())
        try:
            harmless = pa.table({"a": pa.array([1])})
            hostile = pa.table({"a": pa.ExtensionArray.from_storage(Secret(), pa.array([1]))})
            payload, out = encode(harmless, replace(OPTIONS, frame_format=form)), io.BytesIO()
            if form == "arrow":
                with pa.ipc.new_file(out, hostile.schema) as writer:
                    writer.write_table(hostile)
            else:
                parquet.write_table(hostile, out)
                payload.meta["tail"] = tail_of(out.getvalue())
            Secret.unpickled = 0
            with pytest.raises(errors.PayloadUnreadable):
                decode(payload, out.getvalue())
            assert Secret.unpickled == 0
        finally:
            pa.unregister_extension_type("tests.secret")


def tail_of(data: bytes) -> list[object]:

    (length,) = struct.unpack("<I", data[-8:-4])
    return [length + 8, hashlib.sha256(data[-8 - length :]).hexdigest()]


# -- what holds for every table ------------------------------------------------------------------------


def ranged(payload: Any) -> Stored:
    """A payload on a store that has ranges and will not give the whole."""

    class OnlyRanges(Stored):
        def buffer(self, *, as_bytes: bool = False) -> memoryview:
            raise AssertionError("the whole payload was read")

    return OnlyRanges(data_of(payload), ranges=True)


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, pa.table])
def test_a_column_of_parquet_is_read_alone(kind: Any) -> None:
    numbers = np.random.default_rng(0).random((100_000, 10))
    value = kind({f"c{i}": numbers[:, i] for i in range(10)})
    payload = encode(value, replace(OPTIONS, frame_format="parquet"))
    stored = ranged(payload)
    found = select(payload, ["c3"], stored)
    assert np.array_equal(np.asarray(found["c3"]), numbers[:, 3])
    assert stored.read < stored.length / 5


def test_no_damage_to_a_range_goes_unnoticed() -> None:
    value = pd.DataFrame({"a": range(300), "b": [f"v{i % 7}" for i in range(300)]})
    payload = encode(value, replace(OPTIONS, frame_format="parquet"))
    for at in range(0, payload.length, 7):
        stored = ranged(payload)
        damaged = bytearray(stored.data)
        damaged[at] ^= 1 << at % 8
        stored.data = bytes(damaged)
        try:
            assert identical(select(payload, ["b"], stored), value[["b"]])
        except errors.PayloadError:
            continue


def test_a_column_in_another_order_is_no_value() -> None:
    """Same length, same footer, right checksums of its pages: the row knows nothing of it."""
    options = replace(OPTIONS, frame_format="parquet")
    numbers = np.random.default_rng(0).integers(-(2**63), 2**63, (1000, 3))  # which no compression shortens
    value = pd.DataFrame(numbers, columns=["a", "b", "c"])
    other = value.assign(b=value["b"].to_numpy()[::-1])
    payload, stored = encode(value, options), ranged(encode(other, options))
    assert stored.length == payload.length
    tail = payload.meta["tail"][0]
    stored.data = stored.data[:-tail] + data_of(payload)[-tail:]
    with pytest.raises(errors.PayloadAltered):
        select(payload, ["b"], stored)
    assert identical(select(payload, ["a", "c"], stored), value[["a", "c"]])


def test_what_the_row_does_not_vouch_for_is_not_read() -> None:
    """A tail of another length or without digests, though its own digest is right."""
    payload = encode(
        pd.DataFrame({"a": range(300), "b": range(300)}), replace(OPTIONS, frame_format="parquet")
    )
    stored, length = ranged(payload), payload.meta["tail"][0]
    for cut in (1, 32, 64):
        tail = stored.data[cut - length :]
        payload.meta["tail"] = [len(tail), hashlib.sha256(tail).hexdigest()]
        with pytest.raises(errors.PayloadUnreadable, match="digest"):
            select(payload, ["a"], stored)


def test_thousands_of_columns_do_not_swell_the_row() -> None:
    value = pa.table({f"c{i}": [i] for i in range(3000)})
    payload = encode(value, replace(OPTIONS, frame_format="parquet"))
    assert len(json.dumps(payload.meta)) < 300
    assert identical(select(payload, ["c7"], ranged(payload)), value.select(["c7"]))


@pytest.mark.parametrize("form", BOTH)
def test_missing_rows_are_an_error(form: str) -> None:
    options = replace(OPTIONS, frame_format=form)
    for value in (pa.table({"a": range(10)}), pl.DataFrame({"a": range(10)}), pd.DataFrame({"a": range(10)})):
        payload, shorter = encode(value, options), encode(value[:5], options)
        if form == "parquet":
            payload.meta["tail"] = shorter.meta["tail"]
        with pytest.raises(errors.PayloadError):
            decode(payload, data_of(shorter).replace(b'"rows":5', b'"rows":10'))


def test_a_bomb_of_compressed_zeros_is_not_unpacked() -> None:
    payload = encode(pa.table({"a": np.zeros(10**7)}))
    assert payload.length < 200_000
    for size in (2**20, 70 * 2**20):
        with pytest.raises(errors.PayloadUnreadable, match="MAX_DECODED_SIZE"):
            decode(payload, options=replace(OPTIONS, max_size=size))


def test_a_buffer_that_claims_too_much_is_not_allocated() -> None:
    payload = encode(pa.table({"a": [0.1234567] * 1000}))
    data = data_of(payload)
    claim = struct.pack("<q", 8000)  # in front of the compressed buffer
    assert data.count(claim) == 1
    with pytest.raises(errors.PayloadUnreadable, match="MAX_DECODED_SIZE"):
        decode(payload, data.replace(claim, struct.pack("<q", 2**50)))


def test_a_bomb_of_repeated_rows_is_not_unpacked() -> None:
    value = pa.table({"a": pa.repeat("x" * 1000, 200_000)})
    payload = encode(value, replace(OPTIONS, frame_format="parquet"))
    assert payload.length < 200_000
    with pytest.raises(errors.PayloadUnreadable, match="MAX_DECODED_SIZE"):
        decode(payload, options=replace(OPTIONS, max_size=20 * 2**20))


def test_many_long_categories_come_back_from_parquet() -> None:
    words = [f"{n:x}" * 9 for n in range(60_000)]
    value = pd.Series(pd.Categorical(words[::-1] * 2, [*words, "unused"], ordered=True))
    options = replace(OPTIONS, frame_format="parquet")
    assert identical(decode(encode(value, options)), value)


def test_a_bomb_of_one_category_is_not_unpacked() -> None:
    table = pa.table({"a": pa.array(["x" * 100_000]).dictionary_encode().take(pa.array([0] * 100_000))})
    for form in ALL:
        found = decode(
            encode(table, replace(OPTIONS, frame_format=form)), options=replace(OPTIONS, max_size=2**21)
        )
        assert found.equals(table)


def test_text_that_hides_the_schema_of_parquet_is_refused() -> None:
    value = pa.table({"a": ["ARROW:schema"]})
    assert decode(encode(value)).equals(value)
    with pytest.raises(errors.UnsupportedValue, match=r"label or value .*FRAME_FORMAT=arrow"):
        encode(value, replace(OPTIONS, frame_format="parquet"))


def test_endless_rows_of_nothing_are_not_made() -> None:
    payload = encode(pa.table({"a": pa.nulls(1000)}))
    with pytest.raises(errors.PayloadUnreadable, match="MAX_DECODED_SIZE"):
        decode(payload, options=replace(OPTIONS, max_size=999))
