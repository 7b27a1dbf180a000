"""Airflow Variables as typed settings: what each pipeline can be told, its default and its limits.

This file is where defaults live. `config/variables.json`, which puts the Variables into Airflow, is
made from it by `python -m <package>.settings > config/variables.json`; a test compares the two.

Read settings inside tasks (`Orders.read()`) or by templates, never while a DAG file is imported:
Airflow imports those files all the time, and would ask its database each time. A Variable in Airflow
or in the environment (`AIRFLOW_VAR_ORDERS_SINCE`) wins over the default here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self


class BadSetting(ValueError):
    """A Variable holds what its rule does not allow."""


class Kind(Protocol):
    """What a Variable may hold. `str(kind)` is its rule, in words."""

    def parse(self, text: str) -> Any:
        """The value that `text` stands for. Raises ValueError when the rule does not allow it."""
        ...


@dataclass(frozen=True)
class Whole:
    """A whole number within limits."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"a whole number from {self.least:,} to {self.most:,}"

    def parse(self, text: str) -> int:
        """`text` as an int."""
        if not self.least <= (number := int(text)) <= self.most:
            raise ValueError(text)
        return number


@dataclass(frozen=True)
class Number:
    """A number within limits."""

    least: float
    most: float

    def __str__(self) -> str:
        return f"a number from {self.least:,g} to {self.most:,g}"

    def parse(self, text: str) -> float:
        """`text` as a float."""
        if not self.least <= (number := float(text)) <= self.most:  # false for NaN, too
            raise ValueError(text)
        return number


class Switch:
    """Yes or no."""

    def __str__(self) -> str:
        return "true or false"

    def parse(self, text: str) -> bool:
        """`text` as a bool."""
        return {"true": True, "false": False}[text.lower()]


