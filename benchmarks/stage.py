"""The servers, and the processes that measurements are forked from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from contestants import KEYSET, Contestant, connections, named

from exclusive_xcom.upkeep.key_files import KeyFile

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "bench"
PROJECT = BUILD / "xcom-bench"
DAGSTER = BUILD / "dagster" / "bin" / "python"
# What the processes have imported already that measurements are forked from. Not polars: see zygote.py.
BARE = ["airflow", "airflow.sdk.bases.xcom", "airflow.sdk.configuration", "airflow.sdk.serde"]
LIBRARIES = ["numpy", "pandas", "pyarrow.parquet", "PIL.Image"]
CLIENTS = ["obstore", "boto3", "redis", "s3fs", "zstandard"]
DAGSTER_MODULES = [*LIBRARIES, "dagster", "dagster_aws.s3"]


class Lines:
    """A process that answers lines of JSON or text, one by one."""

    def __init__(self, python: Path | str, script: str, arguments: list[str], env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [str(python), str(HERE / script), *arguments],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin
        assert self.process.stdout
        self.input: IO[str] = self.process.stdin
        self.output: IO[str] = self.process.stdout

    def ask(self, line: str) -> str:
        """Send a line, wait for the answer."""
        print(line, file=self.input, flush=True)
        answer = self.output.readline()
        if not answer:
            raise SystemExit(f"{self.process.args} ended with {self.process.wait(30)}")
        return answer

    def end(self) -> None:
        """Let it end."""
        self.input.close()
        self.output.close()
        self.process.wait(60)


class Bench:
    """The servers, the processes that measurements are forked from, and their folder."""

    def __init__(self, folder: Path, contestants: list[Contestant]) -> None:
        self.folder = folder
        self.contestants = contestants
        self.servers = Lines(sys.executable, "servers.py", [str(folder)], dict(os.environ))
        said = json.loads(self.servers.output.readline())
        self.networks = {name: connections(said["s3"], ports) for name, ports in said["ports"].items()}
        self.env = environment(folder) | self.networks[""]
        KeyFile(folder / KEYSET).create()
        self.zygotes: dict[str, Lines] = {}
        for contestant in contestants:  # all at once: each takes seconds
            if self.kind(contestant) != "dagster" or DAGSTER.exists():
                self.zygote(self.kind(contestant))

    @staticmethod
    def kind(contestant: Contestant) -> str:
        """What a contestant's measurements are forked from. Ours on Redis asks whether it is the backend."""
        if contestant.server == "valkey":
            return contestant.backend
        return "dagster" if contestant.backend == "dagster" else "airflow"

    def zygote(self, kind: str) -> Lines:
        """What measurements are forked from.

        Args:
            kind: "airflow", "dagster", "bare" (Airflow without what backends import), or the dotted path of
                the configured backend, where that counts: Airflow reads it while it is imported.
        """
        if kind not in self.zygotes:
            modules = {"bare": BARE, "dagster": DAGSTER_MODULES}.get(kind, [*BARE, *LIBRARIES, *CLIENTS])
            env = {**self.env, "AIRFLOW__CORE__XCOM_BACKEND": kind} if "." in kind else self.env
            python = DAGSTER if kind == "dagster" else sys.executable
            self.zygotes[kind] = Lines(python, "zygote.py", modules, env)
        return self.zygotes[kind]

    def call(
        self,
        module: str,
        arguments: list[Any],
        contestant: Contestant | None = None,
        kind: str = "",
        network: str = "",
    ) -> dict[str, Any]:
        """One measurement in a process of its own; then everything stored is removed again."""
        contestant = contestant or named("ours, s3")
        kind = kind or self.kind(contestant)
        if kind == "dagster" and not DAGSTER.exists():
            return {"refused": "not installed"}
        own = {n: value.replace("{folder}", str(self.folder)) for n, value in contestant.environment.items()}
        job = {"module": module, "arguments": arguments, "environment": own | self.networks[network]}
        result: dict[str, Any] = json.loads(self.zygote(kind).ask(json.dumps(job)))
        self.servers.ask("empty")
        for name in ("ours", "peer"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        return result

    def turns(self, network: str) -> int:
        """Round trips by a network so far."""
        return int(json.loads(self.servers.ask("turns"))[network])

    def end(self) -> None:
        """End all processes."""
        for process in (*self.zygotes.values(), self.servers):
            process.end()


def environment(folder: Path) -> dict[str, str]:
    """What every measuring process gets: an Airflow of its own."""
    proxies = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    without = (*proxies, "pythondontwritebytecode")  # it would have everything compiled anew by each process
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW") and k.lower() not in without}
    home = folder / "airflow"
    return {
        **kept,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=30",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "PYTHONPATH": os.pathsep.join([str(HERE), str(PROJECT / "src")]),  # DAGs import their settings
        "XCOM_BENCH_FILES": str(folder),
    }
