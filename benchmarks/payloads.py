"""The values that the benchmarks hand over, each made the same way every time.

A payload is a function without arguments. Files are made below `XCOM_BENCH_FILES`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

MIB = 2**20


def _numpy() -> Any:
    import numpy

    return numpy.random.default_rng(20240229)


def _mixed_columns(rows: int) -> dict[str, Any]:
    """10 columns: 4 of floats rounded to two places, 4 of integers, 2 of text; about 100 bytes a row."""
    import numpy as np

    rng = _numpy()
    towns = np.array([f"town-{n:04d}" for n in range(2000)])
    states = np.array(["open", "closed", "pending", "returned"])
    columns: dict[str, Any] = {f"price_{n}": np.round(rng.normal(100, 30, rows), 2) for n in range(4)}
    columns |= {f"count_{n}": rng.integers(0, 10 ** (n + 2), rows) for n in range(4)}
    columns["town"] = towns[rng.integers(0, len(towns), rows)]
    columns["state"] = states[rng.integers(0, len(states), rows)]
    return columns


def pandas_mixed(rows: int = 1_000_000) -> Any:
    """pandas, 1,000,000 × 10 mixed columns."""
    import pandas as pd

    return pd.DataFrame(_mixed_columns(rows))


def polars_mixed(rows: int = 1_000_000) -> Any:
    """polars, 1,000,000 × 10 mixed columns."""
    import polars as pl

    return pl.DataFrame(_mixed_columns(rows))


def pandas_random(rows: int = 1_000_000) -> Any:
    """pandas, 1,000,000 × 10 random floats: nothing to compress."""
    import pandas as pd

    return pd.DataFrame(_numpy().random((rows, 10)), columns=[f"x{n}" for n in range(10)])


def pandas_small() -> Any:
    """pandas, 10,000 × 10 mixed columns."""
    return pandas_mixed(10_000)


def json_records(count: int = 300_000) -> list[dict[str, Any]]:
    """JSON log records, 300,000 dicts of nine fields."""
    rng = random.Random(20240229)
    services = [f"service-{n}" for n in range(40)]
    return [
        {
            "time": f"2024-02-29T{n // 3600 % 24:02d}:{n // 60 % 60:02d}:{n % 60:02d}Z",
            "millisecond": rng.randrange(1000),
            "level": rng.choice(("INFO", "INFO", "INFO", "WARNING", "ERROR")),
            "service": rng.choice(services),
            "request": f"{rng.getrandbits(64):016x}",
            "status": rng.choice((200, 200, 200, 201, 304, 404, 500)),
            "seconds": round(rng.expovariate(20), 6),
            "bytes": rng.randrange(100_000),
            "tags": {"region": rng.choice(("eu", "us", "ap")), "canary": rng.random() < 0.01},
        }
        for n in range(count)
    ]


def numpy_array() -> Any:
    """numpy, float64 1000 × 4000."""
    return _numpy().random((1000, 4000))


def image() -> Any:
    """PIL image, 4000 × 3000 RGB, photo-like: smooth shapes with sensor noise."""
    import numpy as np
    from PIL import Image

    y, x = np.mgrid[0:3000, 0:4000].astype("float32")
    rng = _numpy()
    planes = [
        127 + 80 * np.sin(x / (300 + 90 * n)) * np.cos(y / (410 - 70 * n)) + rng.normal(0, 3, x.shape)
        for n in range(3)
    ]
    return Image.fromarray(np.clip(np.stack(planes, axis=-1), 0, 255).astype("uint8"))


def binary(size: int = 64 * MIB) -> bytes:
    """bytes, 64 MiB, random."""
    return random.Random(20240229).randbytes(size)


def file(size: int = 512 * MIB) -> Path:
    """A file of 512 MiB, random."""
    path = Path(os.environ["XCOM_BENCH_FILES"]) / f"{size}.bin"
    if not path.exists():
        rng = random.Random(20240229)
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as out:
            for _ in range(0, size, 16 * MIB):
                out.write(rng.randbytes(min(16 * MIB, size)))
        part.rename(path)
    return path


def small_dict() -> dict[str, Any]:
    """A dict of about 200 bytes."""
    return {
        "table": "warehouse.orders",
        "partition": "2024-02-29",
        "rows": 48_211,
        "checked": True,
        "null_share": 0.0021,
        "columns": ["order_id", "customer_id", "amount", "currency", "created_at"],
    }


def three_frames() -> dict[str, Any]:
    """A dict of three pandas frames of 100,000 rows, with `multiple_outputs`: each key, then the whole."""
    return {name: pandas_mixed(100_000) for name in ("orders", "customers", "returns")}


PAYLOADS: dict[str, Callable[[], Any]] = {
    "pandas mixed": pandas_mixed,
    "polars mixed": polars_mixed,
    "pandas random": pandas_random,
    "pandas small": pandas_small,
    "json records": json_records,
    "numpy": numpy_array,
    "image": image,
    "bytes": binary,
    "file": file,
    "small dict": small_dict,
    "1000 mapped": small_dict,
    "three frames": three_frames,
}


def same(payload: str, one: Any, other: Any) -> bool:
    """Whether a pulled value is what was pushed; outside the measured time."""
    import pandas as pd

    if isinstance(one, pd.DataFrame):
        return bool(one.equals(other))
    if hasattr(one, "equals"):
        return bool(one.equals(other))
    if payload == "numpy":
        return bool((one == other).all())
    if payload == "file":
        return one.stat().st_size == Path(other).stat().st_size
    if payload == "image":
        return one.size == other.size and one.tobytes() == other.tobytes()
    if payload == "three frames":
        return all(one[name].equals(other[name]) for name in one)
    return bool(one == other)
