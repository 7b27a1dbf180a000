"""A pipeline to begin with: one task makes something, the next one uses it. Copy it, with its test."""

from __future__ import annotations

import csv
from datetime import timedelta

from airflow.sdk import dag, task

from {{ cookiecutter.__package }} import models, settings


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["smoke"],
    default_args={"owner": "data-team", "retries": 1, "retry_delay": timedelta(seconds=10)},
)
def first_pipeline():
    """
    # How far does a bouncing ball travel?

    Drops a ball from one metre; each time it comes back to 80 percent of the height that it fell from. The
    heights are in `output/first_pipeline/heights.csv`.

    **What is handed over:** an object of a class in `src/{{ cookiecutter.__package }}/models.py`.

    **Variables:** `first_pipeline_bounces`, `output_folder`.
    """

    @task
    def drop() -> models.Bounces:
        """The heights of a ball, and all of its way up and down."""
        heights = [round(0.8**bounce, 3) for bounce in range(1, settings.FirstPipeline.read().bounces + 1)]
        return models.Bounces(heights, way=round(1 + 2 * sum(heights), 3))

    @task
    def write(bounces: models.Bounces) -> str:
        """Write the heights, and give the file's path."""
        path = settings.output_file("heights.csv")
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("bounce", "metres"), *enumerate(bounces.heights, start=1)])
        return str(path)

    write(drop())


first_pipeline()
