"""Runs pipelines once, without a scheduler, and tells what happens while it happens.

They run one after the other in a worker process (worker.py): Airflow takes most of the time to start, so a
second process would only double that. The process says what happens as lines of JSON on a pipe of its
own; all that Airflow and the tasks print goes to one log file for each pipeline. If it dies, that is an error
of the pipeline that it ran, and the next one gets a new process.

The worker leads a session of its own, which goes as a whole: what a task has started never outlives the run.
If this process is killed, the worker notices it and ends its session. A worker that can't, because a library
holds Python's lock, is ended by its guard: a shell that waits for the end of this process.

A worker that says nothing for long, while no task runs, hangs: it tells its log where, and is ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ..console import Failed
from ..transfer import Transfer
from . import processes
from .pipelines import Found

SILENCE = 600  # seconds without a task; reading all files in dags/ may take minutes, on a busy machine
LAST_WORDS = 2  # seconds to say where it hangs
# The worker has some seconds to end what its tasks have started in groups of their own, too.
GUARD = 'read -r _; sleep 10; kill -s KILL -- "-$1"'
START = "~start.log"  # what the worker says before its first pipeline; no DAG's id has this sign


@dataclass(frozen=True)
class TaskBegin:
    """A try of a task begins."""

    dag_id: str
    task_id: str
    map_index: int


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
class PipelineEnd:
    """A pipeline came to its end. `not_run` names tasks that never began, `log` its log file."""

    dag_id: str
    state: str
    seconds: float
    log: str
    error: str = ""
    not_run: list[str] = field(default_factory=list)


Event = Found | TaskBegin | TaskEnd | Transfer | PipelineEnd
_EVENTS: dict[str, type[Event]] = {
    kind.__name__: kind for kind in (Found, TaskBegin, TaskEnd, Transfer, PipelineEnd)
}


def log_name(dag_id: str) -> str:
    """The name of a pipeline's log file. An id has letters of any script, digits, dots, dashes and
    underscores, and up to 250 of them: more bytes than the name of a file may have."""
    if len(dag_id.encode()) <= 200:
        return f"{dag_id}.log"
    return f"{dag_id[:40]}~{hashlib.sha256(dag_id.encode()).hexdigest()[:16]}.log"


class Runner:
    """The worker process. Use it as a context: leaving it ends the process and what that has started; leaving
    it once more does nothing."""

    def __init__(self, silence: float = SILENCE) -> None:
        """The project's environment must be active. Airflow begins to load, which takes seconds, while this
        process does other things. `silence` is how many seconds a worker that runs no task may say nothing.
        """
        self._silence = silence
        self._logs = Path(os.environ["AIRFLOW_HOME"], "logs", "run")
        self._logs.mkdir(parents=True, exist_ok=True)
        self._start()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, problem: type[BaseException] | None, *_: object) -> None:
        if self._orders.closed:
            return
        if not problem:
            self._tell("")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(15)
        self._end()

    def prepare(self) -> Found:
        """Bring database and Variables up to date and look for pipelines. The worker gets the environment as
        it is now. Raises `Failed`."""
        self._tell(
            json.dumps({name: value for name, value in os.environ.items() if value != self._known.get(name)})
        )
        found = next(self._events(), None)
        if isinstance(found, Found):
            return found
        raise Failed(self._obituary("made the database ready", self._logs / START))

    def run(self, dag_ids: Sequence[str]) -> Iterator[Event]:
        """Run pipelines and give what happens. The last event of each is its `PipelineEnd`."""
        for dag_id in dag_ids:
            self._tell(dag_id)
            for event in self._events():
                yield event
                if isinstance(event, PipelineEnd):
                    break
            else:
                log = self._logs / log_name(dag_id)
                yield PipelineEnd(dag_id, "failed", 0.0, str(log), self._obituary(f"ran {dag_id}", log))
                self._end()
                self._start()
                self._tell("{}")

    def _start(self) -> None:
        self._known = dict(os.environ)
        reading, writing = os.pipe()
        command = [sys.executable, "-m", f"{__package__}.worker", str(writing), str(self._logs)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "pass_fds": (writing,)}
        self._process = processes.start(command, self._logs / START, start_new_session=True, **pipes)
        os.close(writing)
        guard = ["sh", "-c", GUARD, "sh", str(self._process.pid)]
        self._guard = processes.start(guard, Path(os.devnull), start_new_session=True, stdin=subprocess.PIPE)
        assert self._process.stdin is not None
        self._orders = self._process.stdin
        self._said = os.fdopen(reading, "rb", buffering=0)
        self._hung, self._rest = "", b""
        self._begun: set[tuple[str, int]] = set()

    def _end(self) -> None:
        """End the worker's session and its guard, and give back the pipes."""
        processes.end(processes.session(self._process.pid), 3)
        self._process.wait()
        self._guard.kill()  # before its pipe is closed, which would be its sign
        self._guard.wait()
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._said.close()
        self._orders.close()

    def _tell(self, order: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # then it is dead, and `_events` comes to its end
            os.write(self._orders.fileno(), f"{order}\n".encode())

    def _events(self) -> Iterator[Event]:
        """What the worker says, until it dies, or is ended because it hangs."""
        for line in self._lines():
            kind, said = json.loads(line)
            event = msgspec.convert(said, _EVENTS[kind])
            if isinstance(event, TaskBegin):
                self._begun.add((event.task_id, event.map_index))
            elif isinstance(event, TaskEnd) and event.state != "up_for_retry":
                self._begun.discard((event.task_id, event.map_index))
            yield event

    def _lines(self) -> Iterator[bytes]:
        # Tasks that run, or wait until they may go on (sensors, deferred ones, a next try that their
        # retry_policy puts off): as long as they like.
        self._begun = set()
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._said, selectors.EVENT_READ)
            while True:
                if not waiting.select(None if self._begun else self._silence):
                    self._give_up()
                    return
                piece = self._said.read(2**16) or b""
                self._rest += piece
                while b"\n" in self._rest:
                    line, _, self._rest = self._rest.partition(b"\n")
                    yield line
                if not piece:
                    return

    def _give_up(self) -> None:
        """End a worker that hangs, when it had time to say where."""
        self._hung = f"It said nothing for {self._silence:.0f} s, and was ended. Where it stood is in"
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGUSR1)
        time.sleep(LAST_WORDS)
        self._process.kill()
        self._process.wait()
        processes.end(processes.session(self._process.pid), 0)

    def _obituary(self, doing: str, log: Path) -> str:
        """How the worker came to its end while `doing` what, and its last words."""
        how = processes.how(self._process.wait())
        what = f"The worker process ended {how} while it {doing}."
        if self._hung:
            return f"{what} {self._hung} {log}."
        what = f"{what} Its last words in {log}:"
        return f"{what}\n{processes.last_words(log, 3, otherwise='')}".strip()
