"""The store contract, claims and leases on the Redis that config/airflow.env and the environment name."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest
from redis.exceptions import LockNotOwnedError
from exclusive_xcom.testing.store_contract import ADDRESS, StoreContract, attempt, keep

from exclusive_xcom.errors import LeaseTimeout, StaleXCom
from exclusive_xcom.locks import exclusive
from exclusive_xcom.redis import RedisStore, RedisXComBackend


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisStore]:
    """A prefix of its own on Valkey, or on what AIRFLOW_CONN_XCOM_REDIS names; empty again afterwards."""
    prefix = f"contract-{uuid.uuid4()}"
    monkeypatch.setenv("AIRFLOW__XCOM__PREFIX", prefix)
    store = RedisXComBackend.store()
    yield store
    for name in store.server.client.scan_iter(match=f"{prefix}/*", count=1000):
        store.server.client.unlink(name)


class TestServer(StoreContract):
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
    """`exclusive` for task authors."""

    def test_one_holder_at_a_time_and_each_with_a_greater_number(self, store: RedisStore) -> None:
        with exclusive("report") as first:
            first.check()
            with pytest.raises(LeaseTimeout, match=f"process {os.getpid()}"), exclusive("report", wait=0):
                pass
        with exclusive("report", wait=0) as second:
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
