"""Payloads that no row needs any more: which go, which stay, and what their readers are told."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import comms, task_runner
from airflow_versions import ROWS_PER_TRY, push_own
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from structlog.contextvars import bound_contextvars

from exclusive_xcom import Handle, garbage, lazy
from exclusive_xcom.errors import PayloadMissing, PayloadReplaced, StoreUnreachable, Superseded
from exclusive_xcom.s3 import S3Store, S3XComBackend

WHOSE: dict[str, Any] = {"dag_id": "orders", "run_id": "run 1", "task_id": "extract", "map_index": -1}
TRY: dict[str, Any] = {"ti_id": "019a2c3e-0000-7000-8000-000000000001", "try_number": 1}


class Airflow:
    """Rows by key and map index, as a database gives them back. `refuses` is asked of each request first."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int], Any] = {}
        self.refuses: Callable[[str], Exception | None] = lambda kind: None
        self.lost: Exception | None = None  # raised once a row has been written

    def send(self, msg: Any) -> Any:
        """The supervisor's side."""
        kind = type(msg).__name__
        if error := self.refuses(kind):
            raise error
        index = getattr(msg, "map_index", None)
        place = (getattr(msg, "key", ""), -1 if index is None else index)
        if kind == "SetXCom":
            self.rows[place] = json.loads(json.dumps(msg.value))
            if self.lost:
                raise self.lost
        elif kind == "DeleteXCom":
            self.rows.pop(place, None)
        elif kind == "GetXCom":
            return comms.XComResult(key=msg.key, value=self.rows.get(place))
        elif kind == "GetXComSequenceSlice":
            return comms.XComSequenceSliceResult(root=[self.rows[one] for one in sorted(self.rows)])
        return comms.OKResponse(ok=True)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Airflow]:
    """One that answers the first try of a task."""
    airflow = Airflow()
    garbage._rows.clear()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", airflow, raising=False)
    with bound_contextvars(**TRY):
        yield airflow


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where payloads are."""
    monkeypatch.setenv("AIRFLOW__XCOM__URL", (tmp_path / "store").as_uri())
    monkeypatch.delenv("AIRFLOW__XCOM__CONN_ID", raising=False)
    return tmp_path / "store"


def push(value: Any, key: str = "value", **whose: Any) -> None:
    """As a task does."""
    push_own(S3XComBackend, key, value, **{**WHOSE, **whose})


def pull(key: str = "value", **whose: Any) -> Any:
    """As a task does."""
    return S3XComBackend.get_one(key=key, **{**WHOSE, **whose})


def payloads(folder: Path) -> int:
    """How many there are."""
    return sum(path.is_file() for path in folder.rglob("*"))


def test_of_a_key_that_is_pushed_over_and_over_one_payload_is_left(airflow: Airflow, folder: Path) -> None:
    for number in range(4):
        push(b"%d" % number)
        push((number,), "other")
        assert pull() == b"%d" % number
    assert pull("other") == (3,)
    assert payloads(folder) == 2
    push("plain")  # stays in the row
    assert pull() == "plain"
    assert payloads(folder) == 1


def test_what_was_refused_before_its_row_is_taken_back(airflow: Airflow, folder: Path) -> None:
    """By the answer to our question, or by that to the row's own request."""
    push(b"first")
    gone = {"status_code": 404, "message": "x", "detail": {"detail": "Task instance x not found"}}
    asked = "DeleteTaskStateStore"
    if ROWS_PER_TRY:
        gone, asked = {**gone, "status_code": 410}, "SetXCom"
    error = comms.ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=gone)
    airflow.refuses = lambda kind: AirflowRuntimeError(error) if kind == asked else None
    with pytest.raises(Superseded):
        push(b"second")
    assert payloads(folder) == 1
    assert pull() == b"first"


@pytest.mark.parametrize("written", [True, False])
def test_what_may_have_got_its_row_stays(airflow: Airflow, folder: Path, written: bool) -> None:
    """There was no answer: the row may be the new one, or the old one, or become the new one later."""
    push(b"first")
    if written:
        airflow.lost = TimeoutError()
    else:
        airflow.refuses = lambda kind: TimeoutError() if kind == "SetXCom" else None
    with pytest.raises(TimeoutError):
        push(b"second")
    airflow.lost, airflow.refuses = None, lambda kind: None
    assert pull() == (b"second" if written else b"first")
    assert payloads(folder) == 2
    late = airflow.rows["value", -1]
    push(b"third")
    airflow.rows["value", -1] = late if written else airflow.rows["value", -1]
    assert pull() == (b"second" if written else b"third")


def test_what_another_try_or_process_pushed_stays(airflow: Airflow, folder: Path) -> None:
    push(b"first")
    with bound_contextvars(**{**TRY, "ti_id": TRY["ti_id"][:-1] + "2"}):
        push(b"second")
    assert payloads(folder) == 2


