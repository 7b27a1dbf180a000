"""The process that keeps one server for development, and ends it when nobody uses it any more.

    python -m exclusive_xcom.local.service_keeper SERVER FOLDER BUCKET

It goes into a session of its own, so that it outlives who started it, and is there for all who need it. In
the folder it has a file with each of these endings:

    .lock   it holds its lock, so there is one keeper; in it are its pid and its temporary folder, for the one
            that finds what a killed one left
    .users  every user holds a shared lock: once the keeper gets it for itself alone, there is none
    .json   how the server is reached; its writer holds its lock, so it says whether it still holds true
    .log    what was said

It returns at once: with 0 when the keeper is on its way, with `ANOTHER` if another one is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from ..console import Failed
from . import processes
from .servers import SERVERS, Server

ANOTHER = 3  # exit code
START_TIMEOUT = 60  # seconds; on a busy machine a program is slow to come up
END_TIMEOUT = 5  # seconds that a server has to end by itself; none of its data depends on it
SCRATCH = "store-"  # how the name of its temporary folder begins
TRIES = 5  # a port may be taken by another program just before the server gets to it


def keep(name: str, folder: Path, bucket: str, scratch: Path) -> None:
    """Run the server until it has no user, its folder was removed, or SIGTERM. Raises `Failed`."""
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    data = folder / name
    data.mkdir(mode=0o700, exist_ok=True)
    state = folder / f"{name}.json"
    with (
        (folder / f"{name}.users").open("ab") as users,
        _running(name, data, bucket, scratch) as (server, process),
        _noted(state, server),
    ):
        while not told.wait(0.2) and not processes.locks(users.fileno(), fcntl.LOCK_EX):
            if not state.exists():  # `make clean` does not ask
                return
            if process.poll() is not None:
                print(f"It ended {processes.how(process.returncode)}, and is started again.", flush=True)
                process = _start(server)
                _await(server, process, bucket)


@contextlib.contextmanager
def _running(
    name: str, data: Path, bucket: str, scratch: Path
) -> Iterator[tuple[Server, subprocess.Popen[bytes]]]:
    """The server, ready."""
    kind, former = SERVERS[name], _former(data.with_suffix(".json"))
    for tries_left in reversed(range(TRIES)):
        ports, secret = former or (_free((0,) * kind.PORTS), secrets.token_hex(20))
        server, former = kind(data, ports, secret, scratch), None
        process = _start(server)
        try:
            _await(server, process, bucket)
            break
        except Failed:
            _end(server)
            if process.returncode is None or not tries_left:
                raise
    try:
        yield server, process
    finally:
        _end(server)


def _start(server: Server) -> subprocess.Popen[bytes]:
    kept = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(server.folder)}
    environment = kept | {"TMPDIR": str(server.scratch)} | server.environment()
    return subprocess.Popen(server.command(), cwd=server.folder, env=environment, stdin=subprocess.DEVNULL)


def _await(server: Server, process: subprocess.Popen[bytes], bucket: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not server.ready(bucket):
        said = processes.last_words(server.folder.with_suffix(".log"))
        if process.poll() is not None:
            raise Failed(f"it ended {processes.how(process.returncode)}: {said}")
        if time.monotonic() > deadline:
            raise Failed(f"after {START_TIMEOUT} s it does not answer: {said}")
        time.sleep(0.02)


def _end(server: Server) -> None:
    """End what runs of it: our only children."""
    processes.end(psutil.Process().children(recursive=True), END_TIMEOUT)
    server.clean()


@contextlib.contextmanager
def _noted(path: Path, server: Server) -> Iterator[None]:
    """Say how the server is reached."""
    unfinished = path.with_suffix(".new")
    with unfinished.open("w", encoding="utf-8") as file:
        processes.locks(file.fileno(), fcntl.LOCK_EX)
        said = {"connection": server.connection(), "ports": server.ports, "secret": server.secret}
        json.dump(said, file)
        file.flush()
        unfinished.replace(path)
        yield
        path.unlink(missing_ok=True)


def _former(state: Path) -> tuple[tuple[int, ...], str] | None:
    """Ports and secret of a server whose keeper was killed: by them it is known to those who use it."""
    with contextlib.suppress(OSError, ValueError):  # there is none, or another program has a port by now
        said = json.loads(state.read_bytes())
        return _free(said["ports"]), said["secret"]
    return None


def _free(ports: Sequence[int]) -> tuple[int, ...]:
    """These ports, and any free one for 0. Raises `OSError` if one is taken."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in ports]
        for probe, port in zip(probes, ports, strict=True):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
        return tuple(probe.getsockname()[1] for probe in probes)


def sweep(lock: Path) -> None:
    """End what a keeper that was killed left behind. For who holds the lock."""
    pid, _, scratch = (lock.read_text() if lock.is_file() else "").partition(" ")
    if not pid.isdigit() or not Path(scratch).name.startswith(SCRATCH):
        return
    if not processes.lives(int(pid)):  # else it is another program's by now: the session has ended before
        left = processes.session(int(pid))
        processes.end([each for each in left if processes.folder(each) == lock.with_suffix("")], END_TIMEOUT)
    shutil.rmtree(scratch, ignore_errors=True)


def _main(name: str, folder: Path, bucket: str) -> int:
    os.umask(0o077)
    with (folder / f"{name}.lock").open("a+") as lock:
        if not processes.locks(lock.fileno(), fcntl.LOCK_EX):
            return ANOTHER
        with (folder / f"{name}.log").open("wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        if os.fork():
            return 0
        os.setsid()
        os.chdir(folder)
        sweep(Path(lock.name))
        scratch = tempfile.mkdtemp(prefix=SCRATCH)
        lock.truncate(0)
        lock.write(f"{os.getpid()} {scratch}")
        lock.flush()
        os.environ |= {"no_proxy": "*", "NO_PROXY": "*"}
        code = _kept(name, folder, bucket, Path(scratch))
        shutil.rmtree(scratch, ignore_errors=True)
        lock.truncate(0)
        os._exit(code)  # only now is the lock free


def _kept(name: str, folder: Path, bucket: str, scratch: Path) -> int:
    try:
        keep(name, folder, bucket, scratch)
    except ImportError as problem:
        return _said(f"{problem}: run `make install`")
    except FileNotFoundError as problem:
        return _said(f"there is no {problem.filename}: run `make install`")
    except Exception as problem:
        return _said(
            f"{type(problem).__name__}: {problem}" if not isinstance(problem, Failed) else str(problem)
        )
    return 0


def _said(text: str) -> int:
    print(text, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
