"""A small project whose pipelines have run, and a real api-server of Airflow that shows it."""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import site_pipelines
from airflow_versions import ROWS_PER_TRY
from small_project import Project

HERE = Path(__file__).parent
TABLE = "xcom_v2" if ROWS_PER_TRY else "xcom"  # of Airflow's rows
USERS = {"admin": "admin", "guest": "viewer", "stranger": "viewer"}


@dataclass
class Site:
    """A running api-server.

    Attributes:
        url: of Airflow, without a slash at its end.
        pid: of the process that serves it, or of its parent.
    """

    project: Project
    url: str
    pid: int

    def token(self, user: str) -> str:
        """What a user is known by after the login."""
        answer = httpx.post(f"{self.url}/auth/token", json={"username": user, "password": user}, timeout=60)
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def get(self, path: str, user: str | None = "admin", **query: Any) -> httpx.Response:
        """A page below the prefix, as a user gets it; None is nobody."""
        cookies = {"_token": self.token(user)} if user else {}
        with httpx.Client(base_url=self.url, cookies=cookies, timeout=60) as client:
            return client.get(f"/exclusive-xcom/{path}", params=query)

    def run_of(self, dag_id: str) -> str:
        """The id of a DAG's run."""
        with self.database() as rows:
            return str(rows.execute("select run_id from dag_run where dag_id = ?", (dag_id,)).fetchone()[0])

    def task(self, dag_id: str, task_id: str, **more: Any) -> dict[str, Any]:
        """The query of the tab of a task instance."""
        return {"dag_id": dag_id, "run_id": self.run_of(dag_id), "task_id": task_id, **more}

    def rows_of(self, dag_id: str, task_id: str) -> str:
        """The condition for the rows of a task."""
        of = f"dag_id = '{dag_id}' and task_id = '{task_id}'"
        return f"task_instance_id in (select id from task_instance where {of})" if ROWS_PER_TRY else of

    @contextlib.contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """Airflow's own, to change as a hand would."""
        with contextlib.closing(sqlite3.connect(self.project.home / "airflow.db", timeout=60)) as rows, rows:
            yield rows


def made(folder: Path, *, preview: str = "full") -> Project:
    """A project whose pipelines have run."""
    project = Project(folder / "project")
    (files := folder / "files").mkdir()
    lines = {
        "AIRFLOW__CORE__XCOM_BACKEND": "exclusive_xcom.s3.S3XComBackend",
        "AIRFLOW__XCOM__URL": f"file://{folder}/store",
        "AIRFLOW__XCOM__PREVIEW": preview,
        "AIRFLOW__XCOM__UI": "on",
        "AIRFLOW__CORE__AUTH_MANAGER": "per_dag_auth.PerDagAuthManager",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
            f"{name}:{role}" for name, role in USERS.items()
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": f"{folder}/passwords.json",
        "SITE_FILES": str(files),
    }
    (folder / "passwords.json").write_text(json.dumps({name: name for name in USERS}))
    settings = project.folder / "config" / "airflow.env"
    text = [line for line in settings.read_text().splitlines() if "XCOM_BACKEND" not in line]
    settings.write_text("\n".join([*text, *(f"{name}={value}" for name, value in lines.items())]) + "\n")
    project.pipelines(kinds=site_pipelines.KINDS, rest=site_pipelines.REST)
    done = project.xcom("run", "--all", PYTHONPATH=str(HERE))
    assert done.returncode == 0, done.stdout
    with contextlib.closing(sqlite3.connect(project.home / "airflow.db", timeout=60)) as rows, rows:
        names = [name for _, name, *_ in rows.execute(f"pragma table_info({TABLE})")]
        new = {"key": "?", "id": "lower(hex(randomblob(16)))"}
        copied = ", ".join(new.get(name, name) for name in names)
        thousand = [(f"key-{number:04d}",) for number in range(1, 1000)]
        rows.executemany(f"insert into {TABLE} select {copied} from {TABLE} where key = 'key-0000'", thousand)
    return project


@contextlib.contextmanager
def served(project: Project, path: str = "", **settings: str) -> Iterator[Site]:
    """An api-server, and nothing else of Airflow; below a path if one is given, with settings of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}{path}"
    arguments = "airflow", "api-server", "--port", str(port), "--host", "127.0.0.1", "--workers", "1"
    more = {"PYTHONPATH": str(HERE), "AIRFLOW__API__BASE_URL": url, **settings}
    log = project.folder / f"server-{port}.log"
    with log.open("w") as said, project.start(*arguments, output=said, **more) as process:
        try:
            for _ in range(600):
                with contextlib.suppress(httpx.HTTPError):
                    if httpx.get(f"{url}/api/v2/monitor/health", timeout=5).is_success:
                        break
                assert process.poll() is None, log.read_text()[-4000:]
                time.sleep(0.2)
            yield Site(project, url, process.pid)
        finally:
            for each in [*psutil.Process(process.pid).children(recursive=True), process]:
                with contextlib.suppress(Exception):
                    each.terminate()
