"""Real S3 servers for the tests, and ways to lead the backend to them.

moto and rclone have not a line in common: what works on both does not lean on the quirks of one.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import obstore

from exclusive_xcom.local.servers import SeaweedFS
from exclusive_xcom.reference import Reference
from exclusive_xcom.s3 import S3Store
from exclusive_xcom.s3.location import Location
from exclusive_xcom.s3.login import client_of
from exclusive_xcom.store import Store
from exclusive_xcom.testing.store_contract import StoreContract

BUCKET = "engine"
KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
MOTO = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
_numbers = itertools.count(1)


@contextlib.contextmanager
def seaweed(folder: Path) -> Iterator[SeaweedFS]:
    """SeaweedFS with its data on the disk, in a folder."""
    with contextlib.ExitStack() as held:
        free = [held.enter_context(socket.socket()) for _ in range(SeaweedFS.PORTS)]
        for each in free:
            each.bind(("127.0.0.1", 0))
        ports = tuple(each.getsockname()[1] for each in free)
    server = SeaweedFS(folder=folder, scratch=folder, ports=ports, secret="s" * 40)
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **server.environment()}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(server.command(), cwd=folder, env=environment, **quiet) as process:  # type: ignore[call-overload]
        try:
            while not server.ready("engine-tests"):
                assert process.poll() is None
                time.sleep(0.2)
            yield server
        finally:
            process.kill()
            process.wait()
            server.clean()


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """moto's server with the bucket in it; its address. In a process of its own: some tests fork."""
    command = [sys.executable, "-c", MOTO]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            endpoint = f"http://127.0.0.1:{int(process.stdout.readline())}"
            with contextlib.closing(boto(endpoint)) as client:
                client.create_bucket(Bucket=BUCKET)
            yield endpoint
        finally:
            process.kill()


@contextlib.contextmanager
def rclone(folder: Path, *, guarded: bool = True) -> Iterator[str]:
    """rclone's S3 server over a folder, with the bucket in it; its address. Unguarded: for anybody."""
    (folder / BUCKET).mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        Path(sysconfig.get_path("scripts")) / "rclone",
        "serve",
        "s3",
        "--config",
        "/dev/null",
        *(("--auth-key", f"{KEY},{SECRET}") if guarded else ()),
        "--addr",
        f"127.0.0.1:{port}",
        folder,
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(600):
                if process.poll() is not None:
                    raise RuntimeError("rclone did not start")
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def boto(endpoint: str) -> Any:
    """Another client than the backend's, to look at what it did."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )


def lengths() -> dict[str, int]:
    """Bytes of every object below AIRFLOW__XCOM__URL, by URI."""
    location = Location.current()
    assert location is not None
    if location.scheme == "file":
        files = [path for path in Path(location.prefix).rglob("*") if path.is_file()]
        root = Path(location.prefix)
        return {f"{location.url}/{path.relative_to(root)}": path.stat().st_size for path in files}
    found = obstore.list(client_of(location).store()).collect()
    return {f"{location.url}/{entry['path']}": entry["size"] for entry in found}


class ObjectContract(StoreContract):
    """The contract on what obstore itself can look at."""

    def stored(self, store: Store) -> set[str]:
        """Listed."""
        return set(lengths())

    def damage(self, store: Store, ref: Reference, body: bytes) -> None:
        """Another object in its place."""
        location = Location.current()
        assert location is not None
        name = (ref.uri or "").removeprefix(f"{location.url}/")
        obstore.put(client_of(location).store(), name, body)


@contextlib.contextmanager
def configured(
    endpoint: str, url: str = "", extra: dict[str, Any] | None = None, **options: str
) -> Iterator[S3Store]:
    """The backend configured for a server, with a prefix that nothing else uses: its store.

    Args:
        url: another one than a fresh prefix in the bucket.
        extra: for the connection.
        options: of section [xcom]; `login` and `password` go to the connection.
    """
    conn_id = f"s3_{next(_numbers)}"
    connection = {
        "conn_type": "aws",
        "login": options.pop("login", KEY),
        "password": options.pop("password", SECRET),
        "extra": {"endpoint_url": endpoint, "region_name": "us-east-1", **(extra or {})},
    }
    variables = {
        f"AIRFLOW_CONN_{conn_id.upper()}": json.dumps(connection),
        "AIRFLOW__XCOM__URL": url or f"s3://{BUCKET}/{uuid.uuid4()}",
        "AIRFLOW__XCOM__CONN_ID": conn_id,
        **{f"AIRFLOW__XCOM__{name.upper()}": value for name, value in options.items()},
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield S3Store()
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def probed(store: S3Store) -> dict[str, str]:
    """What a probe found wrong, by name."""
    return {check.name: check.detail for check in store.probe() if not check.ok}
