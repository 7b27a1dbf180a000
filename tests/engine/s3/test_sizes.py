"""Many values at once, and large ones: in constant memory where they are files, in bounded memory otherwise.

Peaks are measured in processes of their own, as the most that was resident above what the interpreter and its
libraries take before the transfer.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from s3_airflow import many_in_a_process, there_and_back
from s3_servers import configured

MIB = 2**20


@pytest.fixture
def environment(moto: str) -> Iterator[dict[str, str]]:
    """The backend configured for moto, here and for processes that get these variables."""
    with configured(moto):
        yield {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW")}


# -- many -------------------------------------------------------------------------------------------


def test_64_mapped_writers_and_readers(environment: dict[str, str]) -> None:
    with ThreadPoolExecutor(64) as pool:
        assert all(pool.map(there_and_back, range(64)))


def test_64_mapped_writers_and_readers_in_processes(environment: dict[str, str]) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["exclusive_xcom.s3", "s3_airflow"])
    with ProcessPoolExecutor(4, processes) as pool:
        found = list(pool.map(many_in_a_process, [environment] * 4, range(4)))
    assert [len(part) for part in found] == [16] * 4
    assert all(map(all, found))


# -- large ------------------------------------------------------------------------------------------

PRELUDE = """
import hashlib, json, os, sys
from pathlib import Path
from exclusive_xcom.s3 import S3XComBackend
from exclusive_xcom.handle import lazy

class Row:
    def __init__(self, value): self.value = value

def push(value):
    return S3XComBackend.serialize_value(
        value, key="k", dag_id="large", run_id="r", task_id="t", map_index=-1)

def pull(row):
    return S3XComBackend.deserialize_value(Row(json.loads(json.dumps(row))))

def resident(line):
    for found in Path("/proc/self/status").read_text().splitlines():
        if found.startswith(line):
            return int(found.split()[1]) / 1024

def measure(act):
    "What act gives, and the MiB that were resident at its peak above what was before."
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    found = act()
    return found, resident("VmHWM") - before

pull(push(b"x" * 2_000_000)); pull(push("x" * 10_000))  # libraries and connections are there
"""


def in_a_process(environment: dict[str, str], script: str, *arguments: str) -> Any:
    """What a script prints as JSON on its last line."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(script), *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


FILE = """
    path = Path(sys.argv[1])
    row, up = measure(lambda: push(path))
    pulled, down = measure(lambda: pull(row))
    assert pulled != path and pulled.stat().st_size == path.stat().st_size
    with pulled.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == row["sha256"]
    row = push(lazy(path))
    def stream():
        with pull(row).open() as file:
            while file.read(65536): pass
    _, streamed = measure(stream)
    print(json.dumps({"up": up, "down": down, "stream": streamed}))
"""


@pytest.mark.parametrize("size", [100, pytest.param(2048, marks=pytest.mark.slow)], ids=["100-MiB", "2-GiB"])
def test_a_file_travels_in_constant_memory(environment: dict[str, str], tmp_path: Path, size: int) -> None:
    path = tmp_path / "large.bin"
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for number in range(size):
            file.write(number.to_bytes(8) + block[8:])
    peaks = in_a_process(environment, FILE, str(path))
    assert max(peaks.values()) <= 64, peaks


WHOLE = """
    import numpy as np, pandas as pd
    value = {
        "bytes": lambda: os.urandom(1) * 120_000_000,
        "array": lambda: np.random.default_rng(1).random((4000, 4000)),
        "frame": lambda: pd.DataFrame(np.random.default_rng(1).random((1_000_000, 15))).add_prefix("c"),
        "records": lambda: [{"n": n, "text": f"line {n} of a log", "ok": n % 3 == 0} for n in range(700_000)],
    }[sys.argv[1]]()
    warm = value[:10] if sys.argv[1] != "bytes" else b"x"
    pull(push(warm))
    row, up = measure(lambda: push(value))
    pulled, down = measure(lambda: pull(row))
    assert type(pulled) is type(value)
    assert pulled.equals(value) if sys.argv[1] == "frame" else np.array_equal(pulled, value)
    print(json.dumps({"up": up, "down": down, "stored": row["length"] / 2**20}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bytes", "array", "frame"])
def test_whole_values_of_100_mb_take_bounded_memory(environment: dict[str, str], kind: str) -> None:
    peaks = in_a_process(environment, WHOLE, kind)
    value = 120  # MB, each of them
    assert peaks["up"] <= 1.5 * peaks["stored"] + 16, peaks
    assert peaks["down"] <= value + 1.5 * peaks["stored"] + 16, peaks


@pytest.mark.slow
def test_records_of_100_mb_come_back(environment: dict[str, str]) -> None:
    assert in_a_process(environment, WHOLE, "records")["stored"] > 1


IMPORT = """
import sys, json
import airflow.sdk.bases.xcom
before = set(sys.modules)
import exclusive_xcom.s3
print(json.dumps(sorted(name.partition(".")[0] for name in set(sys.modules) - before)))
"""


def test_importing_the_backend_imports_no_library() -> None:
    """Every component of Airflow does it."""
    done = subprocess.run([sys.executable, "-c", IMPORT], stdout=subprocess.PIPE, text=True, check=True)
    added = set(json.loads(done.stdout.splitlines()[-1])) - set(sys.stdlib_module_names)
    assert added == {"exclusive_xcom"}
