"""Airflow's metadata database: bring it up to date, fill in the Variables and pools of the project.

Imports Airflow, so `environment.activate()` comes first.
"""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import msgspec

from ..console import Refused

VARIABLES = Path("config/variables.json")
POOLS = Path("config/pools.json")


class _Pool(msgspec.Struct, forbid_unknown_fields=True):
    """A pool as `airflow pools import` reads it; its name is the key."""

    slots: int
    description: str
    include_deferred: bool = False
    team_name: str | None = None


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
    """Bring the database up to date, and put into it what config/ of the current folder declares, in the form
    that `airflow variables import` and `airflow pools import` read.

    Variables that are there stay as they are: a person may have changed them. Pools become what the file
    says; those that it does not name are left alone. Raises `Refused` if the file of pools is wrong.
    """
    pools = _pools()
    migrate()
    from airflow.models import Pool
    from airflow.utils.session import create_session

    with create_session() as session:
        for name, pool in pools.items():
            Pool.create_or_update_pool(name, **msgspec.structs.asdict(pool), session=session)
        _add_variables(session)


def _pools() -> dict[str, _Pool]:
    if not POOLS.is_file():
        return {}
    try:
        return msgspec.json.decode(POOLS.read_bytes(), type=dict[str, _Pool])
    except msgspec.DecodeError as error:
        form = '{"name": {"slots": 4, "description": "what it is for"}}'
        raise Refused(f"{POOLS} does not declare pools, as {form}: {error}.") from None


def _add_variables(session: Any) -> None:
    if not VARIABLES.is_file():
        return
    from airflow.models import Variable
    from sqlalchemy import select

    wanted: dict[str, Any] = json.loads(VARIABLES.read_text(encoding="utf-8"))
    there = set(session.scalars(select(Variable.key)))  # noqa: AIR311 - the table, not a task's view
    for name in wanted.keys() - there:
        entry = wanted[name]
        described = isinstance(entry, dict) and "value" in entry
        value, about = (entry["value"], entry.get("description")) if described else (entry, None)
        Variable.set(name, value, about, serialize_json=not isinstance(value, str), session=session)  # noqa: AIR311
