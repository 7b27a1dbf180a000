"""What a large file takes of a process that encrypts and decrypts it, and how fast that is beside plain."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from encrypted import keyset_in
from s3_servers import seaweed

# A process of its own: its peak is that of what it does alone. Told as JSON: MB and seconds.
CODE = """
import json, os, resource, sys, time
from pathlib import Path
from types import SimpleNamespace
import exclusive_xcom.pull
from exclusive_xcom import keysets
from exclusive_xcom.address import Address
from exclusive_xcom.s3 import S3XComBackend as Backend

def peak():
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found / (1e6 if sys.platform == "darwin" else 1e3)

whose = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "key": "k"}
keysets.for_push(Address("d", "r", "t"))
(small := Path(sys.argv[1]).with_name("small")).write_bytes(b"1")
Backend.deserialize_value(SimpleNamespace(value=Backend.serialize_value(small, **whose)))
before, began = peak(), time.perf_counter()
row = Backend.serialize_value(Path(sys.argv[1]), **whose)
pushed, middle = peak(), time.perf_counter()
found = Backend.deserialize_value(SimpleNamespace(value=row))
told = {"before": before, "pushed": pushed, "pulled": peak()}
told |= {"push": middle - began, "pull": time.perf_counter() - middle, "length": row["length"]}
print(json.dumps(told | {"size": found.stat().st_size, "encrypted": "encryption" in row}))
"""


def measured(folder: Path, length: int, *, encrypted: bool, **variables: str) -> dict[str, Any]:
    """What a process tells that has pushed and pulled a file of so many bytes, in a folder."""
    with (path := folder / "large.bin").open("wb") as file:
        file.write(b"beginning")
        file.truncate(length)
    variables = {
        **os.environ,
        "AIRFLOW__XCOM__URL": (folder / "store").as_uri(),
        "AIRFLOW__CORE__XCOM_BACKEND": "exclusive_xcom.s3.S3XComBackend",
        "AIRFLOW_HOME": str(folder / "home"),
        "TMPDIR": str(folder),
        **variables,
    }
    if encrypted:
        keyset_in(folder / "k.json")
        variables["AIRFLOW__XCOM__KEYSET_FILE"] = str(folder / "k.json")
    done = subprocess.run(
        [sys.executable, "-c", CODE, path], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert told["size"] == length and told["encrypted"] == encrypted
    way = "encrypted" if encrypted else "plain"
    speed = {name: length / told[name] / 1e6 for name in ("push", "pull")}
    print(f"{length / 1e9:.1f} GB {way}: push {speed['push']:.0f} MB/s, pull {speed['pull']:.0f} MB/s")
    print("peak", {name: round(told[name]) for name in ("before", "pushed", "pulled")}, "MB")
    return told


def check_memory(told: dict[str, Any], most: int = 120) -> None:
    """Pieces were held, so many MB, and never the whole."""
    assert told["pushed"] - told["before"] < most
    assert told["pulled"] - told["before"] < most


SIZES = [200_000_000, pytest.param(5_000_000_000, marks=pytest.mark.slow)]
NAMES = ["200 MB", "5 GB"]


@pytest.mark.parametrize("length", SIZES, ids=NAMES)
def test_a_large_file_takes_the_same_memory_as_a_small_one(tmp_path: Path, length: int) -> None:
    plain = measured(tmp_path, length, encrypted=False)
    shutil.rmtree(tmp_path / "store")  # the disk need not have room for both
    told = measured(tmp_path, length, encrypted=True)
    shutil.rmtree(tmp_path / "store")
    check_memory(told)
    assert plain["length"] < told["length"] < plain["length"] * 1.0001


@pytest.mark.parametrize("length", SIZES, ids=NAMES)
def test_also_by_an_s3_server(tmp_path: Path, length: int) -> None:
    """SeaweedFS, with its data on the disk. Besides, parts are under way: 155 MB in all were seen."""
    (folder := tmp_path / "seaweed").mkdir()
    try:
        with seaweed(folder) as server:
            variables = {
                "AIRFLOW__XCOM__URL": "s3://engine-tests/xcom",
                "AIRFLOW__XCOM__CONN_ID": "seaweed",
                "AIRFLOW_CONN_SEAWEED": server.connection(),
                "NO_PROXY": "*",
            }
            check_memory(measured(tmp_path, length, encrypted=True, **variables), most=250)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
