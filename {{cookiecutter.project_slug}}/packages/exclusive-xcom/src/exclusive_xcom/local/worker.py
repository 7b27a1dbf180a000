"""One worker process of `xcom run`: runs pipelines by Airflow's own `dag.test()` and says what happens.

    python -m exclusive_xcom.local.worker FD LOGS

It says first what it has `Found` in dags/. Then it runs the pipelines whose ids come in as lines on standard
input, until an empty line. What happens goes out as lines of JSON on the file descriptor FD: its kind, and
its fields. The project's environment must be active.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
from airflow.listeners import hookimpl
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.listener import get_listener_manager

from . import metadata, processes
from .runner import Event, Found, PipelineEnd, TaskEnd

Say = Callable[[Event], None]


def _main(writing: int, logs: Path) -> None:
    pipelines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipelines,), daemon=True).start()
    with os.fdopen(writing, "wb") as out:

        def say(event: Event) -> None:
            out.write(msgspec.json.encode([type(event).__name__, event]) + b"\n")
            out.flush()

        dags = _prepare(say)
        _Watcher(say)
        for dag_id in iter(pipelines.get, ""):
            say(_run(dags[dag_id], logs / f"{dag_id}.log"))


def _listen(pipelines: queue.SimpleQueue[str]) -> None:
    """Take in what is to be run. If that ends without an empty line, who started us is dead: then all of our
    session ends, in the middle of a task, too."""
    for line in sys.stdin:
        pipelines.put(line.strip())
        if not line.strip():
            return
    processes.end(processes.session(os.getpid()), 3)
    os._exit(1)


def _prepare(say: Say) -> dict[str, Any]:
    """Bring database and Variables up to date. Returns the pipelines by their ids."""
    metadata.prepare()
    (bundle,) = DagBundlesManager().get_all_dag_bundles()
    bag = BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
    # Each `dag.test()` writes all pipelines to the database. Once it has been done they only confirm it.
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, bundle.name, None)
    pipelines = {dag_id: dag.fileloc for dag_id, dag in sorted(bag.dags.items())}
    errors = {str(file): error.strip().splitlines()[-1] for file, error in bag.import_errors.items()}
    say(Found(pipelines, errors))
    return dict(bag.dags)


def _run(dag: Any, log: Path) -> PipelineEnd:
    """Run a pipeline, with nobody waiting before a second try."""
    _print_to(log)
    for task in dag.tasks:
        task.retry_delay = timedelta(0)
    started = time.perf_counter()
    state, error, not_run = "failed", "", set()
    try:
        run = dag.test()
        state = str(run.state)
        not_run = {task.task_id for task in run.get_task_instances() if task.state == "upstream_failed"}
    except Exception as problem:
        traceback.print_exc()
        error = _in_short(problem)
    return PipelineEnd(dag.dag_id, state, time.perf_counter() - started, str(log), error, sorted(not_run))


class _Watcher(logging.Handler):
    """From now on says every Transfer that the engine logs, and how the tries of tasks come to their ends."""

    def __init__(self, say: Say) -> None:
        super().__init__()
        self._say = say
        self._started = time.perf_counter()
        get_listener_manager().pm.register(self)
        engine = logging.getLogger(__package__.partition(".")[0])
        engine.addHandler(self)
        engine.setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        if transfer := getattr(record, "xcom", None):
            self._say(transfer)

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
    for last in ours[-1:]:
        file = Path(last.filename).relative_to(Path.cwd())
        text += f"\nin {file}, line {last.lineno}, {last.name}"
    return text[:4000]


def _print_to(log: Path) -> None:
    """Let everything that is printed from now on, by whatever means, go to a new file."""
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


if __name__ == "__main__":
    _main(int(sys.argv[1]), Path(sys.argv[2]))
