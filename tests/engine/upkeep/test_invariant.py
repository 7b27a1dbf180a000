"""Whatever happens beside it, a collection deletes no payload of a row or of a current try.

Runs begin, end, go and come again; tries begin, push in steps, stand still, are replaced; two collections
look and delete, a step at a time, and are killed. After each step there is all that rows and tries need.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import find, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from upkeep_model import GRACE, ModelAirflow, ModelStore, new_id, row_of, until

from exclusive_xcom.address import Address
from exclusive_xcom.console import Refused
from exclusive_xcom.upkeep import collect, judge, marker
from exclusive_xcom.upkeep.collect import Collection
from exclusive_xcom.upkeep.inventory import Item
from exclusive_xcom.upkeep.judge import Judge, Why
from exclusive_xcom.upkeep.manifest import Manifest

RUNS = [("one", "run 1"), ("one", "run 2"), ("two", "run 1")]
XCOMS = [Address(*run, "task", -1, key) for run in RUNS for key in ("a", "b")]
# After which part of the grace its payload's time is over, from its row on; or whether it goes with its run.
some_ends = st.sampled_from([None, None, 0.5, 3.0, "run"])
some_steps = st.sampled_from([1, 3, 10, 1000, 1000])
runs, xcoms, collectors = st.sampled_from(RUNS), st.sampled_from(XCOMS), st.sampled_from([0, 1])


class Killed(BaseException):
    """As by kill -9."""


class Stepped:
    """Something that a thread of its own does, and that stands still before each of its steps."""

    def __init__(self, act: Callable[[Callable[[], None]], None]) -> None:
        self.done, self._killed = False, False
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(act,), daemon=True)
        self._thread.start()

    def _run(self, act: Callable[[Callable[[], None]], None]) -> None:
        self._go.acquire()
        try:
            if not self._killed:
                act(self._gate)
        except Killed:
            pass
        finally:
            self.done = True
            self._stopped.release()

    def _gate(self) -> None:
        self._stopped.release()
        self._go.acquire()
        if self._killed:
            raise Killed

    def step(self, *, kill: bool = False) -> None:
        """Let it take a step, or none any more."""
        self._killed = kill
        self._go.release()
        assert self._stopped.acquire(timeout=60), "stuck"


class GatedStore(ModelStore):
    """The store as one collection sees it: it stands still before each request."""

    def __init__(self, real: ModelStore, gate: Callable[[], None]) -> None:
        self.real, self.gate = real, gate

    def now(self) -> float:
        self.gate()
        return self.real.now()

    def items(self, after: str = "") -> Iterator[Item]:
        for item in self.real.items(after):
            self.gate()
            yield item

    def item(self, name: str) -> Item:
        self.gate()
        return self.real.item(name)

    def delete(self, name: str) -> None:
        self.gate()
        self.real.delete(name)

    def read(self, name: str) -> str | None:
        self.gate()
        return self.real.read(name)


class GatedAirflow(ModelAirflow):
    """Airflow as one collection sees it."""

    def __init__(self, real: ModelAirflow, gate: Callable[[], None]) -> None:
        self.real, self.gate, self.rows_per_try = real, gate, real.rows_per_try

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        self.gate()
        return self.real.run_state(dag_id, run_id)

    def row(self, address: Address) -> tuple[Any] | None:
        self.gate()
        return self.real.row(address)

    def store_id(self) -> str | None:
        return self.real.store_id()


@dataclass
class Push:
    """A push on its way: its payload is stored, its row is not there. It is the task's own, or another's."""

    address: Address
    ti_id: str
    name: str
    own: bool
    checked: float | None = None


class Machine(RuleBasedStateMachine):
    """See the module. With the rows of Airflow 3.3: one for each XCom."""

    rows_per_try = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="gc-model-"))
        self.store, self.airflow = ModelStore(), ModelAirflow(rows_per_try=self.rows_per_try)
        self.tries: dict[tuple[str, str], str] = {}  # the current try of a run's one task
        self.kept: dict[tuple[Address, str], str] = {}  # what each row refers to
        self.with_run: set[str] = set()  # payloads that go with their runs
        self.ends: dict[str, float] = {}  # of others: when their time is over
        self.over: set[str] = set()  # payloads whose run has ended well since
        self.pushes: list[Push] = []
        self.at_work: dict[int, Stepped] = {}

    @initialize()
    def adopt(self) -> None:
        """Store and Airflow belong together."""
        marker.adopt(self.store, self.airflow)

    def teardown(self) -> None:
        for stepped in self.at_work.values():
            while not stepped.done:
                stepped.step(kill=True)
        shutil.rmtree(self.folder)

    # -- Airflow ------------------------------------------------------------------------------------

    @rule(run=runs)
    def begin_try(self, run: tuple[str, str]) -> None:
        """A run begins, or its task is cleared or tried again: what it pushed goes before."""
        self.airflow.runs[run] = "running"
        self.tries[run] = new_id()
        for address, ti_id in list(self.kept):
            if (address.dag_id, address.run_id) == run:
                self.airflow.rows.pop(address, None)
                if not self.rows_per_try:
                    self.store.objects.pop(self.kept.pop((address, ti_id)), None)

    @rule(run=runs, state=st.sampled_from(["success", "failed"]))
    def end_run(self, run: tuple[str, str], state: str) -> None:
        """By itself, or since somebody said so. Its try is not the current one any more."""
        if run in self.airflow.runs:
            self.airflow.runs[run] = state
            self.tries.pop(run, None)
            if state == "success":
                held = {name for at, name in self.kept.items() if (at[0].dag_id, at[0].run_id) == run}
                self.over |= held & self.with_run

    @rule(run=runs)
    def delete_run(self, run: tuple[str, str]) -> None:
        """As the UI does, also while its task works."""
        self.airflow.delete_run(run)
        self.tries.pop(run, None)
        self.kept = {at: name for at, name in self.kept.items() if (at[0].dag_id, at[0].run_id) != run}

    @rule(address=xcoms)
    def delete_row(self, address: Address) -> None:
        """As the UI does."""
        row = self.airflow.rows.pop(address, None)
        if row is not None:
            del self.kept[address, row["attempt"]["ti_id"] if self.rows_per_try else ""]

    @rule(part=st.sampled_from([0.1, 0.6, 1.1, 1.1]))
    def wait(self, part: float) -> None:
        """Time passes: a part of the grace."""
        self.store.time += part * GRACE

    # -- pushes -------------------------------------------------------------------------------------

    @rule(address=xcoms, own=st.booleans())
    def put(self, address: Address, own: bool) -> None:
        """A task stores a payload, as its own XCom or as another task's."""
        run = address.dag_id, address.run_id
        if own and run not in self.tries:
            return
        ti_id = self.tries[run] if own else ""
        self.pushes.append(Push(address, ti_id, self.store.put(address, ti_id), own))

    @precondition(lambda self: self.pushes)
    @rule(data=st.data())
    def check(self, data: Any) -> None:
        """Before the row: what is older than half the grace is stored again."""
        push = data.draw(st.sampled_from(self.pushes))
        if push.name not in self.store.objects or self.store.time - self.store.objects[push.name] > GRACE / 2:
            push.name = self.store.put(push.address, push.ti_id)
        push.checked = self.store.time

    @precondition(lambda self: any(push.checked is not None for push in self.pushes))
    @rule(data=st.data(), end=some_ends)
    def write_row(self, data: Any, end: Any = None) -> None:
        """The row is written, if the try is still current and there is such a run. What wrote for another
        task and stood still right before its row for half the grace is not modelled: nothing stops it."""
        push = data.draw(st.sampled_from([push for push in self.pushes if push.checked is not None]))
        run = push.address.dag_id, push.address.run_id
        self.pushes.remove(push)
        if push.own and self.tries.get(run) != push.ti_id:
            return
        if run not in self.airflow.runs or (
            not push.own and self.store.time - (push.checked or 0) > GRACE / 2
        ):
            return
        at = push.address, push.ti_id if self.rows_per_try else ""
        self.kept[at] = push.name
        expires = None
        if end == "run":
            expires, self.with_run = until(run=True), self.with_run | {push.name}
            if self.airflow.runs[run] == "success":  # it was written for another task, when that had ended
                self.over.add(push.name)
        elif end:
            self.ends[push.name] = self.store.time + end * GRACE
            expires = until(self.ends[push.name])
        self.airflow.rows[push.address] = row_of(push.address, push.ti_id, push.name, expires=expires)

    @precondition(lambda self: self.pushes)
    @rule(data=st.data())
    def kill_push(self, data: Any) -> None:
        """Its payload stays behind."""
        self.pushes.remove(data.draw(st.sampled_from(self.pushes)))

    # -- collections --------------------------------------------------------------------------------

    @rule(which=collectors, delete=st.booleans(), steps=some_steps)
    def collect(self, which: int, delete: bool, steps: int) -> None:
        """Begin to look or to delete, with a list of its own. The one that is at work goes on."""
        if which in self.at_work:
            self.go_on(which, steps)
            return

        def act(gate: Callable[[], None]) -> None:
            store, airflow = GatedStore(self.store, gate), GatedAirflow(self.airflow, gate)
            collection = Collection(store, airflow, GRACE, most_gone=1.0)
            with Manifest(self.file(which)) as manifest:
                try:
                    (collection.delete if delete else collection.look)(manifest)
                except Refused:
                    assert delete

        self.at_work[which] = Stepped(act)
        self.go_on(which, steps)

    def go_on(self, which: int, steps: int) -> None:
        """A collection makes some steps, or comes to its end."""
        for _ in range(steps):
            self.at_work[which].step()
            if self.at_work[which].done:
                del self.at_work[which]
                return

    @rule(which=collectors)
    def kill_collection(self, which: int) -> None:
        """What was not in the file does not get there any more."""
        if stepped := self.at_work.pop(which, None):
            before = self.file(which).read_bytes() if self.file(which).exists() else b""
            stepped.step(kill=True)
            assert stepped.done
            self.file(which).write_bytes(before)

    def file(self, which: int) -> Path:
        """The list of a collection."""
        return self.folder / str(which)

    # -- what holds always --------------------------------------------------------------------------

    @invariant()
    def rows_have_their_payloads(self) -> None:
        """Of every try, where each has rows of its own; until their time is over."""
        over = self.over | {name for name, end in self.ends.items() if end <= self.store.time}
        lost = [name for name in self.kept.values() if name not in self.store.objects]
        assert set(lost) <= over, "the payload of a row is lost"

    @invariant()
    def current_tries_have_theirs(self) -> None:
        """Those that were stored and have no row yet."""
        for push in self.pushes:
            if push.own and self.tries.get((push.address.dag_id, push.address.run_id)) == push.ti_id:
                assert push.name in self.store.objects, "the payload of a current try is lost"


