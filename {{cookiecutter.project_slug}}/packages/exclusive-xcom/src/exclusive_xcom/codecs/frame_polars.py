"""polars data frames and series."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import polars as pl
import pyarrow as pa

from ..errors import UnsupportedValue
from . import Options
from ._arrow_types import batches_of, rows_per_batch
from ._tables import Table, TableCodec
from .common import extent


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
            if not _comes_back(frame.select(name).head(2)):
                what = f"Column {name!r} has dtype {dtype}, which Arrow does not hold"
                raise UnsupportedValue(what, "Cast it, or drop it.")
        summary = extent(frame.height, frame.width if shape == "DataFrame" else None)
        schema, step = _to_arrow(frame.clear()).schema, rows_per_batch(frame.height, frame.estimated_size())
        batches = partial(_batches, frame, step)
        return Table(f"polars {shape}", summary, shape, schema, frame.height, batches)

    def value(self, schema: Any, batches: Iterator[Any], shape: str, options: Options) -> Any:
        # One batch at a time, since Arrow's text becomes text of polars' own kind.
        frames: list[Any] = [pl.from_arrow(batch, rechunk=False) for batch in batches]
        frame: Any = pl.concat(frames, rechunk=False)
        frame.columns = schema.names  # from_arrow gives a name to a column that has an empty one
        return frame.to_series() if shape == "Series" else frame


CODEC = PolarsCodec()


def _to_arrow(frame: Any) -> Any:
    # The newest level has string views, of which a slice is written with everything they view.
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def _batches(frame: Any, rows: int) -> Iterator[Any]:
    for start in range(0, frame.height or 1, rows):
        yield from batches_of(_to_arrow(frame.slice(start, rows)))


def _comes_back(frame: Any) -> bool:
    try:
        found: Any = pl.from_arrow(_to_arrow(frame))
        found.columns = frame.columns
    except (pa.ArrowException, pl.exceptions.PolarsError):
        return False
    return bool(found.dtypes == frame.dtypes and found.equals(frame, null_equal=True))
