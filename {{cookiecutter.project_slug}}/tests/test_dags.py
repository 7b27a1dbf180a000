"""DAG integrity: what has to hold for every pipeline, your own included."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

DAGS = Path(__file__).resolve().parents[1] / "dags"
FILES = sorted(DAGS.rglob("*.py"))

# Each takes long to import, and Airflow imports DAG files all the time: import them inside tasks.
HEAVY = ("numpy", "pandas", "PIL", "polars", "pyarrow", "scipy", "sklearn", "torch")


@pytest.fixture(scope="module")
def bag(airflow: None) -> DagBag:
    """All pipelines, freshly imported, with the warnings of each file."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        return DagBag(DAGS)


def dags_of(bag: DagBag, file: Path) -> list[Any]:
    """The DAGs that a file defines."""
    return [dag for dag in bag.dags.values() if Path(dag.fileloc).resolve() == file]


def test_every_file_is_imported_within_the_time_that_airflow_allows(bag: DagBag) -> None:
    # Airflow stops an import that takes longer than AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT, and says so here.
    assert not bag.import_errors, "\n".join(f"{file}:\n{why}" for file, why in bag.import_errors.items())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
class TestFile:
    """What has to hold for a DAG file."""

    def test_is_one_pipeline_named_like_the_file(self, bag: DagBag, file: Path) -> None:
        assert [dag.dag_id for dag in dags_of(bag, file)] == [file.stem]

    def test_uses_nothing_deprecated(self, bag: DagBag, file: Path) -> None:
        said = bag.captured_warnings.get(str(file), ())
        assert not [text for text in said if "Deprecat" in text or "RemovedIn" in text]

    def test_has_a_page_in_the_ui_an_owner_and_tags(self, bag: DagBag, file: Path) -> None:
        for dag in dags_of(bag, file):
            assert (dag.doc_md or "").strip(), f"{dag.dag_id} has no docstring"
            assert dag.tags, f"{dag.dag_id} has no tags"
            for task in dag.tasks:
                assert task.owner not in ("", "airflow"), f"{task.task_id} has no owner"

    def test_tries_again_and_does_not_catch_up(self, bag: DagBag, file: Path) -> None:
        for dag in dags_of(bag, file):
            assert dag.catchup is False, f"{dag.dag_id} would run for all of its past"
            for task in dag.tasks:
                assert task.retries >= 1, f"{task.task_id} has no retries"


def test_no_file_reads_a_variable_or_connection(reads_at_import: Callable[[Path], list[str]]) -> None:
    assert reads_at_import(DAGS) == []


def test_no_file_imports_a_heavy_library() -> None:
    # In a process of its own: in this one, other tests have imported them already.
    program = textwrap.dedent(
        """
        import sys
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
