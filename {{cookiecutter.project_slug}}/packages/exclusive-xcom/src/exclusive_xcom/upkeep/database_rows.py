"""The rows in the database of Airflow on this machine, where no api-server is up. They are only read."""

from __future__ import annotations

from collections.abc import Iterator

from airflow.models import DagRun
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import select

from .. import inspection
from ..address import Address
from ..inspection import Found
from .choosing import Selection
from .rows import Entry, Rows, Run, now


class DatabaseRows(Rows):
    """Read by Airflow's own models, as `xcom probe` does."""

    place = "Airflow's database"

    def all_runs(self, dag_id: str | None, run_id: str | None) -> Iterator[Run]:
        wanted = select(DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.start_date)
        wanted = wanted.order_by(DagRun.id.desc())
        if dag_id is not None:
            wanted = wanted.where(DagRun.dag_id == dag_id)
        if run_id is not None:
            wanted = wanted.where(DagRun.run_id == run_id)
        with create_session() as session:
            found = session.execute(wanted).all()
        for dag, run, state, began in found:
            yield Run(dag, run, str(getattr(state, "value", state)), began)

    def entries(self, run: Run, chosen: Selection) -> Iterator[Entry]:
        index, time = inspection.map_index_column(), now()
        wanted = (
            select(XComModel.task_id, index, XComModel.key, XComModel.timestamp, XComModel.value)
            .where(XComModel.dag_id == run.dag_id, XComModel.run_id == run.run_id)
            .order_by(XComModel.timestamp, index)
        )
        with create_session() as session:
            found = session.execute(wanted).all()
        for task, map_index, key, written, value in found:
            if chosen.takes(task, key, written, time):
                yield Entry(Address.of(run.dag_id, run.run_id, task, map_index, key), written, value)

    def find(self, dag_id: str, task_id: str, key: str, run_id: str | None, map_index: int | None) -> Found:
        return inspection.find(dag_id, task_id, key, run_id=run_id, map_index=map_index)
