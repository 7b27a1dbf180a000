"""One worker process of `xcom run`: runs pipelines by Airflow's own `dag.test()` and says what happens.

    python -m exclusive_xcom.local.worker FD

What to do comes in as lines of JSON on standard input, what happens goes out as lines of JSON on the
file descriptor FD: its kind, and its fields. The project's environment must be active.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from airflow.listeners import hookimpl
from airflow.sdk.exceptions import AirflowFailException

from . import metadata, processes
from .runner import Event, Found, PipelineEnd, TaskEnd

Say = Callable[[Event | Found], None]


def _main(writing: int) -> None:
    """Do what comes in until we are told to end."""
    todo: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(todo,), daemon=True).start()
    with os.fdopen(writing, "wb") as out:

        def say(event: Event | Found) -> None:
            out.write(msgspec.json.encode([type(event).__name__, event]) + b"\n")
            out.flush()

        while "end" not in (message := todo.get()):
            if "prepare" in message:
                say(_prepare())
            else:
                _run_pipeline(message["run"], Path(message["log"]), say)


def _listen(todo: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Read what is to be done. If that stops before its end, who started us is dead: then all of our session
    ends, in the middle of a task, too."""
    for line in sys.stdin:
        message = json.loads(line)
        todo.put(message)
        if "end" in message:
            return
    processes.end(processes.session(os.getpid()), 3)
    os._exit(1)


def _prepare() -> Found:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import sync_bag_to_db

    metadata.prepare()
    bag = _dag_bag()
    # Each `dag.test()` writes all pipelines to the database. Once it has been done they only confirm it,
    # which several workers can do at the same time.
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, bag.bundle_name, None)
    return Found(
        {dag_id: dag.fileloc for dag_id, dag in sorted(bag.dags.items())},
        {str(file): error.strip().splitlines()[-1] for file, error in bag.import_errors.items()},
    )


def _dag_bag() -> Any:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag

    (bundle,) = DagBundlesManager().get_all_dag_bundles()
    return BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)


def _run_pipeline(dag_id: str, log: Path, say: Say) -> None:
    """Run one pipeline and say what happens; its `PipelineEnd` comes last, whatever happens."""
    _print_to(log)
    started = time.perf_counter()
    try:
        with _watching(say):
            run = _dag(dag_id).test()
        state, not_run = str(run.state), _not_run(run)
        end = PipelineEnd(dag_id, state, time.perf_counter() - started, str(log), not_run=not_run)
    except Exception as error:
        traceback.print_exc()
        end = PipelineEnd(dag_id, "failed", time.perf_counter() - started, str(log), _in_short(error))
    say(end)


def _dag(dag_id: str) -> Any:
    """The pipeline, with nobody waiting before a second try."""
    dag = _dag_bag().dags[dag_id]
    for task in dag.tasks:
        task.retry_delay = timedelta(0)
    return dag


def _not_run(run: Any) -> list[str]:
    return sorted({task.task_id for task in run.get_task_instances() if task.state == "upstream_failed"})


@contextlib.contextmanager
def _watching(say: Say) -> Iterator[None]:
    """Say every end of a try and every push and pull."""
    from airflow.sdk.listener import get_listener_manager

    listeners = get_listener_manager()
    listener = _Listener(say)
    listeners.pm.register(listener)
    logger = logging.getLogger(__package__.partition(".")[0])  # the engine's
    handler = _TransferHandler(say)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        listeners.pm.unregister(listener)


class _TransferHandler(logging.Handler):
    """Says every Transfer that the engine logs."""

    def __init__(self, say: Say) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        if transfer := getattr(record, "xcom", None):
            self._say(transfer)


class _Listener:
    """Says how the tries of tasks come to their ends."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._started = time.perf_counter()

    @hookimpl
    def on_task_instance_running(self, previous_state: Any, task_instance: Any) -> None:
        self._started = time.perf_counter()

    @hookimpl
    def on_task_instance_success(self, previous_state: Any, task_instance: Any) -> None:
        self._end(task_instance, "success")

    @hookimpl
    def on_task_instance_skipped(self, previous_state: Any, task_instance: Any) -> None:
        self._end(task_instance, "skipped")

    @hookimpl
    def on_task_instance_failed(self, previous_state: Any, task_instance: Any, error: Any) -> None:
        # Both a failure that is tried again and the last one come here, with the same state.
        again = task_instance.try_number <= task_instance.max_tries
        again = again and not isinstance(error, AirflowFailException)
        self._end(task_instance, "up_for_retry" if again else "failed", _in_short(error))

    def _end(self, task: Any, state: str, error: str = "") -> None:
        index = -1 if task.map_index is None else task.map_index
        seconds = time.perf_counter() - self._started
        self._say(TaskEnd(task.dag_id, task.task_id, index, state, seconds, error))


def _in_short(error: BaseException | str | None) -> str:
    """An error as its kind, its text and the line of this project where it came up."""
    if not isinstance(error, BaseException):
        return str(error or "no reason given")
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(Path.cwd() / "dags")]
    if ours:
        file = Path(ours[-1].filename).relative_to(Path.cwd())
        text += f"\nin {file}, line {ours[-1].lineno}, {ours[-1].name}"
    return text[:4000]


def _print_to(log: Path) -> None:
    """Let everything that is printed from now on, by whatever means, go to a new file."""
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
