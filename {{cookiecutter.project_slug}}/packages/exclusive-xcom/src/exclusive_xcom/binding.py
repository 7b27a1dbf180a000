"""Which XCom was asked for, and whether what a row refers to is that one.

Who may edit rows could otherwise make any payload readable by pulling, and have it deleted by clearing a
task. So each reference is compared with the question that brought its row here, and its payload's name with
its address (the stores do that). Open is only what Airflow itself leaves open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from . import airflow_compat
from . import attempt as attempts
from .address import Address
from .errors import MisplacedReference, about
from .reference import Reference, is_reference, parse

_ADVICE = (
    "It was moved, copied or changed by hand or by another program; nothing was read or deleted. Run the "
    "task that pushed it again. To hand one XCom's value on as another, pull it in a task and push it there."
)


@dataclass(frozen=True)
class Question:
    """What Airflow was asked for: the XCom at an address, of which the run or the map index may be open."""

    address: Address
    any_run: bool = False
    any_index: bool = False

    @classmethod
    def of(cls, query: Mapping[str, Any], *, several: bool = False) -> Question:
        """The question that the arguments of `get_one` or `delete` are, or those of `get_all`."""
        any_run = bool(query.get("include_prior_dates"))
        return cls(_address(query), any_run, any_index=several)

    def reference(self, row: Any) -> Reference | None:
        """The reference in a row that is an answer; None if the row holds a plain value.

        Raises:
            MisplacedReference: it is that of another XCom.
            BadReference: it is none.
        """
        if not is_reference(row):
            return None
        with about(self.address):
            ref = parse(row)
            wanted, found = self.address, ref.address
            if self.any_run:
                wanted = replace(wanted, run_id=found.run_id)
            if self.any_index:
                wanted = replace(wanted, map_index=found.map_index)
            if wanted != found:
                raise MisplacedReference(
                    f"The row does not belong to this XCom: it refers to {found}", _ADVICE
                )
        return ref

    def references(self, rows: Iterable[Any]) -> list[Reference | None]:
        """The same of several rows, whose places ascend: their map indexes or, of a loop's task, its turns.
        They repeat only from run to run, and map indexes from turn to turn, each a region of its own. Each
        row has a place, also that of a plain value, which does not tell it."""
        found: list[Reference | None] = []
        seen, regions, least = set(), {""}, -1
        for row in rows:
            ref = self.reference(row)
            if ref is not None:
                address = ref.address
                if address.region not in regions:
                    regions.add(address.region)
                    least = -1
                place = max(address.map_index, address.turn)
                whose = address, ref.attempt.ti_id if address.region else ""
                if place < least or whose in seen:
                    what = f"Row {len(found)} of the sequence refers to an XCom out of its turn, {address}"
                    raise MisplacedReference(what, _ADVICE, address=self.address)
                seen.add(whose)
                least = place
            least += not self.any_run
            found.append(ref)
        return found


_deleting: ContextVar[Question | None] = ContextVar("deleting", default=None)


@contextmanager
def deleting(question: Question) -> Iterator[None]:
    """Meanwhile, `purge` is about this XCom: Airflow hands it a row that does not say whose it is."""
    token = _deleting.set(question)
    try:
        yield
    finally:
        _deleting.reset(token)


def deleted() -> Question:
    """The XCom that is being deleted. Raises `MisplacedReference` if that is not known."""
    if question := _deleting.get():
        return question
    raise MisplacedReference(
        "It is not known whose XCom goes", "Delete by XCom.delete(), which tells it to purge()."
    )


def unasked(row: Any) -> tuple[Question | None, Reference | None]:
    """The question that a row answers, which is handed over without it, and the reference in the row. It is
    an item of a lazy sequence, which knows its question; or, outside of tasks, comes from somebody who has
    the row, and asks none.

    Raises:
        MisplacedReference: it is that of another XCom, or nobody knows of which it should be.
        BadReference: it is none.
    """
    if asked := airflow_compat.asked_by_sequence():
        of = Address.of(asked.dag_id, asked.run_id, asked.task_id, None, asked.key)
        question = Question(of, any_index=True)
        return question, question.reference(row)
    if not is_reference(row):
        return None, None
    ref = parse(row)
    if attempts.current().ti_id:
        what = f"A reference to {ref.address} was to be read without a question that it answers"
        raise MisplacedReference(what, "Pull it by ti.xcom_pull().")
    return None, ref


def _address(query: Mapping[str, Any]) -> Address:
    return Address.of(*map(query.get, ("dag_id", "run_id", "task_id", "map_index", "key")))
