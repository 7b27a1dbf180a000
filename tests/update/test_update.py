"""`make update` takes in a release, keeps what a person did, and says what it could not decide."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from projects import BakedProject, Machine
from updates import FIRST, INSIDE, PLAN, SECOND, THIRD, Render, edit, link, release, relink, tree, update

pytestmark = pytest.mark.update

OWN_DAG = '"""Mine."""\nfrom airflow.sdk import dag\n\n\n@dag\ndef mine() -> None: ...\n\n\nmine()\n'


def add_own_work(project: BakedProject) -> None:
    """A DAG, data, a package module, a lock file; and a secret that git ignores."""
    for name, text in {
        "dags/mine.py": OWN_DAG,
        "data/mine.csv": "a,b\n1,2\n",
        f"src/{project.package}/mine.py": "MINE = 1\n",
        "handbook/mine.txt": "Mine\n",
        "uv.lock": "version = 1\n",
    }.items():
        (project.path / name).write_text(text, encoding="utf-8")
    (project.path / ".env").write_text("PASSWORD=a-secret-of-mine\n", encoding="utf-8")
    project.commit("My own work")


@pytest.mark.parametrize("tool", ["cookiecutter", "cruft"])
def test_a_project_that_nobody_edited_becomes_the_newest_release(
    tool: str,
    project: BakedProject,
    releases: Path,
    render: Render,
    cookiecutter_config: Path,
    tmp_path: Path,
) -> None:
    if tool == "cookiecutter":
        options = ["--no-input", "--config-file", str(cookiecutter_config), "--checkout", FIRST]
        project.machine.tool("cookiecutter", *options, f"git+file://{releases}", cwd=tmp_path)
        made = BakedProject(tmp_path / project.path.name, {}, project.machine)
        assert tree(made.path) == tree(project.path)
        made.commit("As generated")
        project = made
    said = update(project)
    assert f"{FIRST}, and {THIRD}" in said
    assert "handbook/plan.txt  (changed)" in said
    assert "handbook/new name é.txt  (moved from handbook/old name é.txt)" in said
    assert "handbook/dropped.txt  (removed)" in said
    assert "handbook/added.txt  (new)" in said
    assert "handbook/start.sh  (changed)" in said
    assert "uv lock" not in said, "what it requires is the same"
    assert "flavour = plain" in said
    fresh = render(THIRD)
    assert tree(project.path) == tree(fresh.path)
    assert project.git("diff", "--name-only") == "", "all of it is staged, so `git commit` takes it"
    project.commit("Updated")
    assert project.machine.tool("cruft", "check", "--checkout", THIRD, cwd=project.path).returncode == 0
    assert "Nothing to do" in update(project)
    assert project.git("status", "--porcelain") == ""


def test_edits_and_own_files_stay_beside_what_the_template_changed(project: BakedProject) -> None:
    add_own_work(project)
    edit(project.path, "handbook/plan.txt", PLAN[30], "31. What I do instead\n")
    edit(project.path, "handbook/old name é.txt", PLAN[30], "What I do instead\n")
    edit(
        project.path,
        "config/airflow.env",
        "# AIRFLOW__XCOM__MAX_ROW_SIZE=1048576",
        "AIRFLOW__XCOM__MAX_ROW_SIZE=9999",
    )
    before = tree(project.path)
    project.commit("Edited")
    said = update(project)
    assert "handbook/plan.txt  (changed, beside your edits)" in said
    plan = project.read("handbook/plan.txt")
    assert "10. Do it now\n" in plan
    assert "20. Do it again\n" in plan
    assert "31. What I do instead\n" in plan
    renamed = project.read("handbook/new name é.txt")
    assert "10. Do it under another name\n" in renamed
    assert "What I do instead\n" in renamed
    assert "handbook/new name é.txt  (moved from handbook/old name é.txt, beside your edits)" in said
    assert "MAX_ROW_SIZE=9999" in project.read("config/airflow.env")
    after = tree(project.path)
    own = [
        "dags/mine.py",
        "data/mine.csv",
        "src/my_pipelines/mine.py",
        "handbook/mine.txt",
        "uv.lock",
        ".env",
    ]
    assert {name: after[name] for name in own} == {name: before[name] for name in own}
    assert "a-secret-of-mine" not in project.read(".cruft.json")
    assert not [name for name in after if name.endswith((".rej", ".orig"))]


def test_overlapping_edits_are_marked_and_told(project: BakedProject) -> None:
    edit(project.path, "handbook/plan.txt", PLAN[9], "10. Do it my way\n")
    (project.path / "handbook/seal.bin").write_bytes(b"\0mine")
    (project.path / "handbook/added.txt").write_text("Mine, of the same name\n", encoding="utf-8")
    project.commit("Edited")
    said = update(project, code=2)
    told = said.partition("Conflicts")[2].partition("Next:")[0]
    assert "    handbook/plan.txt\n" in told
    assert "    handbook/added.txt\n" in told
    assert "    handbook/seal.bin  (yours, without marks)\n" in told
    assert "git reset --hard" in said
    plan = project.read("handbook/plan.txt")
    assert "<<<<<<< " in plan
    assert "10. Do it my way\n" in plan
    assert "10. Do it now\n" in plan
    assert "20. Do it again\n" in plan
    assert (project.path / "handbook/new name é.txt").is_file(), "what does not conflict is merged"
    assert link(project)["checkout"] == THIRD
    assert "still open from the last merge" in update(project, "--version", SECOND, code=1)
    project.git("reset", "--hard", "--quiet")
    assert project.git("status", "--porcelain") == ""
    assert link(project)["checkout"] == FIRST


def test_an_edited_file_that_the_template_dropped_is_left_and_told(project: BakedProject) -> None:
    """`cruft update` by itself would turn the whole update into .rej files, and end with 0."""
    edit(project.path, "handbook/dropped.txt", PLAN[30], "31. Mine\n")
    edit(project.path, "handbook/plan.txt", PLAN[30], "31. Mine\n")
    project.commit("Edited")
    said = update(project, code=2)
    assert "    handbook/dropped.txt\n" in said.partition("Left behind")[2]
    assert "Conflicts" not in said
    assert "31. Mine\n" in project.read("handbook/dropped.txt")
    assert "10. Do it now\n" in project.read("handbook/plan.txt")
    assert "31. Mine\n" in project.read("handbook/plan.txt")


def test_edits_do_not_go_into_a_new_file_that_merely_looks_like_the_dropped_one(
    project: BakedProject, our_releases: Path, machine: Machine
) -> None:
    """By git's own measure, half of the lines are enough to make it the same file under another name."""
    inside = our_releases / INSIDE
    text = (inside / "plan.txt").read_text(encoding="utf-8")
    (inside / "plan.txt").unlink()
    other = "".join(f"{number}. Something else\n" for number in range(16))
    (inside / "other.txt").write_text("".join(text.splitlines(keepends=True)[16:]) + other, encoding="utf-8")
    release(machine, our_releases, "v0.4.0")
    relink(project, template=str(our_releases))
    edit(project.path, "handbook/plan.txt", PLAN[30], "31. Mine\n")
    project.commit("Edited")
    said = update(project, code=2)
    assert "    handbook/plan.txt\n" in said.partition("Left behind")[2]
    assert "handbook/other.txt  (new)" in said
    assert "31. Mine\n" in project.read("handbook/plan.txt")
    assert "31. Mine\n" not in project.read("handbook/other.txt")


