"""What a task that collects hands over, in a model of store and Airflow. A drill has a real one do it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
from upkeep_model import GRACE, ModelAirflow, ModelStore, row_of

from exclusive_xcom.address import Address
from exclusive_xcom.upkeep import housekeeping, marker
from exclusive_xcom.upkeep.collect import TooManyGone
from exclusive_xcom.upkeep.judge import Why

AT = Address("orders", "run 1", "extract")


class Versioned(ModelStore):
    """Has something to say besides."""

    def remarks(self) -> list[str]:
        return ["The bucket keeps versions."]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> tuple[ModelStore, ModelAirflow]:
    """A store with a payload that has a row and two that have none."""
    store, airflow = Versioned(), ModelAirflow()
    marker.adopt(store, airflow)
    airflow.runs["orders", "run 1"] = "success"
    kept, _, _ = store.put(AT, "t"), store.put(AT, "t"), store.put(replace(AT, run_id="gone"), "t")
    airflow.rows[AT] = row_of(AT, "t", kept)
    store.time = 2 * GRACE
    monkeypatch.setenv("AIRFLOW__XCOM__GRACE", str(int(GRACE)))
    monkeypatch.setattr(housekeeping, "current_inventory", lambda: store)
    monkeypatch.setattr(housekeeping.Airflow, "configured", lambda pace: airflow)
    return store, airflow


def row(why: Why, what: str) -> dict[str, Any]:
    """One of the report, for one payload."""
    return {
        "found": str(why),
        "payloads": 1,
        "bytes": 1,
        "oldest": "1970-01-01T00:00:00+00:00",
        "what": what,
    }


def test_it_looks_and_deletes(
    world: tuple[ModelStore, ModelAirflow], caplog: pytest.LogCaptureFixture
) -> None:
    store, _ = world
    with caplog.at_level(logging.WARNING):
        report = housekeeping.tidy(rate=10_000)
    assert sorted(report, key=lambda each: each["found"]) == [
        row(Why.LIVE, "kept"),
        row(Why.REPLACED, "deleted"),
        row(Why.RUN_GONE, "deleted"),
    ]
    assert len(store.objects) == 1 and "The bucket keeps versions." in caplog.text
    assert housekeeping.tidy(rate=10_000) == [row(Why.LIVE, "kept")]


def test_it_only_looks(world: tuple[ModelStore, ModelAirflow]) -> None:
    store, _ = world
    whats = {each["what"] for each in housekeeping.tidy(delete=False, rate=10_000)}
    assert whats == {"kept", "garbage"} and len(store.objects) == 3


def test_what_has_a_row_by_then_is_kept(
    world: tuple[ModelStore, ModelAirflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, airflow = world
    look = housekeeping.Collection.look

    def then_it_comes_back(self: Any, manifest: Any) -> Any:
        found = look(self, manifest)
        airflow.runs["orders", "gone"] = "running"
        return found

    monkeypatch.setattr(housekeeping.Collection, "look", then_it_comes_back)
    assert row(Why.UNFINISHED, "kept") in housekeeping.tidy(rate=10_000)
    assert len(store.objects) == 2


def test_too_many_runs_that_are_gone_end_it(world: tuple[ModelStore, ModelAirflow]) -> None:
    store, _ = world
    store.time = 0.0
    for number in range(30):
        store.put(replace(AT, run_id=f"gone {number}"), "t")
    store.time = 2 * GRACE
    with pytest.raises(TooManyGone):
        housekeeping.tidy(rate=10_000)
    assert not store.deleted
    housekeeping.tidy(most_gone=1.0, rate=10_000)
    assert len(store.objects) == 1
