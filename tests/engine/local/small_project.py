"""A project with little in it, and the `xcom` command in it as a person calls it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

XCOM = Path(sysconfig.get_path("scripts")) / "xcom"

SETTINGS = """\
AIRFLOW_HOME=${PWD}/.airflow
AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=sqlite:///${PWD}/.airflow/airflow.db?timeout=30
AIRFLOW__CORE__DAGS_FOLDER=${PWD}/dags
AIRFLOW__CORE__LOAD_EXAMPLES=False
AIRFLOW__CORE__EXECUTOR=LocalExecutor
AIRFLOW__CORE__PARALLELISM=2
AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION=False
AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL=3
AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL=3
"""
BACKENDS = {
    "db": {"AIRFLOW__CORE__XCOM_BACKEND": "exclusive_xcom.db.DbXComBackend"},
    "s3": {
        "AIRFLOW__CORE__XCOM_BACKEND": "exclusive_xcom.s3.S3XComBackend",
        "AIRFLOW__XCOM__URL": "s3://bucket/xcom",
        "AIRFLOW__XCOM__CONN_ID": "xcom_s3",
    },
    "redis": {
        "AIRFLOW__CORE__XCOM_BACKEND": "exclusive_xcom.redis.RedisXComBackend",
        "AIRFLOW__XCOM__CONN_ID": "xcom_redis",
    },
}

# A pipeline that waits for a program that it has started.
SLEEPS = """
import subprocess, time
from airflow.sdk import dag, task

@dag(schedule=None)
def sleeps():
    @task
    def long():
        subprocess.run(["sleep", "600"])

    long()

sleeps()
"""


@dataclass
class Project:
    """A project's folder with settings, one Variable and no pipelines. Its backend is the database."""

    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "dags").mkdir(parents=True)
        (self.folder / "config").mkdir()
        backend = "".join(f"{name}={value}\n" for name, value in BACKENDS["db"].items())
        (self.folder / "config" / "airflow.env").write_text(SETTINGS + backend)
        variables = {"greeting": {"value": "hello from variables.json", "description": "For a pipeline."}}
        (self.folder / "config" / "variables.json").write_text(json.dumps(variables))
        (self.folder / ".env.example").write_text("# For compose.\nFERNET_KEY=\nPASSWORD=\n")
        self.home = self.folder / ".airflow"

    def pipelines(self, **files: str) -> None:
        """Write files into dags/, or folders below it."""
        for name, text in files.items():
            path = self.folder / "dags" / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    def settings(self, text: str = "", *, variables: str | None = "{}\n") -> None:
        """A package `shop` with a settings module, named in pyproject.toml, and the file of Variables."""
        table = '[tool.exclusive-xcom]\nsettings = "shop.settings"\n'
        (self.folder / "pyproject.toml").write_text(f"{table}\n[tool.ruff]\nline-length = 110\n")
        (self.folder / "src" / "shop").mkdir(parents=True)
        (self.folder / "src" / "shop" / "__init__.py").touch()
        (self.folder / "src" / "shop" / "settings.py").write_text(text)
        file = self.folder / "config" / "variables.json"
        file.unlink() if variables is None else file.write_text(variables)

    def files(self) -> dict[str, bytes]:
        """What it holds by path, without what Airflow, git and Python leave."""
        left = {".airflow", ".git", ".ruff_cache", "__pycache__"}
        paths = (path for path in sorted(self.folder.rglob("*")) if path.is_file() or path.is_symlink())
        named = {path.relative_to(self.folder): path for path in paths}
        return {
            name.as_posix(): path.read_bytes() for name, path in named.items() if not left & {*name.parts}
        }

    def start(self, *arguments: str, output: Any = subprocess.PIPE, **more: str) -> subprocess.Popen[str]:
        """Start the command from a folder in the project; its output is text, standard error included."""
        both = subprocess.STDOUT
        there, environ = self.folder / "dags", self._environ(more)
        return subprocess.Popen(
            [XCOM, *arguments], cwd=there, env=environ, stdout=output, stderr=both, text=True
        )

    def xcom(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        with self.start(*arguments, **more) as process:
            said, _ = process.communicate()
        return subprocess.CompletedProcess(arguments, process.returncode, said)

    def xcom_in_terminal(
        self, answers: list[tuple[str, str]], *arguments: str, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the command in a terminal of its own, and type there: after each text its answer, and Enter."""
        ours, its = pty.openpty()
        streams: dict[str, Any] = {"stdin": its, "stdout": its, "stderr": its, "start_new_session": True}
        environ, left = self._environ(more), list(answers)
        said, seen = "", 0
        with subprocess.Popen(
            [XCOM, *arguments], cwd=self.folder / "dags", env=environ, **streams
        ) as process:
            os.close(its)
            with contextlib.suppress(OSError):  # so Linux says that nobody has the terminal open any more
                while more_said := os.read(ours, 4096):
                    said += more_said.decode(errors="replace")
                    if left and (at := said.find(left[0][0], seen)) >= 0:
                        seen = at + len(left[0][0])
                        os.write(ours, f"{left.pop(0)[1]}\n".encode())
        os.close(ours)
        return subprocess.CompletedProcess(arguments, process.returncode, said)

    def _environ(self, more: dict[str, str]) -> dict[str, str]:
        """The environment of a person's shell who has exported the folder of another Airflow."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        another = {
            "AIRFLOW_HOME": str(self.folder.parent / "another"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////nowhere/another.db",
        }
        return clean | another | more

    def processes(self) -> list[psutil.Process]:
        """The living processes that work in its folder."""
        return [process for process in psutil.process_iter() if self._has(process)]

    def _has(self, process: psutil.Process) -> bool:
        try:
            return Path(process.cwd()).is_relative_to(self.folder) and lives(process)
        except psutil.Error:
            return False


def lives(process: psutil.Process) -> bool:
    """Whether a process runs, and is not only the entry of one that nobody has waited for."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def eventually(condition: Callable[[], bool], seconds: float = 120) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return False
