"""The pipeline of named keys and of a model of our own: good and faulty meter readings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.sdk import get_current_context
from exclusive_xcom.testing.fixtures import Runner

from {{ cookiecutter.__package }} import models

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag


def test_good_and_faulty_readings_are_told_apart(run: Runner) -> None:
    done = run("meter_readings")
    accepted, rejected = done.value("check", key="accepted"), done.value("check", key="rejected")
    assert (len(accepted), len(rejected)) == (597, 30)
    assert accepted["kwh"].between(0, 100).all()
    assert not accepted.duplicated(["meter", "day"]).any()
    assert str(accepted["day"].dtype).startswith("datetime64")
    faults = {"sent twice": 7, "missing": 12, "negative": 6, "above 100 kWh": 5}
    assert rejected["reason"].value_counts().to_dict() == faults
    assert done.value("check", key="readings") == 627
    assert done.value("check", key="faults") == faults
    assert done.value("check") == {"readings": 627, "faults": faults}

    written = done.table("rejected.csv")
    reasons = list(zip(rejected["meter"], rejected["reason"], strict=True))
    assert [(row["meter"], row["reason"]) for row in written] == reasons
    quality = done.value("quality")
    assert quality == models.Quality(
        readings=627,
        faults=faults,
        percent_good=round(100 * 597 / 627, 2),
        kwh=round(sum(float(row["kwh"]) for row in done.table("accepted.csv")), 2),
        meters_with_faults=done.value("complaints"),
    )
    assert set(quality.meters_with_faults) == {row["meter"] for row in written}
    assert models.Quality.model_validate_json(done.text("quality.json")) == quality


def test_the_limit_is_a_variable(run: Runner) -> None:
    done = run("meter_readings", meter_readings_most_kwh=12.5)
    assert done.value("check", key="accepted")["kwh"].max() <= 12.5
    assert "above 12.5 kWh" in done.value("check", key="faults")


def test_rejected_readings_are_for_complaints_alone(
    run: Runner, pipelines: DagBag, monkeypatch: pytest.MonkeyPatch
) -> None:
    def curious() -> None:
        get_current_context()["ti"].xcom_pull(task_ids="check", key="rejected", map_indexes=-1)

    monthly = pipelines.dags["meter_readings"].get_task("monthly")
    monkeypatch.setattr(monthly, "python_callable", curious)
    done = run("meter_readings", fails=True)
    assert done.states["complaints"] == "success"
    assert done.states["monthly"] == "failed"  # at once: a second try would change nothing
