"""Whole tasks that read what they may and what they may not, in every way there is.

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
import structlog
from airflow.sdk import DAG, BaseOperator, dag, get_current_context, task, task_group

from exclusive_xcom import errors, exclusive, keep, lazy

pytestmark = pytest.mark.usefixtures("airflow")

seen: dict[str, Any] = {}


def ti() -> Any:
    """The running task instance."""
    return get_current_context()["ti"]


def result_of(act: Callable[[], Any]) -> Any:
    """What it gives, or the kind of error that it raises."""
    try:
        return act()
    except errors.XComError as error:
        seen.setdefault("texts", []).append(str(error))
        return kind(error)


def kind(error: Exception) -> Any:
    """Its class in `errors`."""
    return getattr(errors, type(error).__name__)


def told(name: str) -> Callable[[Any], None]:
    """A callback that pulls what `first` and `aside` have pushed."""

    def callback(context: Any) -> None:
        pull = get_current_context()["ti"].xcom_pull if name == "dag callback" else context["ti"].xcom_pull
        seen[name] = [
            result_of(lambda of=of: pull(dag_id="reads", task_ids=of, run_id=context["run_id"]))
            for of in PAIR
        ]

    return callback


PAIR = ("first", "aside")


class Templated(BaseOperator):
    """Has a field with Jinja in it."""

    template_fields = ("text",)

    def __init__(self, text: str, **options: Any) -> None:
        super().__init__(**options)
        self.text = text

    def execute(self, context: Any) -> None:
        """Note what it became."""
        seen[self.task_id] = self.text


# -- upstream, and not ------------------------------------------------------------------------------


@dag(schedule=None, on_failure_callback=told("dag callback"))
def reads() -> None:
    """`aside` is upstream of nothing."""

    @task
    def first() -> Any:
        ti().xcom_push("own", (1,))
        seen["own"] = ti().xcom_pull(task_ids="first", key="own")
        return ("first",)

    @task
    def aside() -> Any:
        return ("aside",)

    @task
    def numbers() -> Any:
        return [(1,), (2,)]

    @task
    def mapped(number: Any) -> Any:
        seen.setdefault("mapped", []).append(number)
        return number

    @task
    def mapped_aside(number: Any) -> Any:
        return (number,)

    @task_group
    def inner(value: Any) -> Any:
        @task
        def deep(value: Any) -> Any:
            return (*value, "deep")

        return deep(value)

    @task(on_success_callback=told("task callback"), on_failure_callback=told("failed"))
    def far(found: Any, lazily: Any) -> Any:
        pull, here = ti().xcom_pull, {"run_id": ti().run_id}
        seen["argument"] = (found, [*lazily])
        seen["upstream"] = result_of(lambda: pull(task_ids="first"))
        seen["aside"] = result_of(lambda: pull(task_ids="aside"))
        seen["both"] = result_of(lambda: pull(task_ids=["first", "aside"]))
        seen["mapped aside"] = result_of(lambda: pull(task_ids="mapped_aside"))
        seen["plain aside"] = result_of(lambda: pull(task_ids="aside", key="none"))
        seen["prior"] = result_of(lambda: pull(task_ids="first", include_prior_dates=True, map_indexes=-1))
        seen["other dag"] = result_of(lambda: pull(dag_id="writes", task_ids="report", **seen["other"]))
        seen["other dag, key"] = result_of(
            lambda: pull(dag_id="writes", task_ids="report", key="more", **seen["other"])
        )
        seen["here"] = result_of(lambda: pull(task_ids="first", **here))

    @task
    async def in_a_coroutine() -> None:
        for name in PAIR:
            try:
                seen[f"coroutine {name}"] = await ti().axcom_pull(task_ids=name)
            except errors.XComError as error:
                seen[f"coroutine {name}"] = kind(error)

    ok = Templated(task_id="jinja", text="{{ ti.xcom_pull(task_ids='first') }}")
    refused = Templated(task_id="jinja_aside", text="{{ ti.xcom_pull(task_ids='aside') }}")
    one = first()
    beside = aside()
    mapped_beside = mapped_aside.expand(number=[7])
    rows = mapped.expand(number=numbers())
    last = far(inner(one), rows)
    one >> [ok, refused]
    # Only so that it is pushed before: a task that does nothing is no path for it.
    one >> in_a_coroutine()
    seen["order"] = [beside, mapped_beside, last]


@dag(schedule=None)
def writes() -> None:
    """Another DAG."""

    @task
    def report() -> Any:
        ti().xcom_push("more", ("more",))
        return ("report",)

    report()


# -- who is named -----------------------------------------------------------------------------------


@dag(schedule=None)
def names() -> None:
    """Its producer says who reads."""

    @task(multiple_outputs=True)
    def produces() -> dict[str, Any]:
        ti().xcom_push("lazily", exclusive(lazy(keep((1, 2), "2h")), readers=["names.reads_*"]))
        ti().xcom_push("plain", exclusive(7, readers=["names.reads_it"]))
        seen["its own"] = ti().xcom_pull(task_ids="produces", key="plain")
        return {"part": exclusive(("part",), readers=["names.reads_it"]), "other": 1}

    @task
    def reads_it() -> None:
        seen["named"] = {
            key: result_of(lambda key=key: ti().xcom_pull(task_ids="produces", key=key))
            for key in ("lazily", "plain", "part", "return_value", "other")
        }
        seen["named"]["lazily"] = seen["named"]["lazily"].load()

    @task
    def may_not() -> None:
        seen["not named"] = {
            key: result_of(lambda key=key: ti().xcom_pull(task_ids="produces", key=key))
            for key in ("lazily", "plain", "part", "return_value", "other")
        }

    @task(retries=1, retry_delay=0)
    def pushes_once() -> Any:
        ti().xcom_push("key", exclusive((1,), write_once=True))
        seen.setdefault("again", []).append(result_of(lambda: ti().xcom_push("key", (2,))))
        ti().xcom_push("later", (1,))
        now = exclusive((2,), write_once=True)
        seen["again"].append(result_of(lambda: ti().xcom_push("later", now)))
        if ti().try_number == 1:
            raise RuntimeError("a retry may push it again")
        return ti().xcom_pull(task_ids="pushes_once", key="key")

    produces() >> reads_it() >> may_not()
    pushes_once()


@dag(schedule=None)
def once() -> None:
    """What is read once."""

    @task
    def produces() -> Any:
        return exclusive(("secret",), readers=["once.consumes"], once=True)

    @task(retries=1, retry_delay=0)
    def consumes(value: Any) -> None:
        seen.setdefault("once", []).append((value, ti().xcom_pull(task_ids="produces")))
        if ti().try_number == 1:
            raise RuntimeError("a retry may read it again")

    @task
    def consumes_too() -> None:
        seen["too"] = result_of(lambda: ti().xcom_pull(task_ids="produces"))

    consumes(produces()) >> consumes_too()


@dag(schedule=None)
def processes() -> None:
    """Calls callbacks of another DAG as the dag-processor does, which has no task, but Airflow's answers."""

    @task
    def calls() -> None:
        run_id = seen["reads"]
        from airflow.callbacks.callback_requests import DagCallbackRequest, TaskCallbackRequest
        from airflow.dag_processing import processor

        bag: Any = SimpleNamespace(dags={"reads": READS})
        where = {"filepath": "readers.py", "bundle_name": "tests", "bundle_version": None}
        request = DagCallbackRequest(dag_id="reads", run_id=run_id, is_failure_callback=True, **where)
        processor._execute_dag_callbacks(bag, request, structlog.get_logger())
        of_far = instance(run_id, "far")
        about = TaskCallbackRequest(ti=of_far, task_callback_type="failed", msg="", **where)
        processor._execute_task_callbacks(bag, about, structlog.get_logger())

    calls()


