"""Airflow 3.4: any order of what tries, turns of a loop, clears and purges do, in Redis and in a folder.

The twin of redis/test_interleavings.py and s3/test_interleavings.py, where each try has rows of its own:
nothing is claimed there, names tell task instances and writes apart. What is promised: the row of a current
task instance gives exactly the value that it was written for, and nothing of an old one.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from airflow_versions import rows_per_try
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis_servers import Valkey, connection
from stepped import LOST, RUN, Airflow, Instance, Process, Request, SteppedRedis, SteppedS3

from exclusive_xcom.reference import parse

pytestmark = rows_per_try

KEYS = ("return_value", "a")
STEPS = st.integers(0, 4)  # that a process takes at once; four are a whole push, or half of a deletion
ONCE: dict[str, Any] = {**RUN, "task_id": "once"}
MOST = 7  # processes


class Orders(RuleBasedStateMachine):
    """A task with its tries and a loop's task with its turns, each a process, which go on in any order."""

    backend: Any
    reader: Process
    forget: Callable[[], None]  # what the store holds

    def __init__(self) -> None:
        super().__init__()
        self.airflow = Airflow()
        self.late: list[Request] = []
        self.count = 0
        self.processes: list[Process] = []
        self.begin(Instance("once"))
        self.begin(Instance("round", 0))

    def teardown(self) -> None:
        for process in self.processes:
            process.end()
        self.forget()

    def begin(self, instance: Instance) -> None:
        """Airflow starts a process for it."""
        self.airflow.begin(instance)
        self.processes.append(Process(instance, self.backend))

    def some(self, data: st.DataObject, *at: str) -> Process | None:
        """A process that stands at such a place."""
        found = [process for process in self.processes if process.at in at]
        return data.draw(st.sampled_from(found)) if found else None

    # -- what Airflow does ------------------------------------------------------------------------------

    @precondition(lambda self: len(self.processes) < MOST)
    @rule(data=st.data())
    def next_try(self, data: st.DataObject) -> None:
        """A heartbeat was missed, or somebody has cleared the task. The old process may go on."""
        before = data.draw(st.sampled_from(list(self.airflow.live.values())))
        self.begin(Instance(before.task_id, before.turn, before.number + 1))

    @precondition(lambda self: len(self.processes) < MOST and len(self.airflow.turns()) < 3)
    @rule()
    def next_turn(self) -> None:
        """The loop goes on, while tasks of the turn before may still run."""
        self.begin(Instance("round", len(self.airflow.turns())))

    @precondition(lambda self: len(self.processes) < MOST)
    @rule(data=st.data())
    def same_instance_again(self, data: st.DataObject) -> None:
        """It was deferred or rescheduled, or its worker is gone: another process, which remembers nothing."""
        if (process := self.some(data, "idle", "dead")) and self.airflow.is_live(process.instance):
            if process.at == "idle":
                process.end()
            self.processes.append(Process(process.instance, self.backend))
            self.processes.remove(process)

    @rule()
    def arrive(self) -> None:
        """What was sent long ago."""
        if self.late:
            self.airflow.handle(self.late.pop(0))

    # -- what processes do ------------------------------------------------------------------------------

    @rule(data=st.data(), key=st.sampled_from(KEYS), for_another=st.booleans(), steps=STEPS)
    def push(self, data: st.DataObject, key: str, for_another: bool, steps: int) -> None:
        """Its own XCom; or a turn of the loop pushes one of the task "once"."""
        if process := self.some(data, "idle"):
            self.count += 1
            process.value = (process.instance.id.hex, key, self.count)
            if for_another and process.instance.task_id == "round":
                process.call("set", key, process.value, **ONCE, map_index=-1)
            else:
                process.call("push", key, process.value)
            self.advance(process, steps)

    @rule(data=st.data(), key=st.sampled_from(KEYS), for_another=st.booleans(), steps=STEPS)
    def delete(self, data: st.DataObject, key: str, for_another: bool, steps: int) -> None:
        """As Airflow does where a rescheduled task begins again; or one of the task "once"."""
        if process := self.some(data, "idle"):
            whose = ONCE if for_another else {**RUN, "task_id": process.instance.task_id}
            process.call("delete", key, **whose, map_index=-1)
            self.advance(process, steps)

    @rule(data=st.data(), steps=STEPS)
    def go_on(self, data: st.DataObject, steps: int) -> None:
        """One that stands still."""
        if process := self.some(data, "commit", "ask", "answered"):
            self.advance(process, steps)

    def advance(self, process: Process, steps: int) -> None:
        """Let it take steps: it commits, has its request handled, gets the answer to it."""
        for _ in range(steps):
            if process.at == "ask":
                process.answer = self.airflow.handle(self.request(process))
                process.at = "answered"
            elif process.at in ("commit", "answered"):
                process.go_on(process.answer if process.at == "answered" else None)
                self.look_at_the_end(process)

    @rule(data=st.data(), dies=st.booleans(), arrives=st.booleans())
    def lose(self, data: st.DataObject, dies: bool, arrives: bool) -> None:
        """No answer came, or the process is killed. Its request may arrive nevertheless, at any time."""
        process = self.some(data, "ask", "answered", *(["commit"] if dies else []))
        if process is None:
            return
        if process.at == "ask" and arrives:
            self.late.append(self.request(process))
        if dies:
            process.end()
        else:
            process.go_on(LOST)
            self.look_at_the_end(process, "TimeoutError")

    def request(self, process: Process) -> Request:
        """What it asks."""
        return Request(process.instance, process.told, process.value)

    def look_at_the_end(self, process: Process, *errors: str) -> None:
        """How a call may end, if it has."""
        if process.at == "failed":
            if not self.airflow.is_live(process.instance):
                errors = (*errors, "Superseded")
            if process.name == "set":
                errors = (*errors, "LeaseLost")  # two that write for one task, at the same time
            assert process.told in errors
        if process.at in ("done", "failed"):
            process.at = "idle"

    # -- what a consumer sees ---------------------------------------------------------------------------

    @invariant()
    def each_row_gives_its_own_value(self) -> None:
        """By pulling as a task does that comes later."""
        for key in KEYS:
            once = self.airflow.live["once", None]
            assert self.pulled("pull", key, "once", map_index=-1) == self.written(once, key)
            values = [self.written(turn, key) for turn in self.airflow.turns()]
            assert (self.pulled("pull all", key, "round") or []) == [one for one in values if one is not None]

    @invariant()
    def each_row_was_written_for_its_task_instance(self) -> None:
        for (owner, _), (row, value) in self.airflow.rows.items():
            ref = parse(row)
            by_itself = value[0] == owner.id.hex
            assert ref.attempt.ti_id == (str(owner.id) if by_itself else "")

    def written(self, owner: Instance, key: str) -> Any:
        """What the row stands for; None if there is none."""
        return self.airflow.rows.get((owner, key), (None, None))[1]

    def pulled(self, how: str, key: str, task_id: str, **more: Any) -> Any:
        self.reader.call(how, key=key, **RUN, task_id=task_id, **more)
        while self.reader.at == "ask":
            self.reader.go_on(self.airflow.handle(self.request(self.reader)))
        assert self.reader.at == "done", self.reader.told
        return self.reader.told


