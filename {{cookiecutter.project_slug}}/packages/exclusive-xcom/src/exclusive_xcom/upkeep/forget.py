"""Forgets XComs: payloads first, then their rows, and a receipt of what went.

In this order, an interruption leaves a row whose payload is gone, which the next try deletes; the other way
round it would leave a payload that nobody finds. An XCom whose payload could not be deleted keeps its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from typing import Any

from ..address import Address
from ..errors import (
    BadReference,
    ForeignReference,
    PayloadError,
    StoreDenied,
    StoreMisconfigured,
    XComError,
    legible,
)
from ..store import current_store, store_of
from .airflow_rest import ENDED, Airflow
from .asked_rows import AskedRows
from .choosing import Selection
from .inventory import Inventory, Item, inventory_of
from .marker import WrongStore
from .marker import check as check_marker
from .rows import Entry, Run, now


class StillRunning(XComError):
    """The run has not ended: its tasks may read what would go, and push more."""


@dataclass
class Receipt:
    """What went. `complete` is whether all that was asked for did."""

    airflow: str
    asked: dict[str, Any]
    begun: str = ""
    ended: str = ""
    complete: bool = False
    xcoms: list[dict[str, Any]] = field(default_factory=list)
    superseded: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Forgetting:
    """What is to be forgotten of runs that have ended.

    Args:
        chosen: of one DAG, by its id.
    """

    def __init__(self, airflow: Airflow, chosen: Selection) -> None:
        self.airflow, self.chosen, self.rows = airflow, chosen, AskedRows(airflow)
        self.notes: list[str] = []
        self.left = False  # whether versions are
        self._inventory = self._own_inventory()
        self._versions = self._found_versions()

    def find(self, running: bool = False) -> tuple[list[Entry], list[Item]]:
        """The rows, and the payloads that no row refers to any more but whose names tell that they are of the
        same XComs. Raises `StillRunning`, unless runs that have not ended are meant, too."""
        entries: list[Entry] = []
        others: list[Item] = []
        for run in self.rows.runs(self.chosen):
            if run.state not in ENDED and not running:
                raise StillRunning(
                    f"Run {run.run_id} of {run.dag_id} has not ended ({run.state})",
                    "Wait for its end, or say --running: its tasks will fail where they read what is gone.",
                )
            found = list(self.rows.entries(run, self.chosen))
            entries += found
            others += self._others(run, found)
        return entries, others

    def forget(
        self, entries: list[Entry], others: list[Item], receipt: Receipt, tell: Callable[[int], None]
    ) -> None:
        """Do it. What was done stands in the receipt, also after an error."""
        receipt.begun, receipt.notes = now().isoformat(timespec="seconds"), self.notes
        whole = True
        try:
            for number, entry in enumerate(entries, 1):
                whole &= self._forget(entry, receipt)
                tell(number)
            for item in others:
                assert self._inventory is not None
                self._inventory.delete(item.name)
                uri = f"{self._inventory.url}/{item.name}"
                told = {"uri": uri, "bytes": item.size, "versions": self._purge(uri)}
                receipt.superseded.append(told)
            receipt.complete = whole and not self.left
        finally:
            receipt.ended = now().isoformat(timespec="seconds")

    def _forget(self, entry: Entry, receipt: Receipt) -> bool:
        told = {name: entry.told()[name] for name in ("dag", "run", "task", "map_index", "key", "kind")}
        told |= {"bytes": entry.length, "kept_in": entry.where, "payload": "in the row", "row": "kept"}
        told |= {"sha256": entry.ref.sha256 if entry.ref else None}
        receipt.xcoms.append(told)
        if entry.trouble:
            told["payload"], told["why"] = "kept", entry.trouble
            return False
        if entry.why_not:
            told["payload"], told["why"] = "not found by this row", entry.why_not
        elif entry.ref and entry.ref.uri:
            try:
                store_of(entry.ref).delete(entry.ref)
            except (BadReference, ForeignReference, PayloadError) as error:  # none of ours
                told["payload"], told["why"] = "kept", str(error)
                return False
            told["payload"] = "deleted"
            told["versions"] = self._purge(entry.ref.uri)
        told["row"] = "deleted" if self.airflow.delete_row(entry.address) else "was gone"
        return True

    def _purge(self, uri: str) -> str:
        """Delete the versions that a bucket keeps of what was deleted: how many these were, or why they stay;
        "" in a bucket that keeps none."""
        if self._versions is None or not uri.startswith("s3:"):
            return ""
        try:
            return f"{self._versions.purge(uri):,} deleted"
        except StoreDenied as error:
            self.left = True
            return f"kept: {error.what}"

    def _own_inventory(self) -> Inventory | None:
        """The store's, if it is known to belong to this Airflow: names of another one's payloads may be the
        same."""
        try:
            store = current_store()
            if store is None or "s3" not in store.schemes:
                return None
            found = inventory_of(store)
            check_marker(found, self.airflow)
            return found
        except StoreMisconfigured:
            return None
        except WrongStore as error:
            self.notes.append(
                f"What earlier tries left in the store was not looked for ({legible(error.what)}). After "
                "`xcom adopt` it is."
            )
            return None

    def _found_versions(self) -> Any:
        """What deletes old versions, where the bucket keeps some; None where there are none."""
        store = current_store()
        if store is None or "s3" not in store.schemes:
            return None
        from ..s3.location import Location
        from ..s3.versions import Versions

        location = Location.current()
        if location is None or location.scheme != "s3":
            return None
        try:
            return Versions.of(location)
        except StoreDenied as error:
            self.notes.append(f"Whether old versions stay can't be told: {error.what}.")
            return None

    def _others(self, run: Run, entries: list[Entry]) -> Iterator[Item]:
        if self._inventory is None:
            return
        from ..s3.names import run_prefix

        start, uris = run_prefix(run.dag_id, run.run_id), {entry.where for entry in entries}
        listed = takewhile(lambda item: item.name.startswith(start), self._inventory.items(start))
        for item in listed:
            of = item.address
            mine = of is not None and (of.dag_id, of.run_id) == (run.dag_id, run.run_id)
            if mine and self._is_meant(of) and f"{self._inventory.url}/{item.name}" not in uris:
                yield item

    def _is_meant(self, address: Address | None) -> bool:
        any_time = now()
        chosen = Selection(None, None, self.chosen.task, self.chosen.key)
        return address is not None and chosen.takes(address.task_id, address.key, any_time, any_time)