class MachineWithRowsPerTry(Machine):
    """With the rows of Airflow 3.4: one for each task instance and XCom, of which one is shown."""

    rows_per_try = True


TestRowsOfAirflow33 = Machine.TestCase
TestRowsOfAirflow34 = MachineWithRowsPerTry.TestCase
for _case in (TestRowsOfAirflow33, TestRowsOfAirflow34):
    _case.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
del _case


class First:
    """Draws the first that there is."""

    def draw(self, strategy: Any) -> Any:
        """See `DataObject.draw`."""
        return find(strategy, lambda _: True)


def _works(machine: Machine) -> None:
    machine.begin_try(run=RUNS[0])
    machine.put(address=XCOMS[0], own=True)
    machine.wait(part=1.1)
    machine.collect(which=0, delete=False, steps=1000)
    machine.collect(which=0, delete=True, steps=1000)


def _has_a_row(machine: Machine) -> None:
    _expires(machine, None)


def _expires(machine: Machine, end: Any = 3.0, state: str = "success") -> None:
    machine.begin_try(run=RUNS[0])
    machine.put(address=XCOMS[0], own=True)
    machine.check(data=First())
    machine.write_row(data=First(), end=end)
    machine.end_run(run=RUNS[0], state=state)
    machine.wait(part=1.1)
    machine.collect(which=0, delete=False, steps=1000)
    machine.collect(which=0, delete=True, steps=1000)


