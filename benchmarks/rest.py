"""What is paid before anything is handed over: the import of a backend, the parsing of `dags/`.

`zygote.py` calls `main` in a process that has imported Airflow and nothing else.
"""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any

HEAVY = ("pandas", "numpy", "pyarrow", "polars", "PIL", "obstore", "boto3", "redis", "s3fs", "fsspec")


def import_backend(path: str) -> dict[str, Any]:
    """Import the backend."""
    before = set(sys.modules)
    started = time.perf_counter()
    importlib.import_module(path.rpartition(".")[0])
    seconds = time.perf_counter() - started
    added = set(sys.modules) - before
    return {
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


def main(what: str, argument: str) -> dict[str, Any]:
    """ "import" and the dotted path of a backend, or "parse" and a folder."""
    return {"import": import_backend, "parse": parse}[what](argument)
