"""The commands that look at XComs, after a run: values, and sentences for those that there are not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

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


def told(project: Project, *arguments: str, code: int = 0, **more: str) -> str:
    """What another command prints, which ends so."""
    done = project.xcom(*arguments, **more)
    assert done.returncode == code and "Traceback" not in done.stdout, done.stdout
    assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout), "it would steer a terminal"
    return done.stdout


def as_json(project: Project, *arguments: str) -> Any:
    """What it prints for programs, on standard output alone."""
    command = [XCOM, *arguments, "--json"]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_frame_is_shown_and_steers_no_terminal(project: Project) -> None:
    said = told(project, "show", "gives", "frame")
    assert "pandas DataFrame, 2 rows × 2 columns" in said and "frame_pandas/1" in said
    assert r"a\x1b]0;owned\x07" in said and r"b\u202e" in said
    found = as_json(project, "show", "gives", "frame", "--no-values")
    assert [column["name"] for column in found["preview"]["columns"]] == ["name", "n"]
    assert "head" not in found["preview"] and len(found["sha256"]) == 64


@pytest.mark.slow
def test_other_kinds_are_shown(project: Project) -> None:
    assert '"number": 7' in told(project, "show", "gives", "parts")
    assert r"\x1b[31mred" in told(project, "show", "gives", "parts", "text")
    assert "report.txt, 11 B" in told(project, "show", "gives", "file")
    assert told(project, "show", "gives", "square", "--map-index", "2").endswith("\n9\n")


def test_what_there_is_is_listed(project: Project) -> None:
    for width in ("80", "120"):
        said = told(project, "ls", COLUMNS=width)
        assert "gives  manual__" in said and "success" in said and "9 XComs, " in said
        assert max(map(len, said.splitlines())) <= int(width)
    found = as_json(project, "ls", "gives", "--run", "latest")
    assert len(found["xcoms"]) == 9 and found["all"]
    (frame,) = (each for each in found["xcoms"] if each["task"] == "frame")
    assert (frame["kind"], frame["kept_in"], frame["readable"]) == ("pandas DataFrame", "row", True)
    assert frame["bytes"] > 100 and frame["written"].endswith("+00:00")


def test_less_is_listed(project: Project) -> None:
    def keys(*arguments: str) -> list[str]:
        return [f"{each['task']}.{each['key']}" for each in as_json(project, "ls", *arguments)["xcoms"]]

    assert keys("g*", "--task", "parts", "--key", "t*") == ["parts.text"]
    assert keys("--larger", "300")[0] == keys("--largest", "--limit", "1")[0] == "frame.return_value"
    assert keys("--older", "1d") == [] and len(keys("--newer", "1d")) == 9
    assert as_json(project, "ls", "--limit", "3")["all"] is False
    assert "There is no such XCom." in told(project, "ls", "--task", "never")
    assert "no run of 'never'. There are runs of: gives." in refused(project, "ls", "never")
    assert "'gives' has no run 'never'. The latest are: " in refused(project, "ls", "gives", "--run", "never")
    assert "is no time" in refused(project, "ls", "--older", "soon")
    assert "is no size" in refused(project, "ls", "--larger", "10 apples")


def test_everything_is_verified_and_counted(project: Project) -> None:
    found = as_json(project, "verify")
    assert (found["whole"], found["plain"], found["wrong"]) == (2, 7, 0)
    assert "Nothing is wrong." in told(project, "verify", "gives")
    found = as_json(project, "stats")
    assert found["xcoms"] == 9 == found["dags"]["gives"]["xcoms"] and found["orphans"] is None
    assert found["largest"][0]["task"] == "frame"
    assert max(map(len, told(project, "stats", COLUMNS="80").splitlines())) <= 80


def test_rows_are_deleted_by_airflow_alone(project: Project) -> None:
    assert "`make up`" in refused(project, "forget", "--dag", "gives", "--run", "latest", "--yes")
    assert "one DAG" in refused(project, "forget", "--dag", "g*", "--run", "latest")


def test_a_shell_completes(project: Project) -> None:
    for shell in ("bash", "zsh", "fish"):
        done = project.xcom("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
        assert done.returncode == 0 and "_XCOM_COMPLETE" in done.stdout
    environ = {"_XCOM_COMPLETE": "complete_bash", "COMP_WORDS": "xcom verif", "COMP_CWORD": "1"}
    assert project.xcom(**environ).stdout.split() == ["verify"]


def test_it_is_written_where_the_person_is_and_for_them_alone(project: Project) -> None:
    said = get(project, "gives", "frame", "-o", "frame.parquet")
    file = project.folder / "dags" / "frame.parquet"  # the folder in which the command is called
    assert said.splitlines()[-1] == f"{file}: {file.stat().st_size / 1000:.1f} kB"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "is there already" in refused(project, "get", "gives", "frame", "-o", "frame.parquet")
    get(project, "gives", "frame", "-o", "frame.parquet", "--force")
    file.unlink()
    assert "`xcom show`" in refused(project, "get", "gives", "frame")
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
    assert "2 rows × 2 columns" in told(project, "show", "gives", "frame")
    get(project, "gives", "file", "-o", "copy.txt")
    assert (project.folder / "dags" / "copy.txt").read_text() == "all is well"


@pytest.mark.slow
def test_what_is_not_there_is_refused(project: Project) -> None:
    said = refused(project, "show", "gives", "frame", "--run", "never")
    assert "'gives' has no run 'never'. The latest are: " in said
    assert "no run of 'never'" in refused(project, "show", "never", "x")
    assert "map index 0 to 2 (`--map-index`)" in refused(project, "get", "gives", "square", "-o", "x.json")


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
    done = Project(tmp_path / "fresh").xcom("show", "a", "b", **environ)
    assert done.returncode == 1 and "database can't be read" in done.stdout
