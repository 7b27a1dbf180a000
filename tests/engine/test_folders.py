"""Where input and output lie: for DAGs in any folder, in bundles, and where no task runs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from exclusive_xcom.variables import data_file, output_file


@pytest.fixture
def project(airflow: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one input; the current folder is elsewhere."""
    folder = tmp_path / "repository"
    for name in ("dags/finance/deep", "data/rates", "notebooks"):
        (folder / name).mkdir(parents=True)
    (folder / "data" / "rates" / "2024.csv").touch()
    monkeypatch.chdir(tmp_path)
    return folder


def runs(file: Path, bundle: Path | None = None) -> AbstractContextManager[None]:
    """A task of the DAG `billing` in this file."""
    from airflow.sdk import DAG
    from airflow.sdk.execution_time.context import set_current_context

    dag = DAG("billing")
    dag.fileloc = str(file)
    context: Any = {"dag": dag}
    if bundle:
        context["ti"] = SimpleNamespace(bundle_instance=SimpleNamespace(path=bundle))
    return set_current_context(context)


@pytest.mark.parametrize("file", ["dags/a.py", "dags/finance/a.py", "dags/finance/deep/a.py"])
def test_they_count_from_the_folder_that_holds_dags(project: Path, file: str) -> None:
    with runs(project / file):
        assert data_file("rates/2024.csv") == project / "data" / "rates" / "2024.csv"
        assert output_file("bill.csv") == project / "output" / "billing" / "bill.csv"
        assert (project / "output" / "billing").is_dir()


def test_a_dag_finds_what_belongs_to_its_own_copy_of_the_repository(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = project.parent / "versions" / "2"
    for name in ("dags", "data"):
        (other / name).mkdir(parents=True)
    (other / "data" / "new.csv").touch()
    monkeypatch.chdir(project)
    with runs(other / "dags" / "a.py", bundle=other / "dags"):
        assert data_file("new.csv") == other / "data" / "new.csv"


def test_without_a_folder_dags_they_count_from_the_bundle(project: Path) -> None:
    flat = project.parent / "flat"
    (flat / "data").mkdir(parents=True)
    (flat / "data" / "a.csv").touch()
    with runs(flat / "team" / "a.py", bundle=flat):
        assert data_file("a.csv") == flat / "data" / "a.csv"


@pytest.mark.parametrize("folder", [".", "notebooks", "dags/finance"])
def test_where_no_task_runs_they_count_from_the_project_of_the_current_folder(
    project: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / folder)
    assert data_file("rates/2024.csv") == project / "data" / "rates" / "2024.csv"
    assert output_file("bill.csv") == project / "output" / "bill.csv"


def test_outside_of_it_all_they_count_from_airflow_s_own_dags_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(project / "dags"))
    assert data_file("rates/2024.csv") == project / "data" / "rates" / "2024.csv"


def test_the_variables_lead_elsewhere(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = project.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.csv").touch()
    monkeypatch.setenv("AIRFLOW_VAR_DATA_FOLDER", str(elsewhere))
    monkeypatch.setenv("AIRFLOW_VAR_OUTPUT_FOLDER", "results/now")
    with runs(project / "dags" / "a.py"):
        assert data_file("a.csv") == elsewhere / "a.csv"
        assert output_file("b.csv") == project / "results" / "now" / "billing" / "b.csv"


def test_a_missing_input_says_where_it_was_looked_for_and_what_there_is(project: Path) -> None:
    (project / "data" / "rates" / "2025.csv").touch()
    with runs(project / "dags" / "finance" / "a.py"), pytest.raises(FileNotFoundError) as caught:
        data_file("rates/2023.csv")
    folder = project / "data" / "rates"
    assert str(caught.value) == (
        f"There is no {folder / '2023.csv'}. In {folder} there is: 2024.csv, 2025.csv. "
        "The Variable data_folder, now 'data', says where input lies."
    )
    with runs(project / "dags" / "a.py"), pytest.raises(FileNotFoundError, match=r"data there is: rates\. "):
        data_file("prices/today/a.csv")
