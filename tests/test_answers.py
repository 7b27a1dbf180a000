"""Any answer either gives a working project, or is refused in one line before a file is written."""

from __future__ import annotations

import ast
import json
import keyword
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from cookiecutter.exceptions import FailedHookException
from cookiecutter.main import cookiecutter
from projects import CHOICES, QUESTIONS, TEMPLATE, Bake, BakedProject, Machine

from exclusive_xcom.local import envfile

ODD = {
    "double quotes": 'Say "hi", then """bye"""',
    "single quotes": "It's '''quoted'''",
    "backslashes": r"C:\new\table \x41 \u0041 \\ \N{DASH}",
    "backslash at the end": "it goes on \\",
    "braces": "{one} { {two} } }} %} #} ${HOME} %(here)s %s {0!r}",
    "shell": "$(touch pwned) `touch pwned` ; touch pwned & | > pwned #",
    "make": "$(shell touch pwned) $$ %.o: ; @x",
    "python": '"); import pathlib; pathlib.Path("pwned").touch(); ("',
    "yaml mapping": "a: b # - [c] {d: e} & *f !g | >",
    "yaml null": "null",
    "yaml list": "- x",
    "number": "1e3",
    "toml": 'x"]\\nscripts = {pwned = "os:system"',
    "markup": "<script>alert(1)</script> <!-- [a](b) | `c` *d* ~~~ [bold]e[/]",
    "unicode": "Zażółć gęślą 東京 🚀 שלום é\u00a0x",
    "longest": "w" * 80,
}

REFUSED = [
    ("project_slug", "2fast", "begin with a letter"),
    ("project_slug", "Loud", "lower-case letters"),
    ("project_slug", "a b", "lower-case letters"),
    ("project_slug", "a--b", "single dashes"),
    ("project_slug", "a-", "lower-case letters"),
    ("project_slug", "a.b", "lower-case letters"),
    ("project_slug", "ünïcode", "lower-case letters"),
    ("project_slug", "../up", "lower-case letters"),
    ("project_slug", "a" * 41, "longer than 40"),
    ("project_slug", "class", "word of the Python language"),
    ("project_slug", "match", "word of the Python language"),
    ("project_slug", "lazy", "word of the Python language"),
    ("project_slug", "true", "YAML takes for"),
    ("project_slug", "null", "YAML takes for"),
    ("project_slug", "on", "YAML takes for"),
    ("project_slug", "json", "standard library"),
    ("project_slug", "pipes", "standard library"),
    ("project_slug", "annotationlib", "standard library"),
    ("project_slug", "tests", "folder or module"),
    ("project_slug", "dags", "folder or module"),
    ("project_slug", "config", "folder or module"),
    ("project_slug", "data", "folder or module"),
    ("project_slug", "airflow", "package that the project installs"),
    ("project_slug", "redis", "package that the project installs"),
    ("project_slug", "pandas", "package that the project installs"),
    ("project_slug", "numpy", "package that the project installs"),
    ("project_slug", "obstore", "package that the project installs"),
    ("project_slug", "apache-airflow", "package that the project installs"),
    ("project_slug", "pillow", "package that the project installs"),
    ("project_name", "", "must not be empty"),
    ("project_name", "x" * 81, "longer than 80 characters, and this has 81"),
    ("project_name", " x", "begin or end with a space"),
    ("project_name", "two\nlines", "one line without control characters"),
    ("description", "tab\there", "one line without control characters"),
    ("description", "bell\a", "one line without control characters"),
    ("description", "x" * 201, "longer than 200"),
    ("author", "line\u2028separator", "one line without control characters"),
    ("author", "turned \u202e round", "one line without control characters"),
    ("author", "delete\x7f", "one line without control characters"),
    ("author", "", "must not be empty"),
]


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_odd_answers_give_the_same_project_in_other_words(bake: Bake, odd: str) -> None:
    plain = bake(project_slug="odd", license="MIT")
    project = bake(project_slug="odd", license="MIT", project_name=odd, description=odd, author=odd)
    was, files = plain.files(), project.files()
    assert files.keys() == was.keys()
    assert [name for name in files if name.endswith(".py") and files[name] != was[name]] == []
    for name, text in project.texts().items():
        suffix = Path(name).suffix
        if suffix in (".yaml", ".yml"):
            assert list(yaml.safe_load_all(text)) or not text, name
        elif suffix == ".json":
            json.loads(text)
    stated = tomllib.loads(project.read("pyproject.toml"))["project"]
    assert stated["description"] == odd
    assert [author["name"] for author in stated["authors"]] == [odd]
    assert odd in project.read("LICENSE")
    assert project.make("help").stdout == plain.make("help").stdout
    project.run(
        sys.executable, "-c", "import odd; print(odd.__doc__)", PYTHONPATH="src", PYTHONDONTWRITEBYTECODE="1"
    )
    assert not list(project.path.parent.rglob("pwned"))


