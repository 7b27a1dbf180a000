"""`xcom start-clean` in a small project: what it takes for an example, and that git can undo all it does."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from small_project import Project

EXAMPLE = """
from airflow.sdk import dag

@dag(schedule=None, tags=["template-example", "files"])
def orders():
    "Reads data/orders.csv, data/pictures."

orders()
"""
MINE = 'from airflow.sdk import dag\n\n@dag(schedule=None, tags=["mine"])\ndef mine(): ...\n\nmine()\n'
SETTINGS = '''"""Settings."""

from datetime import date

from exclusive_xcom.variables import Settings


class Orders(Settings, prefix="orders_"):
    """For dags/orders.py."""

    since: date = date(2024, 1, 1)


class Mine(Settings, prefix="mine_"):
    """For dags/mine.py."""

    rows: int = 1
'''
TABLE = (
    "| file | what |\n|---|---|\n| `orders.csv` | orders |\n| `pictures` | drawn |\n| `mine.csv` | mine |\n"
)
NOTE = "# For dags/orders.py: a database.\nAIRFLOW_CONN_ORDERS=sqlite://\n\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with one example and one pipeline that is none, committed."""
    made = Project(tmp_path / "my project")
    made.pipelines(orders=EXAMPLE, mine=MINE)
    settings = made.folder / "config" / "airflow.env"
    write(made, "config/airflow.env", NOTE + settings.read_text())
    made.settings(SETTINGS)
    made.xcom("variables")
    write(made, "tests/test_orders.py", "import shop\n")
    write(made, "data/README.md", TABLE)
    for name in ("orders.csv", "mine.csv", "pictures/1.png"):
        write(made, f"data/{name}", name)
    git(made, "init")
    commit(made)
    return made


def write(project: Project, name: str, text: str | bytes) -> None:
    """Write a file of the project, byte for byte."""
    path = project.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def git(project: Project, *command: str) -> str:
    """Call git in the project."""
    call = ["git", "-c", "user.name=me", "-c", "user.email=me@example.com", *command]
    done = subprocess.run(call, cwd=project.folder, capture_output=True, check=True)
    return done.stdout.decode(errors="replace")


def commit(project: Project) -> None:
    """Have git keep everything as it is."""
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "As it is")


def files(project: Project) -> dict[str, bytes]:
    """All files but git's and Airflow's own, and what they hold."""
    found = {}
    for folder, folders, names in os.walk(project.folder):
        folders[:] = [name for name in folders if name not in {".git", ".airflow", "__pycache__"}]
        for path in (Path(folder) / name for name in names):
            found[str(path.relative_to(project.folder))] = path.read_bytes()
    return found


def refused(project: Project, *words: str) -> None:
    """Expect that it refuses in words, and touches nothing."""
    before = files(project)
    done = project.xcom("start-clean")
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stdout
    for word in words:
        assert word in done.stdout
    assert files(project) == before


def done(project: Project) -> str:
    """Expect that it does its work."""
    said = project.xcom("start-clean")
    assert said.returncode == 0, said.stdout
    return said.stdout


def test_what_is_an_example_s_goes_and_git_brings_it_back(project: Project) -> None:
    before = files(project)
    said = done(project)
    after = files(project)
    lost = {"dags/orders.py", "tests/test_orders.py", "data/orders.csv", "data/pictures/1.png"}
    assert set(before) - set(after) == lost
    assert all(name in said for name in lost)
    assert NOTE.encode() not in after["config/airflow.env"]
    left = set(json.loads(after["config/variables.json"]))
    assert left == set(json.loads(before["config/variables.json"])) - {"orders_since"} and "mine_rows" in left
    assert after["data/README.md"].decode().splitlines()[2:] == ["| `mine.csv` | mine |"]
    settings = after["src/shop/settings.py"]
    assert b"class Orders" not in settings and b"import date" not in settings and b"class Mine" in settings
    git(project, "checkout", ".")
    assert files(project) == before


