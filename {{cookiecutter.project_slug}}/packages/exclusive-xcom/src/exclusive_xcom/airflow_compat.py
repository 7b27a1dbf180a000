"""What the engine takes of Airflow that is no public interface of it: each such name, and what reads it.

Each name has the versions of Airflow in whose source it was read. Where one is missing, the error says with
which Airflow this package works. The tests look for each of them in the Airflow that they run with.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from types import FrameType
from typing import Any, NamedTuple

OLDEST, NEWEST = (3, 3), (3, 4)  # of the versions that were read; engine/pyproject.toml has them, too


@dataclass(frozen=True)
class Private:
    """A name of Airflow's that is not meant for others.

    Attributes:
        name: "module:name", or "module:class.name".
        use: what the engine does with it.
        since: the first version of those that were read which has it; the last is `NEWEST`.
    """

    name: str
    use: str
    since: tuple[int, int] = OLDEST

    def there(self) -> bool:
        """Whether this Airflow has it. Imports Airflow."""
        module, _, names = self.name.partition(":")
        found: Any = importlib.import_module(module)
        for name in names.split("."):
            if name not in getattr(found, "__annotations__", {}) and not hasattr(found, name):
                return False
            found = getattr(found, name, None)
        return True


_TASK = "airflow.sdk.execution_time.task_runner"
_ROWS = "airflow.sdk.bases.xcom:BaseXCom"
_SEQUENCE = "airflow.sdk.execution_time.lazy_sequence:LazyXComSequence"
_MAPPED = "airflow.sdk.definitions._internal.expandinput"
_MAPPED_OPERATOR = "airflow.sdk.definitions.mappedoperator"
_CALLBACKS = "airflow.dag_processing.processor"
_OPERATOR = "airflow.sdk.definitions._internal.templater:Templater"
_MASKER = "airflow.sdk._shared.secrets_masker"

PRIVATE = (
    Private(f"{_TASK}:SUPERVISOR_COMMS", "attempt.py asks through it whether a try is the current one"),
    Private("airflow.sdk.execution_time.comms:DeleteTaskStateStore", "the question of attempt.py"),
    Private("airflow.sdk.execution_time.comms:OKResponse", "its answer"),
    Private(f"{_TASK}:_serialize_rendered_fields", "hooks.py has it read a line for a large argument"),
    Private(
        "airflow.serialization.serialized_objects:OperatorSerialization", "the same, where they are kept"
    ),
    Private(f"{_OPERATOR}._do_render_template_fields", "hooks.py learns in it that a try begins"),
    Private(f"{_ROWS}._push", "backend.py looks on while a task pushes its own XCom", (3, 4)),
    Private(f"{_ROWS}._apush", "the same from a coroutine", (3, 4)),
    Private(f"{_SEQUENCE}._xcom_arg", "binding.py has to know what a sequence asked for"),
    Private(f"{_SEQUENCE}._ti", "in which run it did"),
    Private(f"{_MAPPED}:DictOfListsExpandInput.resolve", "mapped.py knows by it that Airflow wants one item"),
    Private(f"{_MAPPED}:ListOfDictsExpandInput.resolve", "the same for `expand_kwargs`"),
    Private(f"{_MAPPED_OPERATOR}:MappedOperator.render_template_fields", "readers.py knows by it who reads"),
    Private(f"{_CALLBACKS}:_execute_task_callbacks", "the same of a callback"),
    Private(f"{_CALLBACKS}:_execute_email_callbacks", "the same"),
    Private(f"{_CALLBACKS}:_execute_dag_callbacks", "the same"),
    Private("airflow.sdk.observability.stats:incr", "metrics.py counts by it; documented nowhere"),
    Private("airflow.sdk.observability.stats:timing", "metrics.py tells by it how long something took"),
    Private("airflow.sdk.observability.stats:initialize", "the command line sets up what a task has set up"),
    Private("airflow.sdk.observability.metrics.stats_utils:get_stats_factory", "the same"),
    Private(
        "airflow.sdk.plugins_manager:get_hook_lineage_readers_plugins",
        "lineage.py learns from it whether anybody reads lineage",
    ),
    Private(f"{_MASKER}:_secrets_masker", "confidential.py asks which secrets are masked in logs"),
    Private(f"{_MASKER}:SecretsMasker.patterns", "these, each as `re.escape` makes it"),
    Private("airflow.sdk.log:redact", "glimpse.py leaves out of a preview what Airflow's log would mask"),
    Private("airflow.sdk.serde:_match", "pull.py reads Airflow's list of classes that may be made"),
    Private("airflow.sdk.serde:_extra_allowed", "those that a DAG has added to the list"),
)


def check() -> None:
    """Raises ImportError for an Airflow that was not read: a platform has it pinned, and pip was told not to
    mind. Airflow is not imported for that: it may be what imports us."""
    found = _installed()
    if found and not OLDEST <= tuple(map(int, re.findall(r"\d+", found)[:2])) <= NEWEST:
        raise ImportError(
            f"exclusive-xcom works with {_supported()}, and this is {found}: take one of these, "
            "or unset AIRFLOW__CORE__XCOM_BACKEND and uninstall exclusive-xcom."
        )


class Asking(NamedTuple):
    """Who asks for an XCom. An empty task_id: a callback of the DAG."""

    dag_id: str
    run_id: str
    task_id: str = ""
    map_index: int = -1


# Functions of Airflow's in whose calls it is known who asks, while no task runs, and what in them says it.
_ASKS: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
    (_MAPPED_OPERATOR, "MappedOperator.render_template_fields"): lambda seen: seen["context"]["ti"],
    (_CALLBACKS, "_execute_task_callbacks"): lambda seen: seen["request"].ti,
    (_CALLBACKS, "_execute_email_callbacks"): lambda seen: seen["request"].ti,
    (_CALLBACKS, "_execute_dag_callbacks"): lambda seen: seen["request"],
}
_NAMES = frozenset(name for _, name in _ASKS)  # few frames have one: each pull looks at all that there are


def asking() -> Asking | None:
    """Who asks for an XCom in this thread while no task runs: a mapped task whose arguments are looked up, or
    a callback that the dag-processor calls. None: none of these does."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_qualname
        if name in _NAMES and (told := _ASKS.get((frame.f_globals.get("__name__", ""), name))):
            who = told(frame.f_locals)
            return Asking(who.dag_id, who.run_id, *_task(who))
        frame = frame.f_back
    return None


