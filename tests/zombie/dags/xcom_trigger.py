"""A trigger that pulls and pushes XComs while it runs in the triggerer."""

# mypy: ignore-errors

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class XComTrigger(BaseTrigger):
    """Pulls what the task `deferred` has pushed, and pushes for the task that waits for it."""

    def __init__(self, dag_id: str, run_id: str, task_id: str) -> None:
        super().__init__()
        self.address = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer makes it of."""
        return "xcom_trigger.XComTrigger", self.address

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Pull, push, and tell how that went."""
        from airflow.sdk.execution_time.xcom import XCom

        attempt = importlib.import_module("exclusive_xcom.attempt").current()
        upstream = {**self.address, "task_id": "deferred"}
        awaited = await XCom.aget_one(key="before", **upstream)
        in_thread = await asyncio.to_thread(XCom.get_one, key="before", **upstream)
        await XCom.aset("from a coroutine", ("try", 4, "x" * 5000), **self.address)
        await asyncio.to_thread(XCom.set, "from a thread", ("try", 5, "x" * 5000), **self.address)
        yield TriggerEvent(
            {
                "backend": XCom.__name__,
                "who": [attempt.try_number, attempt.ti_id],
                "pulled": [awaited == ("try", 1, "x" * 5000), in_thread == ("try", 1, "x" * 5000)],
            }
        )
