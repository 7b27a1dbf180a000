"""What is paid before anything is handed over: the import of a backend, the parsing of `dags/`.

    python rest.py import CLASS
    python rest.py parse FOLDER

Prints one line of JSON; to be run in a fresh interpreter.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

HEAVY = ("pandas", "numpy", "pyarrow", "polars", "PIL", "obstore", "boto3", "redis", "s3fs", "fsspec")


def import_backend(path: str) -> dict[str, Any]:
    """Import Airflow without a backend, then the backend."""
    started = time.perf_counter()
    import airflow.sdk
    import airflow.sdk.bases.xcom  # noqa: F401

    airflow_seconds = time.perf_counter() - started
    before = set(sys.modules)
    started = time.perf_counter()
    importlib.import_module(path.rpartition(".")[0])
    seconds = time.perf_counter() - started
    added = set(sys.modules) - before
    return {
        "airflow": airflow_seconds,
        "seconds": seconds,
        "modules": len(added),
        "heavy": sorted(name for name in HEAVY if name in added),
    }


def parse(folder: str) -> dict[str, Any]:
    """Parse the files of a folder as Airflow's DAG processor does."""
    from airflow.dag_processing.dagbag import DagBag

    found = DagBag(folder)
    return {
        "files": len(found.dagbag_stats),
        "seconds": sum(file.duration.total_seconds() for file in found.dagbag_stats),
        "slowest": max(file.duration.total_seconds() for file in found.dagbag_stats),
    }


if __name__ == "__main__":
    print(json.dumps({"import": import_backend, "parse": parse}[sys.argv[1]](sys.argv[2])))
