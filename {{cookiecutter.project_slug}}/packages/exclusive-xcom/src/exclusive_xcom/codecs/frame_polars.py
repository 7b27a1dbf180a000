"""polars data frames and series."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import polars as pl
import pyarrow as pa

from ..errors import PayloadUnreadable, UnsupportedValue
from . import Options
from ._arrow_types import alike, batches_of, memory, no_rows, pieces, rows_per_batch
from ._tables import Table, TableCodec
from .common import check_decoded, extent


class PolarsCodec(TableCodec):
    """Keeps dtypes (categories and enums too), names, nulls and NaN; not how rows were divided into chunks.

    Goes through Arrow, which polars hands over without a copy (but for text, a batch at a time). That is as
    fast as polars' own IPC, and what is read is bounded and validated before polars sees it.
    """

    name = "frame_polars"
    what = "polars frame"

    def table(self, value: Any, options: Options) -> Table:
        shape = type(value).__name__
        if isinstance(value, pl.LazyFrame):
            raise UnsupportedValue("A polars LazyFrame is a plan, not data", "Return frame.collect().")
        if type(value) not in (pl.DataFrame, pl.Series):
            what = f"A {shape} would come back as polars' own class"
            raise UnsupportedValue(what, "Return polars.DataFrame(value).")
        frame = value if shape == "DataFrame" else value.to_frame()
        for name, dtype in frame.schema.items():
            if _has(dtype, pl.Object):  # of which polars makes an end of the whole process, in a list
                raise UnsupportedValue(f"Column {name!r} holds Python objects", "Cast it, or drop it.")
        summary = extent(frame.height, frame.width if shape == "DataFrame" else None)
        schema, step = _to_arrow(frame.clear()).schema, rows_per_batch(frame.height, frame.estimated_size())
        batches = partial(_batches, frame, step)
        return Table(f"polars {shape}", summary, shape, schema, frame.height, batches, _cost)

    def value(self, schema: Any, batches: Iterator[Any], shape: str, options: Options) -> Any:
        # What we write for the dtypes that polars makes of these types: others it would unfold.
        known: Any = pl.from_arrow(pa.Table.from_batches([no_rows(schema)]))
        if not all(map(alike, _to_arrow(known).schema.types, schema.types)):
            raise PayloadUnreadable("The payload has other types than those of a polars frame")
        # A little at a time, since Arrow's text becomes text of polars' own kind.
        frames: list[Any] = [pl.from_arrow(piece, rechunk=False) for piece in _checked(batches, options)]
        whole: Any = pl.concat(frames, rechunk=False)
        whole.columns = schema.names  # from_arrow gives a name to a column that has an empty one
        return whole.to_series() if shape == "Series" else whole

    def part(self, value: Any, rows: int, columns: slice = slice(None)) -> Any:
        return value.head(rows) if isinstance(value, pl.Series) else value[:, columns].head(rows)

    def difference(self, found: Any, value: Any) -> str | None:
        frames = [one if isinstance(one, pl.DataFrame) else one.to_frame() for one in (found, value)]
        for name, one, other in zip(frames[1].columns, *map(pl.DataFrame.get_columns, frames), strict=True):
            if one.name != name or one.dtype != other.dtype:
                return f"Column {name!r} of dtype {other.dtype} would come back as {one.dtype}"
            if not one.equals(other, null_equal=True):
                return f"Column {name!r} would come back with other values"
        return None


CODEC = PolarsCodec()


def _to_arrow(frame: Any) -> Any:
    # The newest level has string views, of which a slice is written with everything they view.
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def _batches(frame: Any, rows: int) -> Iterator[Any]:
    """RecordBatches of a frame. The dictionaries of its categories are made of all rows, once: each slice
    would have others."""
    coded = [name for name, dtype in frame.schema.items() if _has(dtype, pl.Categorical)]
    categories = _to_arrow(frame.select(coded)).unify_dictionaries() if coded else None
    plain = frame.drop(coded) if coded else frame
    for start in range(0, frame.height or 1, rows):
        part = _to_arrow(plain.slice(start, rows))
        if categories is not None:
            ours = categories.slice(start, rows)
            columns = [(ours if name in coded else part).column(name) for name in frame.columns]
            fields = [(ours if name in coded else part).schema.field(name) for name in frame.columns]
            part = pa.Table.from_arrays(columns, schema=pa.schema(fields))
        yield from batches_of(part)


def _checked(batches: Iterator[Any], options: Options) -> Iterator[Any]:
    """Slices of batches that are not large, as long as all of them take no more than is allowed."""
    size = 0
    for batch in batches:
        size += _cost(batch)
        check_decoded(size, options)
        yield from pieces(batch)


def _cost(batch: Any) -> int:
    """Bytes that a batch takes in polars, which has sixteen for each text, and more for a long one."""
    return memory(batch.columns) + 16 * sum(map(_texts, batch.columns))


def _texts(column: Any) -> int:
    is_, kind = pa.types, column.type
    if is_.is_large_string(kind) or is_.is_large_binary(kind):
        return len(column)
    if is_.is_struct(kind):
        return sum(_texts(column.field(i)) for i in range(kind.num_fields))
    return _texts(column.flatten()) if is_.is_large_list(kind) or is_.is_fixed_size_list(kind) else 0


def _parts(dtype: Any) -> Iterator[Any]:
    """A dtype and all dtypes inside it."""
    yield dtype
    for inner in [*(field.dtype for field in getattr(dtype, "fields", ())), getattr(dtype, "inner", None)]:
        if inner is not None:
            yield from _parts(inner)


def _has(dtype: Any, kind: Any) -> bool:
    return any(isinstance(part, kind) for part in _parts(dtype))
