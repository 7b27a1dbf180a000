"""Who may read an XCom: what runs after it in its own run, or whom a rule or its producer names.

    rules = [
        "report.daily reads orders.*.return_value",
    ]

The first pattern is of the reader's DAG and task, the second of the XCom's DAG, task and key. A DAG's own
callbacks are the DAG alone ("report", and "report.*" means them, too), triggers are "@triggerer".

This is a guard against mistakes and quiet coupling. It is no wall: whoever can run code in a worker can ask
Airflow and the store without it.
"""

from __future__ import annotations

import json
import logging
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from . import access, airflow_compat, attempt, config, rulefile
from .access import TRIGGERER, Access
from .address import Address
from .binding import Question
from .errors import BadOption, NotAReader
from .reference import Reference

log = logging.getLogger(__name__)

_READS = " reads "
_dags: dict[str, weakref.ref[Any]] = {}  # those that this process has loaded
_before: dict[tuple[str, str], frozenset[str]] = {}  # of a DAG's task, the ids of all upstream
_told: set[tuple[str, str]] = set()


@dataclass(frozen=True)
class Reader:
    """Who asks for an XCom: a task of a run; with an empty `task_id` a callback of its DAG, or the triggerer,
    whose `dag_id` is "@triggerer"."""

    dag_id: str
    run_id: str = ""
    task_id: str = ""
    map_index: int = -1

    def __str__(self) -> str:
        return f"{self.dag_id}.{self.task_id}" if self.task_id else self.dag_id

    def is_named(self, pattern: str) -> bool:
        """Whether a pattern of "dag.task", "dag" or "@triggerer" means it."""
        if not self.task_id and fnmatchcase(self.dag_id, pattern):
            return True
        return self.dag_id != TRIGGERER and rulefile.matches(pattern, (self.dag_id, self.task_id))


def note(task: Any) -> None:
    """Note the DAG of a task that Airflow has loaded (hooks.py): it knows what is upstream of what."""
    if (dag := task.get_dag()) is not None and (
        (known := _dags.get(dag.dag_id)) is None or known() is not dag
    ):
        _dags[dag.dag_id] = weakref.ref(dag)
        _before.clear()


def current() -> Reader | None:
    """Who reads now; None if that is not known."""
    from structlog.contextvars import get_contextvars

    if "trigger_id" in get_contextvars():
        return Reader(TRIGGERER)
    if asking := airflow_compat.asking():
        return Reader(*asking)
    task = attempt.own_task()
    return Reader(task.dag_id, task.run_id, task.task_id, task.map_index) if task else None


# -- rules ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """One who may read what. `reader` and `xcom` are patterns."""

    reader: str
    xcom: str

    def allows(self, reader: Reader, address: Address) -> bool:
        """Whether it says that this one may read that."""
        ids = (address.dag_id, address.task_id, address.key)
        return reader.is_named(self.reader) and rulefile.matches(self.xcom, ids)


def parsed(found: Mapping[str, Any], file: str) -> tuple[Rule, ...]:
    """The rules of a file's content. Raises `ValueError`, which names the rule by number and text."""
    rulefile.check_names(found, ("rules",), "The file")
    listed = found.get("rules", [])
    if not isinstance(listed, list):
        raise ValueError('Rules are a list of texts, as in rules = ["report.daily reads orders.*.*"]')
    return tuple(_rule(text, number) for number, text in enumerate(listed, 1))


def _rule(text: object, number: int) -> Rule:
    name = f"Rule {number} ({json.dumps(text, ensure_ascii=False, default=str)})"
    reader, reads, xcom = text.strip().partition(_READS) if isinstance(text, str) else ("", "", "")
    reader, xcom = reader.strip(), xcom.strip()
    if not reads or not reader or not xcom:
        raise ValueError(f'{name} must be a text as "report.daily reads orders.*.return_value"')
    if " " in reader or (reader == "*" or (reader.startswith("@") and reader != TRIGGERER)):
        raise ValueError(f'{name}: the reader must be "dag.task", "dag" or "{TRIGGERER}", not {reader!r}')
    if xcom.count(".") < 2:
        raise ValueError(f'{name}: what is read must be "dag.task.key", as "orders.*.return_value"')
    return Rule(reader, xcom)


def declared() -> tuple[Rule, ...]:
    """The rules that are set now. Raises `BadOption`."""
    path = config.READERS.read()
    return rulefile.read(config.READERS, Path(path), "readers", parsed) if path else ()


# -- may it? ----------------------------------------------------------------------------------------


def check(question: Question, refs: Sequence[Reference | None]) -> None:
    """Look whether who reads may read what was asked for, before the store is.

    Raises:
        NotAReader: `AIRFLOW__XCOM__PULLS=declared`, and nothing says that it may; or its producer has named
            others.
        AlreadyConsumed: it is read once, and was.
        BadOption: the rules are wrong.
    """
    pulls = config.PULLS.read()
    named = list(_named(refs))
    if pulls == "open" and not named:
        return
    reader = current()
    is_free = pulls == "open" or len(named) == len(refs) > 0 or _may(reader, question)
    for ref in named:
        _check_named(reader, ref)
    if not is_free:
        _refuse(reader, question, pulls)


