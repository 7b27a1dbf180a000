"""A whole DAG run with one payload: produce, hand over, consume, through `dag.test()`.

    python endtoend.py PAYLOAD WAY       WAY: "value", "lazy", or "without" (made, but not handed over)

This is where it shows that Airflow walks through TaskFlow arguments to render them for the UI.
Prints the seconds of the second run of the DAG as JSON: the first one in a process also warms up Airflow.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import payloads


def main(payload: str, way: str) -> None:
    """Run the DAG twice, time the second run."""
    from airflow.sdk import dag, task
    from xcom_bench.xcom import Handle, lazy

    @dag(schedule=None)
    def bench() -> None:
        @task
        def produce() -> Any:
            value = payloads.PAYLOADS[payload]()
            return {"value": value, "lazy": lazy(value), "without": "nothing"}[way]

        @task
        def consume(value: Any) -> int:
            if isinstance(value, Handle):
                value = value.load()
            return len(value)

        consume(produce())

    made = bench()
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        run = made.test()
        seconds.append(time.perf_counter() - started)
        if run.state != "success":
            raise SystemExit(f"the run ended as {run.state}")
    print(json.dumps({"seconds": seconds[1]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
