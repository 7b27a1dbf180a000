"""Who may edit rows moves, copies, swaps and edits them: no foreign payload is read or deleted.

A model of Airflow keeps the rows and answers what its own methods ask for them; backends and stores are real.
Each value tells whose it is. What is in the row itself can be forged by who writes rows: see the README.
"""

from __future__ import annotations

import asyncio
import copy
import json
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from airflow.sdk.execution_time import comms, task_runner
from airflow.sdk.execution_time.lazy_sequence import LazyXComSequence
from airflow_versions import row_of
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis_servers import Valkey, connection, running
from s3_servers import configured

from exclusive_xcom import Handle, errors, lazy
from exclusive_xcom.address import Address, Attempt
from exclusive_xcom.backend import XComBackend
from exclusive_xcom.db import DbXComBackend
from exclusive_xcom.redis import RedisXComBackend
from exclusive_xcom.reference import parse
from exclusive_xcom.s3 import S3XComBackend
from exclusive_xcom.store import store_of

ADDRESSES = [
    Address("orders", "run 1", "mapped", 0),
    Address("orders", "run 1", "mapped", 1),
    Address("orders", "run 1", "mapped", 2),
    Address("orders", "run 2", "mapped", 1),
    Address("orders", "run 1", "mapped", 1, "other"),
    Address("orders", "run 1", "single"),
    Address("orders", "run 2", "single"),
    Address("victim", "run 1", "single"),
    Address("victim", "run 1", "mapped", 1),
]
FIELDS = ["address", "attempt", "uri", "sha256", "length", "codec", "meta", "media_type", "lazy"]

addresses = st.sampled_from(ADDRESSES)


def task_of(address: Address) -> Address:
    """Whose task instance it is, whatever the key."""
    return replace(address, key="")


class Airflow:
    """Rows by address, and Airflow's answers to whoever asks for them. Use it as a context."""

    def __init__(self) -> None:
        self.rows: dict[Address, Any] = {}

    def __enter__(self) -> Airflow:
        task_runner.SUPERVISOR_COMMS = self  # type: ignore[assignment]
        return self

    def __exit__(self, *problem: object) -> None:
        del task_runner.SUPERVISOR_COMMS

    def send(self, msg: Any) -> Any:
        """The supervisor's side. That every try is current is what makes it dangerous."""
        kind = type(msg).__name__
        if kind == "DeleteTaskStateStore":
            return comms.OKResponse(ok=True)
        if kind == "DeleteXCom":
            self.rows.pop(Address.of(msg.dag_id, msg.run_id, msg.task_id, msg.map_index, msg.key), None)
        elif "XCom" in kind:
            found = [
                (address.map_index, address.run_id, row)
                for address, row in self.rows.items()
                if (address.dag_id, address.task_id, address.key) == (msg.dag_id, msg.task_id, msg.key)
                and (address.run_id == msg.run_id or getattr(msg, "include_prior_dates", False))
            ]
            found.sort(key=lambda one: one[:2])
            if kind == "GetXCom":
                index = -1 if msg.map_index is None else msg.map_index
                values = [row for at, _, row in found if at == index]
                return comms.XComResult(key=msg.key, value=values[0] if values else None)
            values = [row for _, _, row in found]
            if kind == "GetXComSequenceSlice":
                return comms.XComSequenceSliceResult(root=values[msg.start : msg.stop : msg.step])
            if msg.offset < len(values):
                return comms.XComSequenceIndexResult(root=values[msg.offset])
            return comms.ErrorResponse()
        return None


