"""A project from before packages/, with a person's work in it, comes over by the one documented command."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from projects import TEMPLATE, BakedProject, Machine, as_bytes, released_files
from updates import Render, copy_of, direct, edit, tree

pytestmark = pytest.mark.update

FORMER_TOOL = "{{cookiecutter.project_slug}}/src/{{cookiecutter.__package}}/update.py"

OWN_DAG = '''"""Mine."""

import my_pipelines.services
from airflow.sdk import dag, task
from my_pipelines import environment, settings
from my_pipelines.xcom import Handle, lazy
from my_pipelines.xcom.errors import (
    StaleXCom,
    Superseded,
)
from my_pipelines.xcom.locks import exclusive
from my_pipelines.xcom.codecs.frame_pandas import PandasCodec, NothingLikeIt
from my_pipelines.update import main

BACKEND = "my_pipelines.xcom.redis.RedisXComBackend"
'''

OWN_MODULE = """from . import settings
from .xcom.codecs._common import Payload
from .xcom import content as contents
"""

TOLD = {
    "dags/mine.py:3": "import exclusive_xcom.local.services",
    "dags/mine.py:5": "from exclusive_xcom.local import environment; from my_pipelines import settings",
    "dags/mine.py:6": "from exclusive_xcom import Handle, lazy",
    "dags/mine.py:7": "from exclusive_xcom.errors import StaleXCom, Superseded",
    "dags/mine.py:11": "from exclusive_xcom import lock  # lock was called exclusive",
    "dags/mine.py:12": "from exclusive_xcom.codecs.frame_pandas import PandasCodec"
    "  # nothing takes the place of NothingLikeIt",
    "dags/mine.py:13": "nothing takes its place",
    "dags/mine.py:15": 'BACKEND = "exclusive_xcom.redis.RedisXComBackend"',
    "deploy/values.yaml:1": "backend: exclusive_xcom.s3.S3XComBackend",
    "src/my_pipelines/mine.py:2": "from exclusive_xcom.codecs import Payload",
    "src/my_pipelines/mine.py:3": "from exclusive_xcom import content as contents",
    "src/my_pipelines/xcom/codecs/geo.py:1": "from exclusive_xcom.codecs import Payload",
}


@pytest.fixture(scope="module")
def template(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of this repository, whose head is the working tree as it is now."""
    if not (TEMPLATE / ".git").exists():
        pytest.skip("needs the repository's history: this is an archive")
    clone = tmp_path_factory.mktemp("clone") / "the template"
    machine.git(clone.parent, "clone", "--quiet", f"file://{TEMPLATE}", str(clone))
    machine.git(clone, "rm", "--quiet", "-r", ".")
    for name in released_files(machine):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TEMPLATE / name, clone / name, follow_symlinks=False)
    machine.run(sys.executable, clone / "tools/digests.py", cwd=clone)
    machine.git(clone, "add", "--all", "--force")
    machine.git(clone, "commit", "--quiet", "--allow-empty", "--message", "The working tree")
    return clone


@pytest.fixture(scope="module")
def former(template: Path, machine: Machine, render: Render) -> BakedProject:
    """A project of the last commit whose projects had the tool in their own package. Not to be changed."""
    options = ["--max-count=1", "--diff-filter=D", "--no-renames", "--format=%H", "HEAD", "--", FORMER_TOOL]
    moved_by = machine.git(template, "log", *options)
    if not moved_by or machine.git(template, "rev-parse", "--is-shallow-repository") == "true":
        pytest.skip("needs the repository's whole history: this is a shallow clone")
    made = render(machine.git(template, "rev-parse", f"{moved_by}^"), template, xcom_backend="redis")
    made.commit("As generated")
    return made


@pytest.fixture
def project(former: BakedProject, tmp_path: Path) -> BakedProject:
    """The same in a folder of its own, with a blank in its path."""
    return copy_of(former, tmp_path / "a folder" / former.path.name)


