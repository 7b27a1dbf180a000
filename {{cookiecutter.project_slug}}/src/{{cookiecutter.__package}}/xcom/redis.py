"""Redis or Valkey as XCom backend: written under a lease, made safe by a claim that every commit checks.

    push: lease + chunks ─ one pipeline ─→ still the current try? ─→ one script: claim and lease checked,
          payload made current, lease released ─→ reference → row
    pull: claim, head and first chunk ─ one command ─→ the other chunks, pipelined

The lease keeps two writers of one XCom apart. It protects nothing: a writer that is frozen beyond it and
wakes up late is stopped by the claim, which says what try of the task its XComs belong to (README, Redis).
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO, ClassVar
from urllib.parse import quote

from . import attempt as attempts
from . import options
from .attempt import Address, Attempt
from .backend import XComBackend
from .codecs import Options, Payload
from .errors import (
    BadReference,
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
    StoreUnreachable,
)
from .handle import human_size
from .redis_client import WAIT_TIMEOUT, Call, Script, Server, failure
from .reference import Reference
from .store import Check, Entry, Stored

log = logging.getLogger(__name__)

# Bytes in every chunk but a payload's last. A part of what a URI means, so it can't be changed later.
CHUNK = 512 * 2**10
_WINDOW = 8  # chunks sent or asked for in one round trip: what a transfer holds in memory
_SMALL = 4096  # bytes of a chunk that is cheaper to copy than to send by itself
_STAGED = 3600  # seconds after which what was staged and never committed is gone
_LARGEST = 64 * 2**30  # bytes; a row that says more was not written by us
_UNCLAIMED = "unclaimed"  # stands for the try in the name of a payload that no claim covers
_NOT_READ_YET = "?"  # no claim looks like this
_NOBODYS_LEASE = "?"  # nor any lease

# -- scripts ----------------------------------------------------------------------------------------
# A claim is "<ti_id> <try_number>". A lease is JSON; who holds it is told by its whole text. It may be
# taken over once `length` milliseconds have passed, but is kept for `grace` longer: as long as nobody
# did, its holder may go on.

_LEASE = Script("""
local claim, holder = redis.call('GET', KEYS[1]) or '', redis.call('GET', KEYS[2]) or ''
local me, lease, length, grace, renew = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local free = holder == '' or redis.call('PTTL', KEYS[2]) <= grace
if not free and holder ~= lease and me ~= '' and string.match(claim, '^%S+') == me then
  -- The task is ours: we need not wait for a try that came before us.
  local known, other = pcall(cjson.decode, holder)
  free = known and other.ti_id ~= '' and other.ti_id ~= me
end
if holder == lease or (free and renew == '0') then
  redis.call('SET', KEYS[2], lease, 'PX', length + grace)
  return {1, claim, lease}
end
return {0, claim, holder}
""")

_COMMIT = Script("""
local claim, lease = redis.call('GET', KEYS[1]) or '', redis.call('GET', KEYS[2]) or ''
local me, claim_of_mine, claim_seen, lease_of_mine = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local head, retention = ARGV[5], tonumber(ARGV[6])
if me ~= '' and string.match(claim, '^%S+') ~= me and claim ~= claim_seen then
  return {'claim', claim}
end
if redis.call('EXISTS', KEYS[3]) == 0 then  -- otherwise it is done, and only the reply was lost
  if lease ~= lease_of_mine then
    return {'lease', lease}
  end
  for i = 4, #KEYS do
    if redis.call('EXISTS', KEYS[i]) == 0 then
      return {'staged', ''}
    end
  end
end
-- Written in any case: WAIT after us counts only what its own connection has written.
redis.call('SET', KEYS[3], head, 'PX', retention)
for i = 4, #KEYS do
  redis.call('PEXPIRE', KEYS[i], retention)
end
if me ~= '' then
  redis.call('SET', KEYS[1], claim_of_mine, 'PX', math.max(retention, redis.call('PTTL', KEYS[1])))
end
if lease == lease_of_mine then
  redis.call('DEL', KEYS[2])
