"""Forks one process for each measurement from one that has imported Airflow already, which takes seconds.

    python zygote.py MODULE...

Imports the modules, then reads jobs from standard input, one line of JSON each: the module whose `main` to
call, its arguments, environment variables. Prints the result of each as a line of JSON. A forked process has
made no client and started no thread, and its peak memory is its own: `measure.py` resets it. Polars must not
be among the modules: its threads start on import, and a forked process would wait for them for ever.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import threading
from typing import Any

TIMEOUT = 600  # seconds for one measurement


def run(job: dict[str, Any]) -> dict[str, Any]:
    """One job in a forked process; {"refused": why} when it fails."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        signal.alarm(TIMEOUT)
        try:
            result = _inside(job)
            with os.fdopen(write, "w") as pipe:
                json.dump(result, pipe)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if not said:
        return {"refused": f"the process ended with {os.waitstatus_to_exitcode(status)}"}
    result: dict[str, Any] = json.loads(said)
    return result


def _inside(job: dict[str, Any]) -> dict[str, Any]:
    os.environ.update(job["environment"])
    with open(os.devnull, "r+b") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(nothing.fileno(), 1)  # our standard output is the way of the results
        if not os.environ.get("XCOM_BENCH_VERBOSE"):
            os.dup2(nothing.fileno(), 2)
    try:
        result: dict[str, Any] = importlib.import_module(job["module"]).main(*job["arguments"])
        return result
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        return {"refused": f"{type(error).__name__}: {first[:160]}"}


def main(modules: list[str]) -> None:
    """Import, then serve."""
    for module in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    assert threading.active_count() == 1, "a thread is running: what is forked now would lack it"
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
