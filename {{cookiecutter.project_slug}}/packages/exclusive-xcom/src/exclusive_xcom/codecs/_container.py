"""Zip files that hold a value's text beside its parts: frames, arrays, images, files.

Entries are stored, not compressed (each part's own format is), so that any tool can open the parts, and
a reader can take them out of memory, or copy them out of a file, without unpacking anything.
"""

from __future__ import annotations

import io
import mmap
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

_ALIGNMENT = 64
_PADDING = 0xD935  # the id of such a field, as Android's zipalign uses it


def pack(entries: Mapping[str, Payload]) -> Path | list[bytes | memoryview]:
    """A zip of these entries: in memory, without copying their bytes; in a private file if one is a file."""
    in_file = any(isinstance(entry.body, Path) for entry in entries.values())
    path, pieces = scratch.new_file("container.zip") if in_file else None, _Pieces()
    with path.open("wb") if path else pieces as target, zipfile.ZipFile(target, "w") as archive:
        for name, entry in entries.items():
            info = zipfile.ZipInfo(name)  # dated 1980, so that the same value gives the same bytes
            info.file_size = entry.length  # tells zipfile whether it needs the 64-bit form
            # An unused field of the header moves the data to where arrays can be used in place.
            gap = -(target.tell() + 30 + len(name.encode()) + 4) % _ALIGNMENT
            info.extra = struct.pack("<HH", _PADDING, gap) + bytes(gap)
            with archive.open(info, "w") as out:
                for chunk in entry.chunks():
                    out.write(chunk)
    return path or [piece for _, piece in sorted(pieces.at.items())]


class _Pieces(io.RawIOBase):
    """A file to write to that keeps references instead of copies: what was written, by its position. Writing
    at a position again replaces it: zipfile does that with an entry's header, once it knows the checksum."""

    def __init__(self) -> None:
        self.at: dict[int, bytes | memoryview] = {}
        self._position = 0

    def write(self, data: Any) -> int:
        self.at[self._position] = data
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        self._position = position
        return position


@dataclass(frozen=True)
class Entry:
    """One entry of a container, as its codec sees it (`codecs.Content`)."""

    data: memoryview

    @property
    def length(self) -> int:
        """Bytes of the entry."""
        return self.data.nbytes

    def buffer(self, *, as_bytes: bool = False) -> memoryview:
        """The entry, where it lies in the container."""
        return self.data

    def file(self, name: str) -> Path:
        """The entry as a private file."""
        path = scratch.new_file(name)
        with path.open("xb") as target:
            target.write(self.data)
        return path

    def reader(self) -> BinaryIO | None:
        """None: what is in a container is read whole."""
        return None


def unpack(content: Content, *, in_file: bool) -> dict[str, Entry]:
    """The entries of a container by name, in its order, none of them read yet.

    Raises:
        PayloadUnreadable, zipfile.BadZipFile: it is not a zip that `pack` could have made.
    """
    import pyarrow as pa

    if in_file:
        with content.file("container.zip").open("rb") as file:
            whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    else:
        whole = content.buffer()
    found, end = {}, 0
    with zipfile.ZipFile(pa.BufferReader(whole)) as archive:
        for info in archive.infolist():
            start = info.header_offset + 30
            start += sum(struct.unpack("<HH", whole[start - 4 : start]))
            odd = info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size
            if odd or info.flag_bits & 1 or info.filename in found or info.header_offset != end:
                raise PayloadUnreadable(
                    f"Entry {info.filename[:100]!r} of the container is not as it was written"
                )
            end = start + info.file_size
            found[info.filename] = Entry(whole[start:end])
        if end > archive.start_dir:
            raise PayloadUnreadable("The container's entries are longer than the container")
    return found
