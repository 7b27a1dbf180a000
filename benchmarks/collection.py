"""Measures collections: payloads a second, the memory of the process, and requests to Airflow.

    make bench-gc [PAYLOADS=1000000]

Each line is a process of its own. "in numbers" is a store whose listing is computed, before an Airflow that
answers at once: what is left is the collection's own work. The others are real servers on this machine, with
fewer payloads. Of ten runs one is gone; of ten payloads of the others one has a row that names another.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exclusive_xcom.address import Address, Attempt
from exclusive_xcom.reference import Reference
from exclusive_xcom.upkeep import marker
from exclusive_xcom.upkeep.collect import Collection
from exclusive_xcom.upkeep.inventory import Inventory
from exclusive_xcom.upkeep.manifest import Manifest
from exclusive_xcom.upkeep.objects import Objects

OF_A_RUN = 20  # payloads, each of a task of its own
GRACE = 60.0
RUN = "scheduled__2026-01-01T00:00:{:07}+00:00"
WRITER = "01a22c87-e40e-7000-859c-0e5c5cff04d8"
PLACES = {
    "in numbers": (10_000, 100_000, 1_000_000),
    "S3 (SeaweedFS)": (20_000,),
    "Redis (Valkey)": (100_000,),
}


def address(number: int) -> Address:
    """That of a payload, by its number."""
    run, task = divmod(number, OF_A_RUN)
    return Address("orders", RUN.format(run), f"task_{task:02}")


class Airflow:
    """Says at once what is there, as the REST API would."""

    url, rows_per_try = "http://airflow", False

    def __init__(self) -> None:
        self.requests, self.variable = 0, None

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        """Every tenth run is gone."""
        self.requests += 1
        return "success" if int(run_id[len("scheduled__2026-01-01T00:00:") :][:7]) % 10 else None

    def row(self, of: Address) -> tuple[Any]:
        """Of every tenth task it names another payload."""
        self.requests += 1
        task = int(of.task_id[-2:])
        number = int(of.run_id[len("scheduled__2026-01-01T00:00:") :][:7]) * OF_A_RUN + task
        named = number if task % 10 else 0
        uri = f"s3://bucket/{mark(named)}/{redis_name(named)}"
        return (Reference(of, Attempt(1, WRITER), "binary/1", "bytes", "x/y", 1, "0" * 64, uri=uri).row(),)

    def store_id(self) -> str | None:
        """The Variable."""
        return self.variable

    def set_store_id(self, text: str) -> None:
        """Make it."""
        self.variable = text


def mark(number: int) -> str:
    """The part of a payload's name that no other has."""
    return f"{WRITER}-{number:016x}"


def redis_name(number: int) -> str:
    """The same in Redis."""
    return f"unclaimed-{WRITER}-{number:020x}"


class InNumbers(Objects):
    """An object store whose listing is computed. All else of it is as it is with S3."""

    def __init__(self, payloads: int) -> None:
        self.url, self.payloads, self._bucket, self.notes = "s3://bucket/xcom", payloads, None, {}
        self.client = self
        self._remarks = []

    @contextmanager
    def explained(self, doing: str) -> Iterator[None]:
        """Nothing fails here."""
        yield

    def now(self) -> float:
        """Long after all was written."""
        return 1e9

    def read(self, name: str) -> str | None:
        """A note."""
        return self.notes.get(name)

    def write(self, name: str, text: str) -> None:
        """A note."""
        self.notes[name] = text

    def delete(self, name: str) -> None:
        """Nothing is kept."""

    def _listed(self, after: str) -> Iterator[tuple[str, int, float]]:
        for number in range(self.payloads):
            yield name_of(number), 1000, 0.0


def name_of(number: int) -> str:
    """A payload's name in an object store."""
    of = address(number)
    run = of.run_id.replace(":", "@3A").replace("+", "@2B")
    return f"{of.dag_id}/{run}/{of.task_id}/-1/{of.key}/{mark(number)}.bin"


# -- stores -----------------------------------------------------------------------------------------


