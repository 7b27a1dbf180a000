"""What a task replaces itself goes from Redis, too, and nothing of another try."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from airflow_versions import push_own
from redis_servers import Airflow, Valkey, committed, running, store_on

from exclusive_xcom.address import Attempt
from exclusive_xcom.redis import RedisStore, RedisXComBackend

WHOSE = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisStore]:
    """On a server of its own."""
    with Valkey() as server, store_on(server.port) as store:
        monkeypatch.setenv("AIRFLOW__XCOM__CONN_ID", store.server.conn_id)
        monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom", RedisXComBackend)
        yield store


def push(attempt: Attempt, value: object, key: str = "key") -> None:
    """As a task does."""
    with running(attempt):
        push_own(RedisXComBackend, key, value, **WHOSE)


def test_of_a_key_that_is_pushed_over_and_over_one_payload_is_left(store: RedisStore) -> None:
    with Airflow() as airflow:
        first = airflow.begin(1)
        for number in range(4):
            push(first, b"x" * 2**20 + b"%d" % number)
            push(first, number, "other")
        assert sorted(committed(store).values()) == [len(b"3"), 2**20 + 1]
        push(airflow.begin(2, replaces=first), b"newer")
        assert sorted(committed(store).values()) == [len(b"3"), len(b"newer"), 2**20 + 1]
