"""Airflow's metadata database: bring it up to date, fill in the Variables.

Imports Airflow, so `environment.activate()` comes first.
"""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

VARIABLES = Path("config/variables.json")


def migrate() -> None:
    """Make the database, or bring it to this version of Airflow; also the airflow.cfg beside it, which
    holds the keys that Airflow makes up for itself. Quick when there is nothing to do."""
    # Airflow and alembic say a line for each step, and libraries warn each other; here only errors count.
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            from airflow.configuration import write_default_airflow_configuration_if_needed
            from airflow.utils import db

            # Before anything is encrypted: all of Airflow's processes have to find the same keys.
            write_default_airflow_configuration_if_needed()
            db.upgradedb()
    finally:
        logging.disable(logging.NOTSET)


def prepare() -> None:
    """Bring the database up to date, and put into it the Variables of the project in the current folder (JSON
    as `airflow variables import` reads it), except those that are there: a person may have changed them."""
    migrate()
    if not VARIABLES.is_file():
        return
    from airflow.models import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import select

    wanted: dict[str, Any] = json.loads(VARIABLES.read_text(encoding="utf-8"))
    with create_session() as session:
        there = set(session.scalars(select(Variable.key)))  # noqa: AIR311 - the table, not a task's view
        for name in wanted.keys() - there:
            entry = wanted[name]
            described = isinstance(entry, dict) and "value" in entry
            value, about = (entry["value"], entry.get("description")) if described else (entry, None)
            Variable.set(name, value, about, serialize_json=not isinstance(value, str), session=session)  # noqa: AIR311
