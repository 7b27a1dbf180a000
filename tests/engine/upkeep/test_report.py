"""What a collection counts for the page in Airflow's UI, and that it has room in a Variable."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from upkeep_model import GRACE, ModelAirflow, ModelStore, row_of

from exclusive_xcom.address import Address
from exclusive_xcom.keeping import Rules, parsed
from exclusive_xcom.ui import overview
from exclusive_xcom.upkeep import collect, housekeeping, marker
from exclusive_xcom.upkeep.inventory import Item, Kind
from exclusive_xcom.upkeep.judge import Why
from exclusive_xcom.upkeep.manifest import Manifest
from exclusive_xcom.upkeep.report import DAYS, Report

AT = Address("orders", "run 1", "extract", 2, "größe")
DAY = 86400
NOW = 400 * DAY + 100.0
RULES = parsed({"default": "never", "rule": [{"dag": "orders", "keep": "10d"}]}, "rules.toml")


def item(size: int, written: float = NOW, of: Address | None = AT, kind: Kind = Kind.PAYLOAD) -> Item:
    """A payload."""
    return Item(f"name-{size}-{written}", size, written, of, "t", "m", kind)


def told(*items: Item, why: str = Why.LIVE, rules: Rules = RULES) -> dict[str, Any]:
    """What is reported of them; the page can read it."""
    made = Report("s3://bucket/xcom", NOW, rules)
    for each in items:
        made.add(each, why)
    text = made.text()
    msgspec.json.decode(text, type=overview.Report)
    found: dict[str, Any] = json.loads(text)
    return found


def test_by_dag_and_day() -> None:
    other = replace(AT, dag_id="other")
    found = told(item(1), item(2, NOW - DAY), item(4, NOW - 100 * DAY), item(8, of=other))
    orders = found["dags"]["orders"]
    assert list(found["dags"]) == ["other", "orders"], "the largest first"
    assert (orders["payloads"], orders["bytes"], len(orders["days"])) == (3, 7, DAYS)
    assert orders["days"][-2:] == [2, 1] and sum(orders["days"]) == 3
    assert found["made"] == "1971-02-05T00:01:40+00:00" and found["store"] == "s3://bucket/xcom"


def test_the_largest_and_what_goes_soon_by_the_rules() -> None:
    found = told(*(item(size, NOW - size * DAY) for size in range(1, 12)))["dags"]["orders"]
    assert [each["bytes"] for each in found["largest"]] == [11, 10, 9]
    assert found["going"] == [8, sum(range(3, 11))] and [each["bytes"] for each in found["soon"]] == [
        10,
        9,
        8,
    ]
    place = {"run": "run 1", "task": "extract", "index": 2, "key": "größe"}
    assert found["soon"][0].items() >= {**place, "goes": "1971-02-05T00:01:40+00:00"}.items()
    assert told(item(1), rules=parsed({"default": "run"}, "x"))["dags"]["orders"]["soon"] == []


def test_what_is_garbage_or_no_payload_is_not_among_them() -> None:
    assert told(item(5), why=Why.RUN_GONE)["garbage"] == [1, 5]
    assert told(item(5), why=Why.RUN_GONE)["dags"] == {}
    for odd in (item(5, of=None), item(5, kind=Kind.CLAIM), item(5, kind=Kind.UPLOAD)):
        assert told(odd)["dags"] == {}


def test_it_has_room_in_a_variable() -> None:
    names = [f"dag-{number:04d}-{'ä' * 200}" for number in range(500)]
    made = Report("file:///x", NOW, RULES)
    for size, name in enumerate(names):
        for _ in range(3):
            made.add(item(size, NOW - 5 * DAY, replace(AT, dag_id=name, run_id="r" * 200)), Why.LIVE)
    found = json.loads(text := made.text())
    assert len(text.encode()) <= 45_000 and names[-1] in found["dags"] and found["more_dags"] > 400
    assert len(found["dags"]) + found["more_dags"] == 500


def test_a_collection_tells_each_payload(tmp_path: Any) -> None:
    store, airflow = ModelStore(), ModelAirflow()
    marker.adopt(store, airflow)
    airflow.runs["orders", "run 1"] = "success"
    kept = store.put(AT, "t")
    airflow.rows[AT] = row_of(AT, "t", kept)
    store.put(replace(AT, run_id="gone"), "t")
    store.time = 2 * GRACE
    seen: list[tuple[Any, str]] = []
    look = collect.Collection(store, airflow, GRACE, seen=lambda item, why: seen.append((item.name, why)))
    with Manifest(tmp_path / "garbage") as manifest:
        look.look(manifest)
    assert [why for _, why in sorted(seen, key=lambda pair: pair[1])] == [Why.LIVE, Why.RUN_GONE]


def test_who_can_t_set_a_variable_goes_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Outside of a task nobody can."""
    with caplog.at_level(logging.WARNING):
        housekeeping._publish(Report("s3://bucket/xcom", NOW, RULES))
    assert "could not be kept" in caplog.text
