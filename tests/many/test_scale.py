"""How far each backend goes, measured: many tasks, writers at once, values of GiB; nothing may be lost.

    make bench-scale [TASKS=200] [ONLY="s3 and mapped"]

It is the project's own deployment with CeleryExecutor and two workers, its services as processes. What is
over a limit has to be refused by the error that names it. Ends with a table, which is also in build/scale.md.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from airflows import members
from projects import BACKENDS, Bake
from sampler import Sampler
from workers import Deployment

pytestmark = pytest.mark.bench

DAGS = (Path(__file__).parent / "dags" / "scale.py",)
TASKS = int(os.environ.get("XCOM_SCALE_TASKS") or 1000)
WRITERS = 64
AT_ONCE = {"db": 0, "s3": 10_000_000, "redis": 10_000_000}  # bytes; 0: a text of 1 MB
ROOM = 4 << 30  # bytes that Valkey may take: its 1 GB in a project is less than all runs here leave
FREE = 16 << 30  # bytes on the disk that a file of 4 GiB needs: it is there three times
LONGEST = 7200  # seconds
Rows = list[tuple[str, ...]]
SETTINGS = {
    "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(WRITERS // 2),
    "AIRFLOW__CORE__PARALLELISM": str(WRITERS),
}
# What a limit has to say: its error, and the option by which it can be moved.
REFUSALS = {"db": ("ValueTooLarge", "MAX_ROW_SIZE"), "redis": ("ValueTooLarge", "MAX_SIZE")}
SAID = re.compile(r'"exc_type": ?"(\w+)", ?"exc_value": ?"((?:[^"\\]|\\.)*)"')


@pytest.fixture(scope="module", params=BACKENDS)
def deployment(
    request: pytest.FixtureRequest, bake_into: Bake, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Two workers with room for 64 tasks."""
    folder = tmp_path_factory.mktemp(request.param)
    project = bake_into(folder / "project", xcom_backend=request.param, executor="CeleryExecutor")
    with Deployment(project, folder, dags=DAGS, settings=SETTINGS) as running:
        if running.name == "redis":
            password = running.secrets["VALKEY_PASSWORD"]
            with redis.Redis(port=running.store.port, password=password) as client:
                client.config_set("maxmemory", ROOM)
        yield running
        # What is left of it is large.
        shutil.rmtree(folder, ignore_errors=True)


class Trial:
    """A run that is measured."""

    def __init__(self, deployment: Deployment, what: str, seen: Rows) -> None:
        self.deployment, self.what, self.seen = deployment, what, seen
        self.notes = deployment.home / "notes" / re.sub(r"\W+", "-", what)
        self.notes.mkdir(parents=True)

    def parts(self) -> dict[str, Any]:
        """Whose memory is looked at."""
        running, servers = self.deployment, self.deployment.servers
        named = ["api-server", *(running.worker(number) for number in (1, 2))]
        found: dict[str, Any] = {
            name: lambda name=name: [process.pid for process in running.components[name].processes]
            for name in named
        }
        for name, server in servers.items():
            found[name] = lambda server=server: members(server.pid) if server.pid else []
        return found

    def go(self, dag: str, **conf: Any) -> str:
        """Run a DAG to its end: the state in which it ended."""
        running = self.deployment
        running.switch_on(dag)
        began = time.monotonic()
        with Sampler(self.parts()) as self.memory:
            self.run = running.run(dag, self.notes.name, {"notes": str(self.notes), **conf})

            def over() -> str:
                state: str = self.run.ask()["state"]
                return state if state in ("success", "failed") else ""

            state = running.wait_for("the end of the run", over, timeout=LONGEST)
        self.seconds = time.monotonic() - began
        return state

    def read(self) -> dict[str, Any]:
        """What the reader has noted."""
        found: dict[str, Any] = json.loads((self.notes / "read.json").read_text("utf-8"))
        return found

    def said(self) -> tuple[str, str]:
        """The error in the log of the task that failed."""
        logs = self.deployment.home.glob(f"machines/*/logs/*/run_id={self.notes.name}/*/attempt=*.log")
        found = [SAID.search(log.read_text("utf-8", "replace")) for log in sorted(logs)]
        kind, text = next(each.groups() for each in found if each)
        return kind, str(json.loads(f'"{text}"'))

    def noted(self, result: str) -> None:
        """A line of the table."""
        memory, store = self.memory, {"db": "postgres", "redis": "valkey"}.get(self.deployment.name, "s3")
        self.seen.append(
            (
                self.deployment.name,
                self.what,
                f"{self.seconds:,.0f}",
                memory.told("api-server"),
                memory.told("worker-1", "worker-2"),
                memory.told("postgres"),
                memory.told(store) if store != "postgres" else "–",
                result,
            )
        )

    def all_right(self, state: str) -> None:
        """Nothing was lost, and nothing needed a second try."""
        assert state == "success", self.deployment.logs()
        read = self.read()
        assert read["right"] == read["of"]

    def refused(self, state: str) -> None:
        """It said so, and by which limit."""
        error, option = REFUSALS[self.deployment.name]
        kind, text = self.said()
        assert state == "failed" and kind == error and option in text, text
        self.noted(f"{kind}: {text.partition('. ')[0]}")

    def right_or_refused(self, state: str) -> None:
        """A value that is larger than some backends take was handed over by the others."""
        if self.deployment.name in REFUSALS:
            self.refused(state)
        else:
            self.all_right(state)
            self.noted("right")


def test_a_frame_of_a_gibibyte(deployment: Deployment, scale: Rows) -> None:
    trial = Trial(deployment, "a frame of 1 GiB, random numbers", scale)
    state = trial.go("scale_frame")
    trial.right_or_refused(state)


def test_a_file_of_four_gibibytes(deployment: Deployment, scale: Rows) -> None:
    if shutil.disk_usage(deployment.home).free < FREE:
        pytest.skip(f"there is less than {FREE >> 30} GiB on the disk")
    trial = Trial(deployment, "a file of 4 GiB", scale)
    state = trial.go("scale_file", chunks=4096)
    for path in deployment.home.glob("machines/*/output/large.bin"):
        path.unlink()
    trial.right_or_refused(state)


def test_writers_push_in_the_same_moment(deployment: Deployment, scale: Rows) -> None:
    size = AT_ONCE[deployment.name]
    what = f"{size // 1_000_000} MB of bytes" if size else "a text of 1 MB"
    trial = Trial(deployment, f"{WRITERS} writers at once, {what} each", scale)
    trial.all_right(trial.go("scale_at_once", tasks=WRITERS, size=size))
    notes = [json.loads(path.read_text("utf-8")) for path in trial.notes.glob("written-*")]
    all_of_it = max(each["ended"] for each in notes) - min(each["began"] for each in notes)
    slowest = max(each["ended"] - each["began"] for each in notes)
    trial.noted(f"all {WRITERS} right; the pushes took {all_of_it:,.0f} s, the slowest {slowest:,.0f} s")


def test_mapped_tasks_hand_over_a_megabyte_each_to_one(deployment: Deployment, scale: Rows) -> None:
    trial = Trial(deployment, f"{TASKS:,} mapped tasks, a text of 1 MB each, to one reader", scale)
    trial.all_right(trial.go("scale_mapped", tasks=TASKS))
    reading = trial.read()["seconds"]
    trial.noted(f"all {TASKS:,} right, read one by one in {reading:,.0f} s")
