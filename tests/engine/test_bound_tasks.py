"""Whole tasks that pull in every way there is, from rows as they were pushed and from rows that were moved.

As test_tasks.py, this is run by test_backends.py with each backend.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, dag, get_current_context, task, task_group

from exclusive_xcom import errors

pytestmark = pytest.mark.usefixtures("airflow")

seen: dict[str, Any] = {}


def ti() -> Any:
    """The running task instance."""
    return get_current_context()["ti"]


def xcom() -> Any:
    """The backend that Airflow is told of."""
    from airflow.sdk.execution_time.xcom import XCom

    return XCom


def result_of(act: Callable[[], Any]) -> Any:
    """What it gives, or the error that it raises."""
    try:
        return act()
    except errors.XComError as error:
        return error


# -- every way of pulling ---------------------------------------------------------------------------


@dag(schedule=None)
def pulls_in_every_way() -> None:
    """Nothing here was moved, so nothing may be refused."""

    @task
    def single() -> Any:
        return ("single", ti().run_id)

    @task
    def mapped(number: int) -> Any:
        return (number, 10 * number) if number != 2 else None  # pushes nothing

    @task
    def more_than_plain(number: int) -> Any:
        return number if number == 1 else (number,)

    @task
    def reduces(pairs: Any, mixed: Any, mapped: Any, zipped: Any, joined: Any) -> None:
        seen["reduced"] = [*pairs]
        seen["parts"] = (len(pairs), pairs[0], pairs[-1], pairs[1:], pairs[::-1], pairs[-2:])
        seen["mixed"] = [*mixed]
        seen["map, zip, concat"] = ([*mapped], [*zipped], [*joined])

    @task
    def for_each(pair: Any) -> None:
        seen.setdefault("for each", []).append(pair)

    @task
    def keyed(one: Any, two: Any) -> Any:
        return (one, two)

    @task_group
    def group(number: int) -> Any:
        @task
        def first(number: int) -> Any:
            return ("first", number)

        @task
        def second(pair: Any) -> Any:
            return (*pair, "second")

        return second(first(number))

    @task
    def after_the_group(found: Any) -> None:
        seen["group"] = [*found]

    @task
    def pulls() -> None:
        pull = ti().xcom_pull
        seen["tasks"] = pull(task_ids=["single", "mapped"])
        seen["indexes"] = pull(task_ids="mapped", map_indexes=[2, 0])
        seen["range"] = pull(task_ids=["mapped"], map_indexes=range(2))
        seen["one"] = (pull(task_ids="single"), pull(task_ids="single", map_indexes=None))
        seen["prior"] = pull(task_ids="single", include_prior_dates=True, map_indexes=-1)
        seen["all prior"] = pull(task_ids=["single", "mapped"], include_prior_dates=True)

    @task
    async def pulls_from_a_coroutine() -> None:
        pull = ti().axcom_pull
        seen["coroutine"] = (await pull(task_ids="single"), await pull(task_ids="mapped", map_indexes=[0]))
        seen["coroutine, prior"] = await pull(task_ids="mapped", include_prior_dates=True)

    @task
    def writes_anothers() -> None:
        whose = {"dag_id": ti().dag_id, "run_id": ti().run_id, "task_id": "single"}
        xcom().set("noted", ("by", "another"), **whose, map_index=-1)
        xcom().set("gone", ("by", "another"), **whose, map_index=-1)
        xcom().delete("gone", **whose)

    @task
    def reads_what_another_wrote() -> None:
        pull = ti().xcom_pull
        seen["another's"] = [pull(task_ids="single", key=key, map_indexes=-1) for key in ("noted", "gone")]

    one = single()
    pairs = mapped.expand(number=[1, 2, 3, 4])
    mixed = more_than_plain.expand(number=[0, 1, 2])
    last = pairs.map(lambda pair: pair[-1])
    reduces(pairs, mixed, last, pairs.zip(mixed), pairs.concat(mixed)) >> pulls() >> pulls_from_a_coroutine()
    for_each.expand(pair=pairs)
    keyed.partial(one=one).expand(two=mixed)
    after_the_group(group.expand(number=[5, 6]))
    one >> writes_anothers() >> reads_what_another_wrote()


# -- rows that were moved ---------------------------------------------------------------------------


@dag(schedule=None)
def has_a_secret() -> None:
    """Whose payload nobody else may get or delete by editing rows."""

    @task
    def secret() -> Any:
        return ("secret",)

    secret()


@dag(schedule=None)
def is_robbed() -> None:
    """Its rows are replaced by copies of others while it runs, as who may edit XComs can do."""

    @task
    def mapped(number: int) -> Any:
        return ("mapped", number)

    @task
    def single() -> Any:
        return ("single",)

    @task
    def forge() -> None:
        theirs = row_of("has_a_secret", seen["secret run"], "secret")
        put_row("is_robbed", ti().run_id, "mapped", theirs, map_index=1)
        put_row("is_robbed", ti().run_id, "single", theirs)

    @task(trigger_rule="all_done")
    def reduces(pairs: Any) -> None:
        seen["stolen"] = {
            "item": result_of(lambda: pairs[1]),
            "last item": result_of(lambda: pairs[-2]),
            "slice": result_of(lambda: pairs[0:2]),
            "iterated": result_of(lambda: list(pairs)),
            "another item": result_of(lambda: pairs[0]),
        }

    @task
    def for_each(pair: Any) -> None:
        seen.setdefault("stolen for each", []).append(pair)

    @task
    def pulls() -> None:
        pull = ti().xcom_pull
        seen["stolen"] |= {
            "all": result_of(lambda: pull(task_ids="mapped")),
            "one": result_of(lambda: pull(task_ids="mapped", map_indexes=1)),
            "single": result_of(lambda: pull(task_ids="single")),
            "prior": result_of(lambda: pull(task_ids="single", include_prior_dates=True)),
            "bare": result_of(lambda: xcom().deserialize_value(bare("is_robbed", "single"))),
        }

    @task
    async def pulls_from_a_coroutine() -> None:
        pull = ti().axcom_pull
        for way, index in (("coroutine", {"map_indexes": 1}), ("coroutine, all", {})):
            try:
                seen["stolen"][way] = await pull(task_ids="mapped", **index)
            except errors.XComError as error:
                seen["stolen"][way] = error

    @task
    def deletes() -> None:
        for task_id, index in (("mapped", 1), ("single", -1)):
            whose = {"dag_id": ti().dag_id, "run_id": ti().run_id, "task_id": task_id}
            xcom().delete("return_value", **whose, map_index=index)

    @task
    def reads_the_secret() -> None:
        seen["secret"] = ti().xcom_pull(dag_id="has_a_secret", run_id=seen["secret run"], task_ids="secret")

    pairs = mapped.expand(number=[0, 1, 2])
    forged = forge()
    [pairs, single()] >> forged
    reduced = reduces(pairs)
    each = for_each.expand(pair=pairs)
    forged >> [reduced, each]
    reduced >> pulls() >> pulls_from_a_coroutine() >> deletes() >> reads_the_secret()


def row_of(dag_id: str, run_id: str, task_id: str) -> Any:
    """What Airflow's database has."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    whose = (XComModel.dag_id == dag_id, XComModel.run_id == run_id, XComModel.task_id == task_id)
    with create_session() as session:
        return session.scalar(select(XComModel.value).where(*whose))


