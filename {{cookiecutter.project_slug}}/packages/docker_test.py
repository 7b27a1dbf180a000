"""Tries this project in containers, from its image to the end of each pipeline: `make docker-test`.

What runs is a copy of the project with secrets of its own, beside whatever else is up: other names, another
port, and none of the connections in connections.env. Pipelines are those that `make run` runs. With
CeleryExecutor there are two workers, and a DAG beside the project's own hands a payload from one to the other.
Nothing of it is left but what makes the next build short: images that were pulled, and docker's build cache.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from exclusive_xcom.local import secret_files
from exclusive_xcom.local.project import Project
from rich.console import Console
from rich.table import Table

NOT_COPIED = (".airflow", ".env", ".git", ".tools", ".venv", "connections.env", "dist", "output")
FIRST = 300  # seconds until the pipelines are there
LONGEST = 1800  # until every run has ended
ENDED = ("success", "failed")
MARK = "$xcom"  # in the row of what is not plain JSON
# Each worker has room for one task, so the two readers, which last longer than it takes to start one, are on
# two workers, and one of them is not where the payload was made. Any project has a kind for bytes.
BETWEEN_WORKERS = "between_workers"
DAG = """
import hashlib
import time

from airflow.sdk import dag, task

VALUE = hashlib.shake_256(b"handed over").digest(200_000)


@dag(schedule=None)
def between_workers():
    @task
    def make():
        return VALUE

    @task
    def read(made, reader):
        time.sleep(15)
        if made != VALUE:
            raise ValueError(f"Reader {reader} got another value than was made.")

    read.partial(made=make()).expand(reader=[1, 2])


