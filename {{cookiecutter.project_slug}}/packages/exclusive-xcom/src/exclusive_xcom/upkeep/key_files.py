"""A keyset in a file as it is made, rotated and retired; and a log beside it of when that was."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .. import keeping, keys, keysets
from ..atomic import replacing
from ..console import Refused
from ..reference import Reference

_LOG = ".log"
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass
class Wrote:
    """What a key has encrypted, as far as rows tell.

    Attributes:
        last: when the newest row was written.
        ends: when the time of all of it is over; None if it never is.
    """

    number: int = 0
    length: int = 0
    first: datetime | None = None
    last: datetime | None = None
    ends: datetime | None = _LONG_AGO

    def take(self, ref: Reference, written: datetime) -> None:
        """Count one."""
        self.number += 1
        self.length += ref.length
        self.first = min(self.first or written, written)
        self.last = max(self.last or written, written)
        at = ref.expires.at if ref.expires else None
        self.ends = None if at is None or self.ends is None else max(self.ends, at)


def written(rows: Iterable[tuple[Reference | None, datetime]]) -> dict[int, Wrote]:
    """What each key has encrypted, by its id."""
    found: dict[int, Wrote] = {}
    for ref, when in rows:
        if ref is not None and ref.encryption:
            found.setdefault(ref.encryption.key, Wrote()).take(ref, when)
    return found


@dataclass
class KeyFile:
    """A keyset in a file, and what its log tells."""

    path: Path
    kms: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def at(cls, path: Path, kms: str = "") -> KeyFile:
        """The one at a path; by which key it is wrapped the settings may say. Raises `BadOption`."""
        rules = keysets.rules()
        for source in rules.sources.values() if rules and not kms else ():
            if source.file and Path(source.file) == path:
                kms = source.kms
        return cls(path, kms, _events(path))

    def read(self) -> Any:
        """Tink's message of it. Raises `KeyMissing` and `BadOption`."""
        source = keysets.Source(self.path.name, file=str(self.path), kms=self.kms)
        source.stamp()
        return keys.parsed(source.name, source.read(), self.kms)

    def create(self) -> int:
        """Make it, with one key that encrypts; its id. Raises `Refused` if there is a file."""
        if self.path.exists() or self.path.is_symlink():
            raise Refused(f"{self.path} is there already. `xcom keys add` adds a key to it.")
        if not self.path.parent.is_dir():
            raise Refused(f"There is no folder {self.path.parent}.")
        made = keys.new_keyset()
        number = int(made.primary_key_id)
        self._write(made, ("created", number), ("activated", number))
        return number

    def add(self) -> int:
        """Add a key that every worker can have before one encrypts by it; its id."""
        found = self.read()
        number = keys.add(found)
        self._write(found, ("added", number))
        return number

    def activate(self, number: int) -> int:
        """Let a key encrypt; the id of the one that did before. Raises `Refused`."""
        found = self.read()
        self._check_enabled(found, number)
        before = int(found.primary_key_id)
        if before == number:
            raise Refused(f"Key {number} is the one that encrypts already.")
        keys.activate(found, number)
        self._write(found, ("replaced", before), ("activated", number))
        return before

    def retire(self, number: int, wrote: Wrote | None, longest: timedelta | None, *, lose: bool) -> None:
        """Destroy a key whose values are all over their time. Raises `Refused` if they are not, unless they
        may be lost.

        Args:
            wrote: what rows tell of what it wrote; None if they could not be asked for.
            longest: the longest that a rule keeps a value; None without an end.
        """
        found = self.read()
        self._check_enabled(found, number)
        if found.primary_key_id == number:
            raise Refused(f"Key {number} encrypts. `xcom keys activate` another one first.")
        why = self.why_not_yet(number, wrote, longest)
        if why and not lose:
            raise Refused(
                f"Key {number} is still needed: {why} What it wrote can never be read again once it is gone. "
                "`--lose` retires it nevertheless."
            )
        keys.destroy(found, number)
        self._write(found, ("retired", number))

    def why_not_yet(self, number: int, wrote: Wrote | None, longest: timedelta | None) -> str:
        """Why a key that does not encrypt may not go yet; "" if it may."""
        if wrote is None:
            return "Airflow could not be asked what it wrote."
        if not wrote.number and self.when("added", number) and not self.when("activated", number):
            return ""  # it never encrypted anything
        if wrote.number and wrote.ends is None:
            return "some of what it wrote has no end to its time."
        if longest is None:
            return "what is pushed is kept without an end, so nobody knows what it wrote."
        replaced = self.when("replaced", number)
        if replaced is None and wrote.last is None:
            return "it is not known when it encrypted for the last time."
        last = max(filter(None, (replaced, wrote.last))) + longest
        ends = max(last, wrote.ends or last)
        if ends > datetime.now(UTC):
            return f"the time of what it wrote is over at {ends:%Y-%m-%d %H:%M} UTC."
        return ""

    def when(self, did: str, number: int) -> datetime | None:
        """When something was done with a key for the last time, as far as the log tells."""
        found = [event["at"] for event in self.events if (event["did"], event["key"]) == (did, number)]
        return datetime.fromisoformat(found[-1]) if found else None

    def since(self, number: int) -> datetime | None:
        """Since when there is a key."""
        return self.when("created", number) or self.when("added", number)

    def _check_enabled(self, found: Any, number: int) -> None:
        state = keys.state(found, number)
        if state != "enabled":
            ids = ", ".join(str(key.key_id) for key in found.key)
            trouble = (
                f"Key {number} of {self.path} is {state}." if state else f"{self.path} has no key {number}."
            )
            raise Refused(f"{trouble} It has {ids}.")

    def _write(self, found: Any, *did: tuple[str, int]) -> None:
        text = keys.text_of(found, self.kms)
        with replacing(self.path, private=True) as file:
            file.write(text.encode())
        now = datetime.now(UTC).isoformat(timespec="seconds")
        events = [{"at": now, "did": what, "key": number} for what, number in did]
        self.events += events
        log = os.open(_log_of(self.path), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(log, "w", encoding="utf-8") as file_of_log:
            file_of_log.writelines(json.dumps(event) + "\n" for event in events)


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + _LOG)


def _events(path: Path) -> list[dict[str, Any]]:
    """What the log tells. A line that is none is left out: it only makes retiring harder."""
    try:
        lines = _log_of(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            event = json.loads(line)
            datetime.fromisoformat(event["at"]).astimezone(UTC)
            found.append({"at": event["at"], "did": str(event["did"]), "key": int(event["key"])})
        except (ValueError, KeyError, TypeError):
            continue
    return found


def longest(rules: keeping.Rules) -> timedelta | None:
    """The longest that the rules keep a value; None without an end. What goes with its run does so after the
    default's time at the latest."""
    kept = [rules.default.keep, *(rule.keep for rule in rules.rules)]
    seconds = [rules.default.keep.seconds if time.run else time.seconds for time in kept]
    return None if None in seconds else timedelta(seconds=max(filter(None, seconds)))


def told(number: int, found: Mapping[int, Wrote]) -> Wrote:
    """What a key wrote; nothing, if no row tells of it."""
    return found.get(number) or Wrote()
