"""The generated compose files and image, for real: all is healthy, pipelines run through, work is seen."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from airflows import wait_for
from projects import BACKENDS, Bake, BakedProject

pytestmark = pytest.mark.docker

Compose = Callable[..., subprocess.CompletedProcess[str]]

# Values that a shell, compose or JSON could take for something else.
HARD = {
    "AIRFLOW_CONN_HARD": r'{"conn_type": "http", "password": "a$b ${PWD} \"q\" \\ \u0027 # ü"}',
    "AIRFLOW_VAR_HARD": r"C:\new $HOME",
}
WRITTEN = "".join(f"{name}='{value}'\n" for name, value in HARD.items())
WRITTEN += """AIRFLOW_VAR_PLAIN=one#two # why
AIRFLOW_VAR_DOUBLE="one \\"word\\" \\\\ ${EMPTY_HERE}two"
AIRFLOW_VAR_LINES='one
two \\\\ it\\'s'
"""
# A DAG of the owner's: the connection and a module of include/, both of which it hands on.
# It tries again: on a busy machine the api-server may be too slow to start a task at once.
MINE = """
from datetime import timedelta
from airflow.sdk import BaseHook, dag, task
from include.words import WORD

@dag(schedule=None, tags=["{tag}"])
def mine():
    @task(pool="default_pool", retries=3, retry_delay=timedelta(seconds=1))
    def look():
        return [BaseHook.get_connection("hard").password, WORD]

    look()

mine()
"""

# Where the payloads of a pipeline's frames are, by the scheme of their address; without one, in the row.
KEPT = {"db": "", "s3": "s3", "redis": "redis"}


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend in turn."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def project(backend: str, bake_into: Bake, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A project with secrets, a connection of its owner's and a module in include/, committed."""
    made = bake_into(
        tmp_path_factory.mktemp(backend), project_slug=f"compose-{backend}", xcom_backend=backend
    )
    made.make("install", ".env", "connections.env")
    with (made.path / "connections.env").open("a", encoding="utf-8") as connections:
        connections.write(WRITTEN)
    (made.path / "include" / "words.py").write_text('WORD = "first"\n', encoding="utf-8")
    made.commit("Mine")
    return made


