"""A project of plain cookiecutter is linked to its template just as `cruft create` would have done it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from projects import QUESTIONS, Bake, BakedProject, Machine

RELEASE = "v" + QUESTIONS["__template_version"]
ANSWERS = [
    {},
    {"xcom_backend": "redis", "ci": "gitlab", "license": "Proprietary", "python_version": "3.13"},
    {
        "project_name": "\"Q\" & \\ 'q' <é> 🚀 {x}",
        "author": "Zoë",
        "description": "a: b # c",
        "project_slug": "odd",
    },
]


def link_of(project: BakedProject) -> dict[str, object]:
    """What .cruft.json says."""
    link: dict[str, object] = json.loads(project.read(".cruft.json"))
    return link


@pytest.mark.parametrize("answers", ANSWERS, ids=["defaults", "choices", "odd"])
def test_both_tools_make_the_same_files(
    bake_into: Bake, cruft_create: Bake, template_repository: Path, answers: dict[str, str], tmp_path: Path
) -> None:
    ours = bake_into(tmp_path / "cookiecutter", **answers)
    theirs = cruft_create(tmp_path / "cruft", template_repository, **answers)
    assert ours.read(".cruft.json") == theirs.read(".cruft.json")
    assert ours.files() == theirs.files()


def test_both_tools_make_the_same_files_of_a_cloned_release(
    cruft_create: Bake,
    template_repository: Path,
    machine: Machine,
    cookiecutter_config: Path,
    tmp_path: Path,
) -> None:
    """As with `cookiecutter gh:owner/template --checkout v1.2.3`: cookiecutter clones, and expands `gh:`."""
    served = cookiecutter_config.parent / "git" / "owner" / "template.git"
    machine.git(tmp_path, "clone", "--quiet", "--bare", str(template_repository), str(served))
    arguments = ["--no-input", "--config-file", str(cookiecutter_config), "--checkout", RELEASE]
    machine.tool("cookiecutter", *arguments, "gh:owner/template", cwd=tmp_path)
    ours = BakedProject(tmp_path / "my-pipelines", {}, machine)
    theirs = cruft_create(tmp_path / "cruft", f"file://{served}", "--checkout", RELEASE)
    assert link_of(ours)["checkout"] == RELEASE
    assert ours.files() == theirs.files()


def test_a_stored_link_renders_the_same_project_again(bake_into: Bake, tmp_path: Path) -> None:
    """`cruft diff` renders from .cruft.json: what an update would take as the starting point."""
    for number, answers in enumerate(ANSWERS):
        project = bake_into(tmp_path / str(number), **answers)
        project.commit("As baked")
        done = project.machine.tool("cruft", "diff", "--exit-code", cwd=project.path, check=False)
        assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("given", [".", "../cookiecutter-airflow-xcom"])
def test_a_relative_path_is_followed(
    template_repository: Path, machine: Machine, cookiecutter_config: Path, given: str, tmp_path: Path
) -> None:
    arguments = ["--no-input", "--config-file", str(cookiecutter_config), "--output-dir", str(tmp_path)]
    machine.tool("cookiecutter", *arguments, given, cwd=template_repository)
    assert link_of(BakedProject(tmp_path / "my-pipelines", {}, machine))["template"] == str(
        template_repository
    )


def test_a_folder_of_a_bigger_repository_is_named(
    cruft_create: Bake, bake_into: Bake, template_repository: Path, machine: Machine, tmp_path: Path
) -> None:
    bigger = tmp_path / "bigger"
    shutil.copytree(template_repository, bigger / "airflow", ignore=shutil.ignore_patterns(".git"))
    machine.git(bigger, "init", "--quiet")
    machine.git(bigger, "add", "--all", "--force")
    machine.git(bigger, "commit", "--quiet", "--message", "All templates")
    ours = bake_into(tmp_path / "cookiecutter", bigger / "airflow")
    theirs = cruft_create(tmp_path / "cruft", bigger, "--directory", "airflow")
    assert link_of(ours)["directory"] == "airflow"
    assert ours.files() == theirs.files()


@pytest.mark.parametrize("given", ["absolute", "relative", "with an origin"])
def test_a_directory_of_a_local_template_is_named(
    given: str,
    cruft_create: Bake,
    template_repository: Path,
    machine: Machine,
    cookiecutter_config: Path,
    tmp_path: Path,
) -> None:
    """`cookiecutter --directory`: not the address that the repository was cloned from, perhaps another's."""
    bigger = tmp_path / "bigger"
    shutil.copytree(template_repository, bigger / "airflow", ignore=shutil.ignore_patterns(".git"))
    machine.git(bigger, "init", "--quiet")
    machine.git(bigger, "add", "--all", "--force")
    machine.git(bigger, "commit", "--quiet", "--message", "All templates")
    if given == "with an origin":
        machine.git(bigger, "remote", "add", "origin", "https://git.example.org/other.git")
    arguments = ["--no-input", "--config-file", str(cookiecutter_config), "--directory", "airflow"]
    address = "../bigger" if given == "relative" else str(bigger)
    (tmp_path / "here").mkdir()
    machine.tool("cookiecutter", *arguments, address, cwd=tmp_path / "here")
    ours = BakedProject(tmp_path / "here/my-pipelines", {}, machine)
    theirs = cruft_create(tmp_path / "cruft", bigger, "--directory", "airflow")
    assert (link_of(ours)["template"], link_of(ours)["directory"]) == (str(bigger), "airflow")
    assert ours.files() == theirs.files()


