"""Airflow's metadata database: bring it up to date, fill in the Variables, look at a run's XComs.

Imports Airflow, so `environment.activate()` comes first.
"""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..store import Check

VARIABLES = Path("config/variables.json")


def migrate() -> None:
    """Make the database, or bring it to this version of Airflow; also the airflow.cfg beside it, which
    holds the keys that Airflow makes up for itself. Quick when there is nothing to do."""
    with _quietly():
        from airflow.configuration import write_default_airflow_configuration_if_needed
        from airflow.utils import db

        # Before anything is encrypted: all of Airflow's processes have to find the same keys.
        write_default_airflow_configuration_if_needed()
        db.upgradedb()


def load_variables(file: Path) -> list[str]:
    """Put the Variables of a file into the database, except those that are there: a person may have
    changed them.

    Args:
        file: JSON as `airflow variables import` reads it.

    Returns:
        The names of those that were new.
    """
    from airflow.models import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import select

    wanted: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    with create_session() as session:
        there = set(session.scalars(select(Variable.key)))  # noqa: AIR311 - the table, not a task's view
        missing = {name: entry for name, entry in wanted.items() if name not in there}
        for name, entry in missing.items():
            described = isinstance(entry, dict) and "value" in entry
            value, about = (entry["value"], entry.get("description")) if described else (entry, None)
            plain = isinstance(value, str)
            Variable.set(name, value, about, serialize_json=not plain, session=session)  # noqa: AIR311
    return list(missing)


@dataclass(frozen=True)
class Row:
    """One XCom as Airflow's database has it.

    Attributes:
        kind, summary: as the reference tells; of a plain value its JSON type and beginning.
        length: bytes of the payload; None for a plain value.
        where: "row", or where the payload is.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    key: str
    kind: str
    summary: str
    length: int | None
    where: str


def latest_run(dag_id: str) -> str | None:
    """The id of a pipeline's latest run."""
    from airflow.models import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    newest = select(DagRun.run_id).where(DagRun.dag_id == dag_id).order_by(DagRun.id.desc()).limit(1)
    with create_session() as session:
        found: str | None = session.scalar(newest)
    return found


def xcoms(dag_id: str, run_id: str) -> list[Row]:
    """The XComs of a run, task by task. Nothing is fetched from a store."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    wanted = (
        select(XComModel.task_id, XComModel.map_index, XComModel.key, XComModel.value)
        .where(XComModel.dag_id == dag_id, XComModel.run_id == run_id)
        .order_by(XComModel.timestamp, XComModel.map_index)
    )
    with create_session() as session:
        return [
            Row(dag_id, run_id, task_id, map_index, key, *_describe(value))
            for task_id, map_index, key, value in session.execute(wanted)
        ]


def probe() -> list[Check]:
    """Try the database and the configured XCom backend, as a task would find them."""
    from airflow.sdk.execution_time.xcom import XCom
    from airflow.utils.session import create_session
    from sqlalchemy import text

    from ..backend import XComBackend
    from ..errors import XComError
    from ..store import Check

    checks = []
    try:
        with create_session() as session:
            session.execute(text("select 1"))
            kind = session.get_bind().dialect.name
        checks.append(Check("metadata database", True, kind))
    except Exception as error:
        checks.append(Check("metadata database", False, str(error).strip().splitlines()[0]))
    name = f"{XCom.__module__}.{XCom.__qualname__}"
    if not issubclass(XCom, XComBackend):
        advice = "not one of this project's: see AIRFLOW__CORE__XCOM_BACKEND in config/airflow.env"
        return [*checks, Check("backend", False, f"{name} is {advice}")]
    checks.append(Check("backend", True, name))
    try:
        checks += XCom.store().probe()
    except XComError as error:
        checks.append(Check("store", False, str(error)))
    return checks


def _describe(value: Any) -> tuple[str, str, int | None, str]:
    """Kind, summary, length and whereabouts of what a row holds."""
    from .. import reference
    from ..errors import XComError

    if not reference.is_reference(value):
        kind = {"str": "text", "NoneType": "nothing"}.get(type(value).__name__, type(value).__name__)
        return kind, json.dumps(value, ensure_ascii=False)[:60], None, "row"
    try:
        found = reference.parse(value)
    except XComError as error:
        return "unreadable reference", str(error), None, "row"
    return found.kind, found.summary, found.length, found.where


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Airflow and alembic say a line for each step, and libraries warn each other; here only errors count."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(logging.NOTSET)