# What YAML, TOML, JSON, a shell or Docker could take for something else than a name.
SLUGS = [
    "nan",
    "inf",
    "e1",
    "undefined",
    "latest",
    "scratch",
    "x-y_z",
]


@pytest.mark.parametrize("slug", SLUGS)
def test_an_odd_slug_is_a_name_everywhere(bake: Bake, slug: str) -> None:
    project = bake(project_slug=slug, xcom_backend="redis", ci="gitlab")
    files = {Path(name): text for name, text in project.texts().items() if not name.startswith("packages/")}
    read: dict[str, Any] = {}
    for path, text in files.items():
        if path.suffix in (".yaml", ".yml"):
            read[path.name] = yaml.safe_load(text)
        elif path.suffix == ".json":
            read[path.name] = json.loads(text)
        elif path.suffix == ".toml":
            read[path.name] = tomllib.loads(text)
        elif path.name in ("airflow.env", "local.env"):
            read[path.name] = envfile.read(project.path / path, {"PWD": str(project.path)}, path)
        elif path.suffix == ".py":
            ast.parse(text)
    compose = read["docker-compose.yaml"]
    assert compose["name"] == slug
    assert compose["services"]["scheduler"]["image"] == f"${{IMAGE:-{slug}}}"
    assert read["pyproject.toml"]["project"]["name"] == slug
    assert read["devcontainer.json"]["name"] == slug
    assert read["airflow.env"]["AIRFLOW__XCOM__PREFIX"] == slug
    assert f'image.title="{slug}"' in project.read("Dockerfile")
    project.run(
        sys.executable, "-c", f"import {project.package}", PYTHONPATH="src", PYTHONDONTWRITEBYTECODE="1"
    )


