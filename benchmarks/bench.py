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
from typing import Any

import publish
from contestants import CONTESTANTS, IN_ROWS, OURS, PEER, named
from measure import FEW
from payloads import PAYLOADS, split
from stage import BUILD, HERE, PROJECT, Bench

WARM = "bytes@100000000"
QUICK_PAYLOADS = ["pandas small", "numpy", "small dict", "json records@10000"]
QUICK_NAMES = ("ours, s3", "ours, redis", "ours, db", "Airflow object storage", "Airflow default")
LEAST, PATIENCE = 2, 14  # rounds that each payload has, and seconds after which it has no more of them
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
FAR = ("small dict", "mapped@10", "pandas mixed", "bytes")
FAR_NAMES = ("ours, s3", "ours, redis", "Airflow object storage", "Airflow object storage, zstd")
MANY = "mapped@20"  # each has its round trips, so more of them tell nothing more
COUNTED = "5 ms"  # the network on which round trips are counted
END_TO_END = ("json records", "polars mixed@480000", "texts")  # the frame has 38 MB
WAYS = {
    "ours, s3": ("without", "lazy, not loaded", "lazy", "value"),
    "Airflow object storage": ("without", "value"),
}
MAPPED_WAYS = ("expand, without", "expand")
# Under the real scheduler. Small tasks are alone, since each task reads the file with all DAGs.
SCHEDULED = (
    ("ours, s3", [f"{name}/{way}" for name in END_TO_END[:2] for way in ("without", "lazy", "value")]),
    (IN_ROWS, ["small/30"]),
    ("Airflow default", ["small/30"]),
)
FORMATS = ("arrow", "parquet", "packed")


def warm_up(bench: Bench) -> None:
    """Have each server take and give something large, since the first that it takes is slow."""
    servers = {contestant.server: contestant for contestant in bench.contestants if contestant.ours}
    for contestant in servers.values():
        bench.call("measure", [contestant.backend, WARM], contestant)


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
    """Whole DAG runs: each contestant in a process of its own, in which the ways take turns. The peer has one
    round: half a minute."""
    for name in names:
        bench.zygote(named(name).backend)  # all at once
    made = bench.call("endtoend", ["migrate"])
    for payload in payloads:
        for name in names:
            if payload == "texts" and name != "ours, s3":
                continue
            ways = MAPPED_WAYS if payload == "texts" else WAYS[name]
            asked = ["run", payload, ways, rounds if named(name).ours else 1]
            result = made or bench.call("endtoend", asked, named(name), named(name).backend)
            for way in ways:
                seconds = result.get(way, [])
                refused = {"refused": result["refused"]} if "refused" in result else {}
                yield {"payload": payload, "contestant": name, "way": way, "seconds": seconds, **refused}


def scheduled(bench: Bench, rounds: int) -> Iterator[dict[str, Any]]:
    """DAG runs under the real scheduler."""
    for name, dags in SCHEDULED:
        contestant, folder = named(name), bench.folder / "scheduled"
        env = {**bench.env, **contestant.environment, "AIRFLOW__CORE__XCOM_BACKEND": contestant.backend}
        times = rounds if len(dags) > 1 else 2 * rounds
        command = [sys.executable, str(HERE / "scheduled.py"), str(folder), str(times), *dags]
        done = subprocess.run(command, env=env, check=False, stdout=subprocess.PIPE, text=True)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        if done.returncode:
            found.append({"payload": "all", "way": "", "refused": f"it ended with {done.returncode}"})
        yield from ({"contestant": name, **result} for result in found)
        shutil.rmtree(folder)
        bench.servers.ask("empty")


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
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, capture_output=True, env=own)
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
        warm_up(bench)
        noted("transfers", transfers(bench, payloads, rounds), whole)
        if not only:
            few = 1 if quick else 2
            noted("trips", round_trips(bench, MANY), whole)
            noted("far", far(bench, FAR[:1] if quick else FAR, few), whole)
            if not quick:
                noted("formats", formats(bench), whole)
                noted("scaling", scaling(bench, few, 2000), whole)
            runs = ("json records@10000",) if quick else END_TO_END
            names = ["ours, s3"] if quick else list(WAYS)
            noted("end_to_end", end_to_end(bench, names, runs, few), whole)
            if not quick:
                noted("scheduled", scheduled(bench, few), whole)
            noted("at_rest", at_rest(bench, 1 if quick else 5), whole)
    publish.main(BUILD / "bench.json")


if __name__ == "__main__":
    main()
