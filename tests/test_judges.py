"""What public judges say of the template and its projects: nothing that is not answered here.

Each is a well-known tool in the version of the day that the template pins. A rule that is left out has its
reason beside it.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from projects import BACKENDS, CHOICES, TEMPLATE, Bake, BakedProject, Machine

WORKFLOWS = ".github/workflows/ci.yml"
WEEKLY = ".github/workflows/newest.yml"
TEMPLATE_UPDATES = ".github/workflows/template.yml"

# sp-repo-review (Scientific Python's guide), of projects. Its other rules hold.
NOT_OF_PROJECTS = {
    "PY004": "the documents are in packages/exclusive-xcom/docs",
    "PY007": "make is what runs its tasks",
    "PP004": "uv wants an end, up to which it finds packages for every Python; Airflow has one, too",
    "PC": "the hooks are the project's own tools in the versions of uv.lock, and need no network",
    "SEC001": "zizmor looks at the workflow here, before it is anybody's",
}


@pytest.fixture(scope="module", params=BACKENDS)
def project(request: pytest.FixtureRequest, bake: Bake) -> BakedProject:
    """A project for each backend, with a license, which a guide for published code asks for."""
    return bake(xcom_backend=request.param, license="MIT")


def pinned(text: str) -> dict[str, str]:
    """The actions of a workflow, each with its commit and the version that stands beside it."""
    uses = re.findall(r"uses: (\S+)(.*)", text)
    found = {}
    for action, comment in uses:
        match = re.fullmatch(r"(\S+)@([0-9a-f]{40})", action)
        version = re.fullmatch(r" # (v\d+\.\d+\.\d+)", comment)
        assert match and version, f"{action}{comment} is not pinned by commit, with its version beside"
        found[match[1]] = f"{match[2]} {version[1]}"
    return found


def test_zizmor(project: BakedProject, machine: Machine) -> None:
    """Actions by commit, least permissions, no credentials left behind: what its strictest reader wants."""
    places = (project.path / ".github", TEMPLATE / ".github")
    machine.tool(
        "zizmor",
        "--offline",
        "--no-progress",
        "--persona=auditor",
        "--strict-collection",
        *places,
        cwd=TEMPLATE,
    )


def test_projects_have_the_template_s_own_actions(bake: Bake) -> None:
    own = pinned((TEMPLATE / WORKFLOWS).read_text(encoding="utf-8"))
    for workflow in (WORKFLOWS, TEMPLATE_UPDATES):
        theirs = pinned(bake().read(workflow))
        both = own.keys() & theirs.keys()
        assert both and {name: theirs[name] for name in both} == {name: own[name] for name in both}


@pytest.mark.skipif(not shutil.which("actionlint"), reason="actionlint is not on this machine")
def test_actionlint(bake: Bake, machine: Machine) -> None:
    """It has no wheel; the template's own CI brings it."""
    theirs = [bake().path / name for name in (WORKFLOWS, TEMPLATE_UPDATES)]
    machine.run("actionlint", *theirs, TEMPLATE / WORKFLOWS, TEMPLATE / WEEKLY, cwd=TEMPLATE)


def test_dependabot_and_gitlab_ci_follow_their_schemas(bake: Bake, machine: Machine) -> None:
    github, gitlab = bake(ci="github"), bake(ci="gitlab")
    for schema, files in {
        "dependabot": [github.path / ".github/dependabot.yml", TEMPLATE / ".github/dependabot.yml"],
        "github-workflows": [
            github.path / WORKFLOWS,
            github.path / TEMPLATE_UPDATES,
            TEMPLATE / WORKFLOWS,
            TEMPLATE / WEEKLY,
        ],
        "renovate": [gitlab.path / "renovate.json"],
        "gitlab-ci": [gitlab.path / ".gitlab-ci.yml"],
    }.items():
        machine.tool("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files, cwd=TEMPLATE)


@pytest.mark.parametrize("python", CHOICES["python_version"])
def test_hadolint(bake: Bake, machine: Machine, python: str) -> None:
    project = bake(python_version=python)
    machine.tool("hadolint", "--failure-threshold=style", "--no-color", "Dockerfile", cwd=project.path)


def test_ruff_s_rules_for_airflow(project: BakedProject, machine: Machine) -> None:
    """All of them, also those on trial; a project's own `make lint` keeps those for Airflow 3."""
    rules = ("check", "--isolated", "--preview", "--select=AIR", "--no-cache")
    machine.tool("ruff", *rules, "dags", "src", "tests", cwd=project.path)


def test_airflow_s_judge_of_settings(bake: Bake, machine: Machine, tmp_path: Path) -> None:
    """`airflow config lint` with whatever a project sets, here or deployed. It always ends with 0."""
    texts = [
        bake(xcom_backend=backend).read(f"config/{layer}.env")
        for backend in BACKENDS
        for layer in ("airflow", "local", "deployment")
    ]
    settings = dict(re.findall(r"^(AIRFLOW__\w+)=(.*)$", "".join(texts), re.MULTILINE))
    assert len(settings) > 10
    settings["AIRFLOW_HOME"] = str(tmp_path)  # not the project's
    said = machine.tool("airflow", "config", "lint", cwd=tmp_path, **settings).stdout
    assert "No issues found" in said, said


def test_deptry(project: BakedProject, machine: Machine) -> None:
    """Nothing is imported that is not declared, or for development alone. Left out is DEP002: Airflow finds
    providers and drivers by a connection, and no import names them."""
    options = ("--ignore=DEP002", "--extend-exclude=packages", "--no-ansi")
    # Two distributions that this environment knows by other names.
    modules = "--package-module-name-map=apache-airflow=airflow,exclusive-xcom=exclusive_xcom"
    machine.tool("deptry", *options, modules, f"--known-first-party={project.package}", ".", cwd=project.path)


def test_sp_repo_review_of_projects(project: BakedProject, machine: Machine) -> None:
    assert failed(machine, project.path, NOT_OF_PROJECTS) == {}


def test_sp_repo_review_of_the_template(machine: Machine) -> None:
    """What it leaves out, and why, says pyproject.toml."""
    assert failed(machine, TEMPLATE, {}) == {}


def failed(machine: Machine, folder: Path, ignored: dict[str, str]) -> dict[str, str]:
    """The rules that a folder breaks, with what they say."""
    options = ["--format=json", *(["--ignore", ",".join(ignored)] if ignored else [])]
    said = json.loads(machine.tool("repo-review", *options, ".", cwd=folder, check=False).stdout)
    return {name: check["description"] for name, check in said["checks"].items() if check["result"] is False}
