"""A push that is killed (SIGKILL) at any step leaves the previous value readable, and no half of its own.

The push runs in a process of its own. A proxy before moto kills it before or after each request of the upload
is passed on; and the process itself tells when it asks Airflow and when it has the answer.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import uuid
from pathlib import Path
from typing import Any

import pytest
from airflow_versions import ROWS_PER_TRY
from faulty import FaultyProxy, faulty
from s3_airflow import Airflow, producer, push
from s3_servers import BUCKET, boto, configured, lengths

from exclusive_xcom.address import Attempt

KEY = "return_value"
SMALL = os.urandom(100_000)
LARGE = os.urandom(2**20) * 33  # in five parts
REQUESTS = {"small": 1, "parts": 7}

# Forked from a process that has imported everything and used nothing: quick, and free of this one's threads.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["exclusive_xcom.s3", "s3_airflow"])


class Producer:
    """A process that pushes."""

    def __init__(self, attempt: Attempt, value: Any) -> None:
        self.told, other = PROCESSES.Pipe()
        environment = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW")}
        self.process = PROCESSES.Process(
            target=producer, args=(environment, attempt, KEY, value, other), daemon=True
        )
        self.process.start()
        other.close()

    def kill(self) -> None:
        """At once."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)

    def until(self, step: str) -> Any:
        """Let it go on to a step, or to its row ("row"); None if it died before."""
        try:
            while True:
                said = self.told.recv()
                if said == step or (step == "row" and not isinstance(said, str)):
                    return said
                self.told.send("go on")
        except EOFError:
            self.process.join()
            return None


def fresh(number: int) -> Attempt:
    """A try with an identity of its own."""
    return Attempt(number, str(uuid.uuid4()))


def whole_objects(expected: set[int]) -> int:
    """How many objects there are, none of which may be a part of a value."""
    found = list(lengths().values())
    assert set(found) <= expected
    return len(found)


def steps(name: str) -> list[tuple[str, int, str]]:
    """Every moment at which a push can die."""
    requests = [(name, number, moment) for number in range(REQUESTS[name]) for moment in ("before", "after")]
    # From 3.4 on nothing is asked before the row's own request.
    questions = [] if ROWS_PER_TRY else [(name, -1, "asked"), (name, -1, "answered")]
    return requests + questions


@pytest.mark.parametrize(
    ("name", "number", "moment"),
    [
        *steps("small"),
        *(pytest.param(*step, marks=pytest.mark.slow) for step in steps("parts")),
    ],
)
def test_killed(moto: str, name: str, number: int, moment: str) -> None:
    value = {"small": SMALL, "parts": LARGE}[name]
    older, dying, newer = fresh(1), fresh(2), fresh(3)
    airflow = Airflow(current=older)
    with faulty(moto) as proxy, configured(proxy.url), airflow.answering():
        airflow.post(KEY, push(older, KEY, b"the previous value"), older)
        (before,) = lengths().values()
        die(proxy, Producer(dying, value), number, moment)

        # What was readable is so still, and what is there is whole.
        assert airflow.pull(KEY) == b"the previous value"
        count = whole_objects({before, len(value)})
        assert count == (
            2 if moment in ("asked", "answered") or (number, moment) == (REQUESTS[name] - 1, "after") else 1
        )

        # The next try is not hindered by what was left.
        airflow.begin(newer)
        producer = Producer(newer, value)
        airflow.post(KEY, producer.until("row"), newer)
        producer.process.join()
        assert airflow.pull(KEY) == value
    abort_uploads(moto)


def die(proxy: FaultyProxy, producer: Producer, number: int, moment: str) -> None:
    """Kill the producer at this moment, and wait until it is gone."""
    if number < 0:
        assert producer.until(moment) == moment
        producer.kill()
        producer.process.join()
        return
    begun = proxy.count()

    def watch(request: int, at: str) -> bool:
        if (request - begun, at) != (number, moment):
            return True
        producer.kill()
        producer.process.join()
        return False

    proxy.watch = watch
    assert producer.until("row") is None
    proxy.watch = lambda request, at: True
    assert proxy.count() > begun + number


def abort_uploads(moto: str) -> None:
    """What a bucket's lifecycle rule does."""
    client = boto(moto)
    for upload in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
        client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])


def test_a_killed_writer_to_a_folder_leaves_nothing_that_looks_like_a_payload(tmp_path: Path) -> None:
    """And nothing at all once somebody has pushed again."""
    older, dying = fresh(1), fresh(2)
    airflow = Airflow(current=older)
    staged = tmp_path / ".staged"
    with configured("", tmp_path.as_uri()), airflow.answering():
        airflow.post(KEY, push(older, KEY, b"the previous value"), older)
        expected = {*lengths().values(), len(LARGE)}
        for _ in range(3):
            producer = Producer(dying, LARGE)
            while producer.process.is_alive() and not list(staged.iterdir()) and not producer.told.poll():
                pass
            producer.kill()
            producer.process.join()
            assert airflow.pull(KEY) == b"the previous value"
            assert {size for uri, size in lengths().items() if "/.staged/" not in uri} <= expected
        push(older, KEY, b"another value")
        assert not list(staged.iterdir())
