"""Airflow 3.4, where a row belongs to a task instance: whose names, leases and rows are, and who is refused.

A model of Airflow keeps the rows by task instance and key, and refuses what an archived one sends, as the
api-server does; backends and stores are real. test_loops.py runs real loops.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import comms, task_runner
from airflow.sdk.execution_time.lazy_sequence import LazyXComSequence
from airflow_versions import rows_per_try
from redis_servers import Valkey, connection
from structlog.contextvars import bound_contextvars

from exclusive_xcom import attempt as attempts
from exclusive_xcom import garbage
from exclusive_xcom.address import NOBODY, Address
from exclusive_xcom.errors import CannotConfirmTry, MisplacedReference, PayloadMissing, Superseded
from exclusive_xcom.redis import RedisXComBackend
from exclusive_xcom.reference import is_reference, parse
from exclusive_xcom.s3 import S3XComBackend

pytestmark = rows_per_try

WHOSE: dict[str, Any] = {"dag_id": "orders", "run_id": "run 1", "task_id": "extract"}
LOOP = uuid.UUID(int=9)


@dataclass
class Airflow:
    """Rows by task instance and key. The one that counts is that of the last task instance that began."""

    current: str = ""
    archived: set[str] = field(default_factory=set)
    rows: dict[tuple[str, str], Any] = field(default_factory=dict)
    gone: bool = False  # the supervisor

    def send(self, msg: Any) -> Any:
        """The supervisor's side. There is no `asend`, as under `dag.test()`."""
        if self.gone:
            raise EOFError("Request socket closed before length")
        kind = type(msg).__name__
        if kind in ("SetXCom", "DeleteXCom"):
            writer = attempts.current().ti_id
            if writer in self.archived:
                message = "Task Instance not found in the working set; its attempt has been archived"
                detail = {"status_code": 410, "detail": {"detail": {"message": message}}}
                raise AirflowRuntimeError(
                    comms.ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail)
                )
            row = json.loads(json.dumps(msg.value)) if kind == "SetXCom" else None
            owner = writer if msg.task_id == WHOSE["task_id"] else f"{msg.task_id}[{msg.map_index}]"
            self.rows[owner, msg.key] = row
        elif kind == "GetXCom":
            return comms.XComResult(key=msg.key, value=self.rows.get((self.current, msg.key)))
        elif kind == "GetXComSequenceSlice":
            return comms.XComSequenceSliceResult(root=[row for row in self.rows.values() if row is not None])
        return comms.OKResponse(ok=True)


@dataclass(eq=False)
class Task:
    """A task instance that is running, be it a try or a turn of a loop."""

    airflow: Airflow
    backend: Any
    turn: int | None = None
    number: int = 1
    id: uuid.UUID = field(default_factory=uuid.uuid4)

    def __post_init__(self) -> None:
        self.airflow.current = str(self.id)

    def instance(self) -> Any:
        """As Airflow's runner has it."""
        region = None if self.turn is None else LOOP
        place = {"map_index": -1, "region_id": region, "region_index": self.turn}
        return SimpleNamespace(**WHOSE, **place, id=self.id, try_number=self.number)

    def running(self) -> Any:
        """Meanwhile this process runs it."""
        return bound_contextvars(ti_id=str(self.id), try_number=self.number, **WHOSE, map_index=-1)

    def push(self, value: Any, key: str = "value") -> None:
        """`ti.xcom_push`."""
        with self.running():
            self.backend._push(self.instance(), key, value)

    def row(self, key: str = "value") -> Any:
        """What Airflow has of it."""
        return self.airflow.rows[str(self.id), key]


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    """An empty one."""
    airflow = Airflow()
    garbage._rows.clear()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", airflow, raising=False)
    return airflow


