"""A project from this repository's past, with a person's work in it, becomes what is made now."""

from __future__ import annotations

import difflib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from projects import QUESTIONS, TEMPLATE, BakedProject, Machine, released_files
from updates import Render, direct, tree

pytestmark = [pytest.mark.update, pytest.mark.slow]

OWN_DAG = '''"""Mine: how many orders there are."""

from datetime import datetime, timedelta

from airflow.sdk import dag, task


@dag(
    schedule=None,
    catchup=False,
    start_date=datetime(2026, 1, 1),
    tags=["mine"],
    default_args={"owner": "me", "retries": 1, "retry_delay": timedelta(seconds=10)},
)
def mine():
    """Counts lines."""

    @task
    def count():
        return 1

    count()


mine()
'''


@dataclass(frozen=True)
class History:
    """This repository in a clone of its own, whose head is the working tree as it is now."""

    template: Path
    machine: Machine
    render: Render

    def git(self, *arguments: str) -> str:
        """What git answers in it."""
        return self.machine.git(self.template, *arguments)

    @property
    def head(self) -> str:
        """The commit of the working tree."""
        return self.git("rev-parse", "HEAD")

    def bake(self, commit: str) -> BakedProject | None:
        """A project of that commit, or None if the commit cannot be baked."""
        asked = self.machine.run(
            "git", "cat-file", "-e", f"{commit}:cookiecutter.json", cwd=self.template, check=False
        )
        if asked.returncode:
            return None
        try:
            return self.render(commit, self.template)
        except pytest.fail.Exception:
            return None

    def now(self, project: BakedProject) -> BakedProject:
        """What the working tree makes of a project's answers, which are those of its time."""
        given = json.loads(project.read(".cruft.json"))["context"]["cookiecutter"]
        answers = {name: value for name, value in given.items() if name in QUESTIONS and name[0] != "_"}
        return self.render(self.head, self.template, **answers)

    def first_that_bakes(self) -> BakedProject:
        """A project of the oldest commit that can be baked."""
        for commit in self.git("rev-list", "--reverse", "HEAD").split():
            project = self.bake(commit)
            if project is not None:
                return project
        pytest.fail("No commit of this repository can be baked.")

    def last_without(self, folder: str) -> BakedProject:
        """A project of the last commit before projects had this folder."""
        inside = f":(literal){{{{cookiecutter.project_slug}}}}/{folder}"
        first = self.git("rev-list", "--reverse", "HEAD", "--", inside).split()[0]
        project = self.bake(f"{first}^")
        assert project is not None
        return project


@pytest.fixture(scope="module")
def history(machine: Machine, render: Render, tmp_path_factory: pytest.TempPathFactory) -> History:
    """The whole history, and on top of it what is not committed yet."""
    if (
        not (TEMPLATE / ".git").exists()
        or machine.git(TEMPLATE, "rev-parse", "--is-shallow-repository") == "true"
    ):
        pytest.skip("needs the repository's whole history: this is an archive or a shallow clone")
    clone = tmp_path_factory.mktemp("history") / "cookiecutter-airflow-xcom"
    machine.git(clone.parent, "clone", "--quiet", str(TEMPLATE), str(clone))
    machine.git(clone, "rm", "--quiet", "-r", ".")
    for name in released_files(machine):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TEMPLATE / name, clone / name, follow_symlinks=False)
    machine.git(clone, "add", "--all", "--force")
    machine.git(clone, "commit", "--quiet", "--allow-empty", "--message", "The working tree")
    return History(clone, machine, render)


def quiet_place(before: list[str], after: list[str]) -> tuple[int, int] | None:
    """An empty line amid seven that both texts have in a row, counted from 0 in each; or None."""
    for block in difflib.SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks():
        for offset in range(3, block.size - 3):
            if not before[block.a + offset].strip():
                return block.a + offset, block.b + offset
    return None


def edit_beside(project: BakedProject, fresh: BakedProject) -> dict[str, str]:
    """Put a comment into a project's own files, away from what changed since.

    Returns:
        What these files must be after the update.
    """
    expected = {}
    new = tree(fresh.path)
    rooms = ("src/**/*.py", "dags/*.py", "config/*.env", "Makefile", "pyproject.toml", "docker-compose.yaml")
    for path in sorted(path for room in rooms for path in project.path.glob(room)):
        name = path.relative_to(project.path).as_posix()
        if name not in new:
            continue
        before, after = (found.read(name).splitlines(keepends=True) for found in (project, fresh))
        place = quiet_place(before, after)
        if place is not None:
            before.insert(place[0], "# Mine\n")
            after.insert(place[1], "# Mine\n")
            path.write_text("".join(before), encoding="utf-8")
            expected[name] = "".join(after)
    return expected


def work_in(project: BakedProject, fresh: BakedProject) -> dict[str, str]:
    """Do a person's work: a DAG, a secret, edits. Returns these files as they must be after the update."""
    project.commit("As generated")
    (project.path / "dags").mkdir(exist_ok=True)
    (project.path / "dags/mine.py").write_text(OWN_DAG, encoding="utf-8")
    expected = edit_beside(project, fresh)
    project.commit("My own work")
    (project.path / ".env").write_text("PASSWORD=mine\n", encoding="utf-8")
    (project.path / ".git/info/exclude").write_text(".env\n", encoding="utf-8")
    return {**expected, "dags/mine.py": OWN_DAG, ".env": "PASSWORD=mine\n"}


def check(project: BakedProject, fresh: BakedProject, expected: dict[str, str], head: str) -> None:
    """The project is a fresh one with the person's work in it, and its own tests pass."""
    found, wanted = tree(project.path), tree(fresh.path)
    assert json.loads(found.pop(".cruft.json"))["commit"] == head
    wanted.pop(".cruft.json")
    wanted |= {name: text.encode() for name, text in expected.items()}
    assert found == wanted
    project.commit("Updated")
    project.make("test", timeout=3600)


def test_a_project_of_the_first_commit(history: History) -> None:
    project = history.first_that_bakes()
    fresh = history.now(project)
    expected = work_in(project, fresh)
    direct(project, history.template, "update")  # such a project may be older than its own `make update`
    check(project, fresh, expected, history.head)


def test_a_project_from_before_the_engine_was_a_package(history: History) -> None:
    project = history.last_without("packages")
    fresh = history.now(project)
    expected = work_in(project, fresh)
    assert len(expected) > 10, "hardly anything generated was edited, so the test would show little"
    direct(project, history.template, "update")
    check(project, fresh, expected, history.head)


def test_a_project_of_every_release(history: History) -> None:
    """By the `make update` of that release, as its users will do it; before the first, of the last commit."""
    tags = history.git("tag", "--list", "v*.*.*", "--sort=version:refname").split()
    for tag in tags or [history.git("rev-parse", "HEAD^")]:
        project = history.bake(tag)
        assert project is not None, f"{tag} cannot be baked"
        fresh = history.now(project)
        expected = work_in(project, fresh)
        project.make("update", f"VERSION={history.head}")
        check(project, fresh, expected, history.head)
