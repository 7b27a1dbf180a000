"""DAGs whose tasks take large arguments, and some that Airflow can't show, in every way there is.

A task fails if what it gets is not what was handed over. What callbacks see goes into the file NOTES.
"""

# mypy: ignore-errors

from __future__ import annotations

import asyncio
import copy
import math
import os
import pickle  # noqa: TID251 - Airflow does, for tasks that run elsewhere
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator, dag, get_current_context, setup, task, teardown

from exclusive_xcom import lazy

PAUSE = float(os.environ.get("PAUSE", "0.1"))  # seconds until a task runs again
LARGE = [{"number": number, "text": "x" * 50} for number in range(1000)]
ODD = {"nan": math.nan, "infinite": -math.inf, "big": 2**70, "half": "a\ud800"}


def same(value: Any, other: Any = LARGE) -> Any:
    """Refuse anything else."""
    assert type(value) is type(other)
    assert repr(value) == repr(other)
    return value


def note(line: str) -> None:
    """Take down what happened where no test can look."""
    with open(os.environ["NOTES"], "a", encoding="utf-8") as notes:
        notes.write(f"{line}\n")


def noting(kind: str) -> Any:
    """A callback that takes down what it sees."""

    def callback(context: Any) -> None:
        note(f"{kind} of {context['task'].task_id}: {[type(x).__name__ for x in context['task'].op_args]}")

    return callback


def noting_the_error(context: Any) -> None:
    """A callback that takes down why its task failed."""
    note(f"error: {context['exception']}")