@pytest.fixture(params=[S3XComBackend, RedisXComBackend], ids=["s3", "redis"])
def backend(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """In a folder, or on a server of its own."""
    monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom", request.param)
    if request.param is S3XComBackend:
        monkeypatch.setenv("AIRFLOW__XCOM__URL", (tmp_path / "store").as_uri())
        monkeypatch.delenv("AIRFLOW__XCOM__CONN_ID", raising=False)
        yield request.param
        return
    with Valkey() as server, connection(server.port) as conn_id:
        monkeypatch.setenv("AIRFLOW__XCOM__CONN_ID", conn_id)
        yield request.param


def pull(backend: Any, key: str = "value") -> Any:
    """By a task that comes later."""
    return backend.get_one(key=key, **WHOSE, map_index=-1)


# -- tries ------------------------------------------------------------------------------------------


def test_an_old_try_is_refused_by_its_rows_own_request(airflow: Airflow, backend: Any) -> None:
    old = Task(airflow, backend)
    old.push((1,))
    airflow.archived.add(str(old.id))
    new = Task(airflow, backend, number=2)
    new.push((2,))
    before = len(airflow.rows)
    with pytest.raises(Superseded) as caught:
        old.push((1, "late"))
    assert str(caught.value) == (
        f"Try 1 (task instance {old.id}) is no longer the current try (XCom 'value' of orders.extract, run "
        "run 1). A later try has begun, so this XCom was not written. Nothing to repair: the later try's "
        "XComs count. Look into its log; if this try was not meant to be replaced, look for a missed "
        "heartbeat or a cleared task."
    )
    assert len(airflow.rows) == before
    assert pull(backend) == (2,)
    assert backend.load_value(old.row()) == (1,)  # the row of the old try is as whole as it was


def test_its_refused_payload_goes_at_once(
    airflow: Airflow, backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    old = Task(airflow, backend)
    airflow.archived.add(str(old.id))
    with pytest.raises(Superseded):
        old.push((1, "late"))
    (where,) = (record.xcom.where for record in caplog.records if hasattr(record, "xcom"))
    scheme, _, name = where.partition(":")
    if scheme == "redis":
        assert not backend.store().server.client.exists(name, f"{name}/0")
    else:
        assert not Path(urlsplit(where).path).exists()


def test_it_can_delete_nothing(airflow: Airflow, backend: Any) -> None:
    old = Task(airflow, backend)
    old.push((1,))
    airflow.archived.add(str(old.id))
    with old.running(), pytest.raises(Superseded, match="this XCom was not deleted"):
        backend.delete(key="value", **WHOSE, map_index=-1)
    assert backend.load_value(old.row()) == (1,)


def test_a_second_push_never_touches_what_the_row_vouches_for(airflow: Airflow, backend: Any) -> None:
    task = Task(airflow, backend)
    task.push((1,))
    first = task.row()
    airflow.gone = True
    with pytest.raises(CannotConfirmTry, match="has not acknowledged that this XCom was written"):
        task.push((2,))
    airflow.gone = False
    assert backend.load_value(first) == (1,)
    task.push((3,))
    assert pull(backend) == (3,)
    assert parse(task.row()).uri != parse(first).uri


def test_tries_do_not_wait_for_each_other(airflow: Airflow, backend: Any) -> None:
    """A try that is frozen in the middle of an upload holds no lease that the next one needs."""
    if backend is not RedisXComBackend:
        pytest.skip("only Redis has leases")
    old, new = Task(airflow, backend), Task(airflow, backend, number=2)
    uploads = []
    for task in (old, new):
        with task.running():
            address, payload = Address(**WHOSE, key="value"), backend_payload()
            uploads.append(backend.store().put(address, attempts.current(), payload))
    one, other = (upload.upload.keys for upload in uploads)
    assert one.lease != other.lease and str(old.id) in one.lease and str(new.id) in other.lease
    assert one.claim == other.claim and not one.owner and not other.owner


def backend_payload() -> Any:
    """Something to upload."""
    from exclusive_xcom.testing.store_contract import payload

    return payload([b"content"])


def test_nothing_is_claimed(airflow: Airflow, backend: Any) -> None:
    task = Task(airflow, backend, number=2)
    with task.running():
        backend.store().take_over(Address(**WHOSE), attempts.current())
    task.push((1,))
    if backend is RedisXComBackend:
        assert backend.store().server.client.keys("*/claim") == []
    assert pull(backend) == (1,)


# -- one task writes another's ----------------------------------------------------------------------


def test_what_one_task_writes_for_another_is_nobodys_try(airflow: Airflow, backend: Any) -> None:
    """Only Airflow knows of which try the row will be: no name tells one, and none goes with a next push."""
    with Task(airflow, backend).running():
        for value in ((1,), (2,)):
            backend.set("given", value, **{**WHOSE, "task_id": "other"}, map_index=3)
            ref = parse(airflow.rows["other[3]", "given"])
            assert ref.address == Address("orders", "run 1", "other", 3, "given")
            assert ref.attempt == NOBODY
            if value == (1,):
                first = airflow.rows["other[3]", "given"]
    assert [backend.load_value(row) for row in (first, airflow.rows["other[3]", "given"])] == [(1,), (2,)]


# -- turns ------------------------------------------------------------------------------------------


def turns(airflow: Airflow, backend: Any, count: int = 3) -> list[Task]:
    """Turns of a loop, each of which has pushed."""
    found = []
    for turn in range(count):
        found.append(Task(airflow, backend, turn))
        found[-1].push((turn,))
    return found


def sequence() -> Any:
    """What a task outside of the loop gets."""
    operator = SimpleNamespace(dag_id=WHOSE["dag_id"], task_id=WHOSE["task_id"])
    source: Any = SimpleNamespace(operator=operator, key="value")
    ti: Any = SimpleNamespace(run_id=WHOSE["run_id"])
    return LazyXComSequence(xcom_arg=source, ti=ti)


def test_turns_have_one_address_and_each_its_row(airflow: Airflow, backend: Any) -> None:
    found = [parse(one.row()) for one in turns(airflow, backend)]
    assert len({ref.address for ref in found}) == 1
    assert [ref.address.turn for ref in found] == [0, 1, 2]
    assert {ref.address.region for ref in found} == {str(LOOP)}
    assert len({ref.uri for ref in found}) == 3
    assert str(found[1].address) == "'value' of orders.extract, run run 1, turn 2"
    assert sequence()[:] == [(0,), (1,), (2,)]
    assert backend.get_all(key="value", **WHOSE) == [(0,), (1,), (2,)]


def test_rows_of_turns_that_were_swapped_or_copied_are_noticed(airflow: Airflow, backend: Any) -> None:
    one, two, _ = turns(airflow, backend)
    rows, key = dict(airflow.rows), "value"
    for change in ({one: two, two: one}, {two: one}):
        airflow.rows = rows | {(str(to.id), key): rows[str(of.id), key] for to, of in change.items()}
        with pytest.raises(MisplacedReference, match="out of its turn"):
            backend.get_all(key="value", **WHOSE)


def test_what_a_turn_has_lost_is_not_taken_from_another(airflow: Airflow, backend: Any) -> None:
    """The row that a second look finds is that of the current turn."""
    one, _, last = turns(airflow, backend)
    backend.store().delete(parse(one.row()))
    assert pull(backend) == (2,)
    with pytest.raises(PayloadMissing) as caught:
        backend.load_value(one.row())
    assert type(caught.value) is PayloadMissing
    assert backend.load_value(last.row()) == (2,)


# -- hooks ------------------------------------------------------------------------------------------


def test_airflow_prefers_the_new_hooks_and_allows_loops(backend: Any) -> None:
    from airflow.sdk.bases.xcom import _is_legacy_xcom_backend, _is_preferred_over

    assert not _is_legacy_xcom_backend(backend)
    assert _is_preferred_over(backend, "load_value", "deserialize_value")


def test_a_row_in_the_hands_of_a_task_that_asked_for_none_is_not_read(airflow: Airflow, backend: Any) -> None:
    task = Task(airflow, backend)
    task.push((1,))
    with task.running(), pytest.raises(MisplacedReference, match="without a question"):
        backend.load_value(task.row())
    with task.running():
        assert backend.load_value("plain") == "plain"


def test_coroutines_push_without_a_supervisor_that_waits_for_them(airflow: Airflow, backend: Any) -> None:
    task = Task(airflow, backend)

    async def many() -> None:
        instance = task.instance()
        await asyncio.gather(*(backend._apush(instance, f"key {number}", (number,)) for number in range(5)))

    with task.running():
        asyncio.run(many())
    assert [pull(backend, f"key {number}") for number in range(5)] == [(number,) for number in range(5)]
    assert all(is_reference(row) for row in airflow.rows.values())


def test_why_a_returned_value_was_refused_is_told_where_it_is_seen(
    airflow: Airflow, backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    old = Task(airflow, backend)
    airflow.archived.add(str(old.id))
    with pytest.raises(Superseded) as caught:
        old.push((1,), "return_value")
    assert ("INFO", "::endgroup::") in [(one.levelname, one.getMessage()) for one in caplog.records]
    assert str(caught.value) in caplog.messages
