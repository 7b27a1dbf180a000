"""The examples leave as easily as they came: all by `make start-clean`, or any one by hand."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflows import free_port
from projects import Bake, BakedProject

pytestmark = pytest.mark.installed

# Each example, and what lies in data/ for it alone. With Redis there are all.
EXAMPLES = {
    "meter_readings": ["meter_readings.csv"],
    "orders": [],
    "pictures": ["pictures"],
    "price_list": ["price_list.csv"],
    "sensor_archive": [],
    "shared_report": [],
    "time_zones": ["zone.tab", "iso3166.tab"],
    "web_logs": ["web_requests.jsonl.gz"],
}
# What is no example.
STAY = {"first_pipeline.py", "housekeeping.py"}

TWO_RUNS_AT_ONCE = '''
import json, os, subprocess, sys

RUN = """
import sys
from datetime import UTC, datetime
from airflow.dag_processing.dagbag import DagBag
print("ready", flush=True)
sys.stdin.readline()
done = DagBag("dags").dags["shared_report"].test(run_after=(now := datetime.now(UTC)), logical_date=now)
assert {task.state for task in done.get_task_instances()} == {"success"}
"""


def test_two_runs_at_once_lose_nothing(airflow, tmp_path):
    runs = []
    for number in range(2):
        environment = {**os.environ, "AIRFLOW_VAR_OUTPUT_FOLDER": str(tmp_path / str(number))}
        with (tmp_path / f"{number}.log").open("wb") as log:
            options = {"env": environment, "stdin": subprocess.PIPE, "stdout": log, "stderr": log}
            runs.append(subprocess.Popen([sys.executable, "-c", RUN], **options))
    for run in runs:
        run.communicate(b"\\n")
    said = "\\n".join((tmp_path / f"{number}.log").read_text() for number in range(2))
    assert [run.returncode for run in runs] == [0, 0], said
    reports = [json.loads(path.read_text()) for path in tmp_path.glob("*/shared_report/report.json")]
    lines = max(reports, key=len)
    months = sorted(line["month"] for line in lines)
    assert months == sorted(2 * [f"2024-{month:02}" for month in range(1, 13)])
    assert len({line["run"] for line in lines}) == 2
    fences = [line["fence"] for line in lines]
    assert fences == sorted(set(fences))
'''


@pytest.fixture(scope="module")
def baked(bake_into: Bake, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A project with every example, installed and committed."""
    project = bake_into(tmp_path_factory.mktemp("examples"), xcom_backend="redis")
    project.uv("sync", "--quiet")
    project.commit("As baked")
    return project


@pytest.fixture
def project(baked: BakedProject) -> Iterator[BakedProject]:
    """The same, for a test to change."""
    yield baked
    baked.git("reset", "--quiet", "--hard")
    baked.git("clean", "--quiet", "-fd")


def names(project: BakedProject, folder: str) -> set[str]:
    """What a folder holds."""
    return {path.name for path in (project.path / folder).iterdir() if path.name != "__pycache__"}


def test_the_examples_are_those_named_here(project: BakedProject) -> None:
    assert names(project, "dags") == {*STAY, *(f"{name}.py" for name in EXAMPLES)}


def test_start_clean_leaves_one_small_pipeline_with_its_test_and_all_is_green(project: BakedProject) -> None:
    said = project.make("start-clean").stdout
    for name in EXAMPLES:
        assert f"dags/{name}.py" in said and f"tests/test_{name}.py" in said
    assert names(project, "dags") == STAY
    assert names(project, "data") == {"README.md"}
    own = ["conftest", "test_dags", "test_first_pipeline", "test_settings", "test_xcoms"]
    assert names(project, "tests") == {f"{name}.py" for name in own}
    settings = ["config/local.env", "config/deployment.env"]
    for path in [*settings, "config/variables.json", "data/README.md"]:
        assert not re.search("|".join(EXAMPLES), project.read(path)), path
    for module in (project.path / "src").rglob("*.py"):
        assert not re.search("|".join(EXAMPLES), module.read_text(encoding="utf-8")), module
    project.make("lint")
    project.make("test")
    assert "1 of 1 pipelines succeeded" in project.make("run").stdout
    project.commit("Without examples")
    assert "There is no example here" in project.make("start-clean").stdout
    project.git("reset", "--quiet", "--hard", "HEAD~1")


