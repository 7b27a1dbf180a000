"""Encrypts payloads between codec and store, and decrypts them, by Tink's Streaming AEAD: no format of ours.

push: payload ─ encrypted ─→ store ─→ length and sha256 of what lies there ─→ reference, and in it, encrypted,
      what the row would say of the value
pull: reference ─ decrypted ─→ codec and its notes;  store ─ length and sha256 verified, decrypted ─→ codec

Associated data bind the payload to its XCom, the task instance that wrote it, its codec and its length; and
what the row says to all that it says in plain, with the digest of the payload. So neither can stand in the
place of another. Each payload has a key of its own, which Tink derives by a random salt.
"""

from __future__ import annotations

import base64
import functools
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from . import keysets, scratch
from .address import Address, Attempt
from .binding import Question
from .codecs import CHUNK, Payload
from .content import Measured, StoredContent, room, verify
from .errors import NotEncrypted, PayloadForged, UnsupportedValue, WrongKey, about
from .keys import HEADER, SEGMENT, TAG, Key
from .reference import Encryption, Reference
from .store import Store

FORM = "encrypted/1"
_KIND, _MEDIA_TYPE, _SUFFIX = "encrypted value", "application/octet-stream", ".tink"
_PIECE = 2**20  # bytes that are decrypted at a time
_KEPT = 32 * 2**20  # bytes up to which what was encrypted is kept, for a store that sends it twice
# What of a reference stays in plain, and is bound to what does not.
_BOUND = ("address", "attempt", "codec", "expires", "lazy", "length", "once", "readers", "sha256", "uri")
_TOLD = ("codec", "kind", "media_type", "summary", "filename", "meta")


# -- push -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encrypted(Payload):
    """A payload as the store gets it.

    Attributes:
        inner: what the codec made.
        size: its length, when it was looked at.
        bound: the associated data.
    """

    inner: Payload = field(kw_only=True)
    key: Key = field(kw_only=True)
    size: int = field(kw_only=True)
    bound: bytes = field(kw_only=True)

    @property
    def length(self) -> int:
        """Bytes of the encrypted stream, before there is one."""
        return length_of(self.size)

    def chunks(self, size: int = CHUNK) -> Iterator[memoryview]:
        """The encrypted stream. A small one is the same each time; a large one has another salt, which is
        well as long as what is asked for last is what is stored, and is told as an error where it is not."""
        for piece in self._small if self.length <= _KEPT else self._encrypted():
            for start in range(0, len(piece), size):
                yield piece[start : start + size]

    @functools.cached_property
    def _small(self) -> list[memoryview]:
        return list(self._encrypted())

    def _encrypted(self) -> Iterator[memoryview]:
        sink, length = _Sink(), 0
        stream = self.key.aead.new_encrypting_stream(sink, self.bound)
        for piece in self.inner.chunks():
            stream.write(piece)
            length += piece.nbytes
            yield from sink.taken(CHUNK)
        if length != self.size:
            raise UnsupportedValue(
                f"The file {self.inner.body} was {self.size:,} bytes long and is {length:,}",
                "Return the path of a file that nobody writes to any more.",
            )
        stream.close()
        yield from sink.taken()


