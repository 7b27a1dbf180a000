"""Processes of this wing: started with a log, ended with all that they have started; and who is at work."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from ..console import Refused


def start(command: Sequence[str], log: Path, **options: Any) -> subprocess.Popen[bytes]:
    """Start a process. What it says goes to a new file; `options` are those of `subprocess.Popen`."""
    with log.open("wb") as said:
        defaults: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said}
        return subprocess.Popen(command, **defaults | options)


def last_words(log: Path, lines: int = 1, *, otherwise: str = "it said nothing") -> str:
    """The last lines of a log that are not empty."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    said = [line for line in text.split("\n") if line.strip()]
    return "\n".join(said[-lines:]) or otherwise


def how(code: int) -> str:
    """In words how a process ended: "by SIGKILL" or "with exit code 1"."""
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


def lives(pid: int) -> bool:
    """Whether there is such a process, and not only the entry of one that nobody has waited for. What may not
    be looked at lives."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def folder(process: psutil.Process) -> Path | None:
    """The folder that a process works in; None if that may not be seen: only root sees it of another user's
    process, or of one that hides it, as Airflow's supervisors of tasks do."""
    try:
        return Path(process.cwd())
    except psutil.NoSuchProcess:
        return Path(os.devnull)
    except psutil.AccessDenied:
        return None


def session(leader: int) -> list[psutil.Process]:
    """All living processes of a session but this one. Tasks of Airflow move to groups of their own, but
    stay in the session; and it has a number that no other process gets while one of them lives."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            member = os.getsid(process.pid) == leader and process.pid != os.getpid()
            if member and lives(process.pid):
                found.append(process)
    return found


def end(processes: Sequence[psutil.Process], seconds: float) -> None:
    """SIGTERM to all, and after some seconds SIGKILL to those that are left. 0: SIGKILL at once. What a task
    has started as another user stays."""
    for process in processes if seconds else ():
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, left = psutil.wait_procs(processes, timeout=seconds)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=5)


@contextlib.contextmanager
def lock(path: Path, refusal: str) -> Iterator[None]:
    """Hold a lock that goes with this process, however it ends. Raises `Refused`, in these words, while
    another holds it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("ab") as file:
        deadline = time.monotonic() + 1  # who only looks whether a lock is held has it for a moment, too
        while not locks(file.fileno(), fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise Refused(refusal)
            time.sleep(0.02)
        yield


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock."""
    try:
        with path.open("rb") as file:
            return not locks(file.fileno(), fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def locks(file: int, kind: int) -> bool:
    """Take a lock of that kind (`fcntl.LOCK_…`) on an open file. Returns whether it could be had."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
