"""The engine as a member of the project's workspace: what is installed is what lies in packages/."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import Bake, BakedProject

pytestmark = pytest.mark.installed

SOURCE = "packages/exclusive-xcom/src/exclusive_xcom/errors.py"
WHERE = "import exclusive_xcom.errors as e; print(e.__file__); print(getattr(e, 'ADDED', None))"


@pytest.fixture
def project(bake_into: Bake, tmp_path: Path) -> BakedProject:
    """A project in a folder with spaces, inside a repository that has a workspace of its own."""
    outer = tmp_path / "mono repo"
    outer.mkdir()
    (outer / "pyproject.toml").write_text(
        '[project]\nname = "outer"\nversion = "0"\nrequires-python = ">=3.11"\n'
        '[tool.uv.workspace]\nmembers = ["libraries/*"]\n',
        encoding="utf-8",
    )
    return bake_into(outer)


def asked(project: BakedProject) -> list[str]:
    """Where the engine is imported from, and whether it has what was added to its source."""
    return project.uv("run", "--no-sync", "python", "-c", WHERE).stdout.split()


def add(project: BakedProject, text: str) -> None:
    """Change a source file of the engine, and nothing else: version and requirements stay."""
    path = project.path / SOURCE
    path.write_text(path.read_text(encoding="utf-8") + f"\nADDED = {text!r}\n", encoding="utf-8")


def test_a_change_of_its_sources_alone_arrives(project: BakedProject) -> None:
    """In the environment for development at once; in an image's after the next `uv sync`."""
    project.uv("sync", "--quiet")
    assert asked(project)[0].endswith(SOURCE)
    add(project, "one")
    assert asked(project)[1:] == ["one"]

    image = ("sync", "--quiet", "--locked", "--no-dev", "--no-editable")
    project.uv(*image)
    file, added = asked(project)
    assert "site-packages" in file and added == "one"
    add(project, "two")
    project.uv(*image)
    assert asked(project)[1:] == ["two"]


def test_a_deployment_has_the_command_that_looks_after_xcoms(project: BakedProject) -> None:
    """Without the tools for development, `xcom probe` and `xcom show` are there."""
    project.uv("sync", "--quiet", "--no-dev", "--no-editable")
    listed = project.uv("pip", "list", "--quiet").stdout
    assert "exclusive-xcom" in listed
    assert "pytest" not in listed
    said = project.run(project.path / ".venv" / "bin" / "xcom", "--help").stdout
    assert "probe" in said and "show" in said