READS, WRITES, NAMES, ONCE, PROCESSES = reads(), writes(), names(), once(), processes()


@pytest.fixture(scope="module")
def run(bundle: Path) -> Callable[[DAG], Any]:
    """Runs a DAG once: its run, and the states of its tasks by id."""
    shutil.copy(__file__, bundle / "readers.py")

    def once(dag: DAG) -> Any:
        before = dict(os.environ)
        done = dag.test()
        os.environ.clear()
        os.environ.update(before)
        return done.run_id, {found.task_id: found.state for found in done.get_task_instances()}

    return once


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of rules, which is set."""
    path = tmp_path / "readers.toml"
    path.write_text('rules = ["reads.far reads writes.report.return_value"]', encoding="utf-8")
    monkeypatch.setenv("AIRFLOW__XCOM__READERS", str(path))
    return path


REFUSED = errors.NotAReader


def test_declared(run: Callable[[DAG], Any], rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen["other"] = {"run_id": run(WRITES)[0]}
    monkeypatch.setenv("AIRFLOW__XCOM__PULLS", "declared")
    _, states = run(READS)
    assert {name for name, state in states.items() if state != "success"} == {"jinja_aside"}, states
    assert seen["own"] == (1,)
    assert seen["argument"] == (("first", "deep"), [(1,), (2,)])
    assert sorted(seen["mapped"]) == [(1,), (2,)]
    assert (seen["upstream"], seen["here"], seen["jinja"]) == (("first",), ("first",), "('first',)")
    refused = ("aside", "both", "mapped aside", "prior", "other dag, key", "coroutine aside")
    assert {name: seen[name] for name in refused} == dict.fromkeys(refused, REFUSED)
    assert seen["plain aside"] is None  # there is nothing to read
    assert seen["other dag"] == ("report",)
    assert seen["coroutine first"] == ("first",)
    assert seen["task callback"] == [("first",), REFUSED]
    assert (
        "reads.far is not declared as a reader of it, and it does not run after it in the same run (XCom "
        f"'more' of writes.report, run {seen['other']['run_id']}). If it should read it, add to the rules in "
        f'{rules}: "reads.far reads writes.report.more",'
    ) in seen["texts"]


def test_called_by_the_dag_processor(run: Callable[[DAG], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__XCOM__PULLS", "declared")
    seen["other"] = {"run_id": run(WRITES)[0]}
    seen["reads"] = run(READS)[0]
    _, states = run(PROCESSES)
    assert set(states.values()) == {"success"}, states
    assert seen["dag callback"] == [("first",), ("aside",)]
    assert seen["failed"] == [("first",), REFUSED]


def test_warned(
    run: Callable[[DAG], Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen["other"] = {"run_id": run(WRITES)[0]}
    monkeypatch.setenv("AIRFLOW__XCOM__PULLS", "warn")
    _, states = run(READS)
    assert set(states.values()) == {"success"}, states
    assert (seen["aside"], seen["other dag, key"]) == (("aside",), ("more",))
    lines = [line for line in caplog.messages if '"reads.far reads reads.aside.return_value",' in line]
    assert len(lines) == 1
    caplog.clear()
    monkeypatch.setenv("AIRFLOW__XCOM__PULLS", "open")
    run(READS)
    assert "declared" not in caplog.text


def test_named(run: Callable[[DAG], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__XCOM__PULLS", "open")
    _, states = run(NAMES)
    assert set(states.values()) == {"success"}, states
    assert seen["its own"] == 7
    whole = {"part": ("part",), "other": 1}
    assert seen["named"] == {
        "lazily": (1, 2), "plain": 7, "part": ("part",), "return_value": whole, "other": 1,
    }  # fmt: skip
    assert seen["not named"] == {
        "lazily": REFUSED, "plain": REFUSED, "part": REFUSED, "return_value": REFUSED, "other": 1,
    }  # fmt: skip
    assert seen["again"] == [errors.AlreadyPushed] * 4


def test_read_once(run: Callable[[DAG], Any], caplog: pytest.LogCaptureFixture) -> None:
    run_id, states = run(ONCE)
    assert set(states.values()) == {"success"}, states
    assert seen["once"] == [(("secret",), ("secret",))] * 2  # by a try that failed, and by the next
    assert seen["too"] == REFUSED
    assert again(run_id, "consumes") == "failed"
    assert len(seen["once"]) == 2
    assert (
        "It is read once, and once.consumes has read it and succeeded (XCom 'return_value' of once.produces, "
        f"run {run_id}). To have it read again, clear once.produces together with its reader."
    ) in caplog.text
    assert [again(run_id, task_id) for task_id in ("produces", "consumes")] == ["success"] * 2
    assert len(seen["once"]) == 3


def again(run_id: str, task_id: str) -> str:
    """Clear a task of the run, as the UI does, and run it: its state then."""
    from airflow.models.taskinstance import TaskInstance, clear_task_instances
    from airflow.sdk.definitions.dag import _run_task
    from airflow.utils.session import create_session
    from sqlalchemy import select

    its = select(TaskInstance).where(TaskInstance.run_id == run_id, TaskInstance.task_id == task_id)
    with create_session() as session:
        clear_task_instances(list(session.scalars(its)), session)
    with create_session() as session:
        instance = session.scalars(its).one()
        session.expunge_all()
    before = dict(os.environ)
    _run_task(ti=instance, task=ONCE.get_task(task_id))
    os.environ.clear()
    os.environ.update(before)
    with create_session() as session:
        return str(session.scalars(its).one().state)


def instance(run_id: str, task_id: str) -> Any:
    """A task instance as the scheduler tells the dag-processor of it."""
    from airflow.api_fastapi.execution_api.datamodels.taskinstance import TaskInstance as Told
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    its = select(TaskInstance).where(TaskInstance.run_id == run_id, TaskInstance.task_id == task_id)
    with create_session() as session:
        return Told.model_validate(session.scalars(its).one(), from_attributes=True)
