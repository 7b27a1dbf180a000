"""What an old try can still do to the XComs of the one that replaced it: with Airflow's own backend and ours.

Each drill runs under the real scheduler and local executor. The first try of a task is frozen, as by a
machine that swaps or a paused container; Airflow misses its heartbeats and runs a second one, which succeeds.
Then the first one is woken and goes on to push what it has, and only then does the consumer pull.
"""

from __future__ import annotations

import json
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflows import Airflow, Process, wait_for
from projects import AIRFLOW, CLOSES_SESSION, ROWS_PER_TRY

pytestmark = [pytest.mark.slow, pytest.mark.zombie]

OF_EVERY_TRY = ("plain", "stored", "return_value")
OF_THE_FIRST = ("only of the first try", "thread of the first try", "coroutine of the first try")


@dataclass(frozen=True)
class Way:
    """How a first try becomes a zombie, and how it comes back.

    Attributes:
        frozen_before: what it is about to do, "push" or "return".
        woken: "task first", "supervisor first", or "supervisor killed" while the task just sleeps on.
        returns: a "plain" value, which may stay in the row as it is, or a "stored" one.
    """

    frozen_before: str
    woken: str
    returns: str

    def __str__(self) -> str:
        return f"frozen before {self.frozen_before} {self.woken} {self.returns}".replace(" ", "-")


TASK_FIRST = [Way("push", "task first", "stored"), Way("return", "task first", "plain")]
SUPERVISOR_FIRST = [Way("push", "supervisor first", "plain"), Way("return", "supervisor first", "stored")]
SUPERVISOR_KILLED = [Way("push", "supervisor killed", "stored"), Way("return", "supervisor killed", "plain")]
FROZEN = TASK_FIRST + SUPERVISOR_FIRST
WAYS = FROZEN + SUPERVISOR_KILLED


