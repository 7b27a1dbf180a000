"""Redis or Valkey as XCom backend: written under a lease, made safe by a claim that every commit checks.

push: lease and chunks, pipelined ─→ still the current try? ─→ one script: claim and lease checked,
      payload made current, lease released ─→ reference → row
pull: claim, head and first chunk by one command ─→ the other chunks, pipelined

A lease keeps two writers of one XCom apart, and protects nothing: a writer that is frozen beyond it and
wakes up late is stopped by the claim, which says to which try of a task its XComs belong.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO, ClassVar

from .. import attempt as attempts
from .. import config
from ..address import Address, Attempt
from ..codecs import Options, Payload
from ..errors import (
    ForeignReference,
    LeaseLost,
    LeaseTimeout,
    PayloadAltered,
    PayloadError,
    PayloadMissing,
    PayloadTruncated,
    StaleXCom,
    StoreError,
    StoreMisconfigured,
)
from .client import WAIT_TIMEOUT, Call, Server
from .keys import CHUNK, HEADS, Keys, claim_in_words, claim_text, keys_of, new_keys, prefix, quoted
from .probe import duration, how_lost, judge, refuse_eviction, refuse_too_few
from .scripts import CLAIM, COMMIT, LEASE
from ..reference import Reference
from ..store import Check, Entry, Stored

_WINDOW = 8  # chunks sent or asked for in one round trip: what a transfer holds in memory
_STAGED = 3600  # seconds after which what was staged and never committed is gone
_SMALL = 4096  # bytes of a chunk that is cheaper to copy than to send by itself
_NEVER_SEEN = "?"  # no claim and no lease looks like this


@dataclass(frozen=True)
class _Settings:
    """The options of section [xcom] for Redis, read once: looking for one that is not set takes 30 µs."""

    lease_ms: int
    lease_wait: float
    retention_ms: int
    replicas: int
    files: int

    @classmethod
    def read(cls) -> _Settings:
        """As Airflow has them now. Raises `BadOption`."""
        return cls(
            lease_ms=int(config.number("lease", 30, minimum=0.1) * 1000),
            lease_wait=config.number("lease_wait", 60),
            retention_ms=retention_ms(),
            replicas=config.integer("wait_replicas", 0),
            files=config.integer("wait_aof", 0),
        )


@dataclass
class _Upload:
    """A payload on its way: what `commit` has to know of its `put`."""

    keys: Keys
    address: Address
    attempt: Attempt
    thread: int = 0
    lease: str = _NEVER_SEEN
    claim_seen: str = _NEVER_SEEN


class RedisStore:
    """Keeps payloads as chunks that expire, and knows to which try a task's XComs belong."""

    def __init__(self, conn_id: str) -> None:
        self.server = Server(conn_id)
        self._uploads: dict[str, _Upload] = {}
        self._pid = os.getpid()
        self._policy_known = False

    @functools.cached_property
    def _settings(self) -> _Settings:
        return _Settings.read()

    # -- push ---------------------------------------------------------------------------------------

    def put(self, address: Address, attempt: Attempt, payload: Payload, codec_options: Options) -> Stored:
        """Take the lease and stage the chunks. Nobody reads them before `commit`.

        Raises:
            LeaseTimeout: somebody else is writing this XCom.
            LeaseLost: somebody else took the lease while we were sending.
            StoreError: Redis can't be used.
        """
        me = _claimant(address, attempt)
        keys = new_keys(address, me)
        upload = self._begin(keys, address, attempt, me)
        digest, length, sent = hashlib.sha256(), 0, 0
        with ThreadPoolExecutor(1) as hasher:  # starts its thread when the first work is given to it
            for number, window in enumerate(_windows(payload)):
                commands: list[Any] = [self._lease(me, upload, "renew" if number else "take")]
                for chunk in window:
                    # The library sends a view by itself, and bytes together with what surrounds them.
                    data = chunk if chunk.nbytes > _SMALL else bytes(chunk)
                    commands.append(("SET", f"{keys.head}/{sent}", data, "PX", _STAGED * 1000))
                    sent, length = sent + 1, length + chunk.nbytes
                # The digest is computed while the network is waited for, unless that takes no time.
                hashing = hasher.submit(_feed, digest, window) if len(window) > 1 else None
                held, claim, holder = self._send(commands)
                if number == 0:
                    upload.claim_seen = claim
                    if not held:
                        self._wait_for_lease(me, upload, holder)
                elif not held:
                    raise _lost(upload, holder)
                if hashing is None:
                    _feed(digest, window)
                else:
                    hashing.result()
        return Stored(length, digest.hexdigest(), uri=keys.uri)

    def commit(self, ref: Reference) -> None:
        """Make a staged payload current and release its lease, if both claim and lease are still ours.

        Raises:
            Superseded: a later try has begun.
            LeaseLost: somebody else has written this XCom since.
            PayloadMissing: what was staged is gone.
            StoreError: Redis can't be used, or fewer servers than demanded have the value.
        """
        upload = self._uploads.get(ref.uri or "") or _Upload(keys_of(ref), ref.address, ref.attempt)
        keys = upload.keys
        head = {"length": ref.length, "sha256": ref.sha256, "kind": ref.kind, "written": keys.written}
        waits = self._waits()
        while True:
            call = Call(
                COMMIT,
                [keys.claim, keys.lease, keys.head, *keys.chunks(ref.length)],
                [
                    keys.owner,
                    claim_text(ref.attempt),
                    upload.claim_seen,
                    upload.lease,
                    json.dumps(head),
                    self._settings.retention_ms,
                ],
            )
            (outcome, found), *counts = self.server.run(call, *(command for command, _ in waits))
            if outcome != b"claim":
                break
            # Another try has claimed the task since we looked. Only Airflow knows which of us is current.
            attempts.confirm(ref.address, ref.attempt)
            upload.claim_seen = found.decode()
        if outcome == b"lease":
            raise _lost(upload, found.decode())
        if outcome == b"staged":
            raise PayloadMissing(
                f"The chunks of {keys.uri} were gone before they could be committed",
                f"This process stood still for more than {duration(_STAGED)}, or Redis lost its data. Run "
                "the task again.",
                address=ref.address,
            )
        for (command, wanted), count in zip(waits, counts, strict=True):
            refuse_too_few(command, wanted, count)
        self._uploads.pop(keys.uri, None)

    def _begin(self, keys: Keys, address: Address, attempt: Attempt, me: str) -> _Upload:
        if self._pid != os.getpid():  # a forked child has no part in its parent's uploads
            self._uploads, self._pid = {}, os.getpid()
        thread = threading.get_ident()
        for uri, before in list(self._uploads.items()):
            if (before.thread, before.address, before.attempt) == (thread, address, attempt):
                # This very thread gave up between put and commit, so the lease is its own.
                upload = self._uploads.pop(uri)
                upload.keys = keys
                break
        else:
            upload = _Upload(keys, address, attempt, thread, json.dumps({"ti_id": me, **identity(attempt)}))
        self._uploads[keys.uri] = upload
        return upload

    def _lease(self, me: str, upload: _Upload, how: str) -> Call:
        times = (self._settings.lease_ms, _STAGED * 1000)
        return Call(LEASE, [upload.keys.claim, upload.keys.lease], [me, upload.lease, *times, how])

    def _send(self, commands: list[Any]) -> tuple[bool, str, str]:
        """Send commands that begin with the lease; whether that is held, the claim, and the holder."""
        if self._policy_known or self.server.is_cluster:
            (held, claim, holder), *_ = self.server.run(*commands)
        else:
            # The first push of a process asks for the eviction policy, too: no round trip more.
            info = ("INFO", "memory")
            (held, claim, holder), *_, said = self.server.run(*commands, info, last_may_fail=True)
            if isinstance(said, dict):
                refuse_eviction(str(said.get("maxmemory_policy", "noeviction")))
            self._policy_known = True
        return bool(held), claim.decode(), holder.decode()

    def _wait_for_lease(self, me: str, upload: _Upload, holder: str) -> None:
        limit = self._settings.lease_wait
        give_up, pause, asked, held = time.monotonic() + limit, 0.02, "", False
        while not held:
            theirs, how = _json(holder).get("ti_id", ""), "take"
            if me and theirs not in ("", me, asked):
                # Not a second writer of our try, but another try: Airflow knows which of us is current.
                attempts.confirm(upload.address, upload.attempt)
                self.take_over(upload.address, upload.attempt)
                asked, how = theirs, "seize"
            elif (left := give_up - time.monotonic()) > 0:
                time.sleep(min(left, pause))
                pause = min(pause * 1.5, 0.5)
            else:
                raise LeaseTimeout(
                    f"Somebody else has been writing this XCom for over {limit:g} s: {in_words(holder)}",
                    "A lease that is not renewed ends by itself. If writing takes that long, raise "
                    "AIRFLOW__XCOM__LEASE_WAIT; if two tasks write the same key, give them a key each.",
                    address=upload.address,
                )
            held, upload.claim_seen, holder = self._send([self._lease(me, upload, how)])

    def _waits(self) -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
        """The commands that wait for replicas and append-only files, each with the counts it has to give."""
        replicas, files = self._settings.replicas, self._settings.files
        timeout = str(int(WAIT_TIMEOUT * 1000))
        waits: list[tuple[tuple[str, ...], tuple[int, ...]]] = []
        if replicas:
            waits.append((("WAIT", str(replicas), timeout), (replicas,)))
        if files:
            waits.append((("WAITAOF", "1", str(files - 1), timeout), (1, files - 1)))
        if waits and self.server.is_cluster:
            raise StoreMisconfigured(
                "In a Redis cluster it can't be asked reliably how many replicas have a value",
                "Leave AIRFLOW__XCOM__WAIT_REPLICAS and AIRFLOW__XCOM__WAIT_AOF at 0.",
            )
        return waits

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
        asked = (("MGET", keys.claim, keys.head, f"{keys.head}/0") for keys in names)
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
        committed = _json(head).get("length")
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

    def reader(self, ref: Reference) -> BinaryIO | None:
        """None: what Redis holds is soon fetched whole."""
        return None

    def _why_gone(self, ref: Reference, keys: Keys, index: int) -> PayloadError:
        """The error for a payload that is not there: what of it, and how it went as far as can be told."""
        names = {"claim": keys.claim, "head": keys.head, f"chunk {index}": f"{keys.head}/{index}"}
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
        age, retention = time.time() - written, self._settings.retention_ms / 1000
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
            if _claimant(ref.address, running):
                self._claim(keys, ref.address, running, payload)
                return
            attempts.confirm(ref.address, running)
        self.server.run(("UNLINK", *payload))

    def take_over(self, address: Address, attempt: Attempt) -> None:
        """Claim the task for a second or later try, after Airflow has confirmed that it is current; nobody is
        asked if the task is claimed for it already.

        Raises:
            Superseded: a still later try has begun.
            StoreError: Redis can't be used.
        """
        if me := _claimant(address, attempt):
            self._claim(new_keys(address, me), address, attempt, [])

    def _claim(self, keys: Keys, address: Address, attempt: Attempt, payload: list[str]) -> None:
        me, seen = quoted(attempt.ti_id), _NEVER_SEEN
        while True:
            call = Call(
                CLAIM, [keys.claim, *payload], [me, claim_text(attempt), seen, self._settings.retention_ms]
            )
            ((outcome, found),) = self.server.run(call)
            if outcome == b"done":
                return
            attempts.confirm(address, attempt)
            seen = found.decode()

    # -- looking after ------------------------------------------------------------------------------

    def scan(self) -> Iterator[Entry]:
        """All committed payloads below the prefix. What is only staged expires within the hour."""
        heads = re.sub(r"([*?\[\]^\\])", r"\\\1", prefix()) + HEADS
        names = self.server.ask(lambda client: list(client.scan_iter(match=heads, count=1000)))
        for start in range(0, len(names), 500):
            batch = names[start : start + 500]
            for name, head in zip(batch, self.server.run(*(("GET", name) for name in batch)), strict=True):
                if head is not None:  # it may have gone while we looked
                    facts = _json(head)
                    yield Entry(f"redis:{name.decode()}", facts.get("length", 0), facts.get("written", 0))

    def probe(self) -> list[Check]:
        """Ask the server what it is, then write, commit, read and delete a value in it."""
        try:
            info = self._info()
        except StoreError as error:
            return [Check("server", False, str(error))]
        self._policy_known = True  # the first checks judge it; the others are to run nevertheless
        return [*judge(info), *self._try_out()]

    def _try_out(self) -> Iterator[Check]:
        address, writer = Address("xcom-probe", secrets.token_hex(8), "probe"), attempts.NOBODY
        body = secrets.token_bytes(CHUNK + 1)
        payload = Payload("bytes", "bytes", "application/octet-stream", ".bin", [body])
        step = "write"
        try:
            stored = self.put(address, writer, payload, Options())
            yield Check(step, True, "a lease and two chunks were written")
            step = "commit"
            ref = Reference(
                address,
                writer,
                payload.codec,
                payload.kind,
                payload.media_type,
                stored.length,
                stored.sha256,
                uri=stored.uri,
            )
            self.commit(ref)
            waited = "".join(f", {' '.join(command[:-1])} was fulfilled" for command, _ in self._waits())
            yield Check(step, True, f"scripts are allowed{waited}")
            step = "read"
            same = self.fetch(ref) == body
            yield Check(step, same, "it was read" if same else "what was read is not what was written")
            step = "delete"
            self.delete(ref)
            yield Check(step, True, "it was deleted")
        except StoreError as error:
            yield Check(step, False, str(error))

    def _info(self) -> dict[str, Any]:
        """What the server says of itself (INFO), at the first asking. Raises `StoreError`."""

        def ask(client: Any) -> dict[str, Any]:
            one = {"target_nodes": client.get_primaries()[0]} if hasattr(client, "get_primaries") else {}
            return dict(client.info(**one))

        return dict(self.server.ask(ask, patience=0))


