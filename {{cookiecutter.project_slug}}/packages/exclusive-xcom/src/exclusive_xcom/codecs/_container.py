"""Zip files that hold a value's text beside its parts: frames, arrays, images, files.

Entries are stored, not compressed (each part's own format is): any tool opens them, and a reader uses them
where they lie.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .. import scratch
from ..errors import PayloadUnreadable
from . import Content, Options, Payload
from .common import check_decoded

Place = tuple[int, int, str]  # where an entry starts, its bytes, and the sha256 of these

_ALIGNMENT = 64
_OBJECTS = 32  # times the bytes of their list in the file are the objects that zipfile makes of entries
_PADDING = 0xD935  # the id of such a field, as Android's zipalign uses it


def pack(
    entries: Iterable[tuple[str, Payload]], index: list[Place] | None, *, in_file: bool
) -> Path | list[bytes | memoryview]:
    """A zip of these entries: in memory, without copying their bytes; or in a private file. The next entry is
    asked for when those before it have been written and are in `index`, if there is one."""
    path, pieces = scratch.new_file("container.zip") if in_file else None, Pieces()
    opened: Any = path.open("wb") if path else pieces
    with scratch.filling(), opened as target, zipfile.ZipFile(target, "w") as archive:
        for name, entry in entries:
            info = zipfile.ZipInfo(name)  # dated 1980, so that the same value gives the same bytes
            info.file_size = entry.length  # tells zipfile whether it needs the 64-bit form
            # An unused field of the header moves the data to where arrays can be used in place.
            gap = -(target.tell() + 30 + len(name.encode()) + 4) % _ALIGNMENT
            info.extra = struct.pack("<HH", _PADDING, gap) + bytes(gap)
            digest = hashlib.sha256()
            with archive.open(info, "w") as out:
                start = target.tell()
                for chunk in entry.chunks():
                    out.write(chunk)
                    if index is not None:
                        digest.update(chunk)
            if index is not None:
                index.append((start, info.file_size, digest.hexdigest()))
    return path or pieces.listed()


class Pieces(io.RawIOBase):
    """A file that keeps what is written to it, by position, not copied. Writing at a position again replaces
    it: zipfile does that with an entry's header, once it knows the checksum."""

    def __init__(self) -> None:
        self.at: dict[int, bytes | memoryview] = {}
        self._position = 0

    def listed(self) -> list[bytes | memoryview]:
        """What was written, in its order."""
        return [piece for _, piece in sorted(self.at.items())]

    def write(self, data: Any) -> int:
        self.at[self._position] = data
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        self._position = position
        return position


class Entry:
    """One entry of a container, as its codec sees it (`codecs.Content`)."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.length = data.nbytes

    def buffer(self, *, as_bytes: bool = False) -> memoryview:
        return self._data

    def file(self, name: str) -> Path:
        path = scratch.new_file(name)
        with scratch.filling():
            path.write_bytes(self._data)
        return path

    def reader(self) -> None:
        return None


def unpack(content: Content, options: Options, *, in_file: bool) -> dict[str, Entry]:
    """The entries of a container by name, in its order, none of them read yet. Raises `PayloadUnreadable` or
    zipfile.BadZipFile unless it is a zip that `pack` could have made."""
    import pyarrow as pa

    if in_file:
        with content.file("container.zip").open("rb") as file:
            whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    else:
        whole = content.buffer()
    check_decoded(_OBJECTS * _length_of_list(whole), options)
    found, end = {}, 0
    with zipfile.ZipFile(pa.BufferReader(whole)) as archive:
        for info in archive.infolist():
            start = info.header_offset + 30
            start += sum(struct.unpack("<HH", whole[start - 4 : start]))
            odd = info.filename in found or info.compress_type != zipfile.ZIP_STORED
            if odd or info.compress_size != info.file_size or info.header_offset != end:
                what = f"Entry {info.filename[:100]!r} of the container is not as it was written"
                raise PayloadUnreadable(what)
            end = start + info.file_size
            found[info.filename] = Entry(whole[start:end])
        if end > archive.start_dir:
            raise PayloadUnreadable("The container's entries are longer than the container")
    return found


def _length_of_list(whole: memoryview) -> int:
    """Bytes of the list of entries, as the record behind it says, or in large files the one before that."""
    if bytes(whole[-22:-18]) != b"PK\5\6":
        raise PayloadUnreadable("The container does not end as it was written")
    form, at = ("<Q", -58) if bytes(whole[-42:-38]) == b"PK\6\7" else ("<L", -10)
    return int(struct.unpack_from(form, whole, len(whole) + at)[0])
