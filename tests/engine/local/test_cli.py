"""The `xcom` command from outside: what it offers, what it looks at, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_project import BACKENDS, XCOM, Project
from typer.main import get_command

from exclusive_xcom.cli import application

# A distribution with a command of its own, and one whose command can't be imported.
GREETER = {
    "greeter-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeter\nVersion: 1\n",
    "greeter-1.dist-info/entry_points.txt": """
[exclusive_xcom.commands]
greeter = greeter:add
lost = lost:add
""",
    "greeter.py": """
def add(app):
    @app.command()
    def greet(name: str):
        "Say hello."
        print("hello", name)
""",
}
WITHOUT = """
import sys
sys.modules[{missing!r}] = None
from exclusive_xcom.cli import main
main()
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a database and without a run."""
    made = Project(tmp_path_factory.mktemp("cli") / "my project")
    assert made.xcom("airflow", "db", "migrate").returncode == 0
    return made


class TestHelp:
    """What it says of itself."""

    def test_names_every_command(self, project: Project) -> None:
        said = project.xcom("--help", COLUMNS="80")
        assert said.returncode == 0
        names = [
            "probe",
            "ls",
            "show",
            "get",
            "verify",
            "stats",
            "forget",
            "run",
            "debug",
            "up",
            "down",
            "restart",
            "new",
            "variables",
        ]
        for command in [*names, "secrets", "start-clean", "airflow"]:
            assert f"│ {command} " in said.stdout
        assert max(map(len, said.stdout.splitlines())) <= 80

    @pytest.mark.parametrize("port", ["many", "-1", "65536", ""])
    def test_a_port_that_is_none_is_refused_in_one_sentence(self, project: Project, port: str) -> None:
        said = project.xcom("up", f"--port={port}")
        assert said.returncode == 2
        (line,) = said.stdout.splitlines()
        assert line == f"The port is a whole number from 0 (any that is free) to 65535, and not {port!r}."

    @pytest.mark.parametrize("name", ["up", "restart"])
    def test_without_a_port_it_is_airflow_s_own(self, name: str) -> None:
        """Some versions of typer hand the default to the parser as it is."""
        command: Any = get_command(application())
        assert command.get_command(None, name).make_context(name, []).params == {"port": 8080}

    @pytest.mark.parametrize("arguments", [("show",), ("nothing",)])
    def test_comes_with_exit_code_2_for_what_cannot_be_meant(
        self, project: Project, arguments: tuple[str, ...]
    ) -> None:
        said = project.xcom(*arguments)
        assert said.returncode == 2
        assert "Usage: xcom" in said.stdout and "Traceback" not in said.stdout

    def test_needs_no_airflow(self) -> None:
        code = (
            "import sys\n"
            "from exclusive_xcom import cli\n"
            "sys.argv[1:] = ['--help']\n"
            "try:\n    cli.main()\n"
            "finally:\n    assert not {'airflow', 'pyarrow'} & set(sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


class TestFurtherCommands:
    """What other distributions add by an entry point."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        """Where another distribution is installed."""
        for name, text in GREETER.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        return str(tmp_path)

    def test_are_there_and_one_that_is_broken_disturbs_no_other(self, project: Project, path: str) -> None:
        done = project.xcom("greet", "you", PYTHONPATH=path)
        assert done.returncode == 0
        assert done.stdout.splitlines() == [
            "The commands of lost:add are not there: No module named 'lost'.",
            "hello you",
        ]


class TestWithoutTheExtra:
    """An installation of the engine alone, as in a deployment."""

    @pytest.fixture(params=["psutil", "dotenv"])
    def missing(self, request: pytest.FixtureRequest) -> str:
        """What the extra would have brought."""
        name: str = request.param
        return name

    def call(self, project: Project, missing: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command where a module is missing, with the configuration of a container."""
        database = f"sqlite:///{project.home}/airflow.db"
        more = {"AIRFLOW_HOME": str(project.home), "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database}
        return subprocess.run(
            [sys.executable, "-c", WITHOUT.format(missing=missing), *arguments],
            cwd=project.folder,
            env={**os.environ, **BACKENDS["db"], **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @pytest.mark.parametrize("arguments", [("run", "orders"), ("up", "--port", "0"), ("down", "--help")])
    def test_the_commands_say_what_to_install(
        self, project: Project, missing: str, arguments: tuple[str, ...]
    ) -> None:
        done = self.call(project, missing, *arguments)
        assert done.returncode == 2
        assert done.stdout == f"`xcom {arguments[0]}` needs {missing}: install `exclusive-xcom[local]`.\n"

    def test_help_says_what_to_install(self, project: Project, missing: str) -> None:
        assert "exclusive-xcom[local]" in self.call(project, missing, "--help").stdout

    def test_the_engine_is_probed_all_the_same(self, project: Project) -> None:
        done = self.call(project, "dotenv", "probe")
        assert done.returncode == 0, done.stdout
        assert "DbXComBackend" in done.stdout


class TestLookingAtThings:
    """`xcom show`, `probe`, `secrets` and `airflow`."""

    def test_show_refuses_a_pipeline_that_never_ran(self, project: Project) -> None:
        shown = project.xcom("show", "never", "task")
        assert shown.returncode == 2 and "no run of 'never'" in shown.stdout

    def test_show_says_that_there_is_no_database(self, tmp_path: Path) -> None:
        shown = Project(tmp_path / "fresh").xcom("show", "good", "task")
        assert shown.returncode == 1
        assert "database can't be read" in shown.stdout and "Traceback" not in shown.stdout

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_probe_says_that_all_is_well(self, project: Project, backend: str) -> None:
        done = project.xcom("probe", **BACKENDS[backend])
        assert done.returncode == 0, done.stdout
        assert "metadata database: sqlite" in done.stdout and "✗" not in done.stdout

    def test_probe_says_what_is_wrong(self, project: Project) -> None:
        backend = {"AIRFLOW__CORE__XCOM_BACKEND": "airflow.sdk.execution_time.xcom.BaseXCom"}
        done = project.xcom("probe", **backend)
        assert done.returncode == 1 and "not one of exclusive_xcom's" in done.stdout
        done = project.xcom("probe", AIRFLOW__XCOM__MAX_SIZE="lots")
        assert done.returncode == 1 and "✗ options: Option AIRFLOW__XCOM__MAX_SIZE is 'lots'" in done.stdout

    def test_secrets_are_written_once(self, project: Project) -> None:
        assert "FERNET_KEY" in project.xcom("secrets").stdout
        assert "already" in project.xcom("secrets").stdout

    def test_airflow_runs_in_the_environment_of_the_project(self, project: Project) -> None:
        done = project.xcom("airflow", "config", "get-value", "core", "dags_folder")
        assert done.stdout.strip().splitlines()[-1] == str(project.folder / "dags")

    def test_airflow_gets_every_option(self, project: Project) -> None:
        done = project.xcom("airflow", "db", "--help")
        assert done.returncode == 0 and "airflow db [-h] COMMAND" in done.stdout

    def test_a_reader_that_has_seen_enough_is_no_error(self, project: Project) -> None:
        with project.start("probe") as process:
            assert process.stdout is not None
            process.stdout.close()
            assert process.wait() == 1
        for command in ("--help", "secrets"):
            line = f"'{XCOM}' {command} | true"
            environ = {**os.environ, "PYTHONUNBUFFERED": ""}
            done = subprocess.run(
                ["sh", "-c", line], cwd=project.folder, env=environ, capture_output=True, text=True
            )
            assert done.stderr == ""


def test_outside_of_a_project_it_says_where_to_go(tmp_path: Path) -> None:
    done = subprocess.run([XCOM, "run"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "There is no config/airflow.env" in done.stderr and str(tmp_path) in done.stderr


@pytest.mark.parametrize("command", ["--help", "probe", "start-clean"])
def test_help_and_all_else_say_that_the_current_folder_is_gone(tmp_path: Path, command: str) -> None:
    (gone := tmp_path / "gone").mkdir()
    line = f"rmdir '{gone}' && '{XCOM}' {command}"
    done = subprocess.run(["sh", "-c", line], cwd=gone, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "The current folder is not there any more. Change into one that is.\n"
