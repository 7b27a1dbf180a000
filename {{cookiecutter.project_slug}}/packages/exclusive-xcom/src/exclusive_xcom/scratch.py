"""The private folder in which a task's pulled files live until the task ends.

One folder per process, mode 700, below the system's temporary folder. A file lock marks it as in use,
so that a later process can remove what a killed one left behind.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import IO

_PREFIX = "airflow-xcom-"
_LOCK = ".in-use"

_folder: Path | None = None
_lock: IO[bytes] | None = None
_opening = threading.Lock()


def new_file(name: str) -> Path:
    """A path for a new file called `name` (its last component only) in a folder of its own."""
    with _opening:  # two threads that make a folder each would leave one of them without its lock
        folder = _open()
    return Path(tempfile.mkdtemp(dir=folder)) / _safe(name)


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


def _safe(name: str) -> str:
    """The last component of a name, without characters that a file name can't or shouldn't have."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    clean = "".join(c if c.isprintable() else "_" for c in last).strip()
    clean = clean.encode("utf-8", "replace")[-200:].decode("utf-8", "ignore")
    return clean if clean not in ("", ".", "..") else "file"