class TestGitMustBeAbleToUndoIt:
    """What it would write or delete, git keeps as it is."""

    def test_not_a_file_that_git_ignores(self, project: Project) -> None:
        git(project, "rm", "--cached", "--quiet", "config/variables.json")
        write(project, ".gitignore", "variables.json\n")
        commit(project)
        refused(project, "config/variables.json")

    @pytest.mark.parametrize(
        "name", ["config/airflow.env", "src/shop/settings.py", "dags/orders.py", "data/orders.csv"]
    )
    def test_not_a_link(self, project: Project, name: str) -> None:
        path, target = project.folder / name, project.folder.parent / "elsewhere"
        path.rename(target)
        path.symlink_to(target)
        commit(project)
        refused(project, name, "Links")
        assert target.is_file()

    @pytest.mark.parametrize("option", ["--skip-worktree", "--assume-unchanged"])
    @pytest.mark.parametrize("name", ["config/airflow.env", "dags/orders.py"])
    def test_not_a_file_that_git_overlooks(self, project: Project, option: str, name: str) -> None:
        git(project, "update-index", option, name)
        write(project, name, (project.folder / name).read_text() + "# mine\n")
        refused(project, name, "overlook")

    def test_not_a_file_that_is_edited(self, project: Project) -> None:
        write(project, "src/shop/settings.py", SETTINGS + "# mine\n")
        refused(project, "Commit your changes first", "src/shop/settings.py")

    def test_a_folder_of_data_that_is_a_link_is_left_alone(self, project: Project) -> None:
        (project.folder / "data").rename(project.folder.parent / "elsewhere")
        (project.folder / "data").symlink_to(project.folder.parent / "elsewhere")
        commit(project)
        before = files(project)
        done(project)
        left = files(project)
        assert {name for name in before if name not in left} == {"dags/orders.py", "tests/test_orders.py"}
        elsewhere = project.folder.parent / "elsewhere"
        assert (elsewhere / "orders.csv").is_file() and (elsewhere / "README.md").read_text() == TABLE

    def test_who_keeps_no_variables_json_gets_none(self, project: Project) -> None:
        git(project, "rm", "--quiet", "config/variables.json")
        commit(project)
        done(project)
        assert "config/variables.json" not in files(project)


@pytest.mark.parametrize(
    "text",
    [
        'import airflow.sdk as a\nEC2(tags={"for": "template-example"})\nwith a.DAG("x"): ...\n',
        'from airflow.sdk import DAG\nwith DAG("x", tags={"purpose": "template-example"}): ...\n',
        'from airflow.sdk import DAG\nwith DAG("x", tags=["an " "template-example"]): ...\n',
        'from airflow.sdk import DAG\nwith DAG("x", tags=[*mine, "template-example"]): ...\n',
        'from airflow.sdk import DAG as D\nD("x", tags=["template-example"])\nD("y", tags=["mine"])\n',
        'from airflow import sdk\nsdk.DAG("x", tags=["template-example"])\n@sdk.dag\ndef y(): ...\n',
    ],
)
def test_an_owner_s_pipeline_is_no_example(project: Project, text: str) -> None:
    write(project, "dags/owned.py", text)
    commit(project)
    done(project)
    assert (project.folder / "dags" / "owned.py").read_text() == text


def test_an_example_in_a_folder_goes_with_all_that_is_its_own(project: Project) -> None:
    write(project, "dags/finance/bills.py", EXAMPLE.replace("orders", "bills").replace("Reads", "As"))
    write(project, "tests/finance/test_bills.py", "")
    write(project, "config/local.env", NOTE.replace("orders", "finance/bills") + "KEPT=1\n")
    write(project, "config/deployment.env", NOTE + "KEPT=2\n")
    commit(project)
    done(project)
    left = files(project)
    assert {"dags/finance/bills.py", "tests/finance/test_bills.py"}.isdisjoint(left)
    assert not (project.folder / "dags" / "finance").exists()
    assert left["config/local.env"] == b"KEPT=1\n" and left["config/deployment.env"] == b"KEPT=2\n"


