"""The one Airflow listener: tells the engine which task instance begins and when it is done.

Registered by the entry point `airflow.plugins` of the installed package. Beside the backend in
`plugins/` it would be imported a second time, and the backend would see nothing. Airflow swallows
what a listener raises, so nothing here is needed for safety.
"""

from __future__ import annotations

import sys
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from . import attempt, scratch
from .address import Address
from .errors import about
from .store import current_store


@hookimpl
def on_task_instance_running(task_instance: Any) -> None:
    """A try begins: note its ids, and let the store know of a second or later one."""
    ti, this_try = task_instance, attempt.begin(task_instance)
    if this_try.try_number > 1 and (store := current_store()):
        address = Address.of(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
        with about(address):
            store.take_over(address, this_try)


@hookimpl
def on_task_instance_success() -> None:
    """The try is over: remove its pulled files, and forget it."""
    scratch.clear()
    attempt.end()


on_task_instance_failed = on_task_instance_skipped = on_task_instance_success


class XComPlugin(AirflowPlugin):
    """What the entry point names."""

    name = "xcom"
    listeners = [sys.modules[__name__]]  # noqa: RUF012 - Airflow's own form