end
return {'done', ''}
""")

# Replaces a claim by compare-and-set on what was read, and deletes payloads that a later try has no use for.
_CLAIM = Script("""
local claim = redis.call('GET', KEYS[1]) or ''
local me, claim_of_mine, claim_seen, retention = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if string.match(claim, '^%S+') ~= me then
  if claim ~= claim_seen then
    return {'claim', claim}
  end
  redis.call('SET', KEYS[1], claim_of_mine, 'PX', math.max(retention, redis.call('PTTL', KEYS[1])))
end
for i = 2, #KEYS do
  redis.call('UNLINK', KEYS[i])
end
return {'done', ''}
""")

@dataclass
class _Upload:
    """A payload on its way: what `commit` has to know of its `put`."""

    address: Address
    attempt: Attempt
    thread: int
    lease: str
    claim_seen: str = ""


@dataclass(frozen=True)
class _Keys:
    """The keys of one payload. Those of a task instance share a hash tag: in a cluster, one server has them."""

    task: str
    key: str
    name: str

    @property
    def claim(self) -> str:
        """Which try owns the task's XComs."""
        return f"{self.task}/claim"

    @property
    def lease(self) -> str:
        """Who is writing this XCom."""
        return f"{self.task}/{self.key}/lease"

    @property
    def head(self) -> str:
        """Says that the payload is committed. Its name is the payload's URI."""
        return f"{self.task}/{self.key}/{self.name}"

    @property
    def uri(self) -> str:
        """What the reference says."""
        return f"redis:{self.head}"

    def chunks(self, length: int) -> list[str]:
        """The bytes of a payload of this length."""
        return [f"{self.head}/{index}" for index in range(-(-length // CHUNK))]

    @property
    def owner(self) -> str:
        """The try that the claim has to name; "" if it does not matter."""
        owner = self.name.rpartition("-")[0]
        return "" if owner == _UNCLAIMED else owner

    @property
    def written(self) -> int:
        """When it was put, in seconds since 1970."""
        return int(self.name.rpartition("-")[2][:8], 16)


class RedisStore:
    """Keeps payloads as chunks that expire, and knows which try a task's XComs belong to."""

    def __init__(self, conn_id: str) -> None:
        self.server = Server(conn_id)
        self._uploads: dict[str, _Upload] = {}
        self._pid = os.getpid()
        self._policy_known = False

    # -- push ---------------------------------------------------------------------------------------

    def put(self, address: Address, attempt: Attempt, payload: Payload, codec_options: Options) -> Stored:
        """Take the lease and stage the chunks. Nobody reads them before `commit`.

        Raises:
            LeaseTimeout: somebody else is writing this XCom.
            LeaseLost: somebody else took the lease while we were sending.
            StoreError: Redis can't be used.
        """
        me = _claimant(address, attempt)
        keys = _keys(address, f"{me or _UNCLAIMED}-{int(time.time()):08x}{secrets.token_hex(6)}")
        upload = self._begin(keys, address, attempt, me)
        digest, length, sent = hashlib.sha256(), 0, 0
        with ThreadPoolExecutor(1) as hasher:  # starts its thread when the first work is given to it
            for number, window in enumerate(_windows(payload)):
                commands: list[Any] = [_lease_call(keys, me, upload, renew=number > 0)]
                for chunk in window:
                    # The library sends a view by itself, and bytes together with what surrounds them.
                    data = chunk if chunk.nbytes > _SMALL else bytes(chunk)
                    commands.append(("SET", f"{keys.head}/{sent}", data, "PX", _STAGED * 1000))
                    sent, length = sent + 1, length + chunk.nbytes
                hashing = hasher.submit(_feed, digest, window) if len(window) > 1 else _feed(digest, window)
                held, claim, holder = self._send(commands)
                if number == 0:
                    upload.claim_seen = claim
                    if not held:
                        self._wait_for_lease(keys, me, upload, holder)
                elif not held:
                    raise _lost(upload, holder)
                if hashing is not None:
                    hashing.result()
        return Stored(length, digest.hexdigest(), uri=keys.uri)

    def commit(self, ref: Reference) -> None:
        """Make a staged payload current and release its lease, if both claim and lease are still ours.

        Raises:
            Superseded: a later try has begun.
            LeaseLost: somebody else has written this XCom since.
            StoreError: Redis can't be used, or fewer servers than demanded have the value.
        """
        keys = _located(ref)
        upload = self._uploads.get(keys.uri) or _Upload(ref.address, ref.attempt, 0, _NOBODYS_LEASE)
        head = {"length": ref.length, "sha256": ref.sha256, "kind": ref.kind, "written": keys.written}
        waits = self._waits()
        while True:
            call = Call(
                _COMMIT,
                [keys.claim, keys.lease, keys.head, *keys.chunks(ref.length)],
                [
                    keys.owner,
                    _claim_text(ref.attempt),
                    upload.claim_seen,
                    upload.lease,
                    json.dumps(head),
                    retention_ms(),
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
                f"This process stood still for more than {_duration(_STAGED)}, or Redis lost its data. Run the task "
                "again.",
                address=ref.address,
            )
        for (command, wanted), count in zip(waits, counts, strict=True):
            _check_count(command[0], wanted, count)
        self._uploads.pop(keys.uri, None)

    def _begin(self, keys: _Keys, address: Address, attempt: Attempt, me: str) -> _Upload:
        if self._pid != os.getpid():  # a forked child has no part in its parent's uploads
            self._uploads, self._pid = {}, os.getpid()
        thread = threading.get_ident()
        for uri, before in list(self._uploads.items()):
            if (before.thread, before.address, before.attempt) == (thread, address, attempt):
                # This very thread gave up between put and commit, so the lease is its own.
                upload = self._uploads.pop(uri)
                break
        else:
            lease = {
                "token": secrets.token_hex(8),
                "ti_id": me,
                "try_number": attempt.try_number,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            upload = _Upload(address, attempt, thread, json.dumps(lease))
        self._uploads[keys.uri] = upload
        return upload

    def _send(self, commands: list[Any]) -> tuple[bool, str, str]:
        """Send commands that begin with the lease; whether that is held, the claim, and the holder."""
        if self._policy_known or self.server.is_cluster:
            (held, claim, holder), *_ = self.server.run(*commands)
        else:
            # The first push of a process asks for the eviction policy, too: no round trip more.
            (held, claim, holder), *_, info = self.server.run(*commands, ("INFO", "memory"), last_may_fail=True)
            if isinstance(info, dict):
                _refuse_eviction(str(info.get("maxmemory_policy", "noeviction")))
            self._policy_known = True
        return bool(held), claim.decode(), holder.decode()

    def _wait_for_lease(self, keys: _Keys, me: str, upload: _Upload, holder: str) -> None:
        limit = options.number("lease_wait", 60)
        give_up, pause, held = time.monotonic() + limit, 0.02, False
        while not held:
            theirs = _json(holder).get("ti_id")
            if me and theirs and theirs != me:
                # Not a second writer of our try, but another try: Airflow knows which of us is current.
                self.take_over(upload.address, upload.attempt)
            elif (left := give_up - time.monotonic()) > 0:
                time.sleep(min(left, pause))
                pause = min(pause * 1.5, 0.5)
            else:
                raise LeaseTimeout(
                    f"Somebody else has been writing this XCom for longer than {limit:g} s: {describe_holder(holder)}",
                    "A lease that is not renewed ends by itself. If writing takes that long, raise "
                    "AIRFLOW__XCOM__LEASE_WAIT; if two tasks write the same key, give them a key each.",
                    address=upload.address,
                )
            held, upload.claim_seen, holder = self._send([_lease_call(keys, me, upload, renew=False)])

    def _waits(self) -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
        """The commands that wait for replicas and append-only files, each with the counts that it must give."""
        replicas, files = options.integer("wait_replicas", 0), options.integer("wait_aof", 0)
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
        if ref.length <= CHUNK:
            return next(self.stream(ref), memoryview(b""))
        whole, place = bytearray(), 0
        for piece in self.stream(ref):
            whole = whole or bytearray(ref.length)  # not before the head has confirmed that length
            whole[place : place + piece.nbytes] = piece
            place += piece.nbytes
        return memoryview(whole).toreadonly()

    def stream(self, ref: Reference) -> Iterator[memoryview]:
        """The payload chunk by chunk, a few in memory at a time. Raises as `fetch` does."""
        keys = _located(ref)
        ((claim, head, chunk),) = self.server.run(("MGET", keys.claim, keys.head, f"{keys.head}/0"))
        if keys.owner and claim is not None and claim.split()[0].decode() != keys.owner:
            raise StaleXCom(
                f"The row was written by try {ref.attempt.try_number} (task instance {ref.attempt.ti_id}), but the "
                f"task's XComs belong to {_claim_in_words(claim)}",
                "A try that had been replaced wrote the row in its last instant. Clear the task that pushed it, so "
                "that it runs again.",
                address=ref.address,
            )
        if head is None or (keys.owner and claim is None) or (ref.length and chunk is None):
            raise self._why_gone(ref, keys, 0)
        committed = _json(head).get("length")
        if committed != ref.length:
            raise PayloadTruncated(
                f"The payload at {keys.uri} was committed with {committed} bytes, and the row says {ref.length}",
                "The row was changed. Run the task that pushed it again.",
                address=ref.address,
            )
        if not ref.length:
            return
        yield _checked(ref, 0, chunk)
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

    def _why_gone(self, ref: Reference, keys: _Keys, index: int) -> PayloadError:
        """The error for a payload that is not there: what of it is gone, and how it went, as far as can be told."""
        names = {"claim": keys.claim, "head": keys.head, f"chunk {index}": f"{keys.head}/{index}"}
        kinds = [kind.decode() for kind in self.server.run(*(("TYPE", name) for name in names.values()))]
        for part, kind in zip(names, kinds, strict=True):
            if kind not in ("string", "none"):
                return PayloadAltered(
                    f"The {part} of {keys.uri} has become a Redis {kind}",
                    "Another program writes below the same prefix. Give this project an AIRFLOW__XCOM__PREFIX of its "
                    "own, and run the task again.",
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
            f"{what}: {self._how_lost(keys.written)}", "Run the task that pushed it again.", address=ref.address
        )

    def _how_lost(self, written: int) -> str:
        age, retention = time.time() - written, retention_ms() / 1000
        if age > retention:
            return (
                f"it was written {_duration(age)} ago, and values are kept for {_duration(retention)} "
                "(AIRFLOW__XCOM__RETENTION)"
            )
        try:
            info = self._info(patience=0)
        except StoreError:
            return "why can't be told, since Redis does not say"
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction" and info.get("evicted_keys"):
            return (
                f"it was probably evicted, as {info['evicted_keys']} keys were under the maxmemory-policy {policy} "
                "(set noeviction)"
            )
        uptime = info.get("uptime_in_seconds", age)
        if uptime < age - 1:
            return f"Redis was restarted {_duration(uptime)} ago and did not keep it (turn on appendonly)"
        return "it was deleted by a later try, or by hand"

    # -- deleting and claiming ----------------------------------------------------------------------

    def delete(self, ref: Reference) -> None:
        """Delete this payload. A task can do so only as the current try, and claims the task's XComs with it.

        Raises:
            Superseded: we are an older try; the payload stays.
            StoreError: Redis can't be used.
        """
        keys = _located(ref)
        payload = [keys.head, *keys.chunks(ref.length)]
        running = attempts.current()
        if running.ti_id not in ("", ref.attempt.ti_id):
            if _claimant(ref.address, running):
                self._claim(keys, ref.address, running, payload)
                return
            attempts.confirm(ref.address, running)
        self.server.run(("UNLINK", *payload))

    def take_over(self, address: Address, attempt: Attempt) -> None:
        """Claim the task's XComs for a second or later try, after Airflow has confirmed that it is current.

        Raises:
            Superseded: a still later try has begun.
            StoreError: Redis can't be used.
        """
        if _claimant(address, attempt):
            self._claim(_keys(address, ""), address, attempt, [])

    def _claim(self, keys: _Keys, address: Address, attempt: Attempt, payload: list[str]) -> None:
        me, seen = _claimant(address, attempt), _NOT_READ_YET
        while True:
            ((outcome, found),) = self.server.run(
                Call(_CLAIM, [keys.claim, *payload], [me, _claim_text(attempt), seen, retention_ms()])
            )
            if outcome == b"done":
                return
            attempts.confirm(address, attempt)
            seen = found.decode()

    # -- looking after ------------------------------------------------------------------------------

    def scan(self) -> Iterator[Entry]:
        """All committed payloads below the prefix. What is only staged expires by itself within the hour."""
        below = re.sub(r"([*?\[\]^\\])", r"\\\1", prefix())
        heads = f"{below}/{{*}}/*-{'[0-9a-f]' * 20}"  # nothing else ends like a payload's name
        batch: list[str] = []
        try:
            for name in self.server.client.scan_iter(match=heads, count=1000):
                batch.append(name.decode())
                if len(batch) == 500:
                    yield from self._entries(batch)
                    batch = []
        except Exception as error:
            raise failure(error, self.server.conn_id) from error
        yield from self._entries(batch)

    def _entries(self, names: list[str]) -> Iterator[Entry]:
        heads = self.server.run(*(("GET", name) for name in names)) if names else []
        for name, head in zip(names, heads, strict=True):
            if head is not None:  # it may have gone while we looked
                facts = _json(head)
                yield Entry(f"redis:{name}", int(facts.get("length", 0)), float(facts.get("written", 0)))

    def probe(self) -> list[Check]:
        """Ask the server what it is, then write, commit, read and delete a value in it."""
        try:
            info = self._info(patience=0)
        except StoreError as error:
            return [Check("server", False, str(error))]
        self._policy_known = True  # the first checks judge it; the others are to run nevertheless
        return [*_judge(info), *self._try_out()]

    def _try_out(self) -> Iterator[Check]:
        address, writer = Address("xcom-probe", secrets.token_hex(8), "probe"), attempts.NOBODY
        body = secrets.token_bytes(CHUNK + 1)
        payload = Payload("bytes", "bytes", "application/octet-stream", ".bin", [body])
        step = "write"
        try:
            stored = self.put(address, writer, payload, Options())
            yield Check(step, True, "a lease and two chunks can be written")
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
            counted = ", and ".join(" ".join(command[:-1]) for command, _ in self._waits())
            yield Check(step, True, "scripts are allowed" + (f", {counted} was fulfilled" if counted else ""))
            step = "read"
            found = self.fetch(ref) == body
            yield Check(step, found, "it can be read" if found else "what was read is not what was written")
            step = "delete"
            self.delete(ref)
            yield Check(step, True, "it can be deleted")
        except StoreError as error:
            yield Check(step, False, str(error))

    def _info(self, *, patience: float) -> dict[str, Any]:
        """What the server says of itself (INFO). Raises `StoreError`."""

        def ask(client: Any) -> dict[str, Any]:
            return dict(client.info(target_nodes=client.get_primaries()[0]) if clustered else client.info())

        clustered = self.server.ask(lambda client: hasattr(client, "get_primaries"), patience=patience)
        return dict(self.server.ask(ask, patience=patience))


# -- the backend ------------------------------------------------------------------------------------


@functools.cache
def _store(conn_id: str) -> RedisStore:
    return RedisStore(conn_id)


def is_current_backend() -> bool:
    """Whether this project hands XComs over through Redis."""
    from airflow.sdk.execution_time.xcom import XCom

    return issubclass(XCom, RedisXComBackend)


def store_for(scheme: str) -> RedisStore:
    """The store for payloads in Redis, be it the backend or the one before it.

    Raises:
        ImportError: the libraries for Redis are not installed.
        ForeignReference: Redis is not the backend, and no connection is set for what was stored in it.
    """
    import airflow.providers.redis.hooks.redis  # noqa: F401

    if is_current_backend():
        return RedisXComBackend.store()
    conn_id = options.text("former_conn_id")
    if not conn_id:
        raise ForeignReference(
            "The value was stored in Redis, which is not the backend now, and no connection to it is set",
            "Set AIRFLOW__XCOM__FORMER_CONN_ID in config/airflow.env to the Airflow connection that it had.",
        )
    return _store(conn_id)


class RedisXComBackend(XComBackend):
    """XComs in Redis or Valkey. AIRFLOW__CORE__XCOM_BACKEND=<package>.xcom.redis.RedisXComBackend"""

    default_inline_limit: ClassVar[int | None] = 0
    default_max_size: ClassVar[int] = 256 * 2**20
    too_large_advice: ClassVar[str] = (
        "Redis keeps everything in memory. Keep large values in an object store: `make switch BACKEND=s3`. Or raise "
        "AIRFLOW__XCOM__MAX_SIZE in config/airflow.env if your Redis has the memory."
    )

    @classmethod
    def store(cls) -> RedisStore:
        """The store behind AIRFLOW__XCOM__CONN_ID."""
        return _store(options.text("conn_id", "redis_default"))


# -- names ------------------------------------------------------------------------------------------


def prefix() -> str:
    """What every key begins with."""
    return quoted(options.text("prefix", "xcom"))


def quoted(text: str) -> str:
    """Text as a part of a key: legible, without "/" and without the braces that mark a hash tag."""
    return quote(text, safe=":+@,= ")


def _keys(address: Address, name: str) -> _Keys:
    task = "/".join(quoted(part) for part in (address.dag_id, address.run_id, address.task_id))
    return _Keys(f"{prefix()}/{{{task}/{address.map_index}}}", quoted(address.key), name)


def _located(ref: Reference) -> _Keys:
    """The keys of a reference's payload. Raises `BadReference` if it is not where we would have put it."""
    name = (ref.uri or "").rpartition("/")[2]
    keys = _keys(ref.address, name)
    owners = (_UNCLAIMED, quoted(ref.attempt.ti_id))
    if (
        ref.uri != keys.uri
        or not re.fullmatch(r"[^/{}]+-[0-9a-f]{20}", name)
        or name.rpartition("-")[0] not in owners
        or ref.length > _LARGEST
    ):
        raise BadReference(
            f"The row points to a place in Redis that does not belong to it, or not below the prefix {prefix()!r}",
            "It was changed by hand, or written under another AIRFLOW__XCOM__PREFIX. Run the task that pushed it "
            "again.",
            address=ref.address,
        )
    return keys


def _claimant(address: Address, attempt: Attempt) -> str:
    """The try in whose name a claim is made; "" where none is.

    Outside a task there is no try, Airflow 3.4 keeps the rows of each try apart, and a task that writes
    another task's XCom must not take that task's other XComs from it.
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
        return False  # no code of a task: Airflow itself handles the task's own
    index = -1 if ti.map_index is None else ti.map_index
    return (ti.dag_id, ti.run_id, ti.task_id, index) != (
        address.dag_id,
        address.run_id,
        address.task_id,
        address.map_index,
    )


def _claim_text(attempt: Attempt) -> str:
    return f"{quoted(attempt.ti_id)} {attempt.try_number}"


def _claim_in_words(claim: bytes) -> str:
    ti_id, _, number = claim.decode().partition(" ")
    return f"try {number} (task instance {ti_id})"


# -- leases and chunks ------------------------------------------------------------------------------


def _lease_call(keys: _Keys, me: str, upload: _Upload, *, renew: bool) -> Call:
    length = int(options.number("lease", 30, minimum=0.1) * 1000)
    return Call(_LEASE, [keys.claim, keys.lease], [me, upload.lease, length, _STAGED * 1000, int(renew)])


def describe_holder(lease: str) -> str:
    """Who holds a lease, for people."""
    facts = _json(lease)
    task = f"{facts['task']} " if facts.get("task") else ""
    number = f"try {facts['try_number']} " if facts.get("try_number") else ""
    return (
        f"{task}{number}in process {facts.get('pid', '?')} on host {facts.get('host', '?')}, since "
        f"{facts.get('since', 'an unknown time')}"
    )


def _lost(upload: _Upload, holder: str) -> LeaseLost:
    return LeaseLost(
        "While this XCom was being written, its lease ran out and was taken"
        + (f" by {describe_holder(holder)}" if holder else ", and it has been written by somebody else"),
        "This process stood still for longer than AIRFLOW__XCOM__LEASE, or two tasks write the same key. Nothing of "
        "this value was kept.",
        address=upload.address,
    )


def _windows(payload: Payload) -> Iterator[list[memoryview]]:
    """The payload in chunks of the one size, a few at a time; at least one window, be it empty."""
    window: list[memoryview] = []
    rest = bytearray()
    full = False
    for piece in payload.chunks(CHUNK):
        while piece.nbytes:
            if not rest and piece.nbytes == CHUNK:
                window.append(piece)
                break
            taken = min(CHUNK - len(rest), piece.nbytes)
            rest += piece[:taken]
            piece = piece[taken:]
            if len(rest) == CHUNK:
                window.append(memoryview(rest))
                rest = bytearray()
        if len(window) == _WINDOW:
            yield window
            window, full = [], True
    if rest:
        window.append(memoryview(rest))
    if window or not full:
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


# -- what the server says of itself -----------------------------------------------------------------


def _refuse_eviction(policy: str) -> None:
    """Raise or warn, as configured, if the server may throw away what was handed to it."""
    if policy == "noeviction":
        return
    what = f"Redis may evict XComs when its memory is full: its maxmemory-policy is {policy}"
    advice = "Set it to noeviction (CONFIG SET maxmemory-policy noeviction, and in the server's configuration)."
    if options.choice("eviction", "refuse", ("refuse", "warn")) == "refuse":
        raise StoreMisconfigured(
            what, f"{advice} AIRFLOW__XCOM__EVICTION=warn accepts it: tasks then fail whose input was evicted."
        )
    log.warning("%s. %s", what, advice)


def _check_count(command: str, wanted: tuple[int, ...], counted: Any) -> None:
    counts = tuple(counted) if isinstance(counted, list | tuple) else (counted,)
    if any(count < want for count, want in zip(counts, wanted, strict=True)):
        raise StoreUnreachable(
            f"The value was written, but only {_numbers(counts)} of {_numbers(wanted)} demanded copies were confirmed "
            f"within {WAIT_TIMEOUT:g} s ({command})",
            "Bring the replicas back or demand fewer (AIRFLOW__XCOM__WAIT_REPLICAS, AIRFLOW__XCOM__WAIT_AOF), then run "
            "the task again.",
        )


def _numbers(counts: tuple[int, ...]) -> str:
    return " + ".join(str(count) for count in counts)


def _judge(info: dict[str, Any]) -> Iterator[Check]:
    """What the server says of itself, as checks."""
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version", "0"))
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    recent = numbers >= (6, 2)
    yield Check("server", recent, f"{name} {version}" + ("" if recent else ": Redis 6.2 or newer is needed"))
    primary = info.get("role") == "master"
    yield Check(
        "role", primary, "primary" if primary else f"{info.get('role')}: point the connection to the primary"
    )
    try:
        policy = str(info.get("maxmemory_policy", "unknown"))
        _refuse_eviction(policy)
        accepted = "" if policy == "noeviction" else ", accepted by AIRFLOW__XCOM__EVICTION"
        yield Check("eviction", True, f"maxmemory-policy {policy}{accepted}")
    except StoreError as error:
        yield Check("eviction", False, str(error))
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    yield Check("memory", True, f"{human_size(used)} used of {human_size(limit) if limit else 'no set limit'}")
    appends = bool(info.get("aof_enabled"))
    healthy = info.get("aof_last_write_status", "ok") == "ok" and info.get("rdb_last_bgsave_status", "ok") == "ok"
    kept = "append-only file" if appends else "no append-only file: a restart may lose XComs"
    yield Check("persistence", healthy, kept if healthy else "Redis can't save its data: look into its log")
    clustered = bool(info.get("cluster_enabled"))
    yield Check("cluster", True, "cluster" if clustered else "one server")


def retention_ms() -> int:
    """Milliseconds that payloads and claims are kept."""
    return int(options.number("retention", 7 * 86400, minimum=1) * 1000)


def _duration(seconds: float) -> str:
    """A time span for people: "7 days", "90 minutes"."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _json(text: str | bytes) -> dict[str, Any]:
    """A JSON object; empty if it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
