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
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, Self, get_type_hints


class SettingError(ValueError):
    """A Variable holds what its rule does not allow."""


class Rule(Protocol):
    """What a Variable may hold. `str(rule)` says it in words."""

    def parse(self, text: str) -> Any:
        """The value that `text` stands for. Raises ValueError or KeyError when the rule forbids it."""
        ...


@dataclass(frozen=True)
class Whole:
    """A whole number within limits."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"a whole number from {self.least} to {self.most}"

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
        return f"a number from {self.least} to {self.most}"

    def parse(self, text: str) -> float:
        """`text` as a float."""
        if not self.least <= (number := float(text)) <= self.most:  # NaN is refused, too
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


@dataclass(frozen=True)
class Settings:
    """The settings of one pipeline.

    A field `since: Annotated[date, Day(), "..."] = date(2024, 1, 1)` of a subclass with the prefix
    `orders_` is the Variable `orders_since`: its type, its rule, its description and its default.
    """

    prefix: ClassVar[str] = ""

    @classmethod
    def read(cls) -> Self:
        """All settings of this class, as Airflow has them now.

        Raises:
            SettingError: a Variable breaks its rule.
        """
        from airflow.sdk import Variable  # not above: `python -m` of this file must not start Airflow

        given = {}
        for item in cls.described():
            text = Variable.get(item.variable, default=None)
            if text is not None:
                given[item.field] = item.parse(str(text))
        return cls(**given)

    @classmethod
    def described(cls) -> list[Setting]:
        """The settings of this class, in order."""
        hints = get_type_hints(cls, include_extras=True)
        return [
            Setting(cls.prefix + item.name, item.name, item.default, *hints[item.name].__metadata__)
            for item in fields(cls)
        ]


@dataclass(frozen=True)
class Setting:
    """One Variable: its name in Airflow, its field in the class, default, rule and description."""

    variable: str
    field: str
    default: Any
    rule: Rule
    about: str

    @property
    def plain_default(self) -> bool | int | float | str:
        """The default as JSON has it."""
        return self.default if isinstance(self.default, bool | int | float) else str(self.default)

    def parse(self, text: str) -> Any:
        """The value that the Variable's text stands for, or an error that says what is wrong with it.

        Raises:
            SettingError: it breaks the rule.
        """
        try:
            return self.rule.parse(text.strip())
        except (ValueError, KeyError):
            environment = f"AIRFLOW_VAR_{self.variable.upper()}"
            if environment in os.environ:
                advice = f"It comes from the environment: change {environment} there."
            else:
                command = f"airflow variables set {self.variable} {self.plain_default}"
                advice = f"Change it in the UI under Admin → Variables, or by `{command}`."
            raise SettingError(
                f"The Variable {self.variable} is {text!r}, but must be {self.rule}. {advice}"
            ) from None


@dataclass(frozen=True)
class Folders(Settings):
    """For all pipelines."""

    data_folder: Annotated[Path, Folder(), "Where pipelines find their input."] = Path("data")
    output_folder: Annotated[Path, Folder(), "Where pipelines leave their results."] = Path("output")


@dataclass(frozen=True)
class TimeZones(Settings):
    """For dags/time_zones.py."""

    prefix = "time_zones_"

    year: Annotated[int, Whole(1970, 2037), "The year whose clocks are compared with the sun."] = 2024


@dataclass(frozen=True)
class WebLogs(Settings):
    """For dags/web_logs.py."""

    prefix = "web_logs_"

    records: Annotated[
        int,
        Whole(1, 5_000_000),
        "How many log records are handed over, of about 140 bytes each. 3000 fit into a database row.",
    ] = 3000
    session_minutes: Annotated[
        int, Whole(1, 1440), "A visitor who was silent for longer begins a new session."
    ] = 30


@dataclass(frozen=True)
class Pictures(Settings):
    """For dags/pictures.py."""

    prefix = "pictures_"

    thumbnail_pixels: Annotated[int, Whole(16, 2048), "The longer side of a thumbnail."] = 160
    columns: Annotated[int, Whole(1, 50), "Thumbnails side by side on the contact sheet."] = 4
    format: Annotated[str, Choice(("png", "jpeg", "webp")), "File format of the contact sheet."] = "png"


@dataclass(frozen=True)
class SensorArchive(Settings):
    """For dags/sensor_archive.py."""

    prefix = "sensor_archive_"

    kibibytes: Annotated[
        int,
        Whole(1, 16 * 2**20),
        "Size of the file that is handed over. 500 KiB fit into a database row.",
    ] = 500


@dataclass(frozen=True)
class Orders(Settings):
    """For dags/orders.py."""

    prefix = "orders_"

    since: Annotated[date, Day(), "Orders before this day are left out."] = date(2024, 1, 1)
    include_open: Annotated[bool, Switch(), "Whether orders count that are not paid yet."] = False


@dataclass(frozen=True)
class MeterReadings(Settings):
    """For dags/meter_readings.py."""

    prefix = "meter_readings_"

    most_kwh: Annotated[float, Number(0, 10_000), "A daily reading above this is an error."] = 100.0


@dataclass(frozen=True)
class PriceList(Settings):
    """For dags/price_list.py."""

    prefix = "price_list_"

    vat_percent: Annotated[float, Number(0, 100), "Value added tax on top of net prices."] = 20.0


def all_settings() -> list[Setting]:
    """Every setting that there is, class by class."""
    return [item for group in Settings.__subclasses__() for item in group.described()]


def as_variables() -> dict[str, dict[str, Any]]:
    """Every Variable with default and description, as `airflow variables import` reads them."""
    return {
        item.variable: {"value": item.plain_default, "description": f"{item.about} Allowed: {item.rule}."}
        for item in all_settings()
    }


def data_file(name: str) -> Path:
    """A file or folder in the data folder. For tasks only.

    Raises:
        FileNotFoundError: there is none of that name.
    """
    path = _beside_dags(Folders.read().data_folder) / name
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}. The Variable data_folder says where input lies.")
    return path


def output_file(name: str) -> Path:
    """A path in the running pipeline's own folder below the output folder; makes that folder. For tasks
    only."""
    from airflow.sdk import get_current_context

    folder = _beside_dags(Folders.read().output_folder) / get_current_context()["dag"].dag_id
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def _beside_dags(folder: Path) -> Path:
    """The folder; a relative one counts from the folder that holds `dags/`.

    The DAG's own file tells where that is, since a DAG bundle may keep several copies of the repository.
    """
    from airflow.sdk import get_current_context

    return Path(get_current_context()["dag"].fileloc).resolve().parents[1] / folder


if __name__ == "__main__":
    sys.stdout.write(json.dumps(as_variables(), indent=2, ensure_ascii=False) + "\n")
