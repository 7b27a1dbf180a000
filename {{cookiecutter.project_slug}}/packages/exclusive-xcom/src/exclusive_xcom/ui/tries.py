"""Which try of a task instance is current, and which ones it has replaced, as Airflow's database says.

Airflow 3.3 keeps replaced tries in a table of their own; 3.4 keeps all in one, and marks the current ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import Select, null, select

# Airflow 3.4 leaves out of every query what earlier tries wrote, unless it is told to take all.
EVERY: dict[str, Any] = {"execution_options": {"include_all_attempts": True}}


def current(dag_id: str, run_id: str, task_id: str) -> Select[Any]:
    """Map indexes of a task's instances, and the numbers of their current tries."""
    found = select(_map_index(), TaskInstance.try_number).where(
        TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id, TaskInstance.task_id == task_id
    )
    return found.where(TaskInstance.working_set.is_(True)) if _marked() else found


def numbers(session: Any, of_task: Select[Any], indexes: Iterable[int]) -> dict[int, int]:
    """The numbers of the current tries, by map index."""
    return dict(session.execute(of_task.where(_map_index().in_(indexes))).tuples().all())


def writer() -> Any:
    """The id of the task instance whose row it is; null where Airflow has one row for all tries."""
    return XComModel.task_instance_id if _marked() else null()


def former(session: Any, writers: Iterable[Any]) -> dict[str, int]:
    """Which of some task instances' ids are of tries that another one has replaced, and their numbers."""
    ids = {_id(str(each)) for each in writers} - {None}
    if not ids:
        return {}
    wanted: Any
    if _marked():
        is_former = TaskInstance.working_set.is_not(True)
        wanted = select(TaskInstance.id, TaskInstance.try_number).where(TaskInstance.id.in_(ids), is_former)
    else:
        from airflow.models.taskinstancehistory import TaskInstanceHistory

        column = TaskInstanceHistory.task_instance_id
        wanted = select(column, TaskInstanceHistory.try_number).where(column.in_(ids))
    rows = session.execute(wanted, **EVERY)
    return {str(ti_id): number for ti_id, number in rows}


def _marked() -> bool:
    return hasattr(TaskInstance, "working_set")


def _map_index() -> Any:
    if not _marked():
        return TaskInstance.map_index
    from airflow.models.task_coordinates import (  # type: ignore[import-not-found]
        public_map_index_expression,
    )

    return public_map_index_expression(TaskInstance)


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
