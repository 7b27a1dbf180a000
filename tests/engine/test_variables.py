"""Variables as settings: which of several values wins, what a wrong one is answered with, the file of all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Optional
from uuid import UUID

import pytest
from pydantic import (
    BaseModel,
    Field,
    JsonValue,
    PlainValidator,
    Secret,
    SecretBytes,
    SecretStr,
    create_model,
    field_validator,
    model_validator,
)
from typing_extensions import TypeAliasType

from exclusive_xcom.variables import (
    Folders,
    InWords,
    ReadAtImport,
    SettingError,
    Settings,
    all_settings,
    as_variables,
    variables_file,
)

Import = Callable[[Path], dict[str, dict[str, Any]]]
Make = Callable[..., type[Settings]]


class Shop(Settings, prefix="shop_"):
    """One field of each kind that has words."""

    records: int = Field(3000, ge=1, le=5_000_000, description="How many.")
    percent: float = Field(20.0, ge=0, le=100, description="Tax.")
    since: date = Field(date(2024, 1, 1), description="Orders before this day are left out.")
    include_open: bool = Field(False, description="Whether open orders count.")
    format: Literal["png", "jpeg", "webp"] = Field("png", description="File format.")
    name: str = Field("desk", min_length=2, max_length=8, description="What is sold.")
    quarter: Annotated[str, InWords("a quarter such as 2024Q1")] = Field(
        "2024Q1", pattern=r"^\d{4}Q[1-4]$", description="When."
    )


class Odd(Settings, prefix="odd_"):
    """Fields whose rules only pydantic knows, and rules of the owner's own."""

    pattern: str = Field("ab", pattern="^a", description="Begins with a.")
    prices: list[float] = Field([1.5], description="JSON.")
    even: int = Field(2, multiple_of=2, description="Even.")
    least: int = Field(1, description="Not above most.")
    most: int = Field(9, ge=0, description="Not below least.")
    password: SecretStr = Field(SecretStr("hidden"), min_length=3, description="Not shown.")

    @field_validator("least")
    @classmethod
    def _no_seven(cls, value: int) -> int:
        if value == 7:
            raise ValueError("seven brings bad luck")
        return value

    @model_validator(mode="after")
    def _in_order(self) -> Odd:
        if self.least > self.most:
            raise ValueError("least is above most")
        return self


