"""One measurement in a fresh process: push a payload, pull it again; seconds, memory, stored bytes.

The class is used through the methods that Airflow calls, `serialize_value` and `deserialize_value`. Before
the clock starts, a small value of the same kind has gone there and back, so that imports and connections are
not counted; what they cost is measured by rest.py. `zygote.py` calls `main` in a process of its own.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import payloads
from contestants import SECRETS

TIMES = 50  # a push of a small value is repeated so often, and the median counts
FEW = 9  # on a slow network, or where each takes a tenth of a second


class Row:
    """What Airflow hands to `deserialize_value`."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.key = "return_value"


def peak_kib() -> int:
    """The largest resident memory since `reset_peak`, in KiB."""
    return _status("VmHWM")


def resident_kib() -> int:
    """The resident memory now, in KiB."""
    return _status("VmRSS")


def _status(name: str) -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))


def reset_peak() -> None:
    """Forget the peak so far (proc(5), clear_refs)."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


class AirflowBackend:
    """A backend class, used as Airflow uses it."""

    def __init__(self, path: str) -> None:
        module, _, name = path.rpartition(".")
        self.cls: Any = getattr(importlib.import_module(module), name)

    def push(self, value: Any, key: str = "return_value", map_index: int = -1) -> Any:
        """What the row would hold. It travels as JSON: what is no JSON could not be pushed."""
        row = self.cls.serialize_value(
            value, key=key, task_id="push", dag_id="bench", run_id="run", map_index=map_index
        )
        return json.loads(json.dumps(row))

    def pull(self, row: Any) -> Any:
        """The value of a row."""
        return self.cls.deserialize_value(Row(row))

    def pull_many(self, rows: list[Any]) -> list[Any]:
        """As `xcom_pull` of a mapped task does it, once it has the rows."""
        if hasattr(self.cls, "_answer"):
            from exclusive_xcom.binding import Question

            query = {"dag_id": "bench", "run_id": "run", "task_id": "push"}
            loaded: list[Any] = self.cls._answer(Question.of(query, several=True), rows)
            return loaded
        return [self.pull(row) for row in rows]

    def stored(self, row: Any) -> int:
        """Bytes that are kept: in the store, or in the row itself."""
        if isinstance(row, dict) and "$xcom" in row:
            return int(row["length"])
        if isinstance(row, str) and row.startswith(("s3://", "file://")):
            from airflow.sdk import ObjectStoragePath

            return int(ObjectStoragePath(row).stat().st_size)
        return len(json.dumps(row))


def backend(path: str) -> Any:
    """What pushes and pulls."""
    if path == "dagster":
        from dagster_peer import DagsterS3

        return DagsterS3()
    return AirflowBackend(path)


def push(way: Any, payload: str, value: Any) -> Any:
    """A payload as its task would."""
    name, size = payloads.split(payload)
    if name == "mapped":
        return [way.push(value, "return_value", index) for index in range(size or 1000)]
    if name == "three frames":
        for key, part in value.items():
            way.push(part, key)
    return way.push(value)


def pull(way: Any, payload: str, row: Any) -> Any:
    """A payload as the next task would."""
    return way.pull_many(row) if payloads.split(payload)[0] == "mapped" else way.pull(row)


def small_like(payload: str) -> Any:
    """A small value of the same kind, for the warm-up."""
    name, _ = payloads.split(payload)
    sizes = {
        "pandas mixed": 1000,
        "polars mixed": 1000,
        "pandas random": 1000,
        "json records": 100,
        "bytes": 100_000,
        "file": 100_000,
    }
    if name in sizes:
        return payloads.make(f"{name}@{sizes[name]}")
    if name == "three frames":
        return {"orders": payloads.pandas_mixed(100)}
    if name == "numpy":
        return payloads.numpy_array()[:10]
    if name == "image":
        return payloads.image().crop((0, 0, 64, 64))
    return payloads.small_dict()


def main(path: str, payload: str, times: int = TIMES) -> dict[str, Any]:
    """Seconds, peak memory above the value (push) or above nothing (pull) in bytes, stored bytes.

    Args:
        times: how often a small value is pushed and pulled.
    """
    for number in range(int(os.environ.get(SECRETS, 0))):
        from airflow.sdk.log import mask_secret

        mask_secret(f"a secret of the benchmark, number {number}")
    way = backend(path)
    warm = "mapped@1" if payload.startswith("mapped") else payload
    pull(way, warm, push(way, warm, small_like(payload)))
    value = payloads.make(payload)
    times = 1 if payload != "small dict" else FEW if path == "dagster" else times
    gc.collect()  # and what the parent process had is ours afterwards, not copied while the clock runs
    pushed, row, push_peak = measured(lambda: push(way, payload, value), times)
    pulled, back, pull_peak = measured(lambda: pull(way, payload, row), times)
    mapped = payload.startswith("mapped")
    expected = [value] * len(row) if mapped else value
    file = isinstance(value, Path) and isinstance(back, Path)
    result = {
        "push": pushed,
        "pull": pulled,
        "push_peak": push_peak,
        "pull_peak": pull_peak,
        "exact": payloads.same(payload, expected, back),
        "stored": sum(way.stored(one) for one in row) if mapped else way.stored(row),
    }
    if file and back != value:
        os.unlink(back)
    return result


def measured(work: Any, times: int = 1) -> tuple[float, Any, int]:
    """Median seconds of some work, its result, and the bytes of memory it took above what was there."""
    reset_peak()
    before = resident_kib()
    seconds = []
    for _ in range(times):
        result = None  # what the last time has made is not counted twice
        started = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), result, (peak_kib() - before) * 1024
