"""The values that the benchmarks hand over, each made the same way every time.

Each has a size of its own; `make("bytes@1000000")` makes one of another. What takes long to make is made once
and kept below `XCOM_BENCH_FILES`.
"""

from __future__ import annotations

import filecmp
import json
import os
import random
from collections.abc import Callable, Iterable, Iterator
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
    path = _folder() / f"{count}.json"
    if not path.exists():
        _write(path, [json.dumps(_records(count)).encode()])
    records: list[dict[str, Any]] = json.loads(path.read_bytes())
    return records


def _records(count: int) -> list[dict[str, Any]]:
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

    path = _folder() / "image.rgb"
    if not path.exists():
        y, x = np.mgrid[0:3000, 0:4000].astype("float32")
        rng = _numpy()
        planes = [
            127 + 80 * np.sin(x / (300 + 90 * n)) * np.cos(y / (410 - 70 * n)) + rng.normal(0, 3, x.shape)
            for n in range(3)
        ]
        _write(path, [np.clip(np.stack(planes, axis=-1), 0, 255).astype("uint8").tobytes()])
    return Image.frombytes("RGB", (4000, 3000), path.read_bytes())


def binary(size: int = 64 * MIB) -> bytes:
    """bytes, 64 MiB, random."""
    return b"".join(_random_pieces(size))


def file(size: int = 256 * MIB) -> Path:
    """A file of 256 MiB, random."""
    path = _folder() / f"{size}.bin"
    if not path.exists():
        _write(path, _random_pieces(size))
    return path


def _random_pieces(size: int) -> Iterator[bytes]:
    """Random bytes; more than 256 MiB at once are too many for `randbytes`."""
    rng = random.Random(20240229)
    return (rng.randbytes(min(16 * MIB, size - done)) for done in range(0, size, 16 * MIB))


def _folder() -> Path:
    return Path(os.environ["XCOM_BENCH_FILES"])


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as out:
        out.writelines(pieces)
    part.rename(path)


def small_dict() -> dict[str, Any]:
    """A dict of about 200 bytes; medians of 50 times."""
    return {
        "table": "warehouse.orders",
        "partition": "2024-02-29",
        "rows": 48_211,
        "checked": True,
        "null_share": 0.0021,
        "columns": ["order_id", "customer_id", "amount", "currency", "created_at"],
    }


def mapped(count: int = 1000) -> dict[str, Any]:
    """1,000 mapped values: a dict of 200 bytes from each of 1,000 task instances, pulled as one list."""
    return small_dict()


def three_frames() -> dict[str, Any]:
    """A dict of three pandas frames of 100,000 rows, with `multiple_outputs`: each key, then the whole."""
    return {name: pandas_mixed(100_000) for name in ("orders", "customers", "returns")}


def texts(count: int = 50) -> list[str]:
    """A list of 50 texts of 100 kB each."""
    rng = random.Random(20240229)
    return [rng.randbytes(50_000).hex() for _ in range(count)]


PAYLOADS: dict[str, Callable[..., Any]] = {
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
    "mapped": mapped,
    "three frames": three_frames,
    "texts": texts,
}


def split(payload: str) -> tuple[str, int | None]:
    """Name and size of `name@size`; None where it has the size of its own."""
    name, _, size = payload.partition("@")
    return name, int(size) if size else None


def make(payload: str) -> Any:
    """The value of `name` or `name@size`."""
    name, size = split(payload)
    return PAYLOADS[name]() if size is None else PAYLOADS[name](size)


def same(payload: str, one: Any, other: Any) -> bool:
    """Whether a pulled value is what was pushed; outside the measured time."""
    payload, _ = split(payload)
    if hasattr(one, "equals"):
        return bool(one.equals(other))
    if payload == "numpy":
        return bool((one == other).all())
    if payload == "file":
        return filecmp.cmp(one, other, shallow=False)
    if payload == "image":
        return one.size == other.size and one.tobytes() == other.tobytes()
    if payload == "three frames":
        return all(one[name].equals(other[name]) for name in one)
    return bool(one == other)
