"""Redis or Valkey as a store of payloads: written under a lease, safe by a claim that every commit checks.

push: lease and chunks, pipelined ─→ still the current try? ─→ one script: claim and lease checked,
      payload made current, lease released ─→ reference → row
pull: claim, head and first chunk by one command ─→ the other chunks, pipelined

Here are the bytes; what a lease and a claim mean is in leases.py and claims.py.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from .. import attempt as attempts
from .. import config
from ..address import Address, Attempt
from ..codecs import Payload
from ..errors import PayloadAltered, PayloadError, PayloadMissing, PayloadTruncated, StaleXCom, StoreError
from ..reference import Reference
from ..store import Check, Store, Stored
from .claims import STAGED, Upload, claimant, take_claim
from .client import Call, Command, Server
from .keys import CHUNK, Keys, claim_in_words, claim_text, keys_of, new_keys
from .leases import facts
from .probe import duration, how_lost, judge, refuse_eviction, try_out

log = logging.getLogger(__name__)

_WINDOW = 8  # chunks sent or asked for in one round trip: what a transfer holds in memory
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

    def put(self, address: Address, attempt: Attempt, payload: Payload) -> Stored:
        """Take the lease and stage the chunks. Nobody reads them before `commit`.

        Raises:
            LeaseTimeout: somebody else is writing this XCom.
            LeaseLost: somebody else took the lease while we were sending.
            Superseded: a later try is writing it.
            StoreError: Redis can't be used.
        """
        upload = Upload.of(self.server, address, attempt, self.lease)
        digest, length = hashlib.sha256(), 0
        try:
            with ThreadPoolExecutor(1) as hasher:  # starts its thread when the first work is given to it
                for window in _windows(payload):
                    commands: list[Command | Call] = [upload.under_lease()]
                    for chunk in window:
                        # The library sends a view by itself, and bytes together with what surrounds them.
                        data = chunk if chunk.nbytes > _SMALL else bytes(chunk)
                        name = upload.keys.chunk(length // CHUNK)
                        commands.append(("SET", name, data, "PX", STAGED * 1000))
                        length += chunk.nbytes
                    # The digest is computed while the network is waited for, unless that takes no time.
                    hashing = hasher.submit(_feed, digest, window) if len(window) > 1 else None
                    upload.go_on(*self._send(commands), self.wait)
                    if hashing is None:
                        _feed(digest, window)
                    else:
                        hashing.result()
        except BaseException:
            self.abandon(Stored(length, "", upload=upload))
            raise
        return Stored(length, digest.hexdigest(), uri=upload.keys.uri, upload=upload)

    def commit(self, stored: Stored, ref: Reference) -> None:
        """Make a staged payload current and release its lease. Raises as `Upload.commit` does."""
        stored.upload.commit(ref)

    def abandon(self, stored: Stored) -> None:
        """Give the lease back if it is ours, and delete what was put."""
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
        """The whole payload: in one round trip if it has one chunk.

        Raises:
            StaleXCom: a later try owns the task's XComs.
            PayloadError: it is gone, or not what was committed; the text says which.
            StoreError: Redis can't be used.
        """
        return next(self.fetch_many([ref]))

    def fetch_many(self, refs: Sequence[Reference]) -> Iterator[memoryview]:
        """The payloads; those that have one chunk by one round trip for all of them."""
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
        """The payload chunk by chunk, a few in memory at a time. Raises as `fetch` does."""
        yield from self._first([ref])
        yield from self._rest(ref)

    def _first(self, refs: Sequence[Reference]) -> Iterator[memoryview]:
        """The first chunk of each payload, empty if it has none, once claim and head have been looked at."""
        names = [keys_of(ref) for ref in refs]
        asked = (("MGET", keys.claim, keys.head, keys.chunk(0)) for keys in names)
        for ref, keys, found in zip(refs, names, self.server.run(*asked), strict=True):
            yield self._judged(ref, keys, *found)

    def _judged(
        self, ref: Reference, keys: Keys, claim: bytes | None, head: bytes | None, chunk: bytes | None
    ) -> memoryview:
        """The first chunk, if the payload is the task's current one and was committed as the row says."""
        if keys.owner and claim is not None and claim.split()[0].decode() != keys.owner:
            raise StaleXCom(
                f"The row was written by {claim_in_words(claim_text(ref.attempt))}, but the task's XComs "
                f"belong to {claim_in_words(claim.decode())}",
                "A try that had been replaced wrote the row in its last instant. Clear the task that pushed "
                "it, so that it runs again.",
                address=ref.address,
            )
        if head is None or (keys.owner and claim is None) or (ref.length and chunk is None):
            raise self._why_gone(ref, keys, 0)
        committed = facts(head).get("length")
        if committed != ref.length:
            raise PayloadTruncated(
                f"The payload at {keys.uri} was committed with {committed} bytes; the row says {ref.length}",
                "The row was changed. Run the task that pushed it again.",
                address=ref.address,
            )
        return _checked(ref, 0, chunk) if chunk is not None and ref.length else memoryview(b"")

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
        """The error for a payload that is not there: what of it, and how it went as far as can be told."""
        names = {"claim": keys.claim, "head": keys.head, f"chunk {index}": keys.chunk(index)}
        kinds = [kind.decode() for kind in self.server.run(*(("TYPE", name) for name in names.values()))]
        for part, kind in zip(names, kinds, strict=True):
            if kind not in ("string", "none"):
                return PayloadAltered(
                    f"The {part} of {keys.uri} has become a Redis {kind}",
                    "Another program writes below the same prefix. Give this project one of its own "
                    "(AIRFLOW__XCOM__PREFIX), and run the task again.",
                    address=ref.address,
                )
        claim, head, chunk = (kind == "string" for kind in kinds)
        if head and chunk and not claim:
            what = f"The claim on the task of {keys.uri} is gone, so a later try can't be ruled out"
        elif head and ref.length:
            what = f"Chunk {index} of {keys.uri} is gone"
        elif chunk:
            what = f"The head of {keys.uri} is gone, or it was never committed"
        else:
            what = f"There is nothing at {keys.uri} any more"
        return PayloadMissing(
            f"{what}: {self._how(keys.written)}", "Run the task that pushed it again.", address=ref.address
        )

    def _how(self, written: int) -> str:
        age, retention = time.time() - written, config.RETENTION.read()
        if age > retention:
            return (
                f"it was written {duration(age)} ago, and values are kept for {duration(retention)} "
                "(AIRFLOW__XCOM__RETENTION)"
            )
        try:
            return how_lost(self._info(), age)
        except StoreError:
            return "why can't be told, since Redis does not say"

    # -- deleting and claiming ----------------------------------------------------------------------

    def delete(self, ref: Reference) -> None:
        """Delete this payload. A task can do so only as the current try, and claims the task with it.

        Raises:
            Superseded: we are an older try; the payload stays.
            StoreError: Redis can't be used.
        """
        keys = keys_of(ref)
        payload = [keys.head, *keys.chunks(ref.length)]
        running = attempts.current()
        if running.ti_id not in ("", ref.attempt.ti_id):
            if claimant(ref.address, running):
                return take_claim(self.server, keys, ref.address, running, payload)
            attempts.confirm(ref.address, running)
        self.server.run(("UNLINK", *payload))

    def take_over(self, address: Address, attempt: Attempt) -> None:
        """Claim the task for a second or later try, after Airflow has confirmed that it is current; nobody is
        asked if the task is claimed for it already.

        Raises:
            Superseded: a still later try has begun.
            StoreError: Redis can't be used.
        """
        if me := claimant(address, attempt):
            take_claim(self.server, new_keys(address, me), address, attempt)

    # -- looking after ------------------------------------------------------------------------------

    def probe(self) -> list[Check]:
        """Ask the server what it is, then write, commit, read and delete a value in it."""
        try:
            info = self._info()
        except StoreError as error:
            return [Check("server", False, str(error))]
        self._policy_known = True  # the first checks judge it; the others are to run nevertheless
        return [*judge(info), *try_out(self, self.server)]

    def _info(self) -> dict[str, Any]:
        """What the server says of itself (INFO), at the first asking. Raises `StoreError`."""

        def ask(client: Any) -> dict[str, Any]:
            one = {"target_nodes": client.get_primaries()[0]} if hasattr(client, "get_primaries") else {}
            return dict(client.info(**one))

        return dict(self.server.ask(ask, patience=0))


# -- chunks -----------------------------------------------------------------------------------------


def _windows(payload: Payload) -> Iterator[list[memoryview]]:
    """The payload in chunks of the one size, a few at a time; at least one window, be it empty."""
    chunks = _chunks(payload)
    window = list(itertools.islice(chunks, _WINDOW))
    yield window
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
        raise PayloadTruncated(
            f"Chunk {index} of {ref.uri} has {len(chunk)} bytes instead of {expected}",
            "It was not handed on. Run the task that pushed it again.",
            address=ref.address,
        )
    return memoryview(chunk)
