"""Whole tasks that say how long a value is kept, in every way of handing it over.

As test_tasks.py, this is run by test_backends.py with each backend.
"""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.sdk import dag, get_current_context, task

from exclusive_xcom import Handle, keep, lazy
from exclusive_xcom.reference import Expiry, is_reference, parse

pytestmark = pytest.mark.usefixtures("airflow")

BACKEND = os.environ.get("XCOM_TEST_BACKEND", "db")
seen: dict[str, Any] = {}


def ti() -> Any:
    """The running task instance."""
    return get_current_context()["ti"]


@dag(schedule=None)
def kept() -> None:
    """Each value is for two hours, but where its task says something else."""

    @task
    def returns() -> Any:
        ti().xcom_push("pushed", keep(("pushed",), "2h"))
        ti().xcom_push("plain", 1)
        ti().xcom_push("ever", keep(("ever",), "never"))
        return keep(1, "2h")

    @task
    def takes(value: int) -> None:
        seen["returned"] = value
        for key in ("pushed", "plain", "ever"):
            seen[key] = ti().xcom_pull(task_ids="returns", key=key)

    @task
    def returns_lazy() -> Any:
        return keep(lazy([1, 2]), "2h")

    @task
    def takes_a_handle(value: Handle) -> None:
        seen["lazy"] = (type(value), value.load())

    @task(multiple_outputs=True)
    def returns_several() -> dict[str, Any]:
        return {"token": keep("abc", "2h"), "rows": lazy(keep([1], "3h")), "count": 3}

    @task
    def takes_several(token: str, rows: Handle, count: int) -> None:
        seen["several"] = (token, rows.load(), count)

    @task
    def maps(number: int) -> Any:
        return keep((number,), "2h")

    @task
    def takes_all(values: Any) -> None:
        seen["mapped"] = list(values)

    @task
    def takes_each(value: Any) -> None:
        seen.setdefault("each", []).append(value)

    takes(returns())
    takes_a_handle(returns_lazy())
    several = returns_several()
    takes_several(several["token"], several["rows"], several["count"])
    mapped = maps.expand(number=[1, 2, 3])
    takes_all(mapped)
    takes_each.expand(value=mapped)


DAG = kept()
ROWS: dict[tuple[str, str, int], Any] = {}


@pytest.fixture(scope="module", autouse=True)
def run(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> None:
    """Run it once; the tests look at what its tasks have seen, and at the rows."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    file = tmp_path_factory.mktemp("rules") / "retention.toml"
    file.write_text('default = "never"\n[[rule]]\nkey = "pla*"\nkeep = "1d"\n', encoding="utf-8")
    shutil.copy(__file__, bundle / "kept.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__XCOM__RETENTION", str(file))
        patch.setenv("AIRFLOW__XCOM__INLINE_LIMIT", "100")
        found = DAG.test()
    states = {task.task_id: task.state for task in found.get_task_instances()}
    assert set(states.values()) == {"success"}, states
    with create_session() as session:
        for row in session.scalars(select(XComModel).filter_by(dag_id="kept", run_id=found.run_id)):
            ROWS[row.task_id, row.key, row.map_index] = row.value


def end(task_id: str, key: str = "return_value", map_index: int = -1) -> Expiry | None:
    """What the row of an XCom says of its end."""
    return parse(ROWS[task_id, key, map_index]).expires


def hours(found: Expiry | None) -> float:
    """How long something is kept from now on, rounded."""
    assert found is not None and found.at is not None
    return round((found.at - datetime.now(UTC)) / timedelta(hours=1), 1)


def test_consumers_get_the_values_themselves() -> None:
    assert (seen["returned"], seen["pushed"], seen["plain"], seen["ever"]) == (1, ("pushed",), 1, ("ever",))
    assert seen["lazy"] == (Handle, [1, 2])
    assert seen["several"] == ("abc", [1], 3)
    assert seen["mapped"] == [(1,), (2,), (3,)]
    assert sorted(seen["each"]) == [(1,), (2,), (3,)]


def test_each_row_says_how_long() -> None:
    told = 'keep(value, "2h")'
    for whose in (("returns", "return_value"), ("returns", "pushed"), ("returns_lazy", "return_value")):
        assert hours(found := end(*whose)) == 2.0 and found is not None and found.rule == told
    assert [hours(end("maps", map_index=index)) for index in range(3)] == [2.0, 2.0, 2.0]
    assert end("returns", "ever") is None


def test_what_is_kept_by_a_rule_alone_may_stay_plain() -> None:
    assert ROWS["returns", "plain", -1] == 1
    assert not is_reference(ROWS["returns_several", "count", -1])


def test_values_of_a_dict_have_their_own_times_and_the_dict_the_shortest() -> None:
    assert hours(end("returns_several", "token")) == 2.0
    assert hours(end("returns_several", "rows")) == 3.0
    assert hours(found := end("returns_several")) == 2.0
    assert found is not None and found.rule == 'keep(value, "2h or 3h")'


@pytest.mark.skipif(BACKEND != "s3", reason="tags are a thing of object stores")
def test_objects_have_their_tag() -> None:
    from exclusive_xcom.s3.location import Location
    from exclusive_xcom.s3.login import boto_client

    location = Location.current()
    assert location is not None

    def tags(task_id: str, key: str) -> Any:
        name = urlsplit(parse(ROWS[task_id, key, -1]).uri or "").path[1:]
        return boto_client(location).get_object_tagging(Bucket=location.bucket, Key=name)["TagSet"]

    assert tags("returns", "pushed") == [{"Key": "keep", "Value": "1d"}]
    assert tags("returns", "ever") == []


@pytest.mark.skipif(BACKEND != "redis", reason="keys that end by themselves are a thing of Redis")
def test_keys_have_their_time() -> None:
    from exclusive_xcom.redis.client import Server
    from exclusive_xcom.redis.keys import keys_of

    client = Server(os.environ["AIRFLOW__XCOM__CONN_ID"]).client
    for key, least, most in (("pushed", 7000, 7201), ("ever", 10**9, 10**10)):
        ref = parse(ROWS["returns", key, -1])
        for name in keys_of(ref).chunks(ref.length):
            assert least <= client.ttl(name) <= most
