"""Which try of a task this process runs, and whether that try is still the current one.

On Airflow 3.3 the last writer of a row wins, even when it is an old try that woke up late. So every
backend asks Airflow right before the row is written. Airflow knows which try is current: each try of
a task instance has its own id, and the routes of the task-state store answer 404 to an id that a
retry has replaced.

Airflow 3.4 keeps the rows of each try apart, and its api-server refuses whatever an old try wants to write,
be it for itself or for another task (410). There nothing is asked: the row's own request is the question.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from .address import NOBODY, Address, Attempt
from .errors import CannotConfirmTry, Superseded, XComError

# Deleting a key that is never set is a question without a side effect. Getting it would not do:
# a missing key and a missing task instance give the same answer.
_NEVER_SET = "xcom-is-this-try-current"
# The last is 3.4's of a task instance that asks, not the one of a task for which it writes, which is named.
_GONE = re.compile("Task instance .*not found|Task Instance not found")
_PAUSES = (0.2, 1.0, 3.0)  # seconds before each repetition of a question that failed

_announced = NOBODY
_announced_task: Address | None = None


def begin(task_instance: Any) -> Attempt:
    """Note which task instance this process runs. Called where its arguments are rendered (hooks.py)."""
    global _announced, _announced_task
    _announced, _announced_task = _try_of(task_instance), _task_of(partial(getattr, task_instance))
    return _announced


def end() -> None:
    """Forget the task instance. Called when it is done (hooks.py)."""
    global _announced, _announced_task
    _announced, _announced_task = NOBODY, None


def current() -> Attempt:
    """The try that this process runs, or `NOBODY` outside a task.

    A worker binds the ids to its log context before anything else runs. `dag.test()` and threads
    that a task starts do not see them there: for these counts what `begin` was told.
    """
    from structlog.contextvars import get_contextvars

    bound = get_contextvars()
    if "trigger_id" in bound:
        return NOBODY  # the triggerer's supervisor does not know the question
    if bound.get("ti_id"):
        return Attempt(int(bound.get("try_number") or 0), str(bound["ti_id"]))
    return _announced if _announced.ti_id else _of_context()


def own_task() -> Address | None:
    """The task whose code runs, or a callback of it; None for Airflow's own code."""
    from structlog.contextvars import get_contextvars

    if own := _task_of(get_contextvars().get) or _announced_task:
        return own
    from airflow.sdk import get_current_context

    try:
        return _task_of(partial(getattr, get_current_context()["ti"]))
    except (RuntimeError, KeyError):
        return None


def is_anothers(address: Address) -> bool:
    """Whether the code of a running task, or a callback of it, handles another task's XCom."""
    own = own_task()  # without one it is Airflow itself, which handles the task's own
    return own is not None and own != replace(address, key=own.key)


def _task_of(get: Callable[[str, None], Any]) -> Address | None:
    if not (task_id := get("task_id", None)):
        return None
    return Address.of(get("dag_id", None), get("run_id", None), task_id, get("map_index", None))


def _of_context() -> Attempt:
    """The task whose code runs now; found in all threads, but not while a returned value is pushed. Counts
    where nobody calls `begin`: this package is not installed but only lies on the path."""
    from airflow.sdk import get_current_context

    try:
        return _try_of(get_current_context()["ti"])
    except RuntimeError:
        return NOBODY


def in_task_code() -> bool:
    """Whether a task's code runs now, and not what Airflow does before and behind it."""
    return bool(_of_context().ti_id)


def _try_of(task_instance: Any) -> Attempt:
    return Attempt(int(task_instance.try_number), str(task_instance.id))


def confirm(attempt: Attempt) -> None:
    """Ask Airflow whether a try is still the current one. Returns if it is, or if nobody can be asked; about
    `NOBODY` (benchmarks, triggerer) nobody is.

    Raises:
        Superseded: a later try has begun.
        CannotConfirmTry: Airflow did not answer, or not clearly.
    """
    if not attempt.ti_id or rows_are_kept_per_try():
        return
    try:
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS
    except ImportError:
        return  # no task runner in this process
    from airflow.sdk.execution_time.comms import DeleteTaskStateStore, OKResponse

    question = DeleteTaskStateStore(ti_id=UUID(attempt.ti_id), key=_NEVER_SET)
    unknown = f"Airflow did not say whether try {attempt.try_number} is still the current one"
    for pause in (*_PAUSES, None):
        try:
            answer = SUPERVISOR_COMMS.send(question)
            # Answers are not numbered: after an interrupted request, the next one gets its late answer.
            if not isinstance(answer, OKResponse):
                raise TypeError(f"unexpected answer: {type(answer).__name__}")
            return
        except (EOFError, ConnectionError) as error:
            raise CannotConfirmTry(
                f"{unknown}: the supervisor of this task has ended",
                "Nothing was written, and this process cannot write any more. Look into the worker's log for "
                "the reason; Airflow runs the task again if it has retries left.",
            ) from error
        except Exception as error:
            if _says_superseded(error):
                raise _superseded(attempt) from error
            if pause is None:
                raise CannotConfirmTry(
                    f"{unknown} ({type(error).__name__}: {error})",
                    "Nothing was written. Check that the api-server can be reached, then let the task run "
                    "again.",
                ) from error
            time.sleep(pause)


def refusal(error: Exception, undone: str = "written") -> XComError | None:
    """The error that Airflow's answer means when a row was to be written or deleted; None for any other.
    Where nothing was asked before, it says whether the try that this process runs is still current."""
    if _says_superseded(error):
        return _superseded(current(), undone)
    if isinstance(error, EOFError | ConnectionError):
        return CannotConfirmTry(
            f"Airflow did not say whether try {current().try_number} is still the current one: the "
            "supervisor of this task has ended",
            f"It has not acknowledged that this XCom was {undone}, and this process cannot write any more. "
            "Look into the worker's log for the reason; Airflow runs the task again if it has retries left.",
        )
    return None


def rows_are_kept_per_try() -> bool:
    """Whether this Airflow keeps each try's rows apart (3.4), so that an old try cannot overwrite a row."""
    from airflow.sdk.bases.xcom import BaseXCom

    return hasattr(BaseXCom, "store_value")


def _superseded(attempt: Attempt, undone: str = "written") -> Superseded:
    return Superseded(
        f"Try {attempt.try_number} (task instance {attempt.ti_id}) is no longer the current try",
        f"A later try has begun, so this XCom was not {undone}. Nothing to repair: the later try's XComs "
        "count. Look into its log; if this try was not meant to be replaced, look for a missed heartbeat "
        "or a cleared task.",
    )


def _says_superseded(error: Exception) -> bool:
    """Whether an error is the answer that a try is over, and not just any failure: 404 "Task instance … not
    found", as also when the run was deleted; from 3.4 on 410, which means nothing else.

    In a worker the supervisor wraps the answer (`AirflowRuntimeError.error.detail`); under `dag.test()`
    the HTTP client's own error arrives (`ServerResponseError.response`, `.detail`).
    """
    wrapped = getattr(getattr(error, "error", None), "detail", None)
    if isinstance(wrapped, dict):
        status, detail = wrapped.get("status_code"), wrapped.get("detail")
    else:
        status = getattr(getattr(error, "response", None), "status_code", None)
        detail = getattr(error, "detail", None)
    return status == 410 or (status == 404 and bool(_GONE.search(str(detail))))