@dataclass(frozen=True)
class Choice:
    """One of several words."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"one of {', '.join(self.words)}"

    def parse(self, text: str) -> str:
        """`text`, if it is one of the words."""
        return self.words[self.words.index(text)]


class Day:
    """A day of the calendar."""

    def __str__(self) -> str:
        return "a day such as 2024-12-31"

    def parse(self, text: str) -> date:
        """`text` as a date."""
        return date.fromisoformat(text)


class Folder:
    """A folder, which need not exist yet."""

    def __str__(self) -> str:
        return "the path of a folder; a relative one counts from the folder above the DAG's file"

    def parse(self, text: str) -> Path:
        """`text` as a path, not yet resolved."""
        if not text or "\0" in text:
            raise ValueError(text)
        return Path(text)


def variable(default: Any, kind: Kind, about: str) -> Any:
    """A field of a settings class.

    Args:
        default: the value when nobody has set the Variable. Must keep the rule of `kind`.
        kind: what the Variable may hold.
        about: its description, as Airflow's UI shows it.
    """
    return field(default=default, metadata={"kind": kind, "about": about})


@dataclass(frozen=True)
class Settings:
    """The settings of one pipeline. A field `since` of a class with the prefix `orders_` is the Variable
    `orders_since`."""

    prefix: ClassVar[str] = ""

    @classmethod
    def read(cls) -> Self:
        """All settings of this class, as Airflow has them now.

        Raises:
            BadSetting: a Variable breaks its rule.
        """
        from airflow.sdk import Variable

        given = {}
        for item in fields(cls):
            text = Variable.get(cls.prefix + item.name, default=None)
            if text is not None:
                given[item.name] = _parsed(
                    cls.prefix + item.name, str(text), item.metadata["kind"], item.default
                )
        return cls(**given)


@dataclass(frozen=True)
class Folders(Settings):
    """Where all pipelines read and write."""

    data_folder: Path = variable(Path("data"), Folder(), "Where the pipelines find their input.")
    output_folder: Path = variable(
        Path("output"), Folder(), "Where the pipelines leave their results, each in a folder of its own."
    )


@dataclass(frozen=True)
class TimeZones(Settings):
    """dags/time_zones.py"""

    prefix = "time_zones_"

    year: int = variable(2024, Whole(1970, 2037), "The year whose clocks are compared with the sun.")


@dataclass(frozen=True)
class WebLogs(Settings):
    """dags/web_logs.py"""

    prefix = "web_logs_"

    records: int = variable(
        3000,
        Whole(1, 5_000_000),
        "How many log records are handed over, about 140 bytes each. 3000 fit into a row of the database.",
    )
    session_minutes: int = variable(
        30, Whole(1, 1440), "A visitor who was silent for longer begins a new session."
    )


@dataclass(frozen=True)
class Pictures(Settings):
    """dags/pictures.py"""

    prefix = "pictures_"

    thumbnail_pixels: int = variable(160, Whole(16, 2048), "The longer side of a thumbnail.")
    columns: int = variable(4, Whole(1, 50), "Thumbnails side by side on the contact sheet.")
    format: str = variable("png", Choice(("png", "jpeg", "webp")), "File format of the contact sheet.")


@dataclass(frozen=True)
class SensorArchive(Settings):
    """dags/sensor_archive.py"""

    prefix = "sensor_archive_"

    kibibytes: int = variable(
        500,
        Whole(1, 16 * 2**20),
        "Size of the file that is handed over. 500 KiB fit into a row of the database; more needs a store.",
    )


@dataclass(frozen=True)
class Orders(Settings):
    """dags/orders.py"""

    prefix = "orders_"

    since: date = variable(date(2024, 1, 1), Day(), "Orders before this day are left out.")
    include_open: bool = variable(False, Switch(), "Whether orders count that are not paid yet.")


@dataclass(frozen=True)
class MeterReadings(Settings):
    """dags/meter_readings.py"""

    prefix = "meter_readings_"

    most_kwh: float = variable(100.0, Number(0, 1_000_000), "A daily reading above this is an error.")


@dataclass(frozen=True)
class PriceList(Settings):
    """dags/price_list.py"""

    prefix = "price_list_"

    vat_percent: float = variable(20.0, Number(0, 100), "Value added tax on top of net prices.")


ALL: tuple[type[Settings], ...] = (
    Folders,
    TimeZones,
    WebLogs,
    Pictures,
    SensorArchive,
    Orders,
    MeterReadings,
    PriceList,
)


def data_file(name: str) -> Path:
    """A file of the data folder. For tasks only.

    Raises:
        FileNotFoundError: there is no such file.
    """
    path = _beside_dags(Folders.read().data_folder) / name
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}. The Variable data_folder says where input lies.")
    return path


def output_file(name: str) -> Path:
    """A file in the running pipeline's own folder below the output folder, which is made when it is
    missing. For tasks only."""
    from airflow.sdk import get_current_context

    folder = _beside_dags(Folders.read().output_folder) / get_current_context()["dag"].dag_id
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def as_variables() -> dict[str, dict[str, Any]]:
    """Every Variable with default and description, as `airflow variables import` reads it."""
    return {
        name: {
            "value": _plain(item.default),
            "description": f"{item.metadata['about']} Is {item.metadata['kind']}.",
        }
        for name, item in _variables()
    }


def _variables() -> Iterator[tuple[str, Any]]:
    """Name and dataclass field of every Variable."""
    for group in ALL:
        for item in fields(group):
            yield group.prefix + item.name, item


def _parsed(name: str, text: str, kind: Kind, default: Any) -> Any:
    """The value of one Variable, or an error that says which one, what it holds, and what it may hold."""
    try:
        return kind.parse(text.strip())
    except (ValueError, KeyError):
        environment = f"AIRFLOW_VAR_{name.upper()}"
        remedy = (
            f"It comes from the environment: change {environment}."
            if environment in os.environ
            else f"Change it under Admin → Variables, or with `airflow variables set {name} {_plain(default)}`."
        )
        raise BadSetting(f"The Variable {name} is {text!r} but must be {kind}. {remedy}") from None


def _plain(value: Any) -> Any:
    """A default as JSON has it."""
    return value if isinstance(value, bool | int | float) else str(value)


def _beside_dags(folder: Path) -> Path:
    """The folder; a relative one counts from the folder that holds `dags/`.

    The DAG's own file is asked where that is, since a bundle may keep several copies of the repository.
    """
    from airflow.sdk import get_current_context

    return Path(get_current_context()["dag"].fileloc).resolve().parents[1] / folder


if __name__ == "__main__":
    sys.stdout.write(json.dumps(as_variables(), indent=2, ensure_ascii=False) + "\n")
