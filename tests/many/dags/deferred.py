"""A task that waits in the triggerer, and hands over what it gets afterwards."""

# mypy: ignore-errors

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import dag, task


@dag(schedule=None)
def deferred() -> None:
    """Wait, make, read."""

    @task
    def make() -> bytes:
        return b"made" * 2000

    @task
    def read(made: bytes) -> None:
        assert made == b"made" * 2000

    waits = TimeDeltaSensor(task_id="waits", delta=timedelta(seconds=3), deferrable=True)
    made = make()
    waits >> made
    read(made)


deferred()
