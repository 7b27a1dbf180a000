"""Measures what the looks for secrets and for readers add to a push and to a pull.

    make bench-guards [ROUNDS=15] [RECORDS=300000]

Processor time of the process that pushes and pulls, with each setting in turn, so that what else the machine
does disturbs all alike. A process for each backend, with real servers. `warn` searches as `refuse` does. A
small value goes by Airflow's own channel from a task to its supervisor, in whose place a process answers at
once: what the supervisor and the api-server then do, in milliseconds, is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

SECRETS = 20  # that the process has registered
TIMES = 100  # that something small is done in a measurement, since once takes less than a clock can tell
BACKENDS = {"db": "ours, db", "s3": "ours, s3", "redis": "ours, redis"}
DAG_ID, PRODUCER, CONSUMER = "bench", "push", "pull"


def rounds(work: Callable[[str], Any], settings: tuple[str, ...], count: int) -> dict[str, list[float]]:
    """Processor seconds of each round of each setting. Before them each has had one that does not count."""
    found: dict[str, list[float]] = {setting: [] for setting in settings}
    for number in range(-1, count):
        order = settings if number % 2 else settings[::-1]
        for setting in order:
            began = time.process_time()
            work(setting)
            if number >= 0:
                found[setting].append(time.process_time() - began)
    return found


def added(times: dict[str, list[float]], base: str) -> dict[str, dict[str, float]]:
    """The median of each setting in ms, and by how many per cent the median of its rounds is over that of the
    same round of `base`."""
    told = {}
    for setting, seconds in times.items():
        more = statistics.median(
            (one - other) / other for one, other in zip(seconds, times[base], strict=True)
        )
        told[setting] = {"ms": statistics.median(seconds) * 1000, "more": more * 100}
    return told


@contextmanager
def supervisor(row: Any = None) -> Iterator[None]:
    """Meanwhile this process asks and tells Airflow as a task does: every XCom has this row."""
    from airflow.sdk.execution_time import comms, task_runner

    ours, theirs = socket.socketpair()
    found, ok = comms.XComResult(key="return_value", value=row), comms.OKResponse(ok=True)
    if (child := os.fork()) == 0:
        ours.close()
        with theirs.makefile("rb") as asked:
            while head := asked.read(4):
                number, body, *_ = comms.msgspec.msgpack.decode(asked.read(int.from_bytes(head, "big")))
                answer = found if body["type"] == "GetXCom" else ok
                theirs.sendall(comms._ResponseFrame(number, answer.model_dump()).as_bytes())
        os._exit(0)
    theirs.close()
    task_runner.SUPERVISOR_COMMS = comms.CommsDecoder(socket=ours)
    try:
        yield
    finally:
        del task_runner.SUPERVISOR_COMMS
        ours.close()
        os.waitpid(child, 0)


def pushes(way: Any, records: int, count: int) -> dict[str, Any]:
    """Of the benchmark's records, and of one small dict, with and without the look for secrets."""
    import payloads
    from airflow.sdk.log import mask_secret

    rng = random.Random(7)
    for _ in range(SECRETS):
        mask_secret("".join(rng.choices(string.ascii_letters + string.digits + "-_#!", k=16)))

    def of(push: Callable[[], Any], times: int = 1) -> dict[str, dict[str, float]]:
        def work(setting: str) -> None:
            os.environ["AIRFLOW__XCOM__SECRETS"] = setting
            for _ in range(times):
                push()

        return added(rounds(work, ("allow", "refuse"), count), "allow")

    large, small = payloads.json_records(records), payloads.small_dict()
    whose = {"dag_id": DAG_ID, "run_id": "run", "task_id": PRODUCER, "map_index": -1}
    found = {f"push of {records:,} records": of(lambda: way.push(large))}
    with supervisor():
        found[f"{TIMES} pushes of a small dict"] = of(lambda: way.cls.set("key", small, **whose), TIMES)
    return found


def pulls(way: Any, count: int) -> dict[str, Any]:
    """Of what a task upstream has pushed, with each setting of `PULLS`."""
    from airflow.sdk import DAG, BaseOperator

    from exclusive_xcom import attempt, readers

    rows = {"a number in the row": 7, "a small tuple": tuple(range(9))}
    rows = {name: way.push(value) for name, value in rows.items()}
    with DAG(DAG_ID, schedule=None) as dag:
        tasks = [BaseOperator(task_id=f"task_{number}") for number in range(20)]
        first, last = BaseOperator(task_id=PRODUCER), BaseOperator(task_id=CONSUMER)
        first >> tasks >> last
    readers.note(last)
    whose = {"dag_id": DAG_ID, "run_id": "run", "map_index": -1}
    attempt.begin(SimpleNamespace(**whose, task_id=CONSUMER, id="", try_number=1))
    asked = {**whose, "task_id": PRODUCER, "key": "return_value"}

    def of(row: Any) -> dict[str, dict[str, float]]:
        def work(setting: str) -> None:
            os.environ["AIRFLOW__XCOM__PULLS"] = setting
            for _ in range(TIMES):
                way.cls.get_one(**asked)

        with supervisor(row):
            return added(rounds(work, ("open", "warn", "declared"), count), "open")

    found = {f"{TIMES} pulls of {name}": of(row) for name, row in rows.items()}
    attempt.end()
    assert dag.task_dict
    return found


def child(path: str, records: int, count: int) -> None:
    """All measurements with one backend; prints them as JSON."""
    from measure import backend

    way = backend(path)
    print("\n" + json.dumps(pushes(way, records, count) | pulls(way, count)))


def main() -> None:
    """Start the servers, measure with each backend, print a table."""
    from contestants import connections, named
    from stage import Lines, environment

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--only", default=",".join(BACKENDS), help="backends")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        return child(chosen.child, chosen.records, chosen.rounds)
    with tempfile.TemporaryDirectory(prefix="xcom-bench-") as name:
        folder = Path(name)
        servers = Lines(sys.executable, "servers.py", [name], dict(os.environ))
        said = json.loads(servers.output.readline())
        try:
            for backend in chosen.only.split(","):
                contestant = named(BACKENDS[backend])
                own = {key: value.replace("{folder}", name) for key, value in contestant.environment.items()}
                env = environment(folder) | connections(said["s3"], said["ports"][""]) | own
                env |= {
                    "AIRFLOW__CORE__XCOM_BACKEND": contestant.backend,
                    "AIRFLOW__XCOM__MAX_SIZE": str(2**31),
                    "AIRFLOW__XCOM__MAX_ROW_SIZE": str(2**31),
                    "no_proxy": "*",
                    "NO_PROXY": "*",
                }
                arguments = [f"--rounds={chosen.rounds}", f"--records={chosen.records}"]
                command = [sys.executable, __file__, f"--child={contestant.backend}", *arguments]
                done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
                for what, settings in json.loads(done.stdout.splitlines()[-1]).items():
                    told = "  ".join(
                        f"{setting} {found['ms']:.1f} ms ({found['more']:+.1f} %)"
                        for setting, found in settings.items()
                    )
                    print(f"{backend:6} {what:36} {told}", flush=True)
        finally:
            servers.end()


if __name__ == "__main__":
    main()
