"""What other tools see in the object that a pandas frame becomes. `zygote.py` calls `main` for each format.

The frame is pushed into a folder, and the object read there by pandas, polars and duckdb, with what each of
them has for its kind of file.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import payloads
from measure import AirflowBackend


def main(path: str) -> dict[str, Any]:
    """Bytes of the object; and for each tool the seconds that it takes to read it, and the types of the
    columns in its own words: "4 × float64, 4 × int64, 2 × str"."""
    row = AirflowBackend(path).push(payloads.pandas_mixed())
    (file,) = (each for each in (Path(os.environ["XCOM_BENCH_FILES"]) / "ours").rglob("*") if each.is_file())
    result: dict[str, Any] = {"stored": row["length"], "suffix": file.suffix}
    for tool, read in READERS[file.suffix].items():
        read(str(file))  # what it has to import is not counted
        started = time.perf_counter()
        types = read(str(file))
        seconds = time.perf_counter() - started
        counted = Counter(str(kind) for kind in types)
        result[tool] = {
            "seconds": seconds,
            "types": ", ".join(f"{n} × {kind}" for kind, n in counted.items()),
        }
    return result


def _pandas(frame: Any) -> Iterable[Any]:
    for name, kind in frame.dtypes.items():
        yield type(frame[name].iloc[0]).__name__ if kind == "object" else kind


def _pandas_arrow(file: str) -> Iterable[Any]:
    import pandas as pd

    return _pandas(pd.read_feather(file))


def _pandas_parquet(file: str) -> Iterable[Any]:
    import pandas as pd

    return _pandas(pd.read_parquet(file))


def _polars_arrow(file: str) -> Iterable[Any]:
    import polars as pl

    return pl.read_ipc(file).dtypes


def _polars_parquet(file: str) -> Iterable[Any]:
    import polars as pl

    return pl.read_parquet(file).dtypes


def _duckdb_arrow(file: str) -> Iterable[Any]:
    """It has no reader of Arrow files without an extension, but takes tables that pyarrow has read."""
    import pyarrow as pa

    return _duckdb("frame", frame=pa.ipc.open_file(file).read_all())


def _duckdb_parquet(file: str) -> Iterable[Any]:
    return _duckdb(f"read_parquet('{file}')")


def _duckdb(source: str, **tables: Any) -> Iterable[Any]:
    import duckdb

    with duckdb.connect() as database:
        for name, table in tables.items():
            database.register(name, table)
        database.execute(f"SELECT * FROM {source}")
        return [column[1] for column in database.description or ()]


READERS: dict[str, dict[str, Callable[[str], Iterable[Any]]]] = {
    ".arrow": {"pandas": _pandas_arrow, "polars": _polars_arrow, "duckdb": _duckdb_arrow},
    ".parquet": {"pandas": _pandas_parquet, "polars": _polars_parquet, "duckdb": _duckdb_parquet},
}
