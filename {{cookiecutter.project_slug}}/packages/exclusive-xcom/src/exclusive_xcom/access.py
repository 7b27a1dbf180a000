"""What a producer says with `exclusive`: who may read a value, how often, and how often it may be pushed."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from . import garbage
from .address import Address, Attempt
from .errors import AlreadyConsumed, AlreadyPushed, BadOption, CannotConfirmTry, NotAReader
from .reference import Reference

log = logging.getLogger(__name__)

TRIGGERER = "@triggerer"  # the name of whoever reads in a trigger
# "dag.task" as Airflow allows their names, with what patterns have.
_NAME = re.compile(r"[\w*?\[\]!-][\w.*?\[\]!-]*\.[\w.*?\[\]!-]*[\w*?\[\]!-]")
_CORRECT = "Correct it in the task."
_running: Any = None  # the context of the task that this process runs
_once: list[Reference] = []  # what the running try has read of what is read once
_written: set[tuple[Address, str]] = set()  # what it has pushed of what is pushed once


@dataclass(frozen=True, slots=True)
class Access:
    """What `exclusive` said. `readers` are patterns of "dag.task"; none: whoever else may."""

    readers: tuple[str, ...] = ()
    once: bool = False
    write_once: bool = False


@dataclass(frozen=True, slots=True)
class Exclusive:
    """A value with what is said of access to it. Made by `exclusive`."""

    value: Any
    access: Access

    def __repr__(self) -> str:
        # Airflow writes what a task returned into its log.
        return f"<exclusive {type(self.value).__qualname__}>"


def exclusive(
    value: Any, *, readers: Iterable[str] = (), once: bool = False, write_once: bool = False
) -> Any:
    """Return or push `exclusive(value, readers=["report.daily"])`, and no other task may read it.

    Args:
        readers: who may read it, and nobody else: "dag.task", in which `*` stands for any text, as in
            "audit.*". None: who may by the project's rules (docs/readers.md).
        once: it is read by one task, until that has succeeded: `readers` names it, a task of the same DAG
            that is not mapped.
        write_once: the same try may not push this key a second time.

    Works with `lazy` and `keep`, in any order. Typed as Any, as `lazy` is. Raises `BadOption` for what can't
    be.
    """
    names = (readers,) if isinstance(readers, str) else tuple(readers)
    for name in names:
        if not _is_reader(name):
            raise BadOption(f'exclusive(): {name!r} is no reader, as "report.daily" or "audit.*"', _CORRECT)
    if once and (len(names) != 1 or set("*?[") & set(names[0])):
        raise BadOption("exclusive(): what is read once has one reader, and names it", _CORRECT)
    if not (names or once or write_once):
        raise BadOption("exclusive(): it says nothing: no readers, not once, not write_once", _CORRECT)
    return Exclusive(value, Access(names, once, write_once))


def _is_reader(name: object) -> bool:
    return isinstance(name, str) and (name == TRIGGERER or bool(_NAME.fullmatch(name)))


# -- pushed once ------------------------------------------------------------------------------------


def check_push(address: Address, attempt: Attempt, access: Access | None, row: Callable[[], Any]) -> None:
    """Look before a push whether there may be one. A row is there from an earlier push of the same try:
    Airflow clears those of others.

    Args:
        row: asks Airflow for the row that is there now, if there is one.

    Raises `AlreadyPushed` if the key is to be pushed once, and was.
    """
    place = address, attempt.ti_id
    is_once = access is not None and access.write_once
    if place in _written or (is_once and row() is not None):
        raise AlreadyPushed(
            "The key was pushed already by this try, and is to be pushed once",
            "Push the second value under another key, or leave out write_once.",
            address=address,
        )


def pushed(address: Address, attempt: Attempt, access: Access | None) -> None:
    """Note a push whose row was made. One that failed before that has pushed nothing, and may be repeated."""
    if access is not None and access.write_once and attempt.ti_id:
        _written.add((address, attempt.ti_id))


# -- read once --------------------------------------------------------------------------------------


def check_once(ref: Reference, reader: Any) -> None:
    """Raises unless this reader may read what is read once, and notes that it does.

    Raises:
        NotAReader: it is mapped, or another run's.
        AlreadyConsumed: the task has read it and succeeded.
    """
    of = ref.address
    if reader.map_index >= 0 or (reader.dag_id, reader.run_id) != (of.dag_id, of.run_id):
        raise NotAReader(
            f"{reader} may not read it: it is read once, by one task of the same run that is not mapped",
            "Let a task that is not mapped read it, and hand on what the others need.",
            address=of,
        )
    if _consumed(ref, reader):
        raise consumed(ref)
    if ref not in _once:
        _once.append(ref)


def consumed(ref: Reference) -> AlreadyConsumed:
    """The error for a value that was read once."""
    of = ref.address
    return AlreadyConsumed(
        f"It is read once, and {ref.readers[0]} has read it and succeeded",
        f"To have it read again, clear {of.dag_id}.{of.task_id} together with its reader.",
        address=of,
    )


def gone(ref: Reference) -> AlreadyConsumed:
    """The error for a value that is read once and whose payload is gone, though nothing says that it was."""
    error = consumed(ref)
    error.what = f"It is read once, and is gone: {ref.readers[0]} has read it and succeeded, or it was lost"
    return error


def _consumed(ref: Reference, reader: Any) -> bool:
    """Whether the reader's task has succeeded after it read this value: noted in Airflow's store of its
    state, which outlives tries and clears; and by its state now, for an old try that wakes up late."""
    unknown = "Airflow did not say whether it was read already"
    if _running is None:
        raise CannotConfirmTry(unknown, "Nothing was read: this process is not told what it runs.")
    try:
        states = _running["ti"].get_task_states(
            dag_id=reader.dag_id, task_ids=[reader.task_id], run_ids=[reader.run_id]
        )
        if states.get(reader.run_id, {}).get(reader.task_id) == "success":
            return True
        return _running["task_state_store"].get(_note_of(ref)) is not None
    except Exception as error:
        raise CannotConfirmTry(
            f"{unknown} ({type(error).__name__}: {error})",
            "Nothing was read. Check that the api-server can be reached, then let the task run again.",
            address=ref.address,
        ) from error


def begin(context: Any) -> None:
    """A try begins (hooks.py)."""
    global _running
    _running = context


def end(*, succeeded: bool) -> None:
    """The try is over (hooks.py). If it succeeded, what it has read once is noted as read, and its payload
    goes. Never raises: a failure would fail the task."""
    global _running
    for ref in _once if succeeded else ():
        try:
            from airflow.sdk.execution_time.context import NEVER_EXPIRE

            _running["task_state_store"].set(_note_of(ref), "consumed", retention=NEVER_EXPIRE)
        except Exception as error:
            log.warning("It was not noted that %s was read, which is read once: %s", ref.address, error)
        if ref.uri is not None:
            garbage.discard(ref)
    _once.clear()
    _written.clear()
    _running = None


def _note_of(ref: Reference) -> str:
    """The name of the note: of one written value, so that the next try of its producer starts anew."""
    text = f"{ref.address} {ref.attempt.ti_id} {ref.uri} {ref.sha256}"
    return "xcom-consumed-" + hashlib.sha256(text.encode()).hexdigest()[:32]
