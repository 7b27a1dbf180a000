"""Who is measured: our backends, their peers as installed from PyPI, and the environment each one needs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

OURS = "exclusive_xcom"
SECRETS = "XCOM_BENCH_SECRETS"  # so many secrets a process that measures has heard of
KEYSET = "keyset.json"  # in the folder
PEER = "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend"


@dataclass(frozen=True)
class Contestant:
    """One way to hand over a value.

    Attributes:
        name: as the tables show it.
        backend: dotted path of the class that Airflow would use; "dagster" for Dagster's IO manager.
        server: what it talks to: "s3", "valkey", "file" or "" (the row).
        environment: its configuration; {folder} is filled in.
        only: the payloads that it is measured with; empty: all but those in `without`.
    """

    name: str
    backend: str
    server: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def takes_part(self, payload: str) -> bool:
        """Whether it is measured with a payload."""
        return payload not in self.without and (not self.only or payload in self.only)

    @property
    def ours(self) -> bool:
        """Whether it is one of exclusive-xcom's backends."""
        return self.backend.startswith(OURS)


def _s3(
    name: str, url: str, server: str, only: tuple[str, ...] = (), known: int = 0, **options: str
) -> Contestant:
    environment = {
        "AIRFLOW__XCOM__URL": url,
        "AIRFLOW__XCOM__CONN_ID": "bench_s3" if server == "s3" else "",
        "AIRFLOW__XCOM__FRAME_FORMAT": "arrow",
        "AIRFLOW__XCOM__INLINE_LIMIT": "0",  # small values, too, go to the store: that is what is measured
        **{f"AIRFLOW__XCOM__{option.upper()}": value for option, value in options.items()},
        SECRETS: str(known),
    }
    return Contestant(name, f"{OURS}.s3.S3XComBackend", server, environment, only)


def _peer(
    name: str,
    path: str,
    server: str,
    compression: str,
    only: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
) -> Contestant:
    environment = {
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH": path,
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": "0",
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_COMPRESSION": compression,
    }
    return Contestant(name, PEER, server, environment, only, without)


FRAMES = ("pandas mixed", "polars mixed", "pandas random", "pandas small", "three frames")
SMALL = ("small dict", "mapped")
# What is switched on and off: with each, what handing over these costs.
OPTIONS = ("small dict", "json records", "pandas mixed", "image", "bytes")
IN_ROWS = "ours, s3, small in the row"  # as by default
WITHOUT, WITH, ENCRYPTED = "ours, s3, no preview", "ours, s3, full preview and secrets", "ours, s3, encrypted"

CONTESTANTS = [
    _s3("ours, s3", "s3://bench/ours", "s3"),
    _s3("ours, s3, packed", "s3://bench/ours", "s3", FRAMES, frame_format="packed"),
    _s3("ours, s3, parquet", "s3://bench/ours", "s3", FRAMES, frame_format="parquet"),
    _s3(IN_ROWS, "s3://bench/ours", "s3", SMALL, inline_limit="4096"),
    _s3(WITHOUT, "s3://bench/ours", "s3", OPTIONS, preview="off", secrets="allow"),
    _s3(WITH, "s3://bench/ours", "s3", OPTIONS, preview="full", secrets="refuse", known=20),
    _s3(ENCRYPTED, "s3://bench/ours", "s3", OPTIONS, keyset_file=f"{{folder}}/{KEYSET}"),
    _s3("ours, s3 on file://", "file://{folder}/ours", "file"),
    Contestant(
        "ours, redis",
        f"{OURS}.redis.RedisXComBackend",
        "valkey",
        {"AIRFLOW__XCOM__CONN_ID": "bench_redis", "AIRFLOW__XCOM__MAX_SIZE": str(2**31)},
    ),
    Contestant("ours, db", f"{OURS}.db.DbXComBackend"),
    _peer("Airflow object storage", "s3://bench_s3@bench/peer", "s3", ""),
    # With gzip it was slower than one of these two with every payload, and is not measured any more.
    # Compression does nothing for small values, nor for random numbers.
    _peer(
        "Airflow object storage, zstd",
        "s3://bench_s3@bench/peer",
        "s3",
        "zstd",
        without=(*SMALL, "pandas random"),
    ),
    # Where its own work takes seconds, it takes as long as with S3.
    _peer(
        "Airflow object storage on file://",
        "file://{folder}/peer",
        "file",
        "",
        without=("json records", "pandas random"),
    ),
    Contestant("Airflow default", "airflow.sdk.bases.xcom.BaseXCom"),
    # A tenth of a second for each small value: a thousand of them would take minutes. Of a file it would hand
    # over the path alone.
    Contestant("Dagster S3 pickle", "dagster", "s3", without=("mapped", "file")),
]


def named(name: str) -> Contestant:
    """The contestant of that name."""
    return next(contestant for contestant in CONTESTANTS if contestant.name == name)


def connections(s3: dict[str, Any], ports: dict[str, int]) -> dict[str, str]:
    """The Airflow connections `bench_s3` and `bench_redis` to the servers that bench.py started.

    Args:
        s3: the connection to the S3 server.
        ports: where both are reached on this machine, directly or by a slower network.
    """
    where = {**s3["extra"], "endpoint_url": f"http://127.0.0.1:{ports['s3']}"}
    redis = {"conn_type": "redis", "host": "127.0.0.1", "port": ports["redis"], "extra": {"db": 0}}
    return {
        "AIRFLOW_CONN_BENCH_S3": json.dumps({**s3, "extra": where}),
        "AIRFLOW_CONN_BENCH_REDIS": json.dumps(redis),
    }
