"""Measures the backends side by side with their peers and with what the machine can do at best.

    python bench.py [--quick] [--only "pandas mixed,bytes"]      (`make bench`, `make bench QUICK=1`)

Every measurement is a fresh process, and the contestants take turns (A B A B …), so that a machine whose
speed drifts treats all alike. Results go to build/bench/bench.json; report.py makes tables and plots of them.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import report
from contestants import CONTESTANTS, Contestant, connections
from payloads import PAYLOADS

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "bench"
QUICK_PAYLOADS = ["pandas small", "numpy", "small dict", "json records"]


def environment(folder: Path, s3_port: int, redis_port: int) -> dict[str, str]:
    """What every measuring process gets: an Airflow of its own, and the way to the servers."""
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "PYTHONPATH": str(HERE),
        "XCOM_BENCH_FILES": str(folder),
        **connections(s3_port, redis_port),
    }


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[tuple[int, int]]:
    """moto's S3 with the bucket `bench`, and Valkey; gives their ports."""
    command = [sys.executable, str(HERE / "servers.py"), str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        ports = json.loads(process.stdout.readline())
        yield ports["s3"], ports["redis"]
    finally:
        process.stdin.close()
        process.wait(30)


def run(script: str, arguments: list[str], env: dict[str, str]) -> dict[str, Any]:
    """One fresh process; its last line is its result."""
    done = subprocess.run(
        [sys.executable, str(HERE / script), *arguments], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return {"refused": reason[:200]}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def configured(contestant: Contestant, base: dict[str, str], folder: Path) -> dict[str, str]:
    """The environment of one contestant."""
    own = {name: value.replace("{folder}", str(folder)) for name, value in contestant.environment.items()}
    return {**base, **own, "AIRFLOW__CORE__XCOM_BACKEND": contestant.backend}


def measure_all(payloads: list[str], rounds: int, folder: Path, base: dict[str, str]) -> list[dict[str, Any]]:
    """Every contestant with every payload, `rounds` times in turn."""
    results: list[dict[str, Any]] = []
    for payload in payloads:
        refused: set[str] = set()
        for round_ in range(rounds):
            for contestant in CONTESTANTS:
                if contestant.name in refused:
                    continue
                env = configured(contestant, base, folder)
                result = run("measure.py", [contestant.backend, payload], env)
                if "refused" in result:
                    refused.add(contestant.name)
                results.append({"payload": payload, "contestant": contestant.name, "round": round_, **result})
                empty(folder)
            result = run("limits.py", [payload], base)
            results.append({"payload": payload, "contestant": "limit", "round": round_, **result})
            empty(folder)
        print(report.table(results, payload), flush=True)
    return results


def empty(folder: Path) -> None:
    """Remove what a contestant left on the disk."""
    for name in ("ours", "peer"):
        shutil.rmtree(folder / name, ignore_errors=True)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    with open("/proc/cpuinfo") as cpus, open("/proc/meminfo") as memory:
        model = next((line.split(":")[1].strip() for line in cpus if line.startswith("model name")), "")
        total = int(next(line for line in memory).split()[1]) // 2**20
    return {
        "processor": model or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": total,
        "python": platform.python_version(),
    }


def main() -> None:
    """Measure, and write build/bench/bench.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer payloads, one round")
    parser.add_argument("--only", default="", help="payloads by name, separated by commas")
    arguments = parser.parse_args()
    payloads = [name.strip() for name in arguments.only.split(",") if name.strip()]
    if not payloads:
        payloads = QUICK_PAYLOADS if arguments.quick else list(PAYLOADS)
    rounds = 1 if arguments.quick else 5
    folder = BUILD / "work"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with servers(folder) as (s3_port, redis_port):
            base = environment(folder, s3_port, redis_port)
            results = measure_all(payloads, rounds, folder, base)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    whole = {"machine": machine(), "rounds": rounds, "transfers": results}
    (BUILD / "bench.json").write_text(json.dumps(whole, indent=1) + "\n")
    print(f"Written: {BUILD / 'bench.json'}")


if __name__ == "__main__":
    main()
