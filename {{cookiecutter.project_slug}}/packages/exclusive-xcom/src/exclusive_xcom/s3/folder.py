"""A folder as an object store: private files, and no link in it is followed.

Each part of a name is opened inside of the one before (`dir_fd`), so nobody can put a link in its place
between a look and the opening. A file gets its name once it is complete. What a killed push had staged is
removed by the next one, whosever it is: nobody holds its lock any more.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from ..errors import StoreDenied
from .client import Client

Pieces = Iterator[bytes]
_STAGED = ".staged"  # no DAG's folder: their names do not begin with a point
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe that somebody put there is not waited for
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


class Folder(Client):
    """Reads and writes files below a location. Raises OSError where obstore raises errors of its own."""

    def put(
        self,
        name: str,
        pieces: Iterable[memoryview],
        media_type: str,
        told: dict[str, str],
        tags: dict[str, str] | None = None,
        **parts: Any,
    ) -> None:
        """Store a file. A folder has no place for media type, metadata and tags."""
        with (
            self._inside(f"{_STAGED}/{secrets.token_hex(16)}", make=True) as (staging, mark),
            self._inside(name, make=True) as (folder, last),
        ):
            _sweep(staging)
            with _locked(staging, mark) as file:
                try:
                    file.writelines(pieces)
                    file.flush()
                    os.rename(mark, last, src_dir_fd=staging, dst_dir_fd=folder)
                except BaseException:
                    os.unlink(mark, dir_fd=staging)
                    raise

    def get(self, name: str, length: int = 0) -> Found:
        """A file, which is not opened yet."""
        with self._inside(name) as (folder, last):
            status = os.stat(last, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return Found(self, name, status.st_size)

    def read(self, name: str, start: int, size: int) -> Pieces:
        """A file from a place on, in pieces of a size."""
        with self._inside(name) as (folder, last):
            descriptor = os.open(last, _READ, dir_fd=folder)
        with open(descriptor, "rb", buffering=0) as file:
            file.seek(start)
            while piece := file.read(size):
                yield piece

    def read_range(self, name: str, start: int, end: int, uri: str = "") -> memoryview | None:
        """Some bytes of a file. Raises `StoreError`, and `PayloadMissing` of a payload."""
        with self.explained("read", uri):
            return memoryview(next(self.read(name, start, end - start), b""))

    def delete(self, name: str) -> None:
        """Delete a file. That it is gone already is no error. Raises `StoreError`."""
        with (
            self.explained("delete from"),
            suppress(FileNotFoundError),
            self._inside(name) as (folder, last),
        ):
            os.unlink(last, dir_fd=folder)

    @contextmanager
    def _inside(self, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """The folder in which an object is, open, and its name there."""
        *folders, last = name.split("/")
        inner = os.open(self.location.prefix, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in folders:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, 0o700, dir_fd=inner)
                outer, inner = inner, os.open(part, _FOLDER, dir_fd=inner)
                os.close(outer)
            yield inner, last
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            raise StoreDenied(
                f"In {self.location.url} a link or something else that is no folder is in the way to {name}",
                "Links there are not followed: they could lead anywhere. Look who may write to the folder, "
                "and run the task that pushed it again.",
            ) from error
        finally:
            os.close(inner)


def _locked(staging: int, mark: str) -> BinaryIO:
    """A new file, locked for as long as it is open. Where a file system knows no locks, it is not swept."""
    while True:
        file = open(os.open(mark, _WRITE, 0o600, dir_fd=staging), "wb")  # noqa: SIM115 - the caller closes it
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # another process swept it up between its making and its locking


def _sweep(staging: int) -> None:
    """Remove what killed pushes left."""
    for mark in os.listdir(staging):
        with suppress(OSError), open(os.open(mark, _READ, dir_fd=staging), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its owner lives
            os.unlink(mark, dir_fd=staging)


class Found:
    """A file that was found, as obstore's answer to a GET."""

    def __init__(self, folder: Folder, name: str, size: int) -> None:
        self._folder, self._name = folder, name
        self.meta = {"size": size}
        self.attributes: dict[str, str] = {}

    def bytes(self) -> bytes:
        """The whole."""
        return b"".join(self._folder.read(self._name, 0, max(1, self.meta["size"])))

    def stream(self, min_chunk_size: int) -> Pieces:
        """The whole in pieces."""
        return self._folder.read(self._name, 0, min_chunk_size)
