"""The policy that gives tasks the engine's hooks: what it imports and when, and what it leaves as it is."""

from __future__ import annotations

import copy
import json
import os
import pickle  # noqa: TID251 - Airflow may
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.sdk import DAG, BaseOperator, dag, setup, task, task_group, teardown
from airflow.sdk.execution_time import task_runner
from airflow.serialization.serialized_objects import DagSerialization

from exclusive_xcom import attempt as attempts
from exclusive_xcom import hooks, policy, scratch
from exclusive_xcom.db import open_store

DAG_FILE = """
    from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
    from airflow.sdk import DAG, task

    with DAG("ends_in_triggerer", schedule=None):
        DateTimeSensorAsync(task_id="waits", target_time="2020-01-01T00:00:00+00:00", end_from_trigger=True)

        @task
        def plain(): ...

        plain()
"""


def in_new_airflow(home: Path, code: str, **files: str) -> Any:
    """What a new process prints as JSON, whose Airflow has a home of its own with these files in it."""
    for name, text in files.items():
        path = home / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".py").write_text(textwrap.dedent(text))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__CORE__XCOM_BACKEND": "exclusive_xcom.db.DbXComBackend",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# -- while Airflow initialises ----------------------------------------------------------------------


def test_it_is_registered_and_no_plugin_listens() -> None:
    """Airflow refuses `end_from_trigger=True` beside any plugin with listeners."""
    (found,) = [entry for entry in entry_points(group="airflow.policy") if "exclusive" in entry.value]
    assert found.load() is policy
    (plugin,) = [entry for entry in entry_points(group="airflow.plugins") if "exclusive" in entry.value]
    assert not plugin.load().listeners


