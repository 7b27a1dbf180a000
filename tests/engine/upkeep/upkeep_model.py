"""A model of an Airflow and of a store, for collections: time is a number there, and both can be broken."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from exclusive_xcom.address import Address, Attempt
from exclusive_xcom.reference import Encryption, Expiry, Reference
from exclusive_xcom.s3.location import Location
from exclusive_xcom.s3.names import object_name, whose
from exclusive_xcom.testing.payloads import payload
from exclusive_xcom.upkeep.airflow_rest import CannotAskAirflow
from exclusive_xcom.upkeep.inventory import Inventory, Item

LOCATION = Location("s3://bucket/xcom", "s3", "bucket", "xcom")
GRACE = 1000.0


def name_of(address: Address, ti_id: str) -> str:
    """A new name for a payload."""
    return object_name(LOCATION, address, Attempt(1, ti_id), payload([b""]))


def row_of(
    address: Address,
    ti_id: str,
    name: str,
    url: str = LOCATION.url,
    expires: Expiry | None = None,
    encryption: Encryption | None = None,
) -> dict[str, Any]:
    """What the row of a payload says."""
    of: tuple[Any, ...] = (address, Attempt(1, ti_id), "binary/1", "bytes", "x/y", 1, "0" * 64)
    return Reference(*of, uri=f"{url}/{name}", expires=expires, encryption=encryption).row()


def until(time: float | None = None, *, run: bool = False) -> Expiry:
    """The end of a payload: at a time of the model, or with its run."""
    return Expiry("a rule", None if time is None else datetime.fromtimestamp(time, UTC), run)


@dataclass
class ModelAirflow:
    """Runs with their states, rows by address, and how often it was asked.

    Attributes:
        deaf: whether it gives no clear answer.
    """

    url: str = "http://airflow"
    runs: dict[tuple[str, str], str] = field(default_factory=dict)
    rows: dict[Address, Any] = field(default_factory=dict)
    variable: str | None = None
    rows_per_try: bool = False
    deaf: bool = False
    asked: list[Any] = field(default_factory=list)

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        """As the real one says it."""
        self._ask((dag_id, run_id))
        return self.runs.get((dag_id, run_id))

    def row(self, address: Address) -> tuple[Any] | None:
        """As the real one says it."""
        self._ask(address)
        return (self.rows[address],) if address in self.rows else None

    def store_id(self) -> str | None:
        """As the real one says it."""
        return self.variable

    def set_store_id(self, text: str) -> None:
        """As the real one does it."""
        assert self.variable is None
        self.variable = text

    def delete_run(self, run: tuple[str, str]) -> None:
        """As the UI does: rows go with it."""
        self.runs.pop(run, None)
        self.rows = {at: row for at, row in self.rows.items() if (at.dag_id, at.run_id) != run}

    def _ask(self, what: Any) -> None:
        self.asked.append(what)
        if self.deaf:
            raise CannotAskAirflow("it is deaf")


@dataclass
class ModelStore(Inventory):
    """Objects by their names, each with the time at which it was written."""

    url: str = LOCATION.url
    time: float = 0.0
    objects: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)

    def now(self) -> float:
        """The model's time."""
        return self.time

    def items(self, after: str = "") -> Iterator[Item]:
        """As they are when the listing comes to them."""
        for name in sorted(self.objects):
            if name > after and name in self.objects:
                yield self._item(name, self.objects[name])

    def item(self, name: str) -> Item:
        """By its name."""
        return self._item(name, 0.0)

    def delete(self, name: str) -> None:
        """Also if it is gone."""
        self.deleted.append(name)
        self.objects.pop(name, None)

    def read(self, name: str) -> str | None:
        """A note."""
        return self.notes.get(name)

    def write(self, name: str, text: str) -> None:
        """A note."""
        self.notes[name] = text

    def put(self, address: Address, ti_id: str) -> str:
        """Store a payload now; its name."""
        name = name_of(address, ti_id)
        self.objects[name] = self.time
        return name

    @staticmethod
    def _item(name: str, written: float) -> Item:
        return Item(name, 1, written, *(whose(name, dict) or ()))


def new_id() -> str:
    """A task instance's."""
    return str(uuid.uuid4())
