"""Projects made by the real tools, each in a folder of its own.

Nothing of the person who runs the tests gets in: home folder, git and cookiecutter settings are the tests'.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter
from projects import AIRFLOW, BACKENDS, QUESTIONS, TEMPLATE, Bake, BakedProject, Machine, released_files
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Test modules that share an installed project.
SHARING = ("test_installed.py", "test_price_list.py", "test_s3_pipelines.py", "test_textbook.py")


class ByProject(LoadScopeScheduling):  # type: ignore[misc]  # untyped in the library
    """Keeps in one process what shares an installed project or a released template: else two would make it.

    pytest-xdist's own groups (`--dist=loadgroup`) have no effect under pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, name = nodeid.partition("::")
        backend = re.search(r"\[(\w+)\]$", name)
        if file.endswith(SHARING) and backend:
            return f"installed {backend[1]}"
        # Each process that tests updates makes the release that they take in: two share them, by their names.
        return f"update {len(file) % 2}" if "/update/" in file else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """The order in which `pytest --numprocesses=2` gives out tests."""
    return ByProject(config, log)


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine whose user has nothing but a name for git."""
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text("[user]\n\tname = Test\n\temail = test@example.org\n", encoding="utf-8")
    return Machine(home)


@pytest.fixture(scope="session")
def cookiecutter_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings that keep cookiecutter's records out of the home folder, and `gh:` away from the network."""
    folder = tmp_path_factory.mktemp("cookiecutter")
    config = folder / "config.yaml"
    settings = {
        "cookiecutters_dir": str(folder / "clones"),
        "replay_dir": str(folder / "replay"),
        "abbreviations": {"gh": f"file://{folder}/git/{{0}}.git"},
    }
    config.write_text(json.dumps(settings), encoding="utf-8")
    return config


@pytest.fixture(scope="session")
def template_repository(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository that holds this template as it would be released now, for all tests to bake from."""
    repository = tmp_path_factory.mktemp("template") / "cookiecutter-airflow-xcom"
    for name in released_files(machine):
        target = repository / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TEMPLATE / name, target, follow_symlinks=False)
    machine.git(repository, "init", "--quiet", "--initial-branch=main")
    machine.git(repository, "add", "--all", "--force")
    machine.git(repository, "commit", "--quiet", "--message", "Release")
    machine.git(repository, "tag", "v" + QUESTIONS["__template_version"])
    return repository


@pytest.fixture(scope="session")
def bake_into(machine: Machine, cookiecutter_config: Path, template_repository: Path) -> Bake:
    """Bake a project below a folder, of this template or another: `bake_into(folder, xcom_backend="s3")`."""

    def bake_project(folder: Path, template: Path = template_repository, **answers: str) -> BakedProject:
        answers = {"__airflow_version": AIRFLOW, **answers} if AIRFLOW else answers
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(tempfile, "tempdir", str(machine.temporary))
            made = cookiecutter(
                str(template),
                no_input=True,
                extra_context=answers,
                output_dir=str(folder),
                config_file=str(cookiecutter_config),
            )
        return BakedProject(Path(made), answers, machine)

    return bake_project


@pytest.fixture(scope="session")
def bake(bake_into: Bake, tmp_path_factory: pytest.TempPathFactory) -> Bake:
    """A project with these answers, made once and shared, so not to be changed: `bake(xcom_backend="s3")`."""
    baked: dict[tuple[tuple[str, str], ...], BakedProject] = {}

    def bake_once(**answers: str) -> BakedProject:
        key = tuple(sorted(answers.items()))
        if key not in baked:
            baked[key] = bake_into(tmp_path_factory.mktemp("baked"), **answers)
        return baked[key]

    return bake_once


@pytest.fixture
def cruft_create(machine: Machine, cookiecutter_config: Path) -> Bake:
    """Bake with the real `cruft create`: `cruft_create(folder, template, xcom_backend="s3")`."""

    def create(folder: Path, template: Path | str, *options: str, **answers: str) -> BakedProject:
        folder.mkdir(parents=True, exist_ok=True)
        machine.tool(
            "cruft",
            "create",
            "--no-input",
            "--config-file",
            cookiecutter_config,
            "--extra-context",
            json.dumps(answers),
            *options,
            str(template),
            cwd=folder,
        )
        (made,) = folder.iterdir()
        return BakedProject(made, answers, machine)

    return create


@pytest.fixture(scope="session", params=BACKENDS)
def installed(request: pytest.FixtureRequest, bake_into: Bake) -> BakedProject:
    """A project for each backend in build/test, with its environment installed and its files committed."""
    folder = TEMPLATE / "build" / "test" / request.param
    shutil.rmtree(folder, ignore_errors=True)
    project = bake_into(folder, xcom_backend=request.param)
    project.commit("As baked")
    project.uv("sync")
    return project
