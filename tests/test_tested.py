"""The table at the end of `make test-all` counts what pytest reports, and what is missing is a failure."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from projects import TEMPLATE

TESTS = {
    "engine": {
        "redis/test_claims.py": "def test_a(): pass\ndef test_b(): 1 / 0\n",
        "test_backends.py": "class TestRedis:\n    def test_c(self): pass\n",
    },
    "template": {
        "test_installed.py": """
import pytest
@pytest.mark.parametrize("backend", ["db", "s3"])
def test_make_run_runs_every_pipeline(backend): pass
""",
        "zombie/test_zombie.py": """
import pytest
@pytest.mark.parametrize("where", ["frozen-db on PostgreSQL", "frozen-s3"])
def test_nothing_is_read(where):
    if "s3" in where: pytest.skip("not here")
""",
    },
}


@pytest.fixture
def tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool, which looks into a folder of the test's own."""
    spec = importlib.util.spec_from_file_location("tested", TEMPLATE / "tools" / "tested.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "TESTED", tmp_path / "tested")
    monkeypatch.setenv("COLUMNS", "120")
    return module


def report(folder: Path, version: str, suite: str) -> None:
    """Let pytest write a report."""
    for name, text in TESTS[suite].items():
        path = folder / suite / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    xml = folder / "tested" / version / f"{suite}.xml"
    options = ["-q", "-p", "no:cacheprovider", f"--rootdir={folder / suite}", f"--junit-xml={xml}"]
    command = [sys.executable, "-m", "pytest", "-c", "/dev/null", *options, "tests"]
    subprocess.run(command, cwd=folder / suite, capture_output=True, check=False)


def test_it_counts(tested: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for version in ("3.3.2", "3.4.0"):
        for suite in TESTS:
            report(tmp_path, version, suite)
    assert tested.main() == 1
    said = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines() if "│" in line]
    assert [row[1:5] for row in rows[:4]] == [
        ["db", "", "1", "1"],
        ["s3", "", "1", "0, 1 skipped"],
        ["redis", "2, 1 failed", "", ""],
        ["all", "", "", ""],
    ]
    assert [row[0] for row in rows] == ["3.3.2", "", "", "", "3.4.0", "", "", ""]
    assert said.splitlines()[-2:] == ["Airflow 3.3.2: 1 failed", "Airflow 3.4.0: 1 failed"]


def test_what_is_missing_is_a_failure(
    tested: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report(tmp_path, "3.3.2", "template")
    assert tested.main() == 1
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "reports of 1 versions of Airflow instead of 2",
        "Airflow 3.3.2: engine did not come to its end",
    ]
