"""What `make update` and `make switch` refuse: in few words, and before anything is touched."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import BakedProject, Machine
from updates import (
    FIRST,
    PLAN,
    SECOND,
    THIRD,
    Render,
    edit,
    link,
    quick_uv,
    release,
    relink,
    switch,
    tree,
    update,
)

pytestmark = pytest.mark.update


@pytest.fixture
def unchanged(project: BakedProject) -> Iterator[BakedProject]:
    """A project that must be the same when the test ends, also to git."""
    before = tree(project.path), project.git("status", "--porcelain"), project.git("rev-parse", "HEAD")
    yield project
    assert (
        tree(project.path),
        project.git("status", "--porcelain"),
        project.git("rev-parse", "HEAD"),
    ) == before
    assert len(project.git("worktree", "list").splitlines()) == 1


def refusal(said: str) -> str:
    """What was said after the template was fetched, and the commit that runs was named."""
    lines = said.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(("Fetching ", "Running ", "Installed ")))


@pytest.mark.parametrize("backend", ["s4", "S3", "s3; rm -rf /"])
def test_a_backend_that_is_not_offered(backend: str, unchanged: BakedProject) -> None:
    said = refusal(switch(unchanged, "--", f"BACKEND={backend}", code=1))
    assert said == f"BACKEND={backend}: {FIRST} of the template offers db and s3 and redis.\n"


def test_questions_that_cannot_be_switched(unchanged: BakedProject) -> None:
    said = refusal(switch(unchanged, "--", "AUTHOR=Me", code=1))
    assert said == f"AUTHOR=Me: {FIRST} of the template offers no choice.\n"
    assert "NOTHING=x" in refusal(switch(unchanged, "--", "NOTHING=x", code=1))


def test_the_backend_that_it_is(unchanged: BakedProject) -> None:
    assert refusal(switch(unchanged, "db")) == "BACKEND is db already. Nothing to do.\n"


@pytest.mark.parametrize("version", ["v9.9.9", "--help", "no such branch"])
def test_a_release_that_does_not_exist(version: str, unchanged: BakedProject) -> None:
    said = refusal(update(unchanged, f"--version={version}", code=1))
    there_is = f"Releases: {FIRST}, {SECOND}, {THIRD}."
    assert said == f"{version} is no release, branch or commit of the template. {there_is}\n"


def test_work_that_is_not_committed(project: BakedProject) -> None:
    edit(project.path, "handbook/plan.txt", PLAN[30], "31. Mine\n")
    (project.path / "dags/mine.py").write_text("", encoding="utf-8")
    (project.path / "handbook/staged.txt").write_text("", encoding="utf-8")
    project.git("add", "handbook/staged.txt")
    before = tree(project.path)
    said = update(project, code=1)
    for name in ("handbook/plan.txt", "dags/mine.py", "handbook/staged.txt"):
        assert f"    {name}\n" in said
    assert "Commit (or stash, or delete) these first" in said
    assert tree(project.path) == before


def test_a_rej_file_of_plain_cruft(project: BakedProject) -> None:
    (project.path / "Makefile.rej").write_text("", encoding="utf-8")
    assert "A .rej file holds what `cruft update` could not place" in update(project, code=1)


def test_a_project_that_is_not_in_git(project: BakedProject) -> None:
    shutil.rmtree(project.path / ".git")
    assert "no commit in git yet" in update(project, code=1)
    project.git("init", "--quiet")
    assert "no commit in git yet" in update(project, code=1)


def test_a_project_that_an_outer_repository_ignores(project: BakedProject) -> None:
    shutil.rmtree(project.path / ".git")
    outer = project.path.parent
    (outer / ".gitignore").write_text("my-pipelines\n", encoding="utf-8")
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "Outer"]):
        project.machine.git(outer, *arguments)
    assert "git does not keep this project" in update(project, code=1)


def test_a_template_that_cannot_be_fetched(project: BakedProject, tmp_path: Path) -> None:
    relink(project, template=str(tmp_path / "gone"))
    said = refusal(update(project, code=1))
    why, told = said.splitlines()
    assert why.startswith("fatal: "), "git's own words"
    assert told.startswith(f"The template cannot be fetched from {tmp_path}/gone. ")
    assert 'correct "template" in .cruft.json' in told


def test_a_commit_that_the_template_no_longer_has(project: BakedProject) -> None:
    relink(project, commit="0123456789012345678901234567890123456789")
    said = update(project, code=1)
    assert "no longer has the commit" in said
    assert "0123456789" in said


def test_a_commit_that_is_on_no_branch_any_more_but_still_there(
    project: BakedProject, our_releases: Path, machine: Machine
) -> None:
    """A release that was made again: its commit is on no branch, but a server keeps it for a while."""
    relink(project, template=f"file://{our_releases}")
    machine.git(our_releases, "tag", "--delete", FIRST)
    machine.git(our_releases, "checkout", "--quiet", "--orphan", "again", SECOND)
    for tag in (SECOND, THIRD):
        machine.git(our_releases, "tag", "--delete", tag)
    machine.git(our_releases, "branch", "--quiet", "-D", "main")
    release(machine, our_releases, SECOND)
    update(project)
    assert "10. Do it now\n" in project.read("handbook/plan.txt")


def test_a_broken_cruft_json(project: BakedProject, releases: Path) -> None:
    answerless = {"template": str(releases), "commit": "y", "context": {"cookiecutter": 1}}
    for text in ("<<<<<<< HEAD\n{}\n", "{}", "[]", json.dumps(answerless)):
        (project.path / ".cruft.json").write_text(text, encoding="utf-8")
        assert ".cruft.json cannot be read" in update(project, code=1)


def test_a_broken_pyproject(project: BakedProject) -> None:
    """`make update` must still be able to say so."""
    (project.path / "pyproject.toml").write_text("<<<<<<< HEAD\n", encoding="utf-8")
    project.commit("Merged in haste")
    assert "pyproject.toml cannot be read" in update(project, code=1)


def test_a_project_of_an_archive_is_told_how_to_link(
    untouched: BakedProject, releases: Path, render: Render, machine: Machine, tmp_path: Path
) -> None:
    shutil.copytree(
        untouched.path, tmp_path / "my-pipelines", ignore=shutil.ignore_patterns(".cruft.json", ".git")
    )
    project = BakedProject(tmp_path / "my-pipelines", {}, machine)
    project.commit("From an archive")
    said = update(project, code=1)
    assert "not linked to a template" in said
    (command,) = (line.split() for line in said.splitlines() if "cruft link" in line)
    assert command[:7] == [".tools/uv", "tool", "run", "--from", "cruft==2.16.0", "cruft", "link"]
    version = tomllib.loads(project.read("pyproject.toml"))["tool"]["xcom-template"]["version"]
    meant = {"ADDRESS": str(releases), "vVERSION": f"v{version}"}
    arguments = [meant.get(word, word) for word in command[5:]]
    machine.tool(*arguments, "--no-input", cwd=project.path)
    project.commit("Linked")
    update(project)
    assert tree(project.path) == tree(render(THIRD).path)


def test_an_answer_that_a_release_no_longer_offers(
    render: Render, our_releases: Path, machine: Machine
) -> None:
    """It must not happen (MAINTAINING.md). cruft would show a traceback."""
    project = render(FIRST, our_releases, ci="gitlab")
    project.commit("As generated")
    release(machine, our_releases, "v0.4.0", ci=["github", "none"])  # type: ignore[arg-type]
    before = tree(project.path)
    assert refusal(update(project, code=1)) == "ci = gitlab: v0.4.0 of the template offers github and none.\n"
    assert tree(project.path) == before


def test_an_answer_that_a_release_refuses(render: Render, our_releases: Path, machine: Machine) -> None:
    """By its hook: said as the hook says it, and nothing is touched."""
    project = render(FIRST, our_releases)
    project.commit("As generated")
    hook = our_releases / "hooks/pre_gen_project.py"
    hook.write_text("import sys\nsys.exit('project_slug = my-pipelines: no longer.')\n", encoding="utf-8")
    release(machine, our_releases, "v0.4.0")
    before = tree(project.path)
    assert "project_slug = my-pipelines: no longer." in update(project, code=1)
    assert tree(project.path) == before
    assert project.git("status", "--porcelain") == ""


@pytest.mark.parametrize("tool", ["make update", "cruft update", "cruft diff"])
def test_a_name_that_is_taken_later_stays_a_projects_own(
    tool: str, project: BakedProject, our_releases: Path, machine: Machine
) -> None:
    """A release installs a package of the project's name: new projects are refused, this one is not."""
    hook = our_releases / "hooks/pre_gen_project.py"
    edit(hook.parent, hook.name, " hiredis\n", " hiredis my_pipelines\n")
    release(machine, our_releases, "v0.4.0")
    relink(project, template=str(our_releases))
    if tool == "make update":
        update(project)
        assert link(project)["checkout"] == "v0.4.0"
    elif tool == "cruft update":
        machine.tool("cruft", "update", "-y", "--checkout", "v0.4.0", cwd=project.path)
        assert link(project)["commit"] == machine.git(our_releases, "rev-parse", "v0.4.0")
    else:
        relink(project, commit=machine.git(our_releases, "rev-parse", "v0.4.0"))
        machine.tool("cruft", "diff", cwd=project.path)
    created = machine.tool(
        "cruft", "create", "--no-input", str(our_releases), cwd=project.path.parent.parent, check=False
    )
    assert "must not be a package that the project installs" in created.stdout + created.stderr


