"""Which try of a task instance is current, and which ones it has replaced, as Airflow's database says.

Airflow 3.3 keeps replaced tries in a table of their own; 3.4 keeps all in one, and marks the current ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from airflow.models.taskinstance import TaskInstance
from sqlalchemy import Select, select


def current(dag_id: str, run_id: str, task_id: str) -> Select[Any]:
    """Map indexes of a task's instances, and the numbers of their current tries."""
    found = select(_map_index(), TaskInstance.try_number).where(
        TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id, TaskInstance.task_id == task_id
    )
    return found.where(TaskInstance.working_set.is_(True)) if _marked() else found


def numbers(session: Any, of_task: Select[Any], indexes: Iterable[int]) -> dict[int, int]:
    """The numbers of the current tries, by map index."""
    return dict(session.execute(of_task.where(_map_index().in_(indexes))).tuples().all())


def former(session: Any, writers: Iterable[str]) -> set[str]:
    """Which of some task instances' ids are those of tries that another one has replaced."""
    ids = {_id(each) for each in writers} - {None}
    if not ids:
        return set()
    if _marked():
        gone = select(TaskInstance.id).where(TaskInstance.id.in_(ids), TaskInstance.working_set.is_not(True))
    else:
        from airflow.models.taskinstancehistory import TaskInstanceHistory

        column = TaskInstanceHistory.task_instance_id
        gone = select(column).where(column.in_(ids))
    return {str(each) for each in session.scalars(gone)}


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
