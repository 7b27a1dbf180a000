"""What a preview costs: processor time of whole pushes with AIRFLOW__XCOM__PREVIEW=off, shape and full.

    python benchmarks/previews.py --rounds 15

Pushes of the three take turns, so that what else the machine does meets all alike. Only the time of this
process counts, of all its threads, and not that of the server. It prints a table, medians of all rounds.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import payloads
from collection import environment

MODES = ("off", "shape", "full")
SMALL = {"small dict", "records", "pandas small", "numpy of 100", "text of 10 kB"}
LARGE = (
    "pandas mixed",
    "polars mixed",
    "pandas random",
    "json records",
    "numpy",
    "image",
    "bytes",
    "file",
    "texts",
)
PLACES = {"S3": [*LARGE, *sorted(SMALL)], "Redis": sorted(SMALL)}
AT_ONCE = 20  # pushes of a small value between two looks at the clock


def made(name: str) -> Any:
    """A payload of the benchmark, or a small one."""
    if name == "records":
        return [{"path": f"/item/{number}", "status": 200, "ms": number * 1.5} for number in range(40)]
    if name == "numpy of 100":
        import numpy as np

        return np.linspace(0, 1, 100)
    return "A line of text.\n" * 640 if name == "text of 10 kB" else payloads.make(name)


def measure(place: str, names: list[str], rounds: int) -> Iterator[tuple[str, dict[str, list[float]]]]:
    """Seconds of a push of each of these, by what the preview tells, round by round."""
    from exclusive_xcom.local import services

    with services.running(os.environ, Path(os.environ["AIRFLOW_HOME"]) / "services") as variables:
        os.environ.update(variables)
        from measure import AirflowBackend

        way = AirflowBackend(os.environ["AIRFLOW__CORE__XCOM_BACKEND"])
        for name in names:
            value, times = made(name), AT_ONCE if name in SMALL else 1
            found: dict[str, list[float]] = {mode: [] for mode in MODES}
            for number in range(rounds + 1):  # the first warms up
                for mode in random.sample(MODES, len(MODES)):
                    seconds = pushed(way, value, mode, times)
                    if number:
                        found[mode].append(seconds)
            yield name, found


def pushed(way: Any, value: Any, mode: str, times: int) -> float:
    """Seconds of a push, of so many; nothing is left of them."""
    from exclusive_xcom.reference import is_reference, parse
    from exclusive_xcom.store import store_of

    os.environ["AIRFLOW__XCOM__PREVIEW"] = mode
    gc.collect()
    began = time.process_time()
    rows = [way.push(value) for _ in range(times)]
    seconds = (time.process_time() - began) / times
    for row in filter(is_reference, rows):
        store_of(ref := parse(row)).delete(ref)
    return seconds


def main() -> None:
    """Measure all, or what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--place", choices=[*PLACES])
    parser.add_argument("--only", help="payloads, separated by commas")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    names = asked.only.split(",") if asked.only else PLACES.get(asked.place, [])
    if asked.here:
        for name, found in measure(asked.place, names, asked.rounds):
            off = statistics.median(found["off"])
            more = (statistics.median(map(lambda a, b: a / b - 1, found[m], found["off"])) for m in MODES[1:])
            shares = " | ".join(f"{each:+.1%}" for each in more)
            print(f"| {name} | {asked.place} | {off * 1000:.2f} | {shares} |", flush=True)
        return
    print("| payload | store | off, ms | `shape` | `full` |\n|---|---|---|---|---|", flush=True)
    for place in [asked.place] if asked.place else PLACES:
        with tempfile.TemporaryDirectory() as home:
            command = [sys.executable, __file__, "--here", "--rounds", str(asked.rounds), "--place", place]
            command += ["--only", asked.only] if asked.only else []
            environ = {**environment(place, home), "XCOM_BENCH_FILES": home}
            environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"  # a line for each push would count, too
            subprocess.run(command, env=environ, check=True)


if __name__ == "__main__":
    main()