def test_threads_that_push_the_same_key(airflow: Airflow, folder: Path) -> None:
    """Whoever is last: the row's payload is there."""

    def many(name: int) -> None:
        with bound_contextvars(**TRY):
            for number in range(20):
                push((name, number))

    threads = [threading.Thread(target=many, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pull()[1] == 19
    assert payloads(folder) == 1


def stale(airflow: Airflow, folder: Path, value: Any) -> Any:
    """The row as it was before a value was pushed over it."""
    before = airflow.rows["value", -1]
    push(value)
    return before


@pytest.mark.parametrize("newer", [b"second", "plain", {"a": (1,)}])
def test_a_reader_with_the_old_row_reads_the_new_one(airflow: Airflow, folder: Path, newer: Any) -> None:
    push(b"first")
    before, now = stale(airflow, folder, newer), airflow.rows["value", -1]

    def once(kind: str) -> None:
        if kind == "GetXCom":  # the first answer was on its way when the other push was acknowledged
            airflow.rows["value", -1], airflow.refuses = before, then

    def then(kind: str) -> None:
        airflow.rows["value", -1] = now

    airflow.refuses = once
    assert pull() == newer


def test_so_does_who_reads_all_of_a_mapped_task(airflow: Airflow, folder: Path) -> None:
    for index in range(3):
        push((index,), map_index=index)
    before = dict(airflow.rows)
    push((10,), map_index=1)
    now = dict(airflow.rows)
    airflow.rows = dict(before)

    def then(kind: str) -> None:
        airflow.rows = now if kind == "GetXCom" else airflow.rows

    airflow.refuses = then
    found = S3XComBackend.get_all(
        key="value", **{name: WHOSE[name] for name in ("dag_id", "run_id", "task_id")}
    )
    assert found == [(0,), (10,), (2,)]


def test_a_handle_says_that_it_was_pushed_again(airflow: Airflow, folder: Path) -> None:
    push(lazy(b"first"))
    handle = pull()
    assert isinstance(handle, Handle)
    push(lazy(b"second"))
    for read in (handle.load, handle.path, handle.open):
        with pytest.raises(PayloadReplaced, match=r"pushed again.*Pull it again"):
            read()
    assert pull().load() == b"second"


def test_what_is_lost_is_not_told_as_pushed_again(airflow: Airflow, folder: Path) -> None:
    push(b"first")
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(PayloadMissing) as caught:
        pull()
    assert type(caught.value) is PayloadMissing


def test_a_process_forked_from_it_has_pushed_nothing(airflow: Airflow, folder: Path) -> None:
    push(b"first")
    assert garbage._rows
    garbage._disown()
    push(b"second")
    assert payloads(folder) == 2


# -- how long it may take -----------------------------------------------------------------------------


class Slow(S3Store):
    """Deleting takes as long as it is told, and fails if it is told so."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False

    def delete(self, ref: Any) -> None:
        """Once more."""
        self.asked += 1
        if self.fails:
            raise StoreUnreachable("No answer", "Wait.")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, airflow: Airflow, folder: Path) -> Slow:
    """In place of the store, with ten rows."""
    store = Slow()
    for number in range(10):
        push((number,), f"key {number}")
    monkeypatch.setattr(garbage, "store_of", lambda ref: store)
    monkeypatch.setattr(garbage, "_left", ("", 0.0))
    return store


def clear(airflow: Airflow) -> None:
    """What Airflow does before a task's first line."""
    for number in range(10):
        S3XComBackend.delete(
            f"key {number}", **{name: WHOSE[name] for name in ("task_id", "dag_id", "run_id")}
        )


def test_a_store_that_does_not_answer_is_asked_once_in_a_task(
    slow: Slow, airflow: Airflow, caplog: pytest.LogCaptureFixture
) -> None:
    slow.fails = True
    clear(airflow)
    assert slow.asked == 1
    assert not airflow.rows
    assert caplog.text.count("deletes no more payloads") == 1


def test_the_time_of_all_together_counts(
    slow: Slow, airflow: Airflow, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "BUDGET", 1e-9)
    clear(airflow)
    assert slow.asked == 1
    assert not airflow.rows
    assert caplog.text.count("deletes no more payloads") == 1


def test_while_there_is_time_all_of_them_go(slow: Slow, airflow: Airflow) -> None:
    clear(airflow)
    assert slow.asked == 10


# -- whatever happens -----------------------------------------------------------------------------------


class Pushes(RuleBasedStateMachine):
    """One key, pushed by tries that replace each other, over a line that loses answers and delays rows."""

    def __init__(self) -> None:
        super().__init__()
        self.airflow, self.patch = Airflow(), pytest.MonkeyPatch()
        self.folder = Path(tempfile.mkdtemp())
        garbage._rows.clear()
        self.patch.setenv("AIRFLOW__XCOM__URL", self.folder.as_uri())
        self.patch.setenv("AIRFLOW__XCOM__CONN_ID", "")
        self.patch.setattr(task_runner, "SUPERVISOR_COMMS", self.airflow, raising=False)
        self.count, self.current = 0, str(uuid.uuid4())
        self.on_its_way: list[Any] = []

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.folder)

    @rule(fate=st.sampled_from(["acknowledged", "written", "on its way", "lost"]), is_lazy=st.booleans())
    def push(self, fate: str, is_lazy: bool) -> None:
        """By the current try."""
        self.count += 1
        before = dict(self.airflow.rows)
        self.airflow.lost = None if fate == "acknowledged" else TimeoutError()
        with bound_contextvars(ti_id=self.current, try_number=1), contextlib.suppress(TimeoutError):
            push(lazy((self.count,)) if is_lazy else (self.count,))
        self.airflow.lost = None
        if fate in ("on its way", "lost"):
            self.on_its_way += [self.airflow.rows["value", -1]] if fate == "on its way" else []
            self.airflow.rows = before

    @precondition(lambda self: self.on_its_way)
    @rule()
    def arrive(self) -> None:
        """A row of which nobody has heard since it was sent."""
        self.airflow.rows["value", -1] = self.on_its_way.pop(0)

    @rule()
    def replace(self) -> None:
        """Another try begins; in the same process, which is the hardest case."""
        self.current = str(uuid.uuid4())

    @invariant()
    def what_the_row_names_is_there(self) -> None:
        """Whatever it is."""
        if self.airflow.rows:
            found = pull()
            assert isinstance(found.load() if isinstance(found, Handle) else found, tuple)


TestPushes = Pushes.TestCase
TestPushes.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