def test_what_was_removed_stays_removed(project: BakedProject) -> None:
    project.git("rm", "--quiet", "handbook/plan.txt", "dags/orders.py")
    project.git("rm", "--quiet", "-r", "handbook/moved", "data")
    project.commit("Not needed")
    said = update(project)
    assert "plan.txt" not in said
    for name in ("handbook/plan.txt", "dags/orders.py", "handbook/moved", "data"):
        assert not (project.path / name).exists()
    assert (project.path / "handbook/added.txt").is_file()


def test_an_own_file_does_not_move_with_a_folder_that_the_template_renames(project: BakedProject) -> None:
    (project.path / "handbook/moved/mine.txt").write_text("Mine\n", encoding="utf-8")
    project.commit("Mine")
    update(project)
    assert (project.path / "handbook/elsewhere/inner.txt").is_file()
    assert (project.path / "handbook/moved/mine.txt").is_file()
    assert not (project.path / "handbook/elsewhere/mine.txt").exists()


@pytest.mark.parametrize("depth", [(), ("--depth=1",)], ids=["whole", "shallow"])
def test_two_updates_in_a_row_in_fresh_clones(
    depth: tuple[str, ...], project: BakedProject, machine: Machine, tmp_path: Path
) -> None:
    """What the merge starts from is in no clone: the template's own text was never committed there."""
    edit(project.path, "handbook/plan.txt", PLAN[11], "12. Mine, near to the template's\n")
    project.commit("Edited")
    for number, version in enumerate((SECOND, THIRD)):
        clone = tmp_path / str(number) / "clone"
        machine.git(tmp_path, "clone", "--quiet", *depth, f"file://{project.path}", str(clone))
        project = BakedProject(clone, project.answers, machine)
        project = BakedProject(clone.rename(clone.with_name("my-pipelines")), project.answers, machine)
        update(project, "--version", version)
        project.commit(f"Updated to {version}")
        assert link(project)["checkout"] == version
    plan = project.read("handbook/plan.txt")
    for line in ("10. Do it now\n", "12. Mine, near to the template's\n", "20. Do it again\n"):
        assert line in plan