@pytest.mark.parametrize(
    "tags", ['("template-example",)', '{"a", "template-example"}', '["template-example"]']
)
def test_every_literal_of_tags_counts(project: Project, tags: str) -> None:
    write(project, "dags/more.py", f'import airflow.sdk as a\nwith a.DAG("more", tags={tags}): ...\n')
    commit(project)
    assert "dags/more.py" in done(project)


def test_data_that_an_owner_s_new_pipeline_names_stays(project: Project) -> None:
    write(project, "dags/new.py", MINE + '# reads "orders.csv"\n')
    done(project)
    left = files(project)
    assert "data/orders.csv" in left and "data/pictures/1.png" not in left
    assert b"orders.csv" in left["data/README.md"]


def test_a_connection_or_provider_that_an_owner_s_pipeline_needs_stays(project: Project) -> None:
    needs = """
[project]
dependencies = [
    # For dags/orders.py: a database.
    "apache-airflow-providers-common-sql",
    # For dags/orders.py: another.
    "apache-airflow-providers-sqlite",
]
"""
    table = (project.folder / "pyproject.toml").read_text()
    write(project, "pyproject.toml", needs + table)
    uses = 'from airflow.providers.common.sql.operators.sql import X\nX(conn_id="orders")\n'
    write(project, "dags/new.py", uses)
    commit(project)
    done(project)
    left = files(project)
    assert NOTE.encode() in left["config/airflow.env"]
    assert b"common-sql" in left["pyproject.toml"] and b"sqlite" not in left["pyproject.toml"]


@pytest.mark.parametrize("odd", ["\x0c", "\u2028", "\x85", "\x1c"])
def test_only_what_python_takes_for_line_ends_are_some(project: Project, odd: str) -> None:
    before, after = f'ABOVE = "one"\n# a {odd} note {odd} here\n', f'# a {odd} b\nBELOW = "two"\n'
    example = 'class Orders:\n    """For dags/orders.py."""\n'
    write(project, "src/shop/models.py", before + example + after)
    commit(project)
    done(project)
    left = files(project)["src/shop/models.py"].decode()
    assert 'ABOVE = "one"' in left and 'BELOW = "two"' in left and "Orders" not in left
    assert left.count(odd) == 3


def test_line_ends_stay_as_they_are(project: Project) -> None:
    for name in ("src/shop/settings.py", "config/airflow.env", "data/README.md"):
        text = (project.folder / name).read_text()
        write(project, name, text.replace("\n", "\r\n"))
    git(project, "config", "core.autocrlf", "false")
    commit(project)
    done(project)
    for name in ("src/shop/settings.py", "config/airflow.env", "data/README.md"):
        left = files(project)[name]
        assert left.count(b"\n") == left.count(b"\r\n") > 0
        assert b"orders" not in left.lower()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tests/test_mine.py", "# größer\n".encode("latin-1")),
        ("src/shop/models.py", b"class Orders(:\n"),
        ("dags/broken.py", b"def broken(:\n"),
        ("data/README.md", "größer".encode("latin-1")),
        ("src/shop/settings.py", SETTINGS.replace("rows: int = 1", "rows: int = len([Orders])").encode()),
    ],
)
def test_what_cannot_be_understood_is_named_before_anything_is_touched(
    project: Project, name: str, text: bytes
) -> None:
    write(project, name, text)
    commit(project)
    refused(project, name)


def test_a_byte_order_mark_is_no_hindrance(project: Project) -> None:
    write(project, "dags/orders.py", "\ufeff" + EXAMPLE)
    write(project, "src/shop/settings.py", "\ufeff" + SETTINGS)
    commit(project)
    assert "dags/orders.py" in done(project)
    assert b"class Orders" not in files(project)["src/shop/settings.py"]


def test_names_that_are_no_utf_8_are_shown_as_well_as_can_be(project: Project) -> None:
    try:
        (project.folder / "data" / "pictures" / os.fsdecode(b"gr\xf6\xdfe.png")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system has no such names")
    commit(project)
    assert "data/pictures/gr\ufffd\ufffde.png" in done(project)
    assert "pictures" not in "".join(map(ascii, files(project)))
