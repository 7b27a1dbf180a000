"""Who wins for a Variable or a connection: the secrets backend, the environment, Airflow's database.

As docs/project.md says, and as config/deployment.env of a project shows it: with Airflow's own backend that
reads files. Each question is asked by a task of its own Airflow, in a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

BACKEND = "airflow.secrets.local_filesystem.LocalFilesystemBackend"
ASKS = """
import sys
from airflow.models import Variable as Row
from airflow.sdk import BaseHook, Variable, dag, task

@dag(schedule=None)
def asks():
    @task
    def answer():
        found = [Variable.get("region"), BaseHook.get_connection("warehouse").password]
        open(sys.argv[1], "w").write(" ".join(found))

    answer()

made = asks()

if __name__ == "__main__":
    Row.set("region", "database")
    from airflow.models import Connection
    from airflow.utils.session import create_session
    with create_session() as session:
        session.add(Connection(conn_id="warehouse", conn_type="postgres", password="database"))
    made.test()
"""


@pytest.mark.parametrize("wins", ["database", "environment", "backend"])
@pytest.mark.slow
def test_the_first_that_knows_it_wins(airflow: None, tmp_path: Path, wins: str) -> None:
    migrated = Path(os.environ["AIRFLOW_HOME"]) / "airflow.db"
    with contextlib.closing(sqlite3.connect(migrated)) as old:
        with contextlib.closing(sqlite3.connect(tmp_path / "airflow.db")) as new:
            old.backup(new)
    environ = {name: text for name, text in os.environ.items() if not name.startswith("AIRFLOW")} | {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db?timeout=30",
    }
    if wins != "database":
        environ["AIRFLOW_VAR_REGION"] = "environment"
        environ["AIRFLOW_CONN_WAREHOUSE"] = '{"conn_type": "postgres", "password": "environment"}'
    if wins == "backend":
        files = {
            "connections": {"warehouse": {"conn_type": "postgres", "password": "backend"}},
            "variables": {"region": "backend"},
        }
        for name, content in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
        options = {f"{name}_file_path": str(tmp_path / f"{name}.json") for name in files}
        environ["AIRFLOW__SECRETS__BACKEND"] = BACKEND
        environ["AIRFLOW__SECRETS__BACKEND_KWARGS"] = json.dumps(options)
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "asks.py").write_text(ASKS)
    command = [sys.executable, tmp_path / "dags" / "asks.py", tmp_path / "answer"]
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (tmp_path / "answer").is_file(), done.stdout[-3000:] + done.stderr[-3000:]
    assert (tmp_path / "answer").read_text() == f"{wins} {wins}"