@pytest.fixture(scope="module")
def compose(project: BakedProject) -> Iterator[Compose]:
    """`docker compose` in a project whose services are up; afterwards nothing of them is left.

    Beginning with `dev`, the call is one with the override for work.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        files = ("-f", "docker-compose.yaml", "-f", "docker-compose.dev.yaml")
        command = (*files, *arguments[1:]) if arguments[0] == "dev" else arguments
        return project.run("docker", "compose", *command, check=check, PORT=port, EMPTY_HERE="")

    try:
        started = project.make("docker-up", f"PORT={port}", check=False, EMPTY_HERE="")
        if started.returncode:
            logs = run("logs", "--tail=40", check=False).stdout
            pytest.fail(f"make docker-up failed:\n{started.stdout}\n{started.stderr}\n{logs}", pytrace=False)
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


def run_through(compose: Compose, dag_id: str, run_id: str) -> None:
    """Run a pipeline to its end, which has to be a good one."""
    airflow = ("exec", "-T", "scheduler", "airflow", "dags")
    compose(*airflow, "unpause", "--yes", dag_id)
    compose(*airflow, "trigger", dag_id, f"--run-id={run_id}")
    query = f"select state from dag_run where run_id = '{run_id}'"

    def log() -> str:
        return compose("logs", "--tail=60", "scheduler").stdout

    wait_for(
        f"the end of {run_id}", lambda: ask(compose, query) in (["success"], ["failed"]), timeout=600, log=log
    )
    assert ask(compose, query) == ["success"], log()


def test_values_are_the_same_in_containers_and_on_this_machine(
    compose: Compose, project: BakedProject
) -> None:
    here = (
        "import json, os; from pathlib import Path; from exclusive_xcom.local import environment; "
        "print(json.dumps(environment.read(Path.cwd(), {'EMPTY_HERE': ''})))"
    )
    ours = json.loads(project.run(project.path / ".venv/bin/python", "-c", here).stdout)
    there = "import json, os; print(json.dumps(dict(os.environ)))"
    theirs = json.loads(compose("exec", "-T", "scheduler", "python", "-c", there).stdout)
    same = {name for name in ours if name.startswith(("AIRFLOW_VAR_", "AIRFLOW_CONN_HARD"))}
    assert len(same) == 5
    assert {name: theirs[name] for name in same} == {name: ours[name] for name in same}
    assert HARD.items() <= theirs.items()


def test_settings_of_a_laptop_do_not_reach_containers(compose: Compose) -> None:
    for option, value in {"dags_are_paused_at_creation": "True", "parallelism": "32"}.items():
        read = ("python", "-m", "airflow", "config", "get-value", "core", option)
        assert compose("exec", "-T", "scheduler", *read).stdout.split()[-1] == value


def test_a_pipeline_runs_through_and_its_xcoms_are_where_they_belong(compose: Compose, backend: str) -> None:
    run_through(compose, "orders", "by-test")
    schemes = (
        "select distinct split_part(coalesce(value->>'uri', ''), ':', 1) from xcom where value ? '$xcom'"
    )
    assert ask(compose, schemes) == [KEPT[backend]]


def test_a_store_of_one_s_own_wins_over_that_of_compose(compose: Compose, project: BakedProject) -> None:
    store = f"AIRFLOW_CONN_XCOM_{project.answers['xcom_backend'].upper()}"
    written = project.read("connections.env")

    def leads_to() -> str:
        services = json.loads(compose("config", "--format=json").stdout)["services"]
        return str(services["scheduler"]["environment"].get(store))

    default = leads_to()
    try:
        (project.path / "connections.env").write_text(f"{written}{store}=mine://\n", encoding="utf-8")
        assert leads_to() == "mine://" != default
    finally:
        (project.path / "connections.env").write_text(written, encoding="utf-8")


def test_with_the_override_an_edit_is_seen_without_a_build(compose: Compose, project: BakedProject) -> None:
    compose("dev", "up", "--wait")
    tags = "select name from dag_tag where dag_id = 'mine'"
    for tag in ("first", "second"):
        (project.path / "dags" / "mine.py").write_text(MINE.format(tag=tag), encoding="utf-8")
        wait_for(tag, lambda tag=tag: ask(compose, tags) == [tag], timeout=300)  # type: ignore[misc]
    (project.path / "include" / "words.py").write_text('WORD = "edited"\n', encoding="utf-8")
    run_through(compose, "mine", "edited")
    (value,) = ask(compose, "select value from xcom where dag_id = 'mine' and key = 'return_value'")
    password = json.loads(HARD["AIRFLOW_CONN_HARD"])["password"]
    assert json.loads(value) == [password, "edited"] or "$xcom" in json.loads(value)
    package = project.package
    where = ("python", "-c", f"import {package}; print({package}.__file__)")
    assert compose("exec", "-T", "scheduler", *where).stdout.startswith("/opt/airflow/src/")


@pytest.mark.parametrize("executor", ["LocalExecutor", "CeleryExecutor"])
def test_all_of_it_can_be_tried_at_once_and_nothing_is_left(
    bake_into: Bake, tmp_path: Path, backend: str, executor: str
) -> None:
    """With workers, it fails unless some value went from one of them to another."""
    slug = f"tried-{backend}"
    project = bake_into(tmp_path, project_slug=slug, xcom_backend=backend, executor=executor)
    said = project.make("docker-test").stdout
    assert re.search(r"^\d+ pipelines ended well, and nothing is left\.", said, re.MULTILINE)
    images = project.run("docker", "images", "--quiet", f"{slug}-test").stdout
    assert images == "" and not (project.path / ".env").exists()


@pytest.fixture(scope="module")
def to_deploy(bake_into: Bake, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A project whose image is built."""
    made = bake_into(tmp_path_factory.mktemp("deploy"), project_slug="to-deploy", xcom_backend="db")
    made.make("install")
    return made


def test_an_image_for_deployment_has_a_name_of_its_own_and_what_packages_txt_lists(
    to_deploy: BakedProject,
) -> None:
    commit = to_deploy.commit("Before the build")
    with (to_deploy.path / "packages.txt").open("a", encoding="utf-8") as packages:
        packages.write("tree  # to look at folders\n")
    made = to_deploy.make("deploy-image", check=False)
    name = made.stdout.splitlines()[-1]
    try:
        assert re.fullmatch(rf"to-deploy:0\.1\.0-{commit[:12]}-dirty-\d{{8}}T\d{{6}}", name), made.stderr
        label = '{{index .Config.Labels "org.opencontainers.image.revision"}}'
        assert to_deploy.run("docker", "inspect", name, f"--format={label}").stdout.strip() == commit
        command = "tree --version && ls -a && ls config && id -un"
        inside = to_deploy.run("docker", "run", "--rm", name, "bash", "-c", command).stdout.split()
        assert inside[-1] == "airflow" and {"include", "plugins", "deployment.env"} <= set(inside)
        assert not {"local.env", "connections.env", ".env"} & set(inside)
    finally:
        to_deploy.run("docker", "image", "rm", "--force", name, check=False)


def test_a_push_that_fails_is_told(to_deploy: BakedProject) -> None:
    failed = to_deploy.make("deploy-image", "PUSH=127.0.0.1:1/team/name", check=False)
    try:
        assert failed.returncode and "`docker push` failed" in failed.stderr
    finally:
        listed = to_deploy.run("docker", "images", "--quiet", "127.0.0.1:1/team/name").stdout.split()
        to_deploy.run("docker", "image", "rm", "--force", *listed, check=False)
