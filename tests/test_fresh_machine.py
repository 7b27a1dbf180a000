"""A machine with Python, git and make, and nothing else: no uv, no account, no settings."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from projects import CHOICES, UV, Bake, BakedProject, Machine

HERE = ".".join(map(str, sys.version_info[:2]))
OTHER = "3.12" if HERE == "3.11" else "3.11"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with the programs of the system, this Python as `python3`, and no uv."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for system in (Path("/usr/bin"), Path("/bin")):
        for program in system.iterdir():
            if not program.name.startswith(("uv", "python")) and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)
    for name in ("python3", f"python{HERE}"):
        python = folder / name
        interpreter = Path(sys.base_prefix, "bin", "python3")
        python.write_text(f'#!/bin/sh\nexec "{interpreter}" "$@"\n', encoding="utf-8")
        python.chmod(0o755)
    assert shutil.which("uv", path=str(folder)) is None
    return folder


@pytest.mark.slow
def test_the_template_s_commands_fetch_uv(
    template_repository: Path, machine: Machine, programs: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    machine.git(tmp_path, "clone", "--quiet", str(template_repository), str(clone))
    machine.run("make", ".venv/.ready", cwd=clone, PATH=str(programs), UV="")
    assert (clone / "build" / "tools" / "bin" / "uv").exists()
    assert machine.git(clone, "status", "--porcelain") == ""


@pytest.mark.slow
def test_a_project_s_commands_fetch_uv(bake_into: Bake, programs: Path, tmp_path: Path) -> None:
    project = bake_into(tmp_path)
    project.commit("As baked")
    project.make("install", PATH=str(programs))
    project.run(os.path.join(".venv", "bin", "xcom"), "--help", PATH=str(programs))
    assert set(project.git("status", "--porcelain").splitlines()) <= {"?? uv.lock"}


# -- which Python -------------------------------------------------------------------------------------


@pytest.fixture
def with_uv(programs: Path, machine: Machine) -> Path:
    """The same folder with uv in it, which has no Python but that of the tests."""
    asked = "import os; print(os.environ['UV'])"
    real = machine.run(UV, "run", "--no-project", "--isolated", "python", "-c", asked, cwd=programs).stdout
    (programs / "uv").symlink_to(real.strip())
    return programs


def wanting(project: BakedProject, version: str, allowed: str = ">=3.11,<3.15") -> None:
    """Let a project want a Python."""
    (project.path / ".python-version").write_text(f"{version}\n", encoding="utf-8")
    told = re.sub(
        r'(?m)^requires-python = ".*"', f'requires-python = "{allowed}"', project.read("pyproject.toml")
    )
    (project.path / "pyproject.toml").write_text(told, encoding="utf-8")


def choose(project: BakedProject, programs: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Let `make` find out with which Python uv runs. What this machine has installed by uv does not count."""
    options = {"PATH": str(programs), "UV_PYTHON": "", "UV_PYTHON_INSTALL_DIR": str(programs), **options}
    return project.make(".tools/uv", **options)


def runs(project: BakedProject, programs: Path, **options: str) -> str:
    """The version of the Python that the project's uv runs."""
    options = {"PATH": str(programs), "UV_PYTHON": "", "UV_PYTHON_INSTALL_DIR": str(programs), **options}
    asked = "import sys; print('%d.%d' % sys.version_info[:2])"
    return project.run(".tools/uv", "run", "--no-project", "python", "-c", asked, **options).stdout.strip()


def test_the_python_that_was_chosen_is_used_without_a_word(
    bake_into: Bake, with_uv: Path, tmp_path: Path
) -> None:
    project = bake_into(tmp_path)
    wanting(project, HERE)
    assert choose(project, with_uv).stdout == ""
    assert runs(project, with_uv) == HERE
    assert "UV_PYTHON" not in project.read(".tools/uv")


def test_where_it_is_not_the_newest_other_one_takes_its_place_and_one_line_says_so(
    bake_into: Bake, with_uv: Path, tmp_path: Path
) -> None:
    project = bake_into(tmp_path)
    wanting(project, OTHER)
    (said,) = choose(project, with_uv).stdout.splitlines()
    assert (
        said
        == f"Python {OTHER} is not here. Python {HERE} takes its place, the newest one here that will do."
    )
    assert runs(project, with_uv) == HERE
    assert runs(project, with_uv, UV_PYTHON=HERE) == HERE
    assert "takes its place" not in choose(project, with_uv).stdout, "once, not with each command"
    wanting(project, HERE)
    os.utime(project.path / ".tools" / "uv", (0, 0))
    assert "takes its place" not in choose(project, with_uv).stdout
    assert "UV_PYTHON" not in project.read(".tools/uv")


def test_where_none_will_do_it_says_what_to_install(bake_into: Bake, with_uv: Path, tmp_path: Path) -> None:
    project = bake_into(tmp_path)
    wanting(project, "3.99", ">=3.99")
    done = choose(project, with_uv, check=False)
    assert done.returncode != 0
    assert "Python 3.99 is not here. No other one will do (allowed is >=3.99)" in done.stdout
    assert "Install it, for example by: uv python install 3.99" in done.stderr
    assert not (project.path / ".tools" / "uv").exists()


def test_who_names_a_python_gets_it(bake_into: Bake, with_uv: Path, tmp_path: Path) -> None:
    project = bake_into(tmp_path)
    wanting(project, OTHER)
    assert choose(project, with_uv, UV_PYTHON=HERE).stdout == ""


@pytest.mark.parametrize(("named", "is_it"), [(HERE, f"Python {HERE}"), ("/nowhere/python", "not here")])
def test_a_named_python_that_will_not_do_is_told(
    bake_into: Bake, with_uv: Path, tmp_path: Path, named: str, is_it: str
) -> None:
    project = bake_into(tmp_path)
    wanting(project, OTHER, ">=3.98,<3.99")
    done = choose(project, with_uv, check=False, UV_PYTHON=named)
    assert done.returncode != 0 and not (project.path / ".tools" / "uv").exists()
    said = f"UV_PYTHON={named} is set in this shell, which is {is_it}. This project takes >=3.98,<3.99:"
    assert said in done.stderr and "unset UV_PYTHON" in done.stderr


def test_nothing_is_said_to_be_fetched_that_is_not(bake_into: Bake, with_uv: Path, tmp_path: Path) -> None:
    project = bake_into(tmp_path)
    for text in ("my-environment", f"# what we have\n{HERE}", f"{OTHER}\n{HERE}"):
        wanting(project, text)
        os.utime(project.path / ".python-version")
        assert "fetched" not in choose(project, with_uv).stdout
        assert runs(project, with_uv) == HERE


@pytest.mark.parametrize("version", CHOICES["python_version"])
def test_one_answer_is_the_python_of_everything(bake: Bake, version: str) -> None:
    github, gitlab = bake(python_version=version), bake(python_version=version, ci="gitlab")
    assert github.read(".python-version") == f"{version}\n"
    assert f'requires-python = ">={version},' in github.read("pyproject.toml")
    assert re.search(
        rf"^ARG AIRFLOW_IMAGE=apache/airflow:\S+-python{version}$", github.read("Dockerfile"), re.MULTILINE
    )
    assert "python-version-file: .python-version" in github.read(".github/workflows/ci.yml")
    assert f"image: python:{version}\n" in gitlab.read(".gitlab-ci.yml")
    container = json.loads(github.read(".devcontainer/devcontainer.json"))
    assert container["image"].endswith(f"python:{version}")
