"""Runs moto's S3 and Valkey on free ports until standard input is closed; prints the ports as JSON.

The same two servers that `make run` of a generated project starts; here both at once.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from xcom_bench import services


def main(folder: Path) -> None:
    """Start both, say where, wait."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # moto's server tells of every request
    with services._moto(folder, "bench") as s3, services._valkey(folder, "") as redis:
        print(json.dumps({"s3": s3, "redis": redis}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
