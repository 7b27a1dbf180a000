"""Removes the example pipelines and all that is theirs: `python -m exclusive_xcom.local.start_clean`.

A pipeline is an example as long as its DAG has the tag "example"; who makes one their own takes the tag away.
With dags/x.py goes what belongs to it by its name:

    tests/test_x.py
    classes in src/ whose docstring begins with "For dags/x.py"
    in config/airflow.env and docker-compose.yaml: a comment "# For dags/x.py" and the line that it is about
    files in data/ that the example names, and nothing that stays

Everything else stays as it is, the pipelines that are no examples first of all. git must be able to undo it.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

TAG = "example"
WITH_COMMENTS = ("config/airflow.env", "docker-compose.yaml")
NO_DATA = "# Input of the pipelines\n\nSay here what each file is, and where it is from.\n"


class NotUndoable(RuntimeError):
    """git could not bring back what would be removed; the text says what to do."""


def start_clean(project: Path) -> list[str]:
    """Remove the examples of a project.

    Returns:
        What was removed or changed, as paths below the project; nothing if there is no example.

    Raises:
        NotUndoable: git does not keep the project, or not as it is now.
    """
    names = examples(project)
    if not names:
        return []
    files = [project / "dags" / f"{name}.py" for name in names]
    files += [test for name in names if (test := project / "tests" / f"test_{name}.py").is_file()]
    kept_by_git = _kept_by_git(project, files)
    named = "\n".join(path.read_text(encoding="utf-8") for path in files)
    for path in files:
        path.unlink()
    cut = [path for path in sorted((project / "src").rglob("*.py")) if _cut_classes(path, names)]
    cut += [project / name for name in WITH_COMMENTS if _cut_lines(project / name, names)]
    data = [path for path in _data_of(project, named) if kept_by_git >= _files_of(path)]
    for path in data:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    cut += [
        readme for readme in [project / "data" / "README.md"] if _cut_rows(readme, {p.name for p in data})
    ]
    _remove_imports(project, [path for path in cut if path.suffix == ".py"])
    cut += _remake_variables(project)
    return [path.relative_to(project).as_posix() for path in [*files, *data, *cut]]


def examples(project: Path) -> list[str]:
    """The names of the pipelines that are examples: a DAG in the file has the tag."""
    return [path.stem for path in sorted((project / "dags").glob("*.py")) if _has_tag(path)]


def _has_tag(path: Path) -> bool:
    calls = (node for node in ast.walk(ast.parse(_text(path))) if isinstance(node, ast.Call))
    tags = [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "tags"]
    return any(isinstance(node, ast.Constant) and node.value == TAG for tag in tags for node in ast.walk(tag))


# -- git ----------------------------------------------------------------------------------------------


def _kept_by_git(project: Path, files: Iterable[Path]) -> set[Path]:
    """All files that git keeps. Raises `NotUndoable` unless it has them, and these, as they are now."""
    listed = _git(project, "ls-files")
    if not listed:
        raise NotUndoable(
            "git does not keep this project, so the examples could not come back. First run: "
            "git init && git add --all && git commit --message 'Start'"
        )
    known = {project / name for name in listed}
    changed = [line[3:] for line in _git(project, "status", "--porcelain", "--untracked-files=no")]
    changed += [path.name for path in files if path not in known]
    if changed:
        raise NotUndoable(f"Commit your changes first, so that git can undo this: {', '.join(changed)}")
    return known


def _git(project: Path, *arguments: str) -> list[str]:
    """The lines that git says; none where it keeps nothing."""
    command = ["git", "-c", "core.quotePath=false", *arguments, "--", "."]
    return subprocess.run(
        command, cwd=project, capture_output=True, text=True, check=False
    ).stdout.splitlines()


# -- what belongs to a pipeline -----------------------------------------------------------------------


def _data_of(project: Path, named: str) -> list[Path]:
    """What lies in data/, is named in this text, and in no DAG, test or module that is still there."""
    code = [path for folder in ("dags", "src", "tests") for path in (project / folder).rglob("*.py")]
    needed = "\n".join(map(_text, code))
    there = sorted(path for path in (project / "data").glob("*") if path.name != "README.md")
    return [path for path in there if _names(named, path.name) and not _names(needed, path.name)]


def _names(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


def _files_of(path: Path) -> set[Path]:
    return {file for file in path.rglob("*") if file.is_file()} if path.is_dir() else {path}


def _cut_classes(path: Path, names: Iterable[str]) -> bool:
    """Remove the classes that say that they are for one of these pipelines. Whether there were any."""
    beginnings = tuple(f"For dags/{name}.py" for name in names)
    lines = _text(path).splitlines(keepends=True)
    for node in reversed(ast.parse(_text(path)).body):
        if isinstance(node, ast.ClassDef) and (ast.get_docstring(node) or "").startswith(beginnings):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            del lines[first - 1 : node.end_lineno]
    return _written(path, "".join(lines))


def _cut_lines(path: Path, names: Iterable[str]) -> bool:
    """Remove the comments that say that they are for one of these pipelines, each with the line below it."""
    if not path.is_file():
        return False
    mark = re.compile(rf"\s*# For dags/({'|'.join(map(re.escape, names))})\.py")
    kept, cutting = "", False
    for line in _text(path).splitlines(keepends=True):
        if mark.match(line):
            cutting = True
        elif not cutting:
            kept += line
        elif not line.lstrip().startswith("#"):
            cutting = False
    return _written(path, re.sub(r"\n{3,}", "\n\n", kept))


def _cut_rows(path: Path, gone: set[str]) -> bool:
    """Remove the rows of a table of files of which none is left."""
    if not path.is_file() or not gone:
        return False
    text, left = _text(path), False
    for row in re.findall(r"^\| *`.*\n", text, re.MULTILINE):
        if {name.strip("/") for name in re.findall(r"`(.+?)`", row.split("|")[1])} <= gone:
            text = text.replace(row, "")
        else:
            left = True
    return _written(path, text if left else NO_DATA)


def _remove_imports(project: Path, code: list[Path]) -> None:
    """Remove the imports that nothing needs any more."""
    for command in (["check", "--fix", "--select", "F401,I"], ["format"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--quiet", *map(str, code)]
        subprocess.run(ruff, cwd=project, check=True)


def _remake_variables(project: Path) -> list[Path]:
    """Make config/variables.json from the settings that are left; gives it if it changed."""
    variables = project / "config" / "variables.json"
    for settings in (project / "src").glob("*/settings.py"):
        command = [sys.executable, "-m", f"{settings.parent.name}.settings"]
        made = subprocess.run(command, cwd=project, stdout=subprocess.PIPE, text=True, check=True).stdout
        if _written(variables, made):
            return [variables]
    return []


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _written(path: Path, text: str) -> bool:
    """Write a file if that changes it. Whether it did."""
    changed = text != _text(path)
    if changed:
        path.write_text(text, encoding="utf-8")
    return changed


def main() -> int:
    """Remove the examples of the project in this folder, and say what happened."""
    try:
        done = start_clean(Path.cwd())
    except NotUndoable as error:
        print(error, file=sys.stderr)
        return 2
    for name in done:
        print(f"  {name}")
    print(f"{len(done)} files removed or changed." if done else "There is no example here.")
    if done:
        print("Look with `git diff`, then commit. `git checkout .` brings everything back.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
