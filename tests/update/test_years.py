"""Years of one project: releases, edits by hand, changed answers, a killed update, a fork."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from projects import BakedProject, Machine
from updates import FIRST, INSIDE, PLAN, SECOND, Render, edit, link, release, relink, switch, tree, update

pytestmark = [pytest.mark.update, pytest.mark.slow]

OWN_DAG = '"""Mine."""\n'


def later_releases(machine: Machine, template: Path) -> None:
    """Two more after the three: one that collides with what the person does, and one that does not."""
    inside = template / INSIDE
    edit(inside, "plan.txt", PLAN[30], "31. As the template has it now\n")
    edit(inside, "plan.txt", PLAN[22], "23. In the fourth release\n")
    (inside / "seal.bin").write_bytes(b"\0" * 2048)
    release(machine, template, "v0.4.0")
    edit(inside, "plan.txt", PLAN[14], "15. In the fifth release\n")
    (inside / "fifth.txt").write_text("New in the fifth release\n", encoding="utf-8")
    release(machine, template, "v0.5.0")


def note(said: str) -> None:
    """Show what a person saw, for whoever runs this with `pytest -s`."""
    print(re.sub(r"(?m)^(Fetching|Running|Rendering).*\n", "", said)[:1500], "-" * 40, sep="\n")


def test_years(our_releases: Path, render: Render, machine: Machine, tmp_path: Path) -> None:
    later_releases(machine, our_releases)
    project = BakedProject(render(FIRST, our_releases).path, {}, machine)

    # The first year: a pipeline, edits, a file of the template moved, examples removed.
    (project.path / "dags/mine.py").write_text(OWN_DAG, encoding="utf-8")
    edit(project.path, "config/airflow.env", "CORE__LOAD_EXAMPLES=False", "CORE__LOAD_EXAMPLES=True")
    edit(project.path, "handbook/plan.txt", PLAN[30], "31. Mine\n")
    project.commit("As generated, and a pipeline")
    note(update(project, "--version", SECOND))
    project.commit("Second")
    (project.path / "docs").mkdir()
    project.git("mv", "handbook/plan.txt", "docs/plan.txt")
    project.git("rm", "--quiet", "dags/orders.py", "tests/test_orders.py", "handbook/start.sh")
    project.commit("Our own order")
    note(switch(project, "--", "BACKEND=s3"))
    project.commit("On s3")
    note(update(project, "--version", "v0.3.0"))
    assert "20. Do it again\n" in project.read("docs/plan.txt")
    project.commit("Third")

    # The second: a link, a conflict, which is named until it is put right; other answers.
    (tmp_path / "shared.bin").write_bytes(b"Everybody's")
    (project.path / "handbook/seal.bin").unlink()
    (project.path / "handbook/seal.bin").symlink_to(tmp_path / "shared.bin")
    project.commit("The seal is shared")
    said = update(project, "--version", "v0.4.0", code=2)
    note(said)
    assert "    docs/plan.txt\n" in said.partition("Conflicts")[2]
    assert "handbook/seal.bin  (a link now)" in said
    said = update(project, code=1)
    note(said)
    assert "still open from the last merge:\n    docs/plan.txt\n" in said
    mended = re.sub(r"(?s)<<<<<<< .*?=======\n.*?>>>>>>> .*?\n", "31. Mine\n", project.read("docs/plan.txt"))
    (project.path / "docs/plan.txt").write_text(mended, encoding="utf-8")
    project.commit("Fourth")
    note(switch(project, "--", "CI=gitlab", "PYTHON=3.12", "LICENSE=MIT"))
    project.commit("Other answers")

    # The third: an update that is killed, the engine from an index, and a company's fork.
    (project.path / ".git/template-update").write_text(project.git("rev-parse", "HEAD"), encoding="utf-8")
    (project.path / "handbook/fifth.txt").write_text("Half of it", encoding="utf-8")
    said = update(project, "--version", "v0.5.0")
    note(said)
    assert "The last update was cut short" in said
    project.commit("Fifth")
    note(switch(project, "--", "ENGINE=installed"))
    project.commit("The engine from an index")
    fork = tmp_path / "fork"
    machine.git(tmp_path, "clone", "--quiet", str(our_releases), str(fork))
    (fork / INSIDE / "company.txt").write_text("Ours\n", encoding="utf-8")
    release(machine, fork, "v0.5.0.1")
    relink(project, template=str(fork))
    note(update(project))
    project.commit("Our company's")
    edit(our_releases / INSIDE, "plan.txt", PLAN[26], "27. In the sixth release\n")
    release(machine, our_releases, "v0.6.0")
    machine.git(fork, "fetch", "--quiet", "--tags")
    note(update(project))
    machine.git(fork, "merge", "--quiet", "--no-edit", "--strategy-option=theirs", "v0.6.0")
    release(machine, fork, "v0.6.0.1")
    note(update(project))
    project.commit("Sixth")
    note(switch(project, "--", "ENGINE=vendored", "BACKEND=db", "EXAMPLES=one"))
    project.commit("Back")
    note(update(project))

    answers = {"ci": "gitlab", "python_version": "3.12", "license": "MIT", "examples": "one"}
    fresh = render("v0.6.0.1", fork, **answers)
    expected = tree(fresh.path)
    plan = expected.pop("handbook/plan.txt").replace(b"31. As the template has it now", b"31. Mine")
    for name in ("handbook/start.sh (executable)", "handbook/seal.bin"):
        expected.pop(name)
    found = tree(project.path)
    assert found.pop("docs/plan.txt") == plan
    assert found.pop("dags/mine.py").decode() == OWN_DAG
    found.pop("handbook/seal.bin")
    assert (project.path / "handbook/seal.bin").is_symlink()
    env = "config/airflow.env"
    expected[env] = expected[env].replace(b"CORE__LOAD_EXAMPLES=False", b"CORE__LOAD_EXAMPLES=True")
    assert found == expected
    assert link(project)["checkout"] == "v0.6.0.1"
