"""The store contract, claims and leases on the Redis that Airflow is told of, below a prefix."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest
from redis.exceptions import LockNotOwnedError
from redis_servers import RedisContract, Valkey, connection

from exclusive_xcom.errors import LeaseTimeout, StaleXCom
from exclusive_xcom.locks import lock
from exclusive_xcom.redis import RedisStore, RedisXComBackend
from exclusive_xcom.testing.store_contract import ADDRESS, attempt, keep


@pytest.fixture(scope="module")
def conn_id() -> Iterator[str]:
    """The connection to a server."""
    with Valkey() as server, connection(server.port) as conn_id:
        yield conn_id


@pytest.fixture
def store(conn_id: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisStore]:
    """The backend's own, below a prefix that is empty again afterwards."""
    prefix = f"contract-{uuid.uuid4()}"
    monkeypatch.setenv("AIRFLOW__XCOM__PREFIX", prefix)
    monkeypatch.setenv("AIRFLOW__XCOM__CONN_ID", conn_id)
    monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom", RedisXComBackend)
    store = RedisXComBackend.store()
    yield store
    for name in store.server.client.scan_iter(match=f"{prefix}/*", count=1000):
        store.server.client.unlink(name)


class TestServer(RedisContract):
    """What every store must do."""

    @pytest.fixture
    def store(self, store: RedisStore) -> RedisStore:
        return store


class TestClaim:
    """A task's XComs belong to one try of it."""

    def test_a_row_of_a_try_that_was_replaced_is_an_error_and_never_a_value(self, store: RedisStore) -> None:
        old = keep(store, [b"old"], writer=attempt(1))
        later = attempt(2)
        store.take_over(ADDRESS, later)
        with pytest.raises(StaleXCom, match="try 1"):
            store.fetch(old)
        new = keep(store, [b"new"], replace(ADDRESS, key="another"), later)
        assert bytes(store.fetch(new)) == b"new"


class TestLease:
    """`lock` for task authors."""

    def test_one_holder_at_a_time_and_each_with_a_greater_number(self, store: RedisStore) -> None:
        with lock("report") as first:
            first.check()
            with pytest.raises(LeaseTimeout, match=f"process {os.getpid()}"), lock("report", wait=0):
                pass
        with lock("report", wait=0) as second:
            assert second.fence > first.fence


class TestTheLineInArticles:
    """Why XComs are not simply written as `with r.lock(key): r.set(key, value)`."""

    def test_it_overwrites_its_own_lock(self, store: RedisStore) -> None:
        client, key = store.server.client, f"{os.environ['AIRFLOW__XCOM__PREFIX']}/my_key"
        with pytest.raises(LockNotOwnedError), client.lock(key, timeout=10):
            client.set(key, "my_value")  # redis-py keeps the lock at the key of that name
        # And the next one waits forever for a lock that nobody holds, and that does not expire.
        assert not client.lock(key, timeout=10).acquire(blocking_timeout=0.2)
        assert client.ttl(key) == -1