def test_it_imports_nothing_of_airflow() -> None:
    code = (
        "import sys, exclusive_xcom.policy\n"
        "print([name for name in sys.modules if name.startswith('airflow')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_airflow_initialises_with_it(tmp_path: Path) -> None:
    """And no more of the engine is imported for it than without it: the hooks come with the first task."""
    found = in_new_airflow(
        tmp_path,
        """
        import json, sys
        import airflow
        from airflow import settings
        settings.initialize()
        policies = settings.get_policy_plugin_manager()
        print(json.dumps([
            [name for name, _ in policies.list_name_plugin()],
            [name for name in sys.modules if name in ("exclusive_xcom.policy", "exclusive_xcom.hooks")],
        ]))
        """,
    )
    assert "exclusive_xcom" in found[0]
    assert found[1] == ["exclusive_xcom.policy"]


def test_the_owner_s_policies_go_on_working_and_dags_that_end_in_the_triggerer_load(tmp_path: Path) -> None:
    """The owner's see tasks as their DAG made them, and what they change stays."""
    found = in_new_airflow(
        tmp_path,
        """
        import json
        from airflow.dag_processing.dagbag import DagBag
        bag = DagBag()
        task = bag.dags["ends_in_triggerer"].get_task("plain")
        hooked = hasattr(type(task), "_exclusive_xcom")
        print(json.dumps([bag.import_errors, task.queue, task.owner, hooked]))
        """,
        dags__ends=DAG_FILE,
        config__airflow_local_settings="""
            def task_policy(task):
                task.queue = "of the owner's"
                task.owner = str(hasattr(type(task), "_exclusive_xcom"))
        """,
    )
    assert found == [{}, "of the owner's", "False", True]


# -- what stays as it is ----------------------------------------------------------------------------


class Odd(BaseOperator):
    """An operator whose class can't be changed."""

    def __init_subclass__(cls) -> None:
        raise TypeError("this class has no subclasses")

    def execute(self, context: Any) -> None:
        """Nothing."""


def everything() -> DAG:
    """A DAG with each kind of task."""

    @dag(schedule=None, dag_id="everything")
    def make() -> None:
        @task
        def plain(value: Any = None) -> Any:
            return value

        @task.sensor(mode="reschedule")
        def looks(value: Any) -> bool:
            return bool(value)

        @task_group
        def group(number: int) -> None:
            plain.override(task_id="inside")(number)

        first = setup(plain.override(task_id="first"))()
        last = teardown(plain.override(task_id="last"))(first)
        first >> plain.partial().expand(value=[1, 2]) >> last
        looks(first)
        group.expand(number=[1, 2])
        BashOperator(task_id="bash", bash_command="echo {{ ds }}", retries=2)
        BashOperator.partial(task_id="mapped").expand(bash_command=["echo 1", "echo 2"])
        PythonOperator(task_id="python", python_callable=print, op_kwargs={"rows": first})
        DateTimeSensorAsync(task_id="waits", target_time="2020-01-01T00:00:00+00:00", end_from_trigger=True)

    made: DAG = make()
    return made


def test_the_dag_that_airflow_stores_is_the_same() -> None:
    """So that no DAG gets a new version."""
    untouched, given = everything(), everything()
    for one in given.tasks:
        policy.task_policy(one)
        assert hasattr(one.operator_class, "_exclusive_xcom")
    assert DagSerialization.to_dict(given) == DagSerialization.to_dict(untouched)
    again = everything()
    for one in [*again.tasks, *again.tasks]:
        policy.task_policy(one)
    assert DagSerialization.to_dict(again) == DagSerialization.to_dict(untouched)


@pytest.mark.parametrize("made_again", [copy.copy, copy.deepcopy, BaseOperator.prepare_for_execution])
def test_a_copy_keeps_the_hooks(made_again: Callable[[Any], Any]) -> None:
    one = BashOperator(task_id="bash", bash_command="true")
    policy.task_policy(one)
    assert type(made_again(one)) is type(one) is not BashOperator
    assert made_again(one).bash_command == "true"


class Copies(BaseOperator):
    """An operator that says itself what a copy of it is."""

    copied = False

    def __copy__(self) -> Copies:
        other = object.__new__(type(self))
        vars(other).update(vars(self), copied=True)
        return other


def test_an_operator_s_own_way_to_copy_it_goes_on_working() -> None:
    one = Copies(task_id="one")
    policy.task_policy(one)
    made = one.prepare_for_execution()
    assert type(made) is type(one) is not Copies
    assert made.copied


def test_a_pickled_task_is_the_operator_s_own() -> None:
    one = EmptyOperator(task_id="empty", retries=3)
    policy.task_policy(one)
    assert type(one) is not EmptyOperator
    found = pickle.loads(pickle.dumps(one))
    assert type(found) is EmptyOperator
    assert (found.task_id, found.retries) == ("empty", 3)


def test_a_task_that_can_t_have_hooks_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with DAG("odd", schedule=None):
        one = Odd.__new__(Odd)
        BaseOperator.__init__(one, task_id="odd")
    policy.task_policy(one)
    policy.task_policy(one)
    assert type(one) is Odd
    assert caplog.messages == [
        "Task 'odd' is handled as Airflow itself does: TypeError: this class has no subclasses"
    ]


def test_outside_of_a_task_runner_rendering_is_airflow_s_own() -> None:
    """`airflow tasks render`, for example."""
    one = BashOperator(task_id="bash", bash_command="echo {{ name }}")
    policy.task_policy(one)
    one.render_template_fields({"name": "me"})  # type: ignore[typeddict-unknown-key, typeddict-item]
    assert one.bash_command == "echo me"
    assert hooks._OWN not in vars(one)


# -- in a task --------------------------------------------------------------------------------------


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Has a task's arguments rendered as Airflow's task runner does; gives the task."""
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", None, raising=False)
    monkeypatch.setattr(hooks, "current_store", lambda: open_store())

    def render(number: int = 1, **settings: str) -> Any:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        one = PythonOperator(task_id="one", python_callable=print, op_kwargs={"rows": [1] * 100_000})
        policy.task_policy(one)
        ti = SimpleNamespace(
            id=uuid.uuid4(), try_number=number, dag_id="a", run_id="r", task_id="one", map_index=-1
        )
        running = one.prepare_for_execution()
        running.render_template_fields({"ti": ti})  # type: ignore[typeddict-item]
        assert attempts.current() == attempts.Attempt(number, str(ti.id))
        assert len(running.op_kwargs["rows"]) == len(one.op_kwargs["rows"]) == 100_000
        return running

    yield render
    attempts.end()
    monkeypatch.undo()


def test_airflow_shows_a_line_and_nobody_else_sees_one(rendered: Callable[..., Any]) -> None:
    running = rendered()
    shown = task_runner._serialize_rendered_fields(running)
    assert shown["op_kwargs"] == {"rows": "<list, 100,000 items>"}
    assert vars(running)["op_kwargs"] is running.op_kwargs
    assert pickle.loads(pickle.dumps(running)).op_kwargs == running.op_kwargs


def test_one_setting_leaves_it_to_airflow(rendered: Callable[..., Any]) -> None:
    running = rendered(AIRFLOW__XCOM__MAX_SHOWN_SIZE="0")
    assert str(task_runner._serialize_rendered_fields(running)["op_kwargs"]).count("1,") > 1000


def test_an_airflow_that_shows_elsewhere_is_left_alone(
    rendered: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hooks, "_SHOWING", ("airflow.sdk.execution_time.task_runner", "moved"))
    running = rendered()
    assert str(task_runner._serialize_rendered_fields(running)["op_kwargs"]).count("1,") > 1000
    (line,) = caplog.messages
    assert line.startswith("Task 'one' is handled as Airflow itself does: RuntimeError: Airflow ")
    assert " has no airflow.sdk.execution_time.task_runner:moved any more, on which exclusive-xcom" in line


def test_when_a_try_ends_it_is_forgotten_and_its_files_are_gone(rendered: Callable[..., Any]) -> None:
    """By the last of the callbacks, which the task has only while it runs."""
    running = rendered()
    file = scratch.new_file("file")
    file.touch()
    for name in ("on_success_callback", "on_failure_callback", "on_retry_callback", "on_skipped_callback"):
        assert len(getattr(running, name)) == 1
    running.on_failure_callback[-1]({})
    assert attempts.current() == attempts.NOBODY
    assert not file.exists()
