"""What `xcom forget` leaves alone: what changed meanwhile, what has a row, what a running task may need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from s3_servers import configured
from statsd_receiver import receiving
from upkeep_model import ModelAirflow

from exclusive_xcom.address import Address
from exclusive_xcom.reference import Reference
from exclusive_xcom.s3 import S3Store
from exclusive_xcom.testing.payloads import attempt, keep
from exclusive_xcom.upkeep import forget, marker
from exclusive_xcom.upkeep.airflow_rest import can_be_asked
from exclusive_xcom.upkeep.choosing import Selection
from exclusive_xcom.upkeep.forget import Forgetting, Receipt, StillRunning
from exclusive_xcom.upkeep.objects import Objects
from exclusive_xcom.upkeep.rows import Entry, Run, now

AT = Address("orders", "run 1", "extract")
ODD = Address("orders", "run 1", "extract", -1, "a/../b")  # for which the API can't be asked


class Rows(ModelAirflow):
    """The model, with lists and deletions. What is `unlisted` a list leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.unlisted: set[Address] = set()
        self.runs["orders", "run 1"] = "success"

    def all(self) -> list[Entry]:
        """The list."""
        trouble = {True: "", False: "can't be asked"}
        return [
            Entry(at, now(), row if can_be_asked(at) else None, trouble=trouble[can_be_asked(at)])
            for at, row in self.rows.items()
            if at not in self.unlisted
        ]

    def delete_row(self, address: Address) -> bool:
        """As the real one does it."""
        return self.rows.pop(address, None) is not None


class World:
    """A folder and an Airflow that belong together."""

    def __init__(self, store: S3Store, patch: pytest.MonkeyPatch) -> None:
        self.store, self.airflow = store, Rows()
        patch.setattr(forget, "current_store", lambda: store)
        patch.setattr("exclusive_xcom.store.current_store", lambda: store)
        marker.adopt(Objects.configured(), self.airflow)

    def push(self, address: Address = AT, *, row: bool = True) -> Path:
        """A payload's file; its row, unless it has none."""
        ref: Reference = keep(self.store, [b"value"], address, attempt())
        if row:
            self.airflow.rows[address] = ref.row()
        return Path(unquote(urlsplit(ref.uri or "").path))

    def forgetting(self) -> Forgetting:
        """Of the run."""
        made = Forgetting(self.airflow, Selection("orders", "run 1"))  # type: ignore[arg-type]
        run = Run("orders", "run 1", self.airflow.runs["orders", "run 1"])
        made.rows.runs = lambda chosen: iter([run])  # type: ignore[method-assign]
        made.rows.entries = lambda run, chosen: iter(self.airflow.all())  # type: ignore[method-assign]
        return made

    def forget(self, made: Forgetting, found: Any) -> Receipt:
        """Do it."""
        receipt = Receipt("", {})
        made.forget(*found, receipt, lambda number: None)
        return receipt


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """See `World`."""
    (tmp_path / "xcom").mkdir()
    with configured("http://127.0.0.1:1", (tmp_path / "xcom").as_uri()) as store:
        yield World(store, monkeypatch)


def test_all_goes_and_is_counted(world: World) -> None:
    files = world.push(row=False), world.push()
    with receiving() as receiver:
        receipt = world.forget(made := world.forgetting(), made.find())
        assert [metric.name for metric in receiver.of()] == ["xcom.purged"] * 2
    assert receipt.complete and not any(file.exists() for file in files)
    assert [each["payload"] for each in receipt.superseded] == ["deleted"]


def test_an_xcom_that_was_pushed_again_stays(world: World) -> None:
    """The question was answered late; the task was cleared meanwhile, and has ended again."""
    world.push()
    found = (made := world.forgetting()).find()
    newer = world.push()
    receipt = world.forget(made, found)
    assert newer.exists() and AT in world.airflow.rows
    assert not receipt.complete and receipt.xcoms[0]["why"].startswith("It was pushed again")


def test_a_run_that_began_anew_stays(world: World) -> None:
    file = world.push()
    found = (made := world.forgetting()).find()
    world.airflow.runs["orders", "run 1"] = "running"
    with pytest.raises(StillRunning):
        world.forget(made, found)
    assert file.exists() and AT in world.airflow.rows


def test_what_the_list_left_out_stays(world: World) -> None:
    file = world.push()
    world.airflow.unlisted.add(AT)
    receipt = world.forget(made := world.forgetting(), made.find())
    assert file.exists() and not receipt.complete
    assert receipt.superseded[0]["why"] == "A row refers to it"


def test_what_the_api_cant_be_asked_for_stays_with_its_payload(world: World) -> None:
    file = world.push(ODD)
    receipt = world.forget(made := world.forgetting(), made.find())
    assert file.exists() and ODD in world.airflow.rows
    assert {each["payload"] for each in [*receipt.xcoms, *receipt.superseded]} == {"kept"}
    assert not receipt.complete


def test_of_a_running_run_nothing_goes_that_has_no_row_yet(world: World) -> None:
    world.airflow.runs["orders", "run 1"] = "running"
    coming, there = world.push(row=False), world.push(Address("orders", "run 1", "extract", -1, "k"))
    receipt = world.forget(made := world.forgetting(), made.find(running=True))
    assert coming.exists() and not there.exists() and receipt.complete
    assert "has not ended" in receipt.notes[0]


@pytest.mark.parametrize("at", ["payload", "row"])
def test_a_receipt_of_what_was_interrupted_does_not_say_that_it_was_kept(
    world: World, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    world.push()

    def interrupted(*of: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(*((S3Store, "delete") if at == "payload" else (Rows, "delete_row")), interrupted)
    receipt, made = Receipt("", {}), world.forgetting()
    with pytest.raises(KeyboardInterrupt):
        made.forget(*made.find(), receipt, lambda number: None)
    assert receipt.xcoms[0][at].startswith("not known") and not receipt.complete


def test_what_verify_finds_is_counted(world: World) -> None:
    from exclusive_xcom.upkeep.verify_command import _checked

    file = world.push()
    (entry,) = world.airflow.all()
    file.write_bytes(b"VALUE")
    forged = Entry(AT, now(), {**entry.stored, "length": "many"})
    with receiving() as receiver:
        assert [_checked(each)[1] for each in (entry, forged)] == ["wrong", "wrong"]
        assert [metric.tags["operation"] for metric in receiver.of("xcom.corrupt")] == ["verify"] * 2
