"""packages/: every project gets the same bytes, DIGESTS lists them, and verify.py tells what was edited."""

from __future__ import annotations

import hashlib
import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest
from projects import EVERY_CHOICE, QUESTIONS, TEMPLATE, Bake, BakedProject, Machine, as_bytes

PACKAGES = TEMPLATE / "{{cookiecutter.project_slug}}" / "packages"
LIST = PACKAGES / "DIGESTS"
CHECK = runpy.run_path(str(PACKAGES / "verify.py"))
LEFTOVERS = {*CHECK["LEFTOVERS"], *(f"left{ending}" for ending in CHECK["ENDINGS"])}


def bytes_below(folder: Path, names: list[str]) -> dict[str, bytes]:
    """Files by their paths below a folder."""
    return {name: as_bytes(folder / name) for name in names}


def listed() -> dict[str, str]:
    """The digests in DIGESTS by path."""
    lines = LIST.read_text(encoding="utf-8").splitlines()[1:]
    return {path: digest for digest, path in (line.split("  ", 1) for line in lines)}


def test_the_list_is_what_is_there(machine: Machine) -> None:
    done = machine.run(sys.executable, TEMPLATE / "tools/digests.py", "--check", cwd=TEMPLATE, check=False)
    assert (done.returncode, done.stderr) == (0, ""), "make digests"


def test_the_list_names_every_file_that_git_keeps(machine: Machine) -> None:
    if not (TEMPLATE / ".git").exists():
        pytest.skip("this is an archive")
    kept = machine.git(PACKAGES, "ls-files", "-z", "--cached", "--others", "--exclude-standard", ".")
    assert sorted(listed()) == sorted({name for name in kept.split("\0") if name} - {"DIGESTS"})


def test_other_tools_can_check_it(machine: Machine) -> None:
    assert re.fullmatch(r"# exclusive-xcom \d+\.\d+\.\d+", LIST.read_text(encoding="utf-8").splitlines()[0])
    for name, digest in listed().items():
        assert hashlib.sha256((PACKAGES / name).read_bytes()).hexdigest() == digest
    if shutil.which("sha256sum"):
        machine.run("sha256sum", "--check", "--quiet", "DIGESTS", cwd=PACKAGES)


def test_every_project_has_the_same_bytes(bake: Bake) -> None:
    """Whatever the answers: a file of packages/ that somebody rendered would show here."""
    expected = bytes_below(PACKAGES, ["DIGESTS", *listed()])
    for answers in (*EVERY_CHOICE, {"project_slug": "a" * 40, "project_name": "{x}", "author": "Zoë"}):
        project = bake(**answers)
        found = sorted(path for path in (project.path / "packages").rglob("*") if path.is_file())
        names = [path.relative_to(project.path / "packages").as_posix() for path in found]
        assert bytes_below(project.path / "packages", names) == expected


def test_what_looks_like_jinja_is_copied(bake_into: Bake, template_repository: Path, tmp_path: Path) -> None:
    template = tmp_path / "template"
    shutil.copytree(template_repository, template, symlinks=True)
    name = "packages/exclusive-xcom/src/exclusive_xcom/deeper/braces.anything"
    path = template / "{{cookiecutter.project_slug}}" / name
    path.parent.mkdir()
    path.write_bytes(b"{{ cookiecutter.no }} {% if %}\r\n{#")
    assert as_bytes(bake_into(tmp_path, template).path / name) == path.read_bytes()


def test_leftovers_of_a_clone_that_somebody_works_in_are_not_baked(
    bake_into: Bake, template_repository: Path, tmp_path: Path, bake: Bake
) -> None:
    template = tmp_path / "template"
    shutil.copytree(template_repository, template, symlinks=True)
    packages = template / "{{cookiecutter.project_slug}}/packages"
    for place in (packages, packages / "exclusive-xcom", packages / "exclusive-xcom/src/exclusive_xcom"):
        for name in LEFTOVERS:
            (place / name / "inner").mkdir(parents=True)
            (place / name / "inner/file.py").write_text("left\n", encoding="utf-8")
        (place / "stale.pyc").write_bytes(b"\0")
    found = {
        path.relative_to(tmp_path / "my-pipelines") for path in bake_into(tmp_path, template).path.rglob("*")
    }
    expected = bake().path
    assert found == {path.relative_to(expected) for path in expected.rglob("*")}