@pytest.mark.parametrize(("name", "value", "reason"), REFUSED)
def test_bad_answers_are_refused_in_one_line(
    bake_into: Bake, name: str, value: str, reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    with pytest.raises(FailedHookException):
        bake_into(
            folder, **{name: value} if name == "project_slug" else {"project_slug": "fine", name: value}
        )
    lines = [line for line in capfd.readouterr().err.splitlines() if " = " in line]
    assert len(lines) == 1
    shown = ascii(value if len(value) <= 60 else value[:57] + "...")
    assert lines[0].startswith(f"{name} = {shown}: must")
    assert reason in lines[0]
    assert not list(folder.iterdir()), "something was left behind"


def test_no_list_of_the_python_that_runs_the_hook_decides() -> None:
    """`pipes` left in 3.13, `annotationlib` came in 3.14: the answer must be the same under all of them."""
    text = (TEMPLATE / "hooks/pre_gen_project.py").read_text(encoding="utf-8")
    assert "stdlib_module_names" not in text
    assert "keyword." not in text
    (listed,) = re.findall(r'^STANDARD_LIBRARY = """(.*?)"""', text, re.DOTALL | re.MULTILINE)
    assert {name for name in sys.stdlib_module_names if name[0] != "_"} <= set(listed.split())
    (words,) = re.findall(r'^PYTHON_WORDS = """(.*?)"""', text, re.DOTALL | re.MULTILINE)
    assert {word for word in [*keyword.kwlist, *keyword.softkwlist] if word.islower()} <= set(words.split())


def test_every_bad_answer_has_its_line(machine: Machine, tmp_path: Path, cookiecutter_config: Path) -> None:
    answers = ["project_slug=class", "author= x", "description=a\tb"]
    config = ["--config-file", str(cookiecutter_config)]
    done = machine.tool("cookiecutter", "--no-input", *config, TEMPLATE, *answers, cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert [line.split(" ")[0] for line in done.stderr.splitlines() if ": must " in line] == [
        "project_slug",
        "description",
        "author",
    ]
    (again,) = (line for line in done.stderr.splitlines() if line.startswith("Again, "))
    kept = shlex.split(again.partition("behind it ")[2])
    assert kept[:3] == ["--no-input", "project_name=My Pipelines", "xcom_backend=db"]
    assert kept[-3:] == ["project_slug=...", "description=...", "author=..."]


@pytest.mark.parametrize("sign", ["{{", "{%", "{#"])
def test_what_template_engines_act_on_is_refused(
    sign: str,
    tmp_path: Path,
    cookiecutter_config: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Typed at a prompt, such an answer is kept as it is, and every later `cruft update` would act on it."""
    typed = f"a {sign} b"
    monkeypatch.setattr(
        "cookiecutter.prompt.read_user_variable",
        lambda name, default, *rest: typed if name == "description" else default,
    )
    monkeypatch.setattr("cookiecutter.prompt.read_user_choice", lambda name, options, *rest: options[0])
    with pytest.raises(FailedHookException):
        cookiecutter(str(TEMPLATE), output_dir=str(tmp_path), config_file=str(cookiecutter_config))
    assert f"description = {typed!a}: must not contain" in capfd.readouterr().err


@pytest.mark.parametrize("name", CHOICES)
def test_a_wrong_choice_is_refused(bake_into: Bake, name: str, tmp_path: Path) -> None:
    """cookiecutter and cruft see to that themselves."""
    with pytest.raises(
        ValueError, match=f"nonsense provided for choice variable {name}, but the choices are"
    ):
        bake_into(tmp_path, **{name: "nonsense"})


@pytest.mark.parametrize("name", CHOICES)
def test_a_wrong_choice_from_a_record_is_refused_too(
    bake: Bake, name: str, tmp_path: Path, cookiecutter_config: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`cookiecutter --replay-file` takes recorded answers as they are."""
    recorded = json.loads(bake().read(".cruft.json"))["context"]
    recorded["cookiecutter"][name] = "nonsense"
    record = tmp_path / "record.json"
    record.write_text(json.dumps(recorded), encoding="utf-8")
    with pytest.raises(FailedHookException):
        cookiecutter(
            str(TEMPLATE), replay=str(record), output_dir=str(tmp_path), config_file=str(cookiecutter_config)
        )
    assert f"{name} = 'nonsense': must be one of {', '.join(CHOICES[name])}." in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Naïve Ünïcode", "naive-unicode"),
        ("A/B & C: d?", "a-b-c-d"),
        ("!!!", "my-pipelines"),
        ("w " * 39 + "w", None),
    ],
)
def test_the_name_suggests_the_slug(bake: Bake, name: str, slug: str | None) -> None:
    made = bake(project_name=name).path.name
    assert made == slug or (slug is None and len(made) <= 40)


DEFAULTS = {
    "project_name": "My Pipelines",
    "description": "Airflow pipelines whose tasks hand each other real data",
    "author": "Data Team",
}


def bucket(project: BakedProject) -> str:
    """The bucket that a project of s3 keeps its XComs in."""
    (found,) = re.findall(
        r"^AIRFLOW__XCOM__URL=s3://(.+)/xcom$", project.read("config/airflow.env"), re.MULTILINE
    )
    assert f"arn:aws:s3:::{found}/xcom/*" in project.read("config/aws-iam-policy.json")
    return str(found)


def test_each_project_has_a_bucket_of_its_own(bake: Bake, bake_into: Bake, tmp_path: Path) -> None:
    """All buckets of a cloud share one list of names: two teams' "sales" must not collide."""
    told = [{"author": "Team A"}, {"author": "Team B"}, {"author": "東京"}, {"description": "Its own"}]
    names = [bucket(bake(xcom_backend="s3", project_slug="sales", **answers)) for answers in told]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"sales-xcom-[0-9a-f]{10}", name) for name in names)
    assert bucket(bake_into(tmp_path, xcom_backend="s3", project_slug="sales", **told[0])) == names[0]
    # An update makes the name anew. It must be the same for ever: XComs are there.
    assert bucket(bake(xcom_backend="s3", **DEFAULTS)) == "my-pipelines-xcom-20613dfd08"
    longest = bucket(bake(xcom_backend="s3", project_slug="a_" * 19 + "b9"))
    assert re.fullmatch(r"[a-z0-9-]{3,63}", longest)


def test_nothing_is_published_unless_somebody_says_so(bake: Bake) -> None:
    stated = tomllib.loads(bake().read("pyproject.toml"))["project"]
    assert stated["license"] == "LicenseRef-Proprietary"
    assert "Private :: Do Not Upload" in stated["classifiers"]


def test_who_has_an_older_airflow_learns_it_before_the_first_answer() -> None:
    first = next(iter(QUESTIONS))
    assert "Airflow 3.3 or 3.4" in QUESTIONS["__prompts__"][first]
    assert QUESTIONS["__airflow_version"].startswith("3.3.")