def test_a_template_without_releases(render: Render, our_releases: Path, machine: Machine) -> None:
    """As while working on the template: the head of its branch is taken, and that is said."""
    project = render(FIRST, our_releases)
    project.commit("As generated")
    machine.git(our_releases, "tag", "--delete", FIRST, SECOND, THIRD)
    assert "no release yet: taking the head of its default branch" in update(project)
    head = machine.git(our_releases, "rev-parse", "HEAD")
    machine.git(our_releases, "checkout", "--quiet", "--detach")
    project.commit("Updated")
    assert "Nothing to do" in update(project)
    assert (link(project)["commit"], link(project)["checkout"]) == (head, None)
    assert "20. Do it again\n" in project.read("handbook/plan.txt")


def test_a_project_newer_than_the_newest_release(
    render: Render, our_releases: Path, machine: Machine
) -> None:
    (our_releases / "README.md").write_text("After the release\n", encoding="utf-8")
    machine.git(our_releases, "commit", "--quiet", "--all", "--message", "Not released")
    project = render("main", our_releases)
    project.commit("As generated")
    before = tree(project.path)
    assert f"is newer than {THIRD}, the newest release" in update(project)
    assert tree(project.path) == before
    release(machine, our_releases, "v0.10.0")
    machine.git(our_releases, "tag", "v1.0.0-rc1")
    update(project)
    assert link(project)["checkout"] == "v0.10.0"


