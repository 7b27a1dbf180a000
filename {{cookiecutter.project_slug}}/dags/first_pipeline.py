"""Makes rows in one task, and writes them to a file in the next."""

from __future__ import annotations

import csv
from datetime import timedelta

from airflow.sdk import dag, task

from {{ cookiecutter.__package }} import settings


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["smoke"],
    default_args={"owner": "data-team", "retries": 1, "retry_delay": timedelta(seconds=10)},
)
def first_pipeline():
    """
    # Square numbers

    Makes a table of square numbers, as many as the Variable says, and writes it to
    `output/first_pipeline/squares.csv`.

    This text is the pipeline's page in Airflow's UI.

    **What is handed over:** a list of rows.

    **Variables:** `first_pipeline_rows`, `output_folder`.
    """

    @task
    def make() -> list[dict[str, int]]:
        """Each number with its square."""
        rows = settings.FirstPipeline.read().rows
        return [{"number": number, "square": number**2} for number in range(1, rows + 1)]

    @task
    def write(rows: list[dict[str, int]]) -> int:
        """Write the rows, and give their number."""
        with settings.output_file("squares.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, ["number", "square"])
            table.writeheader()
            table.writerows(rows)
        return len(rows)

    write(make())


first_pipeline()
