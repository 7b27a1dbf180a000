"""A value that is read once, and triggers that pull: what a test with `PULLS=declared` runs."""

# mypy: ignore-errors

from __future__ import annotations

import importlib
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, dag, get_current_context, task
from airflow.triggers.base import BaseTrigger, TriggerEvent
from drill import note, stored, wait_for, written_by


class Pull(BaseTrigger):
    """Pulls an XCom of the task `shares`, and tells what it got."""

    def __init__(self, dag_id: str, run_id: str, key: str) -> None:
        super().__init__()
        self.address = {"dag_id": dag_id, "run_id": run_id, "key": key}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer makes it of."""
        return "readers.Pull", self.address

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Pull."""
        from airflow.sdk.execution_time.xcom import XCom

        try:
            found = written_by(await XCom.aget_one(task_id="shares", **self.address))
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        yield TriggerEvent(found)


class Waits(BaseOperator):
    """Waits for a trigger that pulls a key."""

    def __init__(self, pulls: str, **options: Any) -> None:
        super().__init__(**options)
        self.pulls = pulls

    def execute(self, context: Any) -> None:
        """Hand over to the triggerer."""
        ti = context["ti"]
        self.defer(trigger=Pull(ti.dag_id, ti.run_id, self.pulls), method_name="resume")

    def resume(self, context: Any, event: Any = None) -> None:
        """Note what the trigger got."""
        note(context, self.task_id, event)


@dag(schedule=None)
def readers() -> None:
    """`hands_over` is read once, by `consumes`; of `shares` triggers read what is declared."""

    @task
    def hands_over() -> Any:
        exclusive = importlib.import_module("exclusive_xcom").exclusive
        return exclusive(stored(1), readers=["readers.consumes"], once=True)

    @task(retries=1, retry_delay=timedelta(0))
    def consumes(value: Any) -> None:
        context = get_current_context()
        number = context["ti"].try_number
        note(context, f"read.{number}", [written_by(value), os.getpid(), os.getppid()])
        if number == 1:
            wait_for(context, "never")  # it is killed here

    @task
    def shares() -> None:
        for key in ("declared", "undeclared"):
            get_current_context()["ti"].xcom_push(key, stored(2))

    consumes(hands_over())
    shared = shares()
    for key in ("declared", "undeclared"):
        shared >> Waits(task_id=f"pulls_{key}", pulls=key)


readers()
