"""config/variables.json from the project's settings module, which is asked in a process of its own.

So a module that is about to be written can be asked, too, and what it prints or breaks stays there. Airflow
is not started.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import declared
from ..atomic import write_all
from ..console import Refused
from .metadata import VARIABLES
from .project import Project

SOURCES = Path("src")


@dataclass(frozen=True)
class Declared:
    """What a settings module declares: the text of the file, the names that are secret, and what is wrong."""

    text: str = ""
    secret: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def settings_file() -> tuple[str, Path]:
    """The module that pyproject.toml names, and its file, in the current folder. Raises `Refused`."""
    module = Project.read(Path()).settings
    if not module:
        advice = 'write `settings = "…"` into [tool.exclusive-xcom] in pyproject.toml'
        raise Refused(f"No module of settings is named: {advice}.")
    path = SOURCES.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return module, file
    raise Refused(f"settings = {module!r} in pyproject.toml: there is no {path.with_suffix('.py')}.")


def ask(texts: Mapping[Path, str] | None = None) -> Declared:
    """What the settings module declares; with `texts`, as if these files in src/ had them.

    Raises:
        Refused: there is no such module, it can't be imported, or what it declares is wrong.
    """
    module, path = settings_file()
    with tempfile.TemporaryDirectory() as folder:
        if texts:
            try:
                caches = shutil.ignore_patterns("__pycache__")
                shutil.copytree(SOURCES, Path(folder, SOURCES), ignore=caches, ignore_dangling_symlinks=True)
            except OSError as error:
                raise Refused(f"{SOURCES} can't be read: {error}") from error
            for changed, text in texts.items():
                Path(folder, changed).write_bytes(text.encode())
        root = Path(folder if texts else Path.cwd(), SOURCES)
        places = f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        environ = os.environ | {"PYTHONPATH": places, "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", f"{__package__}.variables", module, str(root)]
        done = subprocess.run(command, capture_output=True, env=environ, check=False)
    if done.returncode or not done.stdout:  # a module can end Python, and call that a success
        said = done.stderr.decode(errors="replace").strip().splitlines() if done.returncode else []
        raise Refused(f"{path} can't be imported: {said[-1] if said else 'it ended Python'}")
    found = Declared(**json.loads(done.stdout))
    if found.problems:
        raise Refused("\n".join(f"{path}: {problem}" for problem in found.problems))
    return found


def update() -> list[str]:
    """Write config/variables.json anew. Returns what became of the Variables, a line each; nothing if nothing
    did. Raises `Refused`, also for a file that can't be understood."""
    try:
        before = declared.read(VARIABLES)
    except ValueError as error:
        raise Refused(str(error)) from None
    found = ask()
    if VARIABLES.is_file() and VARIABLES.read_text(encoding="utf-8") == found.text:
        return []
    write_all({VARIABLES: found.text})
    lines = declared.changes(before, json.loads(found.text), found.secret)
    return lines or ["changed  order or form alone"]


def _answer(module: str, root: Path) -> None:
    """Import the module, and print what it declares as JSON."""
    import importlib

    from ..variables import all_settings, variables_file

    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the module prints is no part of the answer
    try:
        importlib.import_module(module)
    except Exception as error:
        sys.exit(f"{_where(error, root)}{type(error).__name__}: {error}".replace("\n", " "))
    if not (problems := declared.problems()):
        secret = tuple(item.variable for item in all_settings() if item.is_secret)
        found = Declared(variables_file(), secret)
    else:
        found = Declared(problems=tuple(problems))
    out.write(json.dumps(asdict(found)))
    out.close()


def _where(error: Exception, root: Path) -> str:
    """The last line of the project's own that took part in an error."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno))
    own = [place for place in places if Path(place[0]).is_relative_to(root)]
    return f"{Path(own[-1][0]).name} line {own[-1][1]}: " if own else ""


if __name__ == "__main__":
    _answer(sys.argv[1], Path(sys.argv[2]))
