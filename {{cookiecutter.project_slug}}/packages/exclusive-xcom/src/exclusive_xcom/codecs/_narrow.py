"""Columns of Arrow tables in narrower types, as long as every value comes back bit for bit.

    integers    the narrowest integers that hold them
    floats      decimals, where all are numbers of at most nine digits (prices, percentages, sensor values)
    text        a dictionary, where the same few texts repeat

Another tool would see these types, so this is for stores that only we read. Packing such a frame takes two
thirds of the time and gives three quarters of the bytes; of others only a look at a sample is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute

from ..errors import UnsupportedValue
from ._arrow_types import memory
from ._json import dumps, loads

_WAS = b"xcom:was"  # in the metadata of a narrowed field: the type that its values had
_NEGATIVE_ZEROS = b"xcom:negative zeros"  # beside a batch: the rows of -0.0, which decimals don't have
WORTH = 2**12, 2**20  # rows and bytes of a batch; below, nobody would notice, or it would take longer
_SAMPLE = 10_000  # rows
_TEXTS = 2**15 - 1  # distinct texts of a column, at most: an int16 tells so many apart
_PLACES = 6  # decimal places that are tried
_DIGITS = 9  # of a decimal with 32 bits


class Narrowing:
    """How the columns of a table are narrowed: by a look at its first batch. False if none of them is. Raises
    `UnsupportedValue` for a column with metadata of the name that narrowed ones get.

    Attributes:
        fits: whether all batches so far came out in the types of `schema`. Once one did not, its column is
            left as it is from then on, and the table has to be written again from the start.
    """

    def __init__(self, first: Any, rows: int) -> None:
        self.fits = True
        self._kinds: dict[int, Any] = {}
        worth = len(first) >= max(1, WORTH[0]) and first.nbytes >= WORTH[1]
        for i, (field, column) in enumerate(zip(first.schema, first.columns, strict=True)):
            if _WAS in (field.metadata or {}):
                what = f"Column {field.name!r} has our own metadata {_WAS.decode()!r}"
                raise UnsupportedValue(what, "Take it out of the field.")
            of = _KINDS.get(str(field.type)) if worth and field.nullable and not field.metadata else None
            if of and (kind := of.like(column, rows / len(column))):
                self._kinds[i] = kind

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def schema(self, schema: Any) -> Any:
        """The schema of the narrowed table."""
        fields = list(schema)
        for i, kind in self._kinds.items():
            fields[i] = fields[i].with_type(kind.stored).with_metadata({_WAS: str(fields[i].type)})
        return pa.schema(fields, schema.metadata)

    def batch(self, batch: Any, pool: Executor) -> tuple[Any, dict[bytes, bytes]]:
        """A batch, narrowed (see `fits`), and the notes that are to be written beside it."""
        columns, notes, kinds = list(batch.columns), {}, dict(self._kinds)
        for i, found in zip(kinds, pool.map(lambda i: kinds[i].narrow(columns[i]), kinds), strict=True):
            if found is None:
                del self._kinds[i]
                self.fits = False
                continue
            columns[i], negative_zeros = found
            if negative_zeros:
                notes[str(i)] = negative_zeros
        made = pa.RecordBatch.from_arrays(columns, schema=self.schema(batch.schema))
        return made, {_NEGATIVE_ZEROS: dumps(notes)} if notes else {}


class Widening:
    """Gives the columns of a table that was narrowed the types that they had, those of `schema`."""

    def __init__(self, stored: Any) -> None:
        fields = list(stored)
        self._kinds: dict[int, Any] = {}
        for i, field in enumerate(fields):
            if (was := (field.metadata or {}).get(_WAS, b"").decode()) in _KINDS:
                self._kinds[i] = _KINDS[was]
                fields[i] = pa.field(field.name, pa.type_for_alias(was), field.nullable)
        self.schema = pa.schema(fields, stored.metadata)

    def size(self, columns: Sequence[Any], fields: Sequence[int]) -> int:
        """Bytes that the values of columns of these fields will take. Texts that repeat may be long."""
        return sum(
            self._kinds[i].size(column, self.schema.field(i).type) if i in self._kinds else memory([column])
            for column, i in zip(columns, fields, strict=True)
        )

    def batch(self, columns: Sequence[Any], fields: Sequence[int], notes: Mapping[bytes, bytes]) -> Any:
        """The RecordBatch of columns of these fields, with the notes that are beside it."""
        schema = pa.schema([self.schema.field(i) for i in fields], self.schema.metadata)
        zeros = loads(notes.get(_NEGATIVE_ZEROS, b"{}"))
        widened = [
            self._kinds[i].widen(column, kind, zeros.get(str(i), [])) if i in self._kinds else column
            for column, kind, i in zip(columns, schema.types, fields, strict=True)
        ]
        return pa.RecordBatch.from_arrays(widened, schema=schema)


class _Kind:
    """One kind of columns, there and back; `stored` is the Arrow type that they get. Each has

    like(column, growth)          one for a column that begins like this, and is so many times longer as a
                                  whole (numbers that count rows grow with it), or None
    narrow(column)                the narrowed column and the rows of -0.0 in it; None if it does not fit
    widen(column, was, zeros)     the column that `narrow` was given, of type `was`
    size(column, was)             bytes that it will take then
    """

    def __init__(self, stored: Any) -> None:
        self.stored = stored

    @staticmethod
    def size(column: Any, was: Any) -> int:
        return int(len(column) * was.bit_width // 8)


class _Integers(_Kind):
    """Narrower integers."""

    @classmethod
    def like(cls, column: Any, growth: float) -> _Kind | None:
        low, high = (growth * (end or 0) for end in compute.min_max(column).as_py().values())
        for bits, kind in ((8, pa.int8()), (16, pa.int16()), (32, pa.int32())):
            if bits < column.type.bit_width and -(2 ** (bits - 1)) <= low <= high < 2 ** (bits - 1):
                return cls(kind)
        return None

    def narrow(self, column: Any) -> tuple[Any, list[int]] | None:
        if column.null_count:
            try:
                return column.cast(self.stored), []
            except pa.ArrowInvalid:
                return None
        values = _numbers(column)  # three times as fast
        narrow = values.astype(self.stored.to_pandas_dtype())
        return (_array(narrow), []) if (narrow == values).all() else None

    @staticmethod
    def widen(column: Any, was: Any, negative_zeros: Sequence[int]) -> Any:
        return column.cast(was)


# Not `pa.array` and `to_numpy`, which import pandas to ask whether something is one of its values: a third of
# a second in each task that has a frame of polars.


def _numbers(column: Any) -> Any:
    """A column of numbers as numpy's, without a copy. Where one is missing, there is any."""
    data, end = column.buffers()[1], column.offset + len(column)
    kind = np.dtype(column.type.to_pandas_dtype())
    return np.frombuffer(data, kind, end)[column.offset :] if end else np.empty(0, kind)


