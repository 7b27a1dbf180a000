"""The store for development that a project's backend needs: found if it runs, otherwise started.

It is used only for the connections `xcom_s3` and `xcom_redis`, and only while nothing else defines them:
with AIRFLOW_CONN_XCOM_S3 in the environment or in connections.env, that store is used. What it holds stays
from one start to the next. It belongs to a folder: all processes that name the same one share it, and it
ends when the last of them has, however that one ended (service_keeper.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..console import Failed
from . import processes
from .servers import SERVERS, for_s3
from .service_keeper import ANOTHER, END_TIMEOUT, START_TIMEOUT, TRIES, sweep

WAIT = TRIES * START_TIMEOUT  # seconds, at most


@dataclass(frozen=True)
class Service:
    """A server that the configured backend needs ("seaweedfs", "moto" or "valkey"), the Airflow connection
    that will lead to it, and the bucket to be made in it."""

    server: str
    connection: str
    bucket: str = ""

    @property
    def variable(self) -> str:
        """The environment variable that defines its connection."""
        return f"AIRFLOW_CONN_{self.connection.upper()}"

    @property
    def title(self) -> str:
        """What it is, for people."""
        known = {"seaweedfs": "SeaweedFS", "valkey": "Valkey"}
        forgets = "moto, which forgets what it holds when it ends (SeaweedFS has no wheel for this machine)"
        return f"{known.get(self.server, forgets)}, the store for development"


def needed(environ: Mapping[str, str]) -> Service | None:
    """The server that the backend in `environ` needs and nobody provides. None for the one before it: who has
    switched reads what it kept where they keep it."""
    connection = environ.get("AIRFLOW__XCOM__CONN_ID", "")
    url = urlsplit(environ.get("AIRFLOW__XCOM__URL", ""))
    if connection == "xcom_s3" and url.scheme == "s3":
        service = Service(for_s3(), connection, url.netloc)
    elif connection == "xcom_redis":
        service = Service("valkey", connection)
    else:
        return None
    return None if environ.get(service.variable) else service


@contextlib.contextmanager
def running(
    environ: Mapping[str, str],
    folder: Path,
    *,
    wait: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[dict[str, str]]:
    """Have the server that `environ` needs, and give the environment variables that lead Airflow to it.

    Args:
        folder: where it keeps its data and its log, and where others find it.
        wait: if no other process uses it in the end, return when it has ended, and not before.
        say: told, for people, when it is not found but started.

    Raises:
        Failed: it does not start.
    """
    service = needed(environ)
    if service is None:
        yield {}
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder, user = folder.resolve(), os.getpid()
    with _used(folder, service.server):
        try:
            yield {service.variable: _found(folder, service.server) or _started(folder, service, say)}
        finally:
            wait = wait and os.getpid() == user  # a fork that comes here is no reason to end
    if wait:
        _await_end(folder, service.server)


@contextlib.contextmanager
def joined(environ: Mapping[str, str], folder: Path) -> Iterator[dict[str, str]]:
    """Like `running`, but only if the server runs: none is started."""
    service = needed(environ)
    if service is None or not _found(folder, service.server):
        yield {}
        return
    with _used(folder, service.server):
        there = _found(folder, service.server)
        yield {service.variable: there} if there else {}


def settle(folder: Path) -> list[str]:
    """Wait until servers that nobody uses have ended, and end what was left by a keeper that was killed.
    Returns the names of those that somebody uses."""
    return [name for name in SERVERS if not _await_end(folder, name)]


@contextlib.contextmanager
def _used(folder: Path, server: str) -> Iterator[None]:
    """Be one of its users: from here on it does not end."""
    with (folder / f"{server}.users").open("ab") as file:
        deadline = time.monotonic() + WAIT
        while not processes.locks(file.fileno(), fcntl.LOCK_SH):  # the one before is about to end
            if time.monotonic() > deadline:
                raise Failed(f"{server} does not end. See {folder / server}.log.")
            time.sleep(0.02)
        yield


def _found(folder: Path, server: str) -> str:
    """The connection to it, if it runs."""
    with contextlib.suppress(FileNotFoundError), (folder / f"{server}.json").open("rb") as file:
        if not processes.locks(file.fileno(), fcntl.LOCK_SH):
            return str(json.load(file)["connection"])
    return ""


def _started(folder: Path, service: Service, say: Callable[[str], None]) -> str:
    """Start it, or wait for who is starting it. Returns the connection to it."""
    name, ours = service.server, False
    module = f"{__package__}.service_keeper"
    command = [sys.executable, "-P", "-m", module, name, str(folder), service.bucket]
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        if connection := _found(folder, name):
            return connection
        if not processes.is_locked(folder / f"{name}.lock"):
            if ours:
                break
            say(f"Starting {service.title}")
            started = subprocess.run(command, check=False, stdin=subprocess.DEVNULL)
            ours = started.returncode != ANOTHER
        time.sleep(0.02)
    log = folder / f"{name}.log"
    raise Failed(
        f"{name}, the store for development, did not start: {processes.last_words(log)}. "
        f"All that it said is in {log}. To use a store of your own, set {service.variable} in "
        "connections.env."
    )


def _await_end(folder: Path, server: str) -> bool:
    """Wait for the end of a server that has no user. Returns whether it has none."""
    lock, users = folder / f"{server}.lock", folder / f"{server}.users"
    deadline = time.monotonic() + 2 * END_TIMEOUT
    while processes.is_locked(lock):
        if time.monotonic() > deadline or (_in_use(users) and processes.is_locked(lock)):
            return False
        time.sleep(0.02)
    with contextlib.suppress(FileNotFoundError), lock.open("rb") as file:
        if processes.locks(file.fileno(), fcntl.LOCK_EX):
            sweep(lock)
    return True


def _in_use(users: Path) -> bool:
    """Whether a process uses the server: it shares the lock, while a keeper that ends has it for itself."""
    with users.open("ab") as file:
        number = file.fileno()
        return not processes.locks(number, fcntl.LOCK_EX) and processes.locks(number, fcntl.LOCK_SH)
