"""A company's fork of the template, and a template that has moved: projects follow."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from projects import BakedProject, Machine
from updates import FIRST, INSIDE, PLAN, SECOND, THIRD, Render, edit, link, relink, update

pytestmark = pytest.mark.update


@dataclass(frozen=True)
class Fork:
    """A company's fork: a working copy, and the server that its projects know."""

    path: Path
    address: str
    machine: Machine

    def git(self, *arguments: str) -> str:
        """What git answers in the working copy."""
        return self.machine.git(self.path, *arguments)

    def publish(self, tag: str = "") -> None:
        """Push its branch and all tags, with a new one."""
        if tag:
            self.git("tag", tag)
        self.git("push", "--quiet", "company", "main", "--tags")


@pytest.fixture
def served(tmp_path: Path, machine: Machine) -> Iterator[str]:
    """A git server for repositories below a folder: its address. They are pushed to by path."""
    root = tmp_path / "served"
    root.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["git", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}"]
    process = subprocess.Popen(
        [*command, f"--base-path={root}", "--verbose", str(root)],
        env=machine.environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    said = process.stderr.readline()
    if "Ready to rumble" not in said:
        process.wait()
        pytest.skip(f"there is no git daemon here: {said}")
    yield f"git://127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGTERM)
    process.wait()
    process.stderr.close()


@pytest.fixture
def fork(served: str, small_releases: Path, machine: Machine, tmp_path: Path) -> Fork:
    """A fork of the first release, with a change of the company's, released as v0.1.0.1."""
    bare = tmp_path / "served" / "template.git"
    machine.git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    work = tmp_path / "fork"
    machine.git(tmp_path, "clone", "--quiet", "--origin", "upstream", str(small_releases), str(work))
    made = Fork(work, f"{served}/template.git", machine)
    made.git("remote", "add", "company", str(bare))
    made.git("reset", "--quiet", "--hard", FIRST)
    (work / INSIDE / "company.txt").write_text("Ours\n", encoding="utf-8")
    edit(work / INSIDE, "plan.txt", PLAN[34], "35. As our company does it\n")
    made.git("add", "--all")
    made.git("commit", "--quiet", "--message", "What our company wants")
    made.publish("v0.1.0.1")
    return made


def test_projects_follow_the_fork_and_the_fork_the_template(fork: Fork, render: Render) -> None:
    """The template's own newer releases are among the fork's tags, and are not taken by mistake."""
    project = render("v0.1.0.1", fork.address)
    edit(project.path, "handbook/plan.txt", PLAN[30], "31. Mine\n")
    project.commit("As generated, and edited")
    assert "v0.1.0.1 already. Nothing to do" in update(project)

    fork.git("merge", "--quiet", "--no-edit", SECOND)
    fork.publish()
    assert "v0.1.0.1 already. Nothing to do" in update(project), "merged, and not released by the fork"
    fork.publish("v0.2.0.1")
    assert "Rendering v0.1.0.1, and v0.2.0.1" in update(project)
    plan = project.read("handbook/plan.txt")
    for line in ("10. Do it now\n", "31. Mine\n", "35. As our company does it\n"):
        assert line in plan
    assert project.read("handbook/company.txt") == "Ours\n"
    assert (link(project)["checkout"], link(project)["template"]) == ("v0.2.0.1", fork.address)
    project.commit("Second")

    fork.git("merge", "--quiet", "--no-edit", THIRD)
    fork.publish("v0.3.0.1")
    update(project)
    plan = project.read("handbook/plan.txt")
    for line in ("20. Do it again\n", "31. Mine\n", "35. As our company does it\n"):
        assert line in plan
    project.commit("Third")
    said = update(project, "--version", THIRD, "--dry-run")
    assert f"{THIRD} does not come after v0.3.0.1, and takes out again what only that has." in said
    assert "handbook/company.txt  (removed)" in said


def test_a_project_of_the_template_comes_over_to_the_fork(fork: Fork, small: BakedProject) -> None:
    relink(small, template=fork.address)
    update(small)
    assert small.read("handbook/company.txt") == "Ours\n"
    assert link(small)["checkout"] == "v0.1.0.1"


def test_a_template_that_was_elsewhere_before(
    small: BakedProject, our_small_releases: Path, machine: Machine, tmp_path: Path
) -> None:
    """And came to its new place without its history: several former places are asked."""
    moved = tmp_path / "moved"
    machine.git(tmp_path, "clone", "--quiet", str(our_small_releases), str(moved))
    shutil.rmtree(moved / ".git")
    machine.git(moved, "init", "--quiet")
    machine.git(moved, "add", "--all", "--force")
    machine.git(moved, "commit", "--quiet", "--message", "Imported")
    machine.git(moved, "tag", THIRD)
    relink(small, template=str(moved))
    said = update(small, code=1)
    assert '"formerly": ["ADDRESS"]' in said
    relink(small, formerly=None)
    assert '"formerly": ["ADDRESS"]' in update(small, code=1)
    relink(small, formerly=str(our_small_releases))  # a person may forget the list
    update(small, "--dry-run")
    places = [str(tmp_path / "gone"), str(our_small_releases)]
    relink(small, formerly=places)
    update(small)
    assert "20. Do it again\n" in small.read("handbook/plan.txt")
    assert json.loads(small.read(".cruft.json"))["formerly"] == places
    small.commit("Updated")
    machine.tool("cruft", "check", cwd=small.path)
    machine.tool("cruft", "diff", "--exit-code", cwd=small.path)
