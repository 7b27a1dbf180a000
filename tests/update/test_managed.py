"""packages/ is the template's: an update takes it whole, and keeps a person's edits to it as a patch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from projects import BakedProject, Machine, as_bytes
from updates import FIRST, PLAN, Render, copy_of, edit, link, release, relink, switch, update

pytestmark = pytest.mark.update

ENGINE = "packages/exclusive-xcom/src/exclusive_xcom"
PATCH = f"my-pipelines-packages-{FIRST}.patch"


@pytest.fixture
def next_release(our_releases: Path, machine: Machine) -> Path:
    """A release that changes, adds, drops and moves managed files."""
    engine = our_releases / "{{cookiecutter.project_slug}}" / ENGINE
    (engine / "address.py").write_text('"""Rewritten."""\n', encoding="utf-8")
    (engine / "new_there.py").write_text("x = '{{ no jinja }}'\n", encoding="utf-8")
    (engine / "scratch.py").unlink()
    (engine / "content.py").rename(engine / "contents.py")
    machine.run(sys.executable, our_releases / "tools/digests.py", cwd=our_releases)
    release(machine, our_releases, "v0.4.0")
    return our_releases


@pytest.fixture
def project(untouched: BakedProject, next_release: Path, tmp_path: Path) -> BakedProject:
    """A project of the first release, that `next_release` can be taken into."""
    made = copy_of(untouched, tmp_path / "here" / untouched.path.name)
    relink(made, template=str(next_release))
    return made


@pytest.fixture
def fresh(render: Render, next_release: Path) -> BakedProject:
    """A new project of that release."""
    return render("v0.4.0", next_release)


def managed(project: BakedProject) -> dict[str, bytes]:
    """Every file of packages/ by its path."""
    found = (path for path in (project.path / "packages").rglob("*") if path.is_file())
    return {path.relative_to(project.path).as_posix(): as_bytes(path) for path in found}


def verify(project: BakedProject, code: int) -> str:
    """What `make lint` says of packages/."""
    done = project.run(sys.executable, "-I", "packages/verify.py", check=False)
    assert done.returncode == code, done.stdout
    return done.stdout


def meddle(project: BakedProject) -> None:
    """Change, add and remove managed files, and commit that."""
    path = project.path / ENGINE / "address.py"
    path.write_bytes(b"# Mine\n" + path.read_bytes())
    (project.path / ENGINE / "mine.py").write_text("MINE = 1\n", encoding="utf-8")
    (project.path / ENGINE / "seal.bin").write_bytes(bytes(range(256)))
    project.git("rm", "--quiet", f"{ENGINE}/handle.py")
    path = project.path / ENGINE / "content.py"
    path.write_bytes(path.read_bytes() + b"# Mine, too\n")
    project.commit("The engine, my way")


def test_edits_are_kept_as_a_patch_and_the_release_is_taken_whole(
    project: BakedProject, fresh: BakedProject
) -> None:
    pristine = project.git("rev-parse", "HEAD")
    meddle(project)
    before = managed(project)
    edit(project.path, "handbook/plan.txt", PLAN[30], "31. Mine\n")
    project.commit("Edited")
    said = update(project)
    told = said.partition("You edited managed files")[2]
    for line in (
        f"{ENGINE}/address.py  (changed)",
        f"{ENGINE}/content.py  (changed)",
        f"{ENGINE}/handle.py  (removed)",
        f"{ENGINE}/mine.py  (added)",
        f"{ENGINE}/seal.bin  (added)",
    ):
        assert f"    {line}\n" in told
    assert f"    {project.path.parent / PATCH}\n" in told
    assert "AIRFLOW__XCOM__CODECS" in told
    assert "Conflicts" not in said
    assert managed(project) == managed(fresh)
    assert verify(project, 0) == ""
    assert "31. Mine\n" in project.read("handbook/plan.txt")
    assert project.git("diff", "--name-only") == "", "all is staged"
    project.commit("Updated")

    project.git("checkout", "--quiet", pristine)
    project.git("apply", f"../{PATCH}")
    assert managed(project) == before, "the patch holds every bit of it"


def test_a_patch_never_replaces_a_file(project: BakedProject) -> None:
    meddle(project)
    (project.path.parent / PATCH).write_text("Mine\n", encoding="utf-8")
    said = update(project)
    other = project.path.parent / PATCH.replace(".patch", "-2.patch")
    assert f"    {other}\n" in said
    assert b"+MINE = 1" in other.read_bytes()
    assert (project.path.parent / PATCH).read_text(encoding="utf-8") == "Mine\n"


def test_where_nothing_can_be_written_beside_the_project_git_keeps_the_patch(
    project: BakedProject, machine: Machine
) -> None:
    meddle(project)
    parent = project.path.parent
    parent.chmod(0o555)
    try:
        if machine.run("touch", parent / "probe", cwd=parent, check=False).returncode == 0:
            pytest.skip("this user may write everywhere")
        assert f"    {project.path / '.git' / PATCH}\n" in update(project)
    finally:
        parent.chmod(0o755)
    assert b"+MINE = 1" in (project.path / ".git" / PATCH).read_bytes()


def test_in_a_bigger_repository_git_keeps_the_patch(
    project: BakedProject, fresh: BakedProject, machine: Machine, tmp_path: Path
) -> None:
    """Beside the project it would lie among other people's files."""
    bigger = tmp_path / "bigger"
    shutil.copytree(project.path, bigger / "teams/my-pipelines", ignore=shutil.ignore_patterns(".git"))
    machine.git(bigger, "init", "--quiet")
    machine.git(bigger, "add", "--all")
    machine.git(bigger, "commit", "--quiet", "--message", "All")
    inner = BakedProject(bigger / "teams/my-pipelines", {}, machine)
    (inner.path / ENGINE / "mine.py").write_text("MINE = 1\n", encoding="utf-8")
    machine.git(bigger, "add", "--all")
    machine.git(bigger, "commit", "--quiet", "--message", "Mine")
    assert f"    {bigger / '.git' / PATCH}\n" in update(inner)
    assert managed(inner) == managed(fresh)
    inner.git("reset", "--quiet", "--hard", "HEAD~1")
    inner.git("apply", str(bigger / ".git" / PATCH))
    assert inner.read(f"{ENGINE}/mine.py") == "MINE = 1\n"


