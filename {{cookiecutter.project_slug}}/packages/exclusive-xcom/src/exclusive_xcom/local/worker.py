"""One worker process of `xcom run`: runs pipelines by Airflow's own `dag.test()` and says what happens.

    python -m exclusive_xcom.local.worker FD LOGS

It reads lines from standard input. The first one has variables of the environment that were not known when
it was started, as JSON. Then it says what it has `Found` in dags/, and runs the pipelines whose ids come in,
until an empty line. What happens goes out as lines of JSON on the file descriptor FD: its kind, and its
fields. The project's environment must be active.
"""

from __future__ import annotations

import faulthandler
import os
import queue
import signal
import sys
import threading
import time
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

import msgspec

from . import processes, quick
from .runner import Event, PipelineEnd, log_name
from .traces import in_short


def _main(writing: int, logs: Path) -> None:
    faulthandler.register(signal.SIGUSR1)  # for who finds that it hangs (runner.py)
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(_take_stdin(), orders), daemon=True).start()
    with os.fdopen(writing, "wb") as out:

        def say(event: Event) -> None:
            out.write(msgspec.json.encode([type(event).__name__, event]) + b"\n")
            out.flush()

        with quick.no_collection():
            from . import bag, task_logs, watcher

            if not (variables := orders.get()):
                return
            os.environ.update(msgspec.json.decode(variables, type=dict[str, str]))
            dags, found = bag.load()
            say(found)
            quick.make_api()
        watcher.Watcher(say, task_logs.TaskLogs())
        for dag_id in iter(orders.get, ""):
            say(_run(dags[dag_id], logs / log_name(dag_id)))


def _take_stdin() -> TextIO:
    """Standard input, which a task must neither read nor hand on: it gets an empty one. A debugger without a
    terminal would wait for ever."""
    orders = os.fdopen(os.dup(0), encoding="utf-8")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    if "PYTHONBREAKPOINT" not in os.environ:
        sys.breakpointhook = _refuse_to_stop
    return orders


def _refuse_to_stop(*_: object, **__: object) -> None:
    raise RuntimeError("breakpoint() needs a terminal: `make debug DAG=…` gives it one.")


def _listen(lines: TextIO, orders: queue.SimpleQueue[str]) -> None:
    """Take in what is to be done. If that ends without an empty line, who started us is dead: then all of our
    session ends, in the middle of a task, too."""
    for line in lines:
        orders.put(line.strip())
        if not line.strip():
            return
    processes.end(processes.session(os.getpid()), 3)
    os._exit(1)


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
        error = in_short(problem)
    return PipelineEnd(dag.dag_id, state, time.perf_counter() - started, str(log), error, sorted(not_run))


def _print_to(log: Path) -> None:
    """Let everything that is printed from now on, by whatever means, go to a new file."""
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("w+b") as file:  # task_logs.py reads it again
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


if __name__ == "__main__":
    _main(int(sys.argv[1]), Path(sys.argv[2]))
