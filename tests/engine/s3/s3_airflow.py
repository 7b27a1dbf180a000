"""A model of what Airflow 3.3 does with XComs: its rows, and the one question that the engine asks it.

Rows are replaced by whoever writes last, be it a try that was superseded long ago; and a task instance that a
retry has replaced is not found any more. Both are so in Airflow, see attempt.py. What processes of their own
run stands here too: they can import this module, but not one of tests.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse, OKResponse
from structlog.contextvars import bound_contextvars

from exclusive_xcom.address import NOBODY, Address, Attempt
from exclusive_xcom.binding import Question, deleting
from exclusive_xcom.s3 import S3XComBackend

DAG, RUN, TASK = "drill", "manual__2026-01-02T03:04:05+00:00", "produce"


@dataclass
class Row:
    """What Airflow keeps, and who wrote it."""

    value: Any
    writer: Attempt


@dataclass
class Airflow:
    """Rows of one task, and which of its tries is current."""

    current: Attempt | None = None
    rows: dict[str, Row] = field(default_factory=dict)
    #: Called at the question, before ("asked") and after ("answered") the answer is found.
    gate: Callable[[str, str], None] = lambda ti_id, step: None

    def send(self, message: Any) -> Any:
        """The supervisor's side of the question."""
        ti_id = str(message.ti_id)
        self.gate(ti_id, "asked")
        known = self.current is not None and self.current.ti_id == ti_id
        self.gate(ti_id, "answered")
        if known:
            return OKResponse(ok=True)
        detail = {"status_code": 404, "detail": {"message": f"Task instance {ti_id} not found"}}
        raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail))

    @contextmanager
    def answering(self) -> Iterator[Airflow]:
        """The engine asks this Airflow as long as the context lasts."""
        before = getattr(task_runner, "SUPERVISOR_COMMS", None)
        task_runner.SUPERVISOR_COMMS = self
        try:
            yield self
        finally:
            if before is None:
                del task_runner.SUPERVISOR_COMMS
            else:
                task_runner.SUPERVISOR_COMMS = before

    def begin(self, attempt: Attempt, *, recreated: bool = False) -> None:
        """The next try begins: what the one before pushed is purged and deleted. A run that was deleted and
        created again has no rows either, but nothing was purged."""
        self.current = attempt
        for key in list(self.rows):
            row = self.rows.pop(key)
            if not recreated:
                self.purge(key, row)

    @staticmethod
    def purge(key: str, row: Row) -> None:
        """As Airflow does before it deletes a row."""
        with deleting(Question(Address(DAG, RUN, TASK, -1, key))):
            S3XComBackend.purge(row)

    def post(self, key: str, row: Any, writer: Attempt) -> None:
        """Write a row: the last one wins."""
        self.rows[key] = Row(row, writer)

    def pull(self, key: str) -> Any:
        """What a consumer gets; None where there is no row. Raises `XComError`."""
        row = self.rows.get(key)
        question = Question(Address(DAG, RUN, TASK, -1, key))
        return None if row is None else S3XComBackend._answer(question, [row.value])[0]


def push(attempt: Attempt, key: str, value: Any) -> Any:
    """Store a value as a task's own process does; the row that is to be posted."""
    with bound_contextvars(ti_id=attempt.ti_id, try_number=attempt.try_number):
        return S3XComBackend.serialize_value(
            value, key=key, dag_id=DAG, run_id=RUN, task_id=TASK, map_index=-1
        )


def producer(environment: dict[str, str], attempt: Attempt, key: str, value: Any, told: Connection) -> None:
    """A task's process: pushes, tells each of its steps, and waits for leave to go on."""
    os.environ.update(environment)

    def gate(ti_id: str, step: str) -> None:
        told.send(step)
        told.recv()

    with Airflow(current=attempt, gate=gate).answering():
        told.send(push(attempt, key, value))


def there_and_back(index: int) -> bool:
    """One mapped task that pushes, and one that pulls."""
    value = {"index": index, "text": f"{index} " * (1 + index * 40)}
    row = S3XComBackend.serialize_value(
        value, key="return_value", dag_id="many", run_id="r", task_id="mapped", map_index=index
    )
    assert row != value or index < 40  # the small ones stay in the row
    return bool(S3XComBackend.deserialize_value(Row(json.loads(json.dumps(row)), NOBODY)) == value)


def many_in_a_process(environment: dict[str, str], start: int) -> list[bool]:
    """Sixteen threads of a process of its own."""
    os.environ.update(environment)
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(there_and_back, range(start, start + 64, 4)))


class SteppedPush:
    """A push in a thread of its own that stands still before each of its steps until it is told to go on.

    Steps: "asked" (the payload is stored, Airflow is about to be asked), "answered" (Airflow has decided),
    "done" (the row could be posted, or there is an error).
    """

    def __init__(self, attempt: Attempt, key: str, value: Any) -> None:
        self.attempt, self.key, self.value = attempt, key, value
        self.step = "begun"
        self.row: Any = None
        self.error: Exception | None = None
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._go.acquire()
        try:
            self.row = push(self.attempt, self.key, self.value)
        except Exception as error:
            self.error = error
        self.step = "done"
        self._stopped.release()

    def gate(self, step: str) -> None:
        """Called in the push's own thread: stand still."""
        self.step = step
        self._stopped.release()
        self._go.acquire()

    def advance(self) -> str:
        """Let it take one step; where it stands then."""
        self._go.release()
        assert self._stopped.acquire(timeout=60), f"stuck after {self.step}"
        return self.step
