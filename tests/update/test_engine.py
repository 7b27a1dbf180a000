"""The engine from an index instead of the project's folder: a new project, switches, an update."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from projects import QUESTIONS, TEMPLATE, Bake, BakedProject, Machine
from updates import FIRST, THIRD, Render, edit, link, switch, tree, update

pytestmark = pytest.mark.update

VERSION = QUESTIONS["__template_version"]


@pytest.fixture(scope="module")
def wheels(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels that takes the place of a company's index, filled by the documented command."""
    machine.run("make", "--no-print-directory", "wheel", cwd=TEMPLATE)
    (wheel,) = (TEMPLATE / "build/wheels").glob(f"exclusive_xcom-{VERSION}-*.whl")
    folder = tmp_path_factory.mktemp("index")
    (folder / wheel.name).write_bytes(wheel.read_bytes())
    return folder


@pytest.mark.slow
@pytest.mark.installed
def test_a_project_without_an_engine_of_its_own_works(bake_into: Bake, wheels: Path, tmp_path: Path) -> None:
    project = bake_into(tmp_path, engine="installed", examples="one")
    assert not (project.path / "packages/exclusive-xcom/src").exists()
    assert not (project.path / "packages/exclusive-xcom/pyproject.toml").exists()
    project.commit("As baked")
    index = {"UV_FIND_LINKS": str(wheels)}
    where = "import exclusive_xcom; print(exclusive_xcom.__file__)"
    assert "site-packages" in project.uv("run", "python", "-c", where, **index).stdout
    project.make("lint", **index)
    assert "first_pipeline" in project.make("run", **index).stdout
    project.make("requirements", **index)
    assert re.search(
        rf"^exclusive-xcom==.*{VERSION}|^exclusive-xcom @ ",
        project.read("dist/requirements.txt"),
        re.MULTILINE,
    )


def test_every_link_of_its_readme_leads_somewhere(bake: Bake) -> None:
    project = bake(engine="installed")
    found = re.findall(r"\]\((?!https?:|#)([^)#]+)", project.read("README.md"))
    assert len(found) > 10
    assert [name for name in found if not (project.path / name).exists()] == []


def test_its_lint_misses_nothing(bake: Bake) -> None:
    project = bake(engine="installed")
    done = project.run(sys.executable, "-I", "packages/verify.py", check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_there_and_back_again(project: BakedProject, render: Render) -> None:
    """Each equals a new project; edits of the engine become a patch, others stay."""
    engine = "packages/exclusive-xcom/src/exclusive_xcom/errors.py"
    with (project.path / engine).open("a", encoding="utf-8") as file:
        file.write("# Mine\n")
    edit(project.path, "config/airflow.env", "CORE__LOAD_EXAMPLES=False", "CORE__LOAD_EXAMPLES=True")
    project.commit("Edited")
    said = switch(project, "--", "ENGINE=installed")
    assert f"    {engine}  (changed)" in said
    (patch,) = project.path.parent.glob("*.patch")
    assert b"+# Mine" in patch.read_bytes()
    for answer in ("installed", "vendored"):
        if answer == "vendored":
            project.commit("Installed")
            switch(project, "--", "ENGINE=vendored")
        fresh = render(FIRST, engine=answer)
        edit(fresh.path, "config/airflow.env", "CORE__LOAD_EXAMPLES=False", "CORE__LOAD_EXAMPLES=True")
        assert tree(project.path) == tree(fresh.path)
        assert link(project)["checkout"] == FIRST


def test_an_update_moves_the_version_that_is_required(project: BakedProject, render: Render) -> None:
    switch(project, "--", "ENGINE=installed")
    project.commit("Installed")
    assert f'"exclusive-xcom=={FIRST.removeprefix("v")}"' in project.read("pyproject.toml")
    update(project)
    assert f'"exclusive-xcom=={THIRD.removeprefix("v")}"' in project.read("pyproject.toml")
    assert tree(project.path) == tree(render(THIRD, engine="installed").path)