class Required(Settings, prefix="required_"):
    """A field without a default."""

    day: date = Field(description="Which day.")


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("records", " 10 ", 10),
        ("percent", "7.7", 7.7),
        ("percent", "0", 0.0),
        ("since", "2024-12-31", date(2024, 12, 31)),
        ("include_open", "TRUE", True),
        ("include_open", "false", False),
        ("format", "webp", "webp"),
        ("name", "lamp", "lamp"),
        ("quarter", "2025Q4", "2025Q4"),
    ],
)
def test_a_value_within_its_rule_is_read_typed(
    airflow: None, field: str, text: str, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AIRFLOW_VAR_SHOP_{field.upper()}", text)
    found = Shop.read()
    assert (getattr(found, field), type(getattr(found, field))) == (expected, type(expected))
    assert found == Shop(**{field: expected})


@pytest.mark.parametrize(
    ("field", "text", "rule"),
    [
        ("records", "many", "a whole number from 1 to 5000000"),
        ("records", "0", "a whole number from 1 to 5000000"),
        ("records", "2.5", "a whole number from 1 to 5000000"),
        ("records", "2.0", "a whole number from 1 to 5000000"),
        ("records", "true", "a whole number from 1 to 5000000"),
        ("percent", "101", "a number from 0 to 100"),
        ("percent", "nan", "a number from 0 to 100"),
        ("percent", "20 %", "a number from 0 to 100"),
        ("since", "March", "a day such as 2024-12-31"),
        ("since", "2024-02-30", "a day such as 2024-12-31"),
        ("since", "1704067200", "a day such as 2024-12-31"),
        ("since", "2024-01-01T00:00:00", "a day such as 2024-12-31"),
        ("include_open", "maybe", "true or false"),
        ("include_open", "1", "true or false"),
        ("include_open", "yes", "true or false"),
        ("format", "gif", "one of png, jpeg, webp"),
        ("name", "x", "a text of at least 2 characters and of at most 8 characters"),
        ("quarter", "2025", "a quarter such as 2024Q1"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_variable_value_rule_and_where_it_is_from(
    airflow: None, field: str, text: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = f"AIRFLOW_VAR_SHOP_{field.upper()}"
    monkeypatch.setenv(environment, text)
    with pytest.raises(SettingError) as caught:
        Shop.read()
    assert str(caught.value) == (
        f"The Variable shop_{field} is {text!r}, but must be {rule}. "
        f"It comes from the environment: change {environment} there."
    )


def test_a_wrong_value_in_airflow_is_answered_with_the_command_that_corrects_it() -> None:
    with pytest.raises(SettingError, match="by `airflow variables set shop_records 3000`"):
        Shop.parsed({"records": "many"})
    with pytest.raises(SettingError, match=r"by `airflow variables set odd_prices '\[1.5\]'`"):
        Odd.parsed({"prices": "[a"})


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ({"pattern": "x"}, "The Variable odd_pattern is 'x', which is not allowed: String should match"),
        ({"prices": '["x"]'}, "The Variable odd_prices is '[\"x\"]', which is not allowed: Input should be"),
        (
            {"even": "3"},
            "The Variable odd_even is '3', which is not allowed: Input should be a multiple of 2",
        ),
        ({"least": "7"}, "The Variable odd_least is '7', which is not allowed: Value error, seven brings"),
        ({"most": "-1"}, "The Variable odd_most is '-1', but must be a whole number of at least 0"),
        ({"least": "5", "most": "4"}, "do not go together: Value error, least is above most."),
        (
            {"password": "pw"},
            "The Variable odd_password is '***', but must be a text of at least 3 characters.",
        ),
    ],
    ids=lambda item: "-".join(item) if isinstance(item, dict) else "",
)
def test_a_rule_without_words_of_ours_is_told_in_those_of_who_knows_it(
    texts: dict[str, str], told: str
) -> None:
    with pytest.raises(SettingError) as caught:
        Odd.parsed(texts)
    assert told in str(caught.value)


def test_what_is_no_text_is_read_from_json() -> None:
    assert Odd.parsed({"prices": "[1, 2.5]"}).prices == [1.0, 2.5]


def test_a_variable_without_a_default_that_is_not_set_is_asked_for(airflow: None) -> None:
    with pytest.raises(SettingError, match=r"required_day is not set\. It must be a day such as") as caught:
        Required.read()
    assert "`airflow variables set required_day …`" in str(caught.value)
    assert "required_day" not in as_variables()


def test_a_secret_is_neither_shown_nor_written_into_the_file() -> None:
    assert "odd_password" not in as_variables()
    assert Odd.parsed({"password": "opensesame"}).password.get_secret_value() == "opensesame"
    assert "opensesame" not in repr(Odd.parsed({"password": "opensesame"}))


@pytest.mark.parametrize("path", ["", "a\0b"], ids=["empty", "NUL"])
def test_a_path_that_cannot_be_one_is_refused(path: str) -> None:
    with pytest.raises(SettingError, match="must be the path of a folder"):
        Folders.parsed({"output_folder": path})


def test_without_any_variable_the_defaults_hold(airflow: None) -> None:
    assert Shop.read() == Shop() == Shop(records=3000, since=date(2024, 1, 1))


def test_settings_cannot_be_changed_nor_misspelt() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Shop().records = 1  # type: ignore[misc]
    with pytest.raises(ValueError, match="Extra inputs"):
        Shop(record=1)  # type: ignore[call-arg]


# -- every annotation ---------------------------------------------------------------------------------


class Base(BaseModel):
    """A model whose subclasses may have secrets."""


class Login(Base):
    """A secret in a model, which may hold itself."""

    user: str = "admin"
    password: SecretStr = SecretStr("hidden")
    other: Optional[Login] = None  # noqa: UP045

    @field_validator("user")
    @classmethod
    def _tells(cls, value: str) -> str:
        if value != "admin":
            raise ValueError(f"the user is {value}")
        return value


@dataclass
class Key:
    """A secret in a dataclass."""

    key: SecretStr


class Point(BaseModel):
    """A model without secrets, whose fields JSON names otherwise."""

    x: int = Field(alias="left")
    day: date | None = None


class Level(Enum):
    """An Enum of whole numbers."""

    NONE = 0
    LOW = 1


class Colour(StrEnum):
    """An Enum of texts."""

    RED = "[red"


Token = NewType("Token", SecretStr)
Alias = TypeAliasType("Alias", list[SecretStr] | SecretStr)
Quoted = TypeAliasType("Quoted", "list[Quoted] | SecretStr")


@pytest.fixture
def setting() -> Iterator[Make]:
    """Makes a class of one field, `one`. After the test it has none, and so no other test's file holds it."""
    made: list[type[Settings]] = []

    def make(annotation: Any, default: Any, **limits: Any) -> type[Settings]:
        field: Any = (annotation, Field(default, description="One.", **limits))
        made.append(create_model("One", __base__=Settings, one=field))
        return made[-1]

    yield make
    for group in made:
        group.model_fields.clear()


@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        (Optional[SecretStr], SecretStr("hidden")),  # noqa: UP045
        (SecretBytes | None, SecretBytes(b"hidden")),
        (Secret[str], Secret[str]("hidden")),
        (Secret[list[int]], Secret[list[int]]([4711])),
        (list[SecretStr], [SecretStr("hidden")]),
        (dict[str, list[SecretStr]], {"a": [SecretStr("hidden")]}),
        (Annotated[SecretStr, Field(min_length=2)] | None, SecretStr("hidden")),
        (Annotated[SecretStr, PlainValidator(lambda value: value)], SecretStr("hidden")),
        (Login, Login()),
        (list[Login] | None, [Login()]),
        (Key, Key(SecretStr("hidden"))),
        (Token, SecretStr("hidden")),
        (Alias, SecretStr("hidden")),
        (list[Quoted], [SecretStr("hidden")]),
        (Any, SecretStr("hidden")),
        (Base, Login()),
    ],
)
def test_a_secret_anywhere_in_a_type_keeps_its_variable_out_of_the_file(
    annotation: Any, default: Any, setting: Make
) -> None:
    setting(annotation, default)
    assert "one" not in as_variables()


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (Annotated[SecretStr, Field(min_length=20)] | None, "opensesame"),
        (Secret[int], "opensesame"),
        (list[SecretStr], '["opensesame", 1]'),
        (list[SecretStr], "[opensesame"),
        (dict[str, SecretStr], "opensesame"),
        (Login, '{"user": "opensesame"}'),
        (Login, '{"password": ["opensesame"]}'),
        (Login, '{"opensesame'),
        (Login | None, "opensesame"),
    ],
)
def test_an_error_of_a_secret_shows_nothing_of_it(annotation: Any, text: str, setting: Make) -> None:
    with pytest.raises(SettingError, match=r"^The Variable one is '\*\*\*', ") as caught:
        setting(annotation, None).parsed({"one": text})
    assert "opensesame" not in str(caught.value)
    assert "set one …`" in str(caught.value)