class Drill:
    """One run of the drill's DAG. The steps are called in the order in which they stand here."""

    def __init__(self, airflow: Airflow, way: Way, notes: Path, run_id: str = "") -> None:
        self.way = way
        self._notes = notes
        self._airflow = airflow
        self._conf = {
            "folder": str(notes),
            "frozen_before": way.frozen_before,
            "returns": way.returns,
            "keys": OF_EVERY_TRY + OF_THE_FIRST,
        }
        self.run = airflow.run("drill", run_id or str(way), self._conf)

    def note(self, name: str, timeout: float = 120) -> Any:
        """What a task has noted under this name, as soon as it is there."""
        path = self._notes / name
        self._airflow.wait_for(f"note {name!r} of drill {self.way}", path.exists, timeout=timeout)
        return json.loads(path.read_text(encoding="utf-8"))

    def freeze(self) -> None:
        """Freeze the first try at its gate, and its supervisor with it; or only kill the supervisor."""
        running = self.note("1.running")
        self.ti_id = running["id"]
        if self.way.frozen_before == "return":
            pushed = self.note("1.pushed")
            assert set(pushed.values()) == {"pushed"}, (
                f"the first try was refused while it was current: {pushed}"
            )
        self.task = Process.of(running["task"])
        self.supervisor = Process.of(running["supervisor"])
        if self.way.woken == "supervisor killed":
            self.supervisor.send(signal.SIGKILL)
            self._airflow.wait_for("the supervisor's end", lambda: not self.supervisor.alive)
            return
        for process in (self.supervisor, self.task):
            process.send(signal.SIGSTOP)
        self._airflow.wait_for("both to be frozen", lambda: self.supervisor.frozen and self.task.frozen)

    def replaced(self) -> None:
        """Wait until Airflow has missed the first try, and a later one has succeeded."""

        def done() -> bool:
            now = self.run.task("produce")
            return bool(now["try_number"] > 1 and now["state"] == "success")

        self._airflow.wait_for(f"a second try in drill {self.way}", done)
        self.current_try = self.run.task("produce")["try_number"]
        assert self.task.alive, "the first try has not survived: this is no drill"

    def cleared(self) -> None:
        """Do what people do to a task that hangs: mark it as failed, and clear it and what depends on it."""
        self.run.ask("/taskInstances/produce", method="PATCH", body={"new_state": "failed"})
        self._airflow.wait_for("the run to fail", lambda: self.run.ask()["state"] == "failed")
        which = {"dag_run_id": self.run.run_id, "task_ids": ["produce"], "include_downstream": True}
        how = {"dry_run": False, "only_failed": False, "reset_dag_runs": True}
        self._airflow.ask("POST", "/api/v2/dags/drill/clearTaskInstances", which | how)

    def made_again(self) -> None:
        """Delete the run, and make another one of the same name, whose tries count from one again."""
        self.run.ask(method="PATCH", body={"state": "failed"})  # a running one cannot be deleted
        self.run.ask(method="DELETE")
        self.current_try = 2
        self.run = self._airflow.run("drill", self.run.run_id, {**self._conf, "goes by": self.current_try})
        self._airflow.wait_for(
            "the new run's producer", lambda: self.run.task("produce")["state"] == "success"
        )

    def wake(self) -> None:
        """Wake the first try, and wait until it has had its say."""
        (self._notes / "gate").touch()
        if self.way.woken == "task first":
            self.task.send(signal.SIGCONT)
            self.note("1.pushing")
            self._airflow.wait_for("the task to wait for its supervisor", self._task_waits)
            self.supervisor.send(signal.SIGCONT)
        elif self.way.woken == "supervisor first":
            self.supervisor.send(signal.SIGCONT)
            # It has asked Airflow, was told that it is not wanted any more, and has passed that on.
            self._airflow.wait_for("the task to be told to end", lambda: self.task.told_to_end)
            self.task.send(signal.SIGCONT)
        self._airflow.wait_for("the end of the first try", lambda: not self.task.alive)

    def _task_waits(self) -> bool:
        """Whether the task sleeps for good: it has had no processor time for a while, and wants none."""
        seen = set()
        for _ in range(5):
            seen.add(self.task.work)
            time.sleep(0.1)
        return len(seen) == 1 and seen.pop()[0] == "S"

    def pulled(self) -> dict[str, tuple[Any, Any]]:
        """Let the consumer pull everything. For each key, which try wrote what it got, pulled in two ways."""
        (self._notes / "pull").touch()
        self.run.succeeded()
        return {key: (one, every) for key, (one, every) in self.note("pulled").items()}

    def said(self, name: str) -> Any:
        """What the first try has noted, if it came so far."""
        path = self._notes / name
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def refusal(self, key: str) -> str:
        """The error with which a push of the first try is refused."""
        xcom = f"XCom {key!r} of drill.produce, run {self.run.run_id}"
        if self.way.woken == "supervisor killed":
            # Before 3.4 a question comes before the row; from then on the row's own request is the question.
            left = (
                "It has not acknowledged that this XCom was written"
                if ROWS_PER_TRY
                else "Nothing was written"
            )
            return (
                "CannotConfirmTry: Airflow did not say whether try 1 is still the current one: the "
                f"supervisor of this task has ended ({xcom}). {left}, and this process cannot "
                "write any more. Look into the worker's log for the reason; Airflow runs the task again if "
                "it has retries left."
            )
        return (
            f"Superseded: Try 1 (task instance {self.ti_id}) is no longer the current try ({xcom}). "
            "A later try has begun, so this XCom was not written. Nothing to repair: the later try's XComs "
            "count. Look into its log; if this try was not meant to be replaced, look for a missed "
            "heartbeat or a cleared task."
        )


