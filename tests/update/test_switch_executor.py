"""`make switch EXECUTOR=…` changes what deployments are made for: to just what a new project would be."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from projects import CHOICES, BakedProject
from updates import FIRST, Render, copy_of, edit, link, switch, tree, update

pytestmark = pytest.mark.update

EXECUTORS = CHOICES["executor"]
COMPOSE = "docker-compose.yaml"
HELM = "deploy/helm/values.yaml"
every_switch = pytest.mark.parametrize(
    ("before", "after"), list(itertools.permutations(EXECUTORS, 2)), ids=str
)


@pytest.fixture(scope="module")
def fresh(render: Render) -> dict[str, BakedProject]:
    """A project of the first release for each executor, committed. Not to be changed."""
    made = {executor: render(FIRST, xcom_backend="redis", executor=executor) for executor in EXECUTORS}
    for project in made.values():
        project.commit("As generated")
    return made


def services(project: BakedProject) -> set[str]:
    """What docker compose starts."""
    return set(yaml.safe_load(project.read(COMPOSE))["services"])


@every_switch
def test_a_switch_gives_what_a_new_project_would_be(
    before: str, after: str, fresh: dict[str, BakedProject], tmp_path: Path
) -> None:
    project = copy_of(fresh[before], tmp_path / "my-pipelines")
    own = {"dags/mine.py": '"""Mine."""\n', ".env": "POSTGRES_PASSWORD=a-secret-of-mine\n"}
    for name, text in own.items():
        (project.path / name).write_text(text, encoding="utf-8")
    project.commit("My own work")
    said = switch(project, "--", f"EXECUTOR={after}")
    assert f"{COMPOSE}  (changed)" in said or "Kubernetes" in before + after
    found = tree(project.path)
    assert {name: found.pop(name).decode() for name in own} == own
    assert found == tree(fresh[after].path)
    assert link(project)["checkout"] == FIRST, "a switch is not an update"
    assert "FORMER" not in said, "payloads stay where they are"
    assert ("worker" in services(project)) == (after == "CeleryExecutor")
    assert (project.path / HELM).exists() == (after == "KubernetesExecutor")


def test_there_and_back_again_with_edits_on_the_way(fresh: dict[str, BakedProject], tmp_path: Path) -> None:
    """What a person sets in the compose file stays, and so does a service and a library of theirs."""
    project = copy_of(fresh["LocalExecutor"], tmp_path / "my-pipelines")
    edit(project.path, COMPOSE, "image: postgres:17", "image: postgres:18")
    edit(project.path, COMPOSE, "\nvolumes:\n  database:\n", "\nvolumes:\n  mine:\n  database:\n")
    edit(project.path, "pyproject.toml", '    "pandas",\n', '    "httpx",\n    "pandas",\n')
    project.commit("Edited")
    before = tree(project.path)
    for executor in ("CeleryExecutor", "KubernetesExecutor", "LocalExecutor"):
        switch(project, "--", f"EXECUTOR={executor}")
        assert "postgres:18" in project.read(COMPOSE) and "\n  mine:\n" in project.read(COMPOSE)
        assert "httpx" in project.read("pyproject.toml")
        project.commit(executor)
    assert tree(project.path) == before
    update(project)
    assert "10. Do it now\n" in project.read("handbook/plan.txt")


def test_edits_to_what_leaves_are_told(fresh: dict[str, BakedProject], tmp_path: Path) -> None:
    project = copy_of(fresh["CeleryExecutor"], tmp_path / "celery" / "my-pipelines")
    edit(project.path, COMPOSE, "stop_grace_period: ${WORKER_GRACE:-10m}", "stop_grace_period: 2h")
    project.commit("My workers wait")
    assert (
        f"    {COMPOSE}\n"
        in switch(project, "--", "EXECUTOR=LocalExecutor", code=2).partition("Conflicts")[2]
    )

    project = copy_of(fresh["KubernetesExecutor"], tmp_path / "kubernetes" / "my-pipelines")
    with (project.path / HELM).open("a", encoding="utf-8") as values:
        values.write("mine: true\n")
    project.commit("My values")
    assert (
        f"    {HELM}\n"
        in switch(project, "--", "EXECUTOR=CeleryExecutor", code=2).partition("Left behind")[2]
    )
    assert "mine: true" in project.read(HELM)


def test_a_dry_run_changes_nothing(fresh: dict[str, BakedProject], tmp_path: Path) -> None:
    project = copy_of(fresh["LocalExecutor"], tmp_path / "my-pipelines")
    before = tree(project.path)
    assert "broker:" in switch(project, "--dry-run", "--", "EXECUTOR=CeleryExecutor")
    assert tree(project.path) == before


def test_backend_and_executor_may_change_at_once(
    fresh: dict[str, BakedProject], tmp_path: Path, render: Render
) -> None:
    project = copy_of(fresh["LocalExecutor"], tmp_path / "my-pipelines")
    said = switch(project, "--", "BACKEND=s3", "EXECUTOR=CeleryExecutor")
    assert "FORMER_CONN_ID=xcom_redis" in said
    assert tree(project.path) == tree(render(FIRST, xcom_backend="s3", executor="CeleryExecutor").path)


@pytest.mark.slow
def test_by_make_with_the_secrets_and_packages_that_are_new(
    fresh: dict[str, BakedProject], tmp_path: Path
) -> None:
    """All as a person does it: the lock is made anew, and the secrets that were there stay."""
    project = copy_of(fresh["LocalExecutor"], tmp_path / "my-pipelines")
    project.make("install", ".env")
    project.commit("Locked")
    written = dict(re.findall(r"^(\w+)=(.+)$", project.read(".env"), re.MULTILINE))
    project.make("switch", "EXECUTOR=CeleryExecutor")
    project.make(".env")
    now = dict(re.findall(r"^(\w+)=(.+)$", project.read(".env"), re.MULTILINE))
    assert now.items() > written.items()
    assert now.keys() - written.keys() == {"BROKER_PASSWORD", "FLOWER_PASSWORD"}
    locked = {package["name"] for package in tomllib.loads(project.read("uv.lock"))["package"]}
    assert "celery" in locked
    project.commit("Workers")
    project.make("lint", "check-image")
    project.make("test", "ONLY=first_pipeline")
