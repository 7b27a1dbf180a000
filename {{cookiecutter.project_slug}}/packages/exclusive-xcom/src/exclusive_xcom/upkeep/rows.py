"""What there is of XComs in Airflow: runs, their rows, and what a row says of its value.

Airflow is asked through its REST API, where the connection to it is known: in a project while `make up` runs.
Without one, as after `make run`, the rows are read out of the database of this machine.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from typing import Any

from .. import config
from ..address import Address
from ..binding import Question
from ..codecs import kind_word
from ..errors import XComError, legible
from ..inspection import Found, NotThere
from ..kinds import short
from ..reference import Reference
from ..sealed import opened
from .airflow_rest import Airflow
from .choosing import LATEST, Selection


@dataclass(frozen=True)
class Run:
    """A run of a DAG. `began` is None of one that did not begin yet."""

    dag_id: str
    run_id: str
    state: str
    began: datetime | None = None


@dataclass(frozen=True)
class Entry:
    """A row: whose XCom it is, when it was pushed, and what it holds; or why it can't be asked for, and how
    much it takes if that is known."""

    address: Address
    written: datetime
    stored: Any
    trouble: str = field(default="", kw_only=True)
    row_size: int = field(default=0, kw_only=True)

    @cached_property
    def _read(self) -> tuple[Reference | None, XComError | None]:
        if self.trouble:
            return None, XComError(self.trouble)
        try:
            return Question(self.address).reference(self.stored), None
        except XComError as error:
            return None, error

    @property
    def ref(self) -> Reference | None:
        """The reference that it holds; None of a plain value, and of what can't be read as one."""
        return self._read[0]

    @cached_property
    def seen(self) -> Reference | None:
        """The same with what it says of the value, if that is encrypted and this process has the key."""
        try:
            return opened(self.ref) if self.ref else None
        except XComError:
            return self.ref

    @property
    def error(self) -> XComError | None:
        """Why what it holds can't be read as a reference; None if it can, or holds a plain value."""
        return self._read[1]

    @property
    def why_not(self) -> str:
        """The same in words; "" for None."""
        return str(self.error or "")

    @property
    def is_plain(self) -> bool:
        """Whether it holds a value as it is."""
        return self.ref is None and not self.why_not

    @property
    def kind(self) -> str:
        """What the value is, for people."""
        if self.why_not:
            return "unreadable row"
        return self.seen.kind if self.seen else kind_word(self.stored)

    @property
    def summary(self) -> str:
        """How much there is of it, for people; of a plain value its beginning."""
        if self.why_not:
            return self.why_not
        if self.seen:
            return self.seen.summary
        return legible(short(json.dumps(self.stored, ensure_ascii=False), 60))

    @cached_property
    def length(self) -> int:
        """Bytes of its payload; of a plain value, of its JSON in the row."""
        return self.ref.length if self.ref else self.row_size or len(json.dumps(self.stored))

    @property
    def where(self) -> str:
        """Where the payload is: its URI, or "row"."""
        return self.ref.where if self.ref else "row"

    @property
    def expires(self) -> datetime | None:
        """When its time is over; None if it has none, or if only its run counts."""
        return self.ref.expires.at if self.ref and self.ref.expires else None

    def told(self) -> dict[str, Any]:
        """What is known of it without its value, as JSON."""
        of, expires = self.address, self.ref.expires if self.ref else None
        return {
            "dag": of.dag_id,
            "run": of.run_id,
            "task": of.task_id,
            "map_index": of.map_index,
            "key": of.key,
            "written": self.written.isoformat(),
            "kind": self.kind,
            "summary": "" if self.is_plain else self.summary,
            "bytes": self.length,
            "kept_in": self.where,
            "expires": self.expires.isoformat() if self.expires else None,
            "rule": expires.rule if expires else None,
            "readable": not self.why_not,
            "encrypted_by": self.ref.encryption.key if self.ref and self.ref.encryption else None,
        }


class Rows(ABC):
    """Where rows are had from.

    Attributes:
        place: for people.
    """

    place: str

    def runs(self, chosen: Selection) -> Iterator[Run]:
        """The runs that are chosen, newest first. Raises `NotThere` for one by its id that there is not."""
        seen: set[str] = set()
        none = True
        for run in self.all_runs(*chosen.exact):
            if not chosen.takes_run(run.dag_id, run.run_id) or (chosen.run == LATEST and run.dag_id in seen):
                continue
            none = False
            seen.add(run.dag_id)
            yield run
            if chosen.run == LATEST and chosen.exact[0]:
                return
        if none and any(chosen.exact):
            raise NotThere(self.what_runs_there_are(chosen))

    def what_runs_there_are(self, chosen: Selection) -> str:
        """Why a run was not found, and what there is instead."""
        dag_id, run_id = chosen.exact
        latest = list(islice(self.all_runs(dag_id, None), 5))
        if dag_id and run_id and latest:
            return f"{dag_id!r} has no run {run_id!r}. The latest are: {', '.join(r.run_id for r in latest)}."
        what = f"a run of {dag_id!r}" if dag_id else f"a run {run_id!r}"
        if dag_id and run_id is None and latest:
            return f"No run of {dag_id!r} is as {chosen.run!r}."
        dags = sorted({run.dag_id for run in islice(self.all_runs(None, None), 200)})
        there = f"There are runs of: {', '.join(dags[:20])}." if dags else "Nothing has run yet."
        return f"Airflow has no{what[1:]}. {there}"

    @abstractmethod
    def all_runs(self, dag_id: str | None, run_id: str | None) -> Iterator[Run]:
        """The runs of a DAG or of all, newest first; only those of an id."""

    @abstractmethod
    def entries(self, run: Run, chosen: Selection) -> Iterator[Entry]:
        """What is chosen of a run."""

    @abstractmethod
    def find(self, dag_id: str, task_id: str, key: str, run_id: str | None, map_index: int | None) -> Found:
        """One XCom; without a run, that of the latest that has it. Raises `NotThere`."""

    def entry(self, dag_id: str, task_id: str, key: str, run_id: str | None, map_index: int | None) -> Entry:
        """The same as a row."""
        found = self.find(dag_id, task_id, key, run_id, map_index)
        return Entry(found.address, found.written, found.stored)

    def chosen(self, chosen: Selection) -> Iterator[tuple[Run, list[Entry]]]:
        """What is chosen, run by run."""
        for run in self.runs(chosen):
            found = [entry for entry in self.entries(run, chosen) if chosen.takes_size(entry.length)]
            if found:
                yield run, found


def now() -> datetime:
    """The time, by which ages are counted."""
    return datetime.now(UTC)


def current_rows() -> Rows:
    """Airflow by its connection; without one, the database that this process is told of. Raises
    `StoreMisconfigured` for a connection that is not well-formed."""
    airflow = configured_airflow()
    if airflow is not None:
        from .asked_rows import AskedRows

        return AskedRows(airflow)
    from .database_rows import DatabaseRows

    return DatabaseRows()


def configured_airflow() -> Airflow | None:
    """Airflow by its connection; None if there is none. Raises `StoreMisconfigured` as above."""
    from airflow.sdk import Connection

    conn_id = config.API_CONN_ID.read()
    if f"AIRFLOW_CONN_{conn_id.upper()}" not in os.environ:
        try:
            Connection.get(conn_id)
        except Exception:  # each secrets backend has errors of its own for what is not there
            return None
    return Airflow.configured()
