"""Counts, at the server, the requests of a push and of a pull. `zygote.py` calls `main`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import payloads
from measure import backend, pull, push, small_like


def requests(server: str) -> int:
    """How often the server was asked so far. Valkey counts what it reads from its sockets: a pipeline that
    fits into one packet is one. The question itself is one, too."""
    if server == "valkey":
        from redis import Redis

        with Redis(port=json.loads(os.environ["AIRFLOW_CONN_BENCH_REDIS"])["port"]) as client:
            return int(client.info("stats")["total_reads_processed"])
    time.sleep(0.05)  # moto writes its line after it has answered
    with (Path(os.environ["XCOM_BENCH_FILES"]) / "requests.log").open() as lines:
        return sum(1 for _ in lines)


def main(path: str, payload: str, server: str) -> dict[str, Any]:
    """Requests of one push and one pull, with the connection there already."""
    way = backend(path)
    warm = "mapped@1" if payload.startswith("mapped") else payload
    pull(way, warm, push(way, warm, small_like(payload)))
    value = payloads.make(payload)
    idle = [requests(server), requests(server)]
    own = idle[1] - idle[0]  # what asking costs: greeting, question
    before = requests(server)
    row = push(way, payload, value)
    between = requests(server)
    pull(way, payload, row)
    after = requests(server)
    return {"push": between - before - own, "pull": after - between - own}
