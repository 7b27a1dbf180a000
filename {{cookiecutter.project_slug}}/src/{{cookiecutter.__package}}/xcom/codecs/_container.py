"""Zip files that hold a value's text beside its parts: frames, arrays, images, files.

Entries are stored, not compressed (each part's own format is), so that any tool can open the parts, and
a reader can take them out of memory, or copy them out of a file, without unpacking anything.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from .. import scratch
from ..errors import PayloadUnreadable
from . import Content, Payload
from ._common import View

_ALIGNMENT = 64
_PADDING = 0xD935  # the id of such a field, as Android's zipalign uses it


def pack(entries: Mapping[str, Payload]) -> Path | list[bytes | memoryview]:
    """A zip of these entries: in memory, without copying their bytes; in a private file if one is a file."""
    if any(isinstance(entry.body, Path) for entry in entries.values()):
        path = scratch.new_file("container.zip")
        with path.open("wb") as file:
            _write(entries, file)
        return path
    pieces = _Pieces()
    _write(entries, pieces)
    return [piece for _, piece in sorted(pieces.at.items())]


def _write(entries: Mapping[str, Payload], target: Any) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for name, entry in entries.items():
            info = zipfile.ZipInfo(name)  # dated 1980, so that the same value gives the same bytes
            info.file_size = entry.length  # tells zipfile whether it needs the 64-bit form
            # An unused field of the header moves the data to where arrays can be used in place.
            gap = -(target.tell() + 30 + len(name.encode()) + 4) % _ALIGNMENT
            info.extra = struct.pack("<HH", _PADDING, gap) + bytes(gap)
            with archive.open(info, "w") as out:
                for chunk in entry.chunks():
                    out.write(chunk)


class _Pieces:
    """A file to write to that keeps references instead of copies: what was written, by its position. Writing
    at a position again replaces it: zipfile does that with an entry's header, once it knows the checksum."""

    def __init__(self) -> None:
        self.at: dict[int, bytes | memoryview] = {}
        self._position = 0

    def write(self, data: bytes | memoryview) -> int:
        self.at[self._position] = data
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        self._position = position
        return position

    def flush(self) -> None:
        pass


@dataclass(frozen=True)
class Entry:
    """One entry of a container, as its codec sees it (`codecs.Content`)."""

    whole: memoryview | Path
    start: int
    length: int

    def buffer(self) -> memoryview:
        """The entry in memory: a slice of the container, or read from its file."""
        if isinstance(self.whole, memoryview):
            return self.whole[self.start : self.start + self.length]
        data = bytearray(self.length)
        with self.whole.open("rb") as file:
            file.seek(self.start)
            file.readinto(data)
        return memoryview(data)

    def file(self, name: str) -> Path:
        """The entry as a private file, copied piece by piece."""
        path = scratch.new_file(name)
        with path.open("xb") as target:
            if isinstance(self.whole, memoryview):
                target.write(self.buffer())
                return path
            with self.whole.open("rb") as source:
                source.seek(self.start)
                left = self.length
                while piece := source.read(min(left, 2**20)):
                    left -= target.write(piece)
        return path

    def reader(self) -> BinaryIO | None:
        """None: what is in a container is read whole."""
        return None


def unpack(content: Content, *, in_file: bool) -> dict[str, Entry]:
    """The entries of a container by name, in its order, none of them read yet.

    Raises:
        PayloadUnreadable, zipfile.BadZipFile: it is not a zip that `pack` could have made.
    """
    whole = content.file("container.zip") if in_file else content.buffer()
    found: dict[str, Entry] = {}
    with (
        whole.open("rb") if isinstance(whole, Path) else View(whole) as file,
        zipfile.ZipFile(file) as archive,
    ):
        end = 0
        for info in archive.infolist():
            file.seek(info.header_offset)
            header = file.read(30)
            start = (
                info.header_offset
                + 30
                + sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
            )
            odd = info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size
            if odd or info.flag_bits & 1 or info.filename in found or info.header_offset != end:
                raise PayloadUnreadable(
                    f"Entry {info.filename[:100]!r} of the container is not as it was written"
                )
            end = start + info.file_size
            found[info.filename] = Entry(whole, start, info.file_size)
        if end > archive.start_dir:
            raise PayloadUnreadable("The container's entries are longer than the container")
    return found
