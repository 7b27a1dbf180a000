"""Tables of any type that the libraries have: exactly what was pushed comes back, or the push is refused."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from exclusive_xcom import errors
from exclusive_xcom.testing.codec_contract import OPTIONS, decode, encode
from exclusive_xcom.testing.identical import identical

FORMS = ("arrow", "packed", "parquet")
ROWS = (0, 1, 2, 5, 30)  # more than what is looked at when it is pushed
chances = st.randoms(use_true_random=False)


def holds(value: Any, chance: random.Random) -> None:
    """Whether a value comes back, unless it is refused when it is pushed."""
    options = replace(OPTIONS, frame_format=chance.choice(FORMS))
    try:
        payload = encode(value, options)
    except errors.UnsupportedValue:
        return
    found = decode(payload)
    if payload.turned:  # a zone that no consumer can make: what a clock shows is the same
        assert {one.rpartition(" ")[2] for one in payload.turned} == {"timezone"}
        found, value = (as_text(one) for one in (found, value))
    assert identical(found, value)


def as_text(value: Any) -> str:
    """A value of pandas with its moments as they are shown."""
    return str((value if isinstance(value, pd.DataFrame) else value.to_frame()).to_csv())


# -- Arrow -----------------------------------------------------------------------------------------------

SIMPLE = [
    pa.null(), pa.bool_(), pa.int8(), pa.uint16(), pa.int64(), pa.uint64(), pa.float16(), pa.float64(),
    pa.date32(), pa.date64(), pa.time32("s"), pa.time64("us"), pa.timestamp("s"), pa.timestamp("ms", "UTC"),
    pa.timestamp("us", "Europe/Paris"), pa.timestamp("ns", "+01:00"), pa.duration("s"), pa.duration("ns"),
    pa.month_day_nano_interval(), pa.decimal32(5, 2), pa.decimal128(20, 3), pa.decimal256(50, -2),
    pa.binary(), pa.binary(3), pa.binary(0), pa.large_binary(), pa.binary_view(), pa.string(),
    pa.large_string(), pa.string_view(), pa.uuid(), pa.json_(), pa.bool8(), pa.opaque(pa.int8(), "x", "y"),
    pa.fixed_shape_tensor(pa.int8(), [2, 2]),
]  # fmt: skip


def any_type(chance: random.Random, depth: int) -> pa.DataType:
    if depth == 0 or chance.random() < 0.4:
        return chance.choice(SIMPLE)
    inner = any_type(chance, depth - 1)
    nullable = inner == pa.null() or chance.random() < 0.8
    field = pa.field(chance.choice(["item", "x", "element", ""]), inner, nullable=nullable)
    names = chance.sample(["a", "b", ""], chance.randrange(3))
    codes = chance.choice([pa.int8(), pa.uint8(), pa.int64()])
    makers = [
        lambda: pa.list_(field),
        lambda: pa.large_list(field),
        lambda: pa.list_(field, chance.randrange(3)),
        lambda: pa.list_view(field),
        lambda: pa.struct([pa.field(name, any_type(chance, depth - 1)) for name in names]),
        lambda: pa.map_(chance.choice([pa.string(), pa.int8()]), inner),
        lambda: pa.dictionary(codes, inner, chance.random() < 0.3),
        lambda: pa.run_end_encoded(pa.int32(), inner),
        lambda: pa.dense_union([pa.field("0", inner)]),
    ]
    return chance.choice(makers)()


def any_array(kind: pa.DataType, rows: int, chance: random.Random) -> pa.Array:
    is_ = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, any_array(kind.storage_type, rows, chance))
    if is_.is_null(kind) or chance.random() < 0.1:
        return pa.nulls(rows, kind)
    nulls = None if chance.random() < 0.4 else pa.py_buffer(chance.randbytes(rows // 8 + 1))
    if any(test(kind) for test in (is_.is_string, is_.is_large_string, is_.is_string_view)):
        return pa.array(chance.choices(["a", "größe", "x" * 20, None, ""], k=rows), kind)
    if any(test(kind) for test in (is_.is_binary, is_.is_large_binary, is_.is_binary_view)):
        return pa.array(chance.choices([b"a", b"\0", b"x" * 20, None], k=rows), kind)
    if is_.is_floating(kind):
        return pa.array(chance.choices([0.5, 1, -0.0, None], k=rows)).cast(kind)
    if is_.is_date64(kind):
        return pa.array([n * 86_400_000 for n in range(rows)], pa.int64()).view(kind)
    if is_.is_dictionary(kind):
        values = any_array(kind.value_type, 1, chance)
        indices = pa.array(chance.choices([None, 0], k=rows), kind.index_type)
        return pa.DictionaryArray.from_arrays(indices, values, ordered=kind.ordered)
    if is_.is_run_end_encoded(kind):
        ends = pa.array([rows] if rows else [], pa.int32())
        return pa.RunEndEncodedArray.from_arrays(ends, any_array(kind.value_type, len(ends), chance))
    if is_.is_union(kind):
        places = pa.array(range(rows), pa.int32())
        values = any_array(kind.field(0).type, rows, chance)
        return pa.UnionArray.from_dense(pa.array([0] * rows, pa.int8()), places, [values])
    if is_.is_struct(kind) or is_.is_fixed_size_list(kind):
        size = kind.list_size if is_.is_fixed_size_list(kind) else 1
        inner = [any_array(kind.field(i).type, rows * size, chance) for i in range(kind.num_fields)]
        return pa.Array.from_buffers(kind, rows, [nulls], children=inner)
    if is_.is_nested(kind):
        sizes = np.array(
            [chance.randrange(3) for _ in range(rows)], "i8" if is_.is_large_list(kind) else "i4"
        )
        ends = np.concatenate([[0], np.cumsum(sizes)]).astype(sizes.dtype)
        if is_.is_map(kind):
            keys = [str(n) for n in range(ends[-1])] if kind.key_type == pa.string() else range(ends[-1])
            parts = [pa.array(keys, kind.key_type), any_array(kind.item_type, int(ends[-1]), chance)]
            inner = [pa.StructArray.from_arrays(parts, fields=[kind.key_field, kind.item_field])]
        else:
            inner = [any_array(kind.value_type, int(ends[-1]), chance)]
        buffers = [ends[:-1].copy(), sizes] if is_.is_list_view(kind) else [ends]
        return pa.Array.from_buffers(kind, rows, [nulls, *map(pa.py_buffer, buffers)], children=inner)
    low, high = (-(2**62), 2**62) if chance.random() < 0.3 and not is_.is_time(kind) else (0, 99)
    cells = [chance.randrange(low, high) for _ in range(rows)]
    size = max(8, kind.bit_width) // 8 if not is_.is_fixed_size_binary(kind) else kind.byte_width
    if is_.is_decimal(kind) or size > 8:
        cells = [abs(cell) % 99 for cell in cells]
    modulo = 2 ** (8 * size)
    data = b"".join((cell % modulo).to_bytes(size, "little") for cell in cells) + bytes(8)
    return pa.Array.from_buffers(kind, rows, [nulls, pa.py_buffer(data)])


@settings(max_examples=300, deadline=None)
@given(chances)
def test_any_arrow_table_comes_back_or_is_refused(chance: random.Random) -> None:
    try:
        array = any_array(any_type(chance, chance.randrange(4)), chance.choice(ROWS), chance)
        array.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return  # Arrow itself can't make it
    table = pa.table({"a": array})
    many = pa.chunked_array([array, array.slice(0, 1)])
    holds(chance.choice([table, table.slice(1), pa.record_batch({"a": array}), array, many]), chance)


# -- polars ----------------------------------------------------------------------------------------------

OF_NUMBERS = [
    pl.Date, pl.Datetime("ms"), pl.Datetime("ns"), pl.Datetime("us", "Europe/Paris"), pl.Duration("ms"),
    pl.Duration("ns"), pl.Int64, pl.Float64, pl.Boolean, pl.Decimal(38, 0), pl.Int128,
]  # fmt: skip
OF_TEXT = [pl.String, pl.Categorical, pl.Enum(["a", "größe", ""]), pl.Binary]


def any_series(chance: random.Random, rows: int, depth: int = 2) -> pl.Series:
    shape = chance.randrange(8) if depth else chance.randrange(4)
    if shape < 2:
        dtype = chance.choice(OF_NUMBERS)
        end = 2**31 if dtype == pl.Date else 2**63
        cells = [
            chance.choice([None, chance.randrange(-end, end), chance.randrange(99)]) for _ in range(rows)
        ]
        return pl.Series(cells, dtype=pl.Int32 if dtype == pl.Date else pl.Int64).cast(dtype)
    if shape == 2:
        return pl.Series(chance.choices(["a", "größe", "", None], k=rows), dtype=pl.String).cast(
            chance.choice(OF_TEXT)
        )
    if shape == 3:
        return pl.Series([None] * rows)
    inner = any_series(chance, 2 * rows, depth - 1)
    if shape == 4:
        return _pairs(inner, rows).list.to_array(2)
    if shape == 5:
        return pl.Series([[]] * rows, dtype=pl.Array(inner.dtype, 0))
    if shape == 6:
        names = chance.choice([["a", "b"], ["", "a"], ["a\0", "b"]])
        return pl.DataFrame({name: any_series(chance, rows, depth - 1) for name in names}).to_struct("s")
    return _pairs(inner, rows)


def _pairs(values: pl.Series, rows: int) -> pl.Series:
    """Lists of two, made by polars itself: Python does not have all of its dates."""
    frame = pl.DataFrame({"a": values[:rows], "b": values[rows:]})
    return frame.select(pl.concat_list("a", "b")).to_series()


@settings(max_examples=150, deadline=None)
@given(chances)
def test_any_polars_frame_comes_back_or_is_refused(chance: random.Random) -> None:
    rows = chance.choice(ROWS)
    try:
        columns = [any_series(chance, rows) for _ in range(chance.randrange(3))]
    except pl.exceptions.PolarsError:
        return  # polars itself does not have it
    names = chance.sample(["a", "", "a.b", "a.list.element"], len(columns))
    rows = min(map(len, columns), default=0)
    value = pl.DataFrame({name: column[:rows] for name, column in zip(names, columns, strict=True)})
    value = chance.choice([value, pl.concat([value, value], rechunk=False), value[1:]])
    holds(value.to_series() if columns and chance.random() < 0.3 else value, chance)


# -- pandas ----------------------------------------------------------------------------------------------

ZONES = ["UTC", "Asia/Kolkata", dt.timezone(dt.timedelta(seconds=17)), "dateutil/Europe/Paris"]
OFFSETS = [
    "D", "MS", "2h", "W-MON", "QE-NOV", "-1D", pd.DateOffset(months=1), pd.offsets.Easter(),
    pd.offsets.CustomBusinessDay(), pd.offsets.BusinessHour(), pd.offsets.MonthEnd(normalize=True),
]  # fmt: skip
CELLS: list[Any] = [
    1, "a", None, 2.5, np.nan, pd.NA, pd.NaT, (1, 2), {"a": [1]}, b"x", 2**70, True, "\ud800", np.float32(1),
    dt.date(2024, 1, 1), pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp(2024, 10, 27, 2, fold=1),
    pd.Timedelta("1s"), pd.Period("2024", "M"), pd.Interval(0, 1), dt.datetime(2024, 1, 1, fold=1),
]  # fmt: skip
CATEGORIES = [
    pd.Index(["a", "b"]), pd.Index([1.5, 2.5]), pd.date_range("2024", periods=2), pd.interval_range(0, 2),
    pd.period_range("2024", periods=2, freq="M"), pd.Index([1, "a"], dtype=object), pd.RangeIndex(2),
    pd.Index([1, 2], dtype="Int8"), pd.Index([dt.date(1, 1, 1), dt.date(2, 1, 1)], dtype=object),
]  # fmt: skip


def any_column(chance: random.Random, rows: int) -> Any:
    numbers = np.array([chance.randrange(-(2**40), 2**40) for _ in range(rows)], "i8")
    floats = np.array(chance.choices([np.nan, -0.0, 1.5, np.inf], k=rows), chance.choice(["f4", "f8"]))
    missing = np.array([chance.random() < 0.3 for _ in range(rows)], bool)
    unit = chance.choice(["s", "ms", "us", "ns"])
    moments = pd.DatetimeIndex((numbers % 2**30).view(f"M8[{unit}]"))  # pandas does not write down all others
    text = chance.choices(["a", "größe", None, "", "x\0y"], k=rows)
    codes = [chance.randrange(-1, 2) for _ in range(rows)]
    makers = [
        lambda: pd.Series(numbers.astype(chance.choice(["i1", "u8", "c8", "g", ">i4"]))),
        lambda: pd.Series(floats),
        lambda: moments,
        lambda: moments.tz_localize("UTC").tz_convert(chance.choice(ZONES)),
        lambda: pd.Series(numbers.view(f"m8[{unit}]")),
        lambda: pd.arrays.FloatingArray(floats, missing),
        lambda: pd.arrays.IntegerArray(numbers, missing),
        lambda: pd.arrays.BooleanArray(missing.copy(), missing[::-1].copy()),
        lambda: pd.array(text, chance.choice(["str", "string", pd.StringDtype("python")])),
        lambda: pd.Categorical.from_codes(codes, chance.choice(CATEGORIES), ordered=chance.random() < 0.5),
        lambda: pd.PeriodIndex.from_ordinals(abs(numbers) % 999, freq=chance.choice(["M", "Q-NOV", "2D"])),
        lambda: pd.arrays.IntervalArray.from_arrays(floats, floats + 1, closed="both"),
        lambda: pd.arrays.SparseArray(codes),
        lambda: pd.Series(chance.choices(CELLS, k=rows), dtype=object),
        lambda: pd.Series(chance.choices(chance.sample(CELLS, 2), k=rows), dtype=object),
        lambda: pd.array(numbers, pd.ArrowDtype(pa.int64())),
    ]
    return chance.choice(makers)()


def any_index(chance: random.Random, rows: int) -> pd.Index:
    match chance.randrange(5):
        case 0:
            return pd.RangeIndex(3, 3 + 2 * rows, 2, name=chance.choice([None, "a", ("a", 1), 1.5, "\ud800"]))
        case 1:
            return pd.date_range("2024-01-31", periods=rows, freq=chance.choice(OFFSETS))
        case 2:
            return pd.MultiIndex.from_arrays(
                [pd.Index(range(rows)), pd.Index(["a"] * rows)], names=["x", None]
            )
        case 3:
            return pd.timedelta_range("1h", periods=rows, freq="-3min")
        case _:
            return pd.Index(any_column(chance, rows), name="n")


@settings(max_examples=250, deadline=None)
@given(chances)
def test_any_pandas_frame_comes_back_or_is_refused(chance: random.Random) -> None:
    rows, width = chance.choice(ROWS), chance.randrange(4)
    try:
        value = pd.DataFrame({n: pd.Series(any_column(chance, rows)) for n in range(width)}, range(rows))
        value.index = any_index(chance, rows)
        if chance.random() < 0.5:
            value.columns = any_index(chance, width)
    except (NotImplementedError, KeyError, TypeError, ValueError):
        return  # pandas itself does not have it
    shape = chance.randrange(4)
    holds(value.iloc[:, 0] if shape == 0 and width else value.index if shape == 1 else value, chance)
