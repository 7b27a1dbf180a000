"""Settings: their defaults keep their own rules, and config/variables.json is made from them."""

from __future__ import annotations

from pathlib import Path

import pytest
from exclusive_xcom.declared import complaints

from {{ cookiecutter.__package }} import settings  # noqa: F401 - its classes are what is tested

VARIABLES = Path(__file__).resolve().parents[1] / "config" / "variables.json"


def test_the_settings_are_sound_and_the_file_of_variables_is_made_from_them() -> None:
    if found := complaints(VARIABLES):
        pytest.fail("\n".join(found), pytrace=False)
