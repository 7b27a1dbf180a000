"""What the template changed in a file that a person moved or replaced comes along, or is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from projects import BakedProject, Machine
from updates import FIRST, INSIDE, PLAN, SECOND, Render, edit, link, release, relink, tree, update

pytestmark = pytest.mark.update


def told(said: str) -> list[str]:
    """The files that are said to be changed by the template and not here any more."""
    part = said.partition("Changed by the template, not here any more")[2].partition("\n\n")[0]
    return [line.strip() for line in part.splitlines() if line.startswith("    ")]


def test_a_moved_file_takes_the_changes_along(project: BakedProject) -> None:
    """Also one that was edited beyond likeness, one that the template moves too, and after two moves."""
    (project.path / "docs/deep").mkdir(parents=True)
    project.git("mv", "handbook/plan.txt", "handbook/first.txt")
    project.git("mv", "handbook/old name é.txt", "docs/named.txt")
    project.commit("Moved")
    project.git("mv", "handbook/first.txt", "docs/deep/plan.txt")
    project.commit("Moved on")
    path = project.path / "docs/deep/plan.txt"
    path.write_text(
        "".join(f"Before {n}\n" for n in range(200)) + path.read_text(encoding="utf-8"), encoding="utf-8"
    )
    project.commit("Much more in it")
    before = tree(project.path)
    assert "docs/deep/plan.txt  (changed, as handbook/plan.txt in the template" in update(
        project, "--dry-run"
    )
    assert tree(project.path) == before
    said = update(project, "--version", SECOND)
    assert "docs/deep/plan.txt  (changed, as handbook/plan.txt in the template, beside your edits)" in said
    plan = project.read("docs/deep/plan.txt")
    assert "10. Do it now\n" in plan
    assert plan.startswith("Before 0\n")
    assert "10. Do it under another name\n" in project.read("docs/named.txt")
    assert not [
        path for path in project.path.glob("handbook/*") if path.name in ("plan.txt", "new name é.txt")
    ]
    project.commit("Second")
    update(project)
    assert "20. Do it again\n" in project.read("docs/deep/plan.txt")


def test_a_move_that_the_first_commit_has_already(project: BakedProject) -> None:
    """As in a shallow clone: no history tells of it."""
    project.machine.run("rm", "-rf", project.path / ".git", cwd=project.path)
    (project.path / "handbook/plan.txt").rename(project.path / "our plan.txt")
    project.commit("As we have it")
    update(project)
    assert "20. Do it again\n" in project.read("our plan.txt")


def test_conflicts_in_a_moved_file_are_marked_there(project: BakedProject) -> None:
    project.git("mv", "handbook/plan.txt", "plan.txt")
    edit(project.path, "plan.txt", PLAN[9], "10. Do it my way\n")
    project.commit("Moved")
    said = update(project, code=2)
    assert "    plan.txt\n" in said.partition("Conflicts")[2]
    assert "<<<<<<< " in project.read("plan.txt")


def test_what_cannot_be_followed_is_told(project: BakedProject, tmp_path: Path) -> None:
    """Links that lead out, a folder that became one, and a moved file that the template drops."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/plan.txt").write_text("Everybody's\n", encoding="utf-8")
    for name, place in {"plan.txt": tmp_path / "shared/plan.txt", "seal.bin": tmp_path / "nowhere"}.items():
        (project.path / "handbook" / name).unlink()
        (project.path / "handbook" / name).symlink_to(place)
    project.git("rm", "-r", "--quiet", "handbook/moved")
    (project.path / "handbook/moved").symlink_to(tmp_path / "shared")
    project.git("mv", "handbook/dropped.txt", "mine.txt")
    project.commit("Replaced")
    before = tree(project.path)
    said = update(project, "--dry-run")
    assert len(told(said)) == 4
    assert tree(project.path) == before
    said = update(project, code=2)
    assert [re.sub(": git diff .*", "", line) for line in told(said)] == [
        "handbook/dropped.txt  (removed by the template; yours is mine.txt)",
        "handbook/moved/inner.txt  (handbook/moved is a link now)",
        "handbook/plan.txt  (a link now)",
        "handbook/seal.bin  (a link now)",
    ]
    (command,) = re.findall(r"plan\.txt  \(a link now\): (git diff \w+ \w+)", said)
    assert "+10. Do it now" in project.run(*command.split()).stdout
    after = tree(project.path)
    for name in ("handbook/plan.txt", "mine.txt"):
        assert after[name] == before[name]
    assert (tmp_path / "shared/plan.txt").read_text(encoding="utf-8") == "Everybody's\n"
    assert (project.path / "handbook/plan.txt").is_symlink()
    assert link(project)["checkout"] == "v0.3.0"


def test_a_link_inside_the_project_is_followed(project: BakedProject) -> None:
    project.git("mv", "handbook", "the book")
    (project.path / "handbook").symlink_to("the book")
    project.commit("Linked")
    said = update(project, code=2)
    assert told(said) == ["handbook/dropped.txt  (removed by the template; yours is the book/dropped.txt)"]
    assert project.read("the book/added.txt") == "New in the second release\n"
    assert "20. Do it again\n" in project.read("the book/plan.txt")
    assert (project.path / "handbook").is_symlink()


