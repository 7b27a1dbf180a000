"""Some columns of a large frame: from parquet only their bytes are fetched, and damage to them is noticed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from faulty import Fault, FaultyProxy, faulty
from s3_servers import configured, lengths

from exclusive_xcom import Handle, lazy
from exclusive_xcom.binding import Question, deleting
from exclusive_xcom.errors import PayloadError, PayloadMissing
from exclusive_xcom.s3 import S3Store, S3XComBackend

FRAME = pd.DataFrame(np.random.default_rng(1).random((200_000, 10))).add_prefix("c")
COLUMNS = ["c7", "c2"]


class Row:
    """As Airflow hands it over."""

    def __init__(self, value: Any) -> None:
        self.value = value


def handed_over(value: Any) -> Handle:
    """What the consumer of `lazy(value)` gets."""
    row = S3XComBackend.serialize_value(
        lazy(value), key="return_value", dag_id="d", run_id="r", task_id="t", map_index=-1
    )
    handle = S3XComBackend.deserialize_value(Row(json.loads(json.dumps(row))))
    assert isinstance(handle, Handle)
    return handle


@pytest.fixture
def proxy(moto: str) -> Iterator[FaultyProxy]:
    """A proxy before moto."""
    with faulty(moto) as proxy:
        yield proxy


@pytest.fixture
def parquet(proxy: FaultyProxy) -> Iterator[S3Store]:
    """The backend with parquet, behind the proxy."""
    with configured(proxy.url, frame_format="parquet") as store:
        yield store


def fetched(proxy: FaultyProxy, load: Callable[[], Any]) -> tuple[Any, int, int]:
    """What a load gives, the bytes that it fetched, and in how many requests."""
    proxy.seen.clear()
    found = load()
    return found, sum(seen.replied for seen in proxy.seen), len(proxy.seen)


def test_only_the_bytes_of_the_columns_are_fetched(proxy: FaultyProxy, parquet: S3Store) -> None:
    handle = handed_over(FRAME)
    _, nothing, requests = fetched(proxy, lambda: str(handle))
    assert (nothing, requests) == (0, 0)
    whole, everything, requests = fetched(proxy, handle.load)
    assert requests == 1
    assert everything == handle.length
    pd.testing.assert_frame_equal(whole, FRAME)
    some, part, requests = fetched(proxy, lambda: handle.load(columns=COLUMNS))
    pd.testing.assert_frame_equal(some, FRAME[COLUMNS])
    assert part < everything * 0.3
    assert requests <= 12


class Nth(Fault):
    """For the n-th request from now on, whatever it is."""

    passed = 0

    def matches(self, method: str, path: str) -> bool:
        """Whether it is the one."""
        self.passed += 1
        return self.passed == self.times + 1


def test_a_flipped_bit_is_noticed_wherever_it_is(proxy: FaultyProxy, parquet: S3Store) -> None:
    """The digest of the whole can't tell when a part is read: those of its column chunks do."""
    handle = handed_over(FRAME)
    _, _, requests = fetched(proxy, lambda: handle.load(columns=COLUMNS))
    for number in range(requests):
        proxy.faults = [Nth("flip", times=number)]
        with pytest.raises(PayloadError):
            handle.load(columns=COLUMNS)
    proxy.faults = []
    pd.testing.assert_frame_equal(handle.load(columns=COLUMNS), FRAME[COLUMNS])


def test_a_server_without_ranges_gives_the_columns_too(rclone: str) -> None:
    with faulty(rclone) as proxy, configured(proxy.url, frame_format="parquet"):
        handle = handed_over(FRAME)
        for _ in range(2):
            some, _, requests = fetched(proxy, lambda: handle.load(columns=COLUMNS))
            pd.testing.assert_frame_equal(some, FRAME[COLUMNS])
            assert requests <= 2


def test_arrow_is_read_whole(proxy: FaultyProxy) -> None:
    with configured(proxy.url, frame_format="arrow"):
        handle = handed_over(FRAME)
        some, _, requests = fetched(proxy, lambda: handle.load(columns=COLUMNS))
        pd.testing.assert_frame_equal(some, FRAME[COLUMNS])
        assert requests == 1


def test_columns_of_what_is_gone(parquet: S3Store) -> None:
    handle = handed_over(FRAME)
    assert list(lengths()) == [handle.uri]
    with deleting(Question(handle._reference.address)):
        S3XComBackend.purge(Row(handle._reference.row()))
    with pytest.raises(PayloadMissing):
        handle.load(columns=COLUMNS)
    with pytest.raises(PayloadMissing):
        handle.load()
