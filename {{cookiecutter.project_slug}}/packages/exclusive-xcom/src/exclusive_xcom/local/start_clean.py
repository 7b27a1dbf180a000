"""Removes the example pipelines of the project in the current folder, and all that is theirs.

A pipeline is an example as long as its DAG has the tag "template-example"; who makes one their own takes the
tag away. With dags/x.py goes what belongs to it by its name:

    tests/test_x.py (of dags/finance/x.py: tests/finance/test_x.py)
    classes in src/ whose docstring begins with "For dags/x.py"
    in config/*.env, docker-compose.yaml, pyproject.toml: a comment "# For dags/x.py" and the line below it
    files in data/ that the example names, and nothing that stays; their rows in data/README.md

Everything else stays as it is, the pipelines that are no examples first of all. All is planned before
anything is touched, and git must be able to undo it.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from ..console import Failed, Refused
from . import ruff
from .examples import cut_classes, cut_lines, is_example, shown, text_of
from .metadata import VARIABLES
from .variables import ask

CONFIGURATION = ("config/*.env", "docker-compose*.yaml", "*.env.example", "pyproject.toml")
TABLE = Path("data/README.md")


class NotUndoable(Refused):
    """git does not keep the project, or not as it is now. The text names the files."""


def remove_examples() -> list[str]:
    """Remove the examples.

    Returns:
        What was removed or changed; nothing if there is no example.

    Raises:
        NotUndoable: git does not keep the project, or not as it is now.
        Refused: a file can't be read or understood. As above, nothing was touched.
        Failed: a file could not be removed or written; those before it were.
    """
    examples = [path for path in _files(Path("dags").rglob("*.py")) if is_example(path)]
    if not examples:
        return []
    tracked = {Path(line[2:]): line[0] for line in _git("ls-files", "-v")}
    gone, texts = _plan(examples, tracked)
    _check([*gone, *texts], tracked)
    try:
        for path in gone:
            path.unlink()
            with contextlib.suppress(OSError):  # while the folder has other files
                for folder in [*path.parents][:-2]:
                    folder.rmdir()
        for path, text in texts.items():
            path.write_bytes(text.encode())
    except OSError as error:
        raise Failed(f"{error}. `git checkout .` brings back what was changed before.") from error
    return [shown(path) for path in [*gone, *texts]]


def _plan(examples: list[Path], tracked: dict[Path, str]) -> tuple[list[Path], dict[Path, str]]:
    """Which files go, and the new texts of those that change. Touches nothing."""
    mark = re.compile(f"For ({'|'.join(re.escape(path.as_posix()) for path in examples)})")
    tests = [Path("tests", *path.parts[1:-1], f"test_{path.name}") for path in examples]
    gone = _files([*examples, *tests])
    # Also what git does not know yet: a pipeline of the owner's may need what an example brought.
    here = [path for folder in ("dags", "src", "tests") for path in Path(folder).rglob("*.py")]
    owned = (path for path in tracked if path.suffix == ".py" and path.parts[0] != "packages")
    stays = _files({*here, *owned} - set(gone))
    code = {path: text_of(path) for path in stays}
    cut = {path: cut_classes(path, text, mark) for path, text in code.items() if path.parts[0] == "src"}
    texts = {path: _without_imports(path, text) for path, text in cut.items() if text != code[path]}
    named, needed = "\n".join(map(text_of, gone)), "\n".join((code | texts).values())
    gone += [path for path in _files(tracked) if _is_data_of(path, named) and not _is_data_of(path, needed)]
    found = [path for names in CONFIGURATION for path in Path().glob(names)]
    new = {path: cut_lines(text_of(path), mark, needed) for path in _files(found)}
    new |= {path: _cut_rows(text_of(path), set(gone)) for path in _files([TABLE])}
    new |= {path: ask(texts).text for path in _files([VARIABLES]) if texts}
    return gone, texts | {path: text for path, text in new.items() if text != text_of(path)}


def _check(paths: list[Path], tracked: dict[Path, str]) -> None:
    """Raises `NotUndoable` unless git keeps these files, and no file of the project has changed."""
    links = [path for path in paths if path.is_symlink()]
    hidden = [path for path in paths if path not in links and tracked.get(path, "H") != "H"]
    if links:
        raise NotUndoable(f"Links are not followed. Put files in their place: {_listed(links)}")
    if hidden:
        advice = "`git update-index --no-skip-worktree --no-assume-unchanged`"
        raise NotUndoable(f"git was told to overlook changes here. First {advice}: {_listed(hidden)}")
    states = _git("status", "--porcelain", "--no-renames", "--untracked-files=no")
    changed = [Path(line[3:]) for line in states]
    changed += [path for path in paths if path not in tracked]
    if changed:
        raise NotUndoable(f"Commit your changes first, so that git can undo this: {_listed(changed)}")


def _git(*command: str) -> list[str]:
    """What git lists of this folder. Raises `NotUndoable` where it keeps nothing."""
    try:
        done = subprocess.run(["git", *command, "-z", "--", "."], capture_output=True, check=False)
    except OSError as error:
        raise NotUndoable(f"Without git the examples could not come back: {error}") from error
    if done.returncode or (command[0] == "ls-files" and not done.stdout):
        raise NotUndoable(
            "git does not keep this project, so the examples could not come back. First run: git init && "
            f"git add --all && git commit --message 'Start'\n{done.stderr.decode(errors='replace')}".strip()
        )
    return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]


def _is_data_of(path: Path, text: str) -> bool:
    """Whether a text names the file, or the folder in data/ in which it is."""
    if path.parts[0] != "data" or len(path.parts) == 1 or path == TABLE:
        return False
    return re.search(rf"(?<![\w-]){re.escape(path.parts[1])}(?![\w-])", text) is not None


def _without_imports(path: Path, text: str) -> str:
    """The module, formatted, without the imports that nothing needs any more."""
    return ruff.formatted(path, ruff.fixed(path, text, "F401,I"))


def _cut_rows(text: str, gone: set[Path]) -> str:
    """Without the rows of a table of files of which none is left."""

    def left(row: re.Match[str]) -> str:
        named = [TABLE.parent / name for name in re.findall(r"`(.+?)`", row[1])]
        return row[0] if {file for path in named for file in _files([path, *path.rglob("*")])} - gone else ""

    return re.sub(r"^\|( *`[^|]*)\|.*\n?", left, text, flags=re.MULTILINE)


def _files(paths: Iterable[Path]) -> list[Path]:
    return sorted({path for path in paths if path.is_file()})


def _listed(paths: list[Path]) -> str:
    return ", ".join(map(shown, paths))
