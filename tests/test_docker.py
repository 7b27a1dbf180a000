"""The generated docker-compose.yaml, started for real: all is healthy, and a pipeline runs through in it."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from projects import BACKENDS, Bake

pytestmark = pytest.mark.docker

Compose = Callable[..., subprocess.CompletedProcess[str]]

# Where the payloads of a pipeline's frames are, by the scheme of their address; without one, in the row.
KEPT = {"db": "", "s3": "s3", "redis": "redis"}


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend in turn."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def compose(backend: str, bake_into: Bake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """`docker compose` in a project whose services are up; afterwards nothing of them is left."""
    project = bake_into(
        tmp_path_factory.mktemp(backend), project_slug=f"compose-{backend}", xcom_backend=backend
    )
    project.make("install", ".env")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return project.run("docker", "compose", *arguments, check=check, PORT=port)

    try:
        started = run("up", "--build", "--wait", "--quiet-pull", check=False)
        if started.returncode:
            logs = run("logs", "--tail=40", check=False).stdout
            pytest.fail(
                f"docker compose up failed:\n{started.stdout}\n{started.stderr}\n{logs}", pytrace=False
            )
        yield run
    finally:
        run("down", "--volumes", "--rmi=local", "--timeout=30", check=False)


def test_every_service_is_healthy(compose: Compose) -> None:
    listed = [json.loads(line) for line in compose("ps", "--format=json").stdout.splitlines()]
    assert {service["Service"] for service in listed} >= {
        "api-server",
        "scheduler",
        "dag-processor",
        "triggerer",
    }
    assert {service["Health"] for service in listed} == {"healthy"}
    published = [port for service in listed for port in service["Publishers"] if port["PublishedPort"]]
    assert {port["URL"] for port in published} == {"127.0.0.1"}


def ask(compose: Compose, query: str) -> list[str]:
    """The rows that Airflow's database answers."""
    psql = ("psql", "--username=airflow", "--tuples-only", "--no-align", "--command", query)
    return compose("exec", "-T", "postgres", *psql).stdout.splitlines()


def test_a_pipeline_runs_through_and_its_xcoms_are_where_they_belong(compose: Compose, backend: str) -> None:
    compose("exec", "-T", "scheduler", "airflow", "dags", "unpause", "--yes", "orders")
    compose("exec", "-T", "scheduler", "airflow", "dags", "trigger", "orders", "--run-id=by-test")
    end = time.monotonic() + 600
    state: list[str] = []
    while state not in (["success"], ["failed"]) and time.monotonic() < end:
        time.sleep(2)
        state = ask(compose, "select state from dag_run where run_id = 'by-test'")
    assert state == ["success"], compose("logs", "--tail=60", "scheduler").stdout
    schemes = (
        "select distinct split_part(coalesce(value->>'uri', ''), ':', 1) from xcom where value ? '$xcom'"
    )
    assert ask(compose, schemes) == [KEPT[backend]]