def test_a_dry_run_shows_the_difference_and_changes_nothing(project: BakedProject) -> None:
    edit(project.path, "handbook/plan.txt", PLAN[9], "10. Do it my way\n")
    edit(project.path, "handbook/dropped.txt", PLAN[30], "31. Mine\n")
    project.commit("Edited")
    (project.path / "draft.txt").write_text("Not committed\n", encoding="utf-8")
    before = tree(project.path)
    said = update(project, "--dry-run")
    assert "+10. Do it now\n" in said
    assert "+New in the second release" in said
    assert "handbook/plan.txt" in said.partition("\nConflicts (there would be)")[2]
    assert "handbook/dropped.txt" in said.partition("\nLeft behind (there would be)")[2]
    assert tree(project.path) == before
    assert project.git("status", "--porcelain") == "?? draft.txt"
    assert len(project.git("worktree", "list").splitlines()) == 1
    assert project.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"


def test_new_questions_take_their_default_whatever_a_person_prefers(project: BakedProject) -> None:
    """An update is the same whoever runs it. In a new project, ~/.cookiecutterrc counts."""
    preferences = project.machine.home / ".cookiecutterrc"
    preferences.write_text("default_context: {flavour: mine, license: MIT}\n", encoding="utf-8")
    try:
        update(project)
    finally:
        preferences.unlink()
    context = json.loads(project.read(".cruft.json"))["context"]["cookiecutter"]
    assert (context["flavour"], context["license"]) == ("plain", "Proprietary")


ODD = {
    "project_name": "\"Q\" & \\ 'q' <é> 🚀 {x} $HOME `id` %s",
    "description": "a: b # c \\ \"\"\" ''' ]]> ${X} </b> ü",
    "author": 'Zoë "Z" O\'Neil <z@example.org>; rm -rf /',
    "project_slug": "odd",
    "license": "MIT",
    "ci": "gitlab",
}


def test_hostile_answers_survive(render: Render) -> None:
    project = render(FIRST, **ODD)
    project.commit("As generated")
    edit(project.path, "handbook/plan.txt", PLAN[30], "31. Mine\n")
    project.commit("Edited")
    update(project, LC_ALL="C", LANG="C")
    fresh = render(THIRD, **ODD)
    edit(fresh.path, "handbook/plan.txt", PLAN[30], "31. Mine\n")
    assert tree(project.path) == tree(fresh.path)


def test_the_settings_of_git_do_not_matter(project: BakedProject, render: Render) -> None:
    hooks = project.machine.home / "hooks"
    hooks.mkdir()
    for name in ("pre-commit", "post-checkout", "post-merge", "prepare-commit-msg", "commit-msg"):
        (hooks / name).write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
        (hooks / name).chmod(0o755)
    (project.machine.home / "ignored").write_text("*.txt\n*.bin\n", encoding="utf-8")
    edit(project.path, "handbook/plan.txt", PLAN[30], "31. Mine \n")
    project.git("commit", "--quiet", "--all", "--message", "Edited")
    settings = {
        "apply.whitespace": "fix",
        "commit.gpgsign": "true",
        "core.autocrlf": "input",
        "core.excludesFile": str(project.machine.home / "ignored"),
        "core.hooksPath": str(hooks),
        "core.quotePath": "true",
        "diff.external": "/bin/false",
        "diff.mnemonicPrefix": "true",
        "diff.noprefix": "true",
        "diff.renames": "false",
        "fetch.fsckObjects": "true",
        "merge.conflictStyle": "diff3",
        "merge.directoryRenames": "true",
        "status.showUntrackedFiles": "no",
        "user.useConfigOnly": "true",
    }
    config = project.machine.home / "odd.gitconfig"
    for name, value in settings.items():
        project.git("config", "--file", str(config), name, value)
    said = update(project, "--dry-run", GIT_CONFIG_GLOBAL=str(config))
    assert "+10. Do it now\n" in said
    update(project, GIT_CONFIG_GLOBAL=str(config))
    fresh = render(THIRD)
    edit(fresh.path, "handbook/plan.txt", PLAN[30], "31. Mine \n")
    assert tree(project.path) == tree(fresh.path)


