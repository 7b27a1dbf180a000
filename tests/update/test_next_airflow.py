"""A project moves to the next Airflow by an update of the template, and reads what it stored before.

NEXT_AIRFLOW names the version; without it, it is the newest pre-release that was tried.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from projects import BACKENDS, QUESTIONS, BakedProject, Machine
from updates import release

pytestmark = [pytest.mark.update, pytest.mark.slow]

NEXT = os.environ.get("NEXT_AIRFLOW", "3.4.0b2")
NOW = QUESTIONS["__airflow_version"]
AFTER = "v0.2.0"

# What one Airflow's tasks push and the next one's pull: one file, which has the values to compare with.
DAG = '''
"""What is pushed before an update and pulled after it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
from airflow.sdk import dag, get_current_context, task

FRAME = pd.DataFrame({"name": ["a", None, "é"] * 500, "at": pd.date_range("2024", periods=1500, tz="UTC")})
EXACT = {"price": Decimal("12345678901234567890.123"), "at": datetime(2024, 7, 1, tzinfo=UTC), 1: (2, {3})}
PLAIN = {"rows": 3, "names": ["x", "y"]}
BYTES = bytes(range(256)) * 100


def kept(name: str) -> Any:
    """What a task of the named run of `keeping` pushed."""
    task_id, _, key = name.partition(".")
    return get_current_context()["ti"].xcom_pull(
        task_id, key=key or "return_value", dag_id="keeping", run_id=os.environ["KEPT_BY"]
    )


@dag(schedule=None)
def keeping():
    @task
    def frame():
        get_current_context()["ti"].xcom_push(key="beside", value=BYTES)
        return FRAME

    @task
    def exact():
        return EXACT

    @task
    def plain():
        return PLAIN

    @task
    def squares(number: int):
        return FRAME.head(number)

    frame(), exact(), plain(), squares.expand(number=[1, 2, 3])


@dag(schedule=None)
def reading():
    @task
    def compare():
        pd.testing.assert_frame_equal(kept("frame"), FRAME)
        assert (kept("frame.beside"), kept("exact"), kept("plain")) == (BYTES, EXACT, PLAIN)
        assert [len(each) for each in kept("squares")] == [1, 2, 3]
        assert type(kept("exact")[1]) is tuple

    compare()


keeping()
reading()
'''.lstrip()


@pytest.fixture(scope="module")
def following(template_repository: Path, machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template, and its next release: the same on the next Airflow."""
    template = tmp_path_factory.mktemp("following") / template_repository.name
    shutil.copytree(template_repository, template, symlinks=True)
    release(machine, template, AFTER, __airflow_version=NEXT)
    return template


def version(project: BakedProject) -> str:
    """Of the Airflow that is installed."""
    return project.run(".venv/bin/airflow", "version").stdout.split()[-1]


def latest_run(project: BakedProject) -> str:
    """The id of the run that `xcom ls` finds."""
    listed = json.loads(project.run(".venv/bin/xcom", "ls", "keeping", "--json").stdout)
    return str(listed["xcoms"][0]["run"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_was_stored_before_is_read_after(
    backend: str, following: Path, cruft_create: Callable[..., BakedProject], tmp_path: Path
) -> None:
    of_now = f"v{QUESTIONS['__template_version']}"
    project = cruft_create(tmp_path, following, "--checkout", of_now, xcom_backend=backend, examples="one")
    (project.path / "dags/moving.py").write_text(DAG, encoding="utf-8")
    project.make("install")
    project.commit("A pipeline of mine, and its lock")
    assert version(project) == NOW
    project.make("run", "ONLY=keeping")
    before = latest_run(project)
    project.make("run", "ONLY=reading", KEPT_BY=before)  # so that what fails below fails by the update

    said = project.make("update", f"VERSION={AFTER}").stdout
    assert "pyproject.toml" in said and "uv.lock" in said
    assert f"apache/airflow:{NEXT}-python" in project.read("Dockerfile")
    project.commit("The next Airflow")
    project.make("install")
    assert version(project) == NEXT
    project.run(".venv/bin/airflow", "db", "migrate")

    listed = project.run(".venv/bin/xcom", "ls", "keeping", COLUMNS="200").stdout
    assert latest_run(project) == before and "squares[2]" in listed and "beside" in listed
    assert "1,500 rows" in project.run(".venv/bin/xcom", "show", "keeping", "frame").stdout
    project.make("run", "ONLY=reading", KEPT_BY=before)
    project.make("run", "ONLY=keeping")
    after = latest_run(project)
    assert after != before
    project.make("run", "ONLY=reading", KEPT_BY=after)
    assert project.git("status", "--porcelain") == ""
