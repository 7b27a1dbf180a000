"""Whether a payload is garbage: Airflow is asked once for a run, and once for each of its XComs.

A list of rows proves nothing: the one that Airflow gives is empty, too, for a run that it does not know and
for one that the user may not read, and its pages skip rows while others are replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Protocol

from ..address import Address
from ..errors import XComError
from ..reference import Reference, is_reference, parse
from .airflow_rest import ENDED, ENDED_WELL, can_be_asked
from .inventory import Item, Kind


class Why(StrEnum):
    """What was found out about a payload."""

    LIVE = "a row refers to it"
    YOUNG = "younger than the grace"
    UNFINISHED = "its run has not ended"
    CLAIM = "a claim, which goes with its run"
    UNKNOWN = "its name does not tell whose it is"
    UNPROVED = "another try may have a row for it"
    RUN_GONE = "its run is gone"
    ROW_GONE = "its XCom is gone"
    REPLACED = "its XCom has another value"
    OVER = "its time is over"
    BROKEN_OFF = "its upload was not finished"


GARBAGE = frozenset({Why.RUN_GONE, Why.ROW_GONE, Why.REPLACED, Why.OVER, Why.BROKEN_OFF})


class Rows(Protocol):
    """What is asked of an Airflow. See airflow_rest.py."""

    @property
    def rows_per_try(self) -> bool:
        """Whether each try has rows of its own."""

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        """A run's state; None if there is no such run."""

    def row(self, address: Address) -> tuple[Any] | None:
        """What stands in an XCom's row; None if there is none."""


class Judge:
    """Judges payloads, one after the other. What Airflow said is remembered until another run or XCom comes:
    a payload older than the grace gets no row any more, so an answer does not become wrong.

    Args:
        airflow: whom to ask.
        cut: the time by the store's clock up to which a payload is old enough, in seconds since 1970.
        now: the time by that clock up to which what expires is over; `cut` if not given.

    Attributes:
        runs, gone: how many runs were asked for, and how many of these there were not.
    """

    def __init__(self, airflow: Rows, cut: float, now: float | None = None) -> None:
        self.airflow, self.cut, self.now = airflow, cut, cut if now is None else now
        self.runs = self.gone = 0
        self._run: tuple[str, str] | None = None
        self._state: str | None = None
        self._address: Address | None = None
        self._row: tuple[Any] | None = None

    def why(self, item: Item) -> Why:
        """What is so about a payload. Raises `CannotAskAirflow`."""
        is_payload = item.kind is Kind.PAYLOAD
        if item.address is None or not item.mark or not can_be_asked(item.address, run_alone=not is_payload):
            return Why.UNKNOWN
        if item.written > self.cut:
            return Why.YOUNG
        state = self._state_of(item.address)
        if state is None:
            return Why.RUN_GONE
        if item.kind is Kind.CLAIM:
            return Why.CLAIM
        if state not in ENDED:
            return Why.UNFINISHED
        if item.kind is Kind.UPLOAD:
            return Why.BROKEN_OFF
        return self._by_row(item, item.address)

    def _by_row(self, item: Item, address: Address) -> Why:
        row = self._row_of(address)
        if row is not None and refers(row, item):
            return Why.OVER if self._is_over(item, row[0]) else Why.LIVE
        # Where each try has a row of its own, Airflow shows that of one alone. What that one pushed over is
        # garbage; of what others pushed nothing is known.
        if self.airflow.rows_per_try and not (row and item.ti_id and item.ti_id == _writer(row[0])):
            return Why.UNPROVED
        return Why.ROW_GONE if row is None else Why.REPLACED

    def _is_over(self, item: Item, row: Any) -> bool:
        """Whether a row says that its own payload may go by now: by its time, or since its run ended well."""
        ref = _reference(row)
        if ref is None or ref.expires is None or item.mark not in (ref.uri or ""):
            return False
        with_run = ref.expires.run and self._state == ENDED_WELL
        return with_run or (ref.expires.at is not None and ref.expires.at.timestamp() <= self.now)

    def _state_of(self, address: Address) -> str | None:
        run = address.dag_id, address.run_id
        if run != self._run:
            self._run, self._address = None, None
            self._state = self.airflow.run_state(*run)
            self._run = run
            self.runs += 1
            self.gone += self._state is None
        return self._state

    def _row_of(self, address: Address) -> tuple[Any] | None:
        if address != self._address:
            self._address = None
            self._row = self.airflow.row(address)
            self._address = address
        return self._row


def refers(row: tuple[Any] | None, item: Item) -> bool:
    """Whether a row, if there is one, says anywhere where a payload is."""
    return row is not None and any(item.mark in text for text in _texts(row[0]))


def _texts(value: Any) -> Iterator[str]:
    """All texts in a row's JSON. A row is not parsed as a reference: what an older or newer release wrote
    there, or a hand, counts as well."""
    left = [value]
    while left:
        found = left.pop()
        if isinstance(found, str):
            yield found
        elif isinstance(found, dict):
            left += [*found.keys(), *found.values()]
        elif isinstance(found, list):
            left += found


def _writer(row: Any) -> str:
    """The task instance that a row's reference says that it is of; "" if it is none."""
    ref = _reference(row)
    return ref.attempt.ti_id if ref else ""


def _reference(row: Any) -> Reference | None:
    """A row's reference; None if it is none that this release reads."""
    try:
        return parse(row) if is_reference(row) else None
    except XComError:
        return None
