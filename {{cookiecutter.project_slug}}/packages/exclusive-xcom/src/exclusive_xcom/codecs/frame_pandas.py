"""pandas data frames, series and indexes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from . import Options, is_of
from ._tables import Table, TableCodec


class PandasCodec(TableCodec):
    """Keeps dtypes, every cell, the index of whatever kind with its freq and names, column labels of whatever
    kind, attrs. Whether rows or columns were contiguous in memory is not kept.

    In the file each column has Arrow's natural type, so that other tools can use it: text, times, categories
    as dictionaries. Cells of mixed types are JSON text.
    """

    name = "frame_pandas"
    what = "pandas frame"

    def accepts(self, value: Any) -> bool:
        """DataFrame, Series and Index; subclasses too, which `encode` refuses."""
        return is_of(value, "pandas", "DataFrame", "Series", "Index")

    def table(self, value: Any, options: Options) -> Table:
        """Its columns, then those of its index."""
        from ._pandas_frames import to_table

        return to_table(value, options)

    def value(self, schema: Any, batches: Iterator[Any], shape: str, options: Options) -> Any:
        """The frame, series or index."""
        from ._pandas_frames import from_table

        return from_table(schema, batches, shape, options)

    def choose(self, found: Any, shape: str, columns: Sequence[str], options: Options) -> Any:
        """A frame of these columns with the whole index."""
        from ._pandas_frames import choose

        return choose(found, shape, columns, options)


CODEC = PandasCodec()