class Takes(BaseOperator):
    """A classic operator that pickles its field, and changes it where it is rendered."""

    template_fields = ("rows", "query")
    template_fields_renderers = {"query": "sql"}  # noqa: RUF012 - as operators have it

    def __init__(self, rows: Any, query: str = "", **others: Any) -> None:
        super().__init__(**others)
        self.rows = rows
        self.query = query

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Needs the values themselves, right after they were rendered."""
        super().render_template_fields(context, jinja_env)
        same(self.rows)

    def pre_execute(self, context: Any) -> None:
        """Comes before `execute`."""
        same(self.rows)

    def execute(self, context: Any) -> Any:
        """Compare."""
        assert len(self.query) > 20_000
        return same(pickle.loads(pickle.dumps(self.rows)))


class Waits(Takes):
    """One that goes on in another method, after it has waited."""

    def execute(self, context: Any) -> Any:
        """Wait."""
        super().execute(context)
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=PAUSE)), method_name="go_on")

    def go_on(self, context: Any, event: Any = None) -> Any:
        """Resume."""
        return same(self.rows)


@dag(schedule=None)
def arguments() -> None:
    """Every way in which a task takes something."""

    @task
    def large() -> Any:
        return LARGE

    @task
    def odd() -> Any:
        return ODD

    @task
    def takes(rows: Any, day: str = "20") -> Any:
        context = get_current_context()
        assert day.startswith("20")
        for running in (context["task"], context["ti"].task):
            assert running.op_kwargs.get("rows", [*running.op_args, None][0]) is rows
        return same(rows)

    @task
    def takes_odd(value: Any) -> None:
        same(value, ODD)

    @task
    def takes_in_parts(parts: Any) -> None:
        same(parts["rows"])
        same(parts["odd"][0], ODD)

    @task
    def needs_two_tries(rows: Any) -> None:
        same(rows)
        if get_current_context()["ti"].try_number == 1:
            raise RuntimeError("as intended")

    @task
    def takes_one_of_many(number: int, rows: Any) -> Any:
        same(rows)
        return [number]

    @task
    def gives_many() -> Any:
        return [{"number": number, "rows": LARGE} for number in range(2)]

    @task
    def gives_lists() -> Any:
        return [LARGE, LARGE]

    @task(map_index_template="{{ task.op_kwargs['rows'] | length }} rows")
    def takes_mapped(rows: Any) -> None:
        same(rows)

    @task(multiple_outputs=True)
    def gives_several() -> Any:
        return {"rows": LARGE, "odd": ODD}

    @setup
    def sets_up(rows: Any) -> Any:
        return same(rows)

    @teardown
    def tears_down(rows: Any) -> None:
        same(rows)

    @task.sensor(mode="reschedule", poke_interval=PAUSE)
    def looks_twice(rows: Any) -> bool:
        same(rows)
        looked = Path(os.environ["NOTES"] + ".looked")
        was_there = looked.exists()
        looked.touch()
        return was_there

    @task.branch
    def chooses(rows: Any) -> str:
        same(rows)
        return "chosen"

    @task.short_circuit
    def goes_on(rows: Any) -> Any:
        return same(rows)

    @task
    async def is_async(rows: Any) -> Any:
        await asyncio.sleep(0)
        return same(rows)

    @task.external_python(python=sys.executable, expect_airflow=False)
    def runs_elsewhere(rows: Any, value: Any) -> Any:
        import math

        assert (len(rows), rows[9]["number"], type(rows)) == (1000, 9, list)
        assert math.isnan(value["nan"])
        return rows

    @task
    def gives_a_handle() -> Any:
        return lazy(LARGE)

    @task.external_python(python=sys.executable)
    def takes_a_handle_elsewhere(rows: Any) -> int:
        return len(rows.load())

    @task.bash
    def is_bash(rows: Any) -> str:
        return f"echo {len(same(rows))}"

    @task
    def copies(rows: Any) -> None:
        running = get_current_context()["task"]
        same(copy.copy(running).op_args[0])
        same(copy.deepcopy(running).op_args[0])

    @task
    def sees(rows: Any) -> None:
        raise RuntimeError("as intended")

    @task(trigger_rule="all_done")
    def after_the_failure() -> None:
        pass

    rows, value = large(), odd()
    takes.override(task_id="takes_by_name")(rows=rows, day="{{ ds }}")
    taken = takes.override(task_id="with_callbacks", on_success_callback=noting("success"))(rows)
    takes.override(task_id="takes_what_was_taken")(taken)
    takes_odd(value)
    takes_in_parts({"rows": rows, "odd": [value]})
    needs_two_tries.override(retries=1, retry_delay=timedelta(0))(rows)
    takes_one_of_many.partial(rows=rows).expand(number=[1, 2])
    takes_one_of_many.override(task_id="of_kwargs").expand_kwargs(gives_many())
    takes_mapped.expand(rows=gives_lists())
    several = gives_several()
    takes.override(task_id="takes_a_part")(several["rows"])
    takes_odd.override(task_id="takes_an_odd_part")(several["odd"])
    ready = sets_up(rows)
    tears_down(rows).as_teardown(setups=ready)
    looks_twice(rows)
    chooses(rows) >> [takes.override(task_id="chosen")(rows), takes.override(task_id="not_chosen")(rows)]
    goes_on(rows) >> takes.override(task_id="went_on")(rows)
    is_async(rows)
    takes.override(task_id="from_elsewhere")(runs_elsewhere(rows, value))
    handle = gives_a_handle()
    takes_a_handle_elsewhere.override(on_failure_callback=noting_the_error)(handle) >> after_the_failure()
    is_bash(rows)
    copies(rows)
    (
        sees.override(on_failure_callback=noting("failure"))(rows)
        >> after_the_failure.override(task_id="after_all")()
    )
    query = "select 1 -- {{ ds }}" + "x" * 20_000
    Takes(task_id="classic", rows=rows, query=query)
    Takes.partial(task_id="classic_mapped", query=query).expand(rows=gives_lists.override(task_id="lists")())
    Waits(task_id="waits", rows=rows, query=query)
    PythonOperator(
        task_id="python", python_callable=lambda rows: same(rows) and None, op_kwargs={"rows": rows}
    )
    rows >> BashOperator(task_id="bash", bash_command="echo {{ ti.xcom_pull('large') | length }}")


arguments()
