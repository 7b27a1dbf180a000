"""Whose XComs are they: the claim that stops a try which has been replaced, however late it wakes."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from airflow_versions import asks_first
from redis_servers import Airflow, any_server, committed, in_child, keys_like, running
from structlog.contextvars import bound_contextvars

from exclusive_xcom import attempt as attempts
from exclusive_xcom.address import NOBODY, Address, Attempt
from exclusive_xcom.binding import Question, deleting
from exclusive_xcom.codecs import Payload
from exclusive_xcom.errors import LeaseLost, LeaseTimeout, PayloadMissing, StaleXCom, Superseded
from exclusive_xcom.redis import RedisStore
from exclusive_xcom.redis.keys import CHUNK
from exclusive_xcom.reference import Reference
from exclusive_xcom.testing.store_contract import ADDRESS, attempt, keep, payload, stage

OTHER = replace(ADDRESS, key="other")


@pytest.fixture(scope="module")
def conn_id() -> Iterator[str]:
    """A server for all tests of this file."""
    with any_server() as conn_id:
        yield conn_id


@pytest.fixture
def store(conn_id: str) -> Iterator[RedisStore]:
    """A store in which nothing is."""
    store = RedisStore(conn_id)
    yield store
    for name in keys(store):
        store.server.client.unlink(name)


def keys(store: RedisStore) -> list[str]:
    """All keys that the store has made."""
    return keys_like(store, "*")


@pytest.fixture
def airflow() -> Iterator[Airflow]:
    """Knows which try is current."""
    with Airflow() as airflow:
        yield airflow


def push(store: RedisStore, body: bytes, address: Address = ADDRESS, writer: Attempt = NOBODY) -> Reference:
    """What the backend does: put, ask Airflow, commit or take it back."""
    stored, ref = stage(store, address, writer, payload([body]))
    try:
        attempts.confirm(writer)
        store.commit(stored, ref)
    except BaseException:
        store.abandon(stored)
        raise
    return ref


def claim_of(store: RedisStore, ref: Reference) -> str:
    """The try that the task belongs to."""
    assert ref.uri is not None
    name = ref.uri.removeprefix("redis:").partition("}/")[0] + "}/claim"
    return (store.server.client.get(name) or b"").decode()


@asks_first
class TestClaim:
    """Who gets it, who keeps it."""

    def test_the_first_push_claims_the_task(self, store: RedisStore, airflow: Airflow) -> None:
        first = airflow.begin(1)
        ref = push(store, b"1", writer=first)
        assert claim_of(store, ref) == f"{first.ti_id} 1"
        assert airflow.asked == 1

    def test_a_later_try_takes_it_where_it_begins(self, store: RedisStore, airflow: Airflow) -> None:
        first = airflow.begin(1)
        ref = push(store, b"1", writer=first)
        second = airflow.begin(2, replaces=first)
        store.take_over(ADDRESS, second)
        assert claim_of(store, ref) == f"{second.ti_id} 2"
        with pytest.raises(StaleXCom) as caught:
            store.fetch(ref)
        assert "try 1" in str(caught.value) and f"try 2 (task instance {second.ti_id})" in str(caught.value)

    def test_even_if_no_try_has_pushed_before(self, store: RedisStore, airflow: Airflow) -> None:
        first = airflow.begin(1)
        late = stage(store, ADDRESS, first, payload([b"1"]))
        second = airflow.begin(2, replaces=first)
        store.take_over(ADDRESS, second)
        with pytest.raises(Superseded):
            store.commit(*late)

    def test_and_at_its_first_push_if_the_hook_failed(self, store: RedisStore, airflow: Airflow) -> None:
        first = airflow.begin(1)
        old = push(store, b"1", writer=first)
        second = airflow.begin(2, replaces=first)
        new = push(store, b"2", OTHER, second)
        assert airflow.asked == 2  # once for each push: the backend's own questions are enough
        assert bytes(store.fetch(new)) == b"2"
        with pytest.raises(StaleXCom):
            store.fetch(old)

    def test_and_at_its_first_purge(self, store: RedisStore, airflow: Airflow) -> None:
        first = airflow.begin(1)
        old, kept = push(store, b"1", writer=first), push(store, b"1", OTHER, first)
        second = airflow.begin(2, replaces=first)
        with running(second):
            store.delete(old)
        assert claim_of(store, old) == f"{second.ti_id} 2"
        for ref in (old, kept):
            with pytest.raises(StaleXCom):
                store.fetch(ref)
        asked = airflow.asked
        with running(second):
            store.delete(kept)
        assert airflow.asked == asked  # it is ours now

    def test_an_older_try_does_not_get_it_back(self, store: RedisStore, airflow: Airflow) -> None:
        first = airflow.begin(1)
        second = airflow.begin(2, replaces=first)
        new = push(store, b"2", writer=second)
        with pytest.raises(Superseded):
            store.take_over(ADDRESS, first)
        for address in (ADDRESS, OTHER):
            with pytest.raises(Superseded):
                push(store, b"1", address, first)
        assert claim_of(store, new) == f"{second.ti_id} 2"
        assert bytes(store.fetch(new)) == b"2"

    def test_it_is_compared_with_what_was_read_before_airflow_was_asked(
        self, store: RedisStore, airflow: Airflow
    ) -> None:
        first = airflow.begin(1)
        old = keep(store, [b"0"], writer=attempt())
        late = stage(store, ADDRESS, first, payload([b"1"]))  # reads the claim of a deleted run
        attempts.confirm(first)  # and is told that it is current; here it is frozen
        second = airflow.begin(2, replaces=first)
        new = push(store, b"2", OTHER, second)
        with pytest.raises(Superseded):
            store.commit(*late)
        assert bytes(store.fetch(new)) == b"2"
        with pytest.raises(StaleXCom):
            store.fetch(old)

    def test_a_run_deleted_and_created_again_starts_over_at_try_one(
        self, store: RedisStore, airflow: Airflow
    ) -> None:
        before = airflow.begin(1)
        orphan = push(store, b"before", writer=before)
        after = airflow.begin(1, replaces=before)  # nothing was purged, and no hook claims for a first try
        ref = push(store, b"after", OTHER, after)
        assert bytes(store.fetch(ref)) == b"after"
        with pytest.raises(StaleXCom):
            store.fetch(orphan)
        with pytest.raises(Superseded):
            push(store, b"late", OTHER, before)

    def test_a_deferred_task_goes_on_as_the_same_try(self, store: RedisStore, airflow: Airflow) -> None:
        writer = airflow.begin(1)
        before = push(store, b"before the deferral", writer=writer)
        with running(writer):
            after = push(store, b"after it", OTHER, Attempt(writer.try_number, writer.ti_id))
        assert bytes(store.fetch(before)) == b"before the deferral"
        assert bytes(store.fetch(after)) == b"after it"
        assert airflow.asked == 2

    def test_a_cleared_task_is_a_later_try(self, store: RedisStore, airflow: Airflow) -> None:
        first = airflow.begin(1)
        row = push(store, b"1", writer=first)
        cleared = airflow.begin(2, replaces=first)
        with running(cleared):
            store.delete(row)
            fresh = push(store, b"2", writer=cleared)
        assert bytes(store.fetch(fresh)) == b"2"

    def test_a_hook_that_comes_late_takes_nothing(self, store: RedisStore, airflow: Airflow) -> None:
        first = airflow.begin(1)
        second = airflow.begin(2, replaces=first)
        third = airflow.begin(3, replaces=second)
        new = push(store, b"3", writer=third)
        with pytest.raises(Superseded):
            store.take_over(ADDRESS, second)
        assert bytes(store.fetch(new)) == b"3"

    def test_other_tasks_of_the_run_are_not_concerned(self, store: RedisStore, airflow: Airflow) -> None:
        first = airflow.begin(1)
        addresses = [
            replace(ADDRESS, map_index=0),
            replace(ADDRESS, task_id="load"),
            replace(ADDRESS, run_id="another"),
            replace(ADDRESS, dag_id="another"),
        ]
        refs = [push(store, b"1", address, first) for address in addresses]
        store.take_over(ADDRESS, airflow.begin(2, replaces=first))
        assert [bytes(store.fetch(ref)) for ref in refs] == [b"1"] * 4


@asks_first
class TestPurge:
    """Deleting never kills a newer value."""

    def test_of_an_older_try_that_wakes_up_in_its_purge(self, store: RedisStore, airflow: Airflow) -> None:
        second = airflow.begin(2)
        third = airflow.begin(3, replaces=second)
        new = push(store, b"3", writer=third)
        with running(second), pytest.raises(Superseded):
            store.delete(new)  # it read the row before it was frozen, and finds the newer one
        assert bytes(store.fetch(new)) == b"3"

    def test_by_the_backend_never_raises_and_spares_it_too(
        self,
        store: RedisStore,
        airflow: Airflow,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        from exclusive_xcom.redis import RedisXComBackend

        monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom", RedisXComBackend)
        monkeypatch.setenv("AIRFLOW__XCOM__CONN_ID", store.server.conn_id)
        second = airflow.begin(2)
        third = airflow.begin(3, replaces=second)
        new = push(store, b"3", writer=third)

        class Xcom:
            value = new.row()

        with running(second), deleting(Question(ADDRESS)):
            RedisXComBackend.purge(Xcom)
        assert "left behind" in caplog.text
        assert bytes(store.fetch(new)) == b"3"

    def test_by_a_try_that_has_not_claimed_yet(self, store: RedisStore, airflow: Airflow) -> None:
        first = airflow.begin(1)
        old, other = push(store, b"1", writer=first), push(store, b"1", OTHER, first)
        second = airflow.begin(2, replaces=first)
        with running(first):
            store.delete(old)  # its own: harmless
        with running(second):
            store.delete(other)
        assert claim_of(store, other) == f"{second.ti_id} 2"
        with pytest.raises(Superseded):
            push(store, b"late", writer=first)

    def test_by_hand_deletes_what_it_is_told(self, store: RedisStore) -> None:
        ref = keep(store, [b"1"], writer=attempt())
        claim = claim_of(store, ref)
        store.delete(ref)
        assert claim_of(store, ref) == claim
        with pytest.raises(PayloadMissing):
            store.fetch(ref)


@asks_first
class TestUnclaimed:
    """Writers that are no try of the task."""

    def test_outside_a_task_nothing_is_claimed(self, store: RedisStore, airflow: Airflow) -> None:
        owner = airflow.begin(1)
        mine = push(store, b"1", writer=owner)
        guest = push(store, b"from outside", OTHER, NOBODY)
        assert claim_of(store, mine) == f"{owner.ti_id} 1"
        assert bytes(store.fetch(guest)) == b"from outside"
        assert bytes(store.fetch(mine)) == b"1"

    def test_a_task_that_writes_anothers_xcom_takes_nothing_from_it(
        self, store: RedisStore, airflow: Airflow, context_of: Callable[[Address], Any]
    ) -> None:
        owner, visitor = airflow.begin(1), airflow.begin(1)
        mine = push(store, b"1", writer=owner)
        with context_of(replace(ADDRESS, task_id="visitor")), running(visitor):
            given = push(store, b"given", OTHER, visitor)
            store.take_over(ADDRESS, visitor)
            own = push(store, b"own", replace(ADDRESS, task_id="visitor"), visitor)
            gone = push(store, b"gone", replace(ADDRESS, key="gone"), owner)
            store.delete(gone)
        assert claim_of(store, mine) == f"{owner.ti_id} 1"
        assert claim_of(store, own) == f"{visitor.ti_id} 1"
        assert [bytes(store.fetch(ref)) for ref in (mine, given, own)] == [b"1", b"given", b"own"]
        with pytest.raises(PayloadMissing):
            store.fetch(gone)

    def test_nor_does_a_callback_of_a_task(self, store: RedisStore, airflow: Airflow) -> None:
        """Airflow calls it once the context is left. A worker has its task in the context of its log."""
        owner, visitor = airflow.begin(1), airflow.begin(1)
        mine = push(store, b"1", writer=owner)
        whose = {"dag_id": ADDRESS.dag_id, "run_id": ADDRESS.run_id, "task_id": "visitor", "map_index": -1}
        with bound_contextvars(ti_id=visitor.ti_id, try_number=1, **whose):
            given = push(store, b"given", OTHER, visitor)
            own = push(store, b"own", replace(ADDRESS, task_id="visitor"), visitor)
        assert claim_of(store, mine) == f"{owner.ti_id} 1"
        assert claim_of(store, own) == f"{visitor.ti_id} 1"
        assert [bytes(store.fetch(ref)) for ref in (mine, given)] == [b"1", b"given"]

    def test_in_its_own_context_a_task_claims(
        self, store: RedisStore, airflow: Airflow, context_of: Callable[[Address], Any]
    ) -> None:
        owner = airflow.begin(1)
        with context_of(ADDRESS):
            ref = push(store, b"1", writer=owner)
        assert claim_of(store, ref) == f"{owner.ti_id} 1"

    @pytest.fixture
    def context_of(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Address], Any]:
        from airflow.sdk.execution_time.context import set_current_context

        class Instance:
            def __init__(self, address: Address) -> None:
                self.dag_id, self.run_id = address.dag_id, address.run_id
                self.task_id, self.map_index = address.task_id, address.map_index

        def context(address: Address) -> Any:
            return set_current_context({"ti": Instance(address)})  # type: ignore[typeddict-item]

        return context


class Slowly(Payload):
    """A payload whose chunks wait for each other."""

    between: Callable[[int], None]

    def chunks(self, size: int = CHUNK) -> Iterator[memoryview]:
        for number, chunk in enumerate(super().chunks(size)):
            self.between(number)
            yield chunk


def slowly(body: bytes, between: Callable[[int], None]) -> Slowly:
    """A payload that calls `between` before each of its chunks."""
    made = Slowly("bytes", "bytes", "application/octet-stream", ".bin", [body])
    made.between = between
    return made


class TestLease:
    """Two writers of one XCom take turns."""

    def test_who_waits_in_vain_is_told_who_holds_it(self, store: RedisStore, conn_id: str) -> None:
        writer = attempt()
        stage(store, ADDRESS, writer, payload([b"1"]))
        with pytest.raises(LeaseTimeout) as caught:
            keep(RedisStore(conn_id, wait=0.3), [b"2"], writer=writer)
        import socket

        assert f"process {os.getpid()} on host {socket.gethostname()}, since 20" in str(caught.value)
        assert "for over 0.3 s" in str(caught.value)

    def test_who_waits_gets_it_when_it_is_free(self, store: RedisStore, conn_id: str) -> None:
        first = stage(store, ADDRESS, NOBODY, payload([b"1"]))
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(keep, RedisStore(conn_id), [b"2"], writer=NOBODY)
            time.sleep(0.1)
            assert not second.done()
            store.commit(*first)
            assert bytes(store.fetch(second.result(30))) == b"2"

    def test_another_key_is_another_lease(self, store: RedisStore, conn_id: str) -> None:
        writer = attempt()
        stage(store, ADDRESS, writer, payload([b"1"]))
        keep(RedisStore(conn_id), [b"2"], OTHER, writer)

    def test_a_thread_that_gave_up_does_not_wait_for_itself(self, store: RedisStore) -> None:
        store.lease, store.wait = 1000, 0
        writer = attempt()
        stored, _ = stage(store, ADDRESS, writer, payload([b"1"]))
        store.abandon(stored)
        assert keys(store) == []
        assert bytes(store.fetch(keep(store, [b"2"], writer=writer))) == b"2"

    def test_but_two_threads_of_one_task_take_turns(self, store: RedisStore) -> None:
        store.wait = 0.2
        writer = attempt()
        stage(store, ADDRESS, writer, payload([b"1"]))
        with ThreadPoolExecutor(1) as pool, pytest.raises(LeaseTimeout):
            pool.submit(keep, store, [b"2"], writer=writer).result()

    @asks_first
    def test_a_later_try_does_not_wait_for_one_that_it_replaces(
        self, store: RedisStore, conn_id: str, airflow: Airflow
    ) -> None:
        store.lease = 1000
        first = airflow.begin(1)
        frozen = stage(store, ADDRESS, first, payload([b"1"]))
        second = airflow.begin(2, replaces=first)
        ref = keep(RedisStore(conn_id, wait=0), [b"2"], writer=second)
        with pytest.raises(Superseded):
            store.commit(*frozen)
        with pytest.raises(Superseded):
            push(store, b"1", writer=first)
        assert bytes(store.fetch(ref)) == b"2"

    @asks_first
    def test_a_replaced_try_does_not_take_it_from_a_later_one(
        self, store: RedisStore, conn_id: str, airflow: Airflow
    ) -> None:
        first = airflow.begin(1)
        push(store, b"1", writer=first)
        second = airflow.begin(2, replaces=first)  # its hook failed: the claim is still that of the first
        stored, ref = stage(store, ADDRESS, second, payload([b"2"]))
        with pytest.raises(Superseded):
            stage(RedisStore(conn_id), ADDRESS, first, payload([b"late"]))
        store.commit(stored, ref)
        assert bytes(store.fetch(ref)) == b"2"

    def test_it_is_renewed_while_the_upload_lasts(self, store: RedisStore, conn_id: str) -> None:
        store.lease = 1
        refused = []

        def between(number: int) -> None:
            time.sleep(0.05)
            if number % 8 == 0 and number:
                try:
                    keep(RedisStore(conn_id, wait=0), [b"2"], writer=NOBODY)
                except LeaseTimeout:
                    refused.append(number)

        body = os.urandom(40 * CHUNK)  # two seconds
        stored = store.put(ADDRESS, NOBODY, slowly(body, between))
        assert refused == [8, 16, 24, 32]
        assert stored.length == len(body)

    def test_an_upload_stops_when_it_has_been_taken(self, store: RedisStore, conn_id: str) -> None:
        sent = []

        def between(number: int) -> None:
            sent.append(number)
            if number == 12:
                (lease,) = keys_like(store, "*/lease")
                store.server.client.set(lease, json.dumps({"host": "elsewhere", "pid": 7, "since": "noon"}))

        with pytest.raises(LeaseLost, match="process 7 on host elsewhere, since noon"):
            store.put(ADDRESS, NOBODY, slowly(bytes(60 * CHUNK), between))
        assert len(sent) == 16
        # What was sent is taken back, and the other's lease left alone.
        assert len(keys(store)) == 1 and keys(store) == keys_like(store, "*/lease")

    def test_an_upload_whose_source_fails_leaves_nothing(self, store: RedisStore) -> None:
        def between(number: int) -> None:
            if number == 12:
                raise OSError("the disk is gone")

        with pytest.raises(OSError, match="the disk is gone"):
            store.put(ADDRESS, attempt(), slowly(bytes(20 * CHUNK), between))
        assert keys(store) == []

    def test_who_gives_up_leaves_what_is_current_alone(self, store: RedisStore, conn_id: str) -> None:
        writer = attempt()
        current = keep(store, [b"1"], writer=writer)
        stored, given_up = stage(store, ADDRESS, writer, payload([b"2" * (CHUNK + 1)]))
        store.abandon(stored)
        store.abandon(stored)  # may be repeated
        with pytest.raises(PayloadMissing):
            store.fetch(given_up)
        with pytest.raises(LeaseLost):
            store.commit(stored, given_up)
        assert bytes(store.fetch(current)) == b"1"
        assert bytes(store.fetch(keep(RedisStore(conn_id, wait=0), [b"3"], writer=writer))) == b"3"

    def test_giving_up_deletes_what_was_committed_without_a_row(self, store: RedisStore) -> None:
        stored, ref = stage(store, ADDRESS, attempt(), payload([b"1"]))
        store.commit(stored, ref)  # and here Airflow, or Redis, does not answer
        store.abandon(stored)
        assert not committed(store)

    def test_a_lease_that_ran_out_and_nobody_took_is_still_good(self, store: RedisStore) -> None:
        store.lease = 0.1
        stored, ref = stage(store, ADDRESS, NOBODY, payload([b"1"]))
        time.sleep(0.3)  # Airflow took its time to answer
        store.commit(stored, ref)
        assert bytes(store.fetch(ref)) == b"1"

    def test_one_that_ran_out_does_not_hold_up_others(self, store: RedisStore, conn_id: str) -> None:
        store.lease = 0.2
        sleeper = stage(store, ADDRESS, NOBODY, payload([b"1"]))
        newer = keep(RedisStore(conn_id), [b"2"], writer=NOBODY)
        with pytest.raises(LeaseLost):
            store.commit(*sleeper)
        assert bytes(store.fetch(newer)) == b"2"

    def test_chunks_that_are_gone_can_not_be_committed(self, store: RedisStore) -> None:
        stored, ref = stage(store, ADDRESS, NOBODY, payload([bytes(3 * CHUNK)]))
        assert ref.uri is not None
        store.server.client.delete(ref.uri.removeprefix("redis:") + "/1")  # staged for over an hour
        with pytest.raises(PayloadMissing, match="stood still for more than an hour"):
            store.commit(stored, ref)
        assert not committed(store)

    def test_nothing_but_the_payload_is_left_of_it(self, store: RedisStore) -> None:
        keep(store, [b"1"])
        assert not keys_like(store, "*/lease")


@asks_first
class TestFrozen:
    """SIGSTOP past the lease, another writer, SIGCONT: the sleeper is refused and the newer value stands."""

    def frozen(
        self, store: RedisStore, sleeper: Callable[[Callable[[], None]], Any], meanwhile: Callable[[], Any]
    ) -> tuple[str, Any]:
        """Run `sleeper` in a child, which is stopped where it calls its argument. What became of both."""
        with in_child(sleeper) as child:
            child.wait_until_it_calls()
            child.send(signal.SIGSTOP)
            child.let_go()  # it will find this when it wakes
            newer = meanwhile()
            child.send(signal.SIGCONT)
            return child.outcome(), newer

    @pytest.mark.parametrize(
        ("where", "who"),
        [
            ("before the push", "a later try"),
            ("in the upload", "a later try"),
            ("after Airflow's answer", "a later try"),
            ("in the upload", "somebody without a try"),
            ("after Airflow's answer", "somebody without a try"),
        ],
    )
    def test_the_sleeper_is_refused(self, store: RedisStore, airflow: Airflow, where: str, who: str) -> None:
        store.lease = 0.2
        first = airflow.begin(1) if who == "a later try" else NOBODY
        body = os.urandom(30 * CHUNK)

        def sleeper(here: Callable[[], None]) -> None:
            if where == "before the push":
                here()
                airflow.current.clear()  # as it will be by then
            if where == "in the upload":
                content: Payload = slowly(body, lambda number: here() if number == 20 else None)
            else:
                content = payload([body])
            staged = stage(store, ADDRESS, first, content)
            attempts.confirm(first)
            if where == "after Airflow's answer":
                here()
                airflow.current.clear()
            store.commit(*staged)

        def meanwhile() -> Reference:
            if who == "a later try":
                second = airflow.begin(2, replaces=first)
                store.take_over(ADDRESS, second)
                return keep(store, [b"newer"], writer=second)
            return keep(store, [b"newer"], writer=NOBODY)

        outcome, newer = self.frozen(store, sleeper, meanwhile)
        assert outcome.split(":")[0] in ("Superseded", "LeaseLost")
        assert bytes(store.fetch(newer)) == b"newer"
        assert list(committed(store)) == [newer.uri]


class TestManyWriters:
    """64 at once."""

    def at_once(self, work: Callable[[int], None]) -> list[str]:
        children = []
        ready, go = os.pipe(), os.pipe()
        for number in range(64):
            pid = os.fork()
            if pid == 0:
                try:
                    os.write(ready[1], b".")
                    os.read(go[0], 1)
                    work(number)
                except BaseException as error:
                    os.write(ready[1], f"\n{type(error).__name__}: {error}"[:4000].encode())
                    os._exit(1)
                os._exit(0)
            children.append(pid)
        for _ in children:
            assert os.read(ready[0], 1) == b"."
        os.write(go[1], b"." * 64)
        failed = [pid for pid in children if os.waitpid(pid, 0)[1]]
        os.close(ready[1])
        said = os.read(ready[0], 65536).decode() if failed else ""
        for end in (ready[0], *go):
            os.close(end)
        return said.split("\n")[1:]

    def test_on_one_address_they_take_turns(self, store: RedisStore) -> None:
        def work(number: int) -> None:
            ref = keep(store, [f"{number} ".encode() * 300_000], writer=NOBODY)
            assert bytes(store.fetch(ref)) == f"{number} ".encode() * 300_000

        assert self.at_once(work) == []
        assert len(committed(store)) == 64
        assert not keys_like(store, "*/lease")

    @asks_first
    def test_on_one_task_only_one_try_is_left(self, store: RedisStore) -> None:
        tries = [attempt(number + 1) for number in range(64)]

        def work(number: int) -> None:
            keep(store, [str(number).encode()], replace(ADDRESS, key=f"key {number}"), tries[number])

        assert self.at_once(work) == []
        (claim,) = keys_like(store, "*/claim")
        owner = store.server.client.get(claim).decode().split()[0]
        readable = []
        for uri in committed(store):
            name = uri.rpartition("/")[2]
            readable += [name] if name.startswith(owner) else []
        assert len(readable) == 1

    def test_on_many_addresses(self, store: RedisStore) -> None:
        def work(number: int) -> None:
            for turn in range(5):
                address = replace(ADDRESS, task_id=f"task {number}", key=f"key {turn}")
                ref = keep(store, [f"{number} {turn}".encode()], address, attempt())
                assert bytes(store.fetch(ref)) == f"{number} {turn}".encode()

        assert self.at_once(work) == []
        assert len(committed(store)) == 320


def test_threads_push_different_keys_of_one_task(store: RedisStore) -> None:
    writer, barrier = attempt(), threading.Barrier(16)

    def work(number: int) -> bytes:
        barrier.wait()
        ref = keep(store, [str(number).encode()], replace(ADDRESS, key=str(number)), writer)
        return bytes(store.fetch(ref))

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, range(16))) == [str(n).encode() for n in range(16)]
