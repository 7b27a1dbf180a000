"""Listens to Airflow while it runs pipelines in this process, and says what happens.

Imports Airflow, so `environment.activate()` comes first.
"""

from __future__ import annotations

import bdb
import logging
import pdb
import sys
import time
from collections.abc import Callable
from traceback import extract_tb
from typing import TYPE_CHECKING, Any

import structlog
from airflow.listeners import hookimpl
from airflow.sdk import TaskInstanceState
from airflow.sdk.listener import get_listener_manager

from .. import metrics
from .runner import Event, TaskBegin, TaskEnd
from .traces import in_short, printed

if TYPE_CHECKING:
    from .task_logs import TaskLogs

BRIEF = 300  # characters of a returned value in the log
Say = Callable[[Event], None]


class Watcher(logging.Handler):
    """From now on says every Transfer that the engine logs, and how the tries of tasks begin and end. Their
    logs are kept, where somebody asks for that."""

    def __init__(self, say: Say, logs: TaskLogs | None = None) -> None:
        super().__init__()
        self._say, self._logs = say, logs
        self._started = time.perf_counter()
        get_listener_manager().pm.register(self)
        engine = logging.getLogger(__package__.partition(".")[0])
        engine.addHandler(self)
        engine.setLevel(logging.INFO)
        metrics.only_lines()

    def emit(self, record: logging.LogRecord) -> None:
        if transfer := getattr(record, "xcom", None):
            self._say(transfer)

    @hookimpl
    def on_task_instance_running(self, previous_state: Any, task_instance: Any) -> None:
        if self._logs:
            self._logs.begin(task_instance)
        self._started = time.perf_counter()
        self._say(TaskBegin(*_of(task_instance)))

    @hookimpl
    def on_task_instance_success(self, previous_state: Any, task_instance: Any) -> None:
        self._end(task_instance, "success")

    @hookimpl
    def on_task_instance_skipped(self, previous_state: Any, task_instance: Any) -> None:
        self._end(task_instance, "skipped")

    @hookimpl
    def on_task_instance_failed(self, previous_state: Any, task_instance: Any, error: Any) -> None:
        # Both a failure that is tried again and the last one come here. A retry_policy may be why.
        again = task_instance.state == TaskInstanceState.UP_FOR_RETRY
        self._end(task_instance, "up_for_retry" if again else "failed", in_short(error))

    def _end(self, task: Any, state: str, error: str = "") -> None:
        if self._logs:
            self._logs.end()
        self._say(TaskEnd(*_of(task), state, time.perf_counter() - self._started, error))


def _of(task: Any) -> tuple[str, str, int]:
    """Pipeline, task and map index."""
    return task.dag_id, task.task_id, -1 if task.map_index is None else task.map_index


class Failures:
    """From now on shows why tasks fail, and lets who asked for it look around there."""

    def __init__(self, post_mortem: bool) -> None:
        self._post_mortem = post_mortem
        get_listener_manager().pm.register(self)
        structlog.get_config()["processors"].insert(0, _briefly)

    @hookimpl
    def on_task_instance_failed(self, previous_state: Any, task_instance: Any, error: Any) -> None:
        if _has_enough(error):
            raise KeyboardInterrupt  # Airflow takes it for a failure like any other, and would go on
        if not isinstance(error, BaseException):
            return
        print(printed(error), flush=True)
        if self._post_mortem and sys.stdin.isatty():
            pdb.post_mortem(error.__traceback__)


def _has_enough(error: Any) -> bool:
    """Whether it is no failure, but somebody who has pressed Ctrl-C or left the debugger. Of Python 3.14 on,
    that one ends the process as `sys.exit()` does."""
    if not isinstance(error, SystemExit):
        return isinstance(error, bdb.BdbQuit | KeyboardInterrupt)
    return any(frame.filename == pdb.__file__ for frame in extract_tb(error.__traceback__)[-1:])


def _briefly(_: Any, __: str, said: Any) -> Any:
    """Drop Airflow's own report of a failure, whose traceback is long, and shorten its report of a returned
    value, which is all of it: it may have millions of lines."""
    text = str(said.get("event"))
    if text == "Task failed with exception":
        raise structlog.DropEvent
    if text.startswith("Done. Returned value was") and len(text) > BRIEF:
        said["event"] = f"{text[:BRIEF]}…"
    return said
