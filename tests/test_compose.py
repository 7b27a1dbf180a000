"""What the compose file says: each service gets the secrets that it needs, and nobody outside gets in."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from projects import BACKENDS, CHOICES, TEMPLATE, Bake, BakedProject

EXECUTORS = CHOICES["executor"]
COMPOSE = "docker-compose.yaml"
DATABASE = {"POSTGRES_PASSWORD", "FERNET_KEY"}
STORE = {
    "db": set[str](),
    "s3": {"S3_ACCESS_KEY", "S3_SECRET_KEY"},
    "redis": {"VALKEY_PASSWORD"},
}
# Those that keep the XComs, and what makes them ready.
STORES = {"db": set[str](), "s3": {"s3", "bucket"}, "redis": {"valkey"}}
ONCE = {"init", "bucket"}
SECRET = re.compile(r"(PASSWORD|_KEY|_SECRET)$")
NAMED = re.compile(r"\$\{(\w+)(:?[-?])?")  # also one inside of another's default


@pytest.fixture(scope="module", params=EXECUTORS)
def executor(request: pytest.FixtureRequest) -> str:
    """Each executor in turn."""
    name: str = request.param
    return name


@pytest.fixture(scope="module", params=BACKENDS)
def project(request: pytest.FixtureRequest, executor: str, bake: Bake) -> BakedProject:
    """A project for each backend with each executor."""
    return bake(xcom_backend=request.param, executor=executor)


def services(project: BakedProject) -> dict[str, dict[str, Any]]:
    """The services by name, as YAML merges them; what compose fills in is left as it is written."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(project.read(COMPOSE))["services"]
    return found


def secrets(value: object) -> set[str]:
    """The secrets that compose fills in there."""
    return {name for name, _ in NAMED.findall(str(value)) if SECRET.search(name)}


def test_each_service_gets_the_secrets_that_it_needs_and_no_other(
    project: BakedProject, executor: str
) -> None:
    store = STORE[project.answers["xcom_backend"]]
    needed = {
        "postgres": {"POSTGRES_PASSWORD"},
        "init": DATABASE,
        "api-server": DATABASE | {"JWT_SECRET", "API_SECRET_KEY", "ADMIN_PASSWORD"},
        "dag-processor": DATABASE,
        "triggerer": DATABASE | {"API_SECRET_KEY"},
    }
    if executor == "CeleryExecutor":
        # A task must not reach Airflow's database, nor make a token: neither has the worker.
        needed["worker"] = {"API_SECRET_KEY", "BROKER_PASSWORD"}
        needed["scheduler"] = DATABASE | {"JWT_SECRET", "BROKER_PASSWORD"}
        needed["flower"] = {"BROKER_PASSWORD", "FLOWER_PASSWORD"}
        needed["broker"] = {"BROKER_PASSWORD"}
    else:
        needed["scheduler"] = DATABASE | {"JWT_SECRET", "API_SECRET_KEY"}
    needed |= dict.fromkeys(STORES[project.answers["xcom_backend"]], store)
    needed |= {"s3": set()} if "s3" in needed else {}  # it gets a file: `configs`
    assert {name: secrets(service) for name, service in services(project).items()} == needed


def test_connections_go_where_tasks_or_dags_may_ask_for_them(project: BakedProject) -> None:
    given = {name for name, service in services(project).items() if "connections.env" in str(service)}
    airflow = {name for name, service in services(project).items() if service.get("cap_drop")}
    assert given == airflow - {"flower"}
    assert secrets(project.read("config/deployment.env")) == STORE[project.answers["xcom_backend"]]


def test_no_secret_has_a_default_and_make_fills_in_each(project: BakedProject) -> None:
    text = project.read(COMPOSE) + project.read("config/deployment.env")
    written = {name: rest for name, rest in NAMED.findall(text) if SECRET.search(name)}
    assert set(written.values()) == {":?"}, written
    example = set(re.findall(r"^(\w+)=$", project.read(".env.example"), re.MULTILINE))
    assert example == written.keys()


def test_only_this_machine_reaches_it(project: BakedProject) -> None:
    published = [port for service in services(project).values() for port in service.get("ports", [])]
    assert published and all(port.startswith("127.0.0.1:") for port in published)