def test_a_release_can_be_named_in_several_ways_and_also_an_older_one(
    project: BakedProject, our_releases: Path, machine: Machine
) -> None:
    relink(project, template=str(our_releases))
    first = tree(project.path)
    update(project, "--version", "0.2.0")
    assert link(project)["checkout"] == SECOND
    project.commit("Second")
    update(project, "--version", machine.git(our_releases, "rev-parse", "HEAD"))
    project.commit("By commit")
    assert "20. Do it again\n" in project.read("handbook/plan.txt")
    update(project, "--version", FIRST)
    again = tree(project.path)
    assert json.loads(again.pop(".cruft.json"))["checkout"] == FIRST
    first.pop(".cruft.json")
    assert again == first


def test_without_cruft(unchanged: BakedProject, releases: Path) -> None:
    """Whoever runs the tool by hand, but not by uv, is told what runs it."""
    path = str(releases / "tools/update.py")
    done = unchanged.run("/usr/bin/env", "python3", "-S", path, "update", check=False)
    assert done.returncode == 1
    assert f"uv run {path} update" in done.stderr


@pytest.mark.parametrize(
    ("where", "pattern"),
    [
        ("pyproject.toml", "../../../precious"),
        ("pyproject.toml", "{here}/precious"),
        ("pyproject.toml", "."),
        (".cruft.json", "../../../precious"),
        (".cruft.json", "handbook/../../../x"),
        (".cruft.json", "/"),
        (".cruft.json", "**x"),
    ],
)
def test_a_skip_pattern_that_leads_out_of_the_project(
    where: str, pattern: str, project: BakedProject, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("Mine\n", encoding="utf-8")
    pattern = pattern.format(here=tmp_path)
    if where == "pyproject.toml":
        edit(project.path, where, "skip = [", f'skip = ["{pattern}", ')
        project.commit("Skipped")
    else:
        relink(project, skip=[pattern])
    for options in ([], ["--dry-run"]):
        said = update(project, *options, code=1)
        assert f"{where} has '{pattern}': a pattern must name paths below the project." in said
    assert (tmp_path / "precious").read_text(encoding="utf-8") == "Mine\n"
    assert project.git("status", "--porcelain") == ""


def test_a_skip_pattern_does_not_follow_a_link_out_of_the_rendering(
    render: Render, our_releases: Path, machine: Machine, tmp_path: Path
) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("Mine\n", encoding="utf-8")
    with (our_releases / "hooks/post_gen_project.py").open("a", encoding="utf-8") as hook:
        hook.write(f"\nPath('way').symlink_to({str(tmp_path / 'precious')!r})\n")
    release(machine, our_releases, "v0.4.0")
    project = render(FIRST, our_releases)
    project.commit("As generated")
    relink(project, skip=["way/*"])
    update(project, "--dry-run")
    assert (tmp_path / "precious/file").read_text(encoding="utf-8") == "Mine\n"


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ("notes", "notes/deep/inner.txt"),
        ("notes/secret", "notes"),
        ("packages/notes", "packages/notes/inner.txt"),
        ("packages/notes/secret", "packages/notes"),
    ],
)
def test_what_git_does_not_keep_is_not_replaced_by_a_folder_nor_by_a_file(
    mine: str, theirs: str, project: BakedProject, our_releases: Path, machine: Machine
) -> None:
    relink(project, template=str(our_releases))
    path = our_releases / "{{cookiecutter.project_slug}}" / theirs
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("The template's\n", encoding="utf-8")
    release(machine, our_releases, "v0.4.0")
    (project.path / ".git/info/exclude").write_text("notes\n", encoding="utf-8")
    (project.path / mine).parent.mkdir(parents=True, exist_ok=True)
    (project.path / mine).write_text("Mine\n", encoding="utf-8")
    said = update(project, code=1)
    assert f"git does not keep them. Move them away first:\n    {mine}\n" in said
    assert project.read(mine) == "Mine\n"
    assert project.git("status", "--porcelain") == ""


