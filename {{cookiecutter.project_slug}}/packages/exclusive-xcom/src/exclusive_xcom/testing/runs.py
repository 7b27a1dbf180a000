"""Runs a pipeline once, to its end, with Variables and connections of the test's own."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..console import Failed
from .loading import Loaded

if TYPE_CHECKING:
    from airflow.sdk import Connection

Connections = Mapping[str, "str | Mapping[str, object] | Connection"]
NONE: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Run:
    """A finished run of a pipeline: how each task ended, by its id (of a mapped task as `task[0]`), and the
    folder of what it wrote by `output_file`."""

    dag_id: str
    run_id: str
    states: Mapping[str, str]
    output: Path

    def value(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """What a task handed over, as its consumer gets it. Raises LookupError, which says what there is, and
        `XComError` if it can't be read."""
        from airflow.models.xcom import XComModel
        from airflow.sdk.execution_time.xcom import XCom
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            rows = list(session.scalars(select(XComModel).filter_by(dag_id=self.dag_id, run_id=self.run_id)))
            found = {(row.task_id, row.key, row.map_index): row for row in rows}
            if (task_id, key, map_index) not in found:
                there = ", ".join(f"value{name}" for name in sorted(found)) or "nothing"
                missing = f"{self.dag_id} has no value{(task_id, key, map_index)}"
                raise LookupError(f"{missing}. There is: {there}.")
            return XCom.deserialize_value(found[task_id, key, map_index])

    def text(self, name: str) -> str:
        """A text file that the run wrote."""
        return (self.output / name).read_text(encoding="utf-8")

    def table(self, name: str) -> list[dict[str, str]]:
        """A CSV file that the run wrote, a dict for each row."""
        with (self.output / name).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


@dataclass(frozen=True)
class Runner:
    """What the fixture `run` is. It knows a pipeline by its id, its file (`finance/shipments`), or the file's
    name alone if no other has it."""

    loaded: Loaded
    output: Path
    monkeypatch: pytest.MonkeyPatch

    def __call__(
        self,
        name: str,
        /,
        *,
        day: date | None = None,
        fails: bool = False,
        connections: Connections = NONE,
        variables: Mapping[str, object] = NONE,
        **more: object,
    ) -> Run:
        """Run a pipeline once. Each of its tasks has to succeed, unless the run is meant to fail.

        Args:
            name: of the pipeline.
            day: the run's logical date; without one it is now.
            fails: whether the run is meant to fail.
            connections: for this run alone, by id: an Airflow `Connection`, a dict of its fields, or a URI.
            variables: Airflow Variables for this run alone. Those whose name is none of the words above can
                be given as keywords, too: `run("orders", orders_since="2024-07-01")`.
        """
        dag = self._dag(name)
        now = datetime.now(UTC)
        moment = datetime.combine(day or now, now.timetz())  # no two runs have the same
        with self.monkeypatch.context() as environ:
            for key, value in {**variables, **more}.items():
                environ.setenv(f"AIRFLOW_VAR_{key.upper()}", str(value))
            for key, connection in connections.items():
                environ.setenv(f"AIRFLOW_CONN_{key.upper()}", _as_text(connection))
            done = dag.test(run_after=moment, logical_date=moment)
        states = {
            task.task_id if task.map_index < 0 else f"{task.task_id}[{task.map_index}]": str(task.state)
            for task in done.get_task_instances()
        }
        if (str(done.state) != "success") != fails:
            came = f"{dag.dag_id} came to the end {done.state}: {states}. Its log is below."
            pytest.fail(came, pytrace=False)
        return Run(dag.dag_id, done.run_id, states, self.output / dag.dag_id)

    def function(self, name: str, task_id: str) -> Callable[..., Any]:
        """The function below a task, to be called by itself: without Airflow, arguments and result are plain
        values. (Of a task outside of a `@dag` function it is `task.function`.)"""
        dag = self._dag(name)
        if task_id not in dag.task_ids:
            there = ", ".join(dag.task_ids)
            pytest.fail(f"{dag.dag_id} has no task {task_id!r}. There are: {there}.", pytrace=False)
        function = getattr(dag.get_task(task_id), "python_callable", None)
        if function is None:
            pytest.fail(f"The task {task_id} of {dag.dag_id} is no Python function.", pytrace=False)
        found: Callable[..., Any] = function
        return found

    def _dag(self, name: str) -> Any:
        try:
            return self.loaded.dag(name)
        except Failed as error:
            problem = str(error)
        pytest.fail(problem, pytrace=False)


def _as_text(connection: str | Mapping[str, object] | Connection) -> str:
    """A connection as the environment has it."""
    if isinstance(connection, str):
        return connection
    return json.dumps(dict(connection)) if isinstance(connection, Mapping) else connection.as_json()
