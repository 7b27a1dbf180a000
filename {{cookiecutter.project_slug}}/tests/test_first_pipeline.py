"""The pipeline to begin with: a test to copy."""

from __future__ import annotations

from exclusive_xcom.testing.fixtures import Runner

from {{ cookiecutter.__package }} import models


def test_an_object_of_our_own_is_handed_over_and_written(run: Runner) -> None:
    done = run("first_pipeline", first_pipeline_bounces=2)
    assert done.value("drop") == models.Bounces([0.8, 0.64], way=3.88)
    assert done.table("heights.csv") == [{"bounce": "1", "metres": "0.8"}, {"bounce": "2", "metres": "0.64"}]