@pytest.mark.parametrize("text", ["[a", "{a", "[]", '{"a": 1}', " a ", "5"])
@pytest.mark.parametrize(
    "annotation", [str, SecretStr, SecretBytes, str | None, SecretStr | None, Secret[str]]
)
def test_a_text_is_never_read_as_json(annotation: Any, text: str, setting: Make) -> None:
    found = setting(annotation, "x").parsed({"one": text}).model_dump()["one"]
    plain = found if isinstance(found, str) else found.get_secret_value()
    assert plain == (text.encode() if annotation is SecretBytes else text)


@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        (bool, True),
        (int, -3),
        (int | None, None),
        (Optional[int], 3),  # noqa: UP045
        (float, 1e300),
        (float | None, None),
        (float | None, 2.0),
        (int | str, 5),
        (str | int, "five"),
        (int | list[int], [5]),
        (bool | None, False),
        (str, "\t"),
        (str, "[a"),
        (str, "2024"),
        (str | None, ""),
        (str | None, None),
        (bytes, b"ab"),
        (Decimal, Decimal("1.50")),
        (Decimal | None, None),
        (date, date(2024, 1, 1)),
        (date | None, None),
        (date | None, date(2024, 1, 1)),
        (datetime, datetime(2024, 1, 1, 18, 30, tzinfo=UTC)),
        (datetime | None, datetime(2024, 1, 1, 18, 30, 0, 5)),
        (timedelta, timedelta(days=2, seconds=5)),
        (UUID, UUID(int=7)),
        (Path | None, Path("[a")),
        (Level, Level.LOW),
        (Level, Level.NONE),
        (Level | None, None),
        (Colour, Colour.RED),
        (Literal["\t", ","], "\t"),
        (Literal[1, True, None, "a"], None),
        (Literal[1, 2] | None, 2),
        (list[int], [1, 2]),
        (list[int], []),
        (list[date] | None, [date(2024, 1, 1)]),
        (list[str] | None, None),
        (tuple[int, ...], (1, 2)),
        (set[str], {"a", "b"}),
        (dict[int, float], {1: 2.5}),
        (dict[str, Any], {"a": [None]}),
        (dict[str, JsonValue], {"a": [None]}),
        (Any, [1]),
        (Any, None),
        (Any, "[a"),
        (Point, Point(left=4, day=date(2024, 1, 1))),
        (list[Point] | None, [Point(left=1)]),
    ],
)
def test_a_default_is_read_back_from_its_own_file(annotation: Any, default: Any, setting: Make) -> None:
    group = setting(annotation, default)
    value = as_variables()["one"]["value"]
    text = value if isinstance(value, str) else json.dumps(value, indent=2)  # as Airflow's import keeps it
    found = group.parsed({"one": text})
    assert found == group()
    assert type(found.model_dump()["one"]) is type(group().model_dump()["one"])