def test_a_clone_with_changes_is_not_recorded_as_its_clean_commit(
    bake_into: Bake,
    template_repository: Path,
    machine: Machine,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    clone = tmp_path / "template"
    machine.git(tmp_path, "clone", "--quiet", str(template_repository), str(clone))
    (clone / "notes.txt").write_text("No project sees this\n", encoding="utf-8")
    assert ".cruft.json" in bake_into(tmp_path / "clean", clone).files()
    capfd.readouterr()
    with (clone / "{{cookiecutter.project_slug}}/Makefile").open("a", encoding="utf-8") as makefile:
        makefile.write("# Mine\n")
    plain = bake_into(tmp_path / "dirty", clone)
    assert ".cruft.json" not in plain.files()
    said = capfd.readouterr().out
    assert "It is not linked to its template" in said
    assert "has changes that are not committed" in said


def test_a_path_of_this_machine_gets_a_word(
    bake_into: Bake,
    template_repository: Path,
    machine: Machine,
    cookiecutter_config: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A colleague cannot update from it; one who is not linked to a path need not hear of it."""
    bake_into(tmp_path / "local")
    said = capfd.readouterr().out
    assert f"look for the template in {template_repository}, on this machine alone" in said
    clone = cookiecutter_config.parent / "clones" / "served"
    machine.git(tmp_path, "clone", "--quiet", str(template_repository), str(clone))
    machine.git(clone, "remote", "set-url", "origin", "https://git.example.org/o/t.git")
    config = ["--no-input", "--config-file", str(cookiecutter_config)]
    assert "this machine" not in machine.tool("cookiecutter", *config, "served", cwd=tmp_path).stdout


def test_passwords_in_an_address_stay_out_of_the_project(
    template_repository: Path, machine: Machine, cookiecutter_config: Path, tmp_path: Path
) -> None:
    """cookiecutter's clone remembers the address that it was given, with a token in it."""
    clone = cookiecutter_config.parent / "clones" / "tokens"
    machine.git(tmp_path, "clone", "--quiet", str(template_repository), str(clone))
    machine.git(clone, "remote", "set-url", "origin", "https://user:s3cret@git.example.org/o/t.git")
    machine.tool("cookiecutter", "--no-input", "--config-file", cookiecutter_config, "tokens", cwd=tmp_path)
    project = BakedProject(tmp_path / "my-pipelines", {}, machine)
    assert link_of(project)["template"] == "https://git.example.org/o/t.git"
    assert not [name for name, content in project.files().items() if b"s3cret" in content]


def test_a_git_hook_that_bakes_does_not_lead_astray(
    bake_into: Bake, template_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    project = bake_into(tmp_path)
    assert link_of(project)["template"] == str(template_repository)


def test_without_git_the_project_is_not_linked_and_says_so(
    bake_into: Bake, template_repository: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "unpacked"
    shutil.copytree(template_repository, folder, ignore=shutil.ignore_patterns(".git"))
    plain = bake_into(tmp_path, folder)
    assert ".cruft.json" not in plain.files()
    assert "not linked to its template" in capfd.readouterr().out


def test_a_folder_inside_a_foreign_repository_is_not_linked_to_that(
    bake_into: Bake, template_repository: Path, machine: Machine, tmp_path: Path
) -> None:
    folder = tmp_path / "mine" / "unpacked"
    shutil.copytree(template_repository, folder, ignore=shutil.ignore_patterns(".git"))
    machine.git(folder.parent, "init", "--quiet")
    machine.git(folder.parent, "commit", "--quiet", "--allow-empty", "--message", "Something else")
    assert ".cruft.json" not in bake_into(tmp_path, folder).files()


def test_without_git_on_the_machine_baking_works(
    bake_into: Bake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    project = bake_into(tmp_path)
    assert "git cannot be run" in capfd.readouterr().out
    assert ".cruft.json" not in project.files()


def test_a_project_that_was_not_linked_can_be_linked_later(
    bake_into: Bake, template_repository: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "unpacked"
    shutil.copytree(template_repository, folder, ignore=shutil.ignore_patterns(".git"))
    project = bake_into(tmp_path, folder)
    project.machine.tool("cruft", "link", "--no-input", template_repository, cwd=project.path)
    project.commit("Linked")
    assert project.machine.tool("cruft", "check", cwd=project.path).returncode == 0


def test_cruft_hears_nothing_from_the_hooks(
    machine: Machine, template_repository: Path, cookiecutter_config: Path, tmp_path: Path
) -> None:
    """An update runs them twice, and its own words must stay readable."""
    done = machine.tool(
        "cruft",
        "create",
        "--no-input",
        "--config-file",
        cookiecutter_config,
        template_repository,
        cwd=tmp_path,
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_cookiecutter_tells_what_comes_next(
    bake_into: Bake, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    project = bake_into(tmp_path)
    said = capfd.readouterr().out
    assert f"cd {project.path}" in said
    assert "make run" in said
    assert len(said.splitlines()) <= 8
