"""What tasks do in a worker besides returning a value: threads, coroutines, waiting, pulled files."""

# mypy: ignore-errors

from __future__ import annotations

import asyncio
import importlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from drill import note, stored
from xcom_trigger import XComTrigger

MANY = 8
VERY_MANY = 40  # more than an event loop has threads to wait in
FILE_CONTENT = b"what travels in a file\n" * 1000


def engine(name: str) -> Any:
    """A module of the project's engine."""
    return importlib.import_module(f"exclusive_xcom.{name}")


def who_pushes() -> list[Any]:
    """The try that the engine takes this code to be."""
    attempt = engine("attempt").current()
    return [attempt.try_number, attempt.ti_id]


def value(number: int) -> Any:
    """One of several values: every other one stays in the row as it is."""
    return {"try": number} if number % 2 else stored(number)


class Deferred(BaseOperator):
    """Pushes, waits in the triggerer, and pushes again."""

    def execute(self, context: Any) -> None:
        """Push, and wait a second without a worker."""
        ti = context["ti"]
        pulled = ti.xcom_pull(task_ids="file", map_indexes=-1)
        ti.xcom_push("before", stored(1))
        note(context, "deferred.before", {"who": who_pushes(), "file": str(pulled), "pid": os.getpid()})
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=1)), method_name="resume")

    def resume(self, context: Any, event: Any = None) -> Any:
        """Go on in another worker process."""
        context["ti"].xcom_push("after", stored(2))
        note(context, "deferred.after", {"who": who_pushes(), "pid": os.getpid()})
        return stored(3)


class InTriggerer(BaseOperator):
    """Waits for a trigger that pulls and pushes XComs itself."""

    def execute(self, context: Any) -> None:
        """Hand over to the triggerer."""
        ti = context["ti"]
        self.defer(trigger=XComTrigger(ti.dag_id, ti.run_id, ti.task_id), method_name="resume")

    def resume(self, context: Any, event: Any = None) -> Any:
        """Take what the trigger has found out."""
        note(context, "triggerer", event)


@dag(schedule=None)
def worker() -> None:
    """One task for each."""

    @task
    def itself() -> None:
        from airflow.sdk.execution_time.xcom import XCom
        from structlog.contextvars import get_contextvars

        context = get_current_context()
        in_thread = []
        thread = threading.Thread(target=lambda: in_thread.extend(who_pushes()))
        thread.start()
        thread.join()
        note(
            context,
            "itself",
            {
                "ti": [context["ti"].try_number, str(context["ti"].id)],
                "who": who_pushes(),
                "in a thread": in_thread,
                "log context": get_contextvars().get("ti_id"),
                "announced": engine("attempt")._announced.ti_id,
                "backend": XCom.__name__,
            },
        )

    @task
    def threads() -> None:
        ti = get_current_context()["ti"]
        with ThreadPoolExecutor(MANY) as pool:
            list(pool.map(lambda number: ti.xcom_push(f"thread {number}", value(number)), range(MANY)))

    @task
    async def coroutines() -> Any:
        ti = get_current_context()["ti"]

        async def push_and_pull(number: int) -> Any:
            for _ in range(3):
                await ti.axcom_push(f"coroutine {number}", value(number))
            return await ti.axcom_pull(key=f"coroutine {number}", map_indexes=-1)

        found = await asyncio.gather(*map(push_and_pull, range(VERY_MANY)))
        ti.xcom_push("not awaited", stored(9))
        return found

    @task(retries=0)
    async def coroutines_of_which_one_fails() -> None:
        ti = get_current_context()["ti"]
        pushes = [ti.axcom_push(f"coroutine {number}", value(number)) for number in range(VERY_MANY)]
        pushes.insert(VERY_MANY // 2, ti.axcom_push("nothing carries it", object()))
        await asyncio.gather(*pushes)

    @task
    def file() -> Path:
        path = Path(get_current_context()["dag_run"].conf["folder"]) / "travels.txt"
        path.write_bytes(FILE_CONTENT)
        return path

    @task
    def pulls_file(pulled: Path) -> None:
        assert pulled.read_bytes() == FILE_CONTENT
        note(get_current_context(), "file.success", str(pulled))

    @task
    def pulls_file_and_fails(pulled: Path) -> None:
        note(get_current_context(), "file.failed", str(pulled))
        raise RuntimeError("as intended")

    @task
    def pulls_file_and_skips(pulled: Path) -> None:
        note(get_current_context(), "file.skipped", str(pulled))
        raise AirflowSkipException

    @task
    def mapped(number: int) -> Any:
        return stored(number)

    @task
    def reduced(pulled: Any) -> Any:
        return [list(pulled), pulled[1], pulled[1:]]

    @task
    def mapped_again(pulled: Any) -> Any:
        return pulled

    @task(trigger_rule="all_done")
    def pull_everything() -> None:
        context = get_current_context()
        ti = context["ti"]

        def pull(task_id: str, key: str = "return_value") -> Any:
            return ti.xcom_pull(task_ids=task_id, key=key, map_indexes=-1)

        found = {
            "threads": [pull("threads", f"thread {number}") for number in range(MANY)],
            "coroutines": [pull("coroutines", f"coroutine {number}") for number in range(VERY_MANY)],
            "pulled by coroutines": pull("coroutines"),
            "not awaited": pull("coroutines", "not awaited"),
            "deferred": [pull("deferred", "before"), pull("deferred", "after"), pull("deferred")],
            "triggerer": [pull("in_triggerer", "from a coroutine"), pull("in_triggerer", "from a thread")],
            "lazy sequences": [pull("reduced"), ti.xcom_pull(task_ids="mapped_again")],
        }
        three = [stored(number) for number in range(3)]
        very_many = [value(number) for number in range(VERY_MANY)]
        expected = {
            "threads": very_many[:MANY],
            "coroutines": very_many,
            "pulled by coroutines": very_many,
            "not awaited": stored(9),
            "deferred": [stored(1), stored(2), stored(3)],
            "triggerer": [stored(4), stored(5)],
            "lazy sequences": [[three, three[1], three[1:]], three],
        }
        note(context, "pulled", {name: found[name] == value for name, value in expected.items()})

    made, several = file(), mapped.expand(number=[0, 1, 2])
    deferred = Deferred(task_id="deferred")
    made >> deferred
    [
        itself(),
        threads(),
        coroutines(),
        coroutines_of_which_one_fails(),
        deferred,
        deferred >> InTriggerer(task_id="in_triggerer"),
        pulls_file(made),
        pulls_file_and_fails(made),
        pulls_file_and_skips(made),
        reduced(several),
        mapped_again.expand(pulled=several),
    ] >> pull_everything()


worker()
