"""Runs pipelines once, without a scheduler, and tells what happens while it happens.

The pipelines run in a few worker processes (worker.py), so a crash of one is an error among others. A
worker says what happens as lines of JSON on a pipe of its own; all that Airflow and the tasks print
goes to one log file for each pipeline.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOGS = Path("logs/run")  # below AIRFLOW_HOME


@dataclass(frozen=True)
class TaskEnd:
    """A try of a task came to its end. `error` is for people, and empty unless it failed."""

    dag_id: str
    task_id: str
    map_index: int
    state: str
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class Handover:
    """One push or pull of an XCom: the engine's Transfer in one level. `length` in bytes."""

    direction: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    key: str
    kind: str
    summary: str
    length: int
    where: str
    seconds: float


@dataclass(frozen=True)
class PipelineEnd:
    """A pipeline came to its end. `not_run` names tasks that never began, `log` its log file."""

    dag_id: str
    state: str
    seconds: float
    log: str
    error: str = ""
    not_run: list[str] = field(default_factory=list)


Event = TaskEnd | Handover | PipelineEnd
_EVENTS: dict[str, type[Event]] = {kind.__name__: kind for kind in (TaskEnd, Handover, PipelineEnd)}


@dataclass(frozen=True)
class Found:
    """The pipelines in dags/: the file of each by its id, and what is wrong with files that failed."""

    pipelines: dict[str, str]
    errors: dict[str, str]


class WorkerError(RuntimeError):
    """A worker process ended before it was told to."""


class Runner:
    """Worker processes that run pipelines. Use it as a context: leaving it ends them."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the project's; its environment must be active."""
        self._folder = folder
        self._logs = Path(os.environ["AIRFLOW_HOME"]) / LOGS
        self._logs.mkdir(parents=True, exist_ok=True)
        self._workers: list[_Worker] = []

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *problem: object) -> None:
        for worker in self._workers:
            worker.end()

    def prepare(self) -> Found:
        """Bring database and Variables up to date and look for pipelines. Raises `WorkerError`."""
        first = self._start()
        first.tell({"prepare": True})
        for said in first.events():
            return Found(**said["found"])
        raise WorkerError(first.obituary("got the database ready"))

    def run(self, dag_ids: Sequence[str], jobs: int) -> Iterator[Event]:
        """Run pipelines, `jobs` at a time, and give what happens while it happens."""
        waiting = list(dag_ids)
        events: queue.SimpleQueue[Event | _Worker] = queue.SimpleQueue()

        def work(worker: _Worker) -> None:
            while waiting:
                with contextlib.suppress(IndexError):  # another thread took the last one
                    for event in worker.run(waiting.pop(0), self._logs):
                        events.put(event)
            events.put(worker)

        while len(self._workers) < min(jobs, len(waiting)):
            self._start()
        for worker in self._workers:
            threading.Thread(target=work, args=(worker,), daemon=True).start()
        at_work = len(self._workers)
        while at_work:
            event = events.get()
            if isinstance(event, _Worker):
                at_work -= 1
            else:
                yield event

    def _start(self) -> _Worker:
        self._workers.append(_Worker(self._folder, self._logs / f"worker-{len(self._workers) + 1}.log"))
        return self._workers[-1]


class _Worker:
    """One worker process, seen from outside. Started anew when it dies."""

    def __init__(self, folder: Path, log: Path) -> None:
        self._folder = folder
        self._log = log
        self._start()

    def _start(self) -> None:
        reading, writing = os.pipe()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.worker", str(writing)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,),
                cwd=self._folder,
                text=True,
            )
        os.close(writing)
        self._said = os.fdopen(reading, encoding="utf-8")

    def tell(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then it is dead, and `events` comes to its end
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def events(self) -> Iterator[dict[str, Any]]:
        """What the worker says, until it dies."""
        for line in self._said:
            yield json.loads(line)

    def run(self, dag_id: str, logs: Path) -> Iterator[Event]:
        """Run one pipeline. Its last event is its `PipelineEnd`, even if the worker dies."""
        log = logs / f"{dag_id}.log"
        self.tell({"run": dag_id, "log": str(log)})
        for said in self.events():
            event = _EVENTS[said.pop("event")](**said)
            yield event
            if isinstance(event, PipelineEnd):
                return
        yield PipelineEnd(dag_id, "failed", 0.0, str(log), self.obituary(f"ran {dag_id}"))
        self._start()

    def obituary(self, doing: str) -> str:
        """How the worker came to its end, while `doing` what."""
        code = self._process.wait()
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return f"The worker process ended {how} while it {doing}. What it said before is in its log."

    def end(self) -> None:
        """End the process, gently at first."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

