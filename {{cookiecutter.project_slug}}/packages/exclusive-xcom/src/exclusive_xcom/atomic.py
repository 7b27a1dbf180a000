"""Writes files whole or not at all: each is written beside its place, and moved there when all are done."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` at the end; after an error nothing has changed. It is
    readable for its owner alone if `private`, else as the file that it replaces, or as any new file."""
    path = path.resolve()  # of a link, where it leads
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 600
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not private:
            os.chmod(name, _mode(path))
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def write_all(texts: Mapping[Path, str]) -> None:
    """Write text files, all or none: what was there before an error is put back. Makes missing folders.

    Raises:
        OSError: a file can't be written.
    """
    before = {path: path.read_bytes() if path.exists() else None for path in texts}
    made = [folder for path in texts for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write(text.encode())
    except BaseException:
        for path, was in before.items():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True) if was is None else path.write_bytes(was)
        for folder in sorted(set(made), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _mode(path: Path) -> int:
    """The mode that the file has, or that a new one gets."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
