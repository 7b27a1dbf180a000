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
from pathlib import Path
from typing import IO

_PREFIX = "airflow-xcom-"
_LOCK = ".in-use"

_folder: Path | None = None
_owner = 0
_lock: IO[bytes] | None = None


def new_file(name: str) -> Path:
    """A path for a new file called `name` (its last component only) in a folder of its own."""
    return Path(tempfile.mkdtemp(dir=_open())) / _safe(name)


def clear() -> None:
    """Remove everything. Called when the task ends and when the process exits."""
    global _folder, _lock
    # A forked child (LocalExecutor) inherits the variables, but not the right to its parent's files.
    if _folder is not None and _owner == os.getpid():
        shutil.rmtree(_folder, ignore_errors=True)
        if _lock is not None:
            _lock.close()
    _folder = _lock = None


def _open() -> Path:
    global _folder, _owner, _lock
    if _folder is None or _owner != os.getpid():
        _sweep()
        _folder, _owner = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getuid()}-")), os.getpid()
        _lock = open(_folder / _LOCK, "wb")  # noqa: SIM115 - open for as long as the folder is in use
        fcntl.flock(_lock, fcntl.LOCK_EX)
        if not (_folder / _LOCK).exists():
            # Another process swept it up between its making and its locking.
            _folder = None
            return _open()
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
    encoded = clean.encode("utf-8", "replace")[-200:]
    clean = encoded.decode("utf-8", "ignore")
    return clean if clean not in ("", ".", "..") else "file"
