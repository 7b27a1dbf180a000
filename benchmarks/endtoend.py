"""Whole DAG runs with one payload: produce, hand over, consume, by `dag.test()` of DAGs from a DagBag.

The way is how the payload is returned: as `value`, as `lazy`, as `lazy, not loaded` (the consumer leaves the
handle alone), `without` (made, but not handed over), or as a list by whose items the consumer is mapped
(`expand`), beside as many numbers (`expand, without`). This is where it shows what Airflow itself does with
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

FILE = """from endtoend import make_dag

for number, way in enumerate({ways!r}):  # airflow dag
    globals()[f"DAG_{{number}}"] = make_dag({payload!r}, way, number)
"""


def main(what: str, payload: str = "", ways: Sequence[str] = (), rounds: int = 1) -> dict[str, Any]:
    """ "migrate" makes Airflow's database. "run" gives the seconds of DAG runs for each way.

    The first way is run once before, which warms up Airflow; then they take turns.
    """
    if what == "migrate":
        from exclusive_xcom.local import metadata

        metadata.migrate()
        return {}
    dags = load(payload, list(ways))
    run_seconds(dags["endtoend_0"])
    seconds: dict[str, Any] = {way: [] for way in ways}
    for _ in range(rounds):
        for number, way in enumerate(ways):
            seconds[way].append(run_seconds(dags[f"endtoend_{number}"]))
    return seconds


def load(payload: str, ways: list[str]) -> dict[str, Any]:
    """The DAGs, as Airflow loads them: from a file in a bundle, its policies applied."""
    folder = Path(os.environ["AIRFLOW_HOME"]) / "endtoend"
    folder.mkdir(exist_ok=True)
    (folder / "endtoend_dag.py").write_text(FILE.format(ways=ways, payload=payload))
    kwargs = {"path": str(folder)}
    bundle = {
        "name": "bench",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": kwargs,
    }
    os.environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps([bundle])
    from airflow.dag_processing.dagbag import BundleDagBag

    bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="bench")
    if bag.import_errors:
        raise RuntimeError(str(bag.import_errors))
    return dict(bag.dags)


def run_seconds(dag: Any) -> float:
    """Seconds of one run."""
    started = time.perf_counter()
    run = dag.test()
    seconds = time.perf_counter() - started
    if run.state != "success":
        raise RuntimeError(f"the run ended as {run.state}")
    return seconds


def make_dag(payload: str, way: str, number: int) -> Any:
    """Two tasks."""
    from airflow.sdk import dag, task

    from exclusive_xcom import Handle, lazy

    @dag(dag_id=f"endtoend_{number}", schedule=None)
    def bench() -> None:
        @task
        def produce() -> Any:
            value = payloads.make(payload)
            if way == "expand, without":
                return list(range(len(value)))
            if way == "without":
                return "nothing"
            return lazy(value) if way.startswith("lazy") else value

        @task
        def consume(value: Any) -> int:
            if isinstance(value, Handle) and way == "lazy":
                value = value.load()
            return len(value) if hasattr(value, "__len__") else 0

        if way.startswith("expand"):
            consume.expand(value=produce())
        else:
            consume(produce())

    return bench()
