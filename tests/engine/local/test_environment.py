"""What the files of settings and the machine add up to, and which folder is the project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from exclusive_xcom.console import Refused
from exclusive_xcom.local import environment


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project whose path has a blank."""
    project = tmp_path / "my project"
    (project / "config").mkdir(parents=True)
    (project / "config/airflow.env").write_text(
        "# comment\n"
        'AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES="airflow.* other.models*"\n'
        "AIRFLOW__XCOM__CONN_ID=xcom_s3\n"
        "AIRFLOW__XCOM__TAGS=\n"
    )
    (project / "config/local.env").write_text(
        "AIRFLOW_HOME=${PWD}/.airflow\n"
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=sqlite:///${PWD}/.airflow/airflow.db\n"
        "AIRFLOW__CORE__DAGS_FOLDER=${PWD}/dags\n"
        "AIRFLOW__CORE__PLUGINS_FOLDER=${PWD}/plugins\n"
        "AIRFLOW__CORE__PARALLELISM=8\n"
    )
    return project


def test_paths_count_from_the_project_wherever_we_are(folder: Path) -> None:
    assert environment.read(folder, {"PWD": "/elsewhere"})["AIRFLOW_HOME"] == f"{folder}/.airflow"


def test_values_in_quotes_are_read_without_them(folder: Path) -> None:
    found = environment.read(folder, {})
    assert found["AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES"] == "airflow.* other.models*"


def test_an_empty_value_counts_as_none(folder: Path) -> None:
    assert "AIRFLOW__XCOM__TAGS" not in environment.read(folder, {})


def test_of_two_layers_the_later_one_wins(folder: Path) -> None:
    name = "AIRFLOW__XCOM__CONN_ID"
    assert environment.read(folder, {})[name] == "xcom_s3"
    for file in ("config/local.env", "connections.env", ".env"):
        with (folder / file).open("a") as layer:
            layer.write(f"{name}={file}\n")
        assert environment.read(folder, {})[name] == file
    assert environment.read(folder, {name: "outside"})[name] == "outside"


def test_what_is_for_deployments_stays_there(folder: Path) -> None:
    (folder / "config/deployment.env").write_text("AIRFLOW_HOME=/opt/airflow\nAIRFLOW_VAR_A=1\n")
    found = environment.read(folder, {})
    assert str(folder) in found["AIRFLOW_HOME"] and "AIRFLOW_VAR_A" not in found


@pytest.mark.parametrize("name", environment.OURS_ALONE)
def test_another_airflow_of_this_machine_is_never_used(folder: Path, name: str) -> None:
    (folder / ".env").write_text(f"{name}=/other\n")
    (folder / "connections.env").write_text(f"{name}=/other\n")
    assert str(folder) in environment.read(folder, {name: "/somewhere/else"})[name]


def test_tests_have_the_connections_but_a_store_of_their_own(folder: Path) -> None:
    (folder / "connections.env").write_text(
        "AIRFLOW_CONN_WAREHOUSE=postgres://\nAIRFLOW_CONN_XCOM_S3=aws://\n"
    )
    (folder / ".env").write_text("AIRFLOW_CONN_XCOM_S3=aws://\n")
    assert environment.read(folder, {})["AIRFLOW_CONN_XCOM_S3"] == "aws://"
    found = environment.read(folder, {}, store=False)
    assert found["AIRFLOW_CONN_WAREHOUSE"] == "postgres://" and "AIRFLOW_CONN_XCOM_S3" not in found
    outside = {"AIRFLOW_CONN_XCOM_S3": "aws://outside"}
    assert environment.read(folder, outside, store=False)["AIRFLOW_CONN_XCOM_S3"] == "aws://outside"


def test_a_wrong_line_is_told_by_file_and_number(folder: Path) -> None:
    (folder / "connections.env").write_text("# mine\nAIRFLOW_CONN_A=nothing\n")
    with pytest.raises(Refused, match=r"^connections\.env, line 2: the connection 'a' is neither"):
        environment.read(folder, {})


