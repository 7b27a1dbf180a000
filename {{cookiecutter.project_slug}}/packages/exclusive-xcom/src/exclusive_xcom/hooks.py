"""What the engine does around every task: notes which try begins, and clears up where it ends.

A task gets a subclass of its operator, made on the fly, with the same name, module and qualified name: what
Airflow stores of a DAG stays as it is. The subclass looks on where arguments are rendered.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from . import attempt, scratch
from .address import Address
from .errors import about
from .store import current_store

log = logging.getLogger(__name__)

_CALLBACKS = ("on_success_callback", "on_failure_callback", "on_retry_callback", "on_skipped_callback")
_OWN = "_exclusive_xcom"  # of a class: made here; of a running task: that it has begun


def give_to(task: Any) -> None:
    """Give the hooks to a task that Airflow loads, and to those of the DAG whose `test()` loads it. A task
    that can't have them runs as it would without us, and the log says so. Never raises."""
    for one in (task, *_tested()):
        try:
            _give_to(one)
        except Exception as error:
            _own_way(f"Task {one.task_id!r} is", error)


def _give_to(task: Any) -> None:
    from airflow.sdk.definitions.mappedoperator import MappedOperator

    if hasattr(task.operator_class, _OWN):
        return
    if isinstance(task, MappedOperator):
        task.operator_class = _hooked(task.operator_class)
    else:
        task.__class__ = _hooked(type(task))


def _tested() -> Iterator[Any]:
    """The tasks of the DAG that is being tested. A DAG file that calls `dag.test()` itself has made them, and
    no DagBag: but within the call Airflow loads all DAGs once more, and so asks us."""
    from airflow.sdk import DAG

    code, frame = DAG.test.__code__, _caller(2)
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    if frame is not None:
        yield from frame.f_locals["self"].tasks


def _hooked(kind: Any) -> Any:
    """A subclass of an operator that looks on where its arguments are rendered."""
    for made in kind.__subclasses__():
        if _OWN in vars(made):
            return made

    class Hooked(kind):  # type: ignore[misc]
        def _do_render_template_fields(self, *args: Any, **kwargs: Any) -> None:
            try:
                _begin(self, *args, **kwargs)
            except Exception as error:
                _own_way(f"Task {self.task_id!r} is", error)
            super()._do_render_template_fields(*args, **kwargs)

        # Pickle finds a class by its name, and so the operator's own. A copy keeps the hooks.
        def __reduce_ex__(self, protocol: Any) -> Any:
            return object.__new__, (kind,), _as_without_us(self.__getstate__())

        def __copy__(self) -> Any:
            other = object.__new__(type(self))
            other.__setstate__(self.__getstate__())
            return other

    setattr(Hooked, _OWN, True)
    return _named_as(kind, Hooked)


def _named_as(kind: Any, made: Any) -> Any:
    for name in ("__module__", "__name__", "__qualname__", "__doc__", "__firstlineno__"):
        if hasattr(kind, name):
            setattr(made, name, getattr(kind, name))
    return made


def _as_without_us(state: Any) -> Any:
    state = {name: value for name, value in state.items() if name != _OWN}
    return state | {
        name: [one for one in state[name] if one is not _end] for name in _CALLBACKS if name in state
    }


# -- a try begins and ends --------------------------------------------------------------------------


def _begin(
    task: Any, parent: Any, template_fields: Any, context: Any, jinja_env: Any, seen_oids: Any = frozenset()
) -> None:
    """A task's arguments are about to be rendered. They may be again, and so may be what is in them."""
    from airflow.sdk.execution_time import task_runner

    if parent is not task or _OWN in vars(task) or not hasattr(task_runner, "SUPERVISOR_COMMS"):
        return
    vars(task)[_OWN] = True
    for name in _CALLBACKS:  # the lists are those of the task that this one was copied from
        setattr(task, name, [*getattr(task, name), _end])
    _announce(context["ti"])


def _announce(ti: Any) -> None:
    this_try = attempt.begin(ti)
    if this_try.try_number > 1 and (store := current_store()):
        address = Address.of(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
        try:
            with about(address):
                store.take_over(address, this_try)
        except Exception as error:
            log.warning("The task's XComs are claimed at its first push, as they can't be now: %s", error)


def _end(context: Any) -> None:
    """The try is over, and its value is pushed: remove its pulled files, and forget it."""
    scratch.clear()
    attempt.end()


# -- small things -----------------------------------------------------------------------------------


def _caller(depth: int) -> FrameType | None:
    return sys._getframe(depth + 1)


def _own_way(what: str, error: Exception) -> None:
    log.warning("%s handled as Airflow itself does: %s: %s", what, type(error).__name__, error)
