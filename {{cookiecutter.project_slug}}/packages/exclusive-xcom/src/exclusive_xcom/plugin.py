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


@hookimpl
def on_task_instance_running(previous_state: Any, task_instance: Any) -> None:
    """A try begins: note its ids, and let the backend know of a second or later one."""
    this_try = attempt.begin(task_instance)
    if this_try.try_number > 1:
        from airflow.sdk.execution_time.xcom import XCom

        from .backend import XComBackend

        if issubclass(XCom, XComBackend):
            address = Address.of(
                task_instance.dag_id,
                task_instance.run_id,
                task_instance.task_id,
                task_instance.map_index,
            )
            XCom.store().take_over(address, this_try)


def _done() -> None:
    scratch.clear()
    attempt.end()


@hookimpl
def on_task_instance_success(previous_state: Any, task_instance: Any) -> None:
    """The try is over: remove its pulled files."""
    _done()


@hookimpl
def on_task_instance_failed(previous_state: Any, task_instance: Any, error: Any) -> None:
    """The try is over: remove its pulled files."""
    _done()


@hookimpl
def on_task_instance_skipped(previous_state: Any, task_instance: Any) -> None:
    """The try is over: remove its pulled files."""
    _done()


class XComPlugin(AirflowPlugin):
    """What the entry point names."""

    name = "xcom"
    listeners = [sys.modules[__name__]]  # noqa: RUF012 - Airflow's own form
