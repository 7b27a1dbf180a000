"""The list of garbage that a collection finds, and how far the deletion of it is: a file of JSON lines.

First line: which store, and from when. Then a line for each payload that is garbage, and now and then one
that says how far the look, or the deletion, is. What was interrupted goes on from there.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..console import Refused
from .judge import GARBAGE, Why

FORM = 1
EVERY = 1000  # payloads between two notes of how far it is
TOLD = 100  # payloads between two looks at that for who waits


@dataclass
class Count:
    """Some payloads: how many, their bytes, and when the oldest was written (seconds since 1970)."""

    payloads: int = 0
    bytes: int = 0
    oldest: float | None = None

    def add(self, size: int, written: float) -> None:
        """One more."""
        self.payloads += 1
        self.bytes += size
        self.oldest = written if self.oldest is None else min(self.oldest, written)


@dataclass
class Tally:
    """What was found: by reason; and how many runs Airflow was asked for, and did not have."""

    by_reason: dict[str, Count] = field(default_factory=dict)
    runs: int = 0
    gone: int = 0

    def add(self, why: str, size: int, written: float) -> None:
        """One more payload."""
        self.by_reason.setdefault(why, Count()).add(size, written)

    def of(self, *reasons: Why) -> Count:
        """All payloads of some reasons together."""
        found = [self.by_reason[why] for why in reasons if why in self.by_reason]
        times = [count.oldest for count in found if count.oldest is not None]
        sizes = sum(count.payloads for count in found), sum(count.bytes for count in found)
        return Count(*sizes, min(times, default=None))

    @property
    def garbage(self) -> Count:
        """All that is garbage."""
        return self.of(*GARBAGE)

    @classmethod
    def read(cls, told: dict[str, Any]) -> Tally:
        """What a manifest holds of one."""
        reasons = {why: Count(**count) for why, count in told["by_reason"].items()}
        return cls(reasons, int(told["runs"]), int(told["gone"]))


class Manifest:
    """A manifest's file, which one collection at a time has open.

    Attributes:
        head: which store, its id, and `cut`: up to which time, by the store's clock, payloads were looked at.
        after: the name behind which the look goes on.
        tally: what was found until there.
        ended: whether the look is at its end.
        place: the byte from which the deletion goes on; 0 before it.
        done: what it found until there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o600)  # a pipe is not waited for
        self._file = os.fdopen(descriptor, "r+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise Refused(f"Another collection is at work with {path}.") from None
        self.head: dict[str, Any] = {}
        self.after, self.tally, self.ended = "", Tally(), False
        self.place, self.done = 0, Tally()
        self._end = 0  # of what counts: what follows was not noted any more
        try:
            self._scan()
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, OSError):
            self.close()
            raise Refused(
                f"{path} is not a list that `xcom gc` wrote. Name another file (`--manifest`), or delete it."
            ) from None

    def begin(self, head: dict[str, Any]) -> None:
        """Start anew."""
        os.fchmod(self._file.fileno(), 0o600)  # it has names of DAGs and keys, and was there before
        self._file.seek(0)
        self._file.truncate()
        self.head, self._end = {"form": FORM, **head}, 0
        self.after, self.tally, self.ended, self.place, self.done = "", Tally(), False, 0, Tally()
        self._note(self.head)

    def go_on(self) -> None:
        """Go on where it was interrupted: what had not been noted is dropped."""
        self._file.seek(self._end)
        self._file.truncate()

    def add(self, name: str, size: int, written: float, why: Why) -> None:
        """One more payload that is garbage. It counts from the next note on."""
        self._write({"name": name, "bytes": size, "written": written, "why": why})

    def note_look(self, after: str, tally: Tally, *, ended: bool = False) -> None:
        """Note how far the look is."""
        self.after, self.tally, self.ended = after, tally, ended
        self._note({"after": after, "ended": ended, "tally": asdict(tally)})

    def note_deletion(self, place: int, done: Tally) -> None:
        """Note how far the deletion is."""
        self.place, self.done = place, done
        self._note({"place": place, "done": asdict(done)})

    def garbage(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The payloads that are to be deleted, from `place` on, each with the place behind it."""
        with self.path.open("rb") as file:
            file.seek(self.place)
            while file.tell() < self._end:
                found = json.loads(file.readline())
                if "name" in found:
                    yield file.tell(), found

    def check_complete(self) -> None:
        """Raises `Refused` if it is not complete, or if all that is in it was dealt with."""
        if not self.ended:
            raise Refused(f"{self.path} is not complete: `xcom gc` goes on with it.")
        if next(self.garbage(), None) is None:
            raise Refused(f"Nothing is left to delete in {self.path}. `xcom gc` looks anew.")
        for name in ("store", "id"):
            if not isinstance(self.head.get(name), str):
                raise Refused(f"{self.path} does not say of which store it is. `xcom gc` looks anew.")

    def close(self) -> None:
        """Let others have it."""
        self._file.close()

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")

    def _note(self, line: dict[str, Any]) -> None:
        self._write(line)
        self._file.flush()
        self._end = self._file.tell()

    def _scan(self) -> None:
        """Read how far it is. Raises what malformed lines lead to."""
        place = 0
        for raw in self._file:
            place += len(raw)
            if not raw.endswith(b"\n"):
                break  # cut off by what ended the collection
            line = json.loads(raw)
            if not self.head:
                if line["form"] != FORM:
                    raise ValueError("another form")
                _times(line, "cut", "grace")
                self.head, self._end = line, place
            elif "name" in line:
                _times(line, "written", "bytes")
                if not isinstance(line["name"], str):
                    raise ValueError("no name")
            elif "after" in line:
                self.after, self.ended, self.tally = line["after"], line["ended"], Tally.read(line["tally"])
                self._end = place
            elif "place" in line:
                self.place, self.done, self._end = int(line["place"]), Tally.read(line["done"]), place
                if not 0 <= self.place <= place:
                    raise ValueError("another place")
        if place and not self.head:
            raise ValueError("no head")


def _times(line: dict[str, Any], *names: str) -> None:
    """Raises `ValueError` or `TypeError` unless these are numbers, as far as there are any: what compares
    with nothing would be older than every grace."""
    for name in names:
        if name in line and not (math.isfinite(line[name]) and 0 <= line[name] + 1e9 <= 1e15):
            raise ValueError(f"{name} is no such number")