def verify(project: BakedProject, code: int) -> str:
    """What `make lint` says of packages/."""
    done = project.run(sys.executable, "-I", "packages/verify.py", check=False)
    assert (done.returncode, done.stderr) == (code, "")
    return done.stdout


def test_edits_are_told_in_plain_words(bake_into: Bake, tmp_path: Path) -> None:
    project = bake_into(tmp_path)
    assert verify(project, 0) == ""
    for name in LEFTOVERS:
        (project.path / "packages/exclusive-xcom" / name).mkdir()
        (project.path / "packages/exclusive-xcom" / name / "x").write_text("left\n", encoding="utf-8")
    (project.path / "packages/update.pyc").write_bytes(b"\0")
    assert verify(project, 0) == "", "what tools leave behind is nobody's edit"
    engine = project.path / "packages/exclusive-xcom/src/exclusive_xcom"
    (engine / "handle.py").unlink()
    (engine / "mine.py").write_text("MINE = 1\n", encoding="utf-8")
    (engine / "backend.py").write_bytes((engine / "backend.py").read_bytes() + b"\n")
    assert verify(project, 1) == (
        "You edited managed files; an update will replace them, and keep your edits as a patch:\n"
        "    packages/exclusive-xcom/src/exclusive_xcom/backend.py  (changed)\n"
        "    packages/exclusive-xcom/src/exclusive_xcom/handle.py  (missing)\n"
        "    packages/exclusive-xcom/src/exclusive_xcom/mine.py  (added)\n"
        "Put a codec of your own into src/my_pipelines/, and name it in AIRFLOW__XCOM__CODECS.\n"
        "Edits that are not committed are undone by: git checkout packages\n"
        "Others, with the commit before them: git restore --source=COMMIT --staged --worktree packages\n"
    )


def test_a_package_that_comes_from_an_index_is_not_missed(bake_into: Bake, tmp_path: Path) -> None:
    project = bake_into(tmp_path)
    shutil.rmtree(project.path / "packages/exclusive-xcom")
    assert verify(project, 0) == ""


def test_make_lint_asks(bake: Bake) -> None:
    assert "packages/verify.py" in bake().make("--dry-run", "lint").stdout


def test_line_ends_of_windows_do_not_get_in(
    machine: Machine, template_repository: Path, cookiecutter_config: Path, tmp_path: Path
) -> None:
    """Where git writes them into the template's clone, and into the project's."""
    (machine.home / ".gitconfig-windows").write_text(
        (machine.home / ".gitconfig").read_text(encoding="utf-8")
        + "[core]\n\tautocrlf = true\n\teol = crlf\n",
        encoding="utf-8",
    )
    windows = str(machine.home / ".gitconfig-windows")
    release = "v" + QUESTIONS["__template_version"]
    options = ["--no-input", "--config-file", cookiecutter_config, "--checkout", release]
    machine.tool(
        "cookiecutter", *options, f"git+file://{template_repository}", cwd=tmp_path, GIT_CONFIG_GLOBAL=windows
    )
    project = BakedProject(tmp_path / "my-pipelines", {}, machine)
    assert verify(project, 0) == ""
    project.commit("As generated")
    machine.run(
        "git", "clone", "--quiet", project.path, tmp_path / "clone", cwd=tmp_path, GIT_CONFIG_GLOBAL=windows
    )
    assert verify(BakedProject(tmp_path / "clone", {}, machine), 0) == ""
    assert b"\r\n" in (tmp_path / "clone/Makefile").read_bytes(), "git did write them elsewhere"


def test_the_hook_and_the_check_agree_on_what_is_left_behind() -> None:
    hook = (TEMPLATE / "hooks/post_gen_project.py").read_text(encoding="utf-8")
    listing = hook.partition("LEFTOVERS = (")[2].partition(")")[0]
    assert set(re.findall(r'"([^"]+)"', listing)) == CHECK["LEFTOVERS"]
    assert f"ENDINGS = {json.dumps(CHECK['ENDINGS'])[1:-1].join('()')}\n" in hook
    assert {".venv", "build", "dist", "uv.lock", ".coverage", "left.egg-info"} <= LEFTOVERS
