"""What takes long in Airflow's start, and what can be spared of it. Nothing here changes what Airflow does.

`no_collection` is for the time in which Airflow is loaded, `make_api` is part of it.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """While Airflow is loaded nothing becomes garbage, and what was loaded stays: Python's search for garbage
    would go through all of it, again and again, and once more at the process's end. It is a fifth of the time
    that a short run takes."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def make_api() -> None:
    """Make the API that the tasks of `dag.test()` speak with, which takes seconds; else their first request
    does it. What goes wrong here goes wrong there again, and is told there."""
    with contextlib.suppress(Exception):
        import httpx
        from airflow.sdk.execution_time.supervisor import in_process_api_server

        with httpx.Client(transport=in_process_api_server().transport) as client:
            client.get("http://in-process.invalid./health/ping")
