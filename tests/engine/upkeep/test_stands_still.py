"""A push that stood still for half the grace stores its payload anew: a collection may come before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from airflow_versions import asks_first
from faulty import Fault, faulty
from redis_servers import Proxy, RedisContract, Valkey, connection
from s3_airflow import DAG, RUN, TASK, Airflow
from s3_servers import configured, lengths
from structlog.contextvars import bound_contextvars

from exclusive_xcom import config, garbage
from exclusive_xcom.address import Attempt
from exclusive_xcom.errors import StoreDenied, StoreUnreachable, Superseded
from exclusive_xcom.redis import RedisXComBackend
from exclusive_xcom.s3 import S3XComBackend

pytestmark = asks_first  # the question is where it stands still
TRY = Attempt(1, "00000000-0000-0000-0000-000000000001")
NEXT = Attempt(2, "00000000-0000-0000-0000-000000000002")
VALUE = b"value" * 2000
LONG = config.GRACE.default / 2 + 1


@dataclass
class Machine:
    """Clocks that can be put forward, a backend, and its payloads each time that Airflow was asked.

    Attributes:
        stops: seconds for which it stands still while Airflow answers, one after the other.
        then: called when it goes on after the first of them.
        break_deletes, break_all: let the store fail from then on: once to delete, or whatever it is asked.
    """

    backend: Any
    stored: Callable[[], set[str]]
    break_deletes: Callable[[], None]
    break_all: Callable[[], None]
    failure: type[Exception]
    airflow: Airflow = field(default_factory=lambda: Airflow(current=TRY))
    stops: list[float] = field(default_factory=list)
    wall: float = 0.0
    awake: float = 0.0
    seen: list[set[str]] = field(default_factory=list)
    then: Callable[[], None] = lambda: None

    def push(self) -> str:
        """Push; where the row says that the payload is."""
        self.airflow.gate = self.gate
        with self.airflow.answering(), bound_contextvars(ti_id=TRY.ti_id, try_number=TRY.try_number):
            row = self.backend.serialize_value(
                VALUE, key="key", dag_id=DAG, run_id=RUN, task_id=TASK, map_index=-1
            )
        return str(row["uri"])

    def gate(self, ti_id: str, step: str) -> None:
        """Stand still while Airflow answers."""
        if step == "answered":
            self.seen.append(self.stored())
            self.wall += self.stops.pop(0) if self.stops else 0.0
            self.then()
            self.then = lambda: None


@contextmanager
def folder(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """With a store in a folder, which can't be kept from deleting."""
    place: Path = request.getfixturevalue("tmp_path") / "xcom"

    def refuse() -> None:
        pytest.skip("root may do everything in a folder")

    with configured("http://127.0.0.1:1", place.as_uri()):
        yield Machine(S3XComBackend, lambda: set(lengths()), refuse, refuse, StoreDenied)


@contextmanager
def s3(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """With an S3 server."""
    endpoint: str = request.getfixturevalue("moto")
    with faulty(endpoint) as proxy, configured(proxy.url):

        def fail(method: str) -> Callable[[], None]:
            return lambda: proxy.faults.append(Fault("status", 403, "AccessDenied", method=method, times=99))

        def stored() -> set[str]:
            proxy.faults, faults = [], proxy.faults
            try:
                return set(lengths())
            finally:
                proxy.faults = faults

        yield Machine(S3XComBackend, stored, fail("DELETE"), fail("PUT"), StoreDenied)


@contextmanager
def redis(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """With Valkey."""
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setattr("exclusive_xcom.redis.client.PATIENCE", 0.2)
    with Valkey() as server, Proxy(server.port) as proxy, connection(proxy.port) as conn_id:
        monkeypatch.setenv("AIRFLOW__XCOM__CONN_ID", conn_id)

        def stored() -> set[str]:
            with connection(server.port) as direct:
                return RedisContract().stored(type(RedisXComBackend.store())(direct))

        def once() -> None:
            first = proxy.round_trips + 1
            proxy.break_before = lambda number: number == first

        def always() -> None:
            proxy.break_before = lambda number: True

        yield Machine(RedisXComBackend, stored, once, always, StoreUnreachable)


@pytest.fixture(params=[folder, s3, redis])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """With each store."""
    real = garbage._clocks
    with request.param(request) as made:
        monkeypatch.setattr(garbage, "_clocks", lambda: (real()[0] + made.wall, real()[1] + made.awake))
        yield made


@pytest.mark.parametrize("stops", [[], [config.GRACE.default / 2 - 60]])
def test_a_push_that_goes_on_stores_once(machine: Machine, stops: list[float]) -> None:
    machine.stops = stops
    uri = machine.push()
    assert machine.seen == [{uri}] and machine.stored() == {uri}


@pytest.mark.parametrize("times", [1, 2])
def test_a_push_that_stood_still_stores_again(machine: Machine, times: int) -> None:
    machine.stops = [LONG] * times
    uri = machine.push()
    assert machine.stored() == {uri}, "and takes back what it stored before"
    assert len(machine.seen) == times + 1, "Airflow is asked again, last of all"
    assert machine.seen[-1] == {uri} and uri not in set.union(*machine.seen[:-1])


def test_a_clock_that_was_put_back_hides_nothing(machine: Machine) -> None:
    machine.stops = [-3600.0]

    def sleep() -> None:
        machine.awake += LONG

    machine.then = sleep
    uri = machine.push()
    assert len(machine.seen) == 2 and machine.stored() == {uri}


def test_a_try_that_was_replaced_meanwhile_is_refused(machine: Machine) -> None:
    machine.airflow.current = NEXT
    with pytest.raises(Superseded):
        machine.push()
    assert not machine.stored()


def test_a_try_that_is_replaced_while_it_stands_still_is_refused(machine: Machine) -> None:
    def replace_it() -> None:
        machine.airflow.current = NEXT

    machine.stops, machine.then = [LONG], replace_it
    with pytest.raises(Superseded):
        machine.push()
    assert len(machine.seen) == 2 and not machine.stored()


def test_what_can_not_be_taken_back_is_left_to_a_collection(machine: Machine) -> None:
    machine.stops, machine.then = [LONG], machine.break_deletes
    uri = machine.push()
    assert len(machine.seen) == 2 and machine.stored() == {uri} | machine.seen[0]


def test_a_store_that_fails_meanwhile_fails_the_push(machine: Machine) -> None:
    machine.stops, machine.then = [LONG], machine.break_all
    with pytest.raises(machine.failure):
        machine.push()
    assert len(machine.seen) == 1 and machine.stored() <= machine.seen[0]
    if machine.failure is StoreDenied:
        assert not machine.stored(), "it deletes, though it can't store"
