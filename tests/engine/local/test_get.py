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

    frame(), parts(), square.expand(number=[1, 2, 3]), file(), nothing()


gives()
"""


@pytest.fixture(scope="module", params=["db", "redis"])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with two finished runs of a pipeline, and no server at work any more."""
    made = Project(tmp_path_factory.mktemp("get") / "my project")
    made.pipelines(gives=GIVES)
    settings = made.folder / "config" / "airflow.env"
    lines = (f"{name}={value}\n" for name, value in BACKENDS[request.param].items())
    settings.write_text(settings.read_text() + "".join(lines))
    for _ in range(2):
        done = made.xcom("run", "gives")
        assert done.returncode == 0, done.stdout
    return made


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


def test_other_kinds_are_shown(project: Project) -> None:
    assert '"number": 7' in get(project, "gives", "parts")
    assert r"\x1b[31mred" in get(project, "gives", "parts", "text")
    assert "report.txt, 11 B" in get(project, "gives", "file")
    assert "\n9\n" in get(project, "gives", "square", "--map-index", "2")


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


def test_a_pipe_gets_the_value_alone(project: Project) -> None:
    for arguments, expected in (
        (("gives", "parts"), {"text": "\x1b[31mred", "number": 7}),
        (("gives", "square", "--map-index", "1"), 4),
    ):
        done = subprocess.run(
            [XCOM, "get", *arguments, "-o", "-"], cwd=project.folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == expected
    done = subprocess.run([XCOM, "get", "gives", "file", "-o", "-"], cwd=project.folder, capture_output=True)
    assert done.stdout == b"all is well"


def test_a_run_is_named_or_the_latest_that_has_it(project: Project) -> None:
    latest = get(project, "gives", "parts").splitlines()[0].split()[1].rstrip(":")
    assert latest in refused(project, "get", "gives", "parts", "--run", "never")
    assert f"Run {latest}:" in get(project, "gives", "parts", "--run", latest)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("get", "never", "x"), "no run of 'never'. There are runs of: gives."),
        (("get", "gives", "x"), "no XCom of a task 'x'"),
        (("get", "gives", "x"), "there is: file, frame, parts, square."),
        (("get", "gives", "parts", "x"), "'parts' has no XCom 'x'"),
        (("get", "gives", "parts", "x"), "there is: number, return_value, text."),
        (("get", "gives", "square"), "There are 3 of 'square', which is mapped. Say which: map index 0 to 2"),
        (("get", "gives", "square", "--map-index", "9"), "with map index 9"),
        (("get", "gives", "square", "--map-index", "9"), "there is: 0 to 2."),
        (("get", "gives", "nothing"), "no XCom of a task 'nothing'"),
        (("show", "gives", "never"), "'gives' has no run 'never'. The latest are: "),
        (("show", "never"), "no run of 'never'"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(
    project: Project, arguments: tuple[str, ...], said: str
) -> None:
    assert said in refused(project, *arguments)


def test_a_notebook_gets_it_in_two_lines(project: Project) -> None:
    program = """
import sys
from exclusive_xcom.local import development
with development.environment.activate() and development._stores():
    from exclusive_xcom.inspection import NotThere, get
    assert get("gives", "frame")["n"].to_list() == [1, 2]
    assert get("gives", "square", map_index=2) == 9
    try:
        get("gives", "square")
    except NotThere as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=project.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "map index 0 to 2" in done.stdout


def test_outside_of_a_project_it_is_said(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/none.db"
    environ = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database}
    done = Project(tmp_path / "fresh").xcom("get", "a", "b", **environ)
    assert done.returncode == 1 and "database can't be read" in done.stdout