def test_inside_a_git_hook_the_project_is_meant(
    project: BakedProject, tmp_path: Path, render: Render
) -> None:
    project.machine.git(tmp_path, "init", "--quiet", "other")
    other = tmp_path / "other"
    update(
        project, GIT_DIR=str(other / ".git"), GIT_WORK_TREE=str(other), GIT_INDEX_FILE=str(other / "index")
    )
    assert tree(project.path) == tree(render(THIRD).path)


@pytest.mark.parametrize("prefix", ["teams/data/my-pipelines"])
def test_a_project_in_a_folder_of_a_bigger_repository(
    prefix: str, untouched: BakedProject, machine: Machine, tmp_path: Path, render: Render
) -> None:
    bigger = tmp_path / "bigger"
    folder = bigger / prefix
    folder.mkdir(parents=True)
    for name in untouched.path.iterdir():
        if name.name != ".git":
            machine.run("cp", "-r", name, folder, cwd=tmp_path)
    (bigger / "README.md").write_text("All of us\n", encoding="utf-8")
    edit(folder, "handbook/plan.txt", PLAN[30], "31. Mine\n")
    machine.git(bigger, "init", "--quiet")
    machine.git(bigger, "add", "--all")
    machine.git(bigger, "commit", "--quiet", "--message", "All")
    project = BakedProject(folder, {}, machine)
    assert "handbook/plan.txt  (changed, beside your edits)" in update(project, "--dry-run")
    assert project.git("status", "--porcelain") == ""
    assert "handbook/plan.txt  (changed, beside your edits)" in update(project)
    fresh = render(THIRD)
    edit(fresh.path, "handbook/plan.txt", PLAN[30], "31. Mine\n")
    assert tree(folder) == tree(fresh.path)
    changed = machine.git(bigger, "diff", "--cached", "--name-only").splitlines()
    assert all(name.strip('"').startswith(prefix) for name in changed)


def test_a_linked_work_tree(project: BakedProject, tmp_path: Path, render: Render) -> None:
    project.git("worktree", "add", "--quiet", str(tmp_path / "my-pipelines"), "-b", "update")
    linked = BakedProject(tmp_path / "my-pipelines", {}, project.machine)
    update(linked)
    updated = {name: content for name, content in tree(linked.path).items() if name != ".git"}
    assert updated == tree(render(THIRD).path)
    assert project.git("status", "--porcelain") == ""


def move_date(project: BakedProject, date: str | None) -> None:
    """Do to exclude-newer what `make upgrade` or a person does."""
    lines = project.read("pyproject.toml").splitlines(keepends=True)
    moved = [f'exclude-newer = "{date}"\n' if line.startswith("exclude-newer = ") else line for line in lines]
    kept = [line for line in moved if date is not None or not line.startswith("exclude-newer = ")]
    (project.path / "pyproject.toml").write_text("".join(kept), encoding="utf-8")
    project.commit("Another date")


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        ("2031-05-05T00:00:00Z", "2030-01-01T00:00:00Z", "2031-05-05T00:00:00Z"),
        ("2029-05-05T00:00:00Z", "2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z"),
        ("1 week", "2030-01-01T00:00:00Z", "1 week"),
        (None, "2030-01-01T00:00:00Z", None),
    ],
    ids=["mine is later", "theirs is later", "mine moves by itself", "taken out"],
)
def test_the_later_date_of_packages_wins(
    mine: str | None,
    theirs: str,
    expected: str | None,
    project: BakedProject,
    our_releases: Path,
    machine: Machine,
) -> None:
    """`make upgrade` and releases write the same line, and nobody should have to merge it."""
    questions = json.loads((our_releases / "cookiecutter.json").read_text(encoding="utf-8"))
    (our_releases / "cookiecutter.json").write_text(json.dumps(questions | {"__exclude_newer": theirs}))
    machine.git(our_releases, "commit", "--quiet", "--all", "--message", "A later date")
    machine.git(our_releases, "tag", "v0.4.0")
    relink(project, template=str(our_releases))
    move_date(project, mine)
    update(project)
    found = [
        line for line in project.read("pyproject.toml").splitlines() if line.startswith("exclude-newer = ")
    ]
    assert found == ([] if expected is None else [f'exclude-newer = "{expected}"'])


