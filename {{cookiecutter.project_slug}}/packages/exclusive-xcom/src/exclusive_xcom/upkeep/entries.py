"""What lies in Redis or Valkey: committed payloads, and claims of tasks. What is only staged goes by itself.

SCAN gives keys in no order, and some twice. So what it finds goes through a file of sqlite3's, which sorts
it, and memory does not grow.
"""

from __future__ import annotations

import re
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from ..redis.client import Call, Command, Server
from ..redis.keys import LARGEST, Keys, prefix, quoted, whose, writer_of
from ..redis.leases import facts
from ..redis.scripts import RELEASE
from .inventory import Inventory, Item, Kind

_AT_ONCE = 1000  # keys that one SCAN looks at
_OF_CLAIM = "#"  # stands between a claim's key, which never has one, and what it says
_Found = tuple[str, int, float]  # name, bytes, when it was written


class Entries(Inventory):
    """The payloads and claims below AIRFLOW__XCOM__PREFIX.

    A payload's name is its head's key. Its age is what of its time is over, by the server's clock. A claim's
    name has what it says, too: so it is deleted only if no other try has claimed the task since. It is as old
    as its task instance, whose id tells that.
    """

    def __init__(self, server: Server) -> None:
        self.server, self.url = server, f"redis:{prefix()}"

    def now(self) -> float:
        def ask(client: Any) -> tuple[int, int]:
            one = {"target_nodes": client.get_primaries()[0]} if hasattr(client, "get_primaries") else {}
            seconds, micros = client.time(**one)
            return seconds, micros

        seconds, micros = self.server.ask(ask)
        return seconds + micros / 1e6

    def items(self, after: str = "") -> Iterator[Item]:
        with closing(sqlite3.connect("", isolation_level=None)) as sorter:
            sorter.executescript("PRAGMA journal_mode = OFF; CREATE TABLE found (name, size, written)")
            for page in self._pages():
                sorter.execute("BEGIN")
                sorter.executemany("INSERT INTO found VALUES (?, ?, ?)", self._looked_at(page))
                sorter.execute("COMMIT")
            sorted_by_name = "SELECT name, max(size), max(written) FROM found WHERE name > ? GROUP BY name"
            for name, size, written in sorter.execute(f"{sorted_by_name} ORDER BY name", (after,)):
                yield replace(self.item(name), size=size, written=written)

    def item(self, name: str) -> Item:
        key, is_claim, text = name.partition(_OF_CLAIM)
        if (found := whose(key)) is None:
            return Item(name, 0, 0.0)
        address, own = found
        mark = text if is_claim else own
        ti_id = "" if is_claim else writer_of(own)
        return Item(name, 0, 0.0, address, ti_id, mark, Kind.CLAIM if is_claim else Kind.PAYLOAD)

    def delete(self, name: str) -> None:
        key, is_claim, text = name.partition(_OF_CLAIM)
        if is_claim:
            self.server.run(Call(RELEASE, [key], [text, 0]))
            return
        (head,) = self.server.run(("GET", key))
        length = _length(head)
        if head is not None:
            self.server.run(("UNLINK", key, *Keys("", "", key, "").chunks(length)))

    def read(self, name: str) -> str | None:
        (found,) = self.server.run(("GET", self._own(name)))
        return None if found is None else found.decode(errors="replace")

    def write(self, name: str, text: str) -> None:
        self.server.run(("SET", self._own(name), text))

    @staticmethod
    def _own(name: str) -> str:
        return "/".join((prefix(), *map(quoted, name.split("/"))))

    def _pages(self) -> Iterator[list[str]]:
        """The keys below the prefix, of all servers, as SCAN gives them."""
        nodes = self.server.ask(lambda client: getattr(client, "get_primaries", lambda: [None])())
        for node in nodes:
            more: dict[str, Any] = {} if node is None else {"target_nodes": node}
            cursor = 0
            while True:
                cursor, page = self._scanned(cursor, more)
                yield [key.decode(errors="replace") for key in page]
                if not cursor:
                    break

    def _scanned(self, cursor: int, more: dict[str, Any]) -> tuple[int, list[bytes]]:
        pattern = f"{prefix()}/{{*"
        said, page = self.server.ask(
            lambda client: client.scan(cursor, match=pattern, count=_AT_ONCE, **more)
        )
        # A cluster's client tells the cursor of each server that it asked.
        return int(next(iter(said.values())) if isinstance(said, dict) else said), page

    def _looked_at(self, page: Sequence[str]) -> Iterator[_Found]:
        """Those of some keys that are a payload's head or a claim, with what they hold, by one request."""
        ours = [(key, found[1]) for key in page if (found := whose(key))]
        asked: list[Command] = [command for key, _ in ours for command in (("GET", key), ("PTTL", key))]
        now, said = self.now(), iter(self.server.run(*asked) if asked else ())
        for (key, own), value, left in zip(ours, said, said, strict=True):
            if value is None:  # it has gone meanwhile
                continue
            if own:
                kept = facts(value).get("kept")
                age = max(0, kept - left) / 1000 if isinstance(kept, int) and left >= 0 else 0.0
                yield key, _length(value), now - age
            else:
                text = value.decode(errors="replace")
                yield f"{key}{_OF_CLAIM}{text}", len(value), min(now, _begun(text, now))


def _length(head: bytes | None) -> int:
    """Bytes of the payload whose head says so; 0 if it does not say it."""
    length = facts(head or b"").get("length")
    return length if isinstance(length, int) and 0 <= length <= LARGEST else 0


def _begun(claim: str, now: float) -> float:
    """When the task instance of a claim was made, by its id (UUID 7); `now` if that does not tell."""
    try:
        found = uuid.UUID(re.split(r"\s", claim)[0])
    except ValueError:
        return now
    return (found.int >> 80) / 1000 if found.version == 7 else now
