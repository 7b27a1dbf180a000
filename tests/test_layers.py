"""The files of settings of a project: what stands where, and what must not get from one place to another."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from projects import BACKENDS, Bake, BakedProject

from exclusive_xcom.local import envfile, environment

LAYERS = ("airflow", "local", "deployment")
HERE_ALONE = {
    "AIRFLOW__CORE__PARALLELISM",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL",
    "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
}


@pytest.fixture(params=BACKENDS)
def project(request: pytest.FixtureRequest, bake: Bake) -> BakedProject:
    """A project of each backend."""
    return bake(xcom_backend=request.param)


def names(project: BakedProject, file: str) -> set[str]:
    """The variables that a file sets."""
    return set(envfile.names(project.path / file, Path(file)))


def test_each_setting_stands_in_one_file(project: BakedProject) -> None:
    common, local, deployment = (names(project, f"config/{layer}.env") for layer in LAYERS)
    assert common and not common & (local | deployment)
    assert local >= HERE_ALONE and not deployment & HERE_ALONE
    assert local & deployment == {
        "AIRFLOW_HOME",
        "AIRFLOW__CORE__DAGS_FOLDER",
        "AIRFLOW__CORE__PLUGINS_FOLDER",
        "AIRFLOW__XCOM__READERS",
        "AIRFLOW__XCOM__RETENTION",
        "AIRFLOW_CONN_PROJECT_SQLITE",
    }


def test_each_file_says_first_what_it_is_for(project: BakedProject) -> None:
    for file in (*(f"config/{layer}.env" for layer in LAYERS), "connections.env.example", ".env.example"):
        assert project.read(file).startswith("# "), file
    for layer in LAYERS[1:]:
        assert "alone" in project.read(f"config/{layer}.env").splitlines()[0]


def test_this_machine_reads_its_own_files(project: BakedProject) -> None:
    found = environment.read(project.path, {})
    assert found["AIRFLOW_HOME"] == f"{project.path}/.airflow"
    assert found["AIRFLOW__CORE__PLUGINS_FOLDER"] == f"{project.path}/plugins"
    assert found["AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION"] == "False"
    store = f"AIRFLOW_CONN_XCOM_{project.answers['xcom_backend'].upper()}"
    assert store not in found, "that of docker compose"


def test_each_airflow_of_compose_reads_the_files_of_deployments(project: BakedProject) -> None:
    services = yaml.safe_load(project.read("docker-compose.yaml"))["services"]
    files = ["config/airflow.env", "config/deployment.env", {"path": "connections.env", "required": False}]
    ours = {name: service for name, service in services.items() if "env_file" in service}
    assert set(ours) >= {"init", "api-server", "scheduler", "dag-processor", "triggerer"}
    for name, service in ours.items():
        assert service["env_file"] == files, name
        assert not {volume.split(":")[0] for volume in service["volumes"]} - {"logs", "output"}, name
        assert not [key for key in service["environment"] if key in HERE_ALONE and "DATABASE" not in key]
        # What is said here would win over connections.env.
        assert not [key for key in service["environment"] if key.startswith("AIRFLOW_CONN")]


def test_the_override_for_work_mounts_folders_and_writes_into_none(project: BakedProject) -> None:
    services = yaml.safe_load(project.read("docker-compose.dev.yaml"))["services"]
    mounted = {
        f"./{name}:/opt/airflow/{name}:ro" for name in ("config", "dags", "data", "include", "plugins", "src")
    }
    for service in services.values():
        assert set(service["volumes"]) == mounted
    for volume in mounted:
        assert (project.path / volume.split(":")[0]).is_dir()


def test_the_image_has_what_pipelines_import_and_nothing_of_this_machine(project: BakedProject) -> None:
    rules = [line for line in project.read(".dockerignore").splitlines() if line and line[0] != "#"]

    def sent(file: str) -> bool:
        answer = True
        for rule in rules:
            pattern = rule.lstrip("!").removeprefix("**/")
            if fnmatch.fnmatch(file, pattern) or file.startswith(f"{pattern}/"):
                answer = rule.startswith("!")
        return answer

    copied = re.findall(r"^COPY .*?([\w.-]+)(?:/pyproject.toml)? [\w./-]+$", project.read("Dockerfile"), re.M)
    assert {"config", "dags", "data", "include", "plugins"} <= set(copied)
    needed = ["packages.txt", "include/a.py", "plugins/a.py", "config/deployment.env", "config/pools.json"]
    needed += ["config/retention.toml", "config/readers.toml"]
    assert [file for file in needed if not sent(file)] == []
    private = ["config/local.env", "connections.env", ".env", ".git/config", ".airflow/airflow.db"]
    assert [file for file in private if sent(file)] == []


def test_git_keeps_no_secrets(project: BakedProject, tmp_path: Path) -> None:
    project.machine.git(tmp_path, "init", "--quiet", "--bare", ".")
    check = ("git", f"--git-dir={tmp_path}", f"--work-tree={project.path}", "check-ignore")
    for secret in ("connections.env", ".env"):
        assert project.run(*check, secret).stdout.strip() == secret
    for kept in ("connections.env.example", ".env.example", "config/local.env"):
        assert project.run(*check, kept, check=False).returncode == 1


def test_each_example_of_a_connection_is_one(project: BakedProject, tmp_path: Path) -> None:
    examples = re.findall(r"^# (AIRFLOW_CONN_\w+=.*)$", project.read("connections.env.example"), re.MULTILINE)
    path = tmp_path / "connections.env"
    path.write_text("\n".join(examples), encoding="utf-8")
    found = envfile.read(path, {}, path)
    assert len(found) == len(examples) >= 4
    code = (
        "import json, sys; from airflow.sdk.definitions.connection import Connection\n"
        "for value in json.load(sys.stdin): print(Connection.from_json(value, conn_id='a').conn_type)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(list(found.values())), capture_output=True, text=True
    )
    assert told.stdout.split()[:4] == ["postgres", "http", "aws", "google_cloud_platform"], told.stderr
    assert [value for value in found.values() if "$" in value] == []


def test_make_connections_env_makes_a_private_file_once(bake_into: Bake, tmp_path: Path) -> None:
    project = bake_into(tmp_path)
    project.make("connections.env")
    made = project.path / "connections.env"
    assert made.read_text() == project.read("connections.env.example")
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    made.write_text("# mine\n")
    project.make("connections.env")
    assert made.read_text() == "# mine\n"


def test_make_logs_says_what_to_do_when_there_is_nothing_to_follow(bake: Bake) -> None:
    done = bake().make("logs", check=False)
    assert done.returncode and "`make up`" in done.stderr


@pytest.mark.parametrize("target", ["docker-up", "docker-down", "docker-test"])
def test_without_docker_one_sentence_says_so(bake_into: Bake, tmp_path: Path, target: str) -> None:
    """`make deploy-image` is tried with the engine's tests."""
    project = bake_into(tmp_path)
    (project.path / "uv.lock").touch()
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "uv").write_text("#!/bin/sh\n")  # not what is asked about here
    (tools / "uv").chmod(0o755)
    for name in ("make", "sh", "grep"):
        (tools / name).symlink_to(_where(name))
    done = project.make(target, check=False, PATH=str(tools))
    assert done.returncode and "docker compose is not on this machine" in done.stderr


def _where(name: str) -> str:
    found = shutil.which(name)
    assert found
    return found