def test_a_link_that_git_does_not_keep_is_not_replaced_by_a_folder(
    project: BakedProject, our_releases: Path, machine: Machine, tmp_path: Path
) -> None:
    relink(project, template=str(our_releases))
    path = our_releases / "{{cookiecutter.project_slug}}/notes/inner.txt"
    path.parent.mkdir()
    path.write_text("The template's\n", encoding="utf-8")
    release(machine, our_releases, "v0.4.0")
    (project.path / ".git/info/exclude").write_text("notes\n", encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    (project.path / "notes").symlink_to(tmp_path / "elsewhere")
    assert "Move them away first:\n    notes\n" in update(project, code=1)
    assert (project.path / "notes").is_symlink()


def test_a_folder_that_git_keeps_becomes_a_file(render: Render, our_releases: Path, machine: Machine) -> None:
    project = render(FIRST, our_releases)
    project.commit("As generated")
    handbook = our_releases / "{{cookiecutter.project_slug}}/handbook"
    (handbook / "elsewhere/inner.txt").unlink()
    (handbook / "elsewhere").rmdir()
    (handbook / "moved").write_text("A file now\n", encoding="utf-8")
    release(machine, our_releases, "v0.4.0")
    update(project)
    assert project.read("handbook/moved") == "A file now\n"


@pytest.mark.parametrize("mark", ["assume-unchanged", "skip-worktree"])
def test_edits_that_git_was_told_to_overlook(mark: str, project: BakedProject) -> None:
    project.git("update-index", "--refresh")  # the project is a copy: git has not seen these files yet
    project.git("update-index", f"--{mark}", "handbook/plan.txt", "handbook/seal.bin")
    edit(project.path, "handbook/plan.txt", PLAN[30], "31. Mine\n")
    before = tree(project.path)
    said = update(project, code=1)
    assert "`git update-index --no-assume-unchanged FILE`" in said
    assert "`git update-index --no-skip-worktree FILE`" in said
    assert said.endswith(":\n    handbook/plan.txt\n"), "the other one is not edited"
    assert tree(project.path) == before
    marks = project.git("ls-files", "-v", "handbook/plan.txt", "handbook/seal.bin").splitlines()
    assert {line[0] for line in marks} == {"h" if mark == "assume-unchanged" else "S"}
    project.git("update-index", f"--no-{mark}", "handbook/plan.txt")
    project.commit("Mine")
    update(project)
    assert "31. Mine\n" in project.read("handbook/plan.txt")


def test_a_reader_that_leaves_is_no_error(small: BakedProject) -> None:
    """As in `make update | head -n 3`: all is done, and nothing is said of a pipe."""
    command = f"{sys.executable} -I packages/update.py update 2>../said | head -n 3; cat ../said"
    said = small.run("sh", "-c", command, UV=str(quick_uv(small.machine))).stdout
    assert "pipe" not in said.lower()
    assert "20. Do it again\n" in small.read("handbook/plan.txt")


def test_what_the_machine_refuses_is_said_in_a_line(small: BakedProject) -> None:
    (small.path / ".cruft.json.new").mkdir()  # git does not see it
    said = update(small, code=1)
    assert ".cruft.json.new: Is a directory. Run this again then." in said
    (small.path / ".cruft.json.new").rmdir()
    update(small)
