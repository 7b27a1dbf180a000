"""Whole tasks under Airflow's own `dag.test()`, with the backend of this project's configuration."""

from __future__ import annotations

import asyncio
import math
import shutil
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from airflow.sdk import dag, get_current_context, task
from airflow_versions import asks_first

from exclusive_xcom import Handle, errors, lazy
from exclusive_xcom import attempt as attempts

pytestmark = pytest.mark.usefixtures("airflow")

FRAME = pd.DataFrame({"number": range(100)})
seen: dict[str, Any] = {}


def ti() -> Any:
    """The running task instance."""
    return get_current_context()["ti"]


@dag(schedule=None)
def handed_over() -> None:
    """Every way in which tasks hand something over."""

    @task(retries=1, retry_delay=timedelta(0))
    def pushes_and_fails_once() -> Any:
        number = ti().try_number
        seen[f"try {number}"] = (attempts.current(), number, str(ti().id))
        ti().xcom_push("of every try", ("try", number))
        if number == 1:
            ti().xcom_push("of the first try", ("try", number))
            raise RuntimeError("as intended")
        return ("try", number)

    @task
    def pulls_what_is_left() -> None:
        for key in ("of every try", "of the first try", "return_value"):
            seen[key] = ti().xcom_pull(task_ids="pushes_and_fails_once", key=key)

    @task
    def asks_for_an_old_try() -> None:
        try:
            attempts.confirm(attempts.Attempt(1, str(uuid.uuid4())))
        except errors.Superseded as error:
            seen["refusal"] = error

    @task
    def returns_lazy() -> Any:
        return lazy(FRAME)

    @task
    def takes_a_handle(frame: Handle) -> None:
        seen["handle"] = (type(frame), frame.load())

    @task(multiple_outputs=True)
    def returns_several() -> dict[str, Any]:
        return {"frame": lazy(FRAME), "rows": 100, "pair": (1, 2)}

    @task
    def takes_several(frame: Handle, rows: int, pair: tuple[int, int]) -> None:
        seen["several"] = (frame.load(), rows, pair)

    @task
    def doubles(number: int) -> Any:
        return (number, 2 * number)

    @task
    def takes_all(pairs: Any) -> None:
        seen["mapped"] = list(pairs)
        seen["mapped, pulled"] = ti().xcom_pull(task_ids="doubles")

    @task
    def returns_all(pairs: Any) -> Any:
        return pairs

    @task
    def takes_them(pairs: Any) -> None:
        seen["mapped, handed on"] = pairs

    @task
    async def pushes_from_coroutines() -> None:
        await asyncio.gather(*(ti().axcom_push(f"number {n}", ("number", n)) for n in range(10)))

    @task
    def pulls_what_coroutines_pushed() -> None:
        keys = [f"number {n}" for n in range(10)]
        seen["coroutines"] = [ti().xcom_pull(task_ids="pushes_from_coroutines", key=key) for key in keys]

    @task
    def returns_a_file() -> Path:
        seen["file"].write_text("content")
        return seen["file"]

    @task
    def takes_a_file(path: Path) -> None:
        seen["pulled file"] = (path, path.read_text())

    @task
    def returns_what_airflow_cannot_show() -> Any:
        return {"value": math.nan, "number": 2**70, "text": "\ud800"}

    @task
    def takes_what_airflow_cannot_show(value: Any) -> None:
        seen["odd"] = repr(value)

    takes_what_airflow_cannot_show(returns_what_airflow_cannot_show())
    pushes_and_fails_once() >> pulls_what_is_left() >> asks_for_an_old_try()
    takes_a_handle(returns_lazy())
    several = returns_several()
    takes_several(several["frame"], several["rows"], several["pair"])
    doubled = doubles.expand(number=[1, 2, 3])
    takes_all(doubled)
    takes_them(returns_all(doubled))
    pushes_from_coroutines() >> pulls_what_coroutines_pushed()
    takes_a_file(returns_a_file())


DAG = handed_over()


@pytest.fixture(scope="module", autouse=True)
def run(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> None:
    """Run it once; the tests look at what its tasks have seen."""
    seen["file"] = tmp_path_factory.mktemp("written") / "report.txt"
    shutil.copy(__file__, bundle / "handed_over.py")
    found = DAG.test()
    states = {task.task_id: task.state for task in found.get_task_instances()}
    assert set(states.values()) == {"success"}, states


def test_each_try_is_known() -> None:
    for number in (1, 2):
        attempt, try_number, ti_id = seen[f"try {number}"]
        assert (attempt.try_number, attempt.ti_id) == (try_number, ti_id) == (number, attempt.ti_id)
    assert seen["try 1"][0].ti_id != seen["try 2"][0].ti_id
    assert attempts.current() == attempts.NOBODY


def test_nothing_of_a_failed_try_is_left() -> None:
    assert seen["of every try"] == seen["return_value"] == ("try", 2)
    assert seen["of the first try"] is None


@asks_first
def test_an_old_try_is_refused() -> None:
    assert isinstance(seen["refusal"], errors.Superseded)


def test_a_lazy_value_is_loaded_by_its_consumer() -> None:
    kind, frame = seen["handle"]
    assert kind is Handle
    pd.testing.assert_frame_equal(frame, FRAME)


def test_several_values_at_once() -> None:
    frame, rows, pair = seen["several"]
    pd.testing.assert_frame_equal(frame, FRAME)
    assert (rows, pair) == (100, (1, 2))


def test_arguments_that_airflow_cannot_show() -> None:
    """No DagBag has made this DAG."""
    assert seen["odd"] == repr({"value": math.nan, "number": 2**70, "text": "\ud800"})


def test_mapped_tasks() -> None:
    assert seen["mapped"] == seen["mapped, pulled"] == [(1, 2), (2, 4), (3, 6)]


def test_the_results_of_a_mapped_task_handed_on_as_a_whole() -> None:
    """Airflow gives a task a sequence that asks for each: it comes back as the list of them."""
    assert seen["mapped, handed on"] == [(1, 2), (2, 4), (3, 6)]
    assert type(seen["mapped, handed on"]) is list


def test_coroutines() -> None:
    assert seen["coroutines"] == [("number", n) for n in range(10)]


def test_a_pulled_file_is_gone_when_its_task_is_done() -> None:
    path, content = seen["pulled file"]
    assert content == "content"
    assert path.name == "report.txt"
    assert path != seen["file"]
    assert not path.exists()
    assert seen["file"].exists()
