"""Collects payloads that no row refers to: one look writes down which they are, a second one deletes them.

Nothing is deleted but what was garbage at both looks, in a store and an Airflow that belong together. Both
looks can be interrupted at any place, and a second collection may be at work: a payload's name is its own for
ever, so at worst it is asked for or deleted twice.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from .. import metrics
from ..errors import XComError
from ..handle import human_size
from .inventory import Inventory, Item
from .judge import GARBAGE, Judge, Rows
from .manifest import EVERY, TOLD, Manifest, Tally
from .marker import Named, WrongStore, check

log = logging.getLogger(__name__)

FEW = 20  # runs; of so few it may well be that most are gone


class Airflow(Rows, Named, Protocol):
    """What a collection asks of an Airflow."""


class TooManyGone(XComError):
    """So many runs are gone that it looks like the wrong Airflow."""


class Pace:
    """Holds requests back to so many in a second."""

    def __init__(self, rate: float) -> None:
        self._least, self._next = 1 / rate, 0.0

    def __call__(self) -> None:
        """Wait until the next one may go."""
        now = time.monotonic()
        if self._next > now:
            time.sleep(self._next - now)
        self._next = max(now, self._next) + self._least


@dataclass
class Collection:
    """One project's collection.

    Args:
        grace: seconds for which a payload is left alone after it was written.
        most_gone: the part of the runs that may be gone, from 0 to 1, before it looks like the wrong Airflow.
        pace: called before each payload is deleted; may wait.
        tell: told now and then what was found so far.
        seen: told each payload, and why it stays or goes; of an interrupted look the rest.
    """

    inventory: Inventory
    airflow: Airflow
    grace: float
    most_gone: float = 0.5
    pace: Callable[[], None] = lambda: None
    tell: Callable[[Tally], None] = lambda tally: None
    seen: Callable[[Item, str], None] = lambda item, why: None

    def look(self, manifest: Manifest) -> Tally:
        """Find what is garbage, and write it down. Goes on with a look that was interrupted.

        Raises:
            WrongStore: the store and this Airflow do not belong together.
            CannotAskAirflow: there was no clear answer.
            StoreError: the store failed.
            TooManyGone: the list is kept from being used.
        """
        head = self._head()
        known = {name: manifest.head.get(name) for name in head}
        if manifest.ended or known != head:
            manifest.begin({**head, "cut": self.inventory.now() - self.grace})
        manifest.go_on()
        tally, after = manifest.tally, manifest.after
        judge = self._judge(manifest)
        judge.runs, judge.gone = tally.runs, tally.gone
        try:
            for number, item in enumerate(self.inventory.items(after), 1):
                why = judge.why(item)
                if why in GARBAGE:
                    manifest.add(item.name, item.size, item.written, why)
                tally.add(why, item.size, item.written)
                self.seen(item, why)
                tally.runs, tally.gone, after = judge.runs, judge.gone, item.name
                if number % EVERY == 0:
                    self._still(head)
                    manifest.note_look(after, tally)
                if number % TOLD == 0:
                    self.tell(tally)
            self._still(head)
        except WrongStore:
            manifest.begin(manifest.head)  # who knows since when it was the wrong one
            raise
        except BaseException:
            manifest.note_look(after, tally)
            raise
        self._refuse(tally)
        manifest.note_look(after, tally, ended=True)
        return tally

    def delete(self, manifest: Manifest) -> Tally:
        """Delete what a look has written down and what is still garbage. Goes on where it was interrupted.
        Raises as `look` does, `WrongStore` if the list is not of this store, and `Refused` if it is not
        complete or was dealt with."""
        manifest.check_complete()
        head = self._head()
        manifest.go_on()
        judge, done, place = self._judge(manifest), manifest.done, manifest.place
        if {name: manifest.head.get(name) for name in head} != head:
            raise WrongStore(
                f"{manifest.path} lists payloads of {manifest.head['store']}, with the id "
                f"{manifest.head['id']} and a grace of {manifest.head.get('grace')} s, and not of "
                f"{self.inventory.url} with {head['id']} and {self.grace} s",
                "Look anew: `xcom gc`.",
            )
        if not manifest.head.get("cut", math.inf) <= self.inventory.now() - self.grace:
            raise WrongStore(
                f"{manifest.path} was changed, or the store's clock: it is of a time that has not come",
                "Look anew, with another list: `xcom gc --manifest FILE`.",
            )
        before = done.garbage
        try:
            for number, (behind, line) in enumerate(manifest.garbage(), 1):
                item = replace(self.inventory.item(line["name"]), written=float(line["written"]))
                why = judge.why(item)
                if why in GARBAGE:
                    self.pace()
                    self.inventory.delete(item.name)
                done.add(why, int(line["bytes"]), item.written)
                place = behind
                if number % EVERY == 0:
                    self._still(head)
                    manifest.note_deletion(place, done)
                if number % TOLD == 0:
                    self.tell(done)
        finally:
            manifest.note_deletion(place, done)
            self._tell(done.garbage.payloads - before.payloads, done.garbage.bytes - before.bytes)
        return done

    def _head(self) -> dict[str, Any]:
        """What a list is of. Raises `WrongStore`."""
        return {"store": self.inventory.url, "id": check(self.inventory, self.airflow), "grace": self.grace}

    def _still(self, head: dict[str, Any]) -> None:
        """Raises `WrongStore` if there is another Airflow now: an address may lead to a new one."""
        if self._head() != head:
            raise WrongStore("Store or Airflow were exchanged meanwhile", "Look anew: `xcom gc`.")

    def _tell(self, payloads: int, size: int) -> None:
        """One line in the log, and Airflow's metrics, for what was deleted."""
        url, backend = self.inventory.url, self.inventory.url.partition(":")[0]
        fields = {"operation": "collect", "payloads": payloads, "bytes": size, "backend": backend, "uri": url}
        text = "XComs collected: %s payloads, %s, of %s"
        metrics.line(log, logging.INFO, text, f"{payloads:,}", human_size(size), url, fields=fields)
        metrics.count("xcom.collected", payloads, backend=backend)
        metrics.count("xcom.collected.bytes", size, backend=backend)

    def _judge(self, manifest: Manifest) -> Judge:
        """By the times at which the look began."""
        cut, grace = float(manifest.head["cut"]), float(manifest.head["grace"])
        return Judge(self.airflow, cut, cut + grace)

    def _refuse(self, tally: Tally) -> None:
        if tally.gone >= FEW and tally.gone > self.most_gone * tally.runs:
            raise TooManyGone(
                f"Of {tally.runs:,} runs that have payloads in {self.inventory.url}, Airflow at "
                f"{self.airflow.url} does not know {tally.gone:,}",
                "That is more than usual. If its database was cleaned or runs were deleted, say how many of "
                "a hundred may be gone: `xcom gc --most-gone 100`. If not, this is the wrong Airflow, or it "
                "was set up anew.",
            )
