"""Classes of your own that tasks hand to each other: dataclasses, pydantic models, named tuples, enums.

A consumer gets such an object back as it was. Only classes of this module may come to life when an XCom is
read, and Airflow's own: see AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES in config/airflow.env.
"""

from __future__ import annotations
{%- if cookiecutter.examples == 'all' %}

from pydantic import BaseModel


class Quality(BaseModel):
    """For dags/meter_readings.py: how good the readings are."""

    readings: int
    faults: dict[str, int]
    percent_good: float
    kwh: float
    meters_with_faults: list[str]
{%- endif %}