def test_what_stays_up_comes_back_says_that_it_is_well_and_has_an_end_to_its_memory(
    project: BakedProject,
) -> None:
    for name, service in services(project).items():
        if name in ONCE:
            assert service["restart"] == "no", name
        else:
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"], name
        if "cap_drop" in service:
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert service["mem_limit"], name
            assert service["image"] == f"${{IMAGE:-{project.path.name}}}", f"{name} is not of the one image"
    found = services(project)
    built = [name for name, service in found.items() if "build" in service]
    assert built == ["init"]
    sealed = {"api-server", "dag-processor", "postgres"} | ({"scheduler"} if "worker" in found else set())
    assert sealed == {name for name in found if found[name].get("read_only") and "tmpfs" in found[name]}
    tasks = found["worker" if "worker" in found else "scheduler"]
    assert tasks["stop_grace_period"] == "${WORKER_GRACE:-10m}"
    assert tasks["environment"]["DUMB_INIT_SETSID"] == "0", "the signal to end would reach the tasks"


def test_the_executor_is_the_answer_s(project: BakedProject, executor: str) -> None:
    found = services(project)
    here = executor if executor == "CeleryExecutor" else "LocalExecutor"
    for name in ("api-server", "scheduler", "dag-processor", "triggerer"):
        assert found[name]["environment"]["AIRFLOW__CORE__EXECUTOR"] == here
    extras = tomllib.loads(project.read("pyproject.toml"))["project"]["optional-dependencies"]
    ours = {"CeleryExecutor": {"celery"}, "KubernetesExecutor": {"kubernetes"}}.get(executor, set())
    assert extras.keys() == {"postgres"} | ours
    installed = " ".join(f"--extra {name}" for name in sorted(extras, key=lambda name: name in ours))
    dockerfile = project.read("Dockerfile")
    assert dockerfile.count(f"uv sync --locked --no-dev {installed} --no-") == 2
    assert f"--isolated --no-dev {installed} python" in project.read("Makefile"), "check-image asks of others"
    # A person's own machine needs no broker and no cluster.
    assert "AIRFLOW__CORE__EXECUTOR=LocalExecutor\n" in project.read("config/airflow.env")


@pytest.mark.parametrize("backend", BACKENDS)
def test_workers_can_be_many_and_their_broker_is_no_store_of_xcoms(bake: Bake, backend: str) -> None:
    project = bake(xcom_backend=backend, executor="CeleryExecutor")
    found = services(project)
    worker = found["worker"]
    assert not {"container_name", "ports", "hostname"} & worker.keys(), "only one can have it"
    assert "depends_on" in worker and "profiles" not in worker
    assert found["flower"]["profiles"] == ["flower"]
    broker = found["broker"]
    assert worker["environment"]["AIRFLOW__CELERY__BROKER_URL"].endswith("@broker:6379/0")
    assert worker["environment"]["AIRFLOW__CELERY__RESULT_BACKEND"].endswith("@broker:6379/1")
    assert "noeviction" in broker["command"], "a task that is evicted is never run"
    if backend == "redis":
        store = found["valkey"]
        assert store["volumes"] != broker["volumes"]
        assert not secrets(store) & secrets(broker)
    development = yaml.safe_load(project.read("docker-compose.dev.yaml"))["services"]
    assert development.keys() == {name for name in found if "connections.env" in str(found[name])} - {
        "bucket"
    }
    extras = tomllib.loads(project.read("pyproject.toml"))["project"]["optional-dependencies"]
    assert "celery<5.7" in extras["celery"]


def test_so_many_workers_as_are_typed(bake: Bake) -> None:
    project = bake(executor="CeleryExecutor")
    planned = project.make("--dry-run", "docker-up", "UV=true", "WORKERS=3").stdout
    assert 'up --build --wait --remove-orphans ${XCOM_WORKERS:+"--scale=worker=$XCOM_WORKERS"}' in planned
    assert "worker" not in bake(executor="LocalExecutor").make("--dry-run", "docker-up", "UV=true").stdout


@pytest.mark.parametrize("executor", EXECUTORS[1:])
def test_no_name_that_an_executor_installs_may_be_a_project_s(
    bake_into: Bake, executor: str, tmp_path: Path
) -> None:
    project = bake_into(tmp_path, executor=executor)
    options = ("--no-hashes", "--no-annotate", "--all-extras", "--no-emit-workspace")
    resolved = project.uv("export", "--quiet", *options).stdout
    there = {name.replace("-", "_").lower() for name in re.findall(r"^([\w-]+)", resolved, re.MULTILINE)}
    assert {"celery", "kubernetes"} & there
    hook = (TEMPLATE / "hooks/pre_gen_project.py").read_text(encoding="utf-8")
    (refused,) = re.findall(r'^INSTALLED = (""".*?""")', hook, re.DOTALL | re.MULTILINE)
    assert there - set(ast.literal_eval(refused).split()) == set()