@pytest.fixture(scope="session")
def drills(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> dict[Way, Drill]:
    """A drill for each way, come to where a second try has succeeded and the first one still sleeps.

    They go there together: it is mostly waiting for Airflow to miss a heartbeat.
    """
    ways = FROZEN if airflow.name in ("stock", "older worker") else WAYS
    started = {way: Drill(airflow, way, tmp_path_factory.mktemp("notes")) for way in ways}
    for drill in started.values():
        drill.freeze()
    for drill in started.values():
        drill.replaced()
    return started


@pytest.mark.skipif(ROWS_PER_TRY, reason="from 3.4 on Airflow's own backend keeps old tries out, too")
@pytest.mark.parametrize("airflow", ["stock"], indirect=True)
@pytest.mark.parametrize("way", FROZEN, ids=str)
def test_with_airflows_own_backend_the_old_try_is_read(drills: dict[Way, Drill], way: Way) -> None:
    """The drill has teeth: it shows what this project is there to prevent."""
    drill = drills[way]
    drill.wake()
    pulled = drill.pulled()

    assert pulled["return_value"] == (1, 1), f"try {drill.current_try} has succeeded"
    if way.frozen_before == "push":
        assert pulled["plain"] == pulled["stored"] == pulled["only of the first try"] == (1, 1)
    else:  # a mixture of both tries
        assert pulled["plain"] == pulled["stored"] == (drill.current_try, drill.current_try)


@pytest.mark.skipif(not CLOSES_SESSION, reason="only some pre-releases do; the other drills mend it there")
@pytest.mark.parametrize("airflow", ["stock"], indirect=True)
def test_a_scheduler_that_closes_its_session_ends(
    airflow: Airflow, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Without this package's backend and with Airflow's own executor. When this fails, nothing is to mend."""
    Drill(airflow, TASK_FIRST[0], tmp_path_factory.mktemp("notes")).freeze()
    # Its process waits for the frozen task before it ends.
    log = airflow.components["scheduler"].log
    ended = "Exception when executing SchedulerJob"
    wait_for("the scheduler's error", lambda: ended in log.read_text("utf-8"), log=airflow.logs)
    said = log.read_text("utf-8").partition(ended)[2]
    assert "IntegrityError" in said and "task_instance.working_set" in said


@pytest.mark.parametrize("airflow", ["db", "db on PostgreSQL", "s3", "redis"], indirect=True)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_nothing_of_an_old_try_is_read(drills: dict[Way, Drill], way: Way) -> None:
    """All is of the current try, and a key that only the old one pushes does not come up."""
    old_try_is_kept_out(drills[way])


@pytest.mark.parametrize("airflow", ["db", "s3", "redis"], indirect=True)
def test_nothing_of_a_deleted_run_is_read(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Another run has its name, and tries with the same numbers."""
    notes = tmp_path_factory.mktemp("notes")
    drill = Drill(airflow, Way("push", "task first", "stored"), notes, run_id="made-again")
    drill.freeze()
    drill.made_again()
    old_try_is_kept_out(drill)


@pytest.mark.parametrize("airflow", ["db", "s3", "redis"], indirect=True)
def test_nothing_of_a_cleared_try_is_read(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No heartbeat was missed: somebody has decided that the try is over."""
    notes = tmp_path_factory.mktemp("notes")
    drill = Drill(airflow, Way("push", "supervisor first", "stored"), notes, run_id="cleared")
    drill.freeze()
    drill.cleared()
    drill.replaced()
    old_try_is_kept_out(drill)


@pytest.mark.skipif(not AIRFLOW, reason="`make airflow-next-test` has an Airflow that is newer than ours")
@pytest.mark.parametrize("airflow", ["older worker"], indirect=True)
@pytest.mark.parametrize("way", FROZEN, ids=str)
def test_nothing_of_an_old_try_is_read_where_workers_are_older(drills: dict[Way, Drill], way: Way) -> None:
    """While a deployment is updated: these workers ask first, and the newer api-server answers them 404."""
    old_try_is_kept_out(drills[way])


def old_try_is_kept_out(drill: Drill) -> None:
    """Wake the old try of a drill, and see that it was told off and that nothing of it is pulled."""
    drill.wake()
    pulled = drill.pulled()

    way = drill.way
    current = (drill.current_try, drill.current_try)
    assert pulled == dict.fromkeys(OF_EVERY_TRY, current) | dict.fromkeys(OF_THE_FIRST, (None, None))
    # It has tried, and was told why not.
    if way.frozen_before == "push":
        pushed = set(OF_EVERY_TRY + OF_THE_FIRST) - {"return_value"}
        assert drill.said("1.pushed") == {key: drill.refusal(key) for key in pushed}
    if way.woken != "supervisor killed":  # otherwise nobody is left to report the error of a return to
        assert drill.said("1.ended") == drill.refusal("return_value")
