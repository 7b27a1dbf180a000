"""Parts of a stored payload that have digests of their own: what is read alone is proved by that."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from .. import scratch
from ..errors import PayloadAltered, PayloadUnreadable
from . import CHUNK


class Parts(Protocol):
    """The bytes of a stored payload of which some are to be read."""

    @property
    def length(self) -> int:
        """Bytes of the payload, as the reference states them."""

    def part(self, start: int, end: int) -> memoryview:
        """Some of its bytes, NOT verified. Raises `PayloadMissing` or `StoreError`."""


class Part:
    """Some bytes of a payload that have a digest of their own (`codecs.Content`)."""

    def __init__(self, whole: Parts, start: int, length: int, sha256: str) -> None:
        if not 0 <= start <= start + length <= whole.length:
            raise PayloadUnreadable("The payload's index does not fit it")
        self._whole, self._start, self._sha256 = whole, start, sha256
        self.length = length

    def buffer(self, *, as_bytes: bool = False) -> memoryview:
        """The bytes, once they are proved to be those that were pushed."""
        found = self._whole.part(self._start, self._start + self.length) if self.length else memoryview(b"")
        self._prove(found.nbytes, hashlib.sha256(found).hexdigest())
        return found

    def file(self, name: str) -> Path:
        """The same as a private file, fetched piece by piece."""
        path, digest, length = scratch.new_file(name), hashlib.sha256(), 0
        try:
            with scratch.filling(), path.open("xb") as file:
                for piece in self._pieces():
                    digest.update(piece)
                    length += file.write(piece)
            self._prove(length, digest.hexdigest())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def reader(self) -> None:
        """There is none: it would not be verified as a whole."""
        return None

    def _pieces(self) -> Iterator[memoryview]:
        end = self._start + self.length
        for start in range(self._start, end, CHUNK):
            yield self._whole.part(start, min(start + CHUNK, end))

    def _prove(self, length: int, sha256: str) -> None:
        if (length, sha256) != (self.length, self._sha256):
            what = "A part of the payload was altered: its sha256 is not the one that was pushed"
            raise PayloadAltered(what, "Run the task that pushed it again.")
