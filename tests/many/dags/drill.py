"""Pairs of tasks that hand over what shows by itself whose it is, of which try, and whether it is whole.

The conf of the run says how large a value is, and in which folder notes are left for who runs the drill.
"""

# mypy: ignore-errors

from __future__ import annotations

import json
import os
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from airflow.exceptions import AirflowFailException
from airflow.sdk import dag, get_current_context, task

PAIRS = 4


def value(run_id: str, number: int, attempt: int, size: int) -> Any:
    """What a try of a producer makes: bytes, or a frame."""
    content = random.Random(f"{run_id} {number} {attempt}").randbytes(size)
    if number % 2:
        rows = [content[at : at + 1000] for at in range(0, size, 1000)]
        return pd.DataFrame({"attempt": attempt, "content": rows})
    return b"%d\n%s" % (attempt, content)


def attempt_of(made: Any) -> int:
    """The try that it says it is of."""
    return int(made.partition(b"\n")[0]) if isinstance(made, bytes) else int(made["attempt"].iloc[0])


def same(one: Any, other: Any) -> bool:
    """Whether nothing differs."""
    return one == other if isinstance(one, bytes) else one.equals(other)


@dag(schedule=None, default_args={"retries": 60, "retry_delay": timedelta(seconds=1)})
def drill() -> None:
    """Make, wait for the gate, read."""

    @task.sensor(mode="reschedule", poke_interval=1, timeout=3600)
    def gate() -> bool:
        return (Path(get_current_context()["dag_run"].conf["notes"]) / "gate").exists()

    opened = gate()
    for number in range(PAIRS):

        @task(task_id=f"make_{number}")
        def make(number: int) -> Any:
            context = get_current_context()
            size = context["dag_run"].conf["size"]
            return value(context["run_id"], number, context["ti"].try_number, size)

        @task(task_id=f"read_{number}")
        def read(made: Any, number: int) -> None:
            context = get_current_context()
            conf, attempt = context["dag_run"].conf, attempt_of(made)
            right = same(made, value(context["run_id"], number, attempt, conf["size"]))
            name = Path(conf["notes"]) / f"read-{number}-{context['ti'].try_number}-{os.getpid()}"
            name.write_text(json.dumps({"number": number, "attempt": attempt, "right": right}), "utf-8")
            if not right:
                raise AirflowFailException("What was read is not what was made.")

        made = read(make(number), number)
        opened >> made


drill()
