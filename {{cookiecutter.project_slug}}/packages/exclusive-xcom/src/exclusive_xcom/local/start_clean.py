"""Removes the example pipelines of the project in the current folder, and all that is theirs.

A pipeline is an example as long as its DAG has the tag "example"; who makes one their own takes the tag away.
With dags/x.py goes what belongs to it by its name:

    tests/test_x.py
    classes in src/ whose docstring begins with "For dags/x.py"
    in config/airflow.env and docker-compose.yaml: a comment "# For dags/x.py" and the line that it is about
    files in data/ that the example names, and nothing that stays; their rows in data/README.md

Everything else stays as it is, the pipelines that are no examples first of all. git must be able to undo it.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

from ..console import Refused
from .environment import SETTINGS
from .metadata import VARIABLES

TAG = "example"
CONFIGURATION = [SETTINGS, Path("docker-compose.yaml")]
TABLE = Path("data/README.md")


def remove_examples() -> list[str]:
    """Remove the examples.

    Returns:
        What was removed or changed; nothing if there is no example.

    Raises:
        Refused: git does not keep the project, or not as it is now.
    """
    names = [path.stem for path in sorted(Path("dags").glob("*.py")) if _is_example(path)]
    if not names:
        return []
    mark = re.compile(rf"For dags/({'|'.join(map(re.escape, names))})\.py")
    files = [Path(file) for name in names for file in (f"dags/{name}.py", f"tests/test_{name}.py")]
    gone = [path for path in files if path.is_file()]
    kept = _kept_by_git(gone)
    named = "\n".join(map(_text, gone))
    code = [path for path in kept if path.suffix == ".py" and path not in gone]
    cut = [path for path in code if path.parts[0] == "src" and _cut_classes(path, mark)]
    needed = "\n".join(map(_text, code))
    gone += [path for path in kept if _is_data_of(path, named) and not _is_data_of(path, needed)]
    for path in gone:
        path.unlink()
        if path.parts[0] == "data":
            with contextlib.suppress(OSError):  # while the folder has other files
                os.removedirs(path.parent)
    _remove_imports(cut)
    cut += [path for path in CONFIGURATION if path in kept and _cut_lines(path, mark)]
    cut += [path for path in [TABLE] if path in kept and _cut_rows(path)]
    cut += [VARIABLES for path in code if path.match("src/*/settings.py") and _remake_variables(path)]
    return [path.as_posix() for path in [*gone, *cut]]


def _is_example(path: Path) -> bool:
    calls = (node for node in ast.walk(ast.parse(_text(path))) if isinstance(node, ast.Call))
    tags = [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "tags"]
    return any(isinstance(node, ast.Constant) and node.value == TAG for tag in tags for node in ast.walk(tag))


def _kept_by_git(files: list[Path]) -> list[Path]:
    """All files that git keeps. Raises `Refused` unless it has them, and these, as they are now."""
    kept = [Path(name) for name in _git("ls-files")]
    if not kept:
        raise Refused(
            "git does not keep this project, so the examples could not come back. First run: "
            "git init && git add --all && git commit --message 'Start'"
        )
    changed = [line[3:] for line in _git("status", "--porcelain", "--untracked-files=no")]
    changed += [path.as_posix() for path in files if path not in kept]
    if changed:
        raise Refused(f"Commit your changes first, so that git can undo this: {', '.join(changed)}")
    return kept


def _git(*command: str) -> list[str]:
    """The lines that git says; none where it keeps nothing."""
    git = ["git", "-c", "core.quotePath=false", *command, "--", "."]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.splitlines()


def _is_data_of(path: Path, text: str) -> bool:
    """Whether a text names the file, or the folder in data/ in which it is."""
    if path.parts[0] != "data" or path == TABLE:
        return False
    return re.search(rf"(?<![\w-]){re.escape(path.parts[1])}(?![\w-])", text) is not None


def _cut_classes(path: Path, mark: re.Pattern[str]) -> bool:
    """Remove the classes that say that they are for one of these pipelines. Whether there were any."""
    lines = _text(path).splitlines(keepends=True)
    for node in reversed(ast.parse(_text(path)).body):
        if isinstance(node, ast.ClassDef) and mark.match(ast.get_docstring(node) or ""):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            del lines[first - 1 : node.end_lineno]
    return _written(path, "".join(lines))


def _remove_imports(code: list[Path]) -> None:
    """Remove the imports that nothing needs any more."""
    for command in (["check", "--fix", "--select", "F401,I"], ["format"]) if code else ():
        subprocess.run([sys.executable, "-m", "ruff", *command, "--quiet", *map(str, code)], check=True)


def _cut_lines(path: Path, mark: re.Pattern[str]) -> bool:
    """Remove the comments that say that they are for one of these pipelines, each with the line below it."""
    block = rf"^ *# {mark.pattern}.*\n(?: *#.*\n)*.*\n\n?"
    return _written(path, re.sub(block, "", _text(path), flags=re.MULTILINE))


def _cut_rows(path: Path) -> bool:
    """Remove the rows of a table of files of which none is left."""

    def left(row: re.Match[str]) -> str:
        files = re.findall(r"`(.+?)`", row[1])
        return row[0] if any((path.parent / name).exists() for name in files) else ""

    return _written(path, re.sub(r"^\|( *`[^|]*)\|.*\n", left, _text(path), flags=re.MULTILINE))


def _remake_variables(settings: Path) -> bool:
    """Make config/variables.json from the settings that are left. Whether it changed."""
    command = [sys.executable, "-m", f"{settings.parent.name}.settings"]
    made = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return _written(VARIABLES, made)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _written(path: Path, text: str) -> bool:
    """Write a file if that changes it. Whether it did."""
    changed = text != _text(path)
    if changed:
        path.write_text(text, encoding="utf-8")
    return changed
