"""An object store as XCom backend: S3 and what speaks its language, Google Cloud Storage, Azure, a folder.

Payloads are immutable objects, each at a path of its own that a person can read and other tools can open (see
names.py). Nothing here needs conditional requests, listing or a bucket of its own, so any S3 server will do.
"""

from __future__ import annotations

import io
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, TypeVar, cast

from ..address import Address, Attempt
from ..codecs import Payload
from ..content import Measured, check_length
from ..errors import BadOption, BadReference, StoreUnreachable, UnsupportedValue
from ..reference import Reference
from ..store import Check, Store, Stored
from .client import Client
from .location import SCHEMES, Location
from .login import client_of
from .names import KEY_LIMIT, is_own, metadata, object_name

log = logging.getLogger(__name__)
T = TypeVar("T")

_MIB = 2**20
_ONE_REQUEST = 32 * _MIB  # up to here one request for the whole measures faster than parts
_PART = 8 * _MIB
_IN_FLIGHT = 32 * _MIB  # bytes of parts under way at once: what a large file takes of memory
_PARTS = 10_000  # S3 allows no more
_AT_ONCE = 16  # requests under way when a sequence is pulled
_PIECE = _MIB  # bytes that a stream hands on at a time; larger pieces measure slower
_PAUSES = (0.2, 1.0, 3.0)  # seconds before what obstore does not repeat by itself

_NAME = re.compile(r"(?!\.+(?:/|$))[\w.@-]+(?:/(?!\.+(?:/|$))[\w.@-]+)*", re.ASCII)


class S3Store(Store):
    """Keeps payloads below AIRFLOW__XCOM__URL, and reads those below AIRFLOW__XCOM__FORMER_URL too."""

    schemes = SCHEMES

    def put(self, address: Address, attempt: Attempt, payload: Payload) -> Stored:
        client = client_of(_here())
        name = object_name(client.location, address, attempt, payload)
        told = {
            "trynumber": str(attempt.try_number),
            "taskinstance": attempt.ti_id,
            **metadata(name, address),
        }
        with client.explained("write to"):
            length, sha256 = _persistently(lambda: _upload(client, name, told, payload), _passes)
        return Stored(length, sha256, uri=f"{client.location.url}/{name}")

    def abandon(self, stored: Stored) -> None:
        try:
            client, name = _below(stored.uri)
            client.delete(name)
        except Exception as error:
            log.warning("A payload that no XCom refers to was left behind: %s", error)

    def fetch(self, ref: Reference) -> memoryview:
        """By one request. Where its body breaks off, obstore goes on from there by a range."""
        client, name = _find(ref)
        with client.explained("read", ref.where):
            return memoryview(_open(client, name, ref).bytes())

    def fetch_many(self, refs: Sequence[Reference]) -> Iterator[memoryview]:
        """By one request each, several of them at once."""
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="xcom-pull") as pool:
            yield from pool.map(self.fetch, refs)

    def stream(self, ref: Reference) -> Iterator[memoryview]:
        client, name = _find(ref)
        with client.explained("read", ref.where):
            for piece in _open(client, name, ref).stream(min_chunk_size=_PIECE):
                yield memoryview(piece)

    def part(self, ref: Reference, start: int, end: int) -> memoryview | None:
        """By one ranged request; None if the server is known to answer these wrongly."""
        client, name = _find(ref)
        return client.read_range(name, start, end, ref.where) if client.ranges else None

    def reader(self, ref: Reference) -> BinaryIO | None:
        """By ranged requests; None if the server is known to answer them wrongly."""
        client, name = _find(ref)
        return cast("BinaryIO", RangeReader(self, ref, client, name)) if client.ranges else None

    def delete(self, ref: Reference) -> None:
        """Repeated when there is no answer, which obstore does not do by itself."""
        client, name = _find(ref)
        unreachable = lambda error: isinstance(error, StoreUnreachable)  # noqa: E731
        _persistently(lambda: client.delete(name), unreachable, _PAUSES[:2])

    def probe(self) -> Iterator[Check]:
        from .probe import Probe

        return Probe(_here()).checks()


