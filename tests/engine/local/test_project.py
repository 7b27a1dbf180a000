"""What `Project.read` takes from a project's pyproject.toml, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from exclusive_xcom.console import Refused
from exclusive_xcom.local.project import Project

TABLE = "[tool.exclusive-xcom]\n"


def read(folder: Path, text: str) -> Project:
    """What is read of that text."""
    (folder / "pyproject.toml").write_text(text)
    return Project.read(folder)


def test_reads_what_is_said(tmp_path: Path) -> None:
    said = read(tmp_path, f'{TABLE}settings = "my.settings"\nrun-tags = ["a", "b"]\nrules = ["owner"]\n')
    assert said == Project(settings="my.settings", run_tags=("a", "b"), rules=("owner",))


def test_what_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert Project.read(tmp_path) == read(tmp_path, "") == read(tmp_path, TABLE) == Project()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("run_tags = []", "has no key 'run_tags'. There are: settings, run-tags, rules."),
        ('run-tags = "smoke"', ".run-tags in pyproject.toml has a wrong type: Expected array, got str."),
        ("rules = [1]", ".rules[0] in pyproject.toml has a wrong type: Expected str, got int."),
        ("rules = ", "pyproject.toml is not valid TOML"),
    ],
)
def test_refuses_in_a_sentence(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(Refused) as refused:
        read(tmp_path, f"{TABLE}{text}\n")
    assert why in str(refused.value) and "\n" not in str(refused.value)
