"""Airflow Variables as typed settings: pydantic models that are read inside tasks, and made into a file.

    class Orders(Settings, prefix="orders_"):
        since: date = Field(date(2024, 1, 1), description="Orders before this day are left out.")

is the Variable `orders_since`: its type and its rule, its description, its default. `Orders.read()` gives it
as a task finds it now. A Variable in Airflow or in the environment (AIRFLOW_VAR_ORDERS_SINCE) wins over the
default.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_stack
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from . import folders
from .kinds import UNREADABLE, as_text, holds_secret, kind_of, plain, short
from .kinds import InWords as InWords

_IMPORTERS = ("airflow.dag_processing.dagbag", "airflow.dag_processing.importers")


class SettingError(ValueError):
    """A Variable holds what its rule does not allow. The text says which, what the rule is, what to do."""


class ReadAtImport(RuntimeError):
    """Variables were read while a DAG file is imported, and not inside a task."""


Folder = Annotated[
    Path, InWords("the path of a folder; a relative one counts from the folder that holds dags/")
]


class Settings(BaseModel):
    """The settings of one pipeline: each field of a subclass is a Variable.

    A subclass says what its Variables' names begin with: `class Orders(Settings, prefix="orders_")`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)
    prefix: ClassVar[str] = ""

    def __init_subclass__(cls, *, prefix: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.prefix = cls.prefix if prefix is None else prefix

    @classmethod
    def read(cls) -> Self:
        """All settings of this class, as Airflow has them now. For tasks and templates only.

        Raises:
            SettingError: a Variable breaks its rule, or one without a default is not set.
            ReadAtImport: a DAG file is being imported. Airflow would ask its database each time.
        """
        _refuse_at_import(cls.__name__)
        from airflow.sdk import Variable  # not above: `python -m` of a settings file must not start Airflow

        found = {item.field: Variable.get(item.variable, default=None) for item in cls.described()}
        return cls.parsed({field: str(text) for field, text in found.items() if text is not None})

    @classmethod
    def parsed(cls, texts: Mapping[str, str]) -> Self:
        """The settings that texts stand for, by name of the field. Raises `SettingError`."""
        items = {item.field: item for item in cls.described()}
        try:
            return cls.model_validate({field: items[field].parse(text) for field, text in texts.items()})
        except ValidationError as error:
            first = error.errors()[0]
        item = items.get(str(first["loc"][0])) if first["loc"] else None
        if item is None:
            names = ", ".join(item.variable for item in items.values())
            raise SettingError(f"The Variables {names} do not go together: {first['msg']}.")
        if first["type"] == "missing" and len(first["loc"]) == 1:
            raise item.error(f"is not set.{item.rule and f' It must be {item.rule}.'}")
        own = first["type"] in ("value_error", "assertion_error")  # said by a validator of the class
        reason = first["type"] if item.is_secret else first["msg"]  # a message may hold the value
        raise item.broken(texts.get(item.field, str(item.plain_default)), reason, own=own)

    @classmethod
    def described(cls) -> list[Setting]:
        """The settings of this class, in order."""
        return [Setting(cls.prefix + name, name, info) for name, info in cls.model_fields.items()]


@dataclass(frozen=True)
class Setting:
    """One Variable: its name in Airflow, its field in the class, and what pydantic knows of that."""

    variable: str
    field: str
    info: FieldInfo

    @property
    def default(self) -> Any:
        """The default; pydantic's mark for none, where a value is required (`info.is_required()`)."""
        return self.info.get_default(call_default_factory=True)

    @property
    def plain_default(self) -> Any:
        """The default as JSON has it; `parse` reads it back."""
        return plain(self.default)

    @property
    def rule(self) -> str:
        """What is allowed, in words; empty where only pydantic has some, whose message is told then."""
        return kind_of(self.info.annotation, self.info.metadata)[0]

    @property
    def is_secret(self) -> bool:
        """Whether its value must not be shown: its type or its default holds a pydantic secret anywhere."""
        if holds_secret(self.info.annotation):
            return True
        return not self.info.is_required() and str(SecretStr("mask")) in as_text(self.plain_default)

    def parse(self, text: str) -> Any:
        """The value that a text stands for, before pydantic checks its limits. Stricter than pydantic, which
        takes 1 for true, 2.0 for a whole number and seconds for a day. Raises `SettingError`."""
        try:
            return kind_of(self.info.annotation)[1](text)
        except UNREADABLE as error:
            reason = "it cannot be read" if self.is_secret else short(str(error))
            raise self.broken(text, reason) from None

    def broken(self, text: str, reason: str, *, own: bool = False) -> SettingError:
        """That the Variable's text breaks its rule. `reason` is told where the rule has no words of ours, or
        where it is the owner's own (`own`)."""
        shown = "'***'" if self.is_secret else repr(short(text))
        rule = f"but must be {self.rule}" if self.rule and not own else f"which is not allowed: {reason}"
        return self.error(f"is {shown}, {rule}.")

    def error(self, problem: str) -> SettingError:
        """That the Variable has this problem, and where to correct it."""
        environment = f"AIRFLOW_VAR_{self.variable.upper()}"
        unknown = self.info.is_required() or self.is_secret
        example = "…" if unknown else shlex.quote(as_text(self.plain_default))
        command = f"airflow variables set {self.variable} {example}"
        advice = f"Change it in the UI under Admin → Variables, or by `{command}`."
        if environment in os.environ:
            advice = f"It comes from the environment: change {environment} there."
        return SettingError(f"The Variable {self.variable} {problem} {advice}")


def _refuse_at_import(name: str) -> None:
    """Raise if a DAG file is being imported: then Airflow's importer is among our callers."""
    for frame, _ in walk_stack(None):
        if frame.f_globals.get("__name__", "").startswith(_IMPORTERS):
            raise ReadAtImport(
                f"{name}.read() was called while a DAG file is imported, which Airflow does all the time. "
                "Call it inside a task, or let a template call it: "
                f"user_defined_macros={{'settings': {name}.read}}."
            )


# -- all settings of a project ------------------------------------------------------------------------


class Folders(Settings):
    """For all pipelines."""

    data_folder: Folder = Field(Path("data"), description="Where pipelines find their input.")
    output_folder: Folder = Field(Path("output"), description="Where pipelines leave their results.")


def all_groups() -> list[type[Settings]]:
    """Every class of settings that is imported."""
    groups = Settings.__subclasses__()
    for group in groups:  # grows while it is read: subclasses of subclasses
        groups.extend(group.__subclasses__())
    return groups


def all_settings() -> list[Setting]:
    """Every setting, class by class. Raises ValueError if two classes have the same Variable."""
    found = [item for group in all_groups() for item in group.described()]
    names = [item.variable for item in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Two classes have the Variable {twice[0]}: give one of them another prefix.")
    return found


def as_variables() -> dict[str, dict[str, Any]]:
    """Every Variable with its default and description, as `airflow variables import` reads them. Left out are
    those that have no default, and secrets: the file is committed."""
    found = {}
    for item in all_settings():
        if not (item.info.is_required() or item.is_secret):
            allowed = f"Allowed: {item.rule}." if item.rule else ""
            about = " ".join(filter(None, (item.info.description, allowed)))
            found[item.variable] = {"value": item.plain_default, "description": about}
    return found


def variables_file() -> str:
    """The text of config/variables.json."""
    return json.dumps(as_variables(), indent=2, ensure_ascii=False) + "\n"


def data_file(name: str) -> Path:
    """A file or folder in the data folder; `project_folder` says from where a relative one counts.

    Works in tasks, and where none runs: in a unit test of a function, in a notebook.

    Raises:
        FileNotFoundError: there is no such file; says what there is.
    """
    folder = Folders.read().data_folder
    told = f"The Variable data_folder, now {str(folder)!r}, says where input lies."
    return folders.found(folders.project_folder() / folder / name, told=told)


def output_file(name: str) -> Path:
    """A path in the running DAG's own folder below the output folder, which it makes. Where no task runs, in
    the output folder itself. `project_folder` says from where a relative one counts."""
    context = folders.running()
    own = context["dag"].dag_id if context else ""
    folder = folders.project_folder() / Folders.read().output_folder / own
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name
