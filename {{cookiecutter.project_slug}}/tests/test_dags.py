"""DAG integrity: what has to hold for every pipeline, your own included."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import pytest
from airflow.configuration import conf
from airflow.dag_processing.dagbag import DagBag

from {{ cookiecutter.__package }} import settings

DAGS = Path(__file__).resolve().parents[1] / "dags"
FILES = sorted(DAGS.rglob("*.py"))

# Each takes long to import, and Airflow imports DAG files all the time: import them inside tasks.
HEAVY = ("numpy", "pandas", "PIL", "polars", "pyarrow", "scipy", "sklearn", "torch")


def imported(folder: Path) -> DagBag:
    """The folder's pipelines, freshly imported. Warnings are kept in `captured_warnings`."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        return DagBag(folder)


def problems(bag: DagBag) -> str:
    """Why files could not be imported, for people."""
    return "\n".join(f"{file}:\n{reason}" for file, reason in bag.import_errors.items())


@pytest.fixture(scope="module")
def bag() -> DagBag:
    """All pipelines."""
    return imported(DAGS)


def dags_of(bag: DagBag, file: Path) -> list[Any]:
    """The DAGs that a file defines."""
    return [dag for dag in bag.dags.values() if Path(dag.fileloc).resolve() == file]


def test_every_file_is_imported_within_the_time_that_airflow_allows(bag: DagBag) -> None:
    # AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT is the budget of a file, in seconds. Airflow itself stops an
    # import that takes longer and reports it as an error; 0 would switch that off.
    assert conf.getfloat("core", "dagbag_import_timeout") > 0
    assert not bag.import_errors, problems(bag)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
class TestFile:
    """What has to hold for a DAG file."""

    def test_is_one_pipeline_named_like_the_file(self, bag: DagBag, file: Path) -> None:
        assert [dag.dag_id for dag in dags_of(bag, file)] == [file.stem]

    def test_uses_nothing_deprecated(self, bag: DagBag, file: Path) -> None:
        found = [text for text in bag.captured_warnings.get(str(file), ()) if is_deprecation(text)]
        assert not found, "\n".join(found)

    def test_has_a_page_in_the_ui(self, bag: DagBag, file: Path) -> None:
        for dag in dags_of(bag, file):
            assert (dag.doc_md or "").strip(), f"{dag.dag_id} has no docstring"

    def test_has_an_owner_and_tags(self, bag: DagBag, file: Path) -> None:
        for dag in dags_of(bag, file):
            assert dag.tags, f"{dag.dag_id} has no tags"
            for task in dag.tasks:
                assert task.owner not in ("", "airflow"), f"{task.task_id} has no owner"

    def test_tries_again(self, bag: DagBag, file: Path) -> None:
        for dag in dags_of(bag, file):
            for task in dag.tasks:
                assert task.retries >= 1, f"{task.task_id} has no retries"

    def test_does_not_catch_up(self, bag: DagBag, file: Path) -> None:
        for dag in dags_of(bag, file):
            assert dag.catchup is False, f"{dag.dag_id} would run for all of its past"

    def test_survives_the_way_to_the_scheduler(self, bag: DagBag, file: Path) -> None:
        from airflow.serialization.serialized_objects import DagSerialization

        for dag in dags_of(bag, file):
            there_and_back = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
            assert there_and_back.task_ids == dag.task_ids


def is_deprecation(text: str) -> bool:
    """Whether a captured warning tells of something that will go: file:line: category: message."""
    return "Deprecat" in text or "RemovedIn" in text


def test_no_file_imports_a_heavy_library() -> None:
    # In a process of its own: in this one, other tests have imported them already.
    program = textwrap.dedent(
        """
        import sys
        import airflow.providers.common.sql.operators.sql, airflow.sdk
        from airflow.dag_processing.dagbag import DagBag
        before = set(sys.modules)
        DagBag(sys.argv[1])
        print(*sorted(({*sys.modules} - before) & {*sys.argv[2:]}))
        """
    )
    command = [sys.executable, "-c", program, str(DAGS), *HEAVY]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = done.stdout.splitlines()[-1]
    assert not found, f"imported while DAG files are read, not inside a task: {found}"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Makes every read of a Variable or Connection fail, and notes it."""
    noted: list[str] = []

    def refuse(kind: str) -> Any:
        def read(name: str, *args: Any, **options: Any) -> Any:
            noted.append(f"{kind} {name}")
            raise RuntimeError(f"{kind} {name} was read while a DAG file was imported: read it in a task")

        return read

    # What airflow.sdk and the hooks of all providers end in, and the former ways that still exist.
    monkeypatch.setattr("airflow.sdk.execution_time.context._get_variable", refuse("Variable"))
    monkeypatch.setattr("airflow.sdk.execution_time.context._get_connection", refuse("Connection"))
    monkeypatch.setattr("airflow.models.Variable.get", refuse("Variable"))
    monkeypatch.setattr("airflow.models.Connection.get_connection_from_secrets", refuse("Connection"))
    return noted


def test_no_file_reads_a_variable_or_connection(reads: list[str]) -> None:
    bag = imported(DAGS)
    assert not reads, f"read at import: {reads}"
    assert not bag.import_errors, problems(bag)


@pytest.mark.parametrize(
    ("line", "noted"),
    [
        ("from airflow.sdk import Variable; Variable.get('rate', default=None)", "Variable rate"),
        ("from airflow.models import Variable; Variable.get('rate', None)", "Variable rate"),
        ("from airflow.sdk import Connection; Connection.get('shop')", "Connection shop"),
        ("from airflow.sdk import BaseHook; BaseHook.get_connection('shop')", "Connection shop"),
        (f"import {settings.__name__} as mine; mine.PriceList.read()", "Variable price_list_vat_percent"),
    ],
)
def test_such_a_read_would_be_noticed(line: str, noted: str, reads: list[str], tmp_path: Path) -> None:
    (tmp_path / "reads.py").write_text(f"{line}  # an airflow dag\n", encoding="utf-8")
    bag = imported(tmp_path)
    assert reads == [noted]
    assert bag.import_errors
