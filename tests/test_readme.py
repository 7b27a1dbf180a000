"""What a project tells its owner: short enough to be read, true of the project, and its examples work."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from projects import BACKENDS, TEMPLATE, Bake, BakedProject

WORDS = 1200
DOCS = "packages/exclusive-xcom/docs"
# What an owner makes while reading, and what is born after baking.
TO_COME = {
    "dags/sales.py",
    "tests/test_sales.py",
    "src/my_pipelines/networks.py",
    "output/",
    ".airflow/",
    ".airflow/logs/run/",
    ".airflow/logs/up/",
    ".venv/",
}


@pytest.fixture(scope="module", params=BACKENDS)
def project(request: pytest.FixtureRequest, bake: Bake) -> BakedProject:
    """A project for each backend."""
    return bake(xcom_backend=request.param)


def blocks(text: str, language: str = "python") -> list[str]:
    """The blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_it_is_read_to_its_end(project: BakedProject) -> None:
    assert len(project.read("README.md").split()) <= WORDS


def test_its_links_lead_somewhere(project: BakedProject) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", project.read("README.md")):
        if "://" in link:
            continue
        target, _, part = link.partition("#")
        titles = re.findall(r"^#+ (.+)$", project.read(target), re.MULTILINE)
        assert not part or part in {title.lower().replace(" ", "-") for title in titles}, link


def test_the_commands_that_it_names_are_there(project: BakedProject) -> None:
    targets = set(re.findall(r"^([\w.-]+):", project.read("Makefile"), re.MULTILINE))
    said = re.findall(r"(?:^ {4}|`)make ((?:[a-z.-]+ ?)+)", project.read("README.md"), re.MULTILINE)
    named = {name for words in said for name in words.split()}
    assert len(named) > 8
    assert named <= targets


def test_the_files_that_it_names_are_there(project: BakedProject) -> None:
    prose = re.sub(r"^```.*?^```$", "", project.read("README.md"), flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`([\w.-]+(?:/[\w.-]*)+)`", prose)) - TO_COME
    assert len(named) > 8
    for name in named:
        assert (project.path / name).exists(), name


def test_what_it_says_of_a_backend_is_of_its_own(project: BakedProject) -> None:
    chapters = set(re.findall(rf"\({DOCS}/(db|s3|redis)\.md\)", project.read("README.md")))
    assert chapters == {project.answers["xcom_backend"]}


def test_its_settings_have_the_defaults_of_the_chapter(project: BakedProject) -> None:
    """config/airflow.env shows every option that one may want to set, with what counts if it is not set."""
    rows = re.findall(
        r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \|", project.read(f"{DOCS}/settings.md"), re.MULTILINE
    )
    column = BACKENDS.index(project.answers["xcom_backend"])
    defaults = {name: cells[column].strip("`") for name, *cells in rows}
    shown = re.findall(r"^# AIRFLOW__XCOM__(\w+)=(.*)$", project.read("config/airflow.env"), re.MULTILINE)
    assert len(shown) > 5
    for name, value in shown:
        if name != "CODECS":  # an example
            assert defaults[name.lower()] == (value or "not set"), name


def test_the_rights_that_its_policy_grants_are_those_of_the_chapter(bake: Bake) -> None:
    project = bake(xcom_backend="s3")
    policy = json.loads(project.read("config/aws-iam-policy.json"))
    granted = {
        action
        for statement in policy["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    (told,) = re.findall(r"^\*\*Rights\.\*\*(.*?)^$", project.read(f"{DOCS}/s3.md"), re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(s3:\w+)`", told)) == granted


# -- the examples -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reader(bake_into: Bake) -> BakedProject:
    """A project whose owner typed every example of the README and of the chapters about tests."""
    folder = TEMPLATE / "build" / "test" / "readme"
    shutil.rmtree(folder, ignore_errors=True)
    project = bake_into(folder, xcom_backend="db")
    project.commit("As baked")
    project.uv("sync")
    pipeline, setting, test, codec = blocks(project.read("README.md"))
    write(project, "dags/sales.py", pipeline)
    settings = f"src/{project.package}/settings.py"
    write(project, settings, f"{project.read(settings)}\n\n{setting}")
    project.uv("run", "--no-sync", "xcom", "variables")
    write(project, "tests/test_sales.py", test)
    write(project, f"src/{project.package}/networks.py", codec)
    (named,) = re.findall(r"`(AIRFLOW__XCOM__CODECS=\S+)`", project.read("README.md"))
    write(project, "config/airflow.env", f"{project.read('config/airflow.env')}{named}\n")
    contract = blocks(project.read(f"{DOCS}/codecs.md"))[-1].replace("<package>", project.package)
    write(project, "tests/test_networks.py", contract + TRAVELS)
    fixtures, _, exactly, store = blocks(project.read(f"{DOCS}/testing.md"))
    assert fixtures.strip() in project.read("tests/conftest.py")
    write(project, "tests/test_values.py", exactly)
    write(project, "tests/test_store.py", store)
    return project


TRAVELS = """

def test_it_travels(round_trip):
    value = [ip_network("10.0.0.0/8")]
    assert round_trip(value) == value
"""


def write(project: BakedProject, name: str, text: str) -> None:
    """A file of the project."""
    (project.path / name).write_text(text, encoding="utf-8")


@pytest.mark.installed
def test_the_examples_of_tests_pass(reader: BakedProject) -> None:
    files = [f"tests/test_{name}.py" for name in ("sales", "networks", "values", "store", "settings", "dags")]
    done = reader.uv("run", "--no-sync", "pytest", "-q", *files)
    assert not re.search(r"\d+ (failed|error)", done.stdout)


@pytest.mark.installed
def test_the_example_of_a_pipeline_runs(reader: BakedProject) -> None:
    done = reader.make("run", "ONLY=sales", COLUMNS="200")
    assert re.search(
        r"^sales +load +return_value +pandas DataFrame, 3 rows × 2 columns", done.stdout, re.MULTILINE
    )


@pytest.mark.installed
def test_the_examples_are_clean(reader: BakedProject) -> None:
    reader.make("lint")


@pytest.mark.installed
def test_the_package_may_come_from_elsewhere(reader: BakedProject, tmp_path: Path) -> None:
    """As the package's README says: one wheel for all projects, and the folder is gone."""
    project = BakedProject(tmp_path / reader.path.name, reader.answers, reader.machine)
    shutil.copytree(reader.path, project.path, ignore=shutil.ignore_patterns(".venv", ".airflow", ".git"))
    project.uv("build", "--quiet", "--wheel", "packages/exclusive-xcom")
    (wheel,) = (project.path / "dist").glob("exclusive_xcom-*.whl")
    (source,) = blocks(project.read("packages/exclusive-xcom/README.md").replace("\n   ", "\n"), "toml")
    told = project.read("pyproject.toml")
    ours = re.search(r"^\[tool\.uv\.workspace\]\n.*?(?=^\[tool\.ruff\])", told, re.MULTILINE | re.DOTALL)
    assert ours
    source = re.sub(r'url = "https://[^"]+"', f"path = {json.dumps(str(wheel))}", source)
    write(project, "pyproject.toml", told.replace(ours.group(), f"{source}\n"))
    shutil.rmtree(project.path / "packages" / "exclusive-xcom")
    project.uv("sync", "--quiet")
    project.uv("run", "--no-sync", "python", "packages/verify.py")
    assert "row limit" in project.uv("run", "--no-sync", "xcom", "probe").stdout