def test_beside_a_submodule_lies_no_patch(small: BakedProject, machine: Machine, tmp_path: Path) -> None:
    edit(small.path, "packages/update.py", "import json\n", "import json  # mine\n")
    small.commit("Edited")
    bigger = tmp_path / "bigger"
    machine.git(tmp_path, "init", "--quiet", str(bigger))
    machine.git(
        bigger, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(small.path), "in"
    )
    machine.git(bigger, "commit", "--quiet", "--message", "A submodule")
    update(BakedProject(bigger / "in", {}, machine))
    assert not list(bigger.glob("*.patch"))
    (patch,) = bigger.glob(".git/modules/in/*.patch")
    assert b"# mine" in patch.read_bytes()


def test_a_patch_outlives_the_work_tree_that_it_was_made_in(
    small: BakedProject, machine: Machine, tmp_path: Path
) -> None:
    bigger = BakedProject(small.path.parent, {}, machine)
    machine.run("rm", "-rf", small.path / ".git", cwd=small.path)
    edit(small.path, "packages/update.py", "import json\n", "import json  # mine\n")
    bigger.commit("A project in a folder, edited")
    other = tmp_path / "a tree"
    bigger.git("worktree", "add", "--quiet", "-b", "other", str(other))
    update(BakedProject(other / small.path.name, {}, machine))
    bigger.git("worktree", "remove", "--force", str(other))
    (patch,) = bigger.path.glob(".git/*.patch")
    assert b"# mine" in patch.read_bytes()


