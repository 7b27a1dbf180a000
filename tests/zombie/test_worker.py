"""What the engine does in a real worker: whom it takes a task for, threads, coroutines, deferral, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflows import Airflow
from projects import AIRFLOW

pytestmark = [pytest.mark.slow]

NAMES = {"db": "DbXComBackend", "s3": "S3XComBackend", "redis": "RedisXComBackend"}
# While a deployment is updated: api-server, scheduler and triggerer are newer than the workers.
OLDER = pytest.param(
    "older worker",
    marks=pytest.mark.skipif(
        not AIRFLOW, reason="`make airflow-next-test` has an Airflow that is newer than ours"
    ),
)


@pytest.fixture(scope="session")
def notes(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the tasks of the DAG `worker` have noted in one run."""
    folder = tmp_path_factory.mktemp("notes")
    run = airflow.run("worker", "once", {"folder": str(folder)})
    run.succeeded(timeout=300)
    found = {
        path.name: json.loads(path.read_text("utf-8"))
        for path in folder.glob("[!.]*")
        if path.suffix != ".txt"
    }
    return {**found, "airflow": airflow, "run": run}


on_each_backend = pytest.mark.parametrize("airflow", [*NAMES, OLDER], indirect=True)


def backend_of(airflow: Airflow) -> str:
    """The class that it is told of."""
    return NAMES.get(airflow.name, NAMES["db"])


@on_each_backend
def test_a_worker_knows_its_try(notes: dict[str, Any]) -> None:
    """From the log context, and in threads, which do not inherit that, from what the hook was told."""
    itself = notes["itself"]
    assert itself["backend"] == backend_of(notes["airflow"])
    assert itself["who"] == itself["in a thread"] == itself["ti"]
    assert itself["log context"] == itself["announced"] == itself["ti"][1]


@on_each_backend
def test_threads_push(notes: dict[str, Any]) -> None:
    """Several at once."""
    assert notes["pulled"]["threads"]


@on_each_backend
def test_coroutines_push_and_pull(notes: dict[str, Any]) -> None:
    """Several at once, although a question on the event loop's own thread would be refused meanwhile."""
    assert notes["pulled"]["coroutines"]
    assert notes["pulled"]["pulled by coroutines"]
    assert notes["pulled"]["not awaited"]


@on_each_backend
def test_lazy_sequences_are_read(notes: dict[str, Any]) -> None:
    """In the task, and while the arguments of a mapped task are rendered, when no hook was called yet."""
    assert notes["pulled"]["lazy sequences"]


@on_each_backend
def test_coroutines_end_when_one_fails(notes: dict[str, Any]) -> None:
    """A push that is called off while it waits for its turn must not bar the way to the supervisor."""
    run = notes["run"]
    assert run.task("coroutines_of_which_one_fails")["state"] == "failed"


@on_each_backend
def test_a_deferred_task_stays_the_same_try(notes: dict[str, Any]) -> None:
    """It pushes before and after it has waited, in two processes."""
    before, after = notes["deferred.before"], notes["deferred.after"]
    assert before["pid"] != after["pid"]
    assert before["who"] == after["who"]
    assert notes["pulled"]["deferred"]


@on_each_backend
def test_a_trigger_pulls_and_pushes(notes: dict[str, Any]) -> None:
    """In the triggerer, whose supervisor does not know the question: there nobody is asked."""
    event = notes["triggerer"]
    assert event == {"backend": backend_of(notes["airflow"]), "who": [0, ""], "pulled": [True, True]}
    assert notes["pulled"]["triggerer"]


@on_each_backend
def test_pulled_files_are_gone_when_the_task_has_ended(notes: dict[str, Any]) -> None:
    """However it ended; also when it only went to wait in the triggerer."""
    paths = [
        notes["file.success"],
        notes["file.failed"],
        notes["file.skipped"],
        notes["deferred.before"]["file"],
    ]
    for path in map(Path, paths):
        assert path.name == "travels.txt"
        assert path.parent.parent.name.startswith("airflow-xcom-")
        assert not path.exists()
        assert not path.parent.parent.exists()
