"""What takes long in Airflow's start, and what can be spared of it.

`no_collection` is for the time in which Airflow is loaded, `make_api` is part of it.
"""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Callable, Iterator
from typing import Any


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


@functools.cache
def make_api() -> None:
    """Make the API that the tasks of `dag.test()` speak with, which takes seconds; else their first request
    does it. What goes wrong here goes wrong there again, and is told there.

    It understands ids of every script then, as that of a deployment does."""
    with contextlib.suppress(Exception):
        import httpx
        from airflow.sdk.execution_time.supervisor import in_process_api_server

        transport = in_process_api_server().transport
        transport.app = _with_paths_of_wsgi(transport.app)
        with httpx.Client(transport=transport) as client:
            client.get("http://in-process.invalid./health/ping")


def _with_paths_of_wsgi(app: Callable[..., Any]) -> Callable[..., Any]:
    """httpx (0.28) gives a path as the text that it is. WSGI (PEP 3333) means its bytes, a letter each."""

    def called(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        environ["PATH_INFO"] = environ["PATH_INFO"].encode().decode("latin-1")
        return app(environ, start_response)

    return called
