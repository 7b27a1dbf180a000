"""Who may read, under the real scheduler and the real triggerer: a value that is read once by a task whose
worker is killed, and triggers that pull."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflows import Airflow, Run

pytestmark = [pytest.mark.slow, pytest.mark.zombie]

on_each_backend = pytest.mark.parametrize(
    "airflow", ["db, declared", "s3, declared", "redis, declared"], indirect=True
)


class Notes:
    """What the tasks of a run have noted."""

    def __init__(self, airflow: Airflow, folder: Path) -> None:
        self.airflow, self.folder = airflow, folder
        self.run: Run = airflow.run("readers", "once", {"folder": str(folder)})

    def note(self, name: str) -> Any:
        """A note, as soon as it is there."""
        self.airflow.wait_for(f"note {name!r}", (self.folder / name).exists, timeout=900)
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def state(self, task_id: str, least_try: int) -> str:
        """How a task's try ended, which is one of those from a number on."""

        def over() -> str | None:
            found = self.run.task(task_id)
            is_over = found["try_number"] >= least_try and found["state"] in ("success", "failed")
            return str(found["state"]) if is_over else None

        return self.airflow.wait_for(f"try {least_try} of {task_id} to end", over, timeout=900)

    def _is_heard(self, of: str) -> bool:
        log = (self.airflow.home / "scheduler.log").read_text("utf-8")
        return any("Received executor event" in line and of in line for line in log.splitlines())

    def clear(self, *task_ids: str) -> None:
        """As the UI does, once the scheduler has heard how the tries before ended: what it hears later, it
        takes for the end of the new ones."""
        for task_id in task_ids:
            which_try = f"'{self.run.run_id}', try_number={self.run.task(task_id)['try_number']},"
            self.airflow.wait_for(
                f"the end of {task_id} to be heard of",
                partial(self._is_heard, f"task_id='{task_id}', run_id={which_try}"),
            )
        which = {"dag_run_id": self.run.run_id, "task_ids": list(task_ids)}
        how = {"dry_run": False, "only_failed": False, "reset_dag_runs": True}
        self.airflow.ask("POST", "/api/v2/dags/readers/clearTaskInstances", which | how)


@pytest.fixture(scope="session")
def notes(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> Notes:
    """Those of one run on each backend."""
    return Notes(airflow, tmp_path_factory.mktemp("notes"))


@on_each_backend
def test_read_once_by_a_task_whose_worker_is_killed(notes: Notes) -> None:
    """Its try that was killed after it had read has consumed nothing. The retry reads, and succeeds; from
    then on the value is consumed, until its producer is cleared, too."""
    found, *processes = notes.note("read.1")
    assert found == 1
    for pid in reversed(processes):  # the supervisor first: it can't tell that its task was killed
        os.kill(pid, signal.SIGKILL)
    assert notes.state("consumes", 2) == "success"
    assert notes.note("read.2")[0] == 1
    notes.clear("consumes")
    assert notes.state("consumes", 3) == "failed"
    log = next(notes.airflow.home.glob("logs/**/task_id=consumes/attempt=3.log")).read_text("utf-8")
    assert "AlreadyConsumed" in log and "clear readers.hands_over together with its reader" in log
    assert not (notes.folder / "read.3").exists()
    notes.clear("hands_over", "consumes")
    assert notes.state("consumes", 4) == "success"
    assert notes.note("read.4")[0] == 1


@on_each_backend
def test_a_trigger_reads_what_is_declared(notes: Notes) -> None:
    assert notes.note("pulls_declared") == 2
    told = notes.note("pulls_undeclared")
    assert told.startswith("NotAReader: @triggerer is not declared as a reader of it"), told
    assert '"@triggerer reads readers.shares.undeclared",' in told
