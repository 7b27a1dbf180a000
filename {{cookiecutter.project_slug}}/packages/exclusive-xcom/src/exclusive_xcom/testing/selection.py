"""`pytest --only=NAME`: the tests that belong to a pipeline, or to whatever else has that name.

A name is one that `make run` knows: a DAG's id, its file below dags/, the file's name alone. To it belong
tests/…/test_<file>.py, and what `dag_rules` has to say of that file. A name can also be that of a test module
(`settings`), or a path (`tests/finance`). Several are separated by blanks.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import pytest

from ..console import Failed
from .loading import Loaded, dags_folder

PREFIX = "test_"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--only`."""
    about = "only the tests of these pipelines or test modules, separated by blanks"
    parser.getgroup("exclusive-xcom").addoption("--only", default="", metavar="NAMES", help=about)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what was not asked for. Raises UsageError for a name that nothing has."""
    names = config.getoption("only").split()
    kept = {item for name in names for item in _named(items, name)}
    if names:
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = [item for item in items if item in kept]


def _named(items: list[pytest.Item], name: str) -> list[pytest.Item]:
    if found := [item for item in items if item.path.is_relative_to(item.config.rootpath / name)]:
        return found
    wanted = Path(name).with_suffix("") if name.endswith(".py") else Path(name)
    files = {file for item in items if (file := _dag_file(item))}
    meant = {file for file in files if file.with_suffix("").parts[-len(wanted.parts) :] == wanted.parts}
    if not meant and not (found := _modules(items, wanted)):
        meant = files & {_file_of(name)}
    if not meant and not found:
        raise pytest.UsageError(_unknown(items, files, name))
    found += [item for item in items if _dag_file(item) in meant]
    return found + [item for file in meant for item in _modules(items, file.with_suffix(""))]


def _modules(items: list[pytest.Item], wanted: Path) -> list[pytest.Item]:
    """The tests in modules of this name; if some are in a folder like the DAG's, those alone."""
    name = PREFIX + wanted.name.removeprefix(PREFIX)
    found = [item for item in items if item.path.stem == name]
    return [item for item in found if item.path.parent.name == wanted.parent.name] or found


def _dag_file(item: pytest.Item) -> Path | None:
    """The DAG file that a test of `dag_rules` is about."""
    given = getattr(item, "callspec", None)
    file = given.params.get("dag_file") if given else None
    return file if isinstance(file, Path) else None


def _file_of(dag_id: str) -> Path | None:
    """The file that defines this DAG."""
    try:
        return Path(Loaded(dags_folder()).dag(dag_id).fileloc)
    except Failed:
        return None


def _unknown(items: list[pytest.Item], files: set[Path], name: str) -> str:
    known = {item.path.stem.removeprefix(PREFIX) for item in items} | {file.stem for file in files}
    close = get_close_matches(name, sorted(known))
    advice = f" Did you mean {' or '.join(close)}?" if close else ""
    return f"No test and no DAG is called {name!r}.{advice} There are: {', '.join(sorted(known))}."
