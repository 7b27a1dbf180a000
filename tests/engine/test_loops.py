"""A loop of Airflow's (AIP-111), each turn of which pushes under the same names.

As test_tasks.py, this is run by test_backends.py with each backend.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import dag, get_current_context, task, task_group
from airflow_versions import ROWS_PER_TRY

from exclusive_xcom import Handle, lazy
from exclusive_xcom.reference import is_reference, parse

if not ROWS_PER_TRY:
    pytest.skip("Airflow 3.3 has no loops", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("airflow")

TURNS = 3
seen: dict[str, Any] = {}


def ti() -> Any:
    """The running task instance."""
    return get_current_context()["ti"]


@dag(schedule=None)
def goes_round() -> None:
    """Turns that hand over to each other, and to who is outside."""

    @task_group
    def loop_of_tasks() -> None:
        @task
        def begins(*, loop: Any) -> Any:
            seen.setdefault("previous", []).append(loop.previous)
            ti().xcom_push("noted", {loop.index: "noted"})
            ti().xcom_push("twice", ("first", loop.index))
            ti().xcom_push("twice", ("second", loop.index))
            return lazy((b"turn", loop.index))

        @task
        async def in_a_coroutine(handle: Handle, *, loop: Any) -> Any:
            await asyncio.gather(*(ti().axcom_push(f"gathered {n}", (n, loop.index)) for n in range(3)))
            seen.setdefault("lazy", []).append(handle.load())
            own = [ti().xcom_pull(task_ids=ti().task_id, key=f"gathered {n}") for n in range(3)]
            seen.setdefault("gathered", []).append(own)
            keys = ("noted", "twice")
            before = {key: ti().xcom_pull(task_ids="loop_of_tasks.begins", key=key) for key in keys}
            seen.setdefault("same turn", []).append(before)
            return [(loop.index, n) for n in range(2)]

        @task
        def for_each(pair: Any, *, loop: Any) -> Any:
            return (pair, ti().map_index, loop.index)

        @task
        def ends(found: Any, *, loop: Any) -> Any:
            return (loop.index, *found)

        ends(for_each.expand(pair=in_a_coroutine(begins())))

    @task
    def from_outside() -> None:
        for name in ("begins", "for_each", "ends"):
            found = ti().xcom_pull(task_ids=f"loop_of_tasks.{name}")
            seen[name] = [one.load() if isinstance(one, Handle) else one for one in found]
        seen["a part"] = ti().xcom_pull(task_ids="loop_of_tasks.ends")[1:]

    loop_of_tasks.loop(max_iterations=TURNS) >> from_outside()


GOES_ROUND = goes_round()


@pytest.fixture(scope="module")
def rows(bundle: Path) -> list[Any]:
    """The rows that a run leaves."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    shutil.copy(__file__, bundle / "goes_round.py")
    done = GOES_ROUND.test()
    assert {str(one.state) for one in done.get_task_instances()} == {"success"}
    with create_session() as session:
        return list(session.scalars(select(XComModel.value).where(XComModel.dag_id == "goes_round")))


def of_turn(index: int) -> Any:
    """What the loop's last task gives back."""
    return (index, *(((index, n), n, index) for n in range(2)))


def test_a_turn_gets_what_the_one_before_gave_back(rows: list[Any]) -> None:
    assert seen["previous"] == [None, *map(of_turn, range(TURNS - 1))]


def test_a_turn_gets_what_was_pushed_in_it(rows: list[Any]) -> None:
    turns = range(TURNS)
    assert seen["lazy"] == [(b"turn", turn) for turn in turns]
    assert seen["gathered"] == [[(n, turn) for n in range(3)] for turn in turns]
    assert seen["same turn"] == [{"noted": {turn: "noted"}, "twice": ("second", turn)} for turn in turns]


def test_from_outside_there_are_those_of_all_turns(rows: list[Any]) -> None:
    assert seen["begins"] == [(b"turn", turn) for turn in range(TURNS)]
    assert seen["for_each"] == [((turn, n), n, turn) for turn in range(TURNS) for n in range(2)]
    assert seen["ends"] == [of_turn(turn) for turn in range(TURNS)]
    assert seen["a part"] == [of_turn(1), of_turn(2)]


def test_no_turn_shares_a_payload_with_another(rows: list[Any]) -> None:
    refs = [parse(row) for row in rows if is_reference(row)]
    assert len(refs) >= 8 * TURNS
    uris = [ref.uri for ref in refs if ref.uri]
    assert len(set(uris)) == len(uris)
    assert len({(ref.attempt.ti_id, ref.address.key) for ref in refs}) == len(refs)


def test_a_row_tells_its_turn(rows: list[Any]) -> None:
    found = [parse(row).address for row in rows if is_reference(row)]
    turns = {(one.turn, one.region) for one in found if one.task_id == "loop_of_tasks.ends"}
    assert {turn for turn, _ in turns} == set(range(TURNS)) and len({region for _, region in turns}) == 1
    assert "turn 1" in str(next(one for one in found if one.turn == 0))
    mapped = [one for one in found if one.task_id == "loop_of_tasks.for_each"]
    assert {(one.map_index, one.turn) for one in mapped} == {(0, -1), (1, -1)}
    assert len({one.region for one in mapped}) == TURNS


def test_from_a_notebook_the_last_turn_is_found(rows: list[Any]) -> None:
    from exclusive_xcom.inspection import get
    from exclusive_xcom.upkeep.choosing import Selection
    from exclusive_xcom.upkeep.database_rows import DatabaseRows

    assert get("goes_round", "loop_of_tasks.ends") == of_turn(TURNS - 1)
    chosen = Selection("goes_round", "latest", "loop_of_tasks.ends", "return_value")
    ((_, listed),) = DatabaseRows().chosen(chosen)
    assert len(listed) == TURNS
