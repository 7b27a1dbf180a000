"""Pipelines on several workers: the project's own compose file, each of its services as a process."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from projects import BACKENDS, TEMPLATE, Bake
from rich.console import Console
from workers import Deployment

pytestmark = pytest.mark.slow

DAGS = Path(__file__).parent / "dags"


def docker_test() -> Any:
    """What `make docker-test` runs in a project."""
    (path,) = TEMPLATE.glob("*cookiecutter.project_slug*/packages/docker_test.py")
    spec = importlib.util.spec_from_file_location("docker_test", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=BACKENDS)
def deployment(
    request: pytest.FixtureRequest, bake_into: Bake, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Two workers with each backend."""
    folder = tmp_path_factory.mktemp(request.param)
    project = bake_into(folder / "project", xcom_backend=request.param, executor="CeleryExecutor")
    dags = (DAGS / "deferred.py",)
    with Deployment(project, folder, dags=dags) as running:
        yield running


def test_every_pipeline_runs_through_and_values_go_from_worker_to_worker(deployment: Deployment) -> None:
    """By the very code that `make docker-test` runs in the project, and shows its table."""
    module = docker_test()
    airflow = module.Airflow(deployment.url.rpartition(":")[2], deployment.secrets["ADMIN_PASSWORD"])
    names = airflow.pipelines({"template-example", "smoke"})
    examples = {path.stem for path in (deployment.project.path / "dags").glob("*.py")} - {"housekeeping"}
    assert set(names) == examples
    runs = airflow.run(names)
    shown, moved = module.table(airflow, runs)
    Console(width=120).print(shown)
    assert moved, "no value went from one worker to the other"
    rows = [
        one
        for dag, run in runs.items()
        for one in airflow.pages(f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances", "task_instances")
    ]
    assert {one["hostname"] for one in rows if one["hostname"]} == {"worker-1", "worker-2"}
    assert {one["try_number"] for one in rows} <= {0, 1}, "something was not right at the first try"
    airflow.http.close()


def test_a_task_that_waits_is_taken_on_by_the_triggerer(deployment: Deployment) -> None:
    deployment.switch_on("deferred")
    deployment.run("deferred", "once", {}).succeeded(timeout=1500)


def test_secrets_are_where_airflow_needs_them_and_nowhere_else(deployment: Deployment) -> None:
    """In what compose gives to each, and in what its processes have, by the kernel."""
    has: dict[str, set[str]] = {}
    for name, component in deployment.components.items():
        # Those of the api-server write their titles over it.
        texts = [str(deployment.machines[name].environment)]
        texts += [Path(f"/proc/{process.pid}/environ").read_text("utf-8") for process in component.processes]
        found = {
            secret for secret, value in deployment.secrets.items() if any(value in text for text in texts)
        }
        has[name] = found - {"VALKEY_PASSWORD"}
    database = {"POSTGRES_PASSWORD", "FERNET_KEY"}
    worker = {"API_SECRET_KEY", "BROKER_PASSWORD"}
    assert has == {
        "api-server": database | {"JWT_SECRET", "API_SECRET_KEY", "ADMIN_PASSWORD"},
        "scheduler": database | {"JWT_SECRET", "BROKER_PASSWORD"},
        "dag-processor": database,
        "triggerer": database | {"API_SECRET_KEY"},
        "worker-1": worker,
        "worker-2": worker,
    }
