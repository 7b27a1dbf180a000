"""Redis or Valkey as a store of payloads: written under a lease, safe by a claim that every commit checks.

push: lease and chunks, pipelined ─→ still the current try? ─→ one script: claim and lease checked,
      payload made current, lease released ─→ reference → row
pull: claim, head and first chunk by one command ─→ the other chunks, pipelined

Here are the bytes; what a lease and a claim mean is in leases.py and claims.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from .. import attempt as attempts
from ..address import Address, Attempt
from ..codecs import Payload
from ..errors import PayloadAltered, PayloadError, PayloadMissing, PayloadTruncated, StaleXCom, StoreError
from ..reference import Expiry, Reference
from ..store import Check, Store, Stored
from .claims import STAGED, Upload, as_owner, claimant
from .client import OTHER_PROGRAM, Call, Command, Server
from .keys import CHUNK, Keys, claim_in_words, claim_key, claim_text, keys_of
from .leases import facts
from .probe import judge, refuse_eviction, try_out

log = logging.getLogger(__name__)

_WINDOW = 8  # chunks sent or asked for in one round trip: what a transfer holds in memory
_AGAIN = "Run the task that pushed it again."
_SMALL = 4096  # bytes of a chunk that is cheaper to copy than to send by itself


class RedisStore(Store):
    """Keeps payloads as chunks that expire, and knows to which try a task's XComs belong.

    Args:
        conn_id: the Airflow connection to the server.
        lease: seconds after which a writer that sends nothing any more can be replaced.
        wait: seconds to wait while somebody else writes the same XCom.
    """

    schemes: ClassVar[frozenset[str]] = frozenset({"redis"})

    def __init__(self, conn_id: str, *, lease: float = 30, wait: float = 60) -> None:
        self.server = Server(conn_id)
        self.lease, self.wait = lease, wait
        self._policy_known = False

    # -- push ---------------------------------------------------------------------------------------

    def put(
        self, address: Address, attempt: Attempt, payload: Payload, expires: Expiry | None = None
    ) -> Stored:
        """Take the lease and stage the chunks, which nobody reads before `commit`. Raises as `go_on`."""
        upload = Upload.of(self.server, address, attempt, self.lease)
        digest, length = hashlib.sha256(), 0
        try:
            with ThreadPoolExecutor(1) as hasher:
                for window in _windows(payload):
                    commands: list[Command | Call] = [upload.under_lease()]
                    for chunk in window:
                        # The library sends a view by itself, and bytes together with what surrounds them.
                        data = chunk if chunk.nbytes > _SMALL else bytes(chunk)
                        name = upload.keys.chunk(length // CHUNK)
                        commands.append(("SET", name, data, "PX", STAGED * 1000))
                        length += chunk.nbytes
                    # While the network is waited for; one chunk takes no longer than starting a thread.
                    hashed = hasher.submit(_feed, digest, window) if len(window) > 1 else None
                    upload.go_on(*self._send(commands), self.wait)
                    hashed.result() if hashed else _feed(digest, window)
        except BaseException:
            self.abandon(Stored(length, "", upload=upload))
            raise
        return Stored(length, digest.hexdigest(), uri=upload.keys.uri, upload=upload)

    def commit(self, stored: Stored, ref: Reference) -> None:
        stored.upload.commit(ref)

    def abandon(self, stored: Stored) -> None:
        keys, lease = stored.upload.keys, stored.upload.lease
        try:
            unlink = ("UNLINK", keys.head, *keys.chunks(stored.length))
            self.server.run(lease.give_back(), unlink, patience=0)
        except Exception as error:
            log.warning("What was put at %s is left behind, and expires: %s", keys.uri, error)

    def _send(self, commands: list[Command | Call]) -> tuple[str, str]:
        """Send commands of which the first is the lease's: the claim, and who holds the lease."""
        if self._policy_known or self.server.is_cluster:
            (claim, holder), *_ = self.server.run(*commands)
        else:
            # The first push of a process asks for the eviction policy, too: no round trip more.
            (claim, holder), *_, said = self.server.run(*commands, ("INFO", "memory"), last_may_fail=True)
            if isinstance(said, dict):
                refuse_eviction(str(said.get("maxmemory_policy", "noeviction")))
            self._policy_known = True
        return claim.decode(), holder.decode()

    # -- pull ---------------------------------------------------------------------------------------

    def fetch(self, ref: Reference) -> memoryview:
        return next(self.fetch_many([ref]))

    def fetch_many(self, refs: Sequence[Reference]) -> Iterator[memoryview]:
        """By one round trip for all, and more for those that have several chunks. Raises `StaleXCom`, too."""
        for ref, first in zip(refs, self._first(refs), strict=True):
            if ref.length <= CHUNK:
                yield first
                continue
            whole, place = bytearray(ref.length), 0
            for piece in itertools.chain([first], self._rest(ref)):
                whole[place : place + piece.nbytes] = piece
                place += piece.nbytes
            yield memoryview(whole).toreadonly()

    def stream(self, ref: Reference) -> Iterator[memoryview]:
        yield from self._first([ref])
        yield from self._rest(ref)

    def _first(self, refs: Sequence[Reference]) -> Iterator[memoryview]:
        """The first chunk of each payload, empty if it has none, once claim and head have been looked at."""
        names = [keys_of(ref) for ref in refs]
        asked = (("MGET", keys.claim, keys.head, keys.chunk(0)) for keys in names)
        for ref, keys, (claim, head, chunk) in zip(refs, names, self.server.run(*asked), strict=True):
            self._look_at(ref, keys, claim, head)
            if ref.length and chunk is None:
                raise self._why_gone(ref, keys, 0)
            yield _checked(ref, 0, chunk) if ref.length else memoryview(b"")

    def part(self, ref: Reference, start: int, end: int) -> memoryview:
        """By one round trip, also for claim and head."""
        keys, first, last = keys_of(ref), start // CHUNK, (end - 1) // CHUNK
        places = [(max(start - at * CHUNK, 0), min(end - at * CHUNK, CHUNK)) for at in range(first, last + 1)]
        names = [keys.chunk(index) for index in range(first, last + 1)]
        asked = [("GETRANGE", name, a, b - 1) for name, (a, b) in zip(names, places, strict=True)]
        (claim, head), *pieces = self.server.run(("MGET", keys.claim, keys.head), *asked)
        self._look_at(ref, keys, claim, head)
        for index, (piece, (a, b)) in enumerate(zip(pieces, places, strict=True), first):
            if not piece:
                raise self._why_gone(ref, keys, index)
            if len(piece) != b - a:
                raise _cut_short(ref, index, len(piece), b - a)
        return memoryview(b"".join(pieces))

    def _look_at(self, ref: Reference, keys: Keys, claim: bytes | None, head: bytes | None) -> None:
        """Raise what stands against reading a payload whose claim and head were read."""
        if keys.owner and claim is not None and claim.split()[0].decode() != keys.owner:
            raise StaleXCom(
                f"The row was written by {claim_in_words(claim_text(ref.attempt))}, but the task's XComs "
                f"belong to {claim_in_words(claim.decode())}",
                "A try that had been replaced wrote the row in its last instant. Clear the task that "
                "pushed it, so that it runs again.",
            )
        if head is None or (keys.owner and claim is None):
            raise self._why_gone(ref, keys, 0)
        if (committed := facts(head).get("length")) != ref.length:
            what = f"The payload at {keys.uri} was committed with {committed} bytes, not {ref.length}"
            raise PayloadTruncated(what, f"The row was changed. {_AGAIN}")

    def _rest(self, ref: Reference) -> Iterator[memoryview]:
        """All chunks but the first."""
        keys = keys_of(ref)
        names = keys.chunks(ref.length)
        for start in range(1, len(names), _WINDOW):
            window = (("GET", name) for name in names[start : start + _WINDOW])
            for index, piece in enumerate(self.server.run(*window), start):
                if piece is None:
                    raise self._why_gone(ref, keys, index)
                yield _checked(ref, index, piece)

    def _why_gone(self, ref: Reference, keys: Keys, index: int) -> PayloadError:
        """The error for a payload that is not there: what of it, and how it went as far as can be told. Of a
        part of a chunk, Redis does not say whether it is the chunk that is not there."""
        parts = {"head": keys.head}
        if keys.owner:
            parts["claim (which rules out a later try)"] = keys.claim
        if ref.length:
            parts[f"chunk {index}"] = keys.chunk(index)
        kinds = dict(zip(parts, self.server.run(*(("TYPE", name) for name in parts.values())), strict=True))
        for part, kind in kinds.items():
            if kind not in (b"string", b"none"):
                what = f"The {part} of {keys.uri} is now a Redis {kind.decode()}"
                return PayloadAltered(what, OTHER_PROGRAM)
        gone = " and ".join(part for part, kind in kinds.items() if kind == b"none")
        if not gone:
            return PayloadTruncated(f"Chunk {index} of {keys.uri} was cut short", _AGAIN)
        told: dict[str, Any] = {}
        with contextlib.suppress(StoreError):
            told = self._info()
        age, policy = time.time() - keys.written, told.get("maxmemory_policy")
        how = "it was deleted by a later try or by hand, or never committed"
        if not told:
            how = "how can't be told, since Redis does not say"
        elif policy != "noeviction" and (evicted := told.get("evicted_keys")):
            how = f"it was probably evicted, as {evicted} keys were: set noeviction instead of {policy}"
        elif told.get("uptime_in_seconds", age) < age - 1:
            how = "Redis was restarted since and did not keep it: turn on appendonly"
        return PayloadMissing(f"{keys.uri} has lost its {gone}: {how}", _AGAIN)

    # -- deleting and claiming ----------------------------------------------------------------------

    def delete(self, ref: Reference) -> None:
        """A task can do so only as the current try, and claims the task with it. Raises `Superseded` if it is
        an older one; the payload stays."""
        keys = keys_of(ref)
        payload = [keys.head, *keys.chunks(ref.length)]
        running = attempts.current()
        if running.ti_id not in ("", ref.attempt.ti_id):
            if claimant(ref.address, running):
                as_owner(self.server, running, [keys.claim, *payload])
                return
            attempts.confirm(running)
        self.server.run(("UNLINK", *payload))

    def take_over(self, address: Address, attempt: Attempt) -> None:
        """Claim the task, if it is not claimed yet and Airflow confirms the try. Raises `Superseded`."""
        if claimant(address, attempt):
            as_owner(self.server, attempt, [claim_key(address)])

    # -- looking after ------------------------------------------------------------------------------

    def probe(self) -> list[Check]:
        try:
            info = self._info()
        except StoreError as error:
            return [Check("server", False, str(error))]
        self._policy_known = True  # the first checks judge it; the others are to run nevertheless
        return [*judge(info, self.server.line), *try_out(self, self.server)]

    def _info(self) -> dict[str, Any]:
        """What the server says of itself (INFO), at the first asking. Raises `StoreError`."""

        def ask(client: Any) -> dict[str, Any]:
            one = {"target_nodes": client.get_primaries()[0]} if hasattr(client, "get_primaries") else {}
            return dict(client.info(**one))

        return self.server.ask(ask, patience=0)


