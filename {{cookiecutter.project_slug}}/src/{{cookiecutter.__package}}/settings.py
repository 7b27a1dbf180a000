"""Airflow Variables as typed settings: what each pipeline can be told, its default and its limits.

This file is where defaults live: to add a Variable, add a field. `config/variables.json`, which puts the
Variables into Airflow, is made from it by `make variables`; a test compares the two.

Read settings inside tasks (by the `read()` of a class) or by templates, never while a DAG file is imported.
A Variable in Airflow, or in the environment as `AIRFLOW_VAR_` and its name, wins over the default here.
"""

from __future__ import annotations
{%- if cookiecutter.examples == 'all' %}

from datetime import date
from typing import Literal
{%- endif %}
{%- if cookiecutter.examples == 'none' %}

from exclusive_xcom.variables import data_file, output_file
{%- else %}

from exclusive_xcom.variables import Settings, data_file, output_file
from pydantic import Field
{%- endif %}

__all__ = ["data_file", "output_file"]  # so that a DAG file finds all of this kind here
{%- if cookiecutter.examples != 'none' %}


class FirstPipeline(Settings, prefix="first_pipeline_"):
    """For dags/first_pipeline.py."""

    rows: int = Field(5, ge=1, le=1000, description="How many rows are made.")
{%- endif %}
{%- if cookiecutter.examples == 'all' %}


class TimeZones(Settings, prefix="time_zones_"):
    """For dags/time_zones.py."""

    year: int = Field(2024, ge=1970, le=2037, description="The year whose clocks are compared with the sun.")


class WebLogs(Settings, prefix="web_logs_"):
    """For dags/web_logs.py."""

    records: int = Field(
        3000,
        ge=1,
        le=5_000_000,
        description="How many log records are handed over, of about 140 bytes each. 3000 fit into a database "
        "row.",
    )
    session_minutes: int = Field(
        30, ge=1, le=1440, description="A visitor who was silent for longer begins a new session."
    )


class Pictures(Settings, prefix="pictures_"):
    """For dags/pictures.py."""

    thumbnail_pixels: int = Field(160, ge=16, le=2048, description="The longer side of a thumbnail.")
    columns: int = Field(4, ge=1, le=50, description="Thumbnails side by side on the contact sheet.")
    format: Literal["png", "jpeg", "webp"] = Field("png", description="File format of the contact sheet.")


class SensorArchive(Settings, prefix="sensor_archive_"):
    """For dags/sensor_archive.py."""

    kibibytes: int = Field(
        500,
        ge=1,
        le=16 * 2**20,
        description="Size of the file that is handed over. 500 KiB fit into a database row.",
    )


class Orders(Settings, prefix="orders_"):
    """For dags/orders.py."""

    since: date = Field(date(2024, 1, 1), description="Orders before this day are left out.")
    include_open: bool = Field(False, description="Whether orders count that are not paid yet.")


class MeterReadings(Settings, prefix="meter_readings_"):
    """For dags/meter_readings.py."""

    most_kwh: float = Field(100.0, ge=0, le=10_000, description="A daily reading above this is an error.")


class PriceList(Settings, prefix="price_list_"):
    """For dags/price_list.py."""

    vat_percent: float = Field(20.0, ge=0, le=100, description="Value added tax on top of net prices.")
    archive: str = Field(
        "", description="Address of the folder of all lists: s3://…, gs://…; empty for the output folder."
    )
    archive_connection: str = Field("", description="The Airflow connection to the archive; empty for none.")
{%- endif %}
