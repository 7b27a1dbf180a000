"""Variables as settings: which of several values wins, what a wrong one is answered with, the file of all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, SecretStr, field_validator, model_validator

from exclusive_xcom.variables import (
    Folders,
    InWords,
    ReadAtImport,
    SettingError,
    Settings,
    all_settings,
    as_variables,
    data_file,
    output_file,
    variables_file,
)

Import = Callable[[Path], dict[str, dict[str, Any]]]


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
        ({"password": "pw"}, "The Variable odd_password is '***', which is not allowed"),
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


# -- files of pipelines -------------------------------------------------------------------------------


def test_folders_count_from_the_one_above_the_dag_file_and_a_missing_input_names_the_variable(
    airflow: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk import DAG
    from airflow.sdk.execution_time.context import set_current_context

    dag = DAG("billing")
    dag.fileloc = str(tmp_path / "dags" / "billing.py")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rates.csv").touch()
    with set_current_context({"dag": dag}):
        assert data_file("rates.csv") == tmp_path / "data" / "rates.csv"
        assert output_file("bill.csv") == tmp_path / "output" / "billing" / "bill.csv"
        assert (tmp_path / "output" / "billing").is_dir()
        with pytest.raises(FileNotFoundError, match=r"data/rate\.csv.*data_folder"):
            data_file("rate.csv")
        monkeypatch.setenv("AIRFLOW_VAR_OUTPUT_FOLDER", str(tmp_path / "elsewhere"))
        assert output_file("bill.csv").parent == tmp_path / "elsewhere" / "billing"