def _task(who: Any) -> tuple[str, int] | tuple[()]:
    task_id, index = getattr(who, "task_id", ""), getattr(who, "map_index", None)
    return (task_id, -1 if index is None else index) if task_id else ()


class Asked(NamedTuple):
    """What a lazy sequence asked for."""

    dag_id: str
    run_id: str
    task_id: str
    key: str


def asked_by_sequence() -> Asked | None:
    """What the lazy sequence asked for whose item is being loaded in this thread; None if there is none.

    While the arguments of a mapped task are looked up nobody knows which task that is: the context is not set
    yet, no hook was called. Only the sequence knows, which calls us: it has its XComArg and its run.
    """
    from airflow.sdk.execution_time.lazy_sequence import LazyXComSequence

    asking = LazyXComSequence.__getitem__.__code__
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not asking:
        frame = frame.f_back
    if frame is None:
        return None
    sequence = frame.f_locals["self"]
    try:
        source, run_id = sequence._xcom_arg, sequence._ti.run_id
    except AttributeError as error:
        raise missing(f"{_SEQUENCE}._xcom_arg or ._ti") from error
    return Asked(source.operator.dag_id, run_id, source.operator.task_id, source.key)


def class_allowed(qualified_name: str) -> bool:
    """Whether Airflow's own allow-list holds a class: [core] allowed_deserialization_classes, and what the
    operators of a DAG declare."""
    from airflow.sdk import serde

    try:
        return bool(serde._match(qualified_name)) or qualified_name in serde._extra_allowed
    except AttributeError as error:
        raise missing("airflow.sdk.serde:_match or :_extra_allowed") from error


def masked() -> frozenset[str]:
    """The secrets that this process has registered to be masked in its logs, each as a regular expression
    that `re.escape` made. Those of other processes, as the supervisor's own, are not among them."""
    masker = importlib.import_module(_MASKER)
    try:
        return frozenset(masker._secrets_masker().patterns)
    except AttributeError as error:
        raise missing(f"{_MASKER}:_secrets_masker or :SecretsMasker.patterns") from error


def without_secrets(text: str, name: str = "") -> str:
    """A text as Airflow's log would show it under a name: `***` for the secrets that this process was told
    of, and for all that a name says is secret ("password")."""
    from airflow.sdk import log

    return str(log.redact(text, name or None))  # type: ignore[attr-defined] # imported there


def start_stats() -> None:
    """Have metrics sent by this process, which is no task, as the section [metrics] says."""
    from airflow.sdk.configuration import conf
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils

    with_old_names = conf.getboolean("metrics", "legacy_names_on")
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=with_old_names)


def lineage_is_read() -> bool:
    """Whether a plugin reads what Airflow's lineage collector is told. To make the collector in order to see
    what it is takes 20 ms; the plugins are loaded before a task's first line."""
    from airflow.sdk import plugins_manager

    try:
        return bool(plugins_manager.get_hook_lineage_readers_plugins())
    except AttributeError as error:
        raise missing("airflow.sdk.plugins_manager:get_hook_lineage_readers_plugins") from error


def missing(name: str) -> RuntimeError:
    """The error for a private name that this Airflow does not have."""
    return RuntimeError(
        f"Airflow {_installed() or 'here'} has no {name} any more, on which exclusive-xcom stands: it works "
        f"with {_supported()}."
    )


def _supported() -> str:
    versions = (".".join(map(str, version)) for version in (OLDEST, NEWEST))
    return f"Apache Airflow {' and '.join(versions)}"


def _installed() -> str | None:
    try:
        return metadata.version("apache-airflow-core")
    except metadata.PackageNotFoundError:  # installed in another way: what is missing will say so
        return None