def test_a_submodule_in_the_way_is_told(project: BakedProject, machine: Machine, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    machine.git(inner, "init", "--quiet")
    machine.git(inner, "commit", "--quiet", "--allow-empty", "--message", "Inner")
    project.git("rm", "-r", "--quiet", "handbook")
    project.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "handbook")
    project.commit("A submodule")
    said = update(project, code=2)
    assert all("handbook is a submodule now" in line for line in told(said))
    assert any(line.startswith("handbook/plan.txt") for line in told(said))


def test_what_was_deleted_is_remembered_in_silence(project: BakedProject) -> None:
    """Also where something else was written in the same commit."""
    project.git("rm", "--quiet", "handbook/plan.txt", "handbook/start.sh")
    (project.path / "handbook/other.txt").write_text(
        "".join(f"Other {n}\n" for n in range(40)), encoding="utf-8"
    )
    project.commit("Not needed")
    said = update(project)
    assert not told(said)
    assert "plan.txt" not in said


def test_examples_that_were_moved_count_as_there(project: BakedProject) -> None:
    """Only who removed them all gets no others, and nobody loses tests of theirs."""
    (project.path / "dags/finance").mkdir()
    names = sorted(path.name for path in project.path.glob("dags/*.py"))
    tests = sorted(path.name for path in project.path.glob("tests/*.py"))
    project.git("mv", *(f"dags/{name}" for name in names), "dags/finance/")
    project.commit("Moved")
    said = update(project)
    assert not told(said)
    assert sorted(path.name for path in project.path.glob("dags/finance/*.py")) == names
    assert sorted(path.name for path in project.path.glob("tests/*.py")) == tests


def test_what_was_moved_out_of_the_project_is_told(small: BakedProject) -> None:
    """As its CI, of which a service looks for only at the top of a bigger repository."""
    top = BakedProject(small.path.parent, {}, small.machine)
    small.machine.run("rm", "-rf", small.path / ".git", cwd=small.path)
    top.commit("A project in a folder")
    (top.path / "shared").mkdir()
    top.git("mv", f"{small.path.name}/handbook/plan.txt", "shared/first.txt")
    top.commit("Moved out")
    top.git("mv", "shared/first.txt", "plan.txt")
    top.commit("Moved on")
    said = update(small, code=2)
    (line,) = told(said)
    assert line.startswith("handbook/plan.txt  (it is ../plan.txt now, outside of this project): git diff ")
    assert top.git("status", "--porcelain", "--", "plan.txt") == ""


def test_what_was_moved_into_packages_is_told(small: BakedProject) -> None:
    """It is in the patch, and no update is to write there what the template has elsewhere."""
    small.git("mv", "handbook/plan.txt", "packages/plan.txt")
    small.commit("Moved")
    said = update(small, code=2)
    (line,) = told(said)
    assert line.startswith(
        "handbook/plan.txt  (it is packages/plan.txt now, in packages/, which is taken whole)"
    )
    assert "packages/plan.txt  (added)" in said
    assert not (small.path / "packages/plan.txt").exists()


def test_a_file_that_is_half_alike_is_told_not_changed(project: BakedProject) -> None:
    lines = project.read("handbook/plan.txt").splitlines(keepends=True)
    project.git("rm", "--quiet", "handbook/plan.txt")
    text = "".join(lines[:26]) + "".join(f"Another thing, number {n}\n" for n in range(15))
    (project.path / "half.txt").write_text(text, encoding="utf-8")
    project.commit("Half of it")
    said = update(project, code=2)
    assert [line.partition(":")[0] for line in told(said)] == [
        "handbook/plan.txt  (perhaps it is half.txt now)"
    ]
    assert project.read("half.txt") == text


@pytest.mark.parametrize("name", ["packages", "packages/exclusive-xcom"])
@pytest.mark.parametrize("what", ["link", "submodule"])
def test_packages_elsewhere_are_refused_in_words(
    name: str, what: str, project: BakedProject, machine: Machine, tmp_path: Path
) -> None:
    lines = project.read("packages/update.py")
    other = tmp_path / "other"
    machine.run("cp", "-r", project.path / name, other, cwd=tmp_path)
    project.git("rm", "-r", "--quiet", name)
    machine.run("rm", "-rf", project.path / name, cwd=tmp_path)
    if what == "link":
        (project.path / name).symlink_to(other)
    else:
        machine.git(other, "init", "--quiet")
        machine.git(other, "add", "--all", "--force")
        machine.git(other, "commit", "--quiet", "--message", "Inner")
        project.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), name)
    assert project.read("packages/update.py") == lines
    project.commit("Elsewhere")
    said = update(project, code=1)
    assert f"{name} is a {what} here, and an update replaces packages/ whole" in said
    assert project.git("status", "--porcelain") == ""
    assert link(project)["checkout"] == FIRST


def test_a_file_that_the_template_moves_onto_a_name_of_the_persons(
    project: BakedProject, our_releases: Path, machine: Machine, render: Render
) -> None:
    """The person's move went to where the template has something of its own later."""
    (our_releases / INSIDE / "ours.txt").write_text("The template's\n", encoding="utf-8")
    release(machine, our_releases, "v0.4.0")
    relink(project, template=str(our_releases))
    project.git("mv", "handbook/plan.txt", "handbook/ours.txt")
    project.commit("Moved")
    said = update(project, code=2)
    assert "it is handbook/ours.txt now, which is another file of the template's" in said
