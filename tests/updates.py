"""How tests make releases of a template, edit projects, and take releases into them."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from projects import UV, BakedProject, Files, Machine, as_bytes

FIRST, SECOND, THIRD = "v0.1.0", "v0.2.0", "v0.3.0"
INSIDE = "{{cookiecutter.project_slug}}/handbook"
PLAN = [f"{number}. Do what is to be done\n" for number in range(1, 41)]

Render = Callable[..., BakedProject]


def edit(folder: Path, name: str, old: str, new: str) -> None:
    """Replace in a file what must be there exactly once."""
    path = folder / name
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {path}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def tree(folder: Path) -> Files:
    """Every file of a project by its path, with a word where it may be executed.

    But not git's own folder, nor what `make` puts uv into.
    """
    return {
        path.relative_to(folder).as_posix()
        + (" (executable)" if path.stat().st_mode & 0o100 else ""): as_bytes(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in (".git", ".tools")
    }


def release(machine: Machine, template: Path, tag: str, **questions: str) -> None:
    """Ask more in cookiecutter.json, commit all there is, and tag it."""
    path = template / "cookiecutter.json"
    asked = json.loads(path.read_text(encoding="utf-8"))
    asked |= {"__template_version": tag.removeprefix("v"), **questions}
    path.write_text(json.dumps(asked, indent=2), encoding="utf-8")
    machine.git(template, "add", "--all", "--force")
    machine.git(template, "commit", "--quiet", "--message", f"Release {tag}")
    machine.git(template, "tag", tag)


def link(project: BakedProject) -> dict[str, object]:
    """What .cruft.json says."""
    found: dict[str, object] = json.loads(project.read(".cruft.json"))
    return found


def relink(project: BakedProject, **changes: object) -> None:
    """Change what .cruft.json says, and commit that."""
    text = json.dumps(link(project) | changes, ensure_ascii=False, indent=2, separators=(",", ": "))
    (project.path / ".cruft.json").write_text(text + "\n", encoding="utf-8")
    project.commit("Linked to another template")


def copy_of(project: BakedProject, folder: Path) -> BakedProject:
    """The same project in another folder."""
    return BakedProject(
        Path(shutil.copytree(project.path, folder, symlinks=True)), project.answers, project.machine
    )


def script(project: BakedProject, *arguments: str, code: int = 0, **environment: Any) -> str:
    """Run the project's packages/update.py, as make does; give what it said. `code` is how it must end.

    The tool runs on this pytest's Python, which has what it requires: uv would install that for every run
    anew, since each clone is another script to it. test_commands.py has uv do it.
    """
    command = [sys.executable, "-I", "packages/update.py", *arguments]
    return said_by(project, command, code, {"UV": str(quick_uv(project.machine)), **environment})


def quick_uv(machine: Machine) -> Path:
    """A command that does what uv does, but runs a script without installing for it."""
    path = machine.home / "quick-uv"
    if not path.exists():
        run = f'[ "$1 $2 $3" = "run --no-project --script" ] && shift 3 && exec "{sys.executable}" "$@"'
        path.write_text(f'#!/bin/sh\n{run}\nexec "{UV}" "$@"\n', encoding="utf-8")
        path.chmod(0o755)
    return path


def direct(project: BakedProject, clone: Path, *arguments: str, code: int = 0, **environment: Any) -> str:
    """Run the tool of a clone of the template, as the documented command does; see `script`."""
    command = [UV, "run", str(clone / "tools/update.py"), *arguments]
    return said_by(project, command, code, environment)


def said_by(project: BakedProject, command: list[str], code: int, environment: dict[str, Any]) -> str:
    """What a command says in a project, and that it ends as it must."""
    done = project.machine.run(*command, cwd=project.path, check=False, **environment)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert not re.search("^Traceback", said, re.MULTILINE)
    return said


def update(project: BakedProject, *arguments: str, **options: Any) -> str:
    """Take a release into a project: `update(project, "--version", THIRD, code=2)`; see `script`."""
    return script(project, "update", *arguments, **options)


def switch(project: BakedProject, *arguments: str, **options: Any) -> str:
    """Change a project's backend: `switch(project, "s3")`; see `script`."""
    return script(project, "switch", *arguments, **options)
