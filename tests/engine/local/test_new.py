"""`xcom new`: a pipeline of the one pattern, or a sentence and not a byte changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_project import Project

from exclusive_xcom.local.new import class_name, pattern

TEMPLATE = Path(__file__).resolve().parents[3] / "{{cookiecutter.project_slug}}"
NONE = '''"""Settings."""

from __future__ import annotations

from exclusive_xcom.variables import data_file, output_file

__all__ = ["data_file", "output_file"]
'''
ORDERS = '''

class Orders(Settings, prefix="orders_"):
    """For dags/orders.py."""

    rows: int = Field(5, description="Rows.")
'''
SETTINGS = NONE.replace("output_file\n\n_", "output_file, Settings\nfrom pydantic import Field\n\n_") + ORDERS


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with a class of settings, without a pipeline."""
    made = Project(tmp_path / "my project")
    made.settings(SETTINGS)
    made.xcom("variables")
    return made


def refused(project: Project, name: str, *words: str) -> None:
    """Expect one sentence with these words, and that nothing has changed."""
    before = project.files()
    done = project.xcom("new", "--", name)
    assert done.returncode == 2 and "Traceback" not in done.stdout, done.stdout
    for word in words:
        assert word in done.stdout
    assert project.files() == before


def test_the_first_pipeline_of_a_project_is_of_the_pattern() -> None:
    words = {"name": "first_pipeline", "Name": "FirstPipeline", "file": "dags/first_pipeline.py"}
    words |= {"settings": "settings", "imported": "from {{ cookiecutter.__package }} import settings"}
    first = (TEMPLATE / "dags" / "first_pipeline.py").read_text(encoding="utf-8")
    assert first.replace('    tags=["smoke"],\n', "") == pattern("dag", words)
    test = (TEMPLATE / "tests" / "test_first_pipeline.py").read_text(encoding="utf-8")
    assert test == pattern("test", words)
    settings = TEMPLATE / "src" / "{{cookiecutter.__package}}" / "settings.py"
    assert pattern("settings", words) in settings.read_text(encoding="utf-8")


def test_the_pattern_says_nothing_of_its_origin() -> None:
    for part in ("dag", "settings", "test"):
        assert "first_pipeline" not in pattern(
            part, dict.fromkeys(("name", "Name", "file", "settings", "imported"), "x")
        )


