"""The rows as Airflow's REST API has them: listed run by run, and each asked for by its exact address.

The list has no values, so each is a request of its own; some are under way at once. What goes or comes while
it is listed may be left out: nothing is deleted because it is not on a list.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from ..address import Address
from ..inspection import Found, NotThere
from .airflow_rest import Airflow, can_be_asked
from .choosing import Selection
from .rows import Entry, Rows, Run, now

_AT_ONCE = 8
_RUN = {"dag_id": str, "dag_run_id": str, "state": str}
_ENTRY = {"dag_id": str, "run_id": str, "task_id": str, "map_index": int, "key": str, "timestamp": str}
_NOT_ASKED = "Airflow's API can't be asked for it: a part of its name is empty, a point, or has a slash"


class AskedRows(Rows):
    """Read by requests."""

    def __init__(self, airflow: Airflow) -> None:
        self.airflow, self.place = airflow, f"Airflow at {airflow.url}"

    def all_runs(self, dag_id: str | None, run_id: str | None) -> Iterator[Run]:
        if dag_id is not None and run_id is not None and not {"/"} & set(dag_id + run_id):
            if (state := self.airflow.run_state(dag_id, run_id)) is not None:
                yield Run(dag_id, run_id, state)
            return
        seen: set[tuple[str, str]] = set()  # runs that begin meanwhile move the others from page to page
        for said in self.airflow.pages(("dags", dag_id or "~", "dagRuns"), "dag_runs", _RUN, order_by="-id"):
            run = said["dag_id"], said["dag_run_id"]
            if run in seen or dag_id not in (None, run[0]) or (run_id is not None and run[1] != run_id):
                continue
            seen.add(run)
            yield Run(*run, str(said["state"]), _time(said.get("start_date")))

    def entries(self, run: Run, chosen: Selection) -> Iterator[Entry]:
        time, wanted = now(), []
        for address, written in self._listed(run.dag_id, run.run_id):
            if chosen.takes(address.task_id, address.key, written, time):
                wanted.append((address, written))
        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="xcom-rows")
        try:
            yield from filter(None, pool.map(lambda each: self._entry(*each), wanted))
        finally:
            pool.shutdown(cancel_futures=True)

    def find(self, dag_id: str, task_id: str, key: str, run_id: str | None, map_index: int | None) -> Found:
        if run_id is not None:
            next(self.runs(Selection(dag_id, run_id)))
        query: dict[str, Any] = {} if map_index is None else {"map_index": map_index}
        newest = self._listed(dag_id, run_id, task_id, key, order_by="-timestamp", limit=1, **query)
        if (first := next(newest, None)) is None:
            raise NotThere(self._what_there_is(dag_id, task_id, key, run_id, map_index))
        of_run = first[0].run_id
        found = dict(self._listed(dag_id, of_run, task_id, key, **query))
        by_index = {address.map_index: (address, written) for address, written in found.items()}
        if map_index is None and -1 not in by_index:
            indexes = ", ".join(map(str, sorted(by_index)[:20])) + (", …" if len(by_index) > 20 else "")
            raise NotThere(
                f"There are {len(by_index)} of {task_id!r}, which is mapped. Say which: map index {indexes} "
                "(`--map-index`)."
            )
        address, written = by_index[-1 if map_index is None else map_index]
        entry = self._entry(address, written)
        if entry is None or entry.trouble:
            raise NotThere(entry.trouble if entry else f"{address} went while it was looked for.")
        return Found(address, written, entry.stored)

    def _what_there_is(
        self, dag_id: str, task_id: str, key: str, run_id: str | None, map_index: int | None
    ) -> str:
        run = next(self.runs(Selection(dag_id, run_id)))
        there = [address for address, _ in self._listed(dag_id, run.run_id)]
        of_task = [address for address in there if address.task_id == task_id]
        of_key = [address for address in of_task if address.key == key]
        names: list[str]
        if of_key:
            what = f"{task_id!r} has no {key!r} with map index {map_index}"
            names = [str(index) for index in sorted(address.map_index for address in of_key)]
        elif of_task:
            what, names = f"{task_id!r} has no XCom {key!r}", sorted({a.key for a in of_task})
        else:
            what = f"There is no XCom of a task {task_id!r}"
            names = sorted({address.task_id for address in there})
        listed = ", ".join(names[:20]) or "none"
        return f"{what}. In run {run.run_id} there is: {listed}."

    def _listed(
        self,
        dag_id: str,
        run_id: str | None,
        task_id: str | None = None,
        key: str | None = None,
        **query: Any,
    ) -> Iterator[tuple[Address, datetime]]:
        """Those of a DAG, and of just this run, task and key. To Airflow a part "~" is any, an encoded slash
        in it is one to most servers, and a key may be read as a pattern: so what comes is looked at."""
        seen: set[Address] = set()
        parts = ("~" if part is None or "/" in part else part for part in (dag_id, run_id, task_id))
        dag, run, task = parts
        if key is not None:
            query["xcom_key"] = key
        asked = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "key": key}
        path = "dags", dag, "dagRuns", run, "taskInstances", task, "xcomEntries"
        for said in self.airflow.pages(path, "xcom_entries", _ENTRY, **query):
            if any(text not in (None, said[name]) for name, text in asked.items()):
                continue
            address = Address.of(
                said["dag_id"], said["run_id"], said["task_id"], said["map_index"], said["key"]
            )
            if address not in seen:
                seen.add(address)
                yield address, _time(said["timestamp"]) or now()

    def _entry(self, address: Address, written: datetime) -> Entry | None:
        """None if it went meanwhile."""
        if not can_be_asked(address):
            return Entry(address, written, None, trouble=_NOT_ASKED)
        row = self.airflow.row(address)
        return None if row is None else Entry(address, written, row[0])


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except (TypeError, ValueError):
        return None
