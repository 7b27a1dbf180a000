"""`make newest-test` runs every command, and says what broke. What it installs differs by the day."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from projects import TEMPLATE

MAKEFILE = "good:\n\t@echo fine\nbad:\n\t@echo 'no such name' && false\n"


@pytest.fixture
def newest(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tool, as a module."""
    monkeypatch.syspath_prepend(str(TEMPLATE / "tools"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    import newest

    return newest


def test_every_command_runs_and_failures_are_told(newest: Any, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(MAKEFILE, encoding="utf-8")
    failures = newest.judge(newest.Baked(tmp_path), ["bad", "good"])
    assert list(failures) == ["make bad"]
    table = newest.moved({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"})
    assert table == ["| b | 1 | 2 |", "| c | 1 |  |", "| d |  | 1 |"]
    told = newest.report("redis", table, failures)
    assert "**Broken: make bad**" in told and "no such name" in told and "| b | 1 | 2 |" in told
    assert "Everything passes." in newest.report("redis", [], {})


def test_another_airflow_is_one_line_of_a_project(newest: Any, tmp_path: Path) -> None:
    inside = TEMPLATE / "{{cookiecutter.project_slug}}/pyproject.toml"
    text = inside.read_text(encoding="utf-8").replace("{{ cookiecutter.__airflow_version }}", "3.3.2")
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    newest.Baked(tmp_path).pin("3.4.0b2")
    assert '"apache-airflow==3.4.0b2"' in (tmp_path / "pyproject.toml").read_text(encoding="utf-8")
