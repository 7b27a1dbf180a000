"""Redis as a store of payloads: the contract of all stores, and what only Redis does."""

from __future__ import annotations

import contextlib
import json
import os
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from airflow_versions import ROWS_PER_TRY, asks_first
from redis.crc import key_slot
from redis_servers import (
    Proxy,
    RedisContract,
    Valkey,
    any_server,
    cluster_of_two,
    connection,
    keys_like,
    sentinel,
    store_on,
)

from exclusive_xcom.address import NOBODY, Address
from exclusive_xcom.binding import Question, deleting
from exclusive_xcom.errors import (
    BadReference,
    ForeignReference,
    LeaseLost,
    PayloadAltered,
    PayloadMissing,
    PayloadTruncated,
    StoreMisconfigured,
    StoreUnreachable,
    XComError,
)
from exclusive_xcom.redis import RedisStore, RedisXComBackend
from exclusive_xcom.redis.keys import CHUNK
from exclusive_xcom.reference import Expiry, Reference
from exclusive_xcom.testing.store_contract import (
    ADDRESS,
    STRANGE,
    attempt,
    keep,
    payload,
    stage,
    whole,
)


@pytest.fixture(scope="module")
def conn_id() -> Iterator[str]:
    """A server for the tests that need none of their own."""
    with any_server() as conn_id:
        yield conn_id


def emptied(store: RedisStore) -> None:
    """Remove every key of the tests'."""
    for name in keys_like(store, "*"):
        store.server.client.unlink(name)


@pytest.fixture
def store(conn_id: str) -> Iterator[RedisStore]:
    """A store in which nothing is."""
    store = RedisStore(conn_id)
    yield store
    emptied(store)


def lasting(ref: Reference, seconds: float) -> Reference:
    """The reference of what is kept for so long."""
    return replace(ref, expires=Expiry("a rule", datetime.now(UTC) + timedelta(seconds=seconds)))


class TestContract(RedisContract):
    """What every store must do."""

    @pytest.fixture
    def store(self, conn_id: str) -> Iterator[RedisStore]:
        store = RedisStore(conn_id)
        yield store
        emptied(store)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisStore]:
    """A store in a cluster."""
    with cluster_of_two() as port, store_on(port, extra={"cluster": True}) as store:
        yield store


class TestContractInACluster(RedisContract):
    """The same in a cluster, whose servers refuse what touches keys of several slots."""

    @pytest.fixture
    def store(self, cluster: RedisStore) -> Iterator[RedisStore]:
        yield cluster
        emptied(cluster)


@pytest.fixture(scope="module")
def named() -> Iterator[RedisStore]:
    """A store on the primary that a Sentinel names."""
    with Valkey() as server, sentinel("reports", server.port) as port:
        with store_on(port, extra={"sentinel_master": "reports"}) as store:
            yield store


class TestContractBySentinel(RedisContract):
    """The same on a primary that Sentinel names."""

    @pytest.fixture
    def store(self, named: RedisStore) -> Iterator[RedisStore]:
        yield named
        emptied(named)


def keys(store: RedisStore) -> list[str]:
    """All keys that the store has made."""
    return keys_like(store, "*")


