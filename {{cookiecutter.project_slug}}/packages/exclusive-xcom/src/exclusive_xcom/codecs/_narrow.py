"""Columns of Arrow tables in narrower types, as long as every value comes back bit for bit.

    integers    the narrowest integers that hold them
    floats      decimals, where all are numbers of at most nine digits (prices, percentages, sensor values)
    text        a dictionary, where the same few texts repeat

Another tool reads the same values, of another type. Of a frame with such columns, packing takes two
thirds of the time and gives three quarters of the bytes; with others only a look at a sample is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ._json import dumps, loads

WAS = b"xcom:was"  # in the metadata of a narrowed field: the type that its values had
_NEGATIVE_ZEROS = b"xcom:negative zeros"  # beside a batch: the rows of -0.0, which decimals don't have
_TYPES = ("int16", "int32", "int64", "uint16", "uint32", "uint64", "double", "string", "large_string")
WORTH = 2**12, 2**20  # rows and bytes of a batch; below, nobody would notice, or it would take longer
_SAMPLE = 10_000  # rows
_TEXTS = 2**15 - 1  # distinct texts of a column, at most: an int16 tells so many apart
_PLACES = 6  # decimal places that are tried
_DIGITS = 9  # of a decimal with 32 bits


class Narrowing:
    """How the columns of a table are narrowed: by a look at its first batch.

    Attributes:
        fits: whether all batches so far came out in the types of `schema`. Once one did not, its column is
            left as it is from then on, and the table has to be written again from the start.
    """

    def __init__(self, first: Any, rows: int) -> None:
        self.fits = True
        self._dictionaries: dict[int, Any] = {}
        self._kinds: dict[int, Any] = {}
        self._texts = min(_TEXTS, len(first) // 2)  # to look up all of them costs, too
        if not len(first) or len(first) < WORTH[0] or first.nbytes < WORTH[1]:
            return
        for i, (field, column) in enumerate(zip(first.schema, first.columns, strict=True)):
            if str(field.type) in _TYPES and field.nullable and not field.metadata:
                kind = _narrower(column, rows / len(column))
                if kind is not None:
                    self._kinds[i] = kind

    def schema(self, schema: Any) -> Any:
        """The schema of the narrowed table."""
        import pyarrow as pa

        fields = list(schema)
        for i, kind in self._kinds.items():
            fields[i] = fields[i].with_type(kind).with_metadata({WAS: str(fields[i].type)})
        return pa.schema(fields, schema.metadata)

    def batch(self, batch: Any, pool: ThreadPoolExecutor) -> tuple[Any, dict[bytes, bytes]]:
        """A batch, narrowed (see `fits`), and the notes that are to be written beside it."""
        import pyarrow as pa

        if not self._kinds:
            return batch, {}
        columns, notes = list(batch.columns), {}
        fields = list(self._kinds)
        for i, found in zip(fields, pool.map(lambda i: self._column(i, columns[i]), fields), strict=True):
            if found is None:
                del self._kinds[i]
                self.fits = False
                continue
            columns[i], negative_zeros = found
            if negative_zeros:
                notes[str(i)] = negative_zeros
        narrowed = pa.RecordBatch.from_arrays(columns, schema=self.schema(batch.schema))
        return narrowed, {_NEGATIVE_ZEROS: dumps(notes)} if notes else {}

    def _column(self, i: int, column: Any) -> tuple[Any, list[int]] | None:
        """The narrowed column and the rows of -0.0 in it; None if it does not fit."""
        import pyarrow as pa

        kind = self._kinds[i]
        if pa.types.is_decimal(kind):
            return _decimals(column, kind)
        found = _integers(column, kind) if pa.types.is_integer(kind) else self._numbered(i, column)
        return None if found is None else (found, [])

    def _numbered(self, i: int, texts: Any) -> Any:
        """Texts as a dictionary, which grows by those that are new."""
        import pyarrow as pa
        from pyarrow import compute

        known = self._dictionaries.setdefault(i, texts.slice(0, 0))
        numbers = compute.index_in(texts, known, skip_nulls=True)
        if numbers.null_count > texts.null_count:
            new = compute.and_(numbers.is_null(), texts.is_valid())
            known = pa.concat_arrays([known, texts.filter(new).unique()])
            if len(known) > self._texts:
                return None
            self._dictionaries[i] = known
            numbers = compute.index_in(texts, known, skip_nulls=True)
        return pa.DictionaryArray.from_arrays(numbers.cast(pa.int16()), known)


def _narrower(column: Any, growth: float) -> Any:
    """A narrower type for a column like this one; None if there is none.

    Args:
        column: Arrow array, the beginning of it.
        growth: how many times longer the whole is. Numbers that count rows grow with it.
    """
    import pyarrow as pa
    from pyarrow import compute

    if pa.types.is_integer(column.type):
        ends = compute.min_max(column).as_py()
        low, high = (growth * (end or 0) for end in ends.values())
        for bits, kind in ((8, pa.int8()), (16, pa.int16()), (32, pa.int32())):
            if bits < column.type.bit_width and -(2 ** (bits - 1)) <= low <= high < 2 ** (bits - 1):
                return kind
        return None
    sample = column.slice(0, _SAMPLE)
    if pa.types.is_floating(column.type):
        kinds = (pa.decimal32(_DIGITS, places) for places in range(_PLACES + 1))
        return next((kind for kind in kinds if _decimals(sample, kind) is not None), None)
    repeat = 4 * compute.count_distinct(sample).as_py() < len(sample)
    return pa.dictionary(pa.int16(), column.type) if repeat else None


def _integers(column: Any, kind: Any) -> Any:
    """Integers in a narrower type; None if one of them is out of its range."""
    import pyarrow as pa

    if column.null_count:
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            return None
    values = column.to_numpy()  # three times as fast
    narrow = values.astype(kind.to_pandas_dtype())
    return pa.array(narrow) if (narrow == values).all() else None


def _decimals(column: Any, kind: Any) -> tuple[Any, list[int]] | None:
    """Floats as decimals, NaN as null, and the rows of -0.0; None if they are something else."""
    import numpy as np
    import pyarrow as pa

    if column.null_count:
        return None
    values = column.to_numpy()
    missing = np.isnan(values)
    some = bool(missing.any())
    with np.errstate(over="ignore", invalid="ignore"):
        whole = np.rint((np.where(missing, 0, values) if some else values) * 10.0**kind.scale)
    if max(whole.max(initial=0), -whole.min(initial=0)) >= 10**_DIGITS:
        return None
    numbers = pa.array(whole.astype("int32"), mask=missing if some else None)
    decimals = pa.Array.from_buffers(kind, len(numbers), numbers.buffers())
    # The bits, since no comparison of numbers tells -0.0 from 0.0, or one NaN from another.
    bits, other = values.view("int64"), _floats(decimals, []).view("int64") != values.view("int64")
    zeros = np.flatnonzero(other)
    if len(zeros) > len(values) // 16 or (bits[zeros] != -(2**63)).any():
        return None
    return decimals, zeros.tolist()


def _floats(decimals: Any, negative_zeros: Sequence[int]) -> Any:
    """The numpy array that `_decimals` was given. Dividing gives the float that is nearest to the decimal."""
    import numpy as np
    import pyarrow as pa

    whole = decimals.view(pa.int32())
    values = (whole.fill_null(0) if whole.null_count else whole).to_numpy() / 10.0**decimals.type.scale
    if whole.null_count:
        values[whole.is_null().to_numpy(zero_copy_only=False)] = np.nan
    values[negative_zeros] = -0.0
    return values


class Widening:
    """Gives the columns of a table that was narrowed the types that they had.

    Attributes:
        schema: pyarrow Schema before narrowing.
    """

    def __init__(self, stored: Any) -> None:
        import pyarrow as pa

        fields = list(stored)
        for i, field in enumerate(fields):
            if (was := (field.metadata or {}).get(WAS, b"").decode()) in _TYPES:
                fields[i] = pa.field(field.name, pa.type_for_alias(was), field.nullable)
        self.schema = pa.schema(fields, stored.metadata)

    def size(self, columns: Sequence[Any], fields: Sequence[int]) -> int:
        """Bytes that the values of columns of these fields will take. Texts that repeat may be long."""
        import pyarrow as pa
        from pyarrow import compute

        size = 0
        for column, i in zip(columns, fields, strict=True):
            kind = self.schema.field(i).type
            if column.type == kind:
                size += memory(column)
            elif pa.types.is_dictionary(column.type):
                lengths = compute.binary_length(column.dictionary).take(column.indices)
                size += len(column) + (compute.sum(lengths).as_py() or 0)
            else:
                size += len(column) * kind.bit_width // 8
        return size

    def batch(self, columns: Sequence[Any], fields: Sequence[int], notes: Mapping[bytes, bytes]) -> Any:
        """The RecordBatch of columns of these fields, with the notes that are beside it."""
        import pyarrow as pa

        schema = pa.schema([self.schema.field(i) for i in fields], self.schema.metadata)
        zeros = loads(notes.get(_NEGATIVE_ZEROS, b"{}"))
        widened = [
            _widened(column, kind, zeros.get(str(i), []))
            for column, kind, i in zip(columns, schema.types, fields, strict=True)
        ]
        return pa.RecordBatch.from_arrays(widened, schema=schema)


def memory(column: Any) -> int:
    """Bytes of an Arrow array, without the dictionary that it shares with others. At least one per cell:
    cells of no bytes may become objects."""
    import pyarrow as pa

    return int((column.indices if pa.types.is_dictionary(column.type) else column).nbytes + len(column))


def _widened(column: Any, kind: Any, negative_zeros: Sequence[int]) -> Any:
    import pyarrow as pa

    if column.type == kind:
        return column
    if pa.types.is_dictionary(column.type):
        return column.dictionary_decode().cast(kind)
    if pa.types.is_decimal32(column.type):
        return pa.array(_floats(column, negative_zeros))
    return column.cast(kind)