class _Sink(io.RawIOBase):
    """Takes what Tink writes."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        return len(data)

    def taken(self, least: int = 1) -> Iterator[memoryview]:
        """What it has, if that are so many bytes."""
        if len(self._held) >= least:
            held, self._held = self._held, bytearray()
            yield memoryview(held)


def length_of(size: int) -> int:
    """Bytes of the encrypted stream of so many bytes."""
    first = SEGMENT - HEADER - TAG
    segments = 1 + max(0, -(-(size - first) // (SEGMENT - TAG)))
    return HEADER + size + segments * TAG


def encrypted(payload: Payload, key: Key, address: Address, attempt: Attempt) -> Encrypted:
    """A payload as it is to be stored for an XCom."""
    size = payload.length
    bound = _payload_bound(address, attempt.ti_id, payload.codec, size)
    return Encrypted(
        FORM, _KIND, _MEDIA_TYPE, _SUFFIX, payload.body, inner=payload, key=key, size=size, bound=bound
    )


def described(ref: Reference, payload: Encrypted) -> Reference:
    """The reference to a payload that was encrypted and stored, with what it would say of the value,
    encrypted, too."""
    told = {name: getattr(payload.inner, name) for name in _TOLD} | {"size": payload.size}
    text = json.dumps({name: value for name, value in told.items() if value not in (None, "", {})})
    key = payload.key
    about = _base64(_encrypt(key, text.encode(), _row_bound(ref)))
    return replace(ref, encryption=Encryption(key.number, _check_of(key), about))


def _encrypt(key: Key, data: bytes, bound: bytes) -> bytes:
    sink = _Sink()
    stream = key.aead.new_encrypting_stream(sink, bound)
    stream.write(data)
    stream.close()
    return b"".join(sink.taken())


@functools.lru_cache(64)
def _check_of(key: Key) -> str:
    return _base64(_encrypt(key, b"", _check_bound(key)))


# -- what is bound to what --------------------------------------------------------------------------


def _check_bound(key: Key) -> bytes:
    return _joined("check", key.number)


def _payload_bound(address: Address, ti_id: str, codec: str, size: int) -> bytes:
    return _joined("payload", list(_places(address)), ti_id, codec, size)


def _row_bound(ref: Reference) -> bytes:
    row = replace(ref, encryption=None).row()
    return _joined("row", {name: row[name] for name in _BOUND if name in row})


def _places(address: Address) -> Iterable[Any]:
    return (getattr(address, name) for name in address.__dataclass_fields__)


def _joined(*facts: Any) -> bytes:
    return json.dumps([FORM, *facts], sort_keys=True, separators=(",", ":")).encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# -- pull -------------------------------------------------------------------------------------------


def check(question: Question, refs: Sequence[Reference | None]) -> None:
    """Raises `NotEncrypted` if one of the rows that answer a question has to be encrypted, and is not."""
    if all(ref is not None and ref.encryption for ref in refs) or not keysets.demands(question.address):
        return
    raise NotEncrypted(
        "Its row is not encrypted, and AIRFLOW__XCOM__ENCRYPTION demands that it is",
        "If it was pushed before XComs were encrypted, run the task that pushed it again; otherwise somebody "
        "has written the row by hand.",
        address=question.address,
    )


def opened(ref: Reference) -> Reference:
    """The reference with what it says of the value, which is encrypted.

    Raises:
        KeyMissing, BadOption, NotEncrypted: as `keysets.for_pull`.
        WrongKey: the key of that id is another.
        PayloadForged: the row is not what was written.
    """
    return _opened(ref)[0]


def content_of(ref: Reference, store: Store, data: memoryview | None = None) -> StoredContent:
    """The verified bytes of a reference's payload, decrypted; `data` if what the store has is fetched
    already. Raises as `opened`."""
    inner, size, key = _opened(ref)
    bound = _payload_bound(ref.address, ref.attempt.ti_id, inner.codec, size)
    content = DecryptedContent(ref, store, data, key=key, size=size, bound=bound)
    content.told = inner
    return content


def _opened(ref: Reference) -> tuple[Reference, int, Key]:
    told = cast("Encryption", ref.encryption)
    with about(ref.address):
        key = keysets.for_pull(ref.address, told.key)
        data = _decrypted(key, told.about, _row_bound(ref))
        if data is None:
            _check_key(key, told)
            raise PayloadForged("What its row says was not encrypted for this XCom and this payload", _FORGED)
        try:
            found = json.loads(data)
            size = int(found.pop("size"))
            inner = replace(ref, **{name: found.get(name, _EMPTY.get(name, "")) for name in _TOLD})
        except (ValueError, KeyError, TypeError, AttributeError):
            raise PayloadForged("What its row says of it can't be understood", _FORGED) from None
    return inner, size, key


_EMPTY: dict[str, Any] = {"filename": None, "meta": {}}
_FORGED = (
    "The row or the payload was changed, moved or put together of others; nothing was handed on. Run the "
    "task that pushed it again, and look for who writes to Airflow's database and to the store."
)


def try_out(key: Key) -> bool:
    """Whether what a key encrypts it decrypts (`xcom probe`)."""
    return _decrypted(key, _base64(_encrypt(key, b"probe", b"probe")), b"probe") == b"probe"


def _check_key(key: Key, told: Encryption) -> None:
    """Raises `WrongKey` if a key is not the one by which something was encrypted."""
    if _decrypted(key, told.check, _check_bound(key)) is None:
        raise WrongKey(
            f"It is encrypted by another key than the one that is key {key.number} of keyset {key.keyset!r} "
            "here",
            "Give this worker the keyset that wrote it: it was made anew, or is another environment's. "
            "Without it the value can't be read: run the task that pushed it again.",
        )


def _decrypted(key: Key, text: str, bound: bytes) -> bytes | None:
    """What is in a text of a row; None if it was not encrypted like that."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    try:
        return b"".join(_stream(key, _Pieces([memoryview(data)]), bound))
    except _NotDecrypted:
        return None