@pytest.mark.parametrize("text", ["1_000", "١٢", "１", "1" * 5000, "0x1", "2.0", "None"])
@pytest.mark.parametrize("annotation", [int, int | None, Annotated[int, Field(ge=1)] | None])
def test_a_whole_number_has_plain_digits(annotation: Any, text: str, setting: Make) -> None:
    with pytest.raises(SettingError, match=r"but must be .*a whole number") as caught:
        setting(annotation, 5).parsed({"one": text})
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("text", ["1_0.5", "١", "inf", "nan"])
@pytest.mark.parametrize("annotation", [float, Decimal, float | None])
def test_a_number_is_finite_and_has_plain_digits(annotation: Any, text: str, setting: Make) -> None:
    with pytest.raises(SettingError, match=r"but must be .*a number"):
        setting(annotation, 5).parsed({"one": text})


@pytest.mark.parametrize(
    ("annotation", "limits", "text", "told"),
    [
        (int | None, {}, "x", "is 'x', but must be null or a whole number."),
        (int | None, {"ge": 1, "le": 3}, "5", "is '5', but must be null or a whole number from 1 to 3."),
        (Annotated[int, Field(ge=1)] | None, {}, "0", "but must be null or a whole number of at least 1."),
        (Level, {}, "7", "is '7', but must be one of 0, 1."),
        (Point, {}, "{}", "is '{}', which is not allowed: Field required."),
        (list[int], {}, "7 8", "is '7 8', which is not allowed: it must be JSON: Extra data"),
        (list[int], {}, "[" * 100_000, "which is not allowed: it must be JSON: "),
        (datetime, {}, "1704067200", "but must be a time such as 2024-12-31T18:30:00+00:00."),
    ],
    ids=lambda item: str(item)[:40],
)
def test_the_rule_of_every_type_is_told(
    annotation: Any, limits: Any, text: str, told: str, setting: Make
) -> None:
    with pytest.raises(SettingError) as caught:
        setting(annotation, None, **limits).parsed({"one": text})
    assert told in str(caught.value)