def work_in(project: BakedProject) -> dict[str, bytes]:
    """Do a person's work, and commit it. Returns the files that are all their own."""
    own = {
        "dags/mine.py": OWN_DAG,
        "data/mine.csv": "a,b\n",
        "deploy/values.yaml": "backend: my_pipelines.xcom.s3.S3XComBackend\n",
        "src/my_pipelines/mine.py": OWN_MODULE,
        "src/my_pipelines/xcom/codecs/geo.py": "from ._common import Payload\n",
    }
    for name, text in own.items():
        (project.path / name).parent.mkdir(exist_ok=True)
        (project.path / name).write_text(text, encoding="utf-8")
    for name in ("settings.py", "environment.py", "xcom/codecs/arrow.py"):
        path = project.path / "src/my_pipelines" / name
        path.write_text(path.read_text(encoding="utf-8") + "\n\nMINE = 1\n", encoding="utf-8")
    edit(project.path, "config/airflow.env", "CORE__LOAD_EXAMPLES=False", "CORE__LOAD_EXAMPLES=True")
    project.commit("My own work")
    return {name: text.encode() for name, text in own.items()}


def test_nothing_of_a_persons_work_is_lost(
    project: BakedProject, template: Path, render: Render, machine: Machine
) -> None:
    own = work_in(project)
    before = tree(project.path)
    assert "This was a dry run" in direct(project, template, "update", "--dry-run")
    assert tree(project.path) == before
    said = direct(project, template, "update", code=2)

    after = tree(project.path)
    assert {name: after[name] for name in own} == own
    left = said.partition("Left behind")[2].partition("\n\n")[0]
    for name in ("src/my_pipelines/environment.py", "src/my_pipelines/xcom/codecs/arrow.py"):
        assert f"    {name}\n" in f"{left}\n"
        assert after[name] == before[name], "left as it was edited, for a person to decide"
    assert b"MINE = 1" in after["src/my_pipelines/settings.py"]
    assert b"CORE__LOAD_EXAMPLES=True" in after["config/airflow.env"]

    fresh = render(machine.git(template, "rev-parse", "HEAD"), template, xcom_backend="redis")
    theirs = {name: content for name, content in tree(fresh.path).items() if name.startswith("packages/")}
    assert {name: content for name, content in after.items() if name.startswith("packages/")} == theirs
    done = project.run(sys.executable, "-I", "packages/verify.py", check=False)
    assert (done.returncode, done.stdout) == (0, "")
    link = json.loads(project.read(".cruft.json"))
    assert link["commit"] == machine.git(template, "rev-parse", "HEAD")
    assert told_lines(said) >= TOLD.items()


def told_lines(said: str) -> set[tuple[str, str]]:
    """Where a line of a person's names what moved, and what is proposed."""
    lines = said.partition("Change these lines of yours:")[2].partition("\n\n")[0].splitlines()[1:]
    where = [":".join(line.strip().split(":")[:2]) for line in lines[::2]]
    return set(zip(where, [line.strip().removeprefix("instead: ") for line in lines[1::2]], strict=True))


def test_a_project_that_nobody_edited_becomes_a_new_one(
    project: BakedProject, template: Path, render: Render, machine: Machine
) -> None:
    said = direct(project, template, "update")
    for word in ("Conflicts", "Left behind", "Modules that moved", "You edited"):
        assert word not in said
    # It was asked for a license when another one was the default.
    answers = {"xcom_backend": "redis", "license": "Apache-2.0"}
    fresh = render(machine.git(template, "rev-parse", "HEAD"), template, **answers)
    found, wanted = ({**tree(made.path), ".cruft.json": b""} for made in (project, fresh))
    assert found == wanted
    project.commit("Updated")
    done = project.run(sys.executable, "-I", "packages/update.py", "update", check=False)
    assert "Nothing to do" in done.stdout, done.stdout + done.stderr


def test_own_files_in_a_folder_packages_are_kept_as_a_patch(project: BakedProject, template: Path) -> None:
    """The folder was nobody's before; the template takes it whole."""
    (project.path / "packages/mine").mkdir(parents=True)
    (project.path / "packages/mine/__init__.py").write_text("MINE = 1\n", encoding="utf-8")
    project.commit("A package of mine")
    said = direct(project, template, "update")
    assert "    packages/mine/__init__.py  (added)\n" in said
    (patch,) = project.path.parent.glob("*.patch")
    assert b"+MINE = 1" in as_bytes(patch)
