"""The private folder in which a task's pulled files live until the task ends.

One folder per process, mode 700, below the system's temporary folder. A file lock marks it as in use,
so that a later process can remove what a killed one left behind.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import os
import re
import shutil
import tempfile
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .errors import NoSpace

_PREFIX = "airflow-xcom-"
_LOCK = ".in-use"
_NAME_LIMIT = 255  # bytes that a file system allows
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_folder: Path | None = None
_lock: IO[bytes] | None = None
_opening = threading.Lock()


def new_file(name: str) -> Path:
    """A path for a new file called `name` (its last component only) in a folder of its own."""
    with filling(), _opening:  # two threads that make a folder each would leave one of them without its lock
        folder = _open()
        return Path(tempfile.mkdtemp(dir=folder)) / safe_name(name)


@contextlib.contextmanager
def filling() -> Iterator[None]:
    """What writes to a file of this folder does so in here: that there is no space for it becomes
    `NoSpace`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        what = f"There is no space in {tempfile.gettempdir()} for the file ({error.strerror})"
        raise NoSpace(what, "Free some, or let TMPDIR name a folder with more of it.") from error


def clear() -> None:
    """Remove everything. Called when the task ends and when the process exits."""
    global _folder, _lock
    if _folder is not None and _lock is not None:
        shutil.rmtree(_folder, ignore_errors=True)
        _lock.close()
    _folder = _lock = None


def _disown() -> None:
    """A forked child (LocalExecutor, multiprocessing) has no right to its parent's files."""
    global _folder, _lock, _opening
    _folder = _lock = None
    _opening = threading.Lock()


os.register_at_fork(after_in_child=_disown)


def _open() -> Path:
    global _folder, _lock
    while _folder is None:
        _sweep()
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getuid()}-"))
        lock = open(folder / _LOCK, "wb")  # noqa: SIM115 - open for as long as the folder is in use
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / _LOCK).exists():
            lock.close()  # another process swept it up between its making and its locking
            continue
        _folder, _lock = folder, lock
        atexit.register(clear)
    return _folder


def _sweep() -> None:
    """Remove the folders of this user's processes that were killed before they could clear up."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}{os.getuid()}-*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with open(folder / _LOCK, "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its owner lives
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue


def safe_name(name: str) -> str:
    """The last component of a name, without what a file name can't have, or what moves a terminal's cursor.
    Bytes that are no Unicode stay, in the way in which Python's file names have them."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    clean = "".join("_" if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in last)
    clean = re.sub("[\ud800-\udc7f\udd00-\udfff]", "_", clean)
    data = clean.encode(errors="surrogateescape")
    clean = clean if len(data) <= _NAME_LIMIT else data[-_NAME_LIMIT:].decode("utf-8", "ignore")
    return clean if clean.strip() not in ("", ".", "..") else "file"