between_workers()
"""


class Failed(Exception):
    """What is not as it should be, for people."""


class Containers:
    """The project's services, by docker compose."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = re.sub("[^a-z0-9]+", "-", f"{Path.cwd().name}-test".lower()).lstrip("-")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = str(free.getsockname()[1])
        # One task at a time in each worker: so both of them get some.
        own = {"COMPOSE_PROJECT_NAME": self.name, "IMAGE": self.name, "PORT": self.port}
        self.environment = {**os.environ, **own, "WORKER_CONCURRENCY": "1"}

    def docker(self, *command: str, check: bool = True, quiet: bool = True) -> str:
        """What docker answers. Raises `Failed` if it fails and that is not expected."""
        done = subprocess.run(
            ["docker", *command],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE if quiet else sys.stderr,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise Failed(f"`docker {' '.join(command)}` ended with {done.returncode}.")
        return done.stdout or ""

    def up(self) -> bool:
        """Build and start all, and wait until they are well. Returns whether there are workers."""
        workers = "worker" in self.docker("compose", "config", "--services").split()
        if workers:
            (self.folder / "dags" / f"{BETWEEN_WORKERS}.py").write_text(DAG, encoding="utf-8")
        self.docker(
            "compose", "up", "--build", "--wait", *(["--scale=worker=2"] if workers else []), quiet=False
        )
        return workers

    def down(self) -> None:
        """End and remove all of it. Raises `Failed` if something is left."""
        everything = ("--volumes", "--remove-orphans", "--timeout=30")
        self.docker("compose", "--profile=*", "down", *everything, check=False, quiet=False)
        self.docker("image", "rm", "--force", self.name, check=False)
        ours = f"--filter=label=com.docker.compose.project={self.name}"
        left = [self.docker("ps", "--all", "--quiet", ours), self.docker("images", "--quiet", self.name)]
        left += [self.docker(kind, "ls", "--quiet", ours) for kind in ("volume", "network")]
        if "".join(left).strip():
            raise Failed(
                f"Something is left: `docker ps --all {ours}`, the same for volumes and networks, or the image "
                f"{self.name}."
            )


class Airflow:
    """Airflow's REST interface, as the user admin."""

    def __init__(self, port: str, password: str) -> None:
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
        token = self.ask("POST", "/auth/token", {"username": "admin", "password": password})["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """What it answers. Raises `Failed` if it refuses; nothing found is None."""
        answer = self.http.request(method, path, json=body, params=query)
        if answer.status_code == 404:
            return None
        if answer.is_error:
            raise Failed(f"{method} {path} was answered with {answer.status_code}: {answer.text[:500]}")
        return answer.json()

    def pages(self, path: str, of: str) -> Iterator[Any]:
        """All of a list that comes in pages."""
        offset = 0
        while found := (self.ask("GET", path, limit=100, offset=offset) or {}).get(of):
            yield from found
            offset += len(found)

    def pipelines(self, tags: set[str]) -> list[str]:
        """Those with one of these tags, or all if there are none, once no more of them come in. Raises `Failed` if
        there is none, or some file can't be imported."""
        until = time.monotonic() + FIRST
        before: list[str] | None = None
        while True:
            found = [
                dag["dag_id"]
                for dag in self.pages("/api/v2/dags", "dags")
                if dag["dag_id"] != BETWEEN_WORKERS and (not tags or tags & {tag["name"] for tag in dag["tags"]})
            ]
            if errors := list(self.pages("/api/v2/importErrors", "import_errors")):
                raise Failed("\n".join(f"{error['filename']}: {error['stack_trace']}" for error in errors))
            if found and found == before:
                return sorted(found)
            if time.monotonic() > until:
                raise Failed(f"No pipeline has one of the run-tags of pyproject.toml: {', '.join(sorted(tags))}")
            before = found
            time.sleep(15)

    def run(self, pipelines: list[str]) -> dict[str, str]:
        """Trigger each, and wait until each has ended well. Returns the runs' ids by pipeline."""
        runs = {}
        for dag in pipelines:
            self.ask("PATCH", f"/api/v2/dags/{dag}", {"is_paused": False})
            made = self.ask("POST", f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None})
            runs[dag] = made["dag_run_id"]
        until = time.monotonic() + LONGEST
        states = dict.fromkeys(runs, "")
        while not set(states.values()) <= set(ENDED):
            if time.monotonic() > until:
                raise Failed(f"After {LONGEST} s these runs have not ended: {states}")
            time.sleep(3)
            for dag, run in runs.items():
                states[dag] = self.ask("GET", f"/api/v2/dags/{dag}/dagRuns/{run}")["state"]
        if bad := [dag for dag, state in states.items() if state != "success"]:
            raise Failed(f"These ended badly: {', '.join(bad)}")
        return runs

    def handed_over(self, dag: str, run: str) -> Iterator[tuple[str, Any, set[str], set[str]]]:
        """What each task returned: its name, the row, the machines that made it, and those that read it."""
        below = {task["task_id"]: task["downstream_task_ids"] for task in self.tasks(dag)}
        instances = list(self.pages(f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances", "task_instances"))
        hosts: dict[str, set[str]] = {}
        for one in instances:
            if one["hostname"]:
                hosts.setdefault(one["task_id"], set()).add(one["hostname"])
        told = set()
        for one in instances:
            task = one["task_id"]
            path = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/return_value"
            if task in told or not (entry := self.ask("GET", path, map_index=one["map_index"])):
                continue
            told.add(task)
            readers = set().union(*(hosts.get(name, set()) for name in below.get(task) or ()))
            yield task, entry["value"], hosts.get(task, set()), readers

    def tasks(self, dag: str) -> list[Any]:
        """A pipeline's tasks."""
        return list((self.ask("GET", f"/api/v2/dags/{dag}/tasks") or {}).get("tasks", []))


def described(value: Any) -> tuple[str, str, str]:
    """Kind, size and place of what a row holds or refers to."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, dict) and MARK in value:
        place = str(value.get("uri") or "row").partition(":")[0]
        told = ", ".join(str(value[name]) for name in ("kind", "summary") if value.get(name))
        return told, str(value.get("length", "")), place
    return type(value).__name__, str(len(json.dumps(value))), "row"


def table(airflow: Airflow, runs: dict[str, str]) -> tuple[Table, bool]:
    """Who handed what to whom, machines by number, and whether something went from one machine to another."""
    shown = Table("pipeline", "task", "kind", "bytes", "kept in", "made on", "read on", box=None)
    numbers: dict[str, str] = {}
    moved = False

    def numbered(hosts: set[str]) -> str:
        return " ".join(sorted(numbers.setdefault(host, str(len(numbers) + 1)) for host in hosts))

    for dag, run in runs.items():
        for task, value, made, read in airflow.handed_over(dag, run):
            shown.add_row(dag, task, *described(value), numbered(made), numbered(read))
            # A task that is mapped may have been on both: then nothing is said about one of its values.
            moved = moved or (MARK in str(value) and len(made) == 1 and bool(read - made))
    return shown, moved


def tried(containers: Containers, password: str) -> int:
    """How many pipelines ended well. Raises `Failed` if something is not as it should be."""
    began = time.monotonic()
    workers = containers.up()
    print(f"All is well after {time.monotonic() - began:.0f} s.", flush=True)
    airflow = Airflow(containers.port, password)
    tags = set(Project.read(containers.folder).run_tags)
    runs = airflow.run(airflow.pipelines(tags))
    # By itself: no other task takes the room of its readers.
    between = airflow.run([BETWEEN_WORKERS]) if workers else {}
    shown, _ = table(airflow, runs | between)
    Console(width=None if sys.stdout.isatty() else 120).print(shown)
    if workers and not table(airflow, between)[1]:
        raise Failed("No payload went from one worker to the other.")
    return len(runs)


def main() -> int:
    """Returns 1 if something is not as it should be, and 130 if it was broken off."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "project"
        shutil.copytree(".", folder, symlinks=True, ignore=lambda of, _: NOT_COPIED if str(of) == "." else ())
        secret_files.fill_in(folder)
        written = (folder / ".env").read_text(encoding="utf-8")
        password = written.partition("\nADMIN_PASSWORD=")[2].partition("\n")[0]
        containers = Containers(folder)
        began = time.monotonic()
        try:
            try:
                count = tried(containers, password)
            except (Failed, httpx.HTTPError) as error:
                containers.docker("compose", "logs", "--tail=40", check=False, quiet=False)
                print(error, file=sys.stderr)
                return 1
            finally:
                containers.down()
        except Failed as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("Broken off; nothing is left.", file=sys.stderr)
            return 130
    print(f"{count} pipelines ended well, and nothing is left. It took {time.monotonic() - began:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
