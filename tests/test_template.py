"""The template's own repository: its papers agree with each other, and nothing is in it by accident."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from projects import CHOICES, QUESTIONS, TEMPLATE, Machine, released_files

SOURCE = "{{cookiecutter.project_slug}}"
PYPROJECT = tomllib.loads((TEMPLATE / "pyproject.toml").read_text(encoding="utf-8"))


def text_of(name: str) -> str:
    """A file of the template."""
    return (TEMPLATE / name).read_text(encoding="utf-8")


def test_its_version_is_the_same_everywhere() -> None:
    newest = re.search(r"^## (\S+)$", text_of("CHANGELOG.md"), re.MULTILINE)
    assert newest
    assert newest.group(1) == PYPROJECT["project"]["version"] == QUESTIONS["__template_version"]


def test_every_question_and_every_choice_is_put_in_words() -> None:
    labels = QUESTIONS["__prompts__"]
    assert labels.keys() == {name for name in QUESTIONS if not name.startswith("_")}
    for name, allowed in CHOICES.items():
        assert set(labels[name]) == {"__prompt__", *allowed}


def test_what_is_derived_is_private() -> None:
    """cruft derives private answers again on every update, and public ones never. The slug may be typed."""
    derived = {name for name, value in QUESTIONS.items() if "cookiecutter." in json.dumps(value)}
    assert {name for name in derived if not name.startswith("__")} == {"project_slug"}


def test_the_readme_names_every_question_and_every_choice() -> None:
    readme = text_of("README.md")
    for name in QUESTIONS:
        if not name.startswith("_"):
            assert re.search(rf"^\| `{name}` \|", readme, re.MULTILINE), name
    for allowed in CHOICES.values():
        for value in allowed:
            assert f"`{value}`" in readme, value


# What the system has for everybody: a Python and git, and no uv.
PROGRAMS = "/usr/local/bin:/usr/bin:/bin"


def test_the_readme_s_first_commands_work_as_printed_in_a_clone(
    machine: Machine, template_repository: Path, cookiecutter_config: Path, tmp_path: Path
) -> None:
    """Nobody answers its questions here; test_unprivileged.py begins with `make run`."""
    (block,) = re.findall(r"^```console\n(python3 .*?)^```$", text_of("README.md"), re.MULTILINE | re.DOTALL)
    machine.git(tmp_path, "clone", "--quiet", str(template_repository), "clone")
    script = block.replace(
        "/cookiecutter -", f"/cookiecutter --no-input --config-file {cookiecutter_config} -"
    )
    script = script.replace("make run", "make help")
    done = machine.run("sh", "-ec", script, cwd=tmp_path / "clone", HOME=str(tmp_path), PATH=PROGRAMS)
    assert re.search(r"^  run ", done.stdout, re.MULTILINE)
    link = json.loads((tmp_path / "my-pipelines" / ".cruft.json").read_text(encoding="utf-8"))
    assert link["template"] == str(template_repository)


def test_no_command_has_a_word_that_a_reader_would_have_to_know() -> None:
    assert not re.search(r"\bOWNER\b|path/to", text_of("README.md"))


def test_the_readme_s_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text_of("README.md")):
        if "://" not in target:
            assert (TEMPLATE / target).exists(), target


def test_the_readme_names_every_command_of_the_makefile_and_no_other() -> None:
    offered = set(re.findall(r"^([a-z-]+):.*##", text_of("Makefile"), re.MULTILINE))
    used = set(re.findall(r"^make ([a-z-]+)", text_of("README.md"), re.MULTILINE))
    baked = set(re.findall(r"^([a-z-]+):.*##", text_of(f"{SOURCE}/Makefile"), re.MULTILINE))
    assert offered - {"help"} <= used
    assert used <= offered | baked


def test_what_would_be_baked_is_what_would_be_released(machine: Machine) -> None:
    """cookiecutter copies whatever lies in the templated folder; git drops what a .gitignore there names."""
    there = {
        path.relative_to(TEMPLATE).as_posix() for path in (TEMPLATE / SOURCE).rglob("*") if path.is_file()
    }
    left = there.difference(released_files(machine))
    assert left == set(), "tools left something in the template; `make clean` removes it"


def test_no_lock_file_is_released(machine: Machine) -> None:
    """They carry addresses of package indexes, and a project's own lock is born on first use."""
    assert [name for name in released_files(machine) if name.endswith(".lock")] == []


def test_it_checks_projects_with_the_tools_that_they_use() -> None:
    """Both take the newest ruff and mypy of one day."""
    assert PYPROJECT["tool"]["uv"]["exclude-newer"] == QUESTIONS["__exclude_newer"]


def test_its_ci_file_is_one(machine: Machine) -> None:
    machine.tool(
        "check-jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
        ".github/workflows/ci.yml",
        cwd=TEMPLATE,
    )