class Robbery(RuleBasedStateMachine):
    """Tasks push, somebody edits rows, tasks pull and delete."""

    backend: ClassVar[type[XComBackend]]
    payload_in_row: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.airflow = Airflow().__enter__()
        self.kept: dict[Address, Any] = {}  # the row that was pushed last, if nobody deleted it since
        self.attempts: dict[Address, Attempt] = {}
        self.count = 0

    def teardown(self) -> None:
        self.nothing_is_lost()
        self.airflow.__exit__()

    # -- what tasks do ------------------------------------------------------------------------------

    @initialize()
    def all_push(self) -> None:
        """So that there is something to steal."""
        for address in ADDRESSES:
            self.push(address, is_lazy=address.key == "other")

    @rule(address=addresses, is_lazy=st.booleans())
    def push(self, address: Address, is_lazy: bool) -> None:
        """By the address's own task."""
        self.count += 1
        value = (self.count, *self.query(address).values())
        query = self.query(address)
        with running(self.attempt_of(address)):
            row = row_of(self.backend, query.pop("key"), lazy(value) if is_lazy else value, **query)
        self.airflow.rows[address] = self.kept[address] = json.loads(json.dumps(row))

    @rule(address=addresses, prior=st.booleans())
    def get_one(self, address: Address, prior: bool) -> None:
        """`xcom_pull` of one map index."""
        self.pulled(address, lambda: [self.get("get_one", address, prior)], prior, several=False)

    @rule(address=addresses, prior=st.booleans())
    def get_all(self, address: Address, prior: bool) -> None:
        """`xcom_pull` of all map indexes."""
        self.pulled(address, lambda: self.get("get_all", address, prior), prior, several=True)

    @rule(address=addresses, which=st.sampled_from(["aget_one", "aget_all"]))
    def from_a_coroutine(self, address: Address, which: str) -> None:
        """`axcom_pull`."""

        def act() -> list[Any]:
            found = asyncio.run(self.get(which, address, prior=False))
            return found if which == "aget_all" else [found]

        self.pulled(address, act, prior=False, several=which == "aget_all")

    @rule(address=addresses, part=st.sampled_from([0, 1, slice(None), slice(1, None)]))
    def from_a_lazy_sequence(self, address: Address, part: Any) -> None:
        """An argument that a mapped task gives."""
        operator = SimpleNamespace(dag_id=address.dag_id, task_id=address.task_id)
        ti = SimpleNamespace(run_id=address.run_id)
        source: Any = SimpleNamespace(operator=operator, key=address.key)
        sequence: Any = LazyXComSequence(xcom_arg=source, ti=ti)

        def act() -> list[Any]:
            try:
                found = sequence[part]
            except IndexError:
                return []
            return found if isinstance(part, slice) else [found]

        self.pulled(address, act, prior=False, several=True, repeats=True)

    @rule(address=addresses)
    def delete(self, address: Address) -> None:
        """By the task itself."""
        with running(self.attempt_of(address)):
            self.backend.delete(**self.query(address))
        self.kept.pop(address, None)
        self.nothing_is_lost()

    @rule(address=addresses)
    def next_try(self, address: Address) -> None:
        """A retry deletes all that its task has, and claims it."""
        self.attempts.pop(task_of(address), None)
        for own in ADDRESSES:
            if task_of(own) == task_of(address):
                self.kept.pop(own, None)
                if own in self.airflow.rows:
                    with running(self.attempt_of(address)):
                        self.backend.delete(**self.query(own))
        self.nothing_is_lost()

    # -- what who may edit rows does ----------------------------------------------------------------

    @rule(source=addresses, place=addresses)
    def copy(self, source: Address, place: Address) -> None:
        """A row to another place."""
        if source in self.airflow.rows:
            self.airflow.rows[place] = copy.deepcopy(self.airflow.rows[source])

    @rule(one=addresses, other=addresses)
    def swap(self, one: Address, other: Address) -> None:
        """Two rows."""
        rows = self.airflow.rows
        if one in rows and other in rows:
            rows[one], rows[other] = rows[other], rows[one]

    @rule(source=addresses, place=addresses)
    def keep_a_copy(self, source: Address, place: Address) -> None:
        """Of a row as it was pushed, though it was deleted or edited since."""
        if source in self.kept:
            self.airflow.rows[place] = copy.deepcopy(self.kept[source])

    @precondition(lambda self: not self.payload_in_row)
    @rule(source=addresses, place=addresses, fields=st.sets(st.sampled_from(FIELDS), min_size=1))
    def mix(self, source: Address, place: Address, fields: set[str]) -> None:
        """Some fields of another row into this one."""
        self.edit(place, {field: self.kept.get(source, {}).get(field) for field in fields})

    @precondition(lambda self: not self.payload_in_row)
    @rule(source=addresses, place=addresses)
    def readdress(self, source: Address, place: Address) -> None:
        """Another row, told to belong here."""
        if source in self.kept:
            self.airflow.rows[place] = copy.deepcopy(self.kept[source])
            self.edit(place, {"address": self.query(place)})

    def edit(self, place: Address, fields: dict[str, Any]) -> None:
        """Put these into a row; None removes."""
        if place in self.airflow.rows:
            row = {**copy.deepcopy(self.airflow.rows[place]), **copy.deepcopy(fields)}
            self.airflow.rows[place] = {name: value for name, value in row.items() if value is not None}

    # -- what has to hold ---------------------------------------------------------------------------

    def pulled(self, asked: Address, act: Any, prior: bool, *, several: bool, repeats: bool = False) -> None:
        """Whatever comes was pushed for what was asked, or it is an error of ours."""
        try:
            found = [one.load() if isinstance(one, Handle) else one for one in act() or [] if one is not None]
        except errors.XComError:
            return
        whose = [Address(*value[1:]) for value in found]
        for address in whose:
            run_id = address.run_id if prior else asked.run_id
            index = address.map_index if several else asked.map_index
            assert address == replace(asked, run_id=run_id, map_index=index)
        if not repeats:
            assert len(set(whose)) == len(whose)
            assert [one.map_index for one in whose] == sorted(one.map_index for one in whose)

    def nothing_is_lost(self) -> None:
        """What nobody deleted by its own name is there, and still belongs to its task."""
        for row in self.kept.values():
            ref = parse(row)
            assert len(store_of(ref).fetch(ref)) == ref.length

    # -- small things -------------------------------------------------------------------------------

    def attempt_of(self, address: Address) -> Attempt:
        """The try of a task instance."""
        return self.attempts.setdefault(task_of(address), Attempt(1, str(uuid.uuid4())))

    @staticmethod
    def query(address: Address) -> dict[str, Any]:
        """As Airflow passes it."""
        names = ("dag_id", "run_id", "task_id", "map_index", "key")
        return {name: getattr(address, name) for name in names}

    def get(self, which: str, address: Address, prior: bool) -> Any:
        """What a method of the backend answers."""
        query = self.query(address)
        if which.endswith("all"):
            del query["map_index"]
        return getattr(self.backend, which)(**query, include_prior_dates=prior)


@pytest.fixture
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[XComBackend]]:
    """A backend on a server of its own, of which Airflow is told."""
    with ExitStack() as stack:
        if request.param is S3XComBackend:
            stack.enter_context(configured(request.getfixturevalue("moto"), inline_limit="0"))
        elif request.param is RedisXComBackend:
            server = stack.enter_context(Valkey())
            conn_id = stack.enter_context(connection(server.port))
            monkeypatch.setenv("AIRFLOW__XCOM__CONN_ID", conn_id)
        monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom", request.param)
        yield request.param


@pytest.mark.parametrize("backend", [DbXComBackend, S3XComBackend, RedisXComBackend], indirect=True)
def test_no_foreign_payload_is_read_or_deleted(backend: type[XComBackend]) -> None:
    class Here(Robbery):
        """With this backend."""

    Here.backend, Here.payload_in_row = backend, backend is DbXComBackend
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
