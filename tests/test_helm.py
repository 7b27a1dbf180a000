"""The values for Airflow's Helm chart: names that it knows, secrets by name alone, the project's settings."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from projects import BACKENDS, QUESTIONS, Bake, BakedProject

VALUES = "deploy/helm/values.yaml"
SETTINGS = "dist/helm-settings.yaml"

# What the chart takes, and of which type, as far as the file uses it: read in its values.schema.json and in
# its release notes up to 1.22.0 (`workers.kubernetes` is there from 1.20 on, its account works from 1.22 on).
# An `*` stands for any name, and dict for what Kubernetes itself defines.
CHART = {
    "executor": str,
    "airflowVersion": str,
    "data.metadataSecretName": str,
    "fernetKeySecretName": str,
    "apiSecretKeySecretName": str,
    "jwtSecretName": str,
    "enableBuiltInSecretEnvVars.AIRFLOW__API_AUTH__JWT_SECRET": bool,
    "extraEnvFrom": str,
    "config.*.*": str,
    "createUserJob.enabled": bool,
    "migrateDatabaseJob.args": list,
    "securityContexts.pod": dict,
    "securityContexts.container": dict,
    "networkPolicies.enabled": bool,
    "apiServer.networkPolicy.ingress.from": list,
    "apiServer.resources": dict,
    "apiServer.env": list,
    "scheduler.resources": dict,
    "scheduler.env": list,
    "dagProcessor.resources": dict,
    "triggerer.persistence.enabled": bool,
    "triggerer.resources": dict,
    "triggerer.serviceAccount.annotations": dict,
    "workers.kubernetes.resources": dict,
    "workers.kubernetes.serviceAccount.create": bool,
    "workers.kubernetes.serviceAccount.annotations": dict,
    "postgresql.enabled": bool,
    "statsd.enabled": bool,
}


@pytest.fixture(scope="module", params=BACKENDS)
def project(request: pytest.FixtureRequest, bake: Bake) -> BakedProject:
    """A project for each backend, to be deployed to Kubernetes."""
    return bake(xcom_backend=request.param, executor="KubernetesExecutor")


@pytest.fixture(scope="module")
def values(project: BakedProject) -> dict[str, Any]:
    """Its values for the chart."""
    read: dict[str, Any] = yaml.safe_load(project.read(VALUES))
    return read


def known(path: tuple[str, ...]) -> type | None:
    """The type that the chart has under this path, if it has one there."""
    for name, kind in CHART.items():
        parts = name.split(".")
        if len(parts) == len(path) and all(part in ("*", own) for part, own in zip(parts, path, strict=True)):
            return kind
    return None


def leaves(value: object, *path: str) -> Iterator[tuple[tuple[str, ...], object]]:
    """The values by their paths, down to those that the chart knows."""
    if known(path) or not isinstance(value, dict) or not value:
        yield path, value
    else:
        for name, below in value.items():
            yield from leaves(below, *path, name)


def test_the_chart_knows_each_value(values: dict[str, Any]) -> None:
    for path, value in leaves(values):
        kind = known(path)
        assert kind, f"the chart has no {'.'.join(path)}"
        assert isinstance(value, kind), path


def test_it_is_for_this_airflow_and_this_executor(values: dict[str, Any]) -> None:
    assert values["executor"] == "KubernetesExecutor"
    assert values["airflowVersion"] == QUESTIONS["__airflow_version"]


def test_a_secret_is_named_and_never_written(project: BakedProject, values: dict[str, Any]) -> None:
    slug = project.path.name
    named = {name: value for name, value in values.items() if name.endswith("SecretName")}
    named |= values["data"]
    assert set(named.values()) == {f"{slug}-database", f"{slug}-keys"}
    (connections,) = yaml.safe_load(values["extraEnvFrom"])
    assert connections["secretRef"]["name"] == f"{slug}-connections"
    # Without a connection to the store no task could hand anything over; with `db` there may be none at all.
    assert ("optional" in connections["secretRef"]) == (project.answers["xcom_backend"] == "db")


def test_only_who_makes_and_who_checks_tokens_has_their_key(values: dict[str, Any]) -> None:
    assert values["enableBuiltInSecretEnvVars"] == {"AIRFLOW__API_AUTH__JWT_SECRET": False}
    given = {name for name, value in values.items() if "AIRFLOW__API_AUTH__JWT_SECRET" in str(value)}
    assert given == {"apiServer", "scheduler", "enableBuiltInSecretEnvVars"}
    (variable,) = values["scheduler"]["env"]
    assert variable["valueFrom"]["secretKeyRef"]["name"] == values["jwtSecretName"]
    assert values["apiServer"]["env"] == values["scheduler"]["env"]


def test_the_pods_may_do_little_and_have_an_end_to_their_memory(values: dict[str, Any]) -> None:
    assert values["securityContexts"]["pod"]["runAsNonRoot"] is True
    container = values["securityContexts"]["container"]
    assert container == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    parts = [values[name] for name in ("apiServer", "scheduler", "dagProcessor", "triggerer")]
    for part in (*parts, values["workers"]["kubernetes"]):
        assert part["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in part["resources"]["limits"]
    # With policies, and nobody named, the chart lets nobody reach the api-server: not even tasks.
    assert values["networkPolicies"]["enabled"]
    (airflow,) = values["apiServer"]["networkPolicy"]["ingress"]["from"]
    assert airflow == {"podSelector": {"matchLabels": {"tier": "airflow"}}}


def test_its_settings_are_those_of_the_project(project: BakedProject, tmp_path: Path) -> None:
    """What a person writes into config/ arrives in the cluster, and no secret of docker compose does."""
    copy = BakedProject(tmp_path / project.path.name, project.answers, project.machine)
    shutil.copytree(project.path, copy.path)
    hard = """AIRFLOW__CORE__DEFAULT_TIMEZONE="Europe/Vienna"
AIRFLOW_VAR_HARD='a $HOME "b" \\ {c}: # d'
"""
    with (copy.path / "config/airflow.env").open("a", encoding="utf-8") as file:
        file.write(hard)
    copy.run(sys.executable, "packages/helm.py")
    read = yaml.safe_load(copy.read(SETTINGS))
    assert read.keys() == {"env"}
    assert all(each.keys() == {"name", "value"} and isinstance(each["value"], str) for each in read["env"])
    found = {each["name"]: each["value"] for each in read["env"]}
    assert len(found) == len(read["env"])
    assert found["AIRFLOW__CORE__DEFAULT_TIMEZONE"] == "Europe/Vienna"
    assert found["AIRFLOW_VAR_HARD"] == r'a $HOME "b" \ {c}: # d'
    backend = {"db": "Db", "s3": "S3", "redis": "Redis"}[project.answers["xcom_backend"]]
    assert found["AIRFLOW__CORE__XCOM_BACKEND"].endswith(f".{backend}XComBackend")
    assert not {"AIRFLOW_HOME", "AIRFLOW__CORE__EXECUTOR", "AIRFLOW__CORE__DAGS_FOLDER"} & found.keys()
    assert not [name for name in found if name.startswith("AIRFLOW_CONN_XCOM")]
    assert "${" not in json.dumps(found)


def test_others_have_no_such_folder(bake: Bake) -> None:
    for executor in ("LocalExecutor", "CeleryExecutor"):
        project = bake(executor=executor)
        assert not (project.path / "deploy").exists()
        assert "helm" not in project.make("help").stdout
    assert "helm-settings" in bake(executor="KubernetesExecutor").make("help").stdout
