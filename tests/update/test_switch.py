"""`make switch` changes where XComs live: to just what a new project with that answer would be."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
from projects import BACKENDS, BakedProject
from updates import FIRST, PLAN, Render, copy_of, edit, link, switch, tree, update

pytestmark = pytest.mark.update

OWN_DAG = '"""Mine."""\n'
SWITCHES = list(itertools.permutations(BACKENDS, 2))
every_switch = pytest.mark.parametrize(("before", "after"), SWITCHES, ids=str)


@pytest.fixture(scope="module")
def fresh(render: Render) -> dict[str, BakedProject]:
    """A project of the first release for each backend, committed. Not to be changed."""
    made = {backend: render(FIRST, xcom_backend=backend) for backend in BACKENDS}
    for project in made.values():
        project.commit("As generated")
    return made


@every_switch
def test_a_switch_gives_what_a_new_project_would_be(
    before: str, after: str, fresh: dict[str, BakedProject], tmp_path: Path
) -> None:
    project = copy_of(fresh[before], tmp_path / "my-pipelines")
    own = {
        "dags/mine.py": OWN_DAG,
        ".env": "PASSWORD=a-secret-of-mine\n",
        ".airflow/airflow.db": "rows",
        "uv.lock": "version = 1\n",
    }
    for name, text in own.items():
        (project.path / name).parent.mkdir(exist_ok=True)
        (project.path / name).write_text(text, encoding="utf-8")
    project.commit("My own work")
    said = switch(project, after)
    assert "config/airflow.env  (changed)" in said
    found = tree(project.path)
    assert {name: found.pop(name).decode() for name in own} == own
    assert found == tree(fresh[after].path)
    assert "a-secret-of-mine" not in project.read(".cruft.json")
    assert f"xcom.{after}." in project.read("config/airflow.env")
    assert link(project)["checkout"] == FIRST, "a switch is not an update"


@every_switch
def test_examples_that_have_left_do_not_collide_nor_come_with_another_backend(
    before: str, after: str, fresh: dict[str, BakedProject], tmp_path: Path
) -> None:
    """What `make start-clean` takes away stands next to nothing that a switch changes."""
    project = copy_of(fresh[before], tmp_path / "my-pipelines")
    for path in sorted(project.path.glob("dags/*.py")):
        if 'tags=["template-example"' in path.read_text(encoding="utf-8"):
            path.unlink()
            (project.path / "tests" / f"test_{path.name}").unlink()
    for name in ("config/local.env", "config/deployment.env"):
        text = project.read(name)
        kept = re.sub(r" *# For dags/orders\.py.*\n(?: *#.*\n)*.*\n", "", text)
        assert kept.count("PROJECT_SQLITE") == text.count("PROJECT_SQLITE") - 1
        (project.path / name).write_text(kept, encoding="utf-8")
    project.commit("Without the examples")
    switch(project, after)
    kept = {"first_pipeline.py"} if after == "db" else {"first_pipeline.py", "housekeeping.py"}
    assert {path.name for path in project.path.glob("dags/*.py")} == kept
    assert not (project.path / "tests" / "test_shared_report.py").exists()


def test_there_and_back_again(fresh: dict[str, BakedProject], tmp_path: Path) -> None:
    project = copy_of(fresh["db"], tmp_path / "my-pipelines")
    edit(project.path, "handbook/plan.txt", PLAN[30], "31. Mine\n")
    project.commit("Edited")
    before = tree(project.path)
    for backend in ("redis", "db"):
        switch(project, backend)
        project.commit(f"On {backend}")
    assert tree(project.path) == before
    update(project)
    assert "10. Do it now\n" in project.read("handbook/plan.txt")


def test_edits_to_settings_are_merged(fresh: dict[str, BakedProject], tmp_path: Path) -> None:
    project = copy_of(fresh["db"], tmp_path / "my-pipelines")
    edit(
        project.path,
        "config/airflow.env",
        "# AIRFLOW__XCOM__MAX_ROW_SIZE=1048576",
        "AIRFLOW__XCOM__MAX_ROW_SIZE=9999",
    )
    edit(project.path, "config/airflow.env", "CORE__LOAD_EXAMPLES=False", "CORE__LOAD_EXAMPLES=True")
    with (project.path / "config/airflow.env").open("a", encoding="utf-8") as settings:
        settings.write("\nMINE=1\n")
    project.commit("Settings of mine")
    switch(project, "s3")
    found = project.read("config/airflow.env")
    for line in (
        "AIRFLOW__XCOM__MAX_ROW_SIZE=9999",
        "CORE__LOAD_EXAMPLES=True",
        "MINE=1",
        "s3.S3XComBackend",
    ):
        assert line in found


def test_an_edited_address_collides_and_is_told_for_reading_on(
    fresh: dict[str, BakedProject], tmp_path: Path
) -> None:
    """What every user of s3 edits is what a switch takes away."""
    project = copy_of(fresh["s3"], tmp_path / "my-pipelines")
    (url,) = re.findall(r"^AIRFLOW__XCOM__URL=(.+)$", project.read("config/airflow.env"), re.MULTILINE)
    edit(project.path, "config/airflow.env", url, "s3://mine/xcom")
    project.commit("My bucket")
    said = switch(project, "db", code=2)
    assert "    config/airflow.env\n" in said.partition("\nConflicts")[2]
    assert "    AIRFLOW__XCOM__FORMER_URL=s3://mine/xcom\n" in said
    assert "    AIRFLOW__XCOM__FORMER_CONN_ID=xcom_s3\n" in said
    assert '    make add PACKAGES="exclusive-xcom[s3]"\n' in said


def test_an_edited_file_of_the_former_backend_is_left_and_told(
    fresh: dict[str, BakedProject], tmp_path: Path
) -> None:
    project = copy_of(fresh["redis"], tmp_path / "my-pipelines")
    edit(project.path, "handbook/cache.txt", PLAN[30], "31. Mine\n")
    project.commit("Edited")
    said = switch(project, "db", code=2)
    assert "    handbook/cache.txt\n" in said.partition("Left behind")[2]
    assert "31. Mine\n" in project.read("handbook/cache.txt")
    assert "DbXComBackend" in project.read("config/airflow.env")


def test_a_dry_run_changes_nothing(fresh: dict[str, BakedProject], tmp_path: Path) -> None:
    project = copy_of(fresh["db"], tmp_path / "my-pipelines")
    before = tree(project.path)
    said = switch(project, "s3", "--dry-run")
    assert "s3.S3XComBackend" in said
    assert tree(project.path) == before
    assert project.git("status", "--porcelain") == ""


def test_switching_and_updating_can_follow_each_other(
    fresh: dict[str, BakedProject], tmp_path: Path, render: Render
) -> None:
    project = copy_of(fresh["s3"], tmp_path / "my-pipelines")
    update(project, "--version", "v0.2.0")
    project.commit("Updated")
    switch(project, "redis")
    project.commit("Switched")
    update(project, "--version", "v0.3.0")
    assert tree(project.path) == tree(render("v0.3.0", xcom_backend="redis").path)
    assert json.loads(project.read(".cruft.json"))["context"]["cookiecutter"]["xcom_backend"] == "redis"
