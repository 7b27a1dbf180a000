"""What is logged of each push and pull: from whom, what kind, how much, where, how long it took."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from . import attempt as attempts
from .address import Address
from .errors import XComError
from .handle import human_size
from .reference import Reference

log = logging.getLogger(__name__)


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
    """Measures a push or pull from its making on, and logs it once it is done."""

    def __init__(self, direction: str, seconds: float = 0.0) -> None:
        self._direction = direction
        self._started = time.perf_counter() - seconds

    def done(self, ref: Reference, length: int | None = None) -> None:
        """It was about this reference's payload, or so many bytes of it."""
        self.log(ref.address, ref.kind, ref.summary, ref.length if length is None else length, ref.where)

    def log(self, address: Address, kind: str, summary: str, length: int, where: str = "row") -> None:
        """It was about so many bytes of an XCom of this kind."""
        seconds = time.perf_counter() - self._started
        transfer = Transfer(self._direction, address, kind, summary, length, where, seconds)
        log.info(
            "XCom %s %s: %s, %s (%s) in %.3f s",
            "pushed" if self._direction == "push" else "pulled",
            address,
            transfer.what,
            human_size(length),
            where,
            seconds,
            extra={"xcom": transfer},
        )


@contextmanager
def told() -> Iterator[None]:
    """Have a person see first why a returned value could not be pushed.

    Airflow pushes it behind the line that opens the group "Post Execute", which its UI folds up with all that
    follows, also the error. So the group is ended, and the reason becomes a line of its own.
    """
    try:
        yield
    except XComError as error:
        if attempts.current().ti_id and not attempts.in_task_code():
            log.info("::endgroup::")
            log.error("%s", error)
        raise
