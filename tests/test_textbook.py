"""DAG files as textbooks have them: a project lints, tests and runs them as they are."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import BakedProject

from exclusive_xcom.testing.dag_rules import RULES

pytestmark = pytest.mark.installed

# Airflow's own tutorial, a factory, a DAG whose id is not its file's name, one with helpers in a folder.
TEXTBOOK = Path(__file__).parent / "textbook"
NAMES = "tutorial_taskflow_api tenant_north warehouse-daily shipments"


@pytest.fixture
def project(installed: BakedProject) -> Iterator[BakedProject]:
    """An installed project with these files; afterwards it is as it was."""
    shutil.copytree(
        TEXTBOOK, installed.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    yield installed
    installed.git("checkout", "--quiet", "--", ".")
    installed.git("clean", "--quiet", "--force", "-dx", "dags", "include", "tests")


@pytest.mark.parametrize("installed", ["db"], indirect=True)
def test_textbook_files_are_linted_tested_and_run(project: BakedProject) -> None:
    project.make("lint")
    said = project.make("test", f"ONLY={NAMES}").stdout
    # Four files, three facts about each, and the rules of the project, of which there are none.
    assert re.search(r"=+ 16 passed, \d+ deselected", said), said
    said = project.make("run", f"ONLY={NAMES}").stdout
    for name in NAMES.split():
        assert name in said


@pytest.mark.parametrize("installed", ["db"], indirect=True)
def test_what_is_wrong_in_a_dag_is_found(project: BakedProject) -> None:
    file = project.path / "dags" / "finance" / "shipments.py"
    text = file.read_text(encoding="utf-8")
    assert "show(total(load()" in text
    file.write_text(text.replace("show(total(load()", "show(total(3"), encoding="utf-8")
    done = project.make("lint", check=False)
    assert done.returncode
    assert 'incompatible type "int"; expected "DataFrame | XComArg"' in done.stdout


@pytest.mark.parametrize("installed", ["redis"], indirect=True)  # which has them all
def test_the_examples_keep_every_rule(project: BakedProject) -> None:
    shutil.rmtree(project.path / "include")
    project.git("clean", "--quiet", "--force", "-dx", "dags")
    settings = project.read("pyproject.toml")
    named = ", ".join(f'"{name}"' for name in RULES)
    assert "\nrules = []\n" in settings
    path = project.path / "pyproject.toml"
    path.write_text(settings.replace("\nrules = []\n", f"\nrules = [{named}]\n"), encoding="utf-8")
    project.make("test", "ONLY=dags")