# -- whose, and how long ----------------------------------------------------------------------------


def _claimant(address: Address, attempt: Attempt) -> str:
    """The try in whose name a claim is made; "" where none is.

    Outside a task there is no try, Airflow 3.4 keeps the rows of each try apart, and a task that writes
    another task's XCom must not take that task's own XComs from it.
    """
    if not attempt.ti_id or attempts.rows_are_kept_per_try() or _is_another_tasks(address):
        return ""
    return quoted(attempt.ti_id)


def _is_another_tasks(address: Address) -> bool:
    """Whether the code of a running task handles another task's XCom."""
    from airflow.sdk import get_current_context

    try:
        ti: Any = get_current_context()["ti"]
    except (RuntimeError, KeyError):
        return False  # not a task's code, but Airflow itself, which handles the task's own
    index = -1 if ti.map_index is None else ti.map_index
    own = (ti.dag_id, ti.run_id, ti.task_id, index)
    return own != (address.dag_id, address.run_id, address.task_id, address.map_index)


def retention_ms() -> int:
    """Milliseconds that payloads and claims are kept."""
    return int(config.number("retention", 7 * 86400, minimum=1) * 1000)


def identity(attempt: Attempt) -> dict[str, Any]:
    """What is written into a lease: a token that nobody else has, and who we are, for people."""
    return {
        "token": secrets.token_hex(8),
        "try_number": attempt.try_number,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def in_words(lease: str) -> str:
    """Who holds a lease, for people."""
    facts = _json(lease)
    task = f"{facts['task']}, " if facts.get("task") else ""
    number = f"try {facts['try_number']}, " if facts.get("try_number") else ""
    return (
        f"{task}{number}process {facts.get('pid', '?')} on host {facts.get('host', '?')}, since "
        f"{facts.get('since', 'an unknown time')}"
    )


def _lost(upload: _Upload, holder: str) -> LeaseLost:
    taken = f"taken over: {in_words(holder)}" if holder else "taken by somebody who has finished"
    return LeaseLost(
        f"While this XCom was being written, its lease ran out and was {taken}",
        "This process stood still for longer than AIRFLOW__XCOM__LEASE, or two tasks write the same key. "
        "Nothing of this value was kept.",
        address=upload.address,
    )


# -- chunks -----------------------------------------------------------------------------------------


def _windows(payload: Payload) -> Iterator[list[memoryview]]:
    """The payload in chunks of the one size, a few at a time; at least one window, be it empty."""
    window: list[memoryview] = []
    rest, any_yet = bytearray(), False
    for piece in payload.chunks(CHUNK):
        if not rest and piece.nbytes == CHUNK:
            window.append(piece)
        else:
            missing = CHUNK - len(rest)
            rest += piece[:missing]
            if len(rest) == CHUNK:
                window.append(memoryview(rest))
                rest = bytearray(piece[missing:])
        if len(window) == _WINDOW:
            yield window
            window, any_yet = [], True
    if rest:
        window.append(memoryview(rest))
    if window or not any_yet:
        yield window


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


def _json(text: str | bytes) -> dict[str, Any]:
    """A JSON object; empty if it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
