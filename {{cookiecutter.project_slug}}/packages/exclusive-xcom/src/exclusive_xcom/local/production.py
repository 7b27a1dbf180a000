"""Tells whether DAGs find all that they import in this environment, a deployment's: `make check-image`.

    uv run --isolated --no-dev --extra postgres python -m exclusive_xcom.local.production

Run it in the project's folder. Whatever dags/, plugins/, include/ and src/ import is looked for, also what is
imported inside of a task, and Airflow imports the DAG files. A package that only the tools of development
bring is missing here, as in the image.
"""

from __future__ import annotations

import ast
import os
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

FOLDERS = ("dags", "plugins", "include", "src")


class Imports(ast.NodeVisitor):
    """The modules that a file imports, each with its line, in `found`. Left out are relative ones, and those
    that it can do without: for type checkers alone, or below `try`."""

    def __init__(self, tree: ast.AST) -> None:
        self.found: list[tuple[str, int]] = []
        self.visit(tree)

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [(alias.name, node.lineno) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module and not node.level:
            self.found.append((node.module, node.lineno))

    def visit_Try(self, node: ast.Try) -> None:
        for part in (*node.handlers, *node.orelse, *node.finalbody):
            self.visit(part)

    def visit_If(self, node: ast.If) -> None:
        for part in node.orelse if "TYPE_CHECKING" in ast.unparse(node.test) else (*node.body, *node.orelse):
            self.visit(part)


def missing(folders: list[Path]) -> Iterator[tuple[Path, str]]:
    """The files below these folders that import a module which is not here, and which."""
    for file in sorted(path for folder in folders for path in folder.rglob("*.py")):
        try:
            tree = ast.parse(file.read_bytes())
        except SyntaxError:
            continue  # Airflow says where, if it is a DAG file
        for module, line in Imports(tree).found:
            try:
                there = find_spec(module) is not None
            except (ImportError, ValueError):  # its package is not here; it has no spec of its own
                there = module in sys.modules
            if not there:
                yield file, f"line {line}: there is no module {module}"


def refused(dags: Path) -> Iterator[tuple[Path, str]]:
    """The DAG files that Airflow can't import, and why."""
    from airflow.dag_processing.dagbag import DagBag

    for file, reason in DagBag(dags.resolve()).import_errors.items():
        yield dags / Path(file).relative_to(dags.resolve()), reason.strip()


def main() -> int:
    """Returns 1 if there is something to say."""
    folders = [Path(name) for name in FOLDERS]
    dags, plugins, *_ = folders
    sys.path += [str(folder.resolve()) for folder in (Path(), dags, plugins) if folder.is_dir()]
    with tempfile.TemporaryDirectory() as home:
        # Set before Airflow is imported: nothing of this machine's is read, and no database is made.
        os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        os.environ |= {"AIRFLOW__CORE__DAGS_FOLDER": str(dags.resolve())}
        os.environ |= {"AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins.resolve())}
        os.environ |= {"AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"}
        problems = [*missing(folders)]
        told = {file for file, _ in problems}
        problems += [(file, why) for file, why in refused(dags) if file not in told]
    if problems:
        print("With the packages of a deployment, which are those of [project] in pyproject.toml:")
        print(*(f"{file}, {why}" for file, why in problems), sep="\n")
        print('What is missing is added by: make add PACKAGES="…"')
    else:
        print("All that DAGs import is among the packages of a deployment.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
