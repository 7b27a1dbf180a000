"""Begins a pipeline: a DAG file, a class of Variables and a test that run at once.

All are of the pattern in pattern/, and so is dags/first_pipeline.py of a project.
"""

from __future__ import annotations

import ast
import json
import keyword
import re
import sys
from collections.abc import Iterator
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from string import Template

from .. import declared
from ..atomic import write_all
from ..console import Failed, Refused
from . import ruff
from .examples import DAG_NAMES, text_of
from .metadata import VARIABLES
from .variables import ask, settings_file

LONGEST = 64  # characters of a name: no line of the pattern grows too long
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_USED = {"dag", "task", "timedelta"}  # by the pattern itself, beside modules
# What the class of Variables needs, and where it is imported from.
_NEEDED = {"Settings": "exclusive_xcom.variables", "Field": "pydantic"}


def new_pipeline(given: str) -> tuple[str, list[str]]:
    """Write the files of a pipeline in the current folder's project.

    Args:
        given: its name, with folders below dags/ before it: "finance/shipments".

    Returns:
        Its id, and what was written or changed.

    Raises:
        Refused: that name can't be used or is taken, or the project's settings can't be understood. As below,
            nothing has changed.
        Failed: a file could not be written.
    """
    folder, name = _parted(given)
    module, settings = settings_file()
    dag, test = Path("dags", folder, f"{name}.py"), Path("tests", folder, f"test_{name}.py")
    _check_free(name, module, dag, test)
    parent, _, leaf = module.rpartition(".")
    words = {
        "name": name,
        "Name": class_name(name),
        "file": dag.as_posix(),
        "settings": leaf,
        "imported": f"from {parent} import {leaf}" if parent else f"import {leaf}",
    }
    texts = {
        path: ruff.formatted(path, pattern(part, words)) for path, part in ((dag, "dag"), (test, "test"))
    }
    texts[settings] = _with_class(settings, words)
    made = json.loads(ask({settings: texts[settings]}).text)
    try:
        if VARIABLES.is_file():
            texts[VARIABLES] = _with_variables(made, f"{name}_")
        write_all(texts)
    except ValueError as error:
        raise Refused(str(error)) from None
    except OSError as error:
        raise Failed(f"{error}. Nothing was changed.") from error
    return name, [path.as_posix() for path in texts]


def pattern(part: str, words: dict[str, str]) -> str:
    """A part of the pattern ("dag", "settings" or "test") with words put in."""
    text = resources.files(f"{__package__}.pattern").joinpath(f"{part}.py.txt").read_text(encoding="utf-8")
    return Template(text).substitute(words)


def class_name(name: str) -> str:
    """What the class of a pipeline's Variables is called: FirstPipeline of first_pipeline."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def _parted(given: str) -> tuple[Path, str]:
    """Folder below dags/, and name. Raises `Refused` for what can be none."""
    if not given:
        raise Refused("Say what it is called: `make new DAG=shipments`, or `make new DAG=finance/shipments`.")
    *folders, name = given.removeprefix("./").removeprefix("dags/").removesuffix(".py").split("/")
    if wrong := [folder for folder in folders if not _FOLDER.fullmatch(folder)]:
        raise Refused(f"{wrong[0]!r} can't be a folder in dags/: use letters, digits, - and _.")
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        advice = "use letters, digits and underscores, with a letter first, and no word of Python's"
        raise Refused(f"{name!r} can't name a pipeline, its function and its Variables: {advice}.")
    if len(name) > LONGEST:
        raise Refused(f"A name of {len(name)} characters is too long: use {LONGEST} at most.")
    return Path(*folders), name


def _check_free(name: str, module: str, dag: Path, test: Path) -> None:
    """Raises `Refused` if a file, a pipeline or a module has the name already."""
    if name in _USED | {module.rpartition(".")[2]} or name in sys.stdlib_module_names or _is_module(name):
        raise Refused(
            f"{name!r} is the name of a Python module, or of what a DAG file needs: choose another."
        )
    # These folders come after dags/ where Airflow looks for modules: a file there would hide what they have.
    hidden = [Path("dags", name), Path(name), Path("plugins", name), Path("plugins", f"{name}.py")]
    if dag.parent == Path("dags") and (found := [path for path in hidden if path.exists()]):
        raise Refused(f"{dag} would hide {found[0]} from `import {name}`. Choose another name, or a folder.")
    for path in sorted(Path("dags").rglob("*.py")):
        if path.stem == name:
            raise Refused(f"{path} is there already.")
        if name in _dag_ids(path):
            raise Refused(f"There is a pipeline {name!r} already, in {path}.")
    # pytest takes two files of one name for one module.
    for path in sorted(Path("tests").rglob(test.name)):
        raise Refused(f"{path} is there already.")
    for folder in (*dag.parents, *test.parents):
        if folder.exists() and not folder.is_dir():
            raise Refused(f"{folder} is no folder.")


def _is_module(name: str) -> bool:
    """Whether `import NAME` finds a module that is installed, or the project's own."""
    found = find_spec(name)
    return found is not None and found.origin is not None  # a folder without Python has none


