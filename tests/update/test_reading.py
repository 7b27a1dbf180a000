"""After `make switch`, what the former backend stored can still be read, by the steps that it tells."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from projects import QUESTIONS, BakedProject
from updates import Render

pytestmark = [pytest.mark.update, pytest.mark.installed]

# Each run reads what all runs before it have pushed.
OWN_DAG = '''"""Remembers."""

from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag, get_current_context, task

RUNS = Path(__file__).resolve().parents[1] / "output" / "runs.txt"


def value():
    import pandas as pd

    return {"frame": pd.DataFrame({"n": [1, 2]}), "text": "long " * 2000, "pair": (1, b"two")}


@dag(schedule=None, catchup=False, tags=["mine"], default_args={"owner": "me", "retries": 0})
def keeper():
    """Pushes a value, and pulls those of all runs before."""

    @task
    def remember():
        return value()

    @task
    def recall():
        from airflow.sdk.execution_time.xcom import XCom

        runs = RUNS.read_text().split() if RUNS.exists() else []
        runs.append(get_current_context()["run_id"])
        for run in runs:
            found = XCom.get_one(key="return_value", dag_id="keeper", task_id="remember", run_id=run)
            assert repr(found) == repr(value()), f"{run}: {found!r}"
        RUNS.parent.mkdir(exist_ok=True)
        RUNS.write_text("\\n".join(runs))

    remember() >> recall()


keeper()
'''


@pytest.mark.slow
def test_values_of_the_former_backends_stay_readable(
    render: Render, template_repository: Path, tmp_path: Path
) -> None:
    project = render("v" + QUESTIONS["__template_version"], template_repository)
    (project.path / "dags/keeper.py").write_text(OWN_DAG, encoding="utf-8")
    project.commit("A pipeline of mine")
    project.make("run", "ONLY=keeper")

    switch(project, "s3")
    store = {"AIRFLOW__XCOM__URL": f"file://{tmp_path}/store", "AIRFLOW__XCOM__CONN_ID": ""}
    project.make("run", "ONLY=keeper", **store)
    assert any(path.is_file() for path in (tmp_path / "store").rglob("*"))

    adding, settings = switch(project, "redis")
    assert sorted(settings) == ["AIRFLOW__XCOM__FORMER_CONN_ID", "AIRFLOW__XCOM__FORMER_URL"]
    project.make(*adding)
    done = project.make("run", "ONLY=keeper", check=False)
    assert done.returncode != 0
    assert "AIRFLOW__XCOM__FORMER_URL" in done.stdout
    former = {"AIRFLOW__XCOM__FORMER_URL": store["AIRFLOW__XCOM__URL"]}
    project.make("run", "ONLY=keeper", **former)
    assert len(project.read("output/runs.txt").split()) == 3


def switch(project: BakedProject, backend: str) -> tuple[list[str], dict[str, str]]:
    """Switch as a person would. What they are told: the words for `make` that add libraries, and settings."""
    project.commit("What `make run` made, such as uv.lock")
    told = [line.strip() for line in project.make("switch", f"BACKEND={backend}").stdout.splitlines()]
    project.commit(f"On {backend}")
    adding = [word for line in told if line.startswith("make add ") for word in shlex.split(line)[1:]]
    settings = dict(line.split("=", 1) for line in told if line.startswith("AIRFLOW__XCOM__"))
    return adding, settings