def _named(refs: Iterable[Reference | None]) -> Iterator[Reference]:
    """Those whose producer has said who reads them."""
    return (ref for ref in refs if ref is not None and ref.readers)


def _check_named(reader: Reader | None, ref: Reference) -> None:
    of = ref.address
    is_own = reader is not None and not ref.once and _is_own(reader, of)
    if reader is None or not (is_own or any(map(reader.is_named, ref.readers))):
        names = " and ".join(ref.readers)
        # A DAG's callback has no name of its own there: `exclusive` takes a name without a dot for a slip.
        name = (
            f'"{reader}.*"' if reader and not reader.task_id and reader.dag_id != TRIGGERER else f'"{reader}"'
        )
        do = (
            f"Name {name} in exclusive(value, readers=[…])"
            if reader
            else "Let a task read it that is named there, or name one,"
        )
        raise NotAReader(
            f"{_known(reader)} may not read it: its producer has it read by {names} alone",
            f"{do} of {of.dag_id}.{of.task_id}, or hand over what may be known to it under another key.",
            address=of,
        )
    if ref.once:
        access.check_once(ref, reader)


def check_once(of: Address, said: Access | None) -> None:
    """Raises `BadOption` if nobody could ever read what is to be read once: who is named is no task of the
    same DAG, or a mapped one. What a process does not know of its DAG it lets pass."""
    if said is None or not said.once:
        return
    name = said.readers[0]
    task_id, dag = name.removeprefix(f"{of.dag_id}."), _dag(of.dag_id)
    if task_id == name:
        why = f"{name} is none of {of.dag_id}"
    elif dag is None:
        return
    elif not dag.has_task(task_id):
        why = f"{of.dag_id} has no task {task_id}"
    elif (task := dag.get_task(task_id)).is_mapped or task.get_closest_mapped_task_group():
        why = f"{name} is mapped"
    else:
        return
    what = f"exclusive(): what is read once is read by a task of the same DAG that is not mapped, and {why}"
    raise BadOption(what, "Correct it in the task.", address=of)


def _may(reader: Reader | None, question: Question) -> bool:
    """Whether one may read without being named by who produced it."""
    if reader is None:
        return False
    of = question.address
    is_same_run = not question.any_run and (reader.dag_id, reader.run_id) == (of.dag_id, of.run_id)
    # A callback of the DAG comes behind all of its tasks.
    if is_same_run and (reader.task_id in ("", of.task_id) or of.task_id in _upstream(reader)):
        return True
    return any(rule.allows(reader, of) for rule in declared())


def _is_own(reader: Reader, of: Address) -> bool:
    return (reader.dag_id, reader.run_id, reader.task_id) == (of.dag_id, of.run_id, of.task_id)


def _upstream(reader: Reader) -> frozenset[str]:
    """The ids of all tasks that a task comes after."""
    task = reader.dag_id, reader.task_id
    if task in _before:
        return _before[task]
    dag = _dag(reader.dag_id)
    if dag is None or not dag.has_task(reader.task_id):
        return frozenset()
    found = frozenset(dag.get_task(reader.task_id).get_flat_relative_ids(upstream=True))
    _before[task] = found
    return found


def _dag(dag_id: str) -> Any:
    """A DAG as this process has it. Without the hooks, a running task's context knows it."""
    if (dag := _noted(dag_id)) is not None:
        return dag
    from airflow.sdk import get_current_context

    try:
        dag = get_current_context()["dag"]
    except (RuntimeError, KeyError):
        return None
    return dag if dag.dag_id == dag_id else None


def _noted(dag_id: str) -> Any:
    return found() if (found := _dags.get(dag_id)) else None


def _refuse(reader: Reader | None, question: Question, pulls: str) -> None:
    of = question.address
    xcom = ".".join(map(rulefile.literal, (of.dag_id, of.task_id, of.key)))
    line = rulefile.quoted(f"{reader or 'dag.task'}{_READS}{xcom}") + ","
    why = "other runs are asked for, too" if question.any_run else "it does not run after it in the same run"
    what = f"{_known(reader)} is not declared as a reader of it" + (f", and {why}" if reader else "")
    where = f"the rules in {config.READERS.read() or 'a file that ' + config.READERS.variable + ' names'}"
    if pulls == "declared":
        raise NotAReader(what, f"If it should read it, add to {where}: {line}", address=of)
    if (told := (str(reader), f"{of.dag_id}.{of.task_id}.{of.key}")) not in _told:
        _told.add(told)
        refused = f"With {config.PULLS.variable}=declared this is refused, unless {where} have"
        log.warning("%s", f"{what} (XCom {of}). {refused}: {line}")


def _known(reader: Reader | None) -> str:
    return "Somebody who is no known task" if reader is None else str(reader)