def test_secrets_of_compose_stay_out_of_the_environment(folder: Path) -> None:
    (folder / ".env").write_text("POSTGRES_PASSWORD=x\nAIRFLOW_VAR_A=1\n")
    found = environment.read(folder, {})
    assert "POSTGRES_PASSWORD" not in found and found["AIRFLOW_VAR_A"] == "1"
    assert "AIRFLOW_VAR_A" not in environment.read(folder, {}, secrets=False)


def test_loopback_is_kept_away_from_a_proxy() -> None:
    assert environment.reach_loopback({}) == {}
    found = environment.reach_loopback({"http_proxy": "http://proxy", "no_proxy": "example.com"})
    assert found["no_proxy"] == found["NO_PROXY"] == "example.com,127.0.0.1,localhost"


class TestProject:
    """Which folder is the project's."""

    @pytest.fixture(autouse=True)
    def nothing_of_this_shell(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """A Python that is installed elsewhere, and no Airflow in the environment."""
        monkeypatch.delenv("AIRFLOW_HOME")
        monkeypatch.setattr(sys, "prefix", str(tmp_path / "python"))

    def test_is_the_nearest_one_above(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        inner = folder / "teams" / "one"
        (inner / "config").mkdir(parents=True)
        (inner / "config/airflow.env").touch()
        (inner / "dags").mkdir()
        monkeypatch.chdir(inner / "dags")
        assert environment.project() == inner
        monkeypatch.chdir(folder / "teams")
        assert environment.project() == folder

    def test_is_the_one_of_the_virtual_environment_elsewhere(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "prefix", str(folder / ".venv"))
        assert environment.project() == folder

    def test_is_missed_in_words(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(environment.NotInProject, match=r"no config/airflow\.env in .*venv/bin/xcom"):
            environment.project()
        before = dict(os.environ)
        assert environment.activate() is None
        assert dict(os.environ) == before

    def test_a_deployment_is_none_and_stays_as_it_is(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("AIRFLOW_HOME", str(folder))
        before = dict(os.environ)
        assert environment.activate() is None
        assert dict(os.environ) == before
        with pytest.raises(environment.NotInProject, match="a deployment"):
            environment.project()
        monkeypatch.setattr(sys, "prefix", str(folder / ".venv"))
        assert environment.project() == folder, "a person's shell may say so, too"

    def test_an_ide_or_a_notebook_becomes_part_of_it(self, folder: Path, tmp_path: Path) -> None:
        (folder / "notebooks").mkdir()
        code = (
            "import os\n"
            "from exclusive_xcom.local import environment\n"
            "environment.activate()\n"
            "from include.queries import ANSWER\n"
            "print(os.getcwd(), os.environ['AIRFLOW_HOME'], os.environ['PYTHONPATH'], sep='\\n')"
        )
        (folder / "include").mkdir()
        (folder / "include/queries.py").write_text("ANSWER = 42\n")
        cwd = folder / "notebooks"
        environ = os.environ | {"PYTHONPATH": "/other"}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=cwd, env=environ, stdout=subprocess.PIPE, text=True
        )
        assert done.stdout.splitlines() == [str(folder), f"{folder}/.airflow", f"{folder}:/other"]

    def test_without_the_settings_of_this_machine_there_is_none(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "config/local.env").unlink()
        monkeypatch.chdir(folder)
        with pytest.raises(Refused, match=r"AIRFLOW_HOME is missing in config/local\.env"):
            environment.activate()


def test_a_folder_that_airflow_would_read_otherwise_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "$HOME"
    (folder / "config").mkdir(parents=True)
    (folder / "config/airflow.env").write_text("")
    monkeypatch.chdir(folder)
    with pytest.raises(Refused, match="move the project"):
        environment.activate()
