"""A producer whose first try is frozen at a gate and wakes up late, and a consumer that pulls what is there.

The conf of the run says before what the first try waits, what the consumer pulls, where tasks and test leave
notes for each other, and perhaps the number that a try goes by.
"""

# mypy: ignore-errors

from __future__ import annotations

import asyncio
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import dag, get_current_context, task


def note(context: Any, name: str, content: Any = None) -> None:
    """Leave a note, whole or not at all."""
    folder = Path(context["dag_run"].conf["folder"])
    draft = folder / f".{name}"
    draft.write_text(json.dumps(content), encoding="utf-8")
    draft.rename(folder / name)


def wait_for(context: Any, name: str) -> None:
    """Wait until the test has opened a gate."""
    while not (Path(context["dag_run"].conf["folder"]) / name).exists():
        time.sleep(0.05)


def note_refusal(context: Any) -> None:
    """Note the error that ended a try: the push of a returned value cannot be caught by the task itself."""
    error = context.get("exception")
    note(context, f"{context['ti'].try_number}.ended", f"{type(error).__name__}: {error}")


def stored(number: int) -> Any:
    """A value that no row holds as it is (a tuple), too large for one that keeps small values."""
    return ("try", number, "x" * 5000)


def written_by(value: Any) -> Any:
    """Which try wrote a value; the value itself if it is none of ours."""
    if value is None:
        return None
    if isinstance(value, dict) and value.keys() == {"try"}:
        return value["try"]
    # Airflow's own backend gives a list for a tuple.
    if isinstance(value, (tuple, list)) and [value[0], value[2]] == ["try", "x" * 5000]:
        return value[1]
    return repr(value)[:500]


@dag(schedule=None)
def drill() -> None:
    """Hand over what one try made."""

    @task(
        retries=9,
        retry_delay=timedelta(0),
        on_retry_callback=note_refusal,
        on_failure_callback=note_refusal,
    )
    def produce() -> Any:
        context = get_current_context()
        ti = context["ti"]
        number = context["dag_run"].conf.get("goes by", ti.try_number)
        first = number == 1
        said = {}

        def push(key: str) -> None:
            try:
                ti.xcom_push(key, {"try": number} if key == "plain" else stored(number))
                said[key] = "pushed"
            except Exception as error:
                said[key] = f"{type(error).__name__}: {error}"

        async def push_in_coroutine(key: str) -> None:
            try:
                await ti.axcom_push(key, stored(number))
                said[key] = "pushed"
            except Exception as error:
                said[key] = f"{type(error).__name__}: {error}"

        before = context["dag_run"].conf["frozen_before"]
        if first:
            note(context, "1.running", {"task": os.getpid(), "supervisor": os.getppid(), "id": str(ti.id)})
            if before == "push":
                wait_for(context, "gate")
                note(context, "1.pushing")
        push("plain")
        push("stored")
        if first:
            push("only of the first try")
            with ThreadPoolExecutor(1) as pool:
                pool.submit(push, "thread of the first try").result()
            asyncio.run(push_in_coroutine("coroutine of the first try"))
            note(context, "1.pushed", said)
            if before == "return":
                wait_for(context, "gate")
                note(context, "1.pushing")
        return stored(number) if context["dag_run"].conf["returns"] == "stored" else {"try": number}

    @task(retries=9, retry_delay=timedelta(0))
    def consume() -> None:
        context = get_current_context()
        ti = context["ti"]
        wait_for(context, "pull")
        pulled = {}
        for key in context["dag_run"].conf["keys"]:
            # Airflow reads one row for the one, and all rows of the task for the other.
            one = ti.xcom_pull(task_ids="produce", key=key, map_indexes=-1)
            many = ti.xcom_pull(task_ids="produce", key=key)
            pulled[key] = [written_by(one), written_by(many)]
        note(context, "pulled", pulled)

    produce() >> consume()


drill()