def test_what_is_to_be_skipped_is_said_once_and_kept_to(project: BakedProject, our_releases: Path) -> None:
    """Also what a person adds to it; and .cruft.json does not collect the list, as with plain cruft."""
    settings = project.path / "pyproject.toml"
    text = settings.read_text(encoding="utf-8")
    assert text.count("[tool.cruft]") == 1
    for name in (".env", "uv.lock", ".airflow"):
        assert f'"{name}"' in text.partition("[tool.cruft]")[2]
    settings.write_text(
        text.replace("skip = [", 'skip = ["handbook/plan.txt", "handbook/*.bin", '), encoding="utf-8"
    )
    project.commit("Not these")
    before = tree(project.path)
    update(project, "--version", SECOND)
    project.commit("Second")
    update(project, "--version", THIRD)
    after = tree(project.path)
    for name in ("handbook/plan.txt", "handbook/seal.bin"):
        assert after[name] == before[name]
    assert "handbook/added.txt" in after
    assert "skip" not in link(project)


def test_a_file_that_git_does_not_keep_is_not_replaced(project: BakedProject) -> None:
    """Such as a secret in an ignored file: git would overwrite it without a word."""
    (project.path / ".git/info/exclude").write_text("handbook/added.txt\n", encoding="utf-8")
    (project.path / "handbook/added.txt").write_text("My secret\n", encoding="utf-8")
    said = update(project, code=1)
    assert "handbook/added.txt" in said
    assert project.read("handbook/added.txt") == "My secret\n"
    assert project.git("status", "--porcelain") == ""


@pytest.mark.parametrize("address", ["gh:owner/template", "https://github.com/owner/template.git"])
def test_a_template_on_github(address: str, project: BakedProject, releases: Path, machine: Machine) -> None:
    """As the hook writes it, and as a person may write it who links a project."""
    relink(project, template=address)
    config = machine.home / "github.gitconfig"
    name = f"url.file://{releases}.insteadOf"
    machine.git(project.path, "config", "--file", str(config), name, "https://github.com/owner/template.git")
    update(project, GIT_CONFIG_GLOBAL=str(config))
    assert link(project)["template"] == address
    assert link(project)["checkout"] == THIRD


def test_a_template_in_a_folder_of_a_bigger_repository(
    releases: Path, machine: Machine, tmp_path: Path, cookiecutter_config: Path
) -> None:
    bigger = tmp_path / "bigger"
    bigger.mkdir()
    machine.git(bigger, "init", "--quiet")
    for tag in (FIRST, SECOND):
        machine.git(releases, "worktree", "add", "--quiet", "--detach", str(tmp_path / tag), tag)
        machine.run("rm", "-rf", bigger / "airflow", cwd=tmp_path)
        machine.run("cp", "-r", tmp_path / tag, bigger / "airflow", cwd=tmp_path)
        machine.git(releases, "worktree", "remove", "--force", str(tmp_path / tag))
        (bigger / "airflow/.git").unlink()
        machine.git(bigger, "add", "--all", "--force")
        machine.git(bigger, "commit", "--quiet", "--message", tag)
        machine.git(bigger, "tag", tag)
    options = ["--no-input", "--config-file", str(cookiecutter_config), "--checkout", FIRST]
    machine.tool("cruft", "create", *options, "--directory", "airflow", str(bigger), cwd=tmp_path)
    project = BakedProject(tmp_path / "my-pipelines", {}, machine)
    project.commit("As generated")
    update(project)
    assert "10. Do it now\n" in project.read("handbook/plan.txt")
    assert link(project)["directory"] == "airflow"
    assert link(project)["checkout"] == SECOND
