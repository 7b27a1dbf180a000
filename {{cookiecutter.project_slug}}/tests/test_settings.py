"""Settings: config/variables.json is made from them, and every default keeps its own rule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from exclusive_xcom.variables import Setting, Settings, all_settings, as_variables

from {{ cookiecutter.__package }} import settings  # noqa: F401 - its classes are what is tested

VARIABLES = Path(__file__).resolve().parents[1] / "config" / "variables.json"


def as_airflow_keeps_it(item: Setting) -> str:
    """A default as a Variable's text: a string as it is, everything else as JSON."""
    plain = item.plain_default
    return plain if isinstance(plain, str) else json.dumps(plain)


def test_the_file_of_variables_is_made_from_the_settings() -> None:
    assert json.loads(VARIABLES.read_text(encoding="utf-8")) == as_variables(), "Run `make variables`."


@pytest.mark.parametrize("group", Settings.__subclasses__(), ids=lambda group: group.__name__)
def test_defaults_keep_their_rules_and_come_back_as_they_were(group: type[Settings]) -> None:
    written = as_variables()
    texts = {item.field: as_airflow_keeps_it(item) for item in group.described() if item.variable in written}
    assert group.parsed(texts) == group()


@pytest.mark.parametrize("item", all_settings(), ids=lambda item: item.variable)
def test_a_variable_says_what_it_is_for(item: Setting) -> None:
    assert item.info.description