def put_row(dag_id: str, run_id: str, task_id: str, value: Any, map_index: int = -1) -> None:
    """Edit a row, as the UI and REST do."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        XComModel.set(
            key="return_value",
            value=value,
            dag_id=dag_id,
            run_id=run_id,
            task_id=task_id,
            map_index=map_index,
            serialize=False,
            session=session,
        )


def bare(dag_id: str, task_id: str) -> Any:
    """A row in the hands of a task that did not ask for it by pulling."""
    return SimpleNamespace(value=row_of(dag_id, ti().run_id, task_id))


# -- runs -------------------------------------------------------------------------------------------

PULLS, SECRET, ROBBED = pulls_in_every_way(), has_a_secret(), is_robbed()


@pytest.fixture(scope="module")
def run(bundle: Path) -> Callable[[DAG], dict[str, str]]:
    """Runs a DAG once: the states of its tasks, by id and map index."""
    shutil.copy(__file__, bundle / "bound.py")

    def once(dag: DAG) -> dict[str, str]:
        before = dict(os.environ)
        done = dag.test()
        os.environ.clear()
        os.environ.update(before)
        seen["run"] = done.run_id
        return {f"{found.task_id}[{found.map_index}]": found.state for found in done.get_task_instances()}

    return once


def test_every_way_of_pulling(run: Callable[[DAG], dict[str, str]]) -> None:
    for turn in (1, 2):
        seen.clear()
        states = run(PULLS)
        assert set(states.values()) == {"success"}, states
        pairs, mixed = [(1, 10), (3, 30), (4, 40)], [(0,), 1, (2,)]
        single = ("single", seen["run"])
        assert seen["reduced"] == pairs
        *parts, backwards, end = seen["parts"]
        assert parts == [3, pairs[0], pairs[-1], pairs[1:]]
        assert (sorted(backwards), sorted(end)) == (pairs, pairs[1:])  # Airflow's own order varies
        assert seen["mixed"] == mixed
        assert seen["map, zip, concat"] == ([10, 30, 40], [*zip(pairs, mixed, strict=True)], pairs + mixed)
        assert sorted(seen["for each"]) == pairs
        assert seen["group"] == [("first", 5, "second"), ("first", 6, "second")]
        assert seen["tasks"] == [single, *pairs]
        assert (seen["indexes"], seen["range"]) == ([(3, 30), (1, 10)], [(1, 10), None])
        assert seen["one"] == (single, single)
        assert seen["prior"] == single
        assert len(seen["all prior"]) == 4 * turn
        assert seen["coroutine"] == (single, [(1, 10)])
        assert len(seen["coroutine, prior"]) == 3 * turn
        assert seen["another's"] == [("by", "another"), None]


def test_rows_that_were_moved(run: Callable[[DAG], dict[str, str]], caplog: pytest.LogCaptureFixture) -> None:
    seen.clear()
    run(SECRET)
    seen["secret run"] = seen["run"]
    states = run(ROBBED)
    failed = {task for task, state in states.items() if state != "success"}
    assert failed == {"for_each[1]"}, states
    assert sorted(seen["stolen for each"]) == [("mapped", 0), ("mapped", 2)]
    assert seen["stolen"].pop("another item") == ("mapped", 0)
    assert {way: type(found) for way, found in seen["stolen"].items()} == dict.fromkeys(
        seen["stolen"], errors.MisplacedReference
    )
    assert len(seen["stolen"]) == 11
    assert str(seen["stolen"]["one"]).startswith(
        "The row does not belong to this XCom: it refers to 'return_value' of has_a_secret.secret, run "
        f"{seen['secret run']} (XCom 'return_value' of is_robbed.mapped[1], run {seen['run']}). It was moved,"
    )
    assert caplog.text.count("The payload of a deleted XCom was left behind: The row does not belong") == 2
    assert seen["secret"] == ("secret",)
