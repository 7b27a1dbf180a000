"""Runs the tests in inside/ with a generated project's own pytest, one file at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from projects import BakedProject

RecordProperty = Callable[[str, object], None]

INSIDE = Path(__file__).with_name("inside")
FILES = sorted(path.name for path in INSIDE.glob("test_*.py"))
NOTHING_SELECTED = 5  # pytest's exit code


def run_inside(engine: BakedProject, name: str, marks: str, record_property: RecordProperty) -> None:
    """Run one file's tests that have these marks. Fails with all that its pytest said."""
    done = engine.run(
        engine.path / ".venv" / "bin" / "python",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-m",
        marks,
        INSIDE / name,
        check=False,
        timeout=7200,
    )
    if done.returncode == NOTHING_SELECTED:
        return
    said = done.stdout.strip()
    record_property("inside", f"{name} ({marks}): {said.rpartition(chr(10))[2].strip('= ')}")
    if done.returncode:
        pytest.fail(f"{said}\n{done.stderr}", pytrace=False)


@pytest.mark.parametrize("name", FILES)
def test_inside(engine: BakedProject, name: str, record_property: RecordProperty) -> None:
    """What takes seconds."""
    run_inside(engine, name, "not slow", record_property)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_inside_slow(engine: BakedProject, name: str, record_property: RecordProperty) -> None:
    """What takes minutes."""
    run_inside(engine, name, "slow", record_property)
