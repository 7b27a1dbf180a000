"""What the engine does around every task: notes which try begins, and shows large arguments in one line.

A task gets a subclass of its operator, made on the fly, with the same name, module and qualified name: what
Airflow stores of a DAG stays as it is. The subclass looks on where arguments are rendered. Values are never
replaced: only Airflow's own code that shows and stores rendered fields reads a line in the place of a value.
"""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from . import access, airflow_compat, attempt, config, readers, scratch
from .address import Address
from .errors import UnsupportedValue, about
from .handle import Handle
from .shown import in_one_line, shown
from .store import current_store

log = logging.getLogger(__name__)

_CALLBACKS = ("on_success_callback", "on_failure_callback", "on_retry_callback", "on_skipped_callback")
_OWN = "_exclusive_xcom"  # of a class: made here; of a running task: which arguments of it are XComs
# Who reads a line instead of a value. Wherever Airflow has moved that, it reads values, as without us.
_SHOWING = ("airflow.sdk.execution_time.task_runner", "_serialize_rendered_fields")
_STORING = "airflow.serialization.serialized_objects"
# Operators that can't have subclasses. A DAG's `test()` asks for each of its tasks as often as it has tasks.
_refusing: weakref.WeakSet[Any] = weakref.WeakSet()


def give_to(task: Any) -> None:
    """Give the hooks to a task that Airflow loads, and to those of the DAG whose `test()` loads it. A task
    that can't have them runs as it would without us, and the log says so once. Never raises."""
    for one in (task, *_tested()):
        if one.operator_class in _refusing:
            continue
        try:
            readers.note(one)
            _give_to(one)
        except Exception as error:
            _refusing.add(one.operator_class)
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
            if hasattr(self, "pickling_library"):
                _refuse_handles([*self.op_args, *self.op_kwargs.values()])

        # Pickle finds a class by its name, and so the operator's own. A copy keeps the hooks.
        def __reduce_ex__(self, protocol: Any) -> Any:
            return object.__new__, (kind,), _as_without_us(self.__getstate__())

        def __copy__(self) -> Any:
            if hasattr(kind, "__copy__"):
                return super().__copy__()
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
        name: [one for one in state[name] if one not in (_end, _end_well)]
        for name in _CALLBACKS
        if name in state
    }


# -- a try begins and ends --------------------------------------------------------------------------


def _begin(
    task: Any, parent: Any, template_fields: Any, context: Any, jinja_env: Any, seen_oids: Any = frozenset()
) -> None:
    """A task's arguments are about to be rendered. They may be again, and so may be what is in them."""
    from airflow.sdk.execution_time import task_runner

    if parent is not task or _OWN in vars(task) or not hasattr(task_runner, "SUPERVISOR_COMMS"):
        return
    vars(task)[_OWN] = {}
    _announce(context["ti"])
    access.begin(context)
    for name in _CALLBACKS:  # the lists are those of the task that this one was copied from
        end = _end_well if name == "on_success_callback" else _end
        setattr(task, name, [*getattr(task, name), end])
    if config.MAX_SHOWN_SIZE.read() and current_store() is not None:
        if not hasattr(task_runner, _SHOWING[1]):
            raise airflow_compat.missing(":".join(_SHOWING))
        vars(task)[_OWN] = {name: _xcoms(getattr(task, name, None), seen_oids) for name in template_fields}
        task.__class__ = _showing(type(task))


def _announce(ti: Any) -> None:
    this_try = attempt.begin(ti)
    if this_try.try_number > 1 and (store := current_store()):
        address = Address.of(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
        try:
            with about(address):
                store.take_over(address, this_try)
        except Exception as error:
            log.warning("The task's XComs are claimed at its first push, as they can't be now: %s", error)


def _end_well(context: Any) -> None:
    """The try has succeeded, and its value is pushed."""
    access.end(succeeded=True)
    _end(context)


def _end(context: Any) -> None:
    """The try is over: remove its pulled files, and forget it."""
    access.end(succeeded=False)
    scratch.clear()
    attempt.end()


def _refuse_handles(arguments: list[Any]) -> None:
    """What `@task.virtualenv`, `@task.external_python` and the like take is pickled. Where they run, neither
    this package nor the store need be at hand, and under `dag.test()` nobody answers their questions."""
    for value in arguments:
        if isinstance(value, Handle):
            what = "A Handle can't be handed to a function that runs in another Python"
            advice = "Call load() in a task before it, and hand over what that gives."
            raise UnsupportedValue(what, advice, address=value._reference.address)


# -- arguments in one line --------------------------------------------------------------------------


def _xcoms(field: Any, seen_oids: Any) -> Any:
    """Which items of a field are XComs, before it is rendered: their keys, or True for the field itself."""
    from airflow.sdk import XComArg

    def is_xcom(value: Any) -> bool:
        return id(value) in seen_oids or isinstance(value, XComArg)

    if is_xcom(field):
        return True
    if isinstance(field, dict):
        return {key for key, value in field.items() if is_xcom(value)}
    return (
        {at for at, value in enumerate(field) if is_xcom(value)} if isinstance(field, list | tuple) else set()
    )


def _showing(kind: Any) -> Any:
    """A subclass of a hooked operator whose arguments are in one line where Airflow shows them."""
    for made in kind.__subclasses__():
        if _OWN in vars(made):
            return made

    class Showing(kind):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> Any:
            value = super().__getattribute__(name)
            fields = super().__getattribute__("__dict__").get(_OWN, ())
            if name not in fields or not _shows(_caller(1)):
                return value
            try:
                return shown(value, fields[name], config.MAX_SHOWN_SIZE.read())
            except Exception as error:
                _own_way(f"Argument {name!r} is shown", error)
                return value

    setattr(Showing, _OWN, True)
    for name in ("execute_callable", "aexecute_callable"):
        if hasattr(kind, name) and hasattr(kind, "execute"):
            setattr(Showing, name, _told(getattr(kind, name), name.startswith("a")))
    return _named_as(kind, Showing)


def _shows(caller: FrameType | None) -> bool:
    if caller is None:
        return False
    module, code = caller.f_globals.get("__name__"), caller.f_code
    return module == _STORING or (module, code.co_name) == _SHOWING


def _told(call: Callable[..., Any], is_async: bool) -> Callable[..., Any]:
    """A method that calls the user's function. What is large of what that gave back is in the log by kind and
    size: Airflow would write all of it."""

    def tell(task: Any, value: Any) -> Any:
        try:
            is_shown, limit = getattr(task, "show_return_value_in_logs", False), config.MAX_SHOWN_SIZE.read()
            if is_shown and (line := in_one_line(value, limit)):
                task.show_return_value_in_logs = False
                task.log.info("Returned %s", line)
        except Exception as error:
            _own_way("The returned value is", error)
        return value

    def execute_callable(self: Any) -> Any:
        return tell(self, call(self))

    async def aexecute_callable(self: Any) -> Any:
        return tell(self, await call(self))

    return aexecute_callable if is_async else execute_callable


# -- small things -----------------------------------------------------------------------------------


def _caller(depth: int) -> FrameType | None:
    return sys._getframe(depth + 1)


def _own_way(what: str, error: Exception) -> None:
    log.warning("%s handled as Airflow itself does: %s: %s", what, type(error).__name__, error)
