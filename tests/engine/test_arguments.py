"""Large arguments, and odd ones: tasks get them as they are, and Airflow shows a line.

As test_tasks.py, this is run by test_backends.py with each backend.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from airflow.listeners import hookimpl
from airflow_versions import rendered

pytestmark = pytest.mark.usefixtures("airflow")

ROWS = "<list, 1,000 items>"
ODD = "<dict, 4 items>"
found: dict[Any, Any] = {}


class Listener:
    """Takes down what listeners see."""

    def __init__(self) -> None:
        self.seen: dict[str, set[Any]] = {}

    def _note(self, ti: Any) -> None:
        values = [*getattr(ti.task, "op_args", ()), getattr(ti.task, "rows", None)]
        self.seen.setdefault(ti.task_id, set()).update(type(value) for value in values)

    @hookimpl
    def on_task_instance_running(self, task_instance: Any) -> None:
        """Arguments are rendered."""
        self._note(task_instance)

    @hookimpl
    def on_task_instance_success(self, task_instance: Any) -> None:
        """All is done."""
        self._note(task_instance)


@pytest.fixture(scope="module", autouse=True)
def run(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Any:
    """Run it once, from a DagBag; the tests look at what is left."""
    notes = tmp_path_factory.mktemp("said") / "notes"
    shutil.copy(Path(__file__).with_name("arguments.py"), bundle)
    said, listener = Said(), Listener()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NOTES", str(notes))
        from airflow.dag_processing.dagbag import BundleDagBag
        from airflow.sdk.listener import get_listener_manager

        bag = BundleDagBag(dag_folder=bundle, bundle_path=bundle, bundle_name="tests")
        assert not bag.import_errors
        logging.getLogger("exclusive_xcom.hooks").addHandler(said)
        get_listener_manager().pm.register(listener)
        try:
            run = bag.dags["arguments"].test()
        finally:
            get_listener_manager().pm.unregister(listener)
            logging.getLogger("exclusive_xcom.hooks").removeHandler(said)
    found["notes"] = notes.read_text().splitlines()
    found["states"] = {(ti.task_id, ti.map_index): ti.state for ti in run.get_task_instances()}
    found["labels"] = {ti.rendered_map_index for ti in run.get_task_instances(state=["success"])}
    found["said"], found["seen"] = said.lines, listener.seen
    found["shown"] = rendered(run.run_id)


class Said(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """One line of it."""
        self.lines.append(record.getMessage())


def test_every_task_gets_the_values_themselves() -> None:
    not_run = {
        ("sees", -1): "failed",
        ("not_chosen", -1): "skipped",
        ("takes_a_handle_elsewhere", -1): "failed",
    }
    assert {task: state for task, state in found["states"].items() if state != "success"} == not_run
    assert len(found["states"]) > 35


def test_none_was_left_to_airflow() -> None:
    assert found["said"] == []


def test_a_handle_for_another_python_is_refused_in_a_sentence() -> None:
    (said,) = [line for line in found["notes"] if line.startswith("error")]
    assert said.startswith(
        "error: A Handle can't be handed to a function that runs in another Python (XCom 're"
    )
    assert said.endswith("Call load() in a task before it, and hand over what that gives.")


def test_arguments_are_shown_in_a_line() -> None:
    shown = found["shown"]
    assert shown["with_callbacks", -1]["op_args"] == [ROWS]
    assert shown["takes_by_name", -1]["op_kwargs"]["rows"] == ROWS
    assert shown["takes_by_name", -1]["op_kwargs"]["day"].startswith("20")
    assert shown["takes_odd", -1]["op_args"] == [ODD]
    assert shown["takes_in_parts", -1]["op_args"] == ["<dict, 2 items>"]
    assert shown["takes_one_of_many", 1]["op_kwargs"] == {"number": 2, "rows": ROWS}
    assert shown["of_kwargs", 0]["op_kwargs"] == {"number": 0, "rows": ROWS}
    assert shown["takes_mapped", 1]["op_kwargs"] == {"rows": ROWS}
    assert shown["looks_twice", -1]["op_args"] == [ROWS]
    assert shown["runs_elsewhere", -1]["op_args"] == [ROWS, ODD]
    assert shown["python", -1]["op_kwargs"] == {"rows": ROWS}
    assert shown["waits", -1]["rows"] == shown["classic_mapped", 0]["rows"] == ROWS


def test_text_of_the_dag_s_own_is_shown_as_ever() -> None:
    assert found["shown"]["bash", -1]["bash_command"] == "echo 1000"
    assert found["shown"]["is_bash", -1]["bash_command"] == "echo 1000"
    assert "select 1 -- 20" in found["shown"]["classic", -1]["query"]


def test_callbacks_labels_and_listeners_see_the_values_themselves() -> None:
    assert {"failure of sees: ['list']", "success of with_callbacks: ['list']"} <= set(found["notes"])
    assert found["labels"] >= {"1000 rows"}
    assert found["seen"]["with_callbacks"] == {list, type(None)}
    assert found["seen"]["classic"] == {list}


def test_nobody_s_try_is_left() -> None:
    from exclusive_xcom import attempt

    assert attempt.current() == attempt.NOBODY
