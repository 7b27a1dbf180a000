"""What the backends cost at rest: time and modules that their import adds to `import airflow`.

python rest.py CLASS        prints one JSON line, to be run in a fresh process
"""

from __future__ import annotations

import importlib
import json
import sys
import time

HEAVY = ("pandas", "numpy", "pyarrow", "polars", "PIL", "obstore", "boto3", "redis", "s3fs", "fsspec")


def main(path: str) -> None:
    """Import Airflow without a backend, then the backend."""
    started = time.perf_counter()
    import airflow.sdk.bases.xcom  # noqa: F401

    airflow_seconds = time.perf_counter() - started
    before = set(sys.modules)
    started = time.perf_counter()
    importlib.import_module(path.rpartition(".")[0])
    seconds = time.perf_counter() - started
    added = set(sys.modules) - before
    print(
        json.dumps(
            {
                "airflow": airflow_seconds,
                "seconds": seconds,
                "modules": len(added),
                "heavy": sorted(name for name in HEAVY if name in added),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
