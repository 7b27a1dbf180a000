"""A push that stood still for half the grace stores its payload anew: a collection may come before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_versions import asks_first
from s3_airflow import Airflow, push
from s3_servers import configured, lengths

from exclusive_xcom import config, garbage
from exclusive_xcom.address import Attempt
from exclusive_xcom.errors import Superseded

pytestmark = asks_first  # the question is where it stands still
TRY = Attempt(1, "00000000-0000-0000-0000-000000000001")
VALUE = b"value" * 2000


class Machine:
    """Clocks that can be put forward, and the store's payloads each time that Airflow was asked."""

    def __init__(self, stops: list[float]) -> None:
        self.stops, self.wall, self.awake = stops, 0.0, 0.0
        self.seen: list[set[str]] = []

    def gate(self, ti_id: str, step: str) -> None:
        """Stand still while Airflow answers: for the next of the stops, in seconds."""
        if step == "answered":
            self.seen.append(set(lengths()))
            self.wall += self.stops.pop(0) if self.stops else 0.0


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> Iterator[None]:
    """A folder."""
    with configured("http://127.0.0.1:1", (tmp_path / "xcom").as_uri()):
        yield


def pushed(monkeypatch: pytest.MonkeyPatch, machine: Machine, *, current: Attempt = TRY) -> str:
    """Push; where the row says that the payload is."""
    real = garbage._clocks
    monkeypatch.setattr(garbage, "_clocks", lambda: (real()[0] + machine.wall, real()[1] + machine.awake))
    with Airflow(current=current, gate=machine.gate).answering():
        return str(push(TRY, "key", VALUE)["uri"])


@pytest.mark.parametrize("stops", [[], [config.GRACE.default / 2 - 60]])
def test_a_push_that_goes_on_stores_once(monkeypatch: pytest.MonkeyPatch, stops: list[float]) -> None:
    machine = Machine(stops)
    uri = pushed(monkeypatch, machine)
    assert machine.seen == [{uri}] and set(lengths()) == {uri}


@pytest.mark.parametrize("times", [1, 2])
def test_a_push_that_stood_still_stores_again(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    machine = Machine([config.GRACE.default / 2 + 1] * times)
    uri = pushed(monkeypatch, machine)
    assert set(lengths()) == {uri}, "and takes back what it stored before"
    assert len(machine.seen) == times + 1, "Airflow is asked again, last of all"
    assert machine.seen[-1] == {uri} and uri not in set.union(*machine.seen[:-1])


def test_a_clock_that_was_put_back_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine([-3600.0])
    gate, half = machine.gate, config.GRACE.default / 2

    def both(ti_id: str, step: str) -> None:
        if step == "answered" and not machine.seen:
            machine.awake += half + 1
        gate(ti_id, step)

    machine.gate = both  # type: ignore[method-assign]
    uri = pushed(monkeypatch, machine)
    assert len(machine.seen) == 2 and set(lengths()) == {uri}


def test_a_try_that_was_replaced_meanwhile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Superseded):
        pushed(monkeypatch, Machine([]), current=Attempt(2, "00000000-0000-0000-0000-000000000002"))
    assert not lengths()