# -- chunks -----------------------------------------------------------------------------------------


def _windows(payload: Payload) -> Iterator[list[memoryview]]:
    """The payload in chunks of the one size, a few at a time; at least one window, be it empty."""
    chunks = _chunks(payload)
    yield list(itertools.islice(chunks, _WINDOW))
    while window := list(itertools.islice(chunks, _WINDOW)):
        yield window


def _chunks(payload: Payload) -> Iterator[memoryview]:
    rest = bytearray()
    for piece in payload.chunks(CHUNK):
        if not rest and piece.nbytes == CHUNK:
            yield piece
            continue
        missing = CHUNK - len(rest)
        rest += piece[:missing]
        if len(rest) == CHUNK:
            yield memoryview(rest)
            rest = bytearray(piece[missing:])
    if rest:
        yield memoryview(rest)


def _feed(digest: Any, window: list[memoryview]) -> None:
    for chunk in window:
        digest.update(chunk)


def _checked(ref: Reference, index: int, chunk: bytes) -> memoryview:
    expected = min(CHUNK, ref.length - index * CHUNK)
    if len(chunk) != expected:
        raise _cut_short(ref, index, len(chunk), expected)
    return memoryview(chunk)


def _cut_short(ref: Reference, index: int, found: int, expected: int) -> PayloadTruncated:
    what = f"Chunk {index} of {ref.uri} has {found} bytes instead of {expected}"
    return PayloadTruncated(what, f"It was not handed on. {_AGAIN}")
