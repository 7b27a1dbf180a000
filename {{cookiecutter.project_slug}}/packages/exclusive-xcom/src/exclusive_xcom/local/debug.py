"""Runs one pipeline in this process, with the terminal that it was started from: `breakpoint()` works.

Airflow is imported inside of the functions: it reads its settings then, and some are made here.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from ..console import Failed, Refused, console
from ..transfer import Transfer
from . import quick, report
from .pipelines import choose, listed
from .runner import Event, TaskEnd

# Who looks around takes longer than reading a file may take.
PATIENT = {"AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "0"}
# What tasks say is shown, and not what Airflow says of each of its steps.
LEVELS = {"airflow": "WARNING", "airflow.task": "INFO", "airflow.providers": "INFO"}
LEVELS |= {"task": "WARNING", "alembic": "WARNING"}
# That a password of four letters is not masked in logs: once for each line with a connection.
LEVELS |= dict.fromkeys(
    ("airflow._shared.secrets_masker.secrets_masker", "airflow.sdk._shared.secrets_masker.secrets_masker"),
    "ERROR",
)


def debug(name: str, task_id: str | None, post_mortem: bool) -> bool:
    """Run the pipeline of that name; of its tasks all, or one and those before it. With `post_mortem`, open
    the debugger where a task fails. Returns whether all went well. Raises `Refused` and `Failed`."""
    levels = " ".join(f"{name}={level}" for name, level in LEVELS.items())
    os.environ.update(PATIENT, AIRFLOW__LOGGING__NAMESPACE_LEVELS=levels)  # for what logs by structlog
    with quick.no_collection():
        from . import watcher

        for logger, level in LEVELS.items():
            logging.getLogger(logger).setLevel(level)
        dag = _find(name)
        _take_time(dag)
        if task_id:
            _cut(dag, task_id)
        quick.make_api()
    out, events, started = console(), [], time.monotonic()

    def say(event: Event) -> None:
        events.append(event)
        if isinstance(event, TaskEnd):
            report.task_end(out, event)

    watcher.Watcher(say)
    watcher.Failures(post_mortem)
    with _failed_when_interrupted(dag.dag_id):
        state = str(dag.test().state)
    out.print()
    report.handed_over(out, report.gather(event for event in events if isinstance(event, Transfer)))
    out.print(f"\n{dag.dag_id}: {state} after {time.monotonic() - started:.0f} s.")
    return state == "success"


def _find(name: str) -> Any:
    """The one DAG that is meant."""
    from . import bag

    dags, found = bag.load()
    chosen = choose(found, [name])
    report.broken(console(), chosen.broken | chosen.beside)
    if not chosen.dag_ids:
        raise Failed(f"So {name!r} can't be run.")
    if len(chosen.dag_ids) > 1:
        raise Refused(f"{name!r} can be each of {listed(chosen.dag_ids)}. Say which.")
    return dags[chosen.dag_ids[0]]


def _take_time(dag: Any) -> None:
    """Take from the DAG what would end it while somebody looks around, and second tries."""
    dag.dagrun_timeout = None
    for task in dag.tasks:
        task.retries = 0
        task.execution_timeout = None


def _cut(dag: Any, task_id: str) -> None:
    """Leave one task in the DAG, and those before it, which make its input.

    `partial_subset` does this to a copy, in which no mapped task can run (Airflow 3.3): it compares values by
    their identity.
    """
    if not dag.has_task(task_id):
        close = get_close_matches(task_id, dag.task_ids)
        meant = f" Did you mean {' or '.join(close)}?" if close else ""
        there = f"There are: {listed(dag.task_ids)}."
        raise Refused(f"There is no task {task_id!r} in {dag.dag_id}.{meant} {there}")
    task = dag.get_task(task_id)
    kept = {task_id} | {each.task_id for each in task.get_upstreams_follow_setups()}
    dag.task_dict = {id_: each for id_, each in dag.task_dict.items() if id_ in kept}
    for each in dag.tasks:
        each.upstream_task_ids &= kept
        each.downstream_task_ids &= kept
    groups = dag.task_group.get_task_group_dict()
    for group in groups.values():
        group.children = {id_: each for id_, each in group.children.items() if id_ in kept or id_ in groups}
        group.upstream_task_ids &= kept
        group.downstream_task_ids &= kept


@contextmanager
def _failed_when_interrupted(dag_id: str) -> Iterator[None]:
    """A run that was interrupted has failed. Left as it is, the next scheduler would go on with it."""
    try:
        yield
    except BaseException:
        from airflow.models.dagrun import DagRun
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import update

        with create_session() as session:
            for model in (TaskInstance, DagRun):
                unfinished = (model.dag_id == dag_id) & model.state.in_(["running", "queued", "scheduled"])
                session.execute(update(model).where(unfinished).values(state="failed"))
        raise
