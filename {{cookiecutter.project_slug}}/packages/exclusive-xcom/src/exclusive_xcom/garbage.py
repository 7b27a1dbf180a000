"""Payloads that no row needs any more: which of them this process may delete, and how long that may take."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from . import attempt as attempts
from .address import Address
from .errors import StoreUnreachable, Superseded, XComError, about
from .reference import Reference
from .store import store_of
from .transfer import purged, refused

log = logging.getLogger(__name__)

BUDGET = 20.0  # seconds that deleting may take of one task, before its first line as well
_MANY = 1000  # payloads that are remembered until their XCom is pushed again

_left: tuple[str, float] = ("", BUDGET)  # of which task instance, and the seconds
_rows: OrderedDict[tuple[Address, str], Reference] = OrderedDict()  # acknowledged, by XCom and task instance
_turns = [threading.RLock() for _ in range(64)]
_pushed: ContextVar[list[Reference] | None] = ContextVar("pushed", default=None)


class Age:
    """How long ago something began: at most so long, by a store's clock, ago was it stored. Of the two clocks
    of a machine one is set now and then, and the other stands still while the machine sleeps."""

    def __init__(self) -> None:
        self._begun = _clocks()

    def is_over(self, seconds: float) -> bool:
        """Whether it is longer than so many seconds."""
        return max(now - then for now, then in zip(_clocks(), self._begun, strict=True)) > seconds


def _clocks() -> tuple[float, float]:
    return time.time(), time.monotonic()


def discard(ref: Reference) -> None:
    """Delete a payload, while the task has time for that. Never raises: a failure would fail the task."""
    global _left
    task, seconds = attempts.current().ti_id, BUDGET
    if task and task == _left[0]:
        seconds = _left[1]
    if seconds <= 0:
        return
    started = time.monotonic()
    try:
        with about(ref.address):
            store_of(ref).delete(ref)
        purged(ref)
    except Exception as error:
        left_behind(error)
        if isinstance(error, StoreUnreachable):
            started -= BUDGET
    _left = task, seconds - (time.monotonic() - started)
    if task and _left[1] <= 0:
        log.warning(
            "This task deletes no more payloads: the store takes too long (%g s are allowed). What is left "
            "behind has no row, so a collection finds it.",
            BUDGET,
        )


def left_behind(error: Exception) -> None:
    """A payload could not be deleted, for this reason."""
    text = "The payload of a deleted XCom was left behind: %s"
    if isinstance(error, XComError):
        refused("purge", error, logging.WARNING, text)
    else:
        log.warning(text, error)


@contextmanager
def replacing(address: Address) -> Iterator[None]:
    """Meanwhile an XCom is pushed and its row is sent. Once Airflow has acknowledged that, the payload goes
    that this process pushed there before: its own row was acknowledged, so none can come to name it any more.
    If Airflow has refused the row, since a later try has begun, it is the new payload that goes.

    If that is not known (the row was sent, and there was no answer) nothing goes.
    """
    place = address, attempts.current().ti_id
    pushed: list[Reference] = []
    with _turns[hash(place) % len(_turns)]:  # else two threads could take each other's for the one before
        token = _pushed.set(pushed)
        try:
            yield
        except Superseded:
            for ref in pushed:
                discard(ref)
            raise
        finally:
            _pushed.reset(token)
        before = _rows.pop(place, None)
        for ref in pushed:
            _rows[place] = ref
        if len(_rows) > _MANY:
            _rows.popitem(last=False)
    # From 3.4 on, what one task writes for another may go to a new try of that: then the row before stays.
    if before is not None and (before.attempt.ti_id or not attempts.rows_are_kept_per_try()):
        discard(before)


def note(ref: Reference) -> None:
    """This payload is the one that is being pushed."""
    if ref.uri is not None and (pushed := _pushed.get()) is not None:
        pushed[:] = [ref]


def _disown() -> None:
    """A forked child has pushed nothing yet, and another thread may have held a lock."""
    global _turns
    _rows.clear()
    _turns = [threading.RLock() for _ in _turns]


os.register_at_fork(after_in_child=_disown)
