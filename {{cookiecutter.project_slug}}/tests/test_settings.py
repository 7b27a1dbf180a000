"""Settings: defaults, rules, what wins over what, and what a wrong value is answered with."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from {{ cookiecutter.__package }} import settings

VARIABLES = Path(__file__).resolve().parents[1] / "config" / "variables.json"

Import = Callable[[Path], dict[str, dict[str, Any]]]


@pytest.fixture
def import_variables(tmp_path: Path) -> Iterator[Import]:
    """Runs `airflow variables import --action-on-existing-key skip` and gives what `export` then says, by
    name of the Variable. They are gone after the test."""
    from airflow.cli.cli_parser import get_parser

    def airflow(*words: str) -> None:
        arguments = get_parser().parse_args(["variables", *words])
        arguments.func(arguments)

    names: set[str] = set()

    def run(path: Path) -> dict[str, dict[str, Any]]:
        airflow("import", str(path), "--action-on-existing-key", "skip")
        exported = tmp_path / "exported.json"
        airflow("export", str(exported))
        found: dict[str, dict[str, Any]] = json.loads(exported.read_text(encoding="utf-8"))
        names.update(found)
        return found

    yield run
    for name in names:
        airflow("delete", name)


def test_the_file_of_variables_is_made_from_the_settings() -> None:
    made = settings.as_variables()
    command = f"python -m {settings.__name__} > config/variables.json"
    assert json.loads(VARIABLES.read_text(encoding="utf-8")) == made, f"Run `uv run {command}`."


def test_the_module_prints_the_file_of_variables_without_starting_airflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    command = [sys.executable, "-m", settings.__name__]
    assert subprocess.run(command, check=True, capture_output=True).stdout == VARIABLES.read_bytes()
    assert not (tmp_path / "airflow").exists()


def test_every_variable_has_one_owner() -> None:
    names = [item.variable for item in settings.all_settings()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("item", settings.all_settings(), ids=lambda item: item.variable)
def test_a_default_keeps_its_own_rule_and_comes_back_as_it_was(item: settings.Setting) -> None:
    # Airflow keeps a Variable as text: a string as it is, everything else as JSON.
    plain = item.plain_default
    found = item.parse(plain if isinstance(plain, str) else json.dumps(plain))
    assert found == item.default
    assert type(found) is type(item.default)


def test_without_any_variable_the_defaults_hold() -> None:
    assert settings.Orders.read() == settings.Orders(since=date(2024, 1, 1), include_open=False)


def test_the_environment_sets_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_ORDERS_SINCE", "2024-07-01")
    monkeypatch.setenv("AIRFLOW_VAR_ORDERS_INCLUDE_OPEN", "True")
    assert settings.Orders.read() == settings.Orders(since=date(2024, 7, 1), include_open=True)


def test_the_file_imports_into_airflow_with_defaults_and_descriptions(import_variables: Import) -> None:
    assert import_variables(VARIABLES) == settings.as_variables()


def test_what_a_person_changed_survives_an_import(import_variables: Import, tmp_path: Path) -> None:
    changed = tmp_path / "changed.json"
    mine = {"value": "2024-03-01", "description": "Since we moved."}
    changed.write_text(json.dumps({"orders_since": mine}), encoding="utf-8")
    import_variables(changed)
    assert import_variables(VARIABLES)["orders_since"] == mine


@pytest.mark.parametrize(
    ("group", "name", "text", "expected"),
    [
        (settings.WebLogs, "web_logs_records", " 10 ", 10),
        (settings.PriceList, "price_list_vat_percent", "7.7", 7.7),
        (settings.PriceList, "price_list_vat_percent", "0", 0.0),
        (settings.Orders, "orders_include_open", "TRUE", True),
        (settings.Pictures, "pictures_format", "webp", "webp"),
        (settings.Folders, "output_folder", "/srv/results", Path("/srv/results")),
    ],
)
def test_a_value_within_its_rule_is_read_typed(
    group: type[settings.Settings],
    name: str,
    text: str,
    expected: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(f"AIRFLOW_VAR_{name.upper()}", text)
    found = getattr(group.read(), name.removeprefix(group.prefix))
    assert found == expected
    assert type(found) is type(expected) or isinstance(found, Path)


@pytest.mark.parametrize(
    ("group", "name", "text", "rule"),
    [
        (settings.WebLogs, "web_logs_records", "many", "a whole number from 1 to 5000000"),
        (settings.WebLogs, "web_logs_records", "0", "a whole number from 1 to 5000000"),
        (settings.WebLogs, "web_logs_records", "2.5", "a whole number from 1 to 5000000"),
        (settings.PriceList, "price_list_vat_percent", "101", "a number from 0 to 100"),
        (settings.PriceList, "price_list_vat_percent", "nan", "a number from 0 to 100"),
        (settings.PriceList, "price_list_vat_percent", "20 %", "a number from 0 to 100"),
        (settings.Orders, "orders_since", "March", "a day such as 2024-12-31"),
        (settings.Orders, "orders_since", "2024-02-30", "a day such as 2024-12-31"),
        (settings.Orders, "orders_include_open", "maybe", "true or false"),
        (settings.Pictures, "pictures_format", "gif", "one of png, jpeg, webp"),
        (settings.Folders, "output_folder", "", "the path of a folder"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_variable_value_rule_and_where_it_is_from(
    group: type[settings.Settings], name: str, text: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = f"AIRFLOW_VAR_{name.upper()}"
    monkeypatch.setenv(environment, text)
    with pytest.raises(settings.SettingError) as caught:
        group.read()
    message = str(caught.value)
    for part in (f"The Variable {name} is", repr(text), f"must be {rule}", environment):
        assert part in message


def test_a_wrong_value_in_airflow_is_answered_with_the_command_that_corrects_it() -> None:
    records = next(item for item in settings.all_settings() if item.variable == "web_logs_records")
    with pytest.raises(settings.SettingError, match="`airflow variables set web_logs_records 3000`"):
        records.parse("many")


def test_folders_count_from_the_one_above_the_dag_file_and_a_missing_input_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk import DAG
    from airflow.sdk.execution_time.context import set_current_context

    monkeypatch.delenv("AIRFLOW_VAR_DATA_FOLDER", raising=False)
    monkeypatch.delenv("AIRFLOW_VAR_OUTPUT_FOLDER", raising=False)
    dag = DAG("billing")
    dag.fileloc = str(tmp_path / "dags" / "billing.py")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rates.csv").touch()
    with set_current_context({"dag": dag}):
        assert settings.data_file("rates.csv") == tmp_path / "data" / "rates.csv"
        assert settings.output_file("bill.csv") == tmp_path / "output" / "billing" / "bill.csv"
        assert (tmp_path / "output" / "billing").is_dir()
        with pytest.raises(FileNotFoundError, match=r"data/rate\.csv.*data_folder"):
            settings.data_file("rate.csv")
        monkeypatch.setenv("AIRFLOW_VAR_OUTPUT_FOLDER", str(tmp_path / "elsewhere"))
        assert settings.output_file("bill.csv").parent == tmp_path / "elsewhere" / "billing"
