"""What has to hold for every DAG file of a project: a test class to subclass there, and rules to choose.

    from exclusive_xcom.testing.dag_rules import DagRules

    class TestDags(DagRules):
        pass

By itself it finds what is wrong for sure: files that Airflow can't import in its time, an id that two files
have, Variables and connections that are read while a file is imported, what the next Airflow will not have.
Whatever else a team wants is a rule that pyproject.toml names:

    [tool.exclusive-xcom]
    rules = ["owner", "retries"]
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ..console import Refused
from ..local.pipelines import shown
from ..local.project import FILE, TABLE, Project
from .loading import Loaded, dags_folder, files

# Each takes long to import.
HEAVY = ("numpy", "pandas", "PIL", "polars", "pyarrow", "scipy", "sklearn", "torch")


def owner(file: Path, dags: list[Any]) -> Iterator[str]:
    """Somebody must be named who is asked when it fails."""
    for task in _tasks(dags):
        if task.owner in ("", "airflow"):
            yield f"the task {task.dag_id}.{task.task_id} has no owner"


def tags(file: Path, dags: list[Any]) -> Iterator[str]:
    """The list in the UI can be narrowed by them."""
    yield from (f"the DAG {dag.dag_id} has no tags" for dag in dags if not dag.tags)


def docs(file: Path, dags: list[Any]) -> Iterator[str]:
    """Whoever looks at it in the UI must see what it is for."""
    for dag in dags:
        if not (dag.doc_md or "").strip():
            yield f"the DAG {dag.dag_id} has neither a docstring nor doc_md"


def one_dag_per_file(file: Path, dags: list[Any]) -> Iterator[str]:
    """The id of a DAG then says where its file is."""
    found = sorted(dag.dag_id for dag in dags)
    if found not in ([], [file.stem]):
        yield f"it has the DAGs {', '.join(found)}, and not the one {file.stem}"


def retries(file: Path, dags: list[Any]) -> Iterator[str]:
    """A moment without network must not fail a night's work."""
    for task in _tasks(dags):
        if task.retries < 1:
            yield f"the task {task.dag_id}.{task.task_id} is not tried again"


def no_catchup(file: Path, dags: list[Any]) -> Iterator[str]:
    """Switching a DAG on must not start a run for every day since its start date."""
    yield from (f"the DAG {dag.dag_id} catches up" for dag in dags if dag.catchup)


def light_imports(file: Path, dags: list[Any]) -> Iterator[str]:
    """Airflow reads DAG files all the time: what takes long to import is imported inside of tasks."""
    if found := _heavy(dags_folder()).get(str(file)):
        yield f"it imports {', '.join(found)} at its top, or a module of yours does that it imports"


RULES: dict[str, Callable[[Path, list[Any]], Iterator[str]]] = {
    rule.__name__.replace("_", "-"): rule
    for rule in (owner, tags, docs, one_dag_per_file, retries, no_catchup, light_imports)
}


def chosen(project: Path) -> list[str]:
    """The rules that the project wants. A test that asks fails if there is no such rule."""
    try:
        wanted = Project.read(project).rules
        for name in wanted:
            if name not in RULES:
                raise Refused(f"{TABLE} in {FILE} names the rule {name!r}. There are: {', '.join(RULES)}.")
        return list(wanted)
    except Refused as error:
        problem = str(error)
    pytest.fail(problem, pytrace=False)


class DagRules:
    """Subclass it in a test module, with a name that pytest collects."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "dag_file" in metafunc.fixturenames:
            folder = dags_folder()
            named = {path.relative_to(folder).as_posix(): path for path in files(folder)}
            metafunc.parametrize("dag_file", named.values(), ids=named.keys())

    def test_airflow_can_import_it(self, loaded: Loaded, dag_file: Path) -> None:
        # Also in time: Airflow ends an import after AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT seconds.
        if why := loaded.error(dag_file):
            pytest.fail(f"{shown(dag_file)} can't be imported:\n{why}", pytrace=False)

    def test_nothing_is_read_while_it_is_imported(self, loaded: Loaded, dag_file: Path) -> None:
        why = "Airflow imports it all the time and would ask its database each time: read it inside a task."
        _none(dag_file, loaded.reads(dag_file), why)

    def test_the_next_airflow_has_what_it_uses(self, loaded: Loaded, dag_file: Path) -> None:
        _none(dag_file, loaded.deprecated(dag_file), "A later version will not have it.")

    def test_it_keeps_the_rules_of_the_project(
        self, loaded: Loaded, dag_file: Path, pytestconfig: pytest.Config
    ) -> None:
        dags = loaded.dags(dag_file)
        broken = [
            f"{problem}. {inspect.getdoc(RULES[name])} (rule {name!r})"
            for name in chosen(pytestconfig.rootpath)
            for problem in RULES[name](dag_file, dags)
        ]
        _none(dag_file, broken, f"The rules are named in {TABLE} of {FILE}.")


def _none(file: Path, problems: Iterable[str], why: str) -> None:
    """Fail if there are problems."""
    if found := list(problems):
        pytest.fail(
            "\n".join([f"{shown(file)}:", *(f"- {problem}" for problem in found), why]), pytrace=False
        )


def _tasks(dags: list[Any]) -> Iterator[Any]:
    return (task for dag in dags for task in dag.tasks)


# Each file in a process of its own: in one that has imported pandas already, nobody notices it again.
_ASK = """
import json, os, sys
from airflow.dag_processing.dagbag import DagBag
sys.path[:], heavy, files = map(json.loads, sys.argv[1:])
before = set(sys.modules)
for file in files:
    if not (child := os.fork()):
        DagBag(file)
        print("\\n" + json.dumps([file, sorted((set(sys.modules) - before) & set(heavy))]), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@cache
def _heavy(folder: Path) -> dict[str, list[str]]:
    """What each DAG file imports of `HEAVY`."""
    paths = [str(path) for path in files(folder)]
    command = [sys.executable, "-c", _ASK, *map(json.dumps, (sys.path, HEAVY, paths))]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(line) for line in said.splitlines() if line.startswith('["'))
