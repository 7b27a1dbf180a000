"""What lies in a store, whoever refers to it: listed in constant memory, with times by the store's clock."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from ..address import Address
from ..errors import StoreMisconfigured
from ..store import Store, current_store

# Our own things in a store lie below it. No DAG's do: their names do not begin with a point.
OWN = ".exclusive-xcom"


class Kind(Enum):
    """What lies in a store: a payload; a task's claim, which goes with its run; an upload that is under way,
    or that nobody will finish."""

    PAYLOAD, CLAIM, UPLOAD = range(3)


@dataclass(frozen=True, slots=True)
class Item:
    """One payload that lies in a store, or what else has to go some day.

    Attributes:
        name: where it lies, below the store's URL.
        size: in bytes.
        written: by the store's clock, in seconds since 1970.
        address, ti_id: whose it is, and the task instance that wrote it ("" for none). An address of None
            means that its name does not tell.
        mark: the part of its name that no other payload has. It stays when a store moves.
        kind: what it is.
    """

    name: str
    size: int
    written: float
    address: Address | None = None
    ti_id: str = ""
    mark: str = ""
    kind: Kind = Kind.PAYLOAD


class Inventory(ABC):
    """The payloads of a store, and what else lies there of ours. Methods raise `StoreError`."""

    #: Where the payloads lie, for people.
    url: str

    def remarks(self) -> list[str]:
        """What people have to know besides, once all items were listed."""
        return []

    @abstractmethod
    def now(self) -> float:
        """The time by the store's clock, in seconds since 1970."""

    @abstractmethod
    def items(self, after: str = "") -> Iterator[Item]:
        """All payloads, those of a run together, in an order that stays the same; those behind a name."""

    @abstractmethod
    def item(self, name: str) -> Item:
        """A payload by the name that it was listed with, and with no time; it need not be there any more."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete one payload. That it is gone already is no error."""

    @abstractmethod
    def read(self, name: str) -> str | None:
        """A small text of our own, below `OWN`; None if it is not there."""

    @abstractmethod
    def write(self, name: str, text: str) -> None:
        """Write such a text."""


def inventory_of(store: Store | None) -> Inventory:
    """What lies in a store. Raises `StoreMisconfigured` for one that nothing has to be collected of."""
    if store is not None and "s3" in store.schemes:
        from .objects import Objects

        return Objects.configured()
    if store is not None and "redis" in store.schemes:
        from ..redis.store import RedisStore
        from .entries import Entries

        assert isinstance(store, RedisStore)
        return Entries(store.server)
    where = (
        "by none of exclusive_xcom's backends" if store is None else "in Airflow's rows, with their payloads"
    )
    raise StoreMisconfigured(
        f"There is nothing to collect: XComs are kept {where}",
        "`airflow db clean --tables xcom` removes old rows. Only in an object store and in Redis do payloads "
        "stay behind.",
    )


def current_inventory() -> Inventory:
    """What lies in the store of the backend that Airflow is told of. Raises `StoreMisconfigured`."""
    return inventory_of(current_store())
