"""`xcom get` and `show`: values of finished runs, and sentences for those that there are not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_project import BACKENDS, XCOM, Project

GIVES = r"""
from airflow.sdk import dag, task


@dag(schedule=None)
def gives():
    @task
    def frame():
        import pandas as pd
        from exclusive_xcom import lazy
        return lazy(pd.DataFrame({"name": ["a\x1b]0;owned\x07", "b\u202e"], "n": [1, 2]}))

    @task(multiple_outputs=True)
    def parts():
        return {"text": "\x1b[31mred", "number": 7}

    @task
    def square(number: int):
        return number * number

    @task
    def file():
        from pathlib import Path
        Path("report.txt").write_text("all is well")
        return Path("report.txt")

    @task
    def nothing():
        pass

    @task
    def long():
        return list(range(40))

    frame(), parts(), square.expand(number=[1, 2, 3]), file(), nothing(), long()


gives()
"""


def finished(folder: Path, backend: str) -> Project:
    """A project with a finished run of a pipeline, and no server at work any more."""
    made = Project(folder / "my project")
    made.pipelines(gives=GIVES)
    settings = made.folder / "config" / "airflow.env"
    lines = (f"{name}={value}\n" for name, value in BACKENDS[backend].items())
    settings.write_text(settings.read_text() + "".join(lines))
    done = made.xcom("run", "gives")
    assert done.returncode == 0, done.stdout
    return made


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One whose values are in Airflow's database."""
    return finished(tmp_path_factory.mktemp("get"), "db")


def get(project: Project, *arguments: str) -> str:
    """What `xcom get` prints when all is well."""
    done = project.xcom("get", *arguments)
    assert done.returncode == 0, done.stdout
    return done.stdout


def refused(project: Project, *arguments: str) -> str:
    """What it says when it refuses."""
    done = project.xcom(*arguments)
    assert done.returncode == 2 and "Traceback" not in done.stdout, done.stdout
    return done.stdout


def test_a_frame_is_shown_and_steers_no_terminal(project: Project) -> None:
    said = get(project, "gives", "frame")
    assert "pandas DataFrame" in said and "2 rows × 2 columns" in said
    assert r"a\x1b]0;owned\x07" in said and r"b\u202e" in said
    assert not {"\x1b", "\x07", "\u202e"} & set(said)
    assert "-o FILE writes it: .csv, .parquet" in said


@pytest.mark.slow
def test_other_kinds_are_shown(project: Project) -> None:
    assert '"number": 7' in get(project, "gives", "parts")
    assert r"\x1b[31mred" in get(project, "gives", "parts", "text")
    assert "report.txt, 11 B" in get(project, "gives", "file")
    assert "\n9\n" in get(project, "gives", "square", "--map-index", "2")


@pytest.mark.slow
def test_a_list_of_xcoms_tells_the_beginning_of_a_value_and_that_it_goes_on(project: Project) -> None:
    said = project.xcom("show", "gives", COLUMNS="200").stdout
    assert "[0, 1, 2, 3, " in said and "…" in said and "39]" not in said


def test_it_is_written_where_the_person_is_and_for_them_alone(project: Project) -> None:
    said = get(project, "gives", "frame", "-o", "frame.parquet")
    file = project.folder / "dags" / "frame.parquet"  # the folder in which the command is called
    assert said.splitlines()[-1] == f"{file}: {file.stat().st_size / 1000:.1f} kB"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "is there already" in refused(project, "get", "gives", "frame", "-o", "frame.parquet")
    get(project, "gives", "frame", "-o", "frame.parquet", "--force")
    file.unlink()
    assert "There is no folder" in refused(project, "get", "gives", "frame", "-o", "none/frame.csv")
    assert "Possible: .csv" in refused(project, "get", "gives", "frame", "-o", "frame.png")
    assert [path.name for path in file.parent.iterdir() if path.is_file()] == ["gives.py"]


@pytest.mark.slow
def test_a_pipe_gets_the_value_alone(project: Project) -> None:
    command = [XCOM, "get", "gives", "parts", "-o", "-"]
    done = subprocess.run(command, cwd=project.folder, capture_output=True)
    assert json.loads(done.stdout) == {"text": "\x1b[31mred", "number": 7}, done.stderr
    done = subprocess.run([XCOM, "get", "gives", "file", "-o", "-"], cwd=project.folder, capture_output=True)
    assert done.stdout == b"all is well"


@pytest.mark.slow
def test_what_a_store_keeps_is_there_after_the_run(tmp_path: Path) -> None:
    project = finished(tmp_path, "redis")
    assert "2 rows × 2 columns" in get(project, "gives", "frame")
    get(project, "gives", "file", "-o", "copy.txt")
    assert (project.folder / "dags" / "copy.txt").read_text() == "all is well"


@pytest.mark.slow
def test_an_unknown_run_is_refused(project: Project) -> None:
    assert "'gives' has no run 'never'. The latest are: " in refused(project, "show", "gives", "never")
    assert "no run of 'never'" in refused(project, "show", "never")
    assert "map index 0 to 2 (`--map-index`)" in refused(project, "get", "gives", "square")


ASKS = """
import json
from exclusive_xcom.local import environment
environment.activate()
from exclusive_xcom.inspection import NotThere, get, latest_run

def refused(*names, **options):
    try:
        get(*names, **options)
    except NotThere as error:
        return str(error)

run_id = latest_run("gives")
assert get("gives", "frame")["n"].to_list() == [1, 2]
assert get("gives", "frame", run_id=run_id)["n"].to_list() == [1, 2]
assert get("gives", "square", map_index=2) == 9
print(json.dumps([
    run_id,
    refused("never", "x"),
    refused("gives", "x"),
    refused("gives", "nothing"),
    refused("gives", "parts", "x"),
    refused("gives", "parts", "x", run_id=run_id),
    refused("gives", "square"),
    refused("gives", "square", map_index=9),
    refused("gives", "parts", run_id="never"),
]))
"""


def test_a_notebook_gets_values_and_what_is_not_there_is_answered_with_what_is(project: Project) -> None:
    command = [sys.executable, "-c", ASKS]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run_id, *said = json.loads(done.stdout.splitlines()[-1])
    tasks, keys = "file, frame, long, parts, square", "number, return_value, text"
    assert said == [
        "Airflow's database has no run of 'never'. There are runs of: gives.",
        f"There is no XCom of a task 'x'. In run {run_id} there is: {tasks}.",
        f"There is no XCom of a task 'nothing'. In run {run_id} there is: {tasks}.",
        f"'parts' has no XCom 'x'. In run {run_id} there is: {keys}.",
        f"'parts' has no XCom 'x'. In run {run_id} there is: {keys}.",
        "There are 3 of 'square', which is mapped. Say which: map index 0 to 2 (`--map-index`).",
        f"'square' has no 'return_value' with map index 9. In run {run_id} there is: 0 to 2.",
        f"'gives' has no run 'never'. The latest are: {run_id}.",
    ]


def test_outside_of_a_project_it_is_said(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/none.db"
    environ = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database}
    done = Project(tmp_path / "fresh").xcom("get", "a", "b", **environ)
    assert done.returncode == 1 and "database can't be read" in done.stdout
