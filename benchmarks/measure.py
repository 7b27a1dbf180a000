"""One measurement in a fresh process: push a payload, pull it again, and print seconds and memory as JSON.

    python measure.py CLASS PAYLOAD     CLASS: dotted path of an XCom backend class

The class is used through the methods that Airflow calls, `serialize_value` and `deserialize_value`.
Before the clock starts, a small value of the same kind has gone there and back, so that imports and
connections are not counted; what they cost is measured by rest.py.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

import payloads


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


def push(cls: Any, payload: str, value: Any) -> Any:
    """As a task would: returns what Airflow's rows would hold."""

    def one(key: str, value: Any, map_index: int = -1) -> Any:
        row = cls.serialize_value(
            value, key=key, task_id="push", dag_id="bench", run_id="run", map_index=map_index
        )
        # A row travels as JSON: what is no JSON could not be pushed.
        return json.loads(json.dumps(row))

    if payload == "1000 mapped":
        return [one("return_value", value, index) for index in range(1000)]
    if payload == "three frames":
        for key, part in value.items():
            one(key, part)
    return one("return_value", value)


def pull(cls: Any, payload: str, row: Any) -> Any:
    """As a task would; a sequence the way `xcom_pull` of a mapped task does it."""
    if payload == "1000 mapped":
        if hasattr(cls, "_load_many"):
            return cls._load_many(row)
        return [cls.deserialize_value(Row(item)) for item in row]
    return cls.deserialize_value(Row(row))


def stored_bytes(row: Any) -> int:
    """Bytes that are kept for a pushed value: in the store, or in the row itself."""
    if isinstance(row, list) and row and isinstance(row[0], dict) and "$xcom" in row[0]:
        return sum(stored_bytes(item) for item in row)
    if isinstance(row, dict) and "$xcom" in row:
        return int(row["length"])
    if isinstance(row, str) and row.startswith(("s3://", "file://")):
        from airflow.sdk import ObjectStoragePath

        return int(ObjectStoragePath(row).stat().st_size)
    return len(json.dumps(row))


def small_like(payload: str) -> Any:
    """A small value of the same kind, for the warm-up."""
    small = {
        "pandas mixed": lambda: payloads.pandas_mixed(1000),
        "polars mixed": lambda: payloads.polars_mixed(1000),
        "pandas random": lambda: payloads.pandas_random(1000),
        "json records": lambda: payloads.json_records(100),
        "bytes": lambda: payloads.binary(100_000),
        "file": lambda: payloads.file(100_000),
        "three frames": lambda: {"orders": payloads.pandas_mixed(100)},
        "numpy": lambda: payloads.numpy_array()[:10],
        "image": lambda: payloads.image().crop((0, 0, 64, 64)),
    }
    return small.get(payload, payloads.small_dict)()


def measure(path: str, payload: str) -> dict[str, Any]:
    """Seconds, peak memory above the value (push) or above nothing (pull) in MB, stored bytes."""
    module, _, name = path.rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    warm = "1 mapped" if payload == "1000 mapped" else payload
    try:
        pull(cls, warm, push(cls, warm, small_like(payload)))
        value = payloads.PAYLOADS[payload]()
        reset_peak()
        before = resident_kib()
        started = time.perf_counter()
        row = push(cls, payload, value)
        pushed = time.perf_counter() - started
        push_peak = peak_kib() - before
    except Exception as error:
        return {"refused": f"{type(error).__name__}: {str(error)[:200]}"}
    reset_peak()
    before = resident_kib()
    started = time.perf_counter()
    back = pull(cls, payload, row)
    pulled = time.perf_counter() - started
    pull_peak = peak_kib() - before
    expected = [value] * 1000 if payload == "1000 mapped" else value
    return {
        "push": pushed,
        "pull": pulled,
        "push_peak": push_peak * 1024,
        "pull_peak": pull_peak * 1024,
        "exact": payloads.same(payload, expected, back),
        "stored": stored_bytes(row),
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2])))
