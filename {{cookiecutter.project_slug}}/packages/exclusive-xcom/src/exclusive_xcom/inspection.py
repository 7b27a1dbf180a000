"""What `xcom probe` and `xcom show` look at: the configured backend, and the XComs of a run.

Imports Airflow, whose configuration must be in the environment by then.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from airflow.models import DagRun
from airflow.models.xcom import XComModel
from airflow.sdk.execution_time.xcom import XCom
from airflow.utils.session import create_session
from sqlalchemy import select, text

from .address import Address
from .backend import XComBackend
from .binding import Question
from .codecs import kind_word
from .errors import XComError, legible
from .store import Check


@dataclass(frozen=True)
class Row:
    """One XCom as Airflow's database has it: kind and summary as its reference tells, or a plain value's JSON
    type and beginning; the payload's bytes, None of a plain value; and where it is, which may be "row"."""

    task_id: str
    map_index: int
    key: str
    kind: str
    summary: str
    length: int | None
    where: str


def latest_run(dag_id: str) -> str | None:
    """The id of a pipeline's latest run."""
    newest = select(DagRun.run_id).where(DagRun.dag_id == dag_id).order_by(DagRun.id.desc()).limit(1)
    with create_session() as session:
        found: str | None = session.scalar(newest)
    return found


def xcoms(dag_id: str, run_id: str) -> list[Row]:
    """The XComs of a run, task by task. Nothing is fetched from a store."""
    wanted = (
        select(XComModel.task_id, XComModel.map_index, XComModel.key, XComModel.value)
        .where(XComModel.dag_id == dag_id, XComModel.run_id == run_id)
        .order_by(XComModel.timestamp, XComModel.map_index)
    )
    with create_session() as session:
        found = session.execute(wanted)
        return [
            Row(task, index, legible(key), *_describe(Address.of(dag_id, run_id, task, index, key), value))
            for task, index, key, value in found
        ]


def probe() -> list[Check]:
    """Try the database and the configured XCom backend, as a task would find them."""
    checks = [_database()]
    name = f"{XCom.__module__}.{XCom.__qualname__}"
    if not issubclass(XCom, XComBackend):
        advice = "see AIRFLOW__CORE__XCOM_BACKEND, which a project sets in config/airflow.env"
        return [*checks, Check("backend", False, f"{name} is not one of exclusive_xcom's: {advice}")]
    checks.append(Check("backend", True, name))
    try:
        checks += XCom.store().probe()
    except XComError as error:
        checks.append(Check("store", False, str(error)))
    return checks


def _database() -> Check:
    try:
        with create_session() as session:
            session.execute(text("select 1"))
            return Check("metadata database", True, session.get_bind().dialect.name)
    except Exception as error:
        return Check("metadata database", False, str(error).strip().splitlines()[0])


def _describe(address: Address, value: Any) -> tuple[str, str, int | None, str]:
    """Kind, summary, length and whereabouts of what the row of an XCom holds."""
    try:
        found = Question(address).reference(value)
    except XComError as error:
        return "unreadable reference", str(error), None, "row"
    if found is None:
        return kind_word(value), legible(json.dumps(value, ensure_ascii=False)[:60]), None, "row"
    return found.kind, found.summary, found.length, legible(found.where)
