"""Reads a stored payload and proves, before anything decodes it, that it is what was pushed."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from . import scratch
from .errors import PayloadAltered, PayloadTruncated
from .reference import Reference
from .store import Store

_SMALL = 2**20  # bytes; hashing more than that takes longer than starting a thread for it


class StoredContent:
    """The verified bytes of a reference's payload (`codecs.Content`); `data` if they are fetched already.
    `told` is the reference with all that it says of the value."""

    def __init__(self, ref: Reference, store: Store, data: memoryview | None = None) -> None:
        self._ref = self.told = ref
        self._store = store
        self._data = data

    @property
    def length(self) -> int:
        return self._ref.length

    def buffer(self, *, as_bytes: bool = False) -> memoryview:
        """The whole payload in memory. What is large can be written to, so nobody has to copy it; or, where
        that is preferred, it is the memory of one bytes object."""
        if self._data is None and self._ref.length > _SMALL:
            return self._assembled(as_bytes)
        data = self._store.fetch(self._ref) if self._data is None else self._data
        verify(self._ref, data.nbytes, hashlib.sha256(data).hexdigest())
        return data

    def _assembled(self, as_bytes: bool) -> memoryview:
        """The pieces put together; the digest is computed while the next ones travel."""
        ref, digest, place = self._ref, hashlib.sha256(), 0
        whole, pieces = memoryview(b""), []
        with ThreadPoolExecutor(1, thread_name_prefix="xcom-sha256") as hasher:
            for piece in self._store.stream(ref):
                end = place + piece.nbytes
                if end > ref.length:
                    check_length(ref, end)
                if as_bytes:
                    pieces.append(piece)
                else:
                    whole = whole or room(ref.length)  # not before the store has confirmed that length
                    whole[place:end] = piece
                    piece = whole[place:end]
                hasher.submit(digest.update, piece)
                place = end
            if as_bytes:
                whole = memoryview(b"".join(pieces))
        verify(ref, place, digest.hexdigest())
        return whole

    def file(self, name: str) -> Path:
        path = scratch.new_file(name)
        measured = Measured(self._store.stream(self._ref) if self._data is None else [self._data])
        try:
            with scratch.filling(), path.open("xb") as file:
                for piece in measured:
                    file.write(piece)
            verify(self._ref, measured.length, measured.sha256)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def part(self, start: int, end: int) -> memoryview:
        """Some of its bytes, which the caller verifies. Where the store has no ranges, the whole is fetched,
        and kept for what else is asked for."""
        if self._data is None:
            if (piece := self._store.part(self._ref, start, end)) is not None:
                return piece
            self._data = self.buffer()
        return self._data[start:end]

    def reader(self) -> BinaryIO | None:
        return self._store.reader(self._ref)


def room(length: int) -> memoryview:
    """Memory of this process alone, which nobody clears first as `bytearray` does."""
    return memoryview(mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


class Measured:
    """Passes pieces through, and knows afterwards how many bytes there were and their sha256."""

    def __init__(self, pieces: Iterable[memoryview]) -> None:
        self._pieces = pieces
        self._digest = hashlib.sha256()
        self.length = 0

    def __iter__(self) -> Iterator[memoryview]:
        for piece in self._pieces:
            self._digest.update(piece)
            self.length += piece.nbytes
            yield piece

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


_AGAIN = "Nothing was handed on. Run the task that pushed it again; if it recurs, check the store's disk."


def check_length(ref: Reference, length: int) -> None:
    """Raise `PayloadTruncated` unless what is there is as long as what was pushed."""
    if length != ref.length:
        what = f"The payload at {ref.where} has {length:,} bytes instead of {ref.length:,}"
        raise PayloadTruncated(what, _AGAIN)


def verify(ref: Reference, length: int, sha256: str) -> None:
    """Compare what was read with what was pushed. Raises `PayloadTruncated` or `PayloadAltered`."""
    check_length(ref, length)
    if sha256 != ref.sha256:
        what = f"The payload at {ref.where} was altered: its sha256 is not the one that was pushed"
        raise PayloadAltered(what, _AGAIN)
