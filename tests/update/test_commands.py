"""`make update` and `make switch` as a person types them, and the packages that a person adds by `uv add`."""

from __future__ import annotations

import re
import runpy
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from projects import CHOICES, TEMPLATE, BakedProject
from updates import PLAN, SECOND, edit, link, relink, tree

pytestmark = pytest.mark.update


def test_make_update(project: BakedProject) -> None:
    """Also where the project's own environment is broken: it may be why somebody updates."""
    (project.path / ".venv/bin").mkdir(parents=True)
    (project.path / ".venv/bin/python").symlink_to("/nowhere/python")
    (project.path / ".venv/pyvenv.cfg").write_text("home = /nowhere\n", encoding="utf-8")
    project.make(".tools/uv")
    before = tree(project.path)
    assert "+10. Do it now" in project.make("update", f"VERSION={SECOND}", "DRY_RUN=1").stdout
    assert tree(project.path) == before
    edit(project.path, "handbook/plan.txt", PLAN[9], "10. Do it my way\n")
    project.commit("Edited")
    done = project.make("update", f"VERSION={SECOND}", check=False)
    assert done.returncode != 0
    assert "Conflicts" in done.stdout
    assert link(project)["checkout"] == SECOND


def test_make_switch(project: BakedProject) -> None:
    project.make(".tools/uv")
    before = tree(project.path)
    done = project.make("switch", "BACKEND=tape", check=False)
    assert done.returncode != 0
    assert "offers db and s3 and redis" in done.stderr
    assert tree(project.path) == before
    project.make("switch", "BACKEND=s3")
    assert "xcom.s3.S3XComBackend" in project.read("config/airflow.env")


def test_packages_that_a_person_adds_do_not_collide_with_a_switch(project: BakedProject) -> None:
    """uv keeps a sorted list sorted: what a backend requires must not be where most packages go."""
    added = ["beautifulsoup4", "duckdb", "httpx", "openpyxl", "pydantic", "requests", "scikit-learn"]
    project.uv("add", "--frozen", *added)
    project.uv("add", "--frozen", "--dev", "coverage", "pytest-cov", "respx", "types-requests")
    project.commit("Packages of mine")
    for backend in ("s3", "redis", "db"):
        project.make("switch", f"BACKEND={backend}")
        project.commit(f"On {backend}")
        found = tomllib.loads(project.read("pyproject.toml"))
        assert set(added) <= set(found["project"]["dependencies"])
        assert "respx" in found["dependency-groups"]["dev"]


NASTY = """x'; touch pwned; "`touch pwned`" '$(touch pwned)"""


@pytest.fixture
def stand_in(project: BakedProject, tmp_path: Path) -> Callable[..., list[str]]:
    """What make gives to packages/update.py, as the words that it gets; a stand-in for uv prints them."""
    uv = tmp_path / "uv"
    uv.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    uv.chmod(0o755)

    def words(*arguments: str, **environment: str) -> list[str]:
        told = project.make(*arguments, f"UV={uv}", **environment).stdout.splitlines()
        assert not (project.path / "pwned").exists()
        return told[told.index("packages/update.py") + 1 :]

    return words


def test_no_shell_reads_what_a_person_types(stand_in: Callable[..., list[str]]) -> None:
    typed = NASTY.replace("$", "$$")  # as make wants it
    assert stand_in("update", f"VERSION={typed}") == ["update", f"--version={typed}"]
    for name in ("BACKEND", "CI", "EXAMPLES", "EXECUTOR", "LICENSE", "PYTHON"):
        given = ["switch", "--dry-run", "--", f"{name}={typed}"]
        assert stand_in("switch", f"{name}={typed}", "DRY_RUN=1") == given
    assert stand_in("update", "VERSION=v1.2.3", "DRY_RUN=1") == ["update", "--version=v1.2.3", "--dry-run"]


def test_variables_that_a_machine_has_anyway_steer_nothing(stand_in: Callable[..., list[str]]) -> None:
    assert stand_in("update", VERSION=NASTY) == ["update"]
    assert stand_in("switch", BACKEND=NASTY, CI="true", PYTHON="python3", LICENSE="x") == ["switch", "--"]
    assert stand_in("update", VERSION="v9", XCOM_VERSION="v9") == ["update"]


@pytest.mark.parametrize("command", ["answers", "switch"])
def test_what_can_be_switched_is_shown_without_fetching(command: str, project: BakedProject) -> None:
    """Nothing runs but one small script: no git, no tool of a release, no network."""
    relink(project, template="https://nowhere.invalid/template.git")
    project.make(".tools/uv")
    done = project.make(command)
    for name, choices in CHOICES.items():
        shown = {"xcom_backend": "BACKEND", "python_version": "PYTHON"}.get(name, name.upper())
        others = ", ".join(choices[1:])
        assert re.search(rf"^    {shown}={choices[0]} +or {others}$", done.stdout, re.MULTILINE)
    assert "Fetching" not in done.stdout


def test_every_question_with_choices_can_be_switched() -> None:
    """The lists of the script that shows them, and the variables that make passes on."""
    inside = TEMPLATE / "{{cookiecutter.project_slug}}"
    offered = runpy.run_path(str(inside / "packages/answers.py"))["OFFERED"]
    assert {question: list(choices) for question, choices in offered.values()} == CHOICES
    makefile = (inside / "Makefile").read_text(encoding="utf-8")
    assert set(re.findall(r"^switch: export XCOM_(\w+) =", makefile, re.MULTILINE)) == set(offered)
