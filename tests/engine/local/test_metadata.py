"""What config/ declares, in Airflow's own database: Variables once, pools as the file says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exclusive_xcom.console import Refused
from exclusive_xcom.local import metadata


@pytest.fixture
def declare(airflow: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Writes config/ of a project, and prepares the database for it. What it declared is gone afterwards."""
    (tmp_path / "config").mkdir()
    monkeypatch.chdir(tmp_path)

    def prepare(**files: Any) -> None:
        for name, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / "config" / f"{name}.json").write_text(text)
        metadata.prepare()

    yield prepare
    from airflow.models import Pool, Variable

    for name in ("declared", "made_in_the_ui"):
        if Pool.get_pool(name):
            Pool.delete_pool(name)
    Variable.delete("declared_once")  # noqa: AIR311 - the table


def pool(name: str) -> tuple[Any, ...] | None:
    """Slots, description and whether deferred tasks count, of a pool in the database."""
    from airflow.models import Pool

    found = Pool.get_pool(name)
    return (found.slots, found.description, found.include_deferred) if found else None


def test_a_project_needs_to_declare_nothing(declare: Any) -> None:
    declare()


def test_a_pool_becomes_what_the_file_says_and_others_are_left_alone(declare: Any) -> None:
    from airflow.models import Pool

    Pool.create_or_update_pool("made_in_the_ui", 3, "", False)
    declare(pools={"declared": {"slots": 2, "description": "first"}})
    assert pool("declared") == (2, "first", False)
    Pool.create_or_update_pool("declared", 99, "changed in the UI", False)
    declare(pools={"declared": {"slots": 4, "description": "second", "include_deferred": True}})
    assert pool("declared") == (4, "second", True)
    declare(pools={})
    assert pool("declared") == (4, "second", True) and pool("made_in_the_ui") == (3, "", False)


def test_a_variable_is_written_once(declare: Any) -> None:
    from airflow.models import Variable

    declare(variables={"declared_once": {"value": "first"}})
    declare(variables={"declared_once": "second"})
    assert Variable.get("declared_once") == "first"  # noqa: AIR311 - the table


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": {"slots": "4", "description": ""}}', "Expected `int`"),
        ('{"a": {"slots": 4}}', "missing required field `description`"),
        ('{"a": {"slots": 4, "description": "", "colour": 1}}', "unknown field `colour`"),
        ('{"a": ', "Input data was truncated"),
        ("[]", "Expected `object`"),
    ],
)
def test_a_wrong_file_of_pools_is_told_before_anything_is_done(declare: Any, text: str, said: str) -> None:
    with pytest.raises(Refused, match=r"^config/pools\.json does not declare pools, as ") as refused:
        declare(pools=text)
    assert said in str(refused.value)
