"""Manual push and pull with named keys, next to a returned dict with multiple_outputs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import dag, get_current_context, task
from exclusive_xcom import exclusive

from {{ cookiecutter.__package }} import models, settings

if TYPE_CHECKING:
    import pandas as pd


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["template-example", "named keys"],
    default_args={"owner": "data-team", "retries": 1, "retry_delay": timedelta(seconds=10)},
)
def meter_readings():
    """
    # Let no faulty reading into the bill

    Checks the daily readings of electricity meters (invented, `data/meter_readings.csv`), keeps the good
    ones, and says of each rejected one why. The results are `output/meter_readings/accepted.csv`,
    `rejected.csv` and `quality.json`.

    **What is handed over:** `check` gives several things, in the two ways that Airflow has for it.
    What every run has, it returns as a dict with `multiple_outputs=True`: each entry is an XCom of its own,
    which `check()["readings"]` names. (Airflow stores the whole dict once more beside them, so large things
    do not belong in there.) The tables it pushes under the names `accepted` and `rejected`, and their
    consumers pull them with `ti.xcom_pull(task_ids="check", key="rejected", map_indexes=-1)`.
    `quality` returns an object of a class in `src/{{ cookiecutter.__package }}/models.py`.

    **Who may read it:** which customer's meter is faulty concerns nobody but `complaints`: so `check` says with
    `exclusive`. Whatever other task pulls `rejected` fails at once with `NotAReader`.

    **Variables:** `meter_readings_most_kwh`, `data_folder`, `output_folder`.
    """

    @task(multiple_outputs=True)
    def check() -> dict[str, Any]:
        """Sort the readings into accepted and rejected."""
        import pandas as pd

        readings = pd.read_csv(settings.data_file("meter_readings.csv"), parse_dates=["day"])
        most = settings.MeterReadings.read().most_kwh
        # The first reason that holds is the one that counts.
        reasons = {
            "sent twice": readings.duplicated(["meter", "day"]),
            "missing": readings["kwh"].isna(),
            "negative": readings["kwh"] < 0,
            f"above {most:g} kWh": readings["kwh"] > most,
        }
        readings["reason"] = ""
        for reason, holds in reasons.items():
            readings.loc[holds & (readings["reason"] == ""), "reason"] = reason
        good = readings["reason"] == ""

        task_instance = get_current_context()["ti"]
        task_instance.xcom_push(key="accepted", value=readings[good].drop(columns="reason"))
        only = ["meter_readings.complaints"]
        task_instance.xcom_push(key="rejected", value=exclusive(readings[~good], readers=only))
        return {
            "readings": len(readings),
            "faults": {reason: int((readings["reason"] == reason).sum()) for reason in reasons},
        }

    @task
    def monthly() -> float:
        """Consumption of all meters; writes the good readings."""
        accepted: pd.DataFrame = get_current_context()["ti"].xcom_pull(
            task_ids="check", key="accepted", map_indexes=-1
        )
        accepted.to_csv(settings.output_file("accepted.csv"), index=False)
        return round(float(accepted["kwh"].sum()), 2)

    @task
    def complaints() -> list[str]:
        """Meters that had a fault, most faults first; writes the rejected readings."""
        rejected: pd.DataFrame = get_current_context()["ti"].xcom_pull(
            task_ids="check", key="rejected", map_indexes=-1
        )
        rejected.to_csv(settings.output_file("rejected.csv"), index=False)
        faults = rejected["meter"].value_counts().to_dict()
        return sorted(faults, key=lambda meter: (-faults[meter], meter))

    @task
    def quality(readings: int, faults: dict[str, int], kwh: float, meters: list[str]) -> models.Quality:
        """Write the figures."""
        figures = models.Quality(
            readings=readings,
            faults=faults,
            percent_good=round(100 * (1 - sum(faults.values()) / readings), 2),
            kwh=kwh,
            meters_with_faults=meters,
        )
        path = settings.output_file("quality.json")
        path.write_text(figures.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return figures

    checked = check()
    total, named = monthly(), complaints()
    checked >> [total, named]  # they pull by name, which Airflow can't see
    quality(checked["readings"], checked["faults"], total, named)


meter_readings()