def _are_missing(column: Any) -> Any:
    """For each number of a column of which some are missing whether it is."""
    bits = np.unpackbits(np.frombuffer(column.buffers()[0], "u1"), bitorder="little")
    return bits[column.offset : column.offset + len(column)] == 0


def _array(values: Any, missing: Any = None) -> Any:
    """Those of numpy, as a column."""
    valid = None if missing is None else pa.py_buffer(np.packbits(~missing, bitorder="little"))
    buffers = [valid, pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


class _Floats(_Kind):
    """Decimals. NaN is null there, and what else they do not have is noted (-0.0) or refused."""

    @classmethod
    def like(cls, column: Any, growth: float) -> _Kind | None:
        sample = column.slice(0, _SAMPLE)
        kinds = (cls(pa.decimal32(_DIGITS, places)) for places in range(_PLACES + 1))
        return next((kind for kind in kinds if kind.narrow(sample) is not None), None)

    def narrow(self, column: Any) -> tuple[Any, list[int]] | None:
        if column.null_count:
            return None
        values = _numbers(column)
        missing = np.isnan(values)
        some = bool(missing.any())
        with np.errstate(over="ignore", invalid="ignore"):
            whole = np.rint((np.where(missing, 0, values) if some else values) * 10.0**self.stored.scale)
        if max(whole.max(initial=0), -whole.min(initial=0)) >= 10**_DIGITS:
            return None
        numbers = _array(whole.astype("int32"), missing if some else None)
        decimals = pa.Array.from_buffers(self.stored, len(numbers), numbers.buffers())
        # The bits, since no comparison of numbers tells -0.0 from 0.0, or one NaN from another.
        bits = values.view("int64")
        zeros = np.flatnonzero(self._values(decimals, []).view("int64") != bits)
        if len(zeros) > len(values) // 16 or (bits[zeros] != -(2**63)).any():
            return None
        return decimals, zeros.tolist()

    @staticmethod
    def widen(column: Any, was: Any, negative_zeros: Sequence[int]) -> Any:
        return _array(_Floats._values(column, negative_zeros))

    @staticmethod
    def _values(decimals: Any, negative_zeros: Sequence[int]) -> Any:
        """As a numpy array. Dividing gives the float that is nearest to the decimal."""
        whole = decimals.view(pa.int32())
        values = _numbers(whole) / 10.0**decimals.type.scale
        if whole.null_count:
            values[_are_missing(whole)] = np.nan
        values[negative_zeros] = -0.0
        return values


class _Texts(_Kind):
    """A dictionary, which grows by the texts that are new."""

    @classmethod
    def like(cls, column: Any, growth: float) -> _Kind | None:
        sample = column.slice(0, _SAMPLE)
        return cls(column) if 4 * compute.count_distinct(sample).as_py() < len(sample) else None

    def __init__(self, first: Any) -> None:
        super().__init__(pa.dictionary(pa.int16(), first.type))
        self._known = first.slice(0, 0)
        self._limit = min(_TEXTS, len(first) // 2)  # to look up all of them costs, too

    def narrow(self, column: Any) -> tuple[Any, list[int]] | None:
        numbers = compute.index_in(column, self._known, skip_nulls=True)
        if numbers.null_count > column.null_count:
            new = compute.and_(numbers.is_null(), column.is_valid())
            self._known = pa.concat_arrays([self._known, column.filter(new).unique()])
            if len(self._known) > self._limit:
                return None
            numbers = compute.index_in(column, self._known, skip_nulls=True)
        return pa.DictionaryArray.from_arrays(numbers.cast(pa.int16()), self._known), []

    @staticmethod
    def widen(column: Any, was: Any, negative_zeros: Sequence[int]) -> Any:
        return column.dictionary_decode().cast(was)

    @staticmethod
    def size(column: Any, was: Any) -> int:
        lengths = compute.binary_length(column.dictionary).take(column.indices)
        return len(column) + int(compute.sum(lengths).as_py() or 0)


_KINDS: dict[str, Any] = {f"{sign}int{bits}": _Integers for sign in ("", "u") for bits in (16, 32, 64)}
_KINDS |= {"double": _Floats, "string": _Texts, "large_string": _Texts}