def test_a_dry_run_tells_of_edits_and_writes_no_patch(project: BakedProject) -> None:
    meddle(project)
    before = managed(project)
    said = update(project, "--dry-run")
    assert f"    {ENGINE}/mine.py  (added)\n" in said
    assert "packages/  (taken whole: " in said
    assert "be kept as a patch" in said
    assert managed(project) == before
    assert not list(project.path.parent.glob("*.patch"))
    assert project.git("status", "--porcelain") == ""


def test_a_switch_leaves_packages_alone_and_tells_of_edits(untouched: BakedProject, tmp_path: Path) -> None:
    project = copy_of(untouched, tmp_path / "my-pipelines")
    meddle(project)
    before = managed(project)
    said = switch(project, "s3")
    assert f"    {ENGINE}/address.py  (changed)\n" in said
    assert "They stay as they are now. The next update will replace them." in said
    assert managed(project) == before
    assert not list(tmp_path.glob("*.patch"))


def test_own_work_does_not_move_into_packages(
    project: BakedProject, our_releases: Path, machine: Machine
) -> None:
    """What the template moves from a person's room into packages/ takes no edits with it."""
    template = our_releases / "{{cookiecutter.project_slug}}"
    (template / "handbook/start.sh").rename(template / "packages/exclusive-xcom/start.sh")
    release(machine, our_releases, "v0.5.0")
    edit(project.path, "handbook/start.sh", f"start.sh, {PLAN[30]}", "31. Mine\n")
    project.commit("Edited")
    said = update(project, code=2)
    assert "    handbook/start.sh\n" in said.partition("Left behind")[2]
    assert "31. Mine\n" in project.read("handbook/start.sh")
    assert project.read("packages/exclusive-xcom/start.sh") == (
        template / "packages/exclusive-xcom/start.sh"
    ).read_text(encoding="utf-8")


def test_a_package_that_comes_from_elsewhere_is_not_brought_back(project: BakedProject) -> None:
    """A platform team that serves the engine from an index deletes its folder."""
    project.git("rm", "-r", "--quiet", "packages/exclusive-xcom")
    project.commit("From our index")
    assert verify(project, 0) == ""
    said = update(project)
    assert not (project.path / "packages/exclusive-xcom").exists()
    assert "packages/exclusive-xcom" not in said
    assert verify(project, 0) == ""
    assert link(project)["checkout"] == "v0.4.0"


def test_what_git_does_not_keep_in_packages_is_not_replaced(project: BakedProject) -> None:
    (project.path / ".git/info/exclude").write_text("new_there.py\n", encoding="utf-8")
    (project.path / ENGINE / "new_there.py").write_text("My secret\n", encoding="utf-8")
    said = update(project, code=1)
    assert f"{ENGINE}/new_there.py" in said
    assert project.read(f"{ENGINE}/new_there.py") == "My secret\n"


def test_what_git_was_told_to_forget_in_packages_is_not_replaced(project: BakedProject) -> None:
    (project.path / ".git/info/exclude").write_text("handle.py\n", encoding="utf-8")
    project.git("rm", "--quiet", "--cached", f"{ENGINE}/handle.py")
    project.commit("Mine alone")
    (project.path / ENGINE / "handle.py").write_text("My secret\n", encoding="utf-8")
    assert f"    {ENGINE}/handle.py\n" in update(project, code=1)
    assert project.read(f"{ENGINE}/handle.py") == "My secret\n"
    switch(project, "s3")
    assert project.read(f"{ENGINE}/handle.py") == "My secret\n"


def test_the_patch_goes_back_as_it_is_told(project: BakedProject, machine: Machine) -> None:
    """Also where the release changed the same file: the rest is put back, and the conflict marked."""
    meddle(project)
    assert "`git apply --3way` with that file" in update(project)
    project.commit("Updated")
    patch = project.path.parent / PATCH
    gone = f"--exclude={ENGINE}/content.py"
    done = machine.run("git", "apply", "--3way", gone, patch, cwd=project.path, check=False)
    assert "with conflicts" in done.stderr
    assert project.read(f"{ENGINE}/mine.py") == "MINE = 1\n"
    assert "<<<<<<<" in project.read(f"{ENGINE}/address.py")


