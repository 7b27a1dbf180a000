"""Who is measured: our backends, their peers as installed from PyPI, and the environment each one needs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

OURS = "xcom_bench.xcom"  # the package of the project that bench.py bakes
PEER = "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend"


@dataclass(frozen=True)
class Contestant:
    """One way to hand over a value.

    Attributes:
        name: as the tables show it.
        backend: dotted path of the class that Airflow would use.
        server: what it talks to: "moto", "valkey", "file" or "" (the row).
        environment: its configuration; {s3}, {redis} and {folder} are filled in.
    """

    name: str
    backend: str
    server: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        """Whether it is one of this template's backends."""
        return self.backend.startswith(OURS)


def _s3(name: str, url: str, server: str, frame_format: str = "arrow") -> Contestant:
    return Contestant(
        name,
        f"{OURS}.s3.S3XComBackend",
        server,
        {
            "AIRFLOW__XCOM__URL": url,
            "AIRFLOW__XCOM__CONN_ID": "bench_s3" if server == "moto" else "",
            "AIRFLOW__XCOM__FRAME_FORMAT": frame_format,
        },
    )


def _peer(name: str, path: str, server: str, compression: str) -> Contestant:
    return Contestant(
        name,
        PEER,
        server,
        {
            "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH": path,
            "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": "0",
            "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_COMPRESSION": compression,
        },
    )


CONTESTANTS = [
    _s3("ours, s3", "s3://bench/ours", "moto"),
    _s3("ours, s3, parquet", "s3://bench/ours", "moto", "parquet"),
    _s3("ours, s3 on file://", "file://{folder}/ours", "file"),
    Contestant(
        "ours, redis",
        f"{OURS}.redis.RedisXComBackend",
        "valkey",
        {"AIRFLOW__XCOM__CONN_ID": "bench_redis", "AIRFLOW__XCOM__MAX_SIZE": str(2**31)},
    ),
    Contestant("ours, db", f"{OURS}.db.DbXComBackend", "", {"AIRFLOW__XCOM__MAX_ROW_SIZE": str(2**31)}),
    _peer("Airflow object storage", "s3://bench_s3@bench/peer", "moto", ""),
    _peer("Airflow object storage, zstd", "s3://bench_s3@bench/peer", "moto", "zstd"),
    _peer("Airflow object storage, gzip", "s3://bench_s3@bench/peer", "moto", "gzip"),
    _peer("Airflow object storage on file://", "file://{folder}/peer", "file", ""),
    Contestant("Airflow default", "airflow.sdk.bases.xcom.BaseXCom"),
]


def connections(s3_port: int, redis_port: int) -> dict[str, str]:
    """The Airflow connections `bench_s3` and `bench_redis` to the servers that bench.py started."""
    return {
        "AIRFLOW_CONN_BENCH_S3": json.dumps(
            {
                "conn_type": "aws",
                "login": "development",
                "password": "development",
                "extra": {"endpoint_url": f"http://127.0.0.1:{s3_port}", "region_name": "us-east-1"},
            }
        ),
        "AIRFLOW_CONN_BENCH_REDIS": json.dumps(
            {"conn_type": "redis", "host": "127.0.0.1", "port": redis_port, "extra": {"db": 0}}
        ),
    }