class RangeReader(io.RawIOBase):
    """Reads an object by ranged requests. Where a server answers these wrongly, it reads the whole once."""

    def __init__(self, store: S3Store, ref: Reference, client: Client, name: str) -> None:
        self._store, self._ref, self._client, self._name = store, ref, client, name
        self._position = 0
        self._whole: memoryview | None = None

    def readable(self) -> bool:
        return True

    seekable = readable

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ref.length}[whence]
        self._position = max(0, start + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        start, end = self._position, self._ref.length
        if size is not None and size >= 0:
            end = min(start + size, end)
        if start >= end:
            return b""
        piece = None
        if self._whole is None:
            piece = self._client.read_range(self._name, start, end, self._ref.where)
        if piece is None:
            self._whole = self._whole or self._store.fetch(self._ref)
            piece = self._whole[start:end]
        self._position = end
        return bytes(piece)


# -- places -----------------------------------------------------------------------------------------


def _here() -> Location:
    location = Location.current()
    if location is None:
        raise BadOption(
            "Option AIRFLOW__XCOM__URL is not set: it says in which object store XComs are kept",
            "Set it in config/airflow.env, for example s3://bucket/prefix.",
        )
    return location


def _find(ref: Reference) -> tuple[Client, str]:
    """The client and name for a payload. Raises `BadReference` if it is not where we would have put it."""
    client, name = _below(ref.uri)
    if not is_own(name, ref):
        raise BadReference(
            f"The row does not point to its own payload, but to {ref.uri}",
            "It was changed by hand. Run the task that pushed it again.",
            address=ref.address,
        )
    return client, name


def _below(uri: str | None) -> tuple[Client, str]:
    """The client and name for an object. Raises `BadReference` if it is in none of our places."""
    uri, known = uri or "", []
    for read in (Location.current, Location.before):
        if location := read():
            known.append(location.url)
            name = uri.removeprefix(location.url + "/")
            if name != uri and _NAME.fullmatch(name) and len(name) <= KEY_LIMIT:
                return client_of(location), name
    raise BadReference(
        f"The reference does not point to a payload below {' or '.join(known) or 'any place that is known'}",
        "If the store has moved, name its old place in AIRFLOW__XCOM__FORMER_URL. Otherwise the row was "
        "forged or changed: run the task that pushed it again.",
    )


# -- transfer ---------------------------------------------------------------------------------------


def _persistently(
    act: Callable[[], T], passes: Callable[[Exception], bool], pauses: Sequence[float] = _PAUSES
) -> T:
    """Do what may be repeated, again and again while its errors are of those that pass."""
    for pause in pauses:
        try:
            return act()
        except Exception as error:
            if not passes(error):
                raise
        time.sleep(pause)
    return act()


def _passes(error: Exception) -> bool:
    """What obstore does not repeat itself: a conflict, and a multipart upload that is unknown when its
    completion is repeated after a lost reply. The name is this push's own and the bytes are the same, so
    nothing can be overwritten."""
    return "409 Conflict" in str(error) or "NoSuchUpload" in str(error)


def _upload(client: Client, name: str, told: dict[str, str], payload: Payload) -> tuple[int, str]:
    """Length and sha256 of what was uploaded. The bytes are not copied."""
    length = payload.length
    if length <= _ONE_REQUEST:
        pieces = list(_pieces(payload))
        if length < _MIB:  # less than starting a thread takes
            client.put(name, pieces, payload.media_type, told)
            return _measure(pieces)
        with ThreadPoolExecutor(1) as pool:  # while the bytes travel
            measured = pool.submit(_measure, pieces)
            client.put(name, pieces, payload.media_type, told)
            return measured.result()
    part = max(_PART, -(-length // _PARTS // _MIB) * _MIB)
    stream, at_once = Measured(_pieces(payload)), max(1, _IN_FLIGHT // part)
    client.put(name, stream, payload.media_type, told, chunk_size=part, max_concurrency=at_once)
    return stream.length, stream.sha256


def _measure(pieces: Iterable[memoryview]) -> tuple[int, str]:
    measured = Measured(pieces)
    for _ in measured:
        pass
    return measured.length, measured.sha256


def _pieces(payload: Payload) -> Iterator[memoryview]:
    """The payload's own pieces. Raises `UnsupportedValue` when its file cannot be read."""
    try:
        yield from payload.chunks(_PART)
    except OSError as error:
        raise UnsupportedValue(
            f"The file {payload.body} cannot be read any more ({error.strerror})",
            "Return the path of a file that stays until the task has ended.",
        ) from error


def _open(client: Client, name: str, ref: Reference) -> Any:
    """obstore's answer to a GET, before its body is read."""
    got = client.get(name, ref.length)
    check_length(ref, got.meta["size"])  # before anything is downloaded, so no memory is spent on it
    return got