def test_line_ends_of_packages_stay(
    project: BakedProject, fresh: BakedProject, machine: Machine, tmp_path: Path
) -> None:
    """Where git writes the line ends of Windows, into clones and on updates."""
    windows = ["-c", "core.autocrlf=true", "-c", "core.eol=crlf"]
    clone = tmp_path / "clone" / "my-pipelines"
    machine.git(tmp_path, *windows, "clone", "--quiet", str(project.path), str(clone))
    cloned = BakedProject(clone, {}, machine)
    assert b"\r\n" in (clone / "README.md").read_bytes()
    assert verify(cloned, 0) == ""
    for name, value in (setting.split("=") for setting in windows[1::2]):
        cloned.git("config", name, value)
    update(cloned)
    assert managed(cloned) == managed(fresh)
    assert verify(cloned, 0) == ""


REQUIRING = """
[project]
name = "my-pipelines"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = [{requirements}]

[tool.xcom-template]
version = "0.1.0"
"""


@pytest.fixture
def requiring(project: BakedProject, our_releases: Path, machine: Machine) -> BakedProject:
    """A project with a uv.lock, and a release that requires more than the one before."""
    path = our_releases / "{{cookiecutter.project_slug}}/pyproject.toml"
    for tag, requirements in (
        ("v0.5.0", ""),
        ("v0.6.0", '"exclusive-xcom-of-nobody==1"'),
        ("v0.7.0", '"idna"'),
    ):
        path.write_text(REQUIRING.format(requirements=requirements), encoding="utf-8")
        release(machine, our_releases, tag)
    update(project, "--version", "v0.5.0")
    project.uv("lock")
    project.commit("Locked")
    return project


def test_other_requirements_are_locked_anew(requiring: BakedProject) -> None:
    before = requiring.read("uv.lock")
    assert "uv.lock would be made anew" in update(requiring, "--version=v0.7.0", "--dry-run")
    assert requiring.read("uv.lock") == before
    said = update(requiring, "--version=v0.7.0")
    assert "making uv.lock anew" in said
    assert 'name = "idna"' in requiring.read("uv.lock")
    assert requiring.git("diff", "--name-only") == "", "all is staged"
    requiring.uv("lock", "--check")


def test_a_lock_that_cannot_be_made_is_told(requiring: BakedProject) -> None:
    before = requiring.read("uv.lock")
    said = update(requiring, "--version=v0.6.0", UV_OFFLINE="1")
    assert "uv.lock could not be made anew: " in said
    assert "Until `uv lock` succeeds, `uv sync --locked` fails." in said
    assert "    uv lock          until then, `uv sync --locked` fails\n" in said
    assert requiring.read("uv.lock") == before
    assert "exclusive-xcom-of-nobody" in requiring.read("pyproject.toml")


def test_cruft_itself_goes_on_working(
    untouched: BakedProject, next_release: Path, machine: Machine, tmp_path: Path
) -> None:
    """`cruft check`, `cruft diff` and `cruft update` see packages/ as they see everything else."""
    project = copy_of(untouched, tmp_path / "my-pipelines")
    relink(project, template=str(next_release))

    def cruft(*arguments: str) -> subprocess.CompletedProcess[str]:
        return machine.tool("cruft", *arguments, cwd=project.path, check=False)

    assert cruft("check", "--checkout", FIRST).returncode == 0
    assert cruft("check", "--checkout", "v0.4.0").returncode == 1
    done = cruft("diff", "--exit-code")
    assert (done.returncode, done.stdout) == (0, "")
    assert cruft("update", "--skip-apply-ask", "--checkout", "v0.4.0").returncode == 0
    assert project.read(f"{ENGINE}/address.py") == '"""Rewritten."""\n'
    assert verify(project, 0) == ""
