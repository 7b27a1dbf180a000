"""What config/airflow.env, .env and the machine add up to, and the secrets that are made."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from exclusive_xcom.local import environment


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project whose path has a blank."""
    project = tmp_path / "my project"
    (project / "config").mkdir(parents=True)
    (project / "config/airflow.env").write_text(
        "# comment\n"
        "AIRFLOW_HOME=${PWD}/.airflow\n"
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=sqlite:///${PWD}/.airflow/airflow.db\n"
        'AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES="airflow.* other.models*"\n'
        "AIRFLOW__XCOM__CONN_ID=xcom_s3\n"
        "AIRFLOW__XCOM__TAGS=\n"
    )
    (project / ".env.example").write_text("# why\nFERNET_KEY=\nPASSWORD=\n# COMMENTED=\nUSER_NAME=airflow\n")
    return project


def test_paths_count_from_the_project_wherever_we_are(folder: Path) -> None:
    assert environment.read(folder, {"PWD": "/elsewhere"})["AIRFLOW_HOME"] == f"{folder}/.airflow"


def test_values_in_quotes_are_read_without_them(folder: Path) -> None:
    found = environment.read(folder, {})
    assert found["AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES"] == "airflow.* other.models*"


def test_an_empty_value_counts_as_none(folder: Path) -> None:
    assert "AIRFLOW__XCOM__TAGS" not in environment.read(folder, {})


def test_what_is_set_outside_wins_over_env_and_that_over_the_committed_file(folder: Path) -> None:
    assert environment.read(folder, {})["AIRFLOW__XCOM__CONN_ID"] == "xcom_s3"
    (folder / ".env").write_text("AIRFLOW__XCOM__CONN_ID=mine\nAIRFLOW_CONN_MINE=aws://\n")
    found = environment.read(folder, {})
    assert (found["AIRFLOW__XCOM__CONN_ID"], found["AIRFLOW_CONN_MINE"]) == ("mine", "aws://")
    found = environment.read(folder, {"AIRFLOW__XCOM__CONN_ID": "outside"})
    assert found["AIRFLOW__XCOM__CONN_ID"] == "outside"


@pytest.mark.parametrize("name", ["AIRFLOW_HOME", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
def test_another_airflow_of_this_machine_is_never_used(folder: Path, name: str) -> None:
    (folder / ".env").write_text(f"{name}=/other\n")
    assert str(folder) in environment.read(folder, {name: "/somewhere/else"})[name]


def test_secrets_of_compose_stay_out_of_the_environment(folder: Path) -> None:
    (folder / ".env").write_text("POSTGRES_PASSWORD=x\nAIRFLOW_VAR_A=1\n")
    found = environment.read(folder, {})
    assert "POSTGRES_PASSWORD" not in found and found["AIRFLOW_VAR_A"] == "1"
    assert "AIRFLOW_VAR_A" not in environment.read(folder, {}, secrets=False)


def test_loopback_is_kept_away_from_a_proxy() -> None:
    assert environment.reach_loopback({}) == {}
    found = environment.reach_loopback({"http_proxy": "http://proxy", "no_proxy": "example.com"})
    assert found["no_proxy"] == found["NO_PROXY"] == "example.com,127.0.0.1,localhost"


class TestSecrets:
    """`make .env`."""

    def test_are_random_and_for_their_owner_alone(self, folder: Path) -> None:
        assert environment.write_secrets(folder) == ["FERNET_KEY", "PASSWORD"]
        path = folder / ".env"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        values = dict(line.split("=", 1) for line in path.read_text().splitlines() if line[0] != "#")
        assert set(values) == {"FERNET_KEY", "PASSWORD"}
        Fernet(values["FERNET_KEY"])
        assert len(values["PASSWORD"]) == 48

    def test_are_not_made_twice(self, folder: Path) -> None:
        environment.write_secrets(folder)
        before = (folder / ".env").read_text()
        assert environment.write_secrets(folder) == []
        assert (folder / ".env").read_text() == before

    def test_are_added_to_what_a_person_wrote(self, folder: Path) -> None:
        (folder / ".env").write_text("PASSWORD=mine\nOTHER=1")  # no line break at the end
        assert environment.write_secrets(folder) == ["FERNET_KEY"]
        lines = (folder / ".env").read_text().splitlines()
        assert lines[:2] == ["PASSWORD=mine", "OTHER=1"] and lines[2].startswith("FERNET_KEY=")


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
        with pytest.raises(environment.NotInProject, match=r"no config/airflow\.env in .*uv run xcom"):
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
            "print(os.getcwd(), os.environ['AIRFLOW_HOME'], sep='\\n')"
        )
        cwd = folder / "notebooks"
        done = subprocess.run([sys.executable, "-c", code], cwd=cwd, stdout=subprocess.PIPE, text=True)
        assert done.stdout.splitlines() == [str(folder), f"{folder}/.airflow"]
