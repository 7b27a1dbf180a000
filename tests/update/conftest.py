"""A template with three releases, and projects made from the first of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from projects import TEMPLATE, BakedProject, Machine
from updates import FIRST, INSIDE, PLAN, SECOND, THIRD, Render, copy_of, edit, release


def release_three_times(machine: Machine, template: Path) -> None:
    """Put a handbook into a template, and release it three times: changed, extended, moved, pruned."""
    machine.git(template, "init", "--quiet", "--initial-branch=main")
    handbook = template / INSIDE
    handbook.mkdir()
    (handbook / "plan.txt").write_text("{{ cookiecutter.description }}\n" + "".join(PLAN), encoding="utf-8")
    for name in ("dropped.txt", "old name é.txt", "moved/inner.txt", "start.sh"):
        path = handbook / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{name}, {line}" for line in PLAN), encoding="utf-8")
    (handbook / "{% if cookiecutter.xcom_backend == 'redis' %}cache.txt{% endif %}").write_text(
        "".join(PLAN), encoding="utf-8"
    )
    (handbook / "seal.bin").write_bytes(bytes(range(256)) * 8)
    release(machine, template, FIRST)

    edit(handbook, "plan.txt", PLAN[9], "10. Do it now\n")
    (handbook / "added.txt").write_text("New in the second release\n", encoding="utf-8")
    (handbook / "dropped.txt").unlink()
    (handbook / "old name é.txt").rename(handbook / "new name é.txt")
    edit(handbook, "new name é.txt", f"old name é.txt, {PLAN[9]}", "10. Do it under another name\n")
    (handbook / "moved").rename(handbook / "elsewhere")
    (handbook / "start.sh").chmod(0o755)
    (handbook / "seal.bin").write_bytes(bytes(range(255, -1, -1)) * 8)
    release(machine, template, SECOND, flavour="plain")

    edit(handbook, "plan.txt", PLAN[19], "20. Do it again\n")
    release(machine, template, THIRD)


@pytest.fixture(scope="session")
def releases(machine: Machine, template_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This tree with a handbook in it, released three times: changed, extended, moved and pruned by each.

    Do not change it: `our_releases` gives a copy.
    """
    template = tmp_path_factory.mktemp("releases") / "cookiecutter-airflow-xcom"
    shutil.copytree(template_repository, template, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    release_three_times(machine, template)
    return template


@pytest.fixture(scope="session")
def small_releases(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same three releases of a template with hardly anything else in it, which is soon rendered.

    Do not change it: `our_small_releases` gives a copy.
    """
    template = tmp_path_factory.mktemp("small") / "cookiecutter-small"
    shutil.copytree(TEMPLATE / "tools", template / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    packages = template / "{{cookiecutter.project_slug}}/packages"
    packages.mkdir(parents=True)
    shutil.copy2(TEMPLATE / "{{cookiecutter.project_slug}}/packages/update.py", packages)
    asked = {"project_slug": "small", "description": "Small", "xcom_backend": ["db", "s3", "redis"]}
    asked["_copy_without_render"] = ["packages"]
    (template / "cookiecutter.json").write_text(json.dumps(asked), encoding="utf-8")
    release_three_times(machine, template)
    return template


@pytest.fixture
def our_small_releases(small_releases: Path, tmp_path: Path) -> Path:
    """A copy of the small template's releases, to be changed."""
    return Path(shutil.copytree(small_releases, tmp_path / "template" / small_releases.name, symlinks=True))


@pytest.fixture(scope="session")
def small_untouched(render: Render, small_releases: Path) -> BakedProject:
    """A project of the small template's first release, committed. Do not change it: `small` is a copy."""
    made = render(FIRST, small_releases)
    made.commit("As generated")
    return made


@pytest.fixture
def small(small_untouched: BakedProject, tmp_path: Path) -> BakedProject:
    """A project of the small template's first release, committed."""
    return copy_of(small_untouched, tmp_path / "here" / small_untouched.path.name)


@pytest.fixture
def our_releases(releases: Path, tmp_path: Path) -> Path:
    """A copy of the three releases, to be changed."""
    return Path(shutil.copytree(releases, tmp_path / "template" / releases.name, symlinks=True))


@pytest.fixture(scope="session")
def render(
    machine: Machine, cookiecutter_config: Path, releases: Path, tmp_path_factory: pytest.TempPathFactory
) -> Render:
    """What `cruft create` makes of a release: `render(THIRD, xcom_backend="s3")`."""

    def create(checkout: str, template: Path | str = releases, **answers: str) -> BakedProject:
        folder = tmp_path_factory.mktemp("rendered")
        machine.tool(
            "cruft",
            "create",
            "--no-input",
            "--config-file",
            cookiecutter_config,
            "--checkout",
            checkout,
            "--extra-context",
            json.dumps(answers),
            str(template),
            cwd=folder,
        )
        (made,) = folder.iterdir()
        return BakedProject(made, answers, machine)

    return create


@pytest.fixture(scope="session")
def untouched(render: Render) -> BakedProject:
    """A project of the first release, committed. Do not change it: `project` is a copy."""
    made = render(FIRST)
    made.commit("As generated")
    return made


@pytest.fixture
def project(untouched: BakedProject, tmp_path: Path) -> BakedProject:
    """A project of the first release with nothing in it but what was generated, committed."""
    return copy_of(untouched, tmp_path / "here" / untouched.path.name)