class _NotDecrypted(Exception):
    """Tink does not take it."""


def _stream(key: Key, source: _Pieces, bound: bytes) -> Iterator[bytes]:
    """Decrypt what a source gives. Raises `_NotDecrypted`, and whatever the source raises."""
    from tink import TinkError

    try:
        stream = key.aead.new_decrypting_stream(source, bound)
        while piece := stream.read(_PIECE):
            yield piece
    except (TinkError, ValueError, OSError) as error:
        if source.trouble is not None:
            raise source.trouble from None
        raise _NotDecrypted from error


class _Pieces(io.RawIOBase):
    """Pieces as a stream for Tink, which makes texts of the errors that come out of one: they are kept."""

    def __init__(self, pieces: Iterable[memoryview]) -> None:
        self.trouble: BaseException | None = None
        self._pieces = iter(pieces)
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        try:
            while not self._piece.nbytes:
                self._piece = next(self._pieces)
        except StopIteration:
            return b""
        except BaseException as error:
            self.trouble = error
            raise
        end = self._piece.nbytes if size is None or size < 0 else size
        found, self._piece = bytes(self._piece[:end]), self._piece[end:]
        return found

    def drain(self) -> None:
        """Read what is left, for who counts it."""
        for _ in self._pieces:
            pass


class DecryptedContent(StoredContent):
    """The bytes that were encrypted (`codecs.Content`). Tink's streams can't seek, so a part is the whole."""

    def __init__(
        self, ref: Reference, store: Store, data: memoryview | None, *, key: Key, size: int, bound: bytes
    ) -> None:
        super().__init__(ref, store, data)
        self._key, self._size, self._bytes_bound = key, size, bound
        self._plain: memoryview | None = None

    @property
    def length(self) -> int:
        return self._size

    def buffer(self, *, as_bytes: bool = False) -> memoryview:
        """The whole in memory, verified and decrypted."""
        if as_bytes or self._size <= _PIECE:
            return memoryview(b"".join(self._pieces()))
        whole, place = room(self._size), 0
        for piece in self._pieces():
            whole[place : place + len(piece)] = piece
            place += len(piece)
        return whole

    def file(self, name: str) -> Path:
        path = scratch.new_file(name)
        try:
            with scratch.filling(), path.open("xb") as file:
                for piece in self._pieces():
                    file.write(piece)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def part(self, start: int, end: int) -> memoryview:
        if self._plain is None:
            self._plain = self.buffer()
        return self._plain[start:end]

    def reader(self) -> BinaryIO | None:
        return None

    def _pieces(self) -> Iterator[bytes]:
        """The whole, each piece decrypted. What is wrong may be known at the end alone: until then who asks
        keeps all of it to himself. Raises `PayloadTruncated`, `PayloadAltered` and `PayloadForged`."""
        ref, length, is_ours = self._ref, 0, True
        measured = Measured(self._store.stream(ref) if self._data is None else [self._data])
        source = _Pieces(measured)
        try:
            for piece in _stream(self._key, source, self._bytes_bound):
                length += len(piece)
                if length > self._size:
                    break
                yield piece
        except _NotDecrypted:
            is_ours = False
        source.drain()
        with about(ref.address):
            verify(ref, measured.length, measured.sha256)
            if not is_ours or length != self._size:
                raise PayloadForged(f"The payload at {ref.where} was not encrypted for this XCom", _FORGED)
