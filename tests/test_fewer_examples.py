"""The question `examples`: fewer are what `make start-clean` leaves, or nothing but the way to begin."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from projects import BACKENDS, TEMPLATE, Bake, BakedProject, Machine

SOURCE = TEMPLATE / "{{cookiecutter.project_slug}}"
# Its answers; what tools leave.
WITHOUT = re.compile(r"^(\.git/|\.airflow/|\.ruff_cache/|\.cruft\.json$)|/__pycache__/")


def kept(project: BakedProject) -> dict[str, bytes]:
    """The files of a project by path."""
    return {name: content for name, content in project.files().items() if not WITHOUT.search(name)}


def xcom(machine: Machine, project: BakedProject, *arguments: str) -> str:
    """What the `xcom` of this environment says in a project that is not installed."""
    return machine.tool("xcom", *arguments, cwd=project.path).stdout


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_is_what_start_clean_leaves(
    bake_into: Bake, backend: str, machine: Machine, tmp_path: Path
) -> None:
    (tmp_path / "all").mkdir()
    (tmp_path / "one").mkdir()
    one = bake_into(tmp_path / "one", xcom_backend=backend, examples="one")
    every = bake_into(tmp_path / "all", xcom_backend=backend)
    every.commit("As baked")
    xcom(machine, every, "start-clean")
    assert kept(every) == kept(one)


@pytest.mark.parametrize("examples", ["all", "one", "none"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_its_file_of_variables_is_what_its_settings_make(
    bake_into: Bake, backend: str, examples: str, machine: Machine, tmp_path: Path
) -> None:
    project = bake_into(tmp_path, xcom_backend=backend, examples=examples)
    assert xcom(machine, project, "variables") == "Nothing changed.\n"


def test_none_has_no_pipeline_and_the_first_is_one_command_away(
    bake_into: Bake, machine: Machine, tmp_path: Path
) -> None:
    project = bake_into(tmp_path, examples="none")
    files = kept(project)
    assert {name for name in files if name.startswith(("dags/", "data/"))} == {
        "dags/README.md",
        "data/README.md",
    }
    named = r"class |first_pipeline|FirstPipeline|dags/\w+\.py"
    for name in ("config/airflow.env", "docker-compose.yaml", f"src/{project.package}/settings.py"):
        assert not re.search(named, project.read(name), re.MULTILINE), name
    said = xcom(machine, project, "new", "shipments")
    assert said.endswith("Next: make run ONLY=shipments\n")
    assert xcom(machine, project, "variables") == "Nothing changed.\n"
    for arguments in (["check"], ["format", "--check"]):
        machine.tool("ruff", *arguments, "--no-cache", "--quiet", ".", cwd=project.path)


def test_a_new_pipeline_is_the_first_one_by_another_name(
    bake: Bake, machine: Machine, tmp_path: Path
) -> None:
    """Baked, the first pipeline is what `make new` would write, but for its tag."""
    project = bake(examples="one")
    first = project.read("dags/first_pipeline.py").replace('    tags=["smoke"],\n', "")
    words = {"name": "first_pipeline", "Name": "FirstPipeline", "file": "dags/first_pipeline.py"}
    words |= {"settings": "settings", "imported": f"from {project.package} import settings"}
    from exclusive_xcom.local.new import pattern

    assert first == pattern("dag", words)
    assert project.read("tests/test_first_pipeline.py") == pattern("test", words)
    assert project.read(f"src/{project.package}/settings.py").endswith(f"\n\n\n{pattern('settings', words)}")


def test_the_hook_knows_every_example() -> None:
    text = (TEMPLATE / "hooks" / "post_gen_project.py").read_text(encoding="utf-8")
    names = {
        match[1]: re.findall(r'"(\S+)"', match[2])
        for match in re.finditer(r"^(EXAMPLES|EXAMPLE_DATA) = \((.*?)^\)", text, re.DOTALL | re.MULTILINE)
    }
    dags = [path.name for path in (SOURCE / "dags").rglob("*.py")]
    dags += re.findall(r"%}(\w+\.py)\{%", " ".join(path.name for path in (SOURCE / "dags").iterdir()))
    there = {name.removesuffix(".py") for name in dags if not name.startswith("{%")}
    assert {*names["EXAMPLES"], "first_pipeline", "housekeeping"} == there
    data = {path.name for path in (SOURCE / "data").iterdir()} - {"README.md"}
    assert set(names["EXAMPLE_DATA"]) == data


@pytest.mark.parametrize("examples", ["one", "none"])
def test_baking_over_a_project_leaves_its_owner_s_pipelines_and_data_alone(
    bake_into: Bake, examples: str, machine: Machine, tmp_path: Path, cookiecutter_config: Path
) -> None:
    project = bake_into(tmp_path, examples=examples)
    own = [project.path / "dags" / "mine.py", project.path / "data" / "mine" / "mine.csv"]
    for path in own:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    options = ["--no-input", "--overwrite-if-exists", "--config-file", str(cookiecutter_config)]
    machine.tool("cookiecutter", *options, str(TEMPLATE), f"examples={examples}", cwd=tmp_path)
    assert all(path.exists() for path in own)
