"""Plain `airflow` and scripts in a project's folder, called with no settings in the shell."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from server_contract import at_work
from small_project import BACKENDS, Project, eventually

from exclusive_xcom.local import services

SCRIPT = '''
"""A DAG file that can be run."""
import json, os, pathlib, sys
sys.path.insert(0, "")
from airflow.sdk import dag, task

@dag(schedule=None)
def plain():
    @task
    def one():
        return b"x" * 100_000

    @task
    def two(value):
        print("two got", len(value))

    two(one())

made = plain()
if __name__ == "__main__":
    print("it works in", os.getcwd(), "with", os.environ["AIRFLOW_HOME"])
    made.test()
'''
SHOWS = """
import os, airflow
print(os.environ.get('AIRFLOW_HOME'))
print('AIRFLOW_CONN_XCOM_S3' in os.environ)
"""
AIRFLOW = str(Path(sysconfig.get_path("scripts")) / "airflow")


class Person:
    """Somebody who works in a project on s3, with an empty home folder."""

    def __init__(self, folder: Path) -> None:
        self.project = Project(folder / "my project")
        self.home = folder / "home"
        self.home.mkdir()
        settings = self.project.folder / "config/airflow.env"
        text = settings.read_text().replace(BACKENDS["db"]["AIRFLOW__CORE__XCOM_BACKEND"], "")
        lines = [f"{name}={value}\n" for name, value in BACKENDS["s3"].items()]
        settings.write_text(text.replace("AIRFLOW__CORE__XCOM_BACKEND=\n", "") + "".join(lines))

    def calls(
        self, *command: str, folder: Path | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the project, or in another folder. It leaves nothing in the home folder."""
        names = [name for name in os.environ if not name.startswith(("AIRFLOW", "AWS_"))]
        environment = {name: os.environ[name] for name in names} | {"HOME": str(self.home)} | more
        done = subprocess.run(
            command,
            cwd=folder or self.project.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not [path for path in self.home.iterdir() if "airflow" in path.name.lower()]
        return done

    def has_a_database(self) -> None:
        """Let it look as if the database were made."""
        with sqlite3.connect(self.project.home / "airflow.db") as database:
            database.executescript("CREATE TABLE alembic_version (n); INSERT INTO alembic_version VALUES (1)")
        database.close()


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """A person whose Airflow never ran."""
    return Person(tmp_path)


def test_a_dag_file_runs_on_a_fresh_project(person: Person) -> None:
    """Database and store are made on the way, and nothing is left at work."""
    person.project.pipelines(plain=SCRIPT)
    done = person.calls(sys.executable, "plain.py", folder=person.project.folder / "dags")
    assert done.returncode == 0, done.stderr
    assert f"it works in {person.project.folder}/dags with {person.project.home}" in done.stdout
    assert "two got 100000" in done.stdout + done.stderr
    assert "Making Airflow's database" in done.stderr and "Starting SeaweedFS" in done.stderr
    assert (person.project.home / "services/seaweedfs").is_dir()
    assert eventually(lambda: at_work(person.project.folder) == [])
    again = person.calls(AIRFLOW, "dags", "test", "plain")
    assert again.returncode == 0, again.stderr
    assert "Making" not in again.stderr
    listed = person.calls(AIRFLOW, "variables", "list", "-o", "plain")
    assert "greeting" in listed.stdout and "Starting" not in listed.stderr
    assert eventually(lambda: at_work(person.project.folder) == [])


@pytest.mark.slow
def test_a_database_that_was_not_finished_is_made_again(person: Person) -> None:
    """Who made it was ended in the middle, or is still at it and is waited for."""
    person.project.home.mkdir()
    (person.project.home / "airflow.db").touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment["HOME"] = str(person.home)
    command = [AIRFLOW, "variables", "list", "-o", "plain"]
    folder = person.project.folder
    first = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    second = person.calls(*command)
    assert "greeting" in second.stdout, second.stderr
    assert "greeting" in first.communicate()[0]


def test_who_runs_no_task_gets_the_settings_alone(person: Person) -> None:
    """And nothing at all happens before Airflow is imported."""
    version = person.calls(AIRFLOW, "version")
    assert version.returncode == 0 and version.stderr == ""
    done = person.calls(sys.executable, "-c", SHOWS)
    assert done.stdout.splitlines() == [str(person.project.home), "False"]
    assert not (person.project.home / "airflow.db").exists()
    assert not (person.project.home / "services").exists()
    program = "import sys; print({'dotenv', 'airflow', 'exclusive_xcom'} & sys.modules.keys())"
    assert person.calls(sys.executable, "-c", program).stdout == "set()\n"


@pytest.mark.slow
def test_a_store_that_runs_is_used_by_all(person: Person) -> None:
    with services.running(BACKENDS["s3"], person.project.home / "services"):
        done = person.calls(sys.executable, "-c", SHOWS)
        assert done.stdout.split()[-1] == "True"
    assert at_work(person.project.folder) == []


@pytest.mark.parametrize(
    "more", [{"AIRFLOW_HOME": "{}/elsewhere"}, {"AIRFLOW_HOME": "{}/elsewhere/.airflow"}]
)
def test_a_deployment_or_another_project_is_left_alone(
    person: Person, tmp_path: Path, more: dict[str, str]
) -> None:
    given = {name: value.format(tmp_path) for name, value in more.items()}
    done = person.calls(sys.executable, "-c", SHOWS, **given)
    assert done.stdout.splitlines() == [given["AIRFLOW_HOME"], "False"]


@pytest.mark.slow
def test_what_direnv_sets_is_the_project_s_own(person: Person) -> None:
    home = str(person.project.home)
    done = person.calls(AIRFLOW, "config", "get-value", "core", "dags_folder", AIRFLOW_HOME=home)
    assert done.stdout.strip() == str(person.project.folder / "dags")


def test_outside_of_a_project_nothing_happens(person: Person, tmp_path: Path) -> None:
    program = "import _exclusive_xcom, sys; print(_exclusive_xcom._AtAirflow in sys.meta_path)"
    assert person.calls(sys.executable, "-c", program, folder=tmp_path).stdout == "True\n"
    program = (
        "import os, sys, _exclusive_xcom\n"
        "before = dict(os.environ)\n"
        "_exclusive_xcom._AtAirflow.find_spec('airflow')\n"
        "print(before == os.environ, _exclusive_xcom._AtAirflow in sys.meta_path)"
    )
    assert person.calls(sys.executable, "-c", program, folder=tmp_path).stdout == "True False\n"


def test_an_installation_without_what_development_needs_is_silent(person: Person, tmp_path: Path) -> None:
    """As in an image, where python-dotenv is not installed."""
    (tmp_path / "without").mkdir()
    (tmp_path / "without/dotenv.py").write_text("raise ModuleNotFoundError('No module named dotenv')")
    program = "import _exclusive_xcom as it; it._AtAirflow.find_spec('airflow'); print('on it goes')"
    done = person.calls(sys.executable, "-c", program, PYTHONPATH=str(tmp_path / "without"))
    assert (done.stdout, done.stderr) == ("on it goes\n", "")


def test_settings_that_cannot_be_read_are_one_sentence(person: Person) -> None:
    (person.project.folder / "config/airflow.env").write_bytes(b"AIRFLOW_HOME=\xff")
    done = person.calls(AIRFLOW, "version")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("config/airflow.env can't be read: ") and done.stderr.count("\n") == 1
    assert person.calls(sys.executable, "-c", "print('well')").stdout == "well\n"


@pytest.mark.slow
def test_a_store_that_does_not_start_is_one_sentence(person: Person) -> None:
    """And the rest goes on: not every script needs it."""
    script = person.project.folder / "script.py"
    script.write_text("import airflow; print('on it goes')")
    (person.project.home / "services").mkdir(parents=True)
    (person.project.home / "services/seaweedfs").write_text("where the folder would be")
    person.has_a_database()
    done = person.calls(sys.executable, str(script))
    assert done.stdout == "on it goes\n"
    assert "did not start" in done.stderr and "AIRFLOW_CONN_XCOM_S3 in connections.env" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_children_of_a_script_have_what_it_has(person: Person) -> None:
    """Started by multiprocessing, too."""
    (person.project.home).mkdir()
    person.has_a_database()
    script = person.project.folder / "script.py"
    script.write_text(
        "import multiprocessing, os\n"
        "def show():\n"
        "    import airflow\n"
        "    print(os.environ['AIRFLOW_CONN_XCOM_S3'])\n"
        "if __name__ == '__main__':\n"
        "    import airflow\n"
        "    print(os.environ['AIRFLOW_CONN_XCOM_S3'], flush=True)\n"
        "    child = multiprocessing.get_context('spawn').Process(target=show)\n"
        "    child.start(), child.join()\n"
    )
    done = person.calls(sys.executable, "script.py")
    first, second = done.stdout.splitlines()
    assert first == second, done.stderr
    assert eventually(lambda: at_work(person.project.folder) == [])
