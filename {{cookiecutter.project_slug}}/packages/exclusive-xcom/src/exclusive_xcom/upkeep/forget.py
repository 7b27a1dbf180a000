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
from ..transfer import purged, purged_at, telling
from .airflow_rest import ENDED, Airflow, can_be_asked
from .asked_rows import AskedRows
from .choosing import Selection
from .inventory import Inventory, Item, inventory_of
from .judge import refers
from .marker import WrongStore
from .marker import check as check_marker
from .rows import Entry, Run, now

_UNKNOWN = "not known: it was interrupted"


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
        self.running = False
        self.left = False  # whether versions are
        self._inventory = self._own_inventory()
        self._versions = self._found_versions()

    def find(self, running: bool = False) -> tuple[list[Entry], list[Item]]:
        """The rows, and the payloads that no row refers to any more but whose names tell that they are of the
        same XComs. Raises `StillRunning`, unless runs that have not ended are meant, too."""
        self.running = running
        entries: list[Entry] = []
        others: list[Item] = []
        for run in self.rows.runs(self.chosen):
            self._refuse(run.dag_id, run.run_id, run.state)
            found = list(self.rows.entries(run, self.chosen))
            entries += found
            if run.state in ENDED:
                others += self._others(run, found)
            else:
                self.notes.append(
                    f"What earlier tries left of run {run.run_id} was not looked for, as it has not ended: "
                    "a task may be about to write a row for it. `xcom gc` finds it afterwards."
                )
        return entries, others

    def forget(
        self, entries: list[Entry], others: list[Item], receipt: Receipt, tell: Callable[[int], None]
    ) -> None:
        """Do it. What was done stands in the receipt, also after an error."""
        receipt.begun, receipt.notes = now().isoformat(timespec="seconds"), self.notes
        whole, runs = (
            True,
            dict.fromkeys((e.address.dag_id, e.address.run_id) for e in entries if not e.trouble),
        )
        try:
            for run in runs:  # a person may have thought for long, and cleared a task meanwhile
                self._refuse(*run, self.airflow.run_state(*run))
            for number, entry in enumerate(entries, 1):
                whole &= self._forget(entry, receipt)
                tell(number)
            for item in others:
                whole &= self._forget_other(item, receipt)
            receipt.complete = whole and not self.left
        finally:
            receipt.ended = now().isoformat(timespec="seconds")

    def _forget(self, entry: Entry, receipt: Receipt) -> bool:
        told = {name: entry.told()[name] for name in ("dag", "run", "task", "map_index", "key", "kind")}
        told |= {"bytes": entry.length, "kept_in": entry.where, "payload": "in the row", "row": "kept"}
        told |= {"sha256": entry.ref.sha256 if entry.ref else None}
        receipt.xcoms.append(told)
        if why := entry.trouble or self._changed(entry):
            told["payload"], told["why"] = "kept", why
            return False
        if entry.why_not:
            told["payload"], told["why"] = "not found by this row", entry.why_not
        elif entry.ref and entry.ref.uri:
            told["payload"] = _UNKNOWN
            try:
                with telling("purge"):
                    store_of(entry.ref).delete(entry.ref)
            except (BadReference, ForeignReference, PayloadError) as error:  # none of ours
                told["payload"], told["why"] = "kept", str(error)
                return False
            told["payload"] = "deleted"
            purged(entry.ref)
            told["versions"] = self._purge(entry.ref.uri)
        told["row"] = _UNKNOWN
        told["row"] = "deleted" if self.airflow.delete_row(entry.address) else "was gone"
        return True

    def _refuse(self, dag_id: str, run_id: str, state: str | None) -> None:
        """Raises `StillRunning` unless the run has ended, is gone, or is meant even so."""
        if state is not None and state not in ENDED and not self.running:
            raise StillRunning(
                f"Run {run_id} of {dag_id} has not ended ({state})",
                "Wait for its end, or say --running: its tasks will fail where they read what is gone.",
            )

    def _changed(self, entry: Entry) -> str:
        """Why an XCom is not any more what was looked at; "" if it is, or if its row is gone."""
        row = self.airflow.row(entry.address)
        if row is None or row[0] == entry.stored:
            return ""
        return "It was pushed again after it was looked at. Say it again, and that goes, too."

    def _forget_other(self, item: Item, receipt: Receipt) -> bool:
        """A payload that no row refers to: proved by its own row, as a list may leave some out."""
        assert self._inventory is not None and item.address is not None
        uri = f"{self._inventory.url}/{item.name}"
        told = {"uri": uri, "bytes": item.size, "payload": "kept"}
        receipt.superseded.append(told)
        if not can_be_asked(item.address):
            told["why"] = "Airflow's API can't be asked whether a row refers to it"
            return False
        if refers(self.airflow.row(item.address), item):
            told["why"] = "A row refers to it"
            return False
        told["payload"] = _UNKNOWN
        self._inventory.delete(item.name)
        told["payload"] = "deleted"
        purged_at(item.address, uri, item.size)
        told["versions"] = self._purge(uri)
        return True

    def _purge(self, uri: str) -> str:
        """Delete the versions that a bucket keeps of what was deleted: how many these were, or why they stay;
        "" in a bucket that keeps none."""
        if self._versions is None or not uri.startswith("s3:"):
            return ""
        if not uri.startswith(f"s3://{self._versions.bucket}/"):
            self.left = True
            return "not looked for: another bucket than AIRFLOW__XCOM__URL's had it"
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
