"""A whole DAG run with one payload: produce, hand over, consume, through `dag.test()`.

The way is how the payload is returned: as `value`, as `lazy`, as `lazy, not loaded` (the consumer leaves the
handle alone), or `without` (made, but not handed over). This is where it shows that Airflow walks through
what a task returns and takes. `zygote.py` calls `main` in a process of its own.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import payloads


def main(what: str, payload: str = "", ways: Sequence[str] = (), rounds: int = 1) -> dict[str, Any]:
    """ "migrate" makes Airflow's database. "run" gives the seconds of DAG runs for each way.

    Each way is run once before, which warms up Airflow; then they take turns.
    """
    if what == "migrate":
        from exclusive_xcom.local import metadata

        metadata.migrate()
        return {}
    seconds: dict[str, Any] = {way: [] for way in ways}
    for _ in range(rounds + 1):
        for way in ways:
            seconds[way].append(run_seconds(payload, way))
    return {way: found[1:] for way, found in seconds.items()}


def run_seconds(payload: str, way: str) -> float:
    """Seconds of one run."""
    folder = Path(os.environ["AIRFLOW_HOME"]) / "endtoend"
    folder.mkdir(exist_ok=True)
    # `dag.test()` wants to find the DAG in a bundle.
    text = f"from endtoend import make_dag\n\nDAG = make_dag({payload!r}, {way!r})  # airflow dag\n"
    (folder / "endtoend_dag.py").write_text(text)
    bundle = {
        "name": "bench",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder)},
    }
    os.environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps([bundle])
    dag = make_dag(payload, way)
    started = time.perf_counter()
    run = dag.test()
    seconds = time.perf_counter() - started
    if run.state != "success":
        raise RuntimeError(f"the run ended as {run.state}")
    return seconds


def make_dag(payload: str, way: str) -> Any:
    """Two tasks."""
    from airflow.sdk import dag, task

    from exclusive_xcom import Handle, lazy

    @dag(dag_id="endtoend", schedule=None)
    def bench() -> None:
        @task
        def produce() -> Any:
            value = payloads.make(payload)
            if way == "without":
                return "nothing"
            return lazy(value) if way.startswith("lazy") else value

        @task
        def consume(value: Any) -> int:
            if isinstance(value, Handle) and way == "lazy":
                value = value.load()
            return 0 if isinstance(value, Handle) else len(value)

        consume(produce())

    return bench()
