"""What happens to Redis, to the line to it, to the process that writes: whole values or errors, no more."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from airflow_versions import ROWS_PER_TRY
from redis_servers import (
    Proxy,
    Valkey,
    behind_tls,
    cluster_of_two,
    committed,
    free_port,
    in_child,
    keys_like,
    store_on,
)

from exclusive_xcom.address import NOBODY
from exclusive_xcom.errors import (
    PayloadMissing,
    StoreDenied,
    StoreError,
    StoreMisconfigured,
    StoreUnreachable,
    XComError,
)
from exclusive_xcom.redis.keys import CHUNK
from exclusive_xcom.reference import Reference
from exclusive_xcom.testing.store_contract import ADDRESS, attempt, keep, payload, stage, whole

LARGE = os.urandom(20 * CHUNK)  # three windows


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    """A server for the tests that leave it as it was."""
    with Valkey() as server:
        yield server


@pytest.fixture
def proxy(server: Valkey) -> Iterator[Proxy]:
    """The line to it."""
    with Proxy(server.port) as proxy:
        yield proxy
    server.client().flushall()


def steps_of_a_push(server: Valkey) -> int:
    """Round trips from connecting to the end of a large push, as the proxy counts them."""
    with Proxy(server.port) as proxy, store_on(proxy.port) as store:
        keep(store, [LARGE])
        return proxy.round_trips


class TestLostReplies:
    """A request whose reply is lost may have been carried out or not. It can be repeated."""

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("body", [b"small", LARGE], ids=["small", "large"])
    def test_at_every_step_of_push_and_pull(
        self, server: Valkey, proxy: Proxy, when: str, body: bytes
    ) -> None:
        """The line breaks at the n-th request, before or after it was carried out; for every n."""
        lost = 0
        for step in range(1, 30):
            with store_on(proxy.port) as store:
                first, hits = proxy.round_trips, []

                def breaks(number: int, at: int = first + step, hits: list[int] = hits) -> bool:
                    if number == at:
                        hits.append(number)
                    return number != at

                if when == "after":
                    proxy.pass_reply = breaks
                else:
                    proxy.break_before = lambda number, breaks=breaks: not breaks(number)
                address = replace(ADDRESS, key=f"step {step}")
                ref = keep(store, [body], address, writer=attempt())
                assert bytes(store.fetch(ref)) == body
                proxy.pass_reply, proxy.break_before = (lambda number: True), (lambda number: False)
                lost += len(hits)
                found = [uri for uri in committed(store) if f"/{ref.uri.split('/')[-2]}/" in uri]
                assert found == [ref.uri]
                assert not list(server.client().scan_iter(match="*/lease"))
                if not hits:
                    break
        assert lost >= 3

    def test_client_kill_half_way(self, server: Valkey, proxy: Proxy) -> None:
        admin, killed = server.client(), []

        def kill(number: int) -> None:
            if number % 11 == 0:  # connecting anew takes several requests
                killed.append(admin.client_kill_filter(_type="normal", skipme=True))

        proxy.before_request = kill
        with store_on(proxy.port) as store:
            for n in range(10):
                ref = keep(store, [LARGE], replace(ADDRESS, key=str(n)))
                assert bytes(store.fetch(ref)) == LARGE
        assert sum(killed) >= 5

    def test_all_the_time_is_an_error(self, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("exclusive_xcom.redis.client.PATIENCE", 0.5)
        with store_on(proxy.port) as store:
            ref = keep(store, [b"x"])
            proxy.pass_reply = lambda number: False
            for act in (lambda: keep(store, [b"y"]), lambda: store.fetch(ref)):
                with pytest.raises(StoreUnreachable, match="does not answer"):
                    act()
            proxy.pass_reply = lambda number: True
            assert bytes(store.fetch(ref)) == b"x"

    def test_and_giving_up_does_not_raise(self, proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
        with store_on(proxy.port) as store:
            stored, ref = stage(store, ADDRESS, attempt(), payload([b"x"]))
            first = proxy.round_trips
            proxy.pass_reply = lambda number: False
            store.abandon(stored)
            assert f"What was put at {ref.uri} is left behind, and expires" in caplog.text
            assert proxy.round_trips == first + 1  # nobody waits for it


class TestKilled:
    """kill -9 at every step leaves the old state."""

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_at_every_step_of_a_push(self, server: Valkey, proxy: Proxy, when: str) -> None:
        writer = attempt()
        killed = 0
        for step in range(1, 40):
            with store_on(server.port) as store, store_on(proxy.port) as childs:
                old = keep(store, [b"old"], writer=writer)
                known = set(committed(store))
                first = proxy.round_trips

                with in_child(
                    lambda here, childs=childs, writer=writer: (here(), keep(childs, [LARGE], writer=writer))
                ) as child:
                    child.wait_until_it_calls()

                    def kill(number: int, at: int = first + step, pid: int = child.pid) -> bool:
                        if number == at:
                            os.kill(pid, signal.SIGKILL)
                        return True

                    if when == "after":
                        proxy.pass_reply = kill
                    else:
                        proxy.before_request = kill
                    child.let_go()
                    said = child.outcome()
                proxy.pass_reply, proxy.before_request = (lambda number: True), (lambda number: None)
                assert said in ("", "done")
                assert bytes(store.fetch(old)) == b"old"
                # What the dead one left is committed whole, or can't be seen and expires.
                assert set(committed(store).values()) <= {3, len(LARGE)}
                left = [name for name in server.client().scan_iter() if server.client().ttl(name) <= 0]
                assert left == []
                # And the next try need not wait for it.
                newer = keep(store, [b"newer"], writer=(later := attempt(2)))
                assert bytes(store.fetch(newer)) == b"newer"
                assert set(committed(store)) >= known
                server.client().flushall()
                writer = later
                if said == "done":
                    break
                killed += 1
        assert killed >= 4


class TestServerDies:
    """Killed and started again in the middle of pushes."""

    @pytest.mark.slow
    def test_nothing_acknowledged_is_lost_where_every_write_goes_to_the_disk(self) -> None:
        self.drill(kills=12, writers=4)

    def test_nor_in_a_short_drill(self) -> None:
        self.drill(kills=2, writers=2)

    def drill(self, kills: int, writers: int) -> None:
        with (
            Valkey("--appendonly", "yes", "--appendfsync", "always") as server,
            store_on(server.port) as store,
        ):
            acknowledged: list[tuple[Reference, bytes]] = []
            over, trouble = threading.Event(), []

            def write(number: int) -> None:
                turn = 0
                while not over.is_set():
                    turn += 1
                    body = os.urandom(random.choice([100, 3 * CHUNK]))
                    try:
                        ref = keep(
                            store, [body], replace(ADDRESS, task_id=f"{number}", key=f"{turn}"), NOBODY
                        )
                    except XComError as error:
                        trouble.append(error)
                        continue
                    acknowledged.append((ref, body))

            threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
            for thread in threads:
                thread.start()
            for _ in range(kills):
                target = len(acknowledged) + 10
                while len(acknowledged) < target and not trouble:
                    time.sleep(random.random() / 20)
                server.kill()
                server.start()
            over.set()
            for thread in threads:
                thread.join()
            assert trouble == []  # all rode it out
            assert len(acknowledged) >= 10 * kills
            for ref, body in acknowledged:
                assert bytes(store.fetch(ref)) == body


class TestServerForgets:
    """FLUSHALL in the middle."""

    def test_of_a_push_is_noticed(self, server: Valkey) -> None:
        with store_on(server.port) as store:
            staged = stage(store, ADDRESS, attempt(), payload([LARGE]))
            server.client().flushall()
            with pytest.raises(StoreError, match="lease"):
                store.commit(*staged)
            assert bytes(store.fetch(keep(store, [b"again"]))) == b"again"

    def test_of_a_pull_is_noticed(self, server: Valkey) -> None:
        with store_on(server.port) as store:
            pieces = store.stream(keep(store, [LARGE]))
            next(pieces)
            server.client().flushall()
            with pytest.raises(PayloadMissing):
                whole(pieces)


class TestRefusals:
    """The server says no: each no has its own error, with what to do."""

    def test_full(self) -> None:
        with Valkey("--maxmemory", "8mb", "--maxmemory-policy", "noeviction") as server:
            with store_on(server.port) as store:
                small = keep(store, [b"before"])
                with pytest.raises(StoreMisconfigured, match="full") as caught:
                    keep(store, [LARGE], replace(ADDRESS, key="large"))
                assert "BACKEND=s3" in caught.value.advice
                assert bytes(store.fetch(small)) == b"before"
                assert list(committed(store)) == [small.uri]

    def test_full_when_it_comes_to_the_commit(self) -> None:
        with Valkey("--maxmemory-policy", "noeviction") as server, store_on(server.port) as store:
            stored, ref = stage(store, ADDRESS, attempt(), payload([LARGE]))
            server.client().config_set("maxmemory", "1mb")
            with pytest.raises(StoreMisconfigured, match="full"):
                store.commit(stored, ref)
            assert not committed(store)
            server.client().config_set("maxmemory", "0")
            store.commit(stored, ref)
            assert bytes(store.fetch(ref)) == LARGE

    @pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-lru", "volatile-ttl", "allkeys-random"])
    def test_evicting(self, policy: str) -> None:
        with Valkey("--maxmemory-policy", policy) as server:
            with store_on(server.port) as store:
                with pytest.raises(StoreMisconfigured, match=policy) as caught:
                    keep(store, [b"x"])
                assert not keys_like(store, "*")
            assert "noeviction" in caught.value.advice
            with store_on(server.port) as store:
                failed = {check.name: check for check in store.probe() if not check.ok}
            assert list(failed) == ["eviction"] and policy in failed["eviction"].detail

    def test_wrong_password(self) -> None:
        with Valkey("--requirepass", "right") as server:
            for parts in ({}, {"password": "wrong"}, {"login": "nobody", "password": "right"}):
                with store_on(server.port, **parts) as store:
                    with pytest.raises(StoreDenied, match="user or password") as caught:
                        keep(store, [b"x"])
                    assert "wrong" not in str(caught.value)
                    (check,) = store.probe()
                    assert not check.ok
            with store_on(server.port, password="right") as store:
                keep(store, [b"x"])

    def test_a_user_who_may_do_what_the_readme_says_and_no_more(self) -> None:
        with Valkey() as server:
            server.client().execute_command(*f"ACL SETUSER xcom on >secret {ACL}".split())
            with store_on(server.port, login="xcom", password="secret") as store:
                assert [check.name for check in store.probe() if not check.ok] == []
                ref = keep(store, [LARGE])
                assert bytes(store.fetch(ref)) == LARGE
                assert list(committed(store)) == [ref.uri]
                store.take_over(ADDRESS, attempt(2))
                # From 3.4 on nothing is claimed: a try's own row keeps its payload.
                with nullcontext() if ROWS_PER_TRY else pytest.raises(XComError):
                    store.fetch(ref)

    @pytest.mark.parametrize("missing", ["eval", "set", "mget", "unlink"])
    def test_a_user_who_may_not(self, missing: str) -> None:
        with Valkey() as server:
            server.client().execute_command(*f"ACL SETUSER xcom on >secret {ACL} -{missing}".split())
            with store_on(server.port, login="xcom", password="secret") as store:
                failed = [check for check in store.probe() if not check.ok]
                assert failed and "ACL" in failed[0].detail and missing in failed[0].detail.lower()

    def test_a_user_who_may_not_ask_for_info_can_push(self) -> None:
        with Valkey() as server:
            server.client().execute_command(*f"ACL SETUSER xcom on >secret {ACL} -info".split())
            with store_on(server.port, login="xcom", password="secret") as store:
                ref = keep(store, [b"x"])
                store.delete(ref)
                with pytest.raises(PayloadMissing):
                    store.fetch(ref)

    def test_a_read_only_replica(self, server: Valkey) -> None:
        with Valkey("--replicaof", "127.0.0.1", str(server.port)) as replica, store_on(replica.port) as store:
            while replica.client().info("replication")["master_link_status"] != "up":
                time.sleep(0.05)
            with pytest.raises(StoreMisconfigured, match="read-only replica"):
                keep(store, [b"x"])
            failed = [check.name for check in store.probe() if not check.ok]
            assert failed[0] == "role"

    def test_a_cluster_without_saying_so(self) -> None:
        with cluster_of_two() as port, store_on(port) as store:
            with pytest.raises(StoreMisconfigured, match="does not say so") as caught:
                for n in range(20):  # some of which belong on the other server
                    keep(store, [b"x"], replace(ADDRESS, map_index=n))
            assert '{"cluster": true}' in caught.value.advice

    def test_a_cluster_that_is_down(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("exclusive_xcom.redis.client.PATIENCE", 0.5)
        with Valkey("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server:
            with store_on(server.port) as store, pytest.raises(StoreUnreachable, match="cluster is down"):
                keep(store, [b"x"])

    def test_nobody_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("exclusive_xcom.redis.client.PATIENCE", 0.5)
        with Valkey() as server:
            port = server.port
        with store_on(port) as store:
            with pytest.raises(StoreUnreachable, match="does not answer"):
                keep(store, [b"x"])
            (check,) = store.probe()
            assert not check.ok and check.name == "server"

    @pytest.mark.slow
    def test_a_server_that_stands_still(self, server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("exclusive_xcom.redis.client.PATIENCE", 0.5)
        with store_on(server.port) as store:
            ref = keep(store, [b"x"])
            with server.frozen(), pytest.raises(StoreUnreachable):
                store.fetch(ref)
            assert bytes(store.fetch(ref)) == b"x"

    @pytest.mark.slow
    def test_something_else_listens_there(self, server: Valkey) -> None:
        with store_on(server.port, extra={"ssl": True}) as store:
            (check,) = store.probe()
            assert not check.ok
            assert "ssl" in check.detail


class TestTls:
    """An encrypted line, to a server whose certificate is checked."""

    def test_there_and_back(self, server: Valkey, tmp_path: Path) -> None:
        with behind_tls(server.port, tmp_path) as (port, certificate):
            trusts = {"ssl": True, "ssl_ca_certs": str(certificate)}
            with store_on(port, host="localhost", extra=trusts) as store:
                ref = keep(store, [LARGE])
                assert bytes(store.fetch(ref)) == LARGE
            with store_on(port, host="localhost", extra={"ssl": True}) as store:
                (check,) = store.probe()
                assert not check.ok
                assert "certificate" in check.detail
            with store_on(port, host="127.0.0.1", extra={**trusts, "ssl_check_hostname": True}) as store:
                (check,) = store.probe()
                assert not check.ok


# README, Redis: what the user needs.
ACL = (
    "~xcom/* +get +set +mget +del +unlink +exists +type +pttl +pexpire +eval +evalsha +scan +info +ping "
    "+hello +client|setinfo +select +hget +hset +time +wait +waitaof"
)