@pytest.fixture(params=[SteppedRedis, SteppedS3], ids=["redis", "folder"])
def orders(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Orders]]:
    """The machine over a store of its own."""
    with ExitStack() as stack:
        if request.param is SteppedRedis:
            server = stack.enter_context(Valkey())
            monkeypatch.setenv("AIRFLOW__XCOM__CONN_ID", stack.enter_context(connection(server.port)))
            forget = server.client().flushall
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="engine-orders-")))
            monkeypatch.setenv("AIRFLOW__XCOM__URL", (folder / "store").as_uri())
            monkeypatch.delenv("AIRFLOW__XCOM__CONN_ID", raising=False)

            def forget() -> None:
                shutil.rmtree(folder / "store", ignore_errors=True)

        reader = Process(Instance("reads"), request.param)
        stack.callback(reader.end)
        attributes = {"backend": request.param, "reader": reader, "forget": staticmethod(forget)}
        yield type("OrdersThere", (Orders,), attributes)


def explore(orders: type[Orders], examples: int) -> None:
    """Take that many ways. Shrinking one would take minutes: each step waits for a process."""
    how = settings(
        max_examples=examples,
        stateful_step_count=50,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    run_state_machine_as_test(orders, settings=how)


def test_some_orders(orders: type[Orders]) -> None:
    explore(orders, 20)


@pytest.mark.slow
def test_many_orders(orders: type[Orders]) -> None:
    explore(orders, 600)