# -- when they are read -------------------------------------------------------------------------------

DAG_FILE = """
from airflow.sdk import dag, task
from exclusive_xcom.variables import Folders

@dag(schedule=None)
def early():
    @task
    def work():
        Folders.read()
    {line}
    work()

early()
"""


@pytest.mark.parametrize(("line", "refused"), [("Folders.read()", True), ("pass", False)])
def test_nobody_reads_them_while_a_dag_file_is_imported(
    airflow: None, line: str, refused: bool, tmp_path: Path
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    (tmp_path / "early.py").write_text(DAG_FILE.format(line=line), encoding="utf-8")
    errors = DagBag(tmp_path).import_errors
    assert bool(errors) == refused
    for text in errors.values():
        assert ReadAtImport.__name__ in text
        assert "user_defined_macros={'settings': Folders.read}" in text


# -- the file of all ----------------------------------------------------------------------------------


@pytest.fixture
def import_variables(airflow: None, tmp_path: Path) -> Iterator[Import]:
    """Runs `airflow variables import --action-on-existing-key skip` and gives what `export` then says, by
    name of the Variable. They are gone after the test."""
    from airflow.cli.cli_parser import get_parser

    def command(*words: str) -> None:
        arguments = get_parser().parse_args(["variables", *words])
        arguments.func(arguments)

    names: set[str] = set()

    def run(path: Path) -> dict[str, dict[str, Any]]:
        command("import", str(path), "--action-on-existing-key", "skip")
        exported = tmp_path / "exported.json"
        command("export", str(exported))
        found: dict[str, dict[str, Any]] = json.loads(exported.read_text(encoding="utf-8"))
        names.update(found)
        return found

    yield run
    for name in names:
        command("delete", name)


def test_the_file_imports_into_airflow_with_defaults_and_descriptions(
    import_variables: Import, tmp_path: Path
) -> None:
    path = tmp_path / "variables.json"
    path.write_text(variables_file(), encoding="utf-8")
    assert import_variables(path) == as_variables()
    assert as_variables()["shop_since"] == {
        "value": "2024-01-01",
        "description": "Orders before this day are left out. Allowed: a day such as 2024-12-31.",
    }
    assert as_variables()["odd_pattern"]["description"] == "Begins with a."


def test_what_a_person_changed_survives_an_import(import_variables: Import, tmp_path: Path) -> None:
    changed, made = tmp_path / "changed.json", tmp_path / "variables.json"
    mine = {"value": "2024-03-01", "description": "Since we moved."}
    changed.write_text(json.dumps({"shop_since": mine}), encoding="utf-8")
    made.write_text(variables_file(), encoding="utf-8")
    import_variables(changed)
    assert import_variables(made)["shop_since"] == mine


def test_the_file_is_made_without_starting_airflow() -> None:
    program = "import sys, exclusive_xcom.variables as v; v.variables_file(); print('airflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_two_classes_with_the_same_variable_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Shop.described()
    monkeypatch.setattr(Odd, "described", lambda: found)
    with pytest.raises(ValueError, match="Two classes have the Variable shop_"):
        all_settings()
