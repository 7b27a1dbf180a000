"""Redis as a store of payloads: the contract of all stores, and what only Redis does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from engine.xcom.redis import RedisStore
from redis_servers import any_server
from store_contract import StoreContract


@pytest.fixture(scope="module")
def conn_id() -> Iterator[str]:
    """A server for the tests that need none of their own."""
    with any_server() as conn_id:
        yield conn_id


class TestContract(StoreContract):
    """What every store must do."""

    @pytest.fixture
    def store(self, conn_id: str) -> Iterator[RedisStore]:
        store = RedisStore(conn_id)
        yield store
        for name in store.server.client.scan_iter(match="*"):
            store.server.client.delete(name)
