"""Measures the backends side by side with their peers and with what the machine can do at best.

    make bench [QUICK=1] [ONLY="pandas mixed,bytes"] [ROUNDS=5]

Every measurement is a process of its own, and the contestants take turns (A B A B …), so that a machine whose
speed drifts treats all alike. A payload that takes long has fewer rounds. Results go to
build/bench/bench.json; publish.py makes tables and plots of them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import publish
from contestants import CONTESTANTS, OURS, PEER, Contestant, connections, named
from measure import FEW
from payloads import PAYLOADS, split

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "bench"
PROJECT = BUILD / "xcom-bench"
DAGSTER = BUILD / "dagster" / "bin" / "python"

QUICK_PAYLOADS = ["pandas small", "numpy", "small dict", "json records@10000"]
QUICK_NAMES = ("ours, s3", "ours, redis", "ours, db", "Airflow object storage", "Airflow default")
LEAST, PATIENCE = 3, 30  # rounds that each payload has, and seconds after which it has no more of them
SCALING = {
    "pandas mixed": ("ours, s3", "ours, s3 on file://", "Airflow object storage"),
    "bytes": ("ours, s3", "ours, redis"),
    "file": ("ours, s3", "ours, s3 on file://"),
    "mapped": ("ours, s3", "ours, redis", "Airflow object storage"),
}
ROWS = (10_000, 100_000, 1_000_000, 5_000_000)  # of about 100 bytes
BYTES = (1_000_000, 10_000_000, 100_000_000, 500_000_000)
SIZES = {"pandas mixed": ROWS, "bytes": BYTES[:3], "file": BYTES, "mapped": (1, 10, 100, 1000)}
PEER_SIZES = {"pandas mixed": 1_000_000, "mapped": 100}  # the peer stops here: more takes it minutes
FAR = ("small dict", "mapped@100", "pandas mixed", "bytes")
FAR_NAMES = ("ours, s3", "ours, redis", "Airflow object storage", "Airflow object storage, zstd")
COUNTED = "5 ms"  # the network on which round trips are counted
END_TO_END = ("json records", "polars mixed@480000", "texts")  # the frame has 38 MB
WAYS = {
    "ours, s3": ("without", "lazy, not loaded", "lazy", "value"),
    "Airflow object storage": ("without", "value"),
}
MAPPED_WAYS = ("expand, without", "expand")
FORMATS = ("arrow", "parquet", "packed")
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


def transfers(bench: Bench, payloads: list[str], rounds: int) -> Iterator[dict[str, Any]]:
    """Every contestant with every payload, `rounds` times in turn; and the limits."""
    for payload in payloads:
        refused: set[str] = set()
        started = time.monotonic()
        for round_ in range(rounds):
            if round_ >= LEAST and time.monotonic() - started > PATIENCE:
                break
            for contestant in bench.contestants:
                if contestant.name in refused or not contestant.takes_part(split(payload)[0]):
                    continue
                result = bench.call("measure", [contestant.backend, payload], contestant)
                if "refused" in result:
                    refused.add(contestant.name)
                yield {"payload": payload, "contestant": contestant.name, "round": round_, **result}
            if not payload.startswith("mapped") and payload != "three frames":
                result = bench.call("limits", [payload])
                yield {"payload": payload, "contestant": "limit", "round": round_, **result}


def round_trips(bench: Bench, mapped: str) -> Iterator[dict[str, Any]]:
    """Round trips of a push and of a pull, counted on their way to the servers."""
    for contestant in bench.contestants:
        for payload in ("small dict", mapped):
            if contestant.server not in ("s3", "valkey") or not contestant.takes_part(split(payload)[0]):
                continue
            counted, before = [], bench.turns(COUNTED)
            for steps in range(3):
                result = bench.call(
                    "trips", [contestant.backend, payload, steps], contestant, network=COUNTED
                )
                counted.append(bench.turns(COUNTED) - before)
                before += counted[-1]
            warm, pushed, pulled = counted
            if "refused" not in result:
                result = {"push": pushed - warm, "pull": pulled - pushed}
            yield {"payload": payload, "contestant": contestant.name, **result}


def far(bench: Bench, payloads: tuple[str, ...], rounds: int) -> Iterator[dict[str, Any]]:
    """The same on slower networks, with what the bare clients take there."""
    for payload in payloads:
        for network in [name for name in bench.networks if name]:
            for round_ in range(rounds):
                where = {"payload": payload, "network": network, "round": round_}
                for contestant in bench.contestants:
                    if contestant.name in FAR_NAMES and contestant.takes_part(split(payload)[0]):
                        asked = [contestant.backend, payload, FEW]
                        yield {
                            **where,
                            "contestant": contestant.name,
                            **bench.call("measure", asked, contestant, network=network),
                        }
                if not payload.startswith("mapped"):
                    result = bench.call("limits", [payload, False], network=network)
                    yield {**where, "contestant": "limit", **result}


def formats(bench: Bench) -> Iterator[dict[str, Any]]:
    """What other tools see in an object."""
    folder = named("ours, s3 on file://")
    for name in FORMATS:
        own = {**folder.environment, "AIRFLOW__XCOM__FRAME_FORMAT": name}
        yield {"format": name, **bench.call("formats", [folder.backend], replace(folder, environment=own))}


def scaling(bench: Bench, rounds: int, largest: int) -> Iterator[dict[str, Any]]:
    """Time and memory against size. The largest size is measured once: it takes long.

    Args:
        largest: megabytes, or mapped values, to go up to.
    """
    for payload, names in SCALING.items():
        for size in SIZES[payload]:
            megabytes = size / 10_000 if payload == "pandas mixed" else size / 1e6
            for round_ in range(1 if megabytes > 100 else rounds):
                for name in names:
                    units = size if payload == "mapped" else megabytes
                    if units > largest or (name == "Airflow object storage" and size > PEER_SIZES[payload]):
                        continue
                    contestant = named(name)
                    result = bench.call("measure", [contestant.backend, f"{payload}@{size}"], contestant)
                    yield {"payload": payload, "size": size, "contestant": name, "round": round_, **result}


def end_to_end(
    bench: Bench, names: list[str], payloads: tuple[str, ...], rounds: int
) -> Iterator[dict[str, Any]]:
    """Whole DAG runs: each contestant in a process of its own, in which the ways take turns."""
    for name in names:
        bench.zygote(named(name).backend)  # all at once
    made = bench.call("endtoend", ["migrate"])
    for payload in payloads:
        for name in names:
            if payload == "texts" and name != "ours, s3":
                continue
            ways = MAPPED_WAYS if payload == "texts" else WAYS[name]
            asked = ["run", payload, ways, rounds]
            result = made or bench.call("endtoend", asked, named(name), named(name).backend)
            for way in ways:
                seconds = result.get(way, [])
                refused = {"refused": result["refused"]} if "refused" in result else {}
                yield {"payload": payload, "contestant": name, "way": way, "seconds": seconds, **refused}


def at_rest(bench: Bench, rounds: int) -> Iterator[dict[str, Any]]:
    """What is paid before anything is handed over."""
    backends = [f"{OURS}.{n}" for n in ("db.DbXComBackend", "s3.S3XComBackend", "redis.RedisXComBackend")]
    for _ in range(rounds):
        for backend in (*backends, PEER):
            yield {
                "what": "import",
                "backend": backend,
                **bench.call("rest", ["import", backend], kind="bare"),
            }
        yield {"what": "parse", **bench.call("rest", ["parse", str(PROJECT / "dags")], kind="bare")}
        yield {"what": "bake", "seconds": bake_seconds()}


def bake_seconds() -> float | None:
    """Seconds to bake a project."""
    cookiecutter = HERE.parent / ".venv" / "bin" / "cookiecutter"
    if not cookiecutter.exists():
        return None
    out = BUILD / "work" / "baked"
    command = [str(cookiecutter), "--default-config", "--no-input", "-o", str(out), str(HERE.parent)]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - started
    shutil.rmtree(out)
    return seconds


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    with open("/proc/cpuinfo") as cpus, open("/proc/meminfo") as memory:
        model = next((line.split(":")[1].strip() for line in cpus if line.startswith("model name")), "")
        total = round(int(next(line for line in memory).split()[1]) / 2**20)
    return {
        "processor": model or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": total,
        "system": platform.system(),
        "python": platform.python_version(),
    }


def noted(name: str, results: Iterator[dict[str, Any]], whole: dict[str, Any]) -> None:
    """Collect results below a name, tell each, and save all so far when they are complete."""
    started = time.perf_counter()
    for result in results:
        whole.setdefault(name, []).append(result)
        shown = {key: round(v, 3) if isinstance(v, float) else v for key, v in result.items()}
        print(
            f"{time.perf_counter() - started:.1f} {name}: " + ", ".join(str(shown[key]) for key in shown),
            flush=True,
        )
    whole.setdefault("took", {})[name] = time.perf_counter() - started
    (BUILD / "bench.json").write_text(json.dumps(whole, indent=1) + "\n")


def main() -> None:
    """Measure, and write build/bench/bench.json, bench.md and the plots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and smaller payloads, one round")
    parser.add_argument("--only", default="", help="payloads by name, separated by commas; nothing else")
    parser.add_argument("--rounds", type=int, default=0, help="measurements of each (5)")
    arguments = parser.parse_args()
    only = [name.strip() for name in arguments.only.split(",") if name.strip()]
    if unknown := [name for name in only if split(name)[0] not in PAYLOADS]:
        parser.error(f"no payload is called {', '.join(unknown)}; there are: {', '.join(PAYLOADS)}")
    quick = arguments.quick
    payloads = only or (QUICK_PAYLOADS if quick else [name for name in PAYLOADS if name != "texts"])
    rounds = arguments.rounds or (1 if quick else 5)
    folder = BUILD / "work"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    whole: dict[str, Any] = {"machine": machine(), "rounds": rounds}
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        bench = Bench(folder, [named(name) for name in QUICK_NAMES] if quick else CONTESTANTS)
        stack.callback(bench.end)
        noted("transfers", transfers(bench, payloads, rounds), whole)
        if not only:
            few = 1 if quick else 3
            noted("trips", round_trips(bench, "mapped@10" if quick else "mapped"), whole)
            noted("far", far(bench, FAR[:1] if quick else FAR, few), whole)
            noted("formats", formats(bench), whole)
            if not quick:
                noted("scaling", scaling(bench, few, 2000), whole)
            runs = ("json records@10000",) if quick else END_TO_END
            names = ["ours, s3"] if quick else list(WAYS)
            noted("end_to_end", end_to_end(bench, names, runs, few), whole)
            noted("at_rest", at_rest(bench, 1 if quick else 5), whole)
    publish.main(BUILD / "bench.json")


if __name__ == "__main__":
    main()
