"""Two and more tries of a task, several keys, every interleaving of their steps: what a consumer reads.

A model of Airflow keeps the rows (s3_airflow.py). The backend is the real one, over a folder, and over moto
in the slow run. What is promised: a consumer reads a whole value that was pushed under this very key, or
nothing, or gets an error. It is of a superseded try only if Airflow had answered that try before it was
superseded: the window between the answer and the row that the README documents, and no other.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from airflow_versions import asks_first
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from s3_airflow import Airflow, SteppedPush
from s3_servers import configured, lengths

from exclusive_xcom.address import Attempt
from exclusive_xcom.errors import Superseded
from exclusive_xcom.s3 import S3Store

pytestmark = asks_first

KEYS = ["return_value", "count", "a/b"]


def fresh(number: int) -> Attempt:
    """A try with an identity of its own."""
    return Attempt(number, str(uuid.uuid4()))


class Tries(RuleBasedStateMachine):
    """Tries begin, push, freeze and wake up in any order."""

    url = ""  # a folder, unless a subclass says otherwise
    endpoint = ""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="engine-tries-"))
        self.store: S3Store = self.stack.enter_context(
            configured(self.endpoint, self.url or self.folder.as_uri(), inline_limit="0")
        )
        self.airflow = self.stack.enter_context(Airflow(gate=self.gate).answering())
        self.pushes: list[SteppedPush] = []
        self.tries = [fresh(1)]
        self.count = 0
        #: Pushes that got their answer while their try was current.
        self.confirmed: set[int] = set()
        self.airflow.begin(self.tries[0])

    def teardown(self) -> None:
        """End what still stands still, and leave nothing behind."""
        for push in self.pushes:
            while push.step != "done":
                push.advance()
        self.stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def gate(self, ti_id: str, step: str) -> None:
        """Each try has one push under way, so its id tells which stands still."""
        (push,) = [push for push in self.pushes if push.attempt.ti_id == ti_id and push.step != "done"]
        push.gate(step)

    def is_current(self, attempt: Attempt) -> bool:
        """Whether Airflow knows this try."""
        return self.airflow.current == attempt

    @rule(data=st.data(), key=st.sampled_from(KEYS), size=st.sampled_from([0, 10, 5000]))
    def begin_push(self, data: st.DataObject, key: str, size: int) -> None:
        """Any try, current or not, begins to push, unless it does so already."""
        busy = {push.attempt for push in self.pushes if push.step != "done"}
        free = [attempt for attempt in self.tries if attempt not in busy]
        if free:
            attempt = data.draw(st.sampled_from(free))
            self.count += 1
            value = {"try": attempt.ti_id, "key": key, "push": self.count, "filling": "x" * size}
            self.pushes.append(SteppedPush(attempt, key, value))

    @precondition(lambda self: any(push.step != "done" for push in self.pushes))
    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        """One push takes one step. The row is posted in a step of its own."""
        push = data.draw(st.sampled_from([push for push in self.pushes if push.step != "done"]))
        current = self.is_current(push.attempt)
        if push.advance() == "answered" and current:
            self.confirmed.add(id(push))
        if push.step == "done" and push.error is not None:
            assert isinstance(push.error, Superseded)
            assert id(push) not in self.confirmed
        if push.step == "done" and push.error is None:
            assert id(push) in self.confirmed
            self.airflow.post(push.key, push.row, push.attempt)

    @rule(recreated=st.booleans())
    def next_try(self, recreated: bool) -> None:
        """A retry; or the run was deleted and created again under its id, and starts over at try 1."""
        self.tries.append(fresh(1 if recreated else self.tries[-1].try_number + 1))
        self.airflow.begin(self.tries[-1], recreated=recreated)

    @rule(key=st.sampled_from(KEYS))
    def delete(self, key: str) -> None:
        """Somebody clears one XCom: purged, then deleted."""
        if row := self.airflow.rows.pop(key, None):
            self.airflow.purge(key, row)

    @invariant()
    def what_is_read_is_what_was_pushed(self) -> None:
        """Of every key, at every moment."""
        for key, row in self.airflow.rows.items():
            value: Any = self.airflow.pull(key)
            (push,) = [push for push in self.pushes if push.row is row.value]
            assert value == push.value
            assert value["key"] == key
            if not self.is_current(row.writer):
                assert id(push) in self.confirmed  # the documented window

    @invariant()
    def every_row_has_its_payload(self) -> None:
        """Nothing that an old try does, or that is purged, takes away what a row refers to."""
        stored = lengths()
        for row in self.airflow.rows.values():
            assert stored[row.value["uri"]] == row.value["length"]


def machine(**attributes: str) -> type[Tries]:
    """The machine over another store."""
    return type("TriesElsewhere", (Tries,), attributes)


def run_over(tries: type[Tries], examples: int, steps: int) -> None:
    """Let the machine take that many ways of that many steps."""
    how = settings(deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(tries, settings=settings(how, max_examples=examples, stateful_step_count=steps))


def test_over_a_folder() -> None:
    run_over(Tries, examples=60, steps=40)


@pytest.mark.slow
def test_over_a_folder_for_longer() -> None:
    run_over(Tries, examples=600, steps=60)


@pytest.mark.slow
def test_over_moto(moto: str) -> None:
    bucket = f"s3://engine/tries-{uuid.uuid4()}"
    run_over(machine(endpoint=moto, url=bucket), examples=100, steps=40)


@pytest.fixture
def airflow(moto: str) -> Iterator[Airflow]:
    """A model of Airflow, with the backend on moto."""
    with configured(moto, inline_limit="0"), Airflow().answering() as airflow:
        yield airflow


def start(airflow: Airflow, attempt: Attempt, key: str, value: Any) -> SteppedPush:
    """A push that has not begun yet."""
    push = SteppedPush(attempt, key, value)
    before = airflow.gate
    airflow.gate = lambda ti_id, step: push.gate(step) if ti_id == attempt.ti_id else before(ti_id, step)
    return push


def finish(airflow: Airflow, push: SteppedPush) -> None:
    """Let a push run to its end, and post its row."""
    while push.step != "done":
        push.advance()
    if push.error is None:
        airflow.post(push.key, push.row, push.attempt)


@pytest.mark.parametrize("asleep", ["begun", "asked"])
def test_an_old_try_that_wakes_before_the_answer_is_refused(airflow: Airflow, asleep: str) -> None:
    """However late, and on a key that the newer try never pushes."""
    old, new = fresh(1), fresh(2)
    airflow.begin(old)
    frozen = [start(airflow, old, "shared", "old")]
    while frozen[0].step != asleep:
        frozen[0].advance()
    airflow.begin(new)
    finish(airflow, start(airflow, new, "shared", "new"))
    finish(airflow, frozen[0])
    late = start(airflow, old, "only of the old", "old")
    finish(airflow, late)
    assert isinstance(frozen[0].error, Superseded)
    assert isinstance(late.error, Superseded)
    assert airflow.pull("shared") == "new"
    assert airflow.pull("only of the old") is None


def test_the_documented_window_is_there_and_is_the_only_one(airflow: Airflow) -> None:
    """Frozen between Airflow's answer and the row, an old try still writes: whole, and legibly its own."""
    old, new = fresh(1), fresh(2)
    airflow.begin(old)
    frozen = start(airflow, old, "shared", {"whose": "old"})
    while frozen.step != "answered":
        frozen.advance()
    airflow.begin(new)
    finish(airflow, start(airflow, new, "shared", {"whose": "new"}))
    finish(airflow, frozen)
    assert frozen.error is None
    assert airflow.pull("shared") == {"whose": "old"}
    assert airflow.rows["shared"].value["attempt"]["ti_id"] == old.ti_id


def test_a_run_that_was_deleted_and_created_again(airflow: Airflow) -> None:
    """The same ids, try 1 again: neither the old process nor the old objects get in the way."""
    before, after = fresh(1), fresh(1)
    airflow.begin(before)
    finish(airflow, start(airflow, before, "shared", "before"))
    frozen = start(airflow, before, "shared", "before, late")
    frozen.advance()
    airflow.begin(after, recreated=True)
    assert airflow.pull("shared") is None
    finish(airflow, start(airflow, after, "shared", "after"))
    finish(airflow, frozen)
    assert isinstance(frozen.error, Superseded)
    assert airflow.pull("shared") == "after"


def test_purge_of_an_older_row_leaves_the_newer_value(airflow: Airflow) -> None:
    """A purge that comes late deletes what its own row named, and nothing else; twice is no error."""
    old, new = fresh(1), fresh(2)
    airflow.begin(old)
    finish(airflow, start(airflow, old, "shared", "old"))
    row = airflow.rows["shared"]
    airflow.begin(new, recreated=True)  # whose purge is late
    finish(airflow, start(airflow, new, "shared", "new"))
    airflow.purge("shared", row)
    airflow.purge("shared", row)
    assert airflow.pull("shared") == "new"
