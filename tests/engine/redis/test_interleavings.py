"""All orders in which the steps of several tries can happen: no stale value, no mixture, no silent None."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from airflow_versions import asks_first
from hypothesis import HealthCheck, Phase, settings, strategies
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis_servers import Airflow, Valkey, connection, running

from exclusive_xcom import attempt as attempts
from exclusive_xcom.address import Attempt
from exclusive_xcom.errors import LeaseLost, PayloadMissing, StaleXCom, Superseded
from exclusive_xcom.redis import RedisStore
from exclusive_xcom.reference import Reference, parse
from exclusive_xcom.store import Stored
from exclusive_xcom.testing.store_contract import ADDRESS, payload, stage

pytestmark = asks_first

KEYS = ("return_value", "a", "b")


@dataclass
class Try:
    """One try of the task, with a process and a push of its own. It may stop anywhere, and go on later."""

    attempt: Attempt
    store: RedisStore
    step: str = "between pushes"
    ref: Reference | None = None
    stored: Stored | None = None
    pushed: dict[str, bytes] = field(default_factory=dict)
    values: int = 0

    def __repr__(self) -> str:
        return f"try {self.attempt.try_number}, {self.step}"


class Tries(RuleBasedStateMachine):
    """Tries 1 to 3 of a task, Airflow and its rows, and a consumer that looks after every step."""

    conn_id = ""

    def __init__(self) -> None:
        super().__init__()
        self.airflow = Airflow()
        self.airflow.__enter__()
        self.tries = [Try(self.airflow.begin(1), RedisStore(self.conn_id))]
        self.rows: dict[str, Any] = {}
        self.values: dict[str, bytes] = {}  # by URI
        self.owner: Attempt | None = None  # who has claimed

    def teardown(self) -> None:
        client = self.tries[0].store.server.client
        client.flushall()
        self.airflow.__exit__()

    def claimed(self, one: Try, *, certainly: bool) -> None:
        """Note that a try has claimed the task: certainly, or if Redis says so. Never an older one again."""
        claims = list(one.store.server.client.scan_iter(match="*/claim"))
        owner = one.store.server.client.get(claims[0]).decode().split()[0] if claims else ""
        if certainly:
            assert owner == one.attempt.ti_id
        if owner == one.attempt.ti_id:
            before = self.owner.try_number if self.owner else 0
            assert before <= one.attempt.try_number, "an old try got it back"
            self.owner = one.attempt
        else:
            assert owner == (self.owner.ti_id if self.owner else "")

    @precondition(lambda self: len(self.tries) < 3)
    @rule()
    def begin(self) -> None:
        """Airflow replaces the try, whatever its process is doing."""
        before = self.tries[-1]
        number = before.attempt.try_number + 1
        new = Try(self.airflow.begin(number, replaces=before.attempt), RedisStore(self.conn_id))
        new.step = "purging"
        self.tries.append(new)

    @rule(
        which=strategies.integers(0, 2),
        key=strategies.sampled_from(KEYS),
        hook_works=strategies.booleans(),
        gives_up=strategies.sampled_from((False,) * 9 + (True,)),
        dies=strategies.sampled_from((False,) * 19 + (True,)),
    )
    def go_on(self, which: int, key: str, hook_works: bool, gives_up: bool, dies: bool) -> None:
        """One process, of the current try or of an old one, does the next thing that it has to do."""
        one = self.tries[which % len(self.tries)]
        if one.step == "dead":
            return
        if dies:
            one.step = "dead"  # what it staged is left behind, and its lease
        elif one.step == "purging":
            if key in self.rows and not gives_up:
                self.purge(one, key)
            else:
                self.run(one, hook_works)
        elif one.step == "between pushes":
            self.put(one, key)
        elif gives_up:
            self.abandon(one)  # an error on the way to Airflow, which the task survives
        elif one.step == "put":
            self.ask_airflow(one)
        elif one.step == "confirmed":
            self.commit(one)
        else:
            self.post_the_row(one)

    def purge(self, one: Try, key: str) -> None:
        """One row of those that a try finds where it begins. It may be an old try that was frozen there."""
        ref = parse(self.rows[key])
        with running(one.attempt):
            try:
                before = self.owner
                one.store.delete(ref)
                if ref.attempt != one.attempt:
                    # What it has claimed stays its own until a later try claims it.
                    assert one is self.tries[-1] or before == one.attempt, "an older try has deleted"
                    assert ref.attempt.try_number < one.attempt.try_number, "a newer value was deleted"
                    self.claimed(one, certainly=True)
            except Superseded:
                assert one is not self.tries[-1]
        if one is self.tries[-1]:
            del self.rows[key]  # an older one's request is answered 404

    def run(self, one: Try, hook_works: bool) -> None:
        """The purge is over; rows may be left if something failed. Airflow calls the hook."""
        if hook_works:
            try:
                before = self.owner
                one.store.take_over(ADDRESS, one.attempt)
                # What it has claimed while it purged stays its own until a later try claims it.
                assert one is self.tries[-1] or before == one.attempt, "an older try took over"
                self.claimed(one, certainly=True)
            except Superseded:
                assert one is not self.tries[-1]
        one.step = "between pushes"

    def put(self, one: Try, key: str) -> None:
        """Stage a value under the lease."""
        one.values += 1
        body = f"{key} by try {one.attempt.try_number}, {one.values}".encode()
        try:
            one.stored, one.ref = stage(one.store, replace(ADDRESS, key=key), one.attempt, payload([body]))
        except Superseded:
            assert one is not self.tries[-1]  # it found a later try's lease
            return
        assert one.ref.uri is not None
        self.values[one.ref.uri] = body
        self.claimed(one, certainly=False)  # it need not wait for the lease of a try before it
        one.step = "put"

    def ask_airflow(self, one: Try) -> None:
        """What the backend does between put and commit."""
        assert one.ref is not None
        try:
            attempts.confirm(one.attempt)
            assert one is self.tries[-1]
            one.step = "confirmed"
        except Superseded:
            assert one is not self.tries[-1]
            self.abandon(one)

    def abandon(self, one: Try) -> None:
        """What the backend does when a push fails after its put; also when it was committed already."""
        assert one.stored is not None
        one.store.abandon(one.stored)
        left = list(one.store.server.client.scan_iter(match=f"{one.stored.upload.keys.head}*"))
        assert left == [], "something was left behind"
        one.step = "between pushes"

    def commit(self, one: Try) -> None:
        """By whoever was confirmed, however long ago."""
        assert one.ref is not None and one.stored is not None
        try:
            one.store.commit(one.stored, one.ref)
        except (Superseded, LeaseLost):
            assert one is not self.tries[-1], "the current try was refused"
            self.abandon(one)
            return
        self.claimed(one, certainly=True)
        one.step = "committed"

    def post_the_row(self, one: Try) -> None:
        """Airflow 3.3 takes it from anybody."""
        assert one.ref is not None
        assert one.ref.uri is not None
        self.rows[one.ref.address.key] = json.loads(json.dumps(one.ref.row()))
        one.pushed[one.ref.address.key] = self.values[one.ref.uri]
        one.step = "between pushes"

    # -- what a consumer sees -----------------------------------------------------------------------

    @invariant()
    def every_row_gives_its_own_value_or_an_error(self) -> None:
        readers = set()
        for row in self.rows.values():
            ref = parse(row)
            assert ref.uri is not None
            try:
                found = bytes(self.tries[0].store.fetch(ref))
            except StaleXCom:
                assert self.owner != ref.attempt
                continue
            except PayloadMissing:
                continue  # purged, and the row is about to go
            assert found == self.values[ref.uri]
            assert self.owner == ref.attempt, "a stale value"
            readers.add(ref.attempt.try_number)
        assert len(readers) <= 1, "a mixture of tries"

    @invariant()
    def what_the_owner_has_pushed_last_can_be_read(self) -> None:
        current = self.tries[-1]
        if self.owner != current.attempt:
            return
        for key, body in current.pushed.items():
            row = self.rows.get(key)
            if row is not None and parse(row).attempt == current.attempt:
                assert bytes(current.store.fetch(parse(row))) == body


@pytest.fixture
def explore() -> Any:
    """Runs the machine on a server of its own."""

    def run(machine: Callable[[], RuleBasedStateMachine], examples: int) -> None:
        with Valkey() as server, connection(server.port) as conn_id:
            Tries.conn_id = conn_id
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=40,
                    deadline=None,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                    phases=(Phase.generate,),  # against a real server, shrinking takes minutes
                ),
            )

    return run


def test_a_few_hundred_orders(explore: Any) -> None:
    explore(Tries, 150)


@pytest.mark.slow
def test_thousands_of_orders(explore: Any) -> None:
    explore(Tries, 3000)
