"""In what the supported versions of Airflow differ, for tests: what one has not, and how a task pushes."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import pytest

from exclusive_xcom import attempt as attempts

# From 3.4 on a row belongs to a task instance, and an old try is refused by the row's own request.
ROWS_PER_TRY = attempts.rows_are_kept_per_try()

asks_first = pytest.mark.skipif(
    ROWS_PER_TRY,
    reason="this Airflow keeps the rows of each try apart: nothing is asked, nothing claimed "
    "(test_rows_per_try.py and test_orders_per_try.py have what holds instead)",
)
rows_per_try = pytest.mark.skipif(
    not ROWS_PER_TRY, reason="this Airflow has one row for all tries (3.3), and no loops"
)


def row_of(backend: Any, key: str, value: Any, **whose: Any) -> Any:
    """The row that a backend makes of a value, by the hook that Airflow calls for a task's own XCom."""
    if not ROWS_PER_TRY:
        return backend.serialize_value(value, key=key, **whose)
    from airflow.sdk.bases.xcom import XComCoordinate

    instance = _instance(**whose)
    names = ("dag_id", "run_id", "task_id", "region_id", "region_index")
    coordinate = XComCoordinate(**{name: getattr(instance, name) for name in names}, ti_id=instance.id)
    return backend.store_value(coordinate, key, value)


def push_own(backend: Any, key: str, value: Any, **whose: Any) -> None:
    """Push as `ti.xcom_push` does, by the task that this process runs."""
    if ROWS_PER_TRY and attempts.current().ti_id:
        backend._push(_instance(**whose), key, value)
    else:
        backend.set(key, value, **whose)


def _instance(**whose: Any) -> Any:
    """The task instance that this process runs, as Airflow 3.4 has it."""
    index, ti_id = whose["map_index"], attempts.current().ti_id
    place = (uuid.UUID(int=7), index) if index >= 0 else (None, None)
    of = dict(zip(("region_id", "region_index"), place, strict=True))
    return SimpleNamespace(**whose, **of, id=uuid.UUID(ti_id) if ti_id else None)


def rendered(run_id: str) -> dict[Any, Any]:
    """What Airflow shows of the arguments of each task."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    fields: Any = RenderedTaskInstanceFields
    names = ("dag_id", "run_id", "task_id", "map_index")
    of_task = [getattr(fields, name, None) == getattr(TaskInstance, name) for name in names]
    if ROWS_PER_TRY:  # they, too, belong to a task instance, and have none of these names
        of_task = [fields.task_instance_id == TaskInstance.id]
    found = select(TaskInstance.task_id, TaskInstance.map_index, fields.rendered_fields).where(*of_task)
    with create_session() as session:
        rows = session.execute(found.where(TaskInstance.run_id == run_id))
        return {(task_id, map_index): shown for task_id, map_index, shown in rows}