def _fails(machine: Machine) -> None:
    _expires(machine, "run", "failed")


def _comes_late(machine: Machine) -> None:
    machine.begin_try(run=RUNS[0])
    machine.end_run(run=RUNS[0], state="success")
    machine.put(address=XCOMS[0], own=False)
    machine.check(data=First())
    machine.collect(which=0, delete=False, steps=1000)
    machine.collect(which=0, delete=True, steps=6)  # it has looked again, and is about to delete
    machine.write_row(data=First())
    machine.kill_collection(which=1)
    machine.collect(which=0, delete=True, steps=1000)


@pytest.mark.parametrize(
    ("story", "place", "name", "careless"),
    [
        (_works, judge, "ENDED", {"success", "failed", "running"}),
        (_has_a_row, Judge, "_by_row", lambda self, item, address: Why.ROW_GONE),
        (_comes_late, collect, "Judge", lambda airflow, cut, now: Judge(airflow, cut + GRACE, now)),
        (_expires, collect, "Judge", lambda airflow, cut, now: Judge(airflow, cut, now + 9 * GRACE)),
        (_fails, judge, "ENDED_WELL", "failed"),
    ],
    ids=["runs that work", "rows unasked", "no grace", "before its time", "with a run that failed"],
)
def test_the_machine_finds_what_a_careless_collection_does(
    monkeypatch: pytest.MonkeyPatch, story: Callable[[Machine], None], place: Any, name: str, careless: Any
) -> None:
    for is_careless in (False, True):
        machine = Machine()
        machine.adopt()
        if is_careless:
            monkeypatch.setattr(place, name, careless)
        story(machine)
        lost = pytest.raises(AssertionError, match="is lost") if is_careless else nullcontext()
        with lost:
            machine.rows_have_their_payloads()
            machine.current_tries_have_theirs()
        machine.teardown()
