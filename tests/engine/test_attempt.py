"""Who writes an XCom, and what is made of Airflow's answers to the question whether it still may."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from airflow.sdk.api.client import ServerResponseError
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import CommsDecoder, _RequestFrame, _ResponseFrame
from airflow_versions import asks_first, rows_per_try
from structlog.contextvars import bound_contextvars

from exclusive_xcom import attempt as attempts
from exclusive_xcom.address import NOBODY, Address, Attempt
from exclusive_xcom.errors import CannotConfirmTry, Superseded

ADDRESS = Address("orders", "run 1", "extract", -1, "frame")
MINE = Attempt(2, str(uuid.uuid4()))

# Frames of Airflow's supervisor, as they were seen on the wire: (body, error).
YES = ({"ok": True, "type": "OKResponse"}, None)


def failure(status: int | None, detail: object, message: str = "Server returned error") -> tuple[None, Any]:
    """The frame in which the supervisor passes on the api-server's refusal."""
    told = {"status_code": status, "message": message, "detail": detail}
    return None, {"error": "API_SERVER_ERROR", "detail": told, "type": "ErrorResponse"}


def not_found(what: str) -> tuple[None, Any]:
    """A 404 of the api-server."""
    return failure(404, {"detail": {"reason": "not_found", "message": what}})


REPLACED = not_found(f"Task instance {MINE.ti_id} not found")
OUT_OF_ORDER = failure(500, {"detail": "Internal server error"})
NO_ANSWER = failure(None, None, "timed out")


class Supervisor:
    """The other end of a task's socket: takes down what is asked, answers as told, then hangs up."""

    def __init__(self, *answers: tuple[Any, Any]) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answers = answers
        self._mine, self.tasks = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self._mine:
            for body, error in self._answers:
                length = self._mine.recv(4, socket.MSG_WAITALL)
                if not length:
                    return
                frame = self._mine.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL)
                request = msgspec.msgpack.decode(frame, type=_RequestFrame)
                self.asked.append(request.body or {})
                self._mine.sendall(_ResponseFrame(request.id, body, error).as_bytes())

    def close(self) -> None:
        """The task has ended."""
        self.tasks.close()
        self._thread.join()


Supervised = Callable[..., Supervisor]


@pytest.fixture
def supervised(monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervised]:
    """Makes this process a task whose supervisor gives these answers. Nobody waits before asking again."""
    supervisors = []

    def start(*answers: tuple[Any, Any]) -> Supervisor:
        supervisors.append(Supervisor(*answers))
        comms: CommsDecoder[Any, Any] = CommsDecoder(socket=supervisors[-1].tasks)
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms, raising=False)
        return supervisors[-1]

    monkeypatch.setattr(attempts, "_PAUSES", (0, 0, 0))
    yield start
    for supervisor in supervisors:
        supervisor.close()


@pytest.fixture
def announced() -> Iterator[Attempt]:
    """The hook was told that this process runs `MINE`."""
    attempts.begin(SimpleNamespace(id=uuid.UUID(MINE.ti_id), try_number=2))
    yield MINE
    attempts.end()


# -- whose XCom -------------------------------------------------------------------------------------


def test_an_address_for_people() -> None:
    assert str(ADDRESS) == "'frame' of orders.extract, run run 1"
    assert str(Address("orders", "run 1", "extract", 0)) == "'return_value' of orders.extract[0], run run 1"


# -- which try --------------------------------------------------------------------------------------


def test_outside_of_a_task_it_is_nobody() -> None:
    assert attempts.current() == NOBODY == Attempt(0, "")


def test_the_hook_says_it_to_all_threads(announced: Attempt) -> None:
    found = []
    thread = threading.Thread(target=lambda: found.append(attempts.current()))
    thread.start()
    thread.join()
    assert found == [attempts.current()] == [announced]


def test_without_a_hook_the_running_task_says_it_to_all_threads() -> None:
    from airflow.sdk.execution_time.context import set_current_context

    context: Any = {"ti": SimpleNamespace(id=uuid.UUID(MINE.ti_id), try_number=2)}
    found = []
    with set_current_context(context):
        thread = threading.Thread(target=lambda: found.append(attempts.current()))
        thread.start()
        thread.join()
    assert found == [MINE]


def test_when_it_is_done_it_is_nobody_again(announced: Attempt) -> None:
    attempts.end()
    assert attempts.current() == NOBODY


def test_what_a_worker_binds_to_its_log_counts_most(announced: Attempt) -> None:
    other = Attempt(7, str(uuid.uuid4()))
    with bound_contextvars(ti_id=other.ti_id, try_number=7):
        assert attempts.current() == other


def test_in_the_triggerer_it_is_nobody(announced: Attempt) -> None:
    """Its supervisor does not know the question, although it binds the ids of the task that waits."""
    with bound_contextvars(trigger_id=1, ti_id=MINE.ti_id, try_number=2):
        assert attempts.current() == NOBODY


# -- is it still the current one --------------------------------------------------------------------


@asks_first
def test_yes(supervised: Supervised) -> None:
    supervisor = supervised(YES)
    attempts.confirm(MINE)
    (asked,) = supervisor.asked
    assert asked["type"] == "DeleteTaskStateStore"
    assert str(asked["ti_id"]) == MINE.ti_id
    assert asked["key"] == "xcom-is-this-try-current"


@asks_first
def test_no(supervised: Supervised) -> None:
    supervisor = supervised(REPLACED)
    with pytest.raises(Superseded) as caught:
        attempts.confirm(MINE)
    assert str(caught.value) == (
        f"Try 2 (task instance {MINE.ti_id}) is no longer the current try. "
        "A later try has begun, so this XCom was not written. Nothing to repair: the later try's XComs "
        "count. Look into its log; if this try was not meant to be replaced, look for a missed heartbeat "
        "or a cleared task."
    )
    assert len(supervisor.asked) == 1