def _dag_ids(path: Path) -> Iterator[str]:
    """The ids of the DAGs in a file, as far as they are written there. None of a file that is no Python."""
    try:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError, OSError):
        return
    for node in nodes:
        if isinstance(node, ast.Call) and _called(node) in DAG_NAMES:
            named = [word.value for word in node.keywords if word.arg == "dag_id"]
            yield from (str(one.value) for one in [*named, *node.args[:1]] if isinstance(one, ast.Constant))
        if isinstance(node, ast.FunctionDef) and any(
            _called(each) in DAG_NAMES for each in node.decorator_list
        ):
            yield node.name


def _called(node: ast.expr) -> str:
    function = node.func if isinstance(node, ast.Call) else node
    return str(getattr(function, "id", getattr(function, "attr", "")))


def _with_class(path: Path, words: dict[str, str]) -> str:
    """The settings module with one class more, and the imports that it needs. Raises `Refused`."""
    text, name, prefix = text_of(path), words["Name"], f"{words['name']}_"
    try:
        tree = ast.parse(text.removeprefix("\ufeff"))
    except (SyntaxError, ValueError) as error:
        raise Refused(f"{path} can't be understood: {error}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            given = [getattr(word.value, "value", None) for word in node.keywords if word.arg == "prefix"]
            if node.name == name or prefix in given:
                raise Refused(
                    f"{path} has a class {node.name} with the prefix {(given or [''])[0]!r} already."
                )
    bound = _bound(tree)
    if name in bound:
        raise Refused(f"{path} has something else that is called {name}.")
    if "output_file" not in bound:
        raise Refused(
            f"{path} lacks `from exclusive_xcom.variables import output_file`, which pipelines use."
        )
    missing = []
    for needed, source in _NEEDED.items():
        if bound.get(needed, source) != source:
            raise Refused(f"{path}: `{needed}` is not that of {source} there. Import that one by this name.")
        if needed not in bound:
            missing.append(f"from {source} import {needed}\n")
    added = "\n\n\n" + ruff.formatted(path, pattern("settings", words))
    body = text.rstrip("\r\n") + (added.replace("\n", "\r\n") if "\r\n" in text else added)
    return ruff.fixed(path, _imported(body, tree, missing), "I") if missing else body


def _bound(tree: ast.Module) -> dict[str, str]:
    """The names at the top of a module; of what is imported from a module, with its name."""
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom | ast.Import):
            source = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            found |= {(alias.asname or alias.name.partition(".")[0]): source for alias in node.names}
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = ""
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        found |= {target.id: "" for target in targets if isinstance(target, ast.Name)}
    return found


def _imported(text: str, tree: ast.Module, lines: list[str]) -> str:
    """The module with these imports below those that it has, or below its docstring."""
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    above = imports[-1:] or tree.body[: bool(ast.get_docstring(tree))]
    rows = text.splitlines(keepends=True)
    at = (above[0].end_lineno or 0) if above else 0
    return "".join([*rows[:at], *lines, *rows[at:]])


def _with_variables(made: dict[str, object], prefix: str) -> str:
    """config/variables.json with the Variables of one class more; all others stay as they are there. Raises
    ValueError if it can't be read."""
    added = {name: entry for name, entry in made.items() if name.startswith(prefix)}
    return json.dumps(declared.read(VARIABLES) | added, indent=2, ensure_ascii=False) + "\n"
