"""A project for each backend, installed, and its own commands as its owner would run them."""

from __future__ import annotations

import ast
import json
import os
import re
import zipfile
from pathlib import Path

import pytest
from projects import TEMPLATE, BakedProject

pytestmark = pytest.mark.installed

IMPORTABLE = (
    "import importlib.metadata, json; print(json.dumps(list(importlib.metadata.packages_distributions())))"
)


def pipelines(project: BakedProject) -> set[str]:
    """The files in dags/ that are not off until somebody switches them on."""
    return {path.stem for path in (project.path / "dags").glob("*.py")} - {"housekeeping"}


def leave_to_somebody_else(project: BakedProject) -> None:
    """As root: what test_unprivileged.py has done by a user who is not, in a project on s3."""
    if project.answers["xcom_backend"] == "s3" and os.geteuid() == 0:
        pytest.skip("test_unprivileged.py has it done by somebody else")


def test_make_lint_passes(installed: BakedProject) -> None:
    leave_to_somebody_else(installed)
    installed.make("lint")


def test_its_own_pre_commit_changes_nothing(installed: BakedProject) -> None:
    try:
        installed.uv("run", "--no-sync", "pre-commit", "run", "--all-files")
        assert installed.git("diff", "--stat") == ""
    finally:
        installed.git("checkout", "--quiet", "--", ".")  # what it did mend


def test_no_name_that_it_installs_may_be_a_project_s(installed: BakedProject) -> None:
    hook = (TEMPLATE / "hooks" / "pre_gen_project.py").read_text(encoding="utf-8")
    found = re.search(r'^INSTALLED = (""".*?""")', hook, re.DOTALL | re.MULTILINE)
    assert found
    refused = set(ast.literal_eval(found.group(1)).split())
    packages = json.loads(installed.uv("run", "--no-sync", "python", "-c", IMPORTABLE).stdout)
    resolved = installed.uv("export", "--quiet", "--no-hashes", "--all-extras", "--no-emit-project").stdout
    distributions = re.findall(r"^([\w.-]+)", resolved, re.MULTILINE)
    there = {re.sub(r"[-.]+", "_", name).lower() for name in [*packages, *distributions]}
    possible = {name for name in there if re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)}
    assert len(possible) > 150
    assert possible - {installed.package} - refused == set()


def test_its_wheels_hold_the_packages(installed: BakedProject, tmp_path: Path) -> None:
    """The owner's and the engine's: each with its own files, and the engine's says how to start it."""
    installed.uv("build", "--wheel", "--all-packages", "--out-dir", str(tmp_path))
    for name, source in (("my_pipelines", "src"), ("exclusive_xcom", "packages/exclusive-xcom/src")):
        (wheel,) = tmp_path.glob(f"{name}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            held = {item for item in names if ".dist-info/" not in item}
            entry_points = [item for item in names if item.endswith("entry_points.txt")]
            stated = archive.read(entry_points[0]).decode() if entry_points else ""
        # The owner's own is proprietary, which is the default.
        assert any(item.endswith("licenses/LICENSE") for item in names) == (name == "exclusive_xcom")
        assert held == {
            path.relative_to(installed.path / source).as_posix()
            for path in (installed.path / source).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert ("exclusive_xcom.policy" in stated) == (name == "exclusive_xcom")
        assert ("xcom = exclusive_xcom.cli:main" in stated) == (name == "exclusive_xcom")


def test_make_run_runs_every_pipeline_and_shows_what_was_handed_over(installed: BakedProject) -> None:
    home = {path.name for path in installed.machine.home.iterdir()}
    said = installed.make("run").stdout
    for name in pipelines(installed):
        assert name in said
    # Airflow's home is the project's own.
    assert (installed.path / ".airflow").is_dir()
    assert {path.name for path in installed.machine.home.iterdir()} - home <= {".cache", ".config", ".local"}


@pytest.mark.parametrize("installed", ["s3"], indirect=True)
def test_plain_airflow_is_the_project_s(installed: BakedProject) -> None:
    """As in a shell where the virtual environment is active, and nothing else is set."""
    before = {path.name for path in installed.machine.home.iterdir()}
    listed = installed.run(".venv/bin/airflow", "dags", "list", "-o", "plain").stdout
    for name in pipelines(installed):
        assert name in listed
    done = installed.run(".venv/bin/airflow", "dags", "test", "first_pipeline")
    assert "DagRun Finished" in done.stdout + done.stderr
    assert {path.name for path in installed.machine.home.iterdir()} - before <= {
        ".cache",
        ".config",
        ".local",
    }


def test_make_test_passes(installed: BakedProject) -> None:
    leave_to_somebody_else(installed)
    installed.make("test")


def test_what_it_makes_is_nothing_that_git_would_take(installed: BakedProject) -> None:
    """After all of the above: a first commit holds what was baked, and the lock of the first installation."""
    assert set(installed.git("status", "--porcelain").splitlines()) <= {"?? uv.lock"}