@asks_first
def test_no_in_the_words_of_dag_test(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    """There the HTTP client's own error arrives."""
    import httpx

    body = {"detail": {"reason": "not_found", "message": f"Task instance {MINE.ti_id} not found"}}
    response = httpx.Response(404, json=body, request=httpx.Request("DELETE", "http://in-process.invalid./"))
    error = ServerResponseError.from_response(response)
    assert error is not None

    def refuse(message: object) -> None:
        raise error

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(send=refuse), raising=False)
    with pytest.raises(Superseded):
        attempts.confirm(MINE)


@asks_first
@pytest.mark.parametrize(
    "answer",
    [
        OUT_OF_ORDER,
        NO_ANSWER,
        not_found("Task state store key 'xcom-is-this-try-current' not found"),
        failure(404, None),
        failure(404, {"detail": "Not Found"}),
        failure(403, {"detail": f"Task instance {MINE.ti_id} not found"}),
        failure(401, {"detail": "Invalid auth token"}),
        (None, None),
        ({"key": "k", "value": 1, "type": "XComResult"}, None),
    ],
    ids=lambda answer: repr(answer)[:60],
)
def test_anything_else_is_asked_again_and_then_an_error(
    supervised: Supervised, answer: tuple[Any, Any]
) -> None:
    supervisor = supervised(*[answer] * 4)
    with pytest.raises(CannotConfirmTry) as caught:
        attempts.confirm(MINE)
    assert len(supervisor.asked) == 4
    assert str(caught.value).startswith("Airflow did not say whether try 2 is still the current one (")
    assert str(caught.value).endswith(
        "). Nothing was written. Check that the api-server can be reached, then let the task run again."
    )


@asks_first
def test_a_passing_trouble_does_no_harm(supervised: Supervised) -> None:
    supervisor = supervised(OUT_OF_ORDER, NO_ANSWER, YES)
    attempts.confirm(MINE)
    assert len(supervisor.asked) == 3


@asks_first
def test_no_after_a_passing_trouble(supervised: Supervised) -> None:
    supervised(OUT_OF_ORDER, REPLACED)
    with pytest.raises(Superseded):
        attempts.confirm(MINE)


@asks_first
def test_without_a_supervisor_nobody_waits(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_PAUSES", (1_000_000,))
    supervised()
    with pytest.raises(CannotConfirmTry) as caught:
        attempts.confirm(MINE)
    assert str(caught.value) == (
        "Airflow did not say whether try 2 is still the current one: the supervisor of this task has "
        "ended. Nothing was written, and this process cannot write any "
        "more. Look into the worker's log for the reason; Airflow runs the task again if it has retries left."
    )


@asks_first
def test_a_time_out_of_the_task_is_not_held_up(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow raises it in the middle of whatever the task does, and it is no `Exception`."""
    from airflow.sdk.exceptions import AirflowTaskTimeout

    def interrupted(message: object) -> None:
        raise AirflowTaskTimeout

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(send=interrupted), raising=False)
    with pytest.raises(AirflowTaskTimeout):
        attempts.confirm(MINE)


def test_nobody_is_not_asked_about(supervised: Supervised) -> None:
    supervisor = supervised()
    attempts.confirm(NOBODY)
    assert not supervisor.asked


def test_without_a_task_runner_nobody_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(task_runner, "SUPERVISOR_COMMS", raising=False)
    attempts.confirm(MINE)


@rows_per_try
def test_an_airflow_that_keeps_rows_per_try_is_not_asked(supervised: Supervised) -> None:
    supervisor = supervised()
    attempts.confirm(MINE)
    assert not supervisor.asked


# -- what the answer to a row says ------------------------------------------------------------------

ARCHIVED = "Task Instance not found in the working set; its attempt has been archived"


def answered(frame: tuple[None, Any]) -> Exception:
    """The error that a task gets for a frame of its supervisor."""
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time.comms import ErrorResponse

    return AirflowRuntimeError(ErrorResponse.model_validate(frame[1]))


@pytest.mark.parametrize(
    "frame",
    [
        failure(410, {"detail": {"reason": "not_found", "message": ARCHIVED}}),
        failure(410, None),
        not_found("Task Instance not found"),  # the run was deleted
        REPLACED,
    ],
    ids=["archived", "410", "deleted", "replaced"],
)
def test_a_row_is_refused_to_an_old_try(announced: Attempt, frame: tuple[None, Any]) -> None:
    refused = attempts.refusal(answered(frame))
    assert type(refused) is Superseded
    assert str(refused).startswith(
        f"Try 2 (task instance {MINE.ti_id}) is no longer the current try. A later"
    )
    assert "this XCom was not deleted" in str(attempts.refusal(answered(frame), "deleted"))


@pytest.mark.parametrize("error", [EOFError(), ConnectionResetError(), BrokenPipeError()], ids=repr)
def test_without_a_supervisor_nobody_says_whether_it_was_written(error: Exception) -> None:
    refused = attempts.refusal(error)
    assert type(refused) is CannotConfirmTry
    assert "the supervisor of this task has ended. It has not acknowledged that this XCom was written" in str(
        refused
    )


@pytest.mark.parametrize(
    "frame",
    [
        OUT_OF_ORDER,
        NO_ANSWER,
        not_found("Task Instance 'load' not found in 'run 1'"),  # the task for which one wrote
        failure(404, None),
        failure(403, {"detail": ARCHIVED}),
    ],
    ids=repr,
)
def test_any_other_answer_stays_airflows(frame: tuple[None, Any]) -> None:
    assert attempts.refusal(answered(frame)) is None
