"""`xcom variables`: config/variables.json from the settings module, and what became of each Variable."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_project import Project

TEMPLATE = Path(__file__).resolve().parents[3] / "{{cookiecutter.project_slug}}"
SETTINGS = '''
from exclusive_xcom.variables import Settings
from pydantic import Field, SecretStr

print("settings are imported")


class Shop(Settings, prefix="shop_"):
    """For dags/shop.py."""

    rows: int = Field(5, ge=1, description="How many.")
    name: str = Field("größe", description="Which.")
    password: SecretStr = Field(SecretStr("hidden"), description="Secret.")
    day: str = Field(description="Required.")
'''


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose file of Variables is as its settings say."""
    made = Project(tmp_path / "my project")
    made.settings(SETTINGS, variables=None)
    done = made.xcom("variables")
    assert done.returncode == 0, done.stdout
    return made


def file(project: Project) -> Path:
    """Its file of Variables."""
    return project.folder / "config" / "variables.json"


def settings(project: Project, *changes: tuple[str, str]) -> None:
    """Write its settings anew, with some text replaced."""
    text = SETTINGS
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (project.folder / "src" / "shop" / "settings.py").write_text(text)


def test_it_has_defaults_and_descriptions_and_no_secret(project: Project) -> None:
    made = json.loads(file(project).read_text(encoding="utf-8"))
    assert set(made) == {"data_folder", "output_folder", "shop_rows", "shop_name"}
    assert made["shop_name"] == {"value": "größe", "description": "Which. Allowed: a text."}
    assert "hidden" not in file(project).read_text()
    assert project.xcom("variables").stdout == "Nothing changed.\n"


@pytest.mark.parametrize("end", ["import sys\nsys.exit()\n", "import os\nos._exit(0)\n"])
def test_settings_that_end_python_are_named(project: Project, end: str) -> None:
    settings(project, ("class Shop", f"{end}class Shop"))
    done = project.xcom("variables")
    assert done.returncode == 2
    assert done.stdout == "src/shop/settings.py can't be imported: it ended Python\n"


def test_a_secret_that_was_written_by_hand_is_not_shown(project: Project) -> None:
    settings(project, ("    day:", '    api_key: str = Field("", description="Key.")\n    day:'))
    entries = json.loads(file(project).read_text()) | {"shop_api_key": {"value": "s3cret"}}
    file(project).write_text(json.dumps(entries))
    said = project.xcom("variables").stdout
    assert 'changed  shop_api_key: a value that is not shown → ""\n' in said and "s3cret" not in said


def test_it_says_what_was_added_changed_and_removed(project: Project) -> None:
    settings(project, ("Field(5,", "Field(7,"), ('"Which."', '"Whose."'))
    entries = json.loads(file(project).read_text()) | {"by_hand": "mine", "api_token": "s3cret"}
    del entries["data_folder"]
    entries["shop_password"] = {"value": "s3cret"}
    file(project).write_text(json.dumps(entries))
    said = project.xcom("variables").stdout
    assert said.splitlines() == [
        'added    data_folder = "data"',
        "changed  shop_rows: 5 → 7",
        "changed  shop_name: Whose. Allowed: a text.",
        'removed  by_hand: no settings class declares it; it was "mine"',
        "removed  api_token: no settings class declares it; its value is not shown",
        "removed  shop_password: secrets stay out of the file; its value is not shown",
        "config/variables.json is written.",
    ]
    assert project.xcom("variables").stdout == "Nothing changed.\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "Field(5, ge=1",
            "Field(0, ge=1",
            "Shop.rows: the default 0 is not allowed: it must be a whole number",
        ),
        ('Field("größe"', "Field(3", "Shop.name: the default 3 is not allowed: it must be a text"),
        ("prefix=", "prefx=", "can't be imported: settings.py line 8: TypeError"),
        ("rows: int", "rows: lint", "can't be imported: settings.py line 11: NameError"),
        ("class Shop", "class : Shop", "can't be imported: settings.py line 8: SyntaxError"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(project: Project, old: str, new: str, said: str) -> None:
    settings(project, (old, new))
    before = file(project).read_bytes()
    done = project.xcom("variables")
    assert done.returncode == 2 and said in done.stdout, done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert file(project).read_bytes() == before


@pytest.mark.parametrize("text", ["{,}", "[1]"])
def test_a_file_that_is_none_is_left_alone(project: Project, text: str) -> None:
    file(project).write_text(text)
    done = project.xcom("variables")
    assert done.returncode == 2 and "`make variables` makes it anew" in done.stdout
    assert file(project).read_text() == text


def test_a_project_that_names_no_settings_is_told_where(project: Project) -> None:
    (project.folder / "pyproject.toml").write_text("")
    assert "[tool.exclusive-xcom] in pyproject.toml" in project.xcom("variables").stdout
    (project.folder / "pyproject.toml").write_text('[tool.exclusive-xcom]\nsettings = "shop.gone"\n')
    assert "there is no src/shop/gone.py" in project.xcom("variables").stdout


class TestAProjectSOwnTest:
    """tests/test_settings.py: for one cause one red test, which is a sentence."""

    def run(self, project: Project) -> subprocess.CompletedProcess[str]:
        """Run it in the project."""
        text = (TEMPLATE / "tests" / "test_settings.py").read_text(encoding="utf-8")
        (project.folder / "tests").mkdir(exist_ok=True)
        test = project.folder / "tests" / "test_settings.py"
        test.write_text(text.replace("{{ cookiecutter.__package }}", "shop"))
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:hypothesispytest",
        ]
        environ = {"PYTHONPATH": str(project.folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        where = {"cwd": project.folder, "env": environ}
        return subprocess.run([*command, str(test)], capture_output=True, text=True, **where)

    def test_is_green(self, project: Project) -> None:
        done = self.run(project)
        assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr

    def test_names_what_is_only_in_the_file(self, project: Project) -> None:
        entries = json.loads(file(project).read_text()) | {"by_hand": 1}
        file(project).write_text(json.dumps(entries))
        self.says(
            project,
            "variables.json: `by_hand` is in no settings class. Declare it in one, or `make variables`",
        )

    def test_names_what_is_not_in_the_file(self, project: Project) -> None:
        settings(project, ("rows: int", "lines: int"))
        done = self.says(project, "variables.json: `shop_lines` is missing. `make variables` adds it.")
        assert "`shop_rows` is in no settings class" in done

    def test_names_what_is_another_in_the_file(self, project: Project) -> None:
        settings(project, ("Field(5,", "Field(7,"))
        self.says(project, "variables.json: `shop_rows` is not as its settings class says.")

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("Field(5, ge=1", "Field(0, ge=1", "Shop.rows: the default 0 is not allowed"),
            ('SecretStr("hidden")', "5", "Shop.password: the default is not allowed: it must be a text"),
            (
                'prefix="shop_"):',
                'prefix=""):\n    output_folder: str = "x"',
                "Two classes have the Variable output_folder",
            ),
        ],
    )
    def test_names_class_and_field(self, project: Project, old: str, new: str, said: str) -> None:
        settings(project, (old, new))
        assert "pydantic" not in self.says(project, said)

    def says(self, project: Project, sentence: str) -> str:
        """Expect one red test that says it, without a stack."""
        done = self.run(project)
        assert done.returncode == 1 and sentence in done.stdout, done.stdout + done.stderr
        assert (
            "1 failed" in done.stdout
            and "Traceback" not in done.stdout
            and not re.search(r"\.py:\d", done.stdout)
        )
        return done.stdout