def test_what_it_writes_is_said_and_runs_at_once(project: Project) -> None:
    done = project.xcom("new", "finance/shipments")
    assert done.returncode == 0, done.stdout
    written = {
        "dags/finance/shipments.py",
        "tests/finance/test_shipments.py",
        "src/shop/settings.py",
        "config/variables.json",
    }
    assert all(f"  {name}\n" in done.stdout for name in written)
    assert done.stdout.endswith("\nNext: make run ONLY=shipments\n")
    assert json.loads(project.files()["config/variables.json"])["shipments_rows"]["value"] == 5
    assert project.xcom("variables").stdout == "Nothing changed.\n"
    for arguments in (["check", "--select", "E,F,I,B,UP"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *arguments, "dags", "tests"]
        said = subprocess.run(command, cwd=project.folder, capture_output=True, text=True)
        assert said.returncode == 0, said.stdout
    done = project.xcom("run", "shipments", PYTHONPATH=str(project.folder / "src"))
    assert done.returncode == 0 and "1 of 1 pipelines succeeded" in done.stdout, done.stdout


@pytest.mark.parametrize("given", ["dags/finance/x1.py", "./dags/finance/x1.py", "finance/x1"])
def test_a_file_s_path_names_it_as_well(project: Project, given: str) -> None:
    said = project.xcom("new", given).stdout
    assert "  dags/finance/x1.py\n" in said and said.endswith("make run ONLY=x1\n")


def test_a_module_without_classes_gets_the_imports_that_it_needs(tmp_path: Path) -> None:
    project = Project(tmp_path / "my project")
    project.settings(NONE, variables=None)
    assert project.xcom("new", "shipments").returncode == 0
    text = project.files()["src/shop/settings.py"].decode()
    assert text.splitlines()[4:6] == [
        "from exclusive_xcom.variables import Settings, data_file, output_file",
        "from pydantic import Field",
    ]
    assert "config/variables.json" not in project.files()  # who keeps none gets none


def test_the_module_keeps_its_line_ends(project: Project) -> None:
    path = project.folder / "src" / "shop" / "settings.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert project.xcom("new", "shipments").returncode == 0
    assert b"\n" not in path.read_bytes().replace(b"\r\n", b"")


def test_all_else_in_the_file_of_variables_stays(project: Project) -> None:
    file = project.folder / "config" / "variables.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"by_hand": "kept"}))
    project.xcom("new", "shipments")
    found = json.loads(file.read_text())
    assert found["by_hand"] == "kept" and "shipments_rows" in found


@pytest.mark.parametrize("name", ["a" * 64, "x" + "_y" * 31])
def test_the_longest_name_breaks_no_style(project: Project, name: str) -> None:
    assert project.xcom("new", name).returncode == 0
    for arguments in (["check", "--select", "E501,I"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *arguments, "dags", "tests"]
        assert subprocess.run(command, cwd=project.folder, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("", "make new DAG=shipments"),
        ("my-dag", "can't name a pipeline"),
        ("1st", "can't name a pipeline"),
        ("größe", "can't name a pipeline"),
        ("class", "no word of Python's"),
        ("finance/", "can't name a pipeline"),
        ("../up", "can't be a folder"),
        ("/tmp/x1", "can't be a folder"),
        ("a b/x1", "can't be a folder"),
        ("-h", "can't name a pipeline"),
        ("csv", "name of a Python module"),
        ("airflow", "name of a Python module"),
        ("task", "name of a Python module"),
        ("settings", "name of a Python module"),
        ("a" * 65, "65 characters is too long"),
        ("orders", "a class Orders with the prefix 'orders_' already"),
    ],
)
def test_a_name_that_can_t_be_is_refused(project: Project, name: str, word: str) -> None:
    refused(project, name, word)


class TestTaken:
    """What is there already stays as it is."""

    def test_a_file_of_that_name_in_any_folder(self, project: Project) -> None:
        project.pipelines(shipments="mine = 1\n")
        refused(project, "finance/shipments", "dags/shipments.py is there already")

    @pytest.mark.parametrize("place", ["dags/shared", "include", "plugins/ops", "plugins/macro.py"])
    def test_modules_that_a_file_above_them_would_hide(self, project: Project, place: str) -> None:
        path = project.folder / place
        path.parent.mkdir(exist_ok=True)
        path.touch() if path.suffix else path.mkdir()
        refused(project, path.stem, f"dags/{path.stem}.py would hide {place} from `import {path.stem}`")
        assert project.xcom("new", f"finance/{path.stem}").returncode == 0

    def test_a_test_of_that_name_in_any_folder(self, project: Project) -> None:
        (project.folder / "tests").mkdir()
        (project.folder / "tests" / "test_shipments.py").touch()
        refused(project, "finance/shipments", "tests/test_shipments.py is there already")

    @pytest.mark.parametrize(
        "text",
        [
            'from airflow.sdk import DAG\nwith DAG("shipments"): ...\n',
            'from airflow.sdk import DAG\nwith DAG(dag_id="shipments"): ...\n',
            "from airflow.sdk import dag\n@dag\ndef shipments(): ...\n",
            'from airflow import sdk\n@sdk.dag(dag_id="shipments")\ndef other(): ...\n',
        ],
    )
    def test_the_id_of_a_pipeline(self, project: Project, text: str) -> None:
        project.pipelines(other=text, broken="def broken(:\n")
        refused(project, "shipments", "'shipments' already, in dags/other.py")

    @pytest.mark.parametrize("line", ["Shipments = 1", "class Shipments: ...", "import json as Shipments"])
    def test_the_class_s_name(self, project: Project, line: str) -> None:
        (project.folder / "src/shop/settings.py").write_text(f"{SETTINGS}\n\n{line}\n")
        refused(project, "shipments", "Shipments")

    def test_a_variable_s_name(self, project: Project) -> None:
        other = SETTINGS.replace('prefix="orders_"', 'prefix="ship"').replace("rows:", "ments_rows:")
        (project.folder / "src/shop/settings.py").write_text(other)
        refused(project, "shipments", "Two classes have the Variable shipments_rows")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("class Orders(:\n", "src/shop/settings.py can't be understood"),
        ("raise OSError('no')\n", "lacks `from exclusive_xcom.variables import output_file`"),
        (SETTINGS + "raise OSError('no')\n", "src/shop/settings.py can't be imported: settings.py line"),
        (NONE + "from dataclasses import Field\n", "`Field` is not that of pydantic"),
        (SETTINGS + ORDERS.replace("rders", "ther").replace("5", "'x'"), "Other.rows: the default 'x'"),
    ],
)
def test_settings_that_can_t_be_used_are_named(project: Project, text: str, word: str) -> None:
    (project.folder / "src/shop/settings.py").write_text(text)
    refused(project, "shipments", word)


def test_a_file_of_variables_that_is_none_is_named(project: Project) -> None:
    (project.folder / "config/variables.json").write_text("{,}")
    refused(project, "shipments", "config/variables.json is not JSON")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_all_or_nothing_is_written(project: Project) -> None:
    (project.folder / "config").chmod(0o555)
    before = project.files()
    done = project.xcom("new", "finance/shipments")
    (project.folder / "config").chmod(0o755)
    assert done.returncode == 1 and "Nothing was changed" in done.stdout
    assert project.files() == before and not (project.folder / "dags" / "finance").exists()


def test_outside_of_a_project_it_says_where_to_go(project: Project, tmp_path: Path) -> None:
    from small_project import XCOM

    done = subprocess.run([XCOM, "new", "shipments"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "There is no config/airflow.env" in done.stderr


def test_class_names() -> None:
    assert [class_name(name) for name in ("shipments", "first_pipeline", "x_1y", "myDag")] == [
        "Shipments",
        "FirstPipeline",
        "X1y",
        "MyDag",
    ]