@contextmanager
def store(place: str, payloads: int, folder: Path) -> Iterator[Inventory]:
    """A store with so many payloads."""
    if place == "in numbers":
        yield InNumbers(payloads)
        return
    from exclusive_xcom.local import services
    from exclusive_xcom.store import current_store
    from exclusive_xcom.upkeep.inventory import inventory_of

    with services.running(os.environ, folder / "services") as variables:
        os.environ.update(variables)
        found = inventory_of(current_store())
        (fill_s3 if place.startswith("S3") else fill_redis)(found, payloads)
        yield found


def fill_s3(found: Any, payloads: int) -> None:
    """By sixteen threads."""
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: found.write(name_of(number), "x"), range(payloads)))


def fill_redis(found: Any, payloads: int) -> None:
    """Heads with one chunk each, by pipelines."""
    from exclusive_xcom.redis.keys import claim_key

    head = json.dumps({"length": 1, "sha256": "0" * 64, "kind": "bytes", "kept": 10**9})
    for start in range(0, payloads, 1000):
        commands = []
        for number in range(start, start + 1000):
            begin = claim_key(address(number)).removesuffix("claim")
            key = f"{begin}return_value/{redis_name(number)}"
            commands += [("SET", key, head, "PX", 10**6), ("SET", f"{key}/0", b"x", "PX", 10**6)]
        found.server.run(*commands)


# -- measuring --------------------------------------------------------------------------------------


def measure(place: str, payloads: int) -> dict[str, Any]:
    """Look and delete, in this process."""
    with tempfile.TemporaryDirectory() as text, store(place, payloads, folder := Path(text)) as found:
        airflow = Airflow()
        marker.adopt(found, airflow)
        before = peak()
        started = time.perf_counter()
        listed = sum(1 for _ in found.items())
        listing = time.perf_counter() - started
        later = found.now() + 2 * GRACE
        found.now = lambda: later  # type: ignore[method-assign]
        collection = Collection(found, airflow, GRACE)
        with Manifest(folder / "list") as manifest:
            started, airflow.requests = time.perf_counter(), 0
            tally = collection.look(manifest)
            looked, asked = time.perf_counter() - started, airflow.requests
            started = time.perf_counter()
            done = collection.delete(manifest)
            deleted = time.perf_counter() - started
            size = manifest.path.stat().st_size
        assert listed == payloads == sum(count.payloads for count in tally.by_reason.values())
        return {
            "place": place,
            "payloads": payloads,
            "listed a second": payloads / listing,
            "looked at a second": payloads / looked,
            "deleted a second": done.garbage.payloads / deleted,
            "garbage": done.garbage.payloads,
            "requests per 1,000 runs": 1000 * asked / tally.runs,
            "peak MB": peak() / 1e6,
            "of it before MB": before / 1e6,
            "list MB": size / 1e6,
        }


def peak() -> float:
    """The most memory that this process had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def environment(place: str, home: str) -> dict[str, str]:
    """That of a process which measures."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_"))}
    backend = {
        "S3": {
            "AIRFLOW__CORE__XCOM_BACKEND": "exclusive_xcom.s3.S3XComBackend",
            "AIRFLOW__XCOM__URL": "s3://bench/xcom",
            "AIRFLOW__XCOM__CONN_ID": "xcom_s3",
        },
        "Re": {
            "AIRFLOW__CORE__XCOM_BACKEND": "exclusive_xcom.redis.RedisXComBackend",
            "AIRFLOW__XCOM__CONN_ID": "xcom_redis",
        },
    }
    return clean | backend.get(place[:2], {}) | {"AIRFLOW_HOME": home}


def main() -> None:
    """Measure all, or what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payloads", type=int, help="so many at most")
    parser.add_argument("--one", nargs=2, metavar=("PLACE", "PAYLOADS"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.one[0], int(asked.one[1]))))
        return
    for place, sizes in PLACES.items():
        for size in sizes:
            if asked.payloads and size > asked.payloads:
                continue
            with tempfile.TemporaryDirectory() as home:
                command = [sys.executable, __file__, "--one", place, str(size)]
                said = subprocess.run(
                    command, env=environment(place, home), check=True, stdout=subprocess.PIPE
                )
            found = json.loads(said.stdout.splitlines()[-1])
            print("  ".join(f"{name}: {told(value)}" for name, value in found.items()), flush=True)


def told(value: Any) -> str:
    """A figure for people."""
    return value if isinstance(value, str) else f"{value:,.0f}"


if __name__ == "__main__":
    main()
