"""Runs pipelines once, without a scheduler, and tells what happens while it happens.

They run one after the other in a worker process (worker.py): Airflow takes most of the time to start, so a
second process would only double that. The process says what happens as lines of JSON on a pipe of its
own; all that Airflow and the tasks print goes to one log file for each pipeline. If it dies, that is an error
of the pipeline that it ran, and the next one gets a new process.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
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
    """The worker process ended before it was told to."""


class Runner:
    """The worker process. Use it as a context: leaving it ends the process."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the project's; its environment must be active."""
        self._folder = folder
        self._logs = Path(os.environ["AIRFLOW_HOME"]) / LOGS
        self._log = self._logs / "start.log"
        self._logs.mkdir(parents=True, exist_ok=True)
        self._start()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, problem: type[BaseException] | None, *_: object) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        if problem:
            self._process.terminate()
        try:
            self._process.wait(3 if problem else 15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def prepare(self) -> Found:
        """Bring database and Variables up to date and look for pipelines. Raises `WorkerError`."""
        self._tell({"prepare": True})
        for said in self._events():
            return Found(**said["found"])
        raise WorkerError(self._obituary("made the database ready", self._log))

    def run(self, dag_ids: Sequence[str]) -> Iterator[Event]:
        """Run pipelines and give what happens. The last event of each is its `PipelineEnd`."""
        for dag_id in dag_ids:
            log = self._logs / f"{dag_id}.log"
            self._tell({"run": dag_id, "log": str(log)})
            for said in self._events():
                event = _EVENTS[said.pop("event")](**said)
                yield event
                if isinstance(event, PipelineEnd):
                    break
            else:
                yield PipelineEnd(dag_id, "failed", 0.0, str(log), self._obituary(f"ran {dag_id}", log))
                self._said.close()
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

    def _tell(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then it is dead, and `_events` comes to its end
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def _events(self) -> Iterator[dict[str, Any]]:
        """What the worker says, until it dies."""
        for line in self._said:
            yield json.loads(line)

    def _obituary(self, doing: str, log: Path) -> str:
        """How the worker came to its end while `doing` what, and its last words."""
        code = self._process.wait()
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
        said = [line for line in lines if line.strip()]
        what = f"The worker process ended {how} while it {doing}. Its last words in {log}:"
        return "\n".join([what, *said[-3:]])