class TestKeys:
    """What is in Redis, and for how long."""

    def test_the_uri_is_legible_and_tells_whose_and_which_try(self, store: RedisStore) -> None:
        writer = attempt()
        ref = keep(store, [b"x"], writer=writer)
        assert ref.uri is not None
        assert "/{orders/manual__2026-01-02T03:04:05+00:00/extract/-1}/return_value/" in ref.uri
        assert writer.ti_id in ref.uri.rpartition("/")[2]

    def test_everything_expires(self, store: RedisStore) -> None:
        client = store.server.client
        staged_payload = stage(store, ADDRESS, attempt(), payload([b"x" * (2 * CHUNK + 1)]))
        staged = keys(store)
        assert len(staged) == 4  # lease and three chunks
        assert all(0 < client.ttl(name) <= 3600 + 30 for name in staged)
        stored, ref = staged_payload
        store.commit(stored, lasting(ref, 100_000))
        assert len(keys(store)) == 4 + (not ROWS_PER_TRY)  # head, three chunks, and a claim if there is one
        payload_keys = [name for name in keys(store) if not name.endswith("/claim")]
        assert all(99_000 < client.ttl(name) <= 100_000 for name in payload_keys)

    def test_what_is_kept_for_ever_does_not(self, store: RedisStore) -> None:
        stored, ref = stage(store, ADDRESS, attempt(), payload([b"x" * (2 * CHUNK + 1)]))
        store.commit(stored, ref)
        store.commit(stored, ref)  # as when the reply was lost
        assert len(keys(store)) == 4 + (not ROWS_PER_TRY)
        assert all(store.server.client.ttl(name) > 36500 * 86400 for name in keys(store))

    @pytest.mark.parametrize(("first", "days"), [(30 * 86400, 29), (10, 6), (None, 36500)])
    @asks_first
    def test_a_claim_outlives_every_payload_that_it_covers(
        self, store: RedisStore, first: int | None, days: int
    ) -> None:
        writer = attempt()
        for key, seconds in (("one", first), ("other", 10)):
            stored, ref = stage(store, replace(ADDRESS, key=key), writer, payload([b"x"]))
            store.commit(stored, ref if seconds is None else lasting(ref, seconds))
        store.take_over(ADDRESS, attempt(2))
        (claim,) = (name for name in keys(store) if name.endswith("/claim"))
        assert store.server.client.ttl(claim) > days * 86400

    def test_all_keys_of_a_task_instance_share_a_slot_whatever_its_name(self, store: RedisStore) -> None:
        for name in STRANGE:
            address = Address(name, name, name, 3, name)
            ref = keep(store, [b"x" * (CHUNK + 1)], address)
            stage(store, replace(address, key="lease"), ref.attempt, payload([b"y"]))
            slots = {key_slot(key.encode()) for key in keys(store)}
            assert len(slots) == 1, name
            emptied(store)

    def test_the_prefix_is_an_option(self, store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
        before = keep(store, [b"before"])
        prefix = os.environ.get("AIRFLOW__XCOM__PREFIX", "xcom") + "/{odd} *"
        monkeypatch.setenv("AIRFLOW__XCOM__PREFIX", prefix)
        after = keep(store, [b"after"])
        assert bytes(store.fetch(after)) == b"after"
        assert after.uri is not None
        assert after.uri.startswith(f"redis:{quote(prefix, safe=' ')}/{{orders/")
        head = after.uri.removeprefix("redis:")
        for name in store.server.client.scan_iter(match=f"{head.partition('/')[0]}/*"):
            store.server.client.unlink(name)
        with pytest.raises(BadReference, match="prefix"):
            store.fetch(before)

    def test_a_row_with_an_absurd_length_costs_nothing(self, store: RedisStore) -> None:
        ref = keep(store, [b"x"])
        tracemalloc.start()
        for length in (10**9, 10**12, 10**18):
            with pytest.raises((BadReference, PayloadTruncated)):
                store.fetch(replace(ref, length=length))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2**20

    def test_a_row_that_names_another_try_is_refused(self, store: RedisStore) -> None:
        ref = keep(store, [b"x"])
        with pytest.raises(BadReference):
            store.fetch(replace(ref, attempt=attempt(2)))


class TestRoundTrips:
    """How often a push and a pull wait for the server."""

    @pytest.fixture
    def behind(self) -> Iterator[tuple[Proxy, RedisStore, Any]]:
        with Valkey() as server, Proxy(server.port) as proxy, store_on(proxy.port) as store:
            yield proxy, store, server.client()

    def test_a_small_value_takes_two_and_one(self, behind: tuple[Proxy, RedisStore, Any]) -> None:
        proxy, store, _ = behind
        store.server.run(("PING",))  # connected
        for _ in range(2):  # with scripts that the server does not know, and with those that it does
            before = proxy.round_trips
            ref = keep(store, [b"x" * 200])
            assert proxy.round_trips - before == 2
            store.fetch(ref)
            assert proxy.round_trips - before == 3

    def test_many_small_values_take_one(self, behind: tuple[Proxy, RedisStore, Any]) -> None:
        proxy, store, _ = behind
        refs = [keep(store, [b"%d" % n], replace(ADDRESS, map_index=n)) for n in range(256)]
        before = proxy.round_trips
        assert [bytes(found) for found in store.fetch_many(refs)] == [b"%d" % n for n in range(256)]
        assert proxy.round_trips - before == 1

    def test_and_few_commands(self, behind: tuple[Proxy, RedisStore, Any]) -> None:
        _, store, client = behind
        keep(store, [b"x" * 200])
        client.config_resetstat()
        ref = keep(store, [b"x" * 200])
        outside = ("evalsha", "set", "mget")
        store.fetch(ref)
        stats = {
            name.removeprefix("cmdstat_"): found["calls"]
            for name, found in client.info("commandstats").items()
        }
        # One SET of a chunk; the scripts themselves set the lease, the head and, if there is one, the claim.
        sets = 3 + (not ROWS_PER_TRY)
        assert {name: stats.get(name) for name in outside} == {"evalsha": 2, "set": sets, "mget": 1}
        assert set(stats) - set(outside) <= {"get", "pttl", "exists", "pexpire", "del", "config|resetstat"}

    def test_a_new_process_asks_no_more_often(self, behind: tuple[Proxy, RedisStore, Any]) -> None:
        proxy, store, _ = behind
        store.server.run(("PING",))
        connected = proxy.round_trips
        keep(store, [b"x"])
        assert proxy.round_trips - connected == 2
        assert connected < 8

    def test_scripts_flushed_meanwhile_cost_one_more(self, behind: tuple[Proxy, RedisStore, Any]) -> None:
        proxy, store, client = behind
        keep(store, [b"x"])
        before = proxy.round_trips
        stored, ref = stage(store, ADDRESS, attempt(), payload([b"y"]))
        client.script_flush()
        store.commit(stored, ref)
        assert bytes(store.fetch(ref)) == b"y"
        assert proxy.round_trips - before == 4

    def test_a_large_value_is_sent_in_windows(self, behind: tuple[Proxy, RedisStore, Any]) -> None:
        proxy, store, _ = behind
        keep(store, [b"x"])
        before = proxy.round_trips
        store.fetch(keep(store, [bytes(80 * CHUNK)]))
        # 10 windows there and a commit, the first chunk and 10 windows back. On a busy machine the proxy
        # may take the halves of a window for two requests.
        assert 22 <= proxy.round_trips - before < 50


class TestMemory:
    """A transfer holds a few chunks, not the whole."""

    def test_a_file_goes_through_in_constant_memory(self, store: RedisStore, tmp_path: Path) -> None:
        path = tmp_path / "large"
        with path.open("wb") as file:
            for _ in range(64):
                file.write(os.urandom(2**20))
        keep(store, [b"warm"])
        tracemalloc.start()
        ref = keep(store, path)
        _, pushed = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        length = sum(piece.nbytes for piece in store.stream(ref))
        _, pulled = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert length == 64 * 2**20
        assert pushed < 24 * 2**20
        assert pulled < 24 * 2**20

    def test_a_value_is_never_in_memory_twice(self, store: RedisStore) -> None:
        body = bytes(64 * 2**20)
        keep(store, [b"warm"])
        tracemalloc.start()
        ref = keep(store, [body])
        _, pushed = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        found = store.fetch(ref)
        _, pulled = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert found == body
        assert pushed < 8 * 2**20
        assert pulled < 64 * 2**20 + 24 * 2**20


class TestGone:
    """Each way of losing a payload has its own words, and none of them is a value."""

    LARGE = b"x" * (2 * CHUNK)

    def lost(self, store: RedisStore, ref: Any) -> str:
        with pytest.raises(PayloadMissing) as caught:
            whole(store.stream(ref))
        with pytest.raises(PayloadMissing) as again:
            store.fetch(ref)
        with pytest.raises(PayloadMissing) as of_a_part:
            store.part(ref, 0, ref.length)
        assert str(of_a_part.value) == str(again.value) == str(caught.value)
        assert caught.value.advice
        return caught.value.what

    def names(self, store: RedisStore, ref: Any) -> tuple[str, str]:
        head = ref.uri.removeprefix("redis:")
        return head, head[: head.index("}/") + 2] + "claim"

    def test_deleted(self, store: RedisStore) -> None:
        ref = keep(store, [b"x"])
        store.delete(ref)
        assert "its head and chunk 0:" in self.lost(store, ref) and "deleted" in self.lost(store, ref)

    def test_head_lost(self, store: RedisStore) -> None:
        ref = keep(store, [b"x"])
        store.server.client.delete(self.names(store, ref)[0])
        assert "lost its head:" in self.lost(store, ref)

    def test_never_committed(self, store: RedisStore) -> None:
        keep(store, [b"before"], writer=(writer := attempt()))
        _, ref = stage(store, ADDRESS, writer, payload([b"x"]))
        assert "never committed" in self.lost(store, ref)

    @pytest.mark.parametrize("index", [0, 1])
    def test_a_chunk_lost(self, store: RedisStore, index: int) -> None:
        ref = keep(store, [self.LARGE])
        store.server.client.delete(f"{self.names(store, ref)[0]}/{index}")
        assert f"lost its chunk {index}:" in self.lost(store, ref)

    @asks_first
    def test_claim_lost(self, store: RedisStore) -> None:
        ref = keep(store, [b"x"])
        store.server.client.delete(self.names(store, ref)[1])
        assert "lost its claim (which rules out a later try):" in self.lost(store, ref)

    def test_expired(self, store: RedisStore) -> None:
        stored, ref = stage(store, ADDRESS, attempt(), payload([b"x"]))
        store.commit(stored, lasting(ref, 0))
        while store.server.client.exists(f"{ref.uri}/0".removeprefix("redis:")):
            time.sleep(0.05)
        assert "lost its head and chunk 0:" in self.lost(store, ref)

    def test_flushed(self) -> None:
        with Valkey() as server, store_on(server.port) as store:
            refs = [
                keep(store, [body], replace(ADDRESS, key=key))
                for key, body in (("a", b"x"), ("b", self.LARGE))
            ]
            server.client().flushall()
            for ref in refs:
                claim = "" if ROWS_PER_TRY else " and claim (which rules out a later try)"
                assert f"its head{claim} and chunk 0:" in self.lost(store, ref)
            assert bytes(store.fetch(keep(store, [b"after"]))) == b"after"

    def test_restarted_without_a_file(self) -> None:
        with Valkey() as server, store_on(server.port) as store:
            ref = keep(store, [b"x"])
            time.sleep(2.1)  # the server tells its age in whole seconds
            server.kill()
            server.start()
            assert "restarted" in self.lost(store, ref) and "appendonly" in self.lost(store, ref)

    def test_evicted(self) -> None:
        with Valkey() as server:
            with store_on(server.port) as store:
                keep(store, [b"x"])  # the server was asked, and was well set up then
                server.client().config_set("maxmemory", "12mb")
                server.client().config_set("maxmemory-policy", "volatile-lru")
                refs, told = [], []
                for index in range(15):
                    with contextlib.suppress(LeaseLost):  # evicted, too
                        refs.append(keep(store, [self.LARGE], replace(ADDRESS, map_index=index)))
                for ref in refs:
                    try:
                        assert bytes(store.fetch(ref)) == self.LARGE
                    except PayloadMissing as error:
                        told.append(error.what)
                assert told and all("evicted" in what and "volatile-lru" in what for what in told)

    @pytest.mark.parametrize("part", [pytest.param("claim", marks=asks_first), "head", "chunk 0", "chunk 1"])
    def test_another_type(self, store: RedisStore, part: str) -> None:
        ref = keep(store, [self.LARGE])
        head, claim = self.names(store, ref)
        name = {"claim": claim, "head": head}.get(part) or f"{head}/{part[-1]}"
        store.server.client.delete(name)
        store.server.client.hset(name, "some", "thing")
        for read in (lambda: store.fetch(ref), lambda: store.part(ref, 0, ref.length)):
            with pytest.raises(XComError) as caught:
                read()
            assert isinstance(caught.value, PayloadAltered | StoreMisconfigured)
            assert "PREFIX" in caught.value.advice

    @pytest.mark.parametrize("index", [0, 1])
    def test_a_chunk_cut_short(self, store: RedisStore, index: int) -> None:
        ref = keep(store, [self.LARGE])
        name = f"{self.names(store, ref)[0]}/{index}"
        store.server.client.set(name, store.server.client.get(name)[:-1])
        for read in (lambda: store.fetch(ref), lambda: store.part(ref, 0, ref.length)):
            with pytest.raises(PayloadTruncated, match=f"Chunk {index}"):
                read()
        store.server.client.set(name, b"short")
        with pytest.raises(PayloadTruncated, match=f"Chunk {index}"):
            store.part(ref, index * CHUNK + 9, index * CHUNK + 99)

    def test_a_row_with_another_length(self, store: RedisStore) -> None:
        ref = keep(store, [b"four"])
        with pytest.raises(PayloadTruncated):
            store.fetch(replace(ref, length=3))
        ref = keep(store, [self.LARGE])
        with pytest.raises(PayloadTruncated):
            store.fetch(replace(ref, length=CHUNK))  # though each chunk is as long as it should be
        with pytest.raises(PayloadTruncated):
            store.part(replace(ref, length=CHUNK), 0, 9)


class TestWhichConnection:
    """The backend of now, and the one before it."""

    def test_of_a_former_backend(self, conn_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
        from exclusive_xcom.store import store_of

        ref = keep(RedisStore(conn_id), [b"x"])
        with pytest.raises(ForeignReference, match="FORMER_CONN_ID"):
            store_of(ref)
        monkeypatch.setenv("AIRFLOW__XCOM__FORMER_CONN_ID", conn_id)
        assert bytes(store_of(ref).fetch(ref)) == b"x"

    def test_of_the_current_one(self, conn_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
        from exclusive_xcom.store import store_of

        monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom", RedisXComBackend)
        monkeypatch.setenv("AIRFLOW__XCOM__CONN_ID", conn_id)
        monkeypatch.setenv("AIRFLOW__XCOM__FORMER_CONN_ID", "another")
        ref = keep(RedisXComBackend.store(), [b"x"])
        assert bytes(store_of(ref).fetch(ref)) == b"x"


class TestBackend:
    """Through the class that Airflow uses."""

    @pytest.fixture(autouse=True)
    def configured(self, conn_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom", RedisXComBackend)
        monkeypatch.setenv("AIRFLOW__XCOM__CONN_ID", conn_id)

    @staticmethod
    def push(value: Any, key: str = "return_value") -> Any:
        return RedisXComBackend.serialize_value(
            value, key=key, dag_id="d", run_id="r", task_id="t", map_index=-1
        )

    @staticmethod
    def pull(row: Any) -> Any:
        class Result:
            value = json.loads(json.dumps(row))

        return RedisXComBackend.deserialize_value(Result)

    @pytest.mark.parametrize("value", ["text", 7, {"a": [1, None]}, [], {"$xcom": "3"}, "redis:xcom/{a}/b/c"])
    def test_everything_is_stored_however_small(self, value: Any) -> None:
        row = self.push(value)
        assert row["uri"].startswith("redis:")
        assert self.pull(row) == value

    def test_but_what_the_scheduler_reads(self) -> None:
        assert self.push({"skipped": ["a"]}, "skipmixin_key") == {"skipped": ["a"]}

    def test_too_large_says_where_to(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__XCOM__MAX_SIZE", "1000")
        with pytest.raises(XComError, match="BACKEND=s3"):
            self.push("".join(map(str, range(5000))))
        assert RedisXComBackend.default_max_size == 256 * 2**20

    def test_purge_deletes_the_payload(self) -> None:
        row = self.push("value")

        class Xcom:
            value = row

        with deleting(Question(Address("d", "r", "t"))):
            RedisXComBackend.purge(Xcom)
        with pytest.raises(PayloadMissing):
            self.pull(row)


class TestDurability:
    """Acknowledged means as durable as demanded."""

    def test_too_few_replicas_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__XCOM__WAIT_REPLICAS", "1")
        monkeypatch.setattr("exclusive_xcom.redis.claims.WAIT_TIMEOUT", 0.5)
        with Valkey() as server, store_on(server.port) as store:
            stored, ref = stage(store, ADDRESS, attempt(), payload([b"x"]))
            with pytest.raises(StoreUnreachable, match="only 0 of 1"):
                store.commit(stored, ref)
            with Valkey("--replicaof", "127.0.0.1", str(server.port)) as replica:
                twin = replica.client()
                while twin.info("replication")["master_link_status"] != "up":
                    time.sleep(0.05)
                store.commit(stored, ref)  # may be repeated, and is counted anew
                assert twin.get(ref.uri.removeprefix("redis:") + "/0") == b"x"
                with replica.frozen(), pytest.raises(StoreUnreachable, match="only 0 of 1"):
                    store.commit(stored, ref)

    def test_append_only_files_are_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__XCOM__WAIT_AOF", "1")
        with (
            Valkey("--appendonly", "yes", "--appendfsync", "everysec") as server,
            store_on(server.port) as store,
        ):
            ref = keep(store, [b"x"])
            server.kill()  # whatever is not on the disk is gone
            server.start()
            assert bytes(store.fetch(ref)) == b"x"
        with (
            Valkey() as server,
            store_on(server.port) as store,
            pytest.raises(StoreMisconfigured, match="appendonly"),
        ):
            keep(store, [b"x"])

    def test_a_cluster_can_not_be_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__XCOM__WAIT_REPLICAS", "1")
        with cluster_of_two() as port, store_on(port, extra={"cluster": True}) as store:
            with pytest.raises(StoreMisconfigured, match="cluster"):
                keep(store, [b"x"])


class TestFork:
    """Airflow's executor forks."""

    def test_parent_and_child_do_not_share_a_connection(self, store: RedisStore) -> None:
        before = keep(store, [b"before"])
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for n in range(50):
                    ref = keep(store, [b"child"], replace(ADDRESS, task_id=f"child {n}"))
                    assert bytes(store.fetch(ref)) == b"child"
                assert bytes(store.fetch(before)) == b"before"
                status = 0
            finally:
                os._exit(status)
        for n in range(50):
            ref = keep(store, [b"parent"], replace(ADDRESS, task_id=f"parent {n}"))
            assert bytes(store.fetch(ref)) == b"parent"
        assert os.waitpid(child, 0)[1] == 0


def test_put_tells_length_and_digest_without_a_task(store: RedisStore) -> None:
    stored = store.put(ADDRESS, NOBODY, payload([b"x"]))
    assert stored.uri is not None and "/unclaimed-" in stored.uri


def test_probe_tells_what_it_found(conn_id: str) -> None:
    checks = {check.name: check for check in RedisStore(conn_id).probe()}
    assert list(checks) == [
        *("server", "role", "eviction", "memory", "persistence", "tls", "cluster"),
        *("write", "commit", "read", "delete"),
    ]


def test_no_connection_of_that_name() -> None:
    with pytest.raises(StoreMisconfigured, match="AIRFLOW_CONN_NOWHERE"):
        keep(RedisStore("nowhere"), [b"x"])


def test_a_wrong_extra_is_told() -> None:
    with connection(1, extra={"cluster": True, "db": 3}) as conn_id:
        with pytest.raises(StoreMisconfigured, match="database 0"):
            keep(RedisStore(conn_id), [b"x"])
