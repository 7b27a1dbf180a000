"""What a baked project looks like, for every combination of choices: valid files, clean files, no others."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from projects import BACKENDS, CHOICES, EVERY_CHOICE, Bake, BakedProject, Machine, short

SOURCE = "{{cookiecutter.project_slug}}"
JUNK = re.compile(
    r"(^|/)(__pycache__|\.(mypy|pytest|ruff)_cache|\.hypothesis|\.venv|\.airflow|uv\.lock|\.env)(/|$)|\.pyc$"
)
LICENSES = {
    "Apache-2.0": "Apache License",
    "MIT": "MIT License",
    "BSD-3-Clause": "BSD 3-Clause License",
    "Proprietary": None,
}
# Jinja, but not the `${{ … }}` of GitHub and the `${#…}` of shells.
JINJA = re.compile(r"(?<!\$)\{[{%#]")
JINJA_IN_PYTHON = re.compile(r"\{\{-? *cookiecutter|\{%-? *(end)?(raw|if|for|set)")


@pytest.fixture(scope="module", params=EVERY_CHOICE, ids=short)
def project(request: pytest.FixtureRequest, bake: Bake) -> BakedProject:
    """A project for one combination of choices."""
    return bake(**request.param)


def test_its_structured_files_can_be_read(project: BakedProject) -> None:
    for name, text in project.texts().items():
        suffix = Path(name).suffix
        try:
            if suffix == ".toml":
                tomllib.loads(text)
            elif suffix == ".json":
                json.loads(text)
            elif suffix in (".yaml", ".yml"):
                list(yaml.safe_load_all(text))
        except (ValueError, yaml.YAMLError) as error:
            pytest.fail(f"{name}: {error}")


def test_no_template_language_is_left_in_it(project: BakedProject) -> None:
    for name, text in project.texts().items():
        if name.startswith("packages/") or name == ".cruft.json":
            continue  # copied; names of questions
        sign = JINJA_IN_PYTHON if name.endswith(".py") else JINJA
        found = sign.search(text)
        assert not found, f"{name} holds {found.group()!r} in line {text[: found.start()].count(chr(10)) + 1}"


def test_its_text_is_as_pre_commit_wants_it(project: BakedProject) -> None:
    for name, text in project.texts().items():
        if not text:
            continue
        assert text.endswith("\n"), f"{name} has no line end at its end"
        assert not text.endswith("\n\n"), f"{name} has empty lines at its end"
        assert "\r" not in text, f"{name} has line ends of Windows"
        trailing = re.search(r"[ \t]+$", text, re.MULTILINE)
        if not name.startswith("data/"):
            assert not trailing, (
                f"{name} has blanks at the end of line {text[: trailing.start()].count(chr(10)) + 1}"
            )


def test_it_has_no_empty_folder_and_nothing_that_tools_left(project: BakedProject) -> None:
    for path in project.path.rglob("*"):
        name = path.relative_to(project.path).as_posix()
        assert not JUNK.search(name), f"{name} was baked"
        if path.is_dir():
            assert any(path.iterdir()), f"{name} is empty"


def test_it_has_the_files_that_were_chosen(project: BakedProject) -> None:
    files = set(project.files())
    title = LICENSES[project.answers["license"]]
    assert ("LICENSE" in files) == (title is not None)
    if title is not None:
        assert project.read("LICENSE").strip().startswith(title)
    assert any(name.startswith(".github/") for name in files) == (project.answers["ci"] == "github")
    assert (".gitlab-ci.yml" in files) == (project.answers["ci"] == "gitlab")


def test_its_pyproject_says_what_was_chosen(project: BakedProject) -> None:
    settings = tomllib.loads(project.read("pyproject.toml"))
    stated = settings["project"]
    assert stated["name"] == "my-pipelines"
    assert stated["requires-python"].startswith(f">={project.answers['python_version']}")
    assert "apache-airflow==3.3.2" in [re.sub(r"\[.*\]", "", name) for name in stated["dependencies"]]
    # TEMPLATE: what is born after baking must be out of cruft's sight from the first release on.
    assert {".env", "connections.env", "uv.lock"} <= set(settings["tool"]["cruft"]["skip"])
    assert settings["tool"]["uv"]["exclude-newer"] == "2026-11-28T00:00:00Z"


def test_its_settings_choose_the_backend(project: BakedProject) -> None:
    chosen = re.search(
        r"^AIRFLOW__CORE__XCOM_BACKEND=(\S+)$", project.read("config/airflow.env"), re.MULTILINE
    )
    backend = project.answers["xcom_backend"]
    name = {"db": "DbXComBackend", "s3": "S3XComBackend", "redis": "RedisXComBackend"}[backend]
    assert chosen
    assert chosen.group(1) == f"exclusive_xcom.{backend}.{name}"


def test_its_data_is_copied_byte_for_byte(project: BakedProject, template_repository: Path) -> None:
    source = template_repository / SOURCE
    copied = [path for path in (source / "data").rglob("*") if path.is_file() and path.suffix != ".md"]
    assert copied
    if project.answers["examples"] != "all":
        copied = []
    for path in copied:
        name = path.relative_to(source).as_posix()
        assert (project.path / name).read_bytes() == path.read_bytes(), name


def test_what_is_the_owner_s_is_little(project: BakedProject) -> None:
    """The rooms of a project: nothing of the engine is outside of packages/, and no tool of the template."""
    rooms = {name.partition("/")[0] for name in project.files() if "/" in name} - {".github"}
    editors = {".devcontainer", ".vscode"}
    assert rooms - editors - {"deploy"} == {
        "config",
        "dags",
        "data",
        "include",
        "packages",
        "plugins",
        "src",
        "tests",
    }
    assert ("deploy" in rooms) == (project.answers["executor"] == "KubernetesExecutor")
    assert {path.name for path in (project.path / "src" / project.package).iterdir()} == {
        "__init__.py",
        "alerts.py",
        "models.py",
        "settings.py",
    }


@pytest.mark.parametrize(
    "command", [("check", "--output-format=concise"), ("format", "--check")], ids=" ".join
)
def test_ruff_has_nothing_to_say_and_nothing_to_change(
    bake: Bake, machine: Machine, command: tuple[str, ...], tmp_path: Path
) -> None:
    projects = [bake(**answers).path for answers in EVERY_CHOICE]
    # The longest and the shortest name of a package: neither may move a line break.
    projects += [bake(project_slug=slug).path for slug in ("a1", "a" * 40)]
    done = machine.tool("ruff", *command, "--no-cache", "--quiet", *projects, cwd=tmp_path, check=False)
    inside = "|".join(re.escape(f"{path}/") for path in projects)
    said = dict.fromkeys(re.sub(inside, "", done.stdout + done.stderr).splitlines())  # once for all projects
    assert (done.returncode, "\n".join(said)) == (0, "")


@pytest.mark.parametrize("ci", CHOICES["ci"])
def test_its_ci_file_is_one(bake: Bake, ci: str, machine: Machine, tmp_path: Path) -> None:
    project = bake(ci=ci)
    files = {
        "github": [str(path) for path in (project.path / ".github" / "workflows").glob("*.yml")],
        "gitlab": [str(project.path / ".gitlab-ci.yml")],
        "none": [],
    }[ci]
    schema = {"github": "vendor.github-workflows", "gitlab": "vendor.gitlab-ci", "none": ""}[ci]
    if ci == "none":
        assert not [name for name in project.files() if name.endswith(".yml")]
    else:
        assert files
        machine.tool("check-jsonschema", "--builtin-schema", schema, *files, cwd=tmp_path)


def test_an_editor_finds_the_interpreter_the_tests_and_the_debugger(bake: Bake) -> None:
    project = bake()
    names = (".vscode/settings", ".vscode/extensions", ".vscode/launch", ".devcontainer/devcontainer")
    settings, extensions, launch, container = (json.loads(project.read(f"{name}.json")) for name in names)
    assert settings["python.defaultInterpreterPath"] == "${workspaceFolder}/.venv/bin/python"
    assert settings["python.testing.pytestEnabled"]
    # .env leads to what is real; tests leave it out, and an editor must not put it back.
    assert settings["python.envFile"] == ""
    formatter = settings["[python]"]["editor.defaultFormatter"]
    debuggers = {configuration["type"] for configuration in launch["configurations"]}
    assert {formatter, "ms-python.debugpy"} <= set(extensions["recommendations"]) and debuggers == {"debugpy"}
    assert container["customizations"]["vscode"]["extensions"] == extensions["recommendations"]
    assert container["postCreateCommand"] == "make install"


@pytest.mark.parametrize("backend", BACKENDS)
def test_its_compose_files_are_ones(bake: Bake, backend: str) -> None:
    project = bake(xcom_backend=backend)
    files = ("docker-compose.yaml", "docker-compose.dev.yaml")
    schema = ("--builtin-schema", "vendor.compose-spec")
    project.machine.tool("check-jsonschema", *schema, *files, cwd=project.path)


# What make and a shell would each act on, and what programs would take for options of theirs.
TYPED = "x;touch pwned it's $(shell touch pwned) `touch pwned` --help *"


@pytest.mark.parametrize(
    ("target", "name", "said"),
    [
        ("run", "ONLY", ["run", "xcom", "run", "--", *TYPED.split(" ")]),
        ("test", "ONLY", ["run", "python", "-m", "pytest", f"--only={TYPED}"]),
        ("debug", "DAG", ["run", "xcom", "debug", "--", TYPED]),
        ("debug", "TASK", ["run", "xcom", "debug", f"--task={TYPED}", "--", "orders"]),
        ("new", "DAG", ["run", "xcom", "new", "--", TYPED]),
        ("add", "PACKAGES", ["add", *TYPED.split(" ")]),
        ("deploy-image", "PUSH", ["run", "python", "-m", "exclusive_xcom.local.image", TYPED]),
    ],
)
def test_what_is_typed_after_make_reaches_the_command_as_it_is(
    bake_into: Bake, tmp_path: Path, target: str, name: str, said: list[str]
) -> None:
    folder = bake_into(tmp_path, xcom_backend="db", examples="none")
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n", encoding="utf-8")
    uv.chmod(0o755)
    (folder.path / "uv.lock").touch()
    more = ["DAG=orders"] if name == "TASK" else []
    done = folder.make(target, f"UV={uv}", f"{name}={TYPED}", *more)
    assert done.stdout.splitlines() == said
    assert not list(folder.path.rglob("pwned"))


def test_only_the_edges_know_the_answers(bake: Bake) -> None:
    """The backend shows in settings and papers, never in Python: every project carries the whole engine."""
    first, *others = (bake(xcom_backend=backend).files() for backend in BACKENDS)
    for other in others:
        common = [name for name in first.keys() & other.keys() if name.endswith(".py")]
        assert common
        assert [name for name in common if first[name] != other[name]] == []


def test_baking_again_gives_the_same_bytes(bake: Bake, bake_into: Bake, tmp_path: Path) -> None:
    assert bake_into(tmp_path).files() == bake().files()


@pytest.mark.parametrize(("target", "said"), [("add", "make add PACKAGES="), ("debug", "make debug DAG=")])
def test_a_command_without_its_object_says_how(
    bake_into: Bake, tmp_path: Path, target: str, said: str
) -> None:
    project = bake_into(tmp_path)
    (project.path / ".tools").mkdir()
    (project.path / ".tools" / "uv").touch(mode=0o755)  # not what is asked about here
    done = project.make(target, check=False)
    assert done.returncode and said in done.stderr


# What an update can leave behind, also where no tool looks.
LEFT = {
    "marks": (
        "dags/first_pipeline.py",
        "\n<<<<<<< HEAD\n=======\n>>>>>>> theirs\n",
        "dags/first_pipeline.py:",
    ),
    "marks elsewhere": ("data/README.md", "\n>>>>>>> theirs\n", "data/README.md:"),
    "rejected": ("packages/update.py.rej", "@@ -1 +1 @@\n", "packages/update.py.rej\n"),
}


@pytest.mark.parametrize(("name", "text", "said"), LEFT.values(), ids=LEFT.keys())
def test_a_merge_that_was_left_half_done_fails_lint_and_so_ci(
    bake_into: Bake, tmp_path: Path, name: str, text: str, said: str
) -> None:
    project = bake_into(tmp_path)
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\n", encoding="utf-8")  # nothing else has anything to say
    uv.chmod(0o755)
    project.commit("As baked")
    assert project.make("lint", f"UV={uv}").stdout == ""
    with (project.path / name).open("a", encoding="utf-8") as file:
        file.write(text)
    for _ in range(2):  # before it is committed, and after
        done = project.make("lint", f"UV={uv}", check=False)
        assert done.returncode and said in done.stdout and "remove them" in done.stderr
        project.commit("Left")


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_ci_runs_lint(bake: Bake, ci: str) -> None:
    project = bake(ci=ci)
    if ci == "github":
        jobs = yaml.safe_load(project.read(".github/workflows/ci.yml"))["jobs"]
        commands = [step.get("run") for step in jobs["check"]["steps"]]
    else:
        commands = yaml.safe_load(project.read(".gitlab-ci.yml"))["check"]["script"]
    assert {"make lint", "make check-image", "make test", "make run"} <= set(commands)


@pytest.mark.parametrize("executor", ["CeleryExecutor", "KubernetesExecutor"])
def test_a_provider_can_not_become_one_of_years_ago(bake: Bake, executor: str) -> None:
    """As it happens where another library's newest release does not fit the provider's."""
    project = tomllib.loads(bake(executor=executor).read("pyproject.toml"))["project"]
    wanted = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    providers = [name for name in wanted if "providers" in name]
    assert len(providers) > 3
    assert not [name for name in providers if ">=" not in name]