def test_start_clean_leaves_what_is_no_example_any_more(project: BakedProject) -> None:
    orders = project.path / "dags" / "orders.py"
    orders.write_text(
        orders.read_text(encoding="utf-8").replace('"template-example", ', ""), encoding="utf-8"
    )
    project.commit("Ours now")
    project.make("start-clean")
    assert names(project, "dags") == {*STAY, "orders.py"}
    assert names(project, "data") == {"README.md", "shop.db"}
    assert {"test_orders.py", "test_xcoms.py"} <= names(project, "tests")
    assert "orders_since" in project.read("config/variables.json")
    assert "PROJECT_SQLITE" in project.read("config/local.env")
    assert "`shop.db`" in project.read("data/README.md")
    assert "pictures" not in project.read("data/README.md")
    project.uv("run", "ruff", "check")
    project.git("reset", "--quiet", "--hard", "HEAD~1")


@pytest.mark.parametrize("change", ["edited", "new", "no git"])
def test_start_clean_is_refused_when_git_could_not_undo_it(
    project: BakedProject, change: str, tmp_path: Path
) -> None:
    if change == "edited":
        text = project.read("dags/orders.py")
        (project.path / "dags" / "orders.py").write_text(f"{text}# mine\n", encoding="utf-8")
    elif change == "new":
        text = project.read("dags/orders.py")
        (project.path / "dags" / "sales.py").write_text(text.replace("orders", "sales"), encoding="utf-8")
    else:
        (project.path / ".git").rename(tmp_path / "git")
    before = project.files()
    done = project.uv("run", "xcom", "start-clean", check=False)
    if change == "no git":
        (tmp_path / "git").rename(project.path / ".git")
    reason = "git does not keep this project" if change == "no git" else "Commit your changes first"
    assert done.returncode == 2
    assert reason in done.stderr
    assert {"edited": "dags/orders.py", "new": "sales.py", "no git": "git init"}[change] in done.stderr
    for name in (name for name in before if name.startswith(("dags/", "tests/", "data/", "src/", "config/"))):
        assert (project.path / name).exists(), name


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_any_example_can_be_deleted_by_hand(project: BakedProject, name: str) -> None:
    gone = [f"dags/{name}.py", f"tests/test_{name}.py", *(f"data/{path}" for path in EXAMPLES[name])]
    project.git("rm", "--quiet", "-r", *gone)
    for path in (project.path / "src" / project.package).glob("*.py"):
        text = path.read_text(encoding="utf-8")
        own = rf'^(@.*\n)?class \w+\(?.*\)?:\n    """For dags/{name}\.py.*\n(?:(?:    .*)?\n)*'
        path.write_text(re.sub(own, "\n\n", text, flags=re.MULTILINE), encoding="utf-8")
    project.make("format")  # and with it the imports that nothing needs any more
    project.make("variables")
    assert f"{name}_" not in project.read("config/variables.json")
    project.uv("run", "ruff", "check")
    project.uv("run", "mypy")
    project.uv("run", "pytest", "--quiet", "--collect-only")
    project.uv("run", "pytest", "--quiet", "-x", "tests/test_settings.py", "tests/test_dags.py")


@pytest.mark.slow
def test_two_runs_of_the_lease_s_pipeline_at_once_lose_nothing(project: BakedProject) -> None:
    (project.path / "tests" / "test_two_runs.py").write_text(TWO_RUNS_AT_ONCE.lstrip(), encoding="utf-8")
    project.uv("run", "pytest", "--quiet", "tests/test_two_runs.py")


@pytest.mark.slow
@pytest.mark.parametrize("only", ["orders or price_list or shared_report", ""])
def test_tasks_may_run_on_machines_of_their_own(project: BakedProject, only: str) -> None:
    """Those that would break first; and, as it takes longer, all."""
    shutil.copy(Path(__file__).with_name("machines.py"), project.path / "tests" / "test_machines.py")
    settings = {
        "EXECUTION_PORT": str(free_port()),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",  # seconds until the end of a task is seen
    }
    project.uv("run", "pytest", "--quiet", "tests/test_machines.py", "-k", only, **settings)
