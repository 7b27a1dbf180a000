"""A machine with Python, git and make, and nothing else: no uv, no account, no settings."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from projects import Bake, Machine

pytestmark = pytest.mark.slow


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with the programs of the system, this Python as `python3`, and no uv."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for system in (Path("/usr/bin"), Path("/bin")):
        for program in system.iterdir():
            if not program.name.startswith(("uv", "python")) and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)
    python = folder / "python3"
    python.write_text(f'#!/bin/sh\nexec "{Path(sys.base_prefix, "bin", "python3")}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    assert shutil.which("uv", path=str(folder)) is None
    return folder


def test_the_template_s_commands_fetch_uv(
    template_repository: Path, machine: Machine, programs: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    machine.git(tmp_path, "clone", "--quiet", str(template_repository), str(clone))
    machine.run("make", ".venv/.ready", cwd=clone, PATH=str(programs), UV="")
    assert (clone / "build" / "tools" / "bin" / "uv").exists()
    assert machine.git(clone, "status", "--porcelain") == ""


def test_a_project_s_commands_fetch_uv(bake_into: Bake, programs: Path, tmp_path: Path) -> None:
    project = bake_into(tmp_path)
    project.commit("As baked")
    project.make("install", PATH=str(programs))
    project.run(os.path.join(".venv", "bin", "xcom"), "--help", PATH=str(programs))
    assert set(project.git("status", "--porcelain").splitlines()) <= {"?? uv.lock"}
