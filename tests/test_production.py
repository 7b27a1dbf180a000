"""With the packages of a deployment alone every DAG can be imported, and a project tells when one can't."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import BACKENDS, Bake

pytestmark = pytest.mark.installed

# Installed with the tools for development alone, and imported where Airflow does not look.
ONLY_IN_DEVELOPMENT = """
    @task
    def draw():
        from hypothesis import find
        return find
"""


@pytest.mark.parametrize("examples", ["all", pytest.param("none", marks=pytest.mark.slow)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_baked_needs_no_more(bake_into: Bake, tmp_path: Path, backend: str, examples: str) -> None:
    project = bake_into(tmp_path, xcom_backend=backend, examples=examples)
    assert project.make("check-image").stdout.startswith("All that DAGs import is among")
    assert not (project.path / ".venv").exists() and not (project.path / ".airflow").exists()


def test_what_only_the_tools_bring_is_told(bake_into: Bake, tmp_path: Path) -> None:
    project = bake_into(tmp_path, examples="one")
    file = project.path / "dags" / "first_pipeline.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("\n    @task\n", f"{ONLY_IN_DEVELOPMENT}\n    @task\n", 1), encoding="utf-8")
    line = file.read_text(encoding="utf-8").splitlines().index("        from hypothesis import find") + 1
    broken = project.path / "dags" / "broken.py"
    broken.write_text("import airflow\n\nraise ValueError('no dag here')\n", encoding="utf-8")
    done = project.make("check-image", check=False)
    assert done.returncode
    assert f"dags/first_pipeline.py, line {line}: there is no module hypothesis\n" in done.stdout
    assert "dags/broken.py, " in done.stdout and "no dag here" in done.stdout
    assert "make add PACKAGES=" in done.stdout
