"""DAG runs under the real scheduler, with LocalExecutor: how long a consumer waits, how much memory it takes.

    python scheduled.py FOLDER ROUNDS DAG...

Starts all of Airflow with the backend of the environment, triggers the DAGs in turn, and prints a line of
JSON for each run. A DAG is `PAYLOAD/WAY`, the way as in endtoend.py, or `small/NUMBER`: so many tasks, of
which each second one takes a dict of 200 bytes from the one before. `bench.py` runs this; Airflow imports it
for the DAGs.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import payloads
from measure import peak_kib, resident_kib

FILE = """from scheduled import make_dag

for number, name in enumerate({names!r}):  # airflow dag
    globals()[f"DAG_{{number}}"] = make_dag(name)
"""
PATIENCE = 600  # seconds for a run, or for Airflow's start


# -- the DAGs -------------------------------------------------------------------------------------


def dag_id(name: str) -> str:
    """Airflow takes fewer signs."""
    return "".join(sign if sign.isalnum() else "_" for sign in name)


def make_dag(name: str) -> Any:
    """Producer and consumer, or many of them."""
    from airflow.sdk import dag, task

    from exclusive_xcom import Handle, lazy

    payload, _, way = name.rpartition("/")

    @dag(dag_id=dag_id(name), schedule=None, is_paused_upon_creation=False)
    def bench() -> None:
        @task
        def produce() -> Any:
            before = resident_kib()
            value = payloads.small_dict() if payload == "small" else payloads.make(payload)
            if payload != "small":
                note(name, value_kib=resident_kib() - before)
            return "nothing" if way == "without" else lazy(value) if way == "lazy" else value

        @task
        def consume(value: Any) -> None:
            if isinstance(value, Handle):
                value = value.load()
            if payload != "small":
                note(name, there=time.time(), peak_kib=peak_kib())

        for _ in range(int(way) // 2 if payload == "small" else 1):
            consume(produce())

    return bench()


def note(name: str, **facts: Any) -> None:
    """Leave word for who triggered the run."""
    with Path(os.environ["XCOM_BENCH_NOTES"]).open("a") as file:
        file.write(json.dumps({"name": name, **facts}) + "\n")


# -- who triggers them ----------------------------------------------------------------------------


class Api:
    """Airflow's REST API."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.headers = {"Content-Type": "application/json"}
        self.headers["Authorization"] = f"Bearer {self.ask('/auth/token')['access_token']}"

    def ask(self, path: str, body: Any = None) -> Any:
        """GET, or POST of a body."""
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.url + path, data, self.headers)
        with self.opener.open(asked, timeout=60) as answer:
            return json.load(answer)

    def run(self, dag: str) -> tuple[str, float, Any]:
        """Run a DAG; returns its state, its seconds, and its task instances."""
        path = f"/api/v2/dags/{dag}/dagRuns"
        where = f"{path}/{quote(self.ask(path, {'logical_date': None})['dag_run_id'])}"
        deadline = time.monotonic() + PATIENCE
        while (run := self.ask(where))["state"] not in ("success", "failed"):
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
        tasks = self.ask(f"{where}/taskInstances?limit=1000")["task_instances"]
        return run["state"], seconds(run["end_date"]) - seconds(run["start_date"]), tasks


def seconds(moment: str) -> float:
    """Since 1970."""
    return datetime.fromisoformat(moment).timestamp()


def measure(api: Api, name: str, notes: Path) -> dict[str, Any]:
    """One run."""
    notes.write_text("")
    state, took, tasks = api.run(dag_id(name))
    if state != "success":
        return {"refused": f"the run ended as {state}"}
    if name.startswith("small/"):
        return {"seconds": took}
    said = {
        fact: value for line in notes.read_text().splitlines() for fact, value in json.loads(line).items()
    }
    started = next(seconds(each["start_date"]) for each in tasks if each["task_id"] == "consume")
    return {"seconds": said["there"] - started, "peak_kib": said["peak_kib"], "value_kib": said["value_kib"]}


def runs(folder: Path, rounds: int, names: list[str]) -> Iterator[dict[str, Any]]:
    """All runs, after one of the last DAG that warms up."""
    from exclusive_xcom.local.background import PARTS, Background, free_port

    background = Background(Path(os.environ["AIRFLOW_HOME"]))
    state = background.start(free_port(0))
    try:
        deadline = time.monotonic() + PATIENCE
        while background.well(state) != PARTS and time.monotonic() < deadline:
            time.sleep(0.5)
        api = Api(state.url)
        while api.ask("/api/v2/dags")["total_entries"] < len(names) and time.monotonic() < deadline:
            time.sleep(0.5)
        measure(api, names[-1], folder / "notes")
        for round_ in range(rounds):
            for name in names:
                payload, _, way = name.rpartition("/")
                result = measure(api, name, folder / "notes")
                yield {"payload": payload, "way": way, "round": round_, **result}
    finally:
        background.stop()


def main(folder: Path, rounds: int, names: list[str]) -> None:
    """Set up a folder of DAGs and a database for them."""
    dags, home = folder / "dags", folder / "home"
    dags.mkdir(parents=True)
    (dags / "scheduled_dags.py").write_text(FILE.format(names=names))
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=30",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",  # else a busy machine fails tasks
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "XCOM_BENCH_NOTES": str(folder / "notes"),
    }
    from exclusive_xcom.local import metadata

    metadata.migrate()
    os.chdir(folder)
    for result in runs(folder, rounds, names):
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
