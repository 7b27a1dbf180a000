"""What is told of each push, pull, deletion and refusal: a line in the log, metrics, Airflow's lineage."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from . import attempt as attempts
from . import lineage, metrics
from .address import NOBODY, Address, Attempt
from .errors import (
    BadReference,
    CannotConfirmTry,
    NoSpace,
    PayloadError,
    PayloadMissing,
    StoreError,
    XComError,
)
from .handle import human_size
from .reference import Reference

log = logging.getLogger(__name__)

# What counts an error; otherwise it is `xcom.refused`.
_COUNTERS: tuple[tuple[tuple[type[XComError], ...], str], ...] = (
    ((PayloadMissing,), "xcom.missing"),
    ((PayloadError, BadReference), "xcom.corrupt"),
    ((StoreError, NoSpace, CannotConfirmTry), "xcom.failed"),
)


@dataclass(frozen=True)
class Transfer:
    """One push or pull, as it is logged (`record.xcom`): `xcom run` makes its table of these.

    `length` counts the bytes of the payload, `seconds` the whole way including codec, store and the question
    to Airflow, but not Airflow's own request for the row.
    """

    direction: str
    address: Address
    kind: str
    summary: str
    length: int
    where: str
    seconds: float

    @property
    def what(self) -> str:
        """Kind and summary, for people."""
        return f"{self.kind}, {self.summary}" if self.summary else self.kind


class Watch:
    """Measures a push or pull from its making on, and tells of it once it is done."""

    def __init__(self, direction: str, seconds: float = 0.0) -> None:
        self._direction = direction
        self._started = time.perf_counter() - seconds

    def done(self, ref: Reference, length: int | None = None, summary: str | None = None) -> None:
        """It was about this reference's payload, or so many bytes of it."""
        length = ref.length if length is None else length
        summary = ref.summary if summary is None else summary
        self.log(ref.address, ref.kind, summary, length, ref.where, ref.attempt, [ref])

    def log(
        self,
        address: Address,
        kind: str,
        summary: str,
        length: int,
        where: str = "row",
        attempt: Attempt = NOBODY,
        refs: Iterable[Reference] = (),
    ) -> None:
        """It was about so many bytes of an XCom of this kind, which that try wrote; and about the payloads of
        these references."""
        seconds, push = time.perf_counter() - self._started, self._direction == "push"
        transfer = Transfer(self._direction, address, kind, summary, length, where, seconds)
        metrics.line(
            log,
            logging.INFO,
            "XCom %s %s: %s, %s (%s) in %.3f s",
            "pushed" if push else "pulled",
            address,
            transfer.what,
            human_size(length),
            where,
            seconds,
            fields=_fields(self._direction, address, attempt)
            | {"kind": kind, "bytes": length, "duration_ms": round(seconds * 1000, 3)}
            | {"backend": _backend(where), "uri": where},
            extra={"xcom": transfer},
        )
        tags = {"backend": _backend(where), "kind": kind, "dag_id": address.dag_id}
        name = f"xcom.{self._direction}"
        metrics.count(f"{name}.bytes", length, **tags)
        metrics.timing(f"{name}.duration", seconds, **tags)
        lineage.tell(self._direction, refs)


def purged(ref: Reference) -> None:
    """A payload was deleted that no row needs any more."""
    purged_at(ref.address, ref.where, ref.length, ref.attempt, ref.kind)


def purged_at(address: Address, where: str, length: int, attempt: Attempt = NOBODY, kind: str = "") -> None:
    """The same of one of which only place and size are known."""
    fields = _fields("purge", address, attempt) | {"kind": kind, "bytes": length}
    fields |= {"backend": _backend(where), "uri": where}
    text = "XCom payload deleted, of %s: %s (%s)"
    metrics.line(log, logging.INFO, text, address, human_size(length), where, fields=fields)
    metrics.count("xcom.purged", backend=_backend(where), dag_id=address.dag_id)


def refused(operation: str, error: XComError, level: int = logging.INFO, text: str = "") -> None:
    """An XCom could not be pushed, pulled or deleted. An error is told once, wherever it passes."""
    if error.told:
        return
    error.told = True
    name = type(error).__name__
    fields = _fields(operation, error.address, attempts.current()) | {"error": name}
    metrics.line(log, level, text or f"XCom {operation} failed: %s", error, fields=fields)
    counter = next((one for kinds, one in _COUNTERS if isinstance(error, kinds)), "xcom.refused")
    dag_id = error.address.dag_id if error.address else ""
    metrics.count(counter, operation=operation, error=name, dag_id=dag_id)


@contextmanager
def telling(operation: str) -> Iterator[None]:
    """Tell of an error of ours that comes out of it."""
    try:
        yield
    except XComError as error:
        refused(operation, error)
        raise


@contextmanager
def told() -> Iterator[None]:
    """Tell of an error that comes out of a push; if it was of a returned value, have a person see it first.

    Airflow pushes it behind the line that opens the group "Post Execute", which its UI folds up with all that
    follows, also the error. So the group is ended, and the reason becomes a line of its own.
    """
    try:
        yield
    except XComError as error:
        by_airflow = attempts.current().ti_id and not attempts.in_task_code()
        if by_airflow:
            log.info("::endgroup::")
            refused("push", error, logging.ERROR, "%s")
        refused("push", error)
        raise


def _fields(operation: str, address: Address | None, attempt: Attempt) -> dict[str, object]:
    whose = metrics.place(address) if address else {}
    tried = {"try_number": attempt.try_number, "ti_id": attempt.ti_id} if attempt.ti_id else {}
    return {"operation": operation, **whose, **tried}


def _backend(where: str) -> str:
    """Which store a payload is in: "row", or its URI's scheme."""
    return where.partition(":")[0]
