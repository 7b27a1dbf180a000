"""What the machine can do at best with one payload: the very bytes that we store, without us.

    python limits.py PAYLOAD

Prints seconds as JSON: encode and decode alone, put and get of the encoded bytes by obstore and boto3
against the same S3 server, SET and GET in the same chunks against the same Valkey, a copy in memory and a
copy of a file.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import payloads
from measure import small_like


def timed(work: Callable[[], Any]) -> float:
    """Seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class Encoded:
    """`codecs.Content` over bytes in memory or a file, without verification."""

    def __init__(self, body: bytes | Path) -> None:
        self.body = body
        self.length = body.stat().st_size if isinstance(body, Path) else len(body)

    def buffer(self) -> memoryview:
        """The bytes."""
        assert isinstance(self.body, bytes)
        return memoryview(self.body)

    def file(self, name: str) -> Path:
        """The file."""
        if isinstance(self.body, Path):
            return self.body
        path = Path(os.environ["XCOM_BENCH_FILES"]) / name
        path.write_bytes(self.body)
        return path

    def reader(self) -> None:
        """No ranges."""


def s3_endpoint() -> str:
    """The server's address, from the Airflow connection."""
    return str(json.loads(os.environ["AIRFLOW_CONN_BENCH_S3"])["extra"]["endpoint_url"])


def obstore_seconds(body: bytes | Path) -> tuple[float, float]:
    """Put and get by obstore, as it comes."""
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        "bench",
        endpoint=s3_endpoint(),
        access_key_id="development",
        secret_access_key="development",
        region="us-east-1",
        client_options={"allow_http": True},
    )
    obstore.put(store, "limit/warm", b"x")
    put = timed(lambda: obstore.put(store, "limit/obstore", body))
    if isinstance(body, Path):
        target = body.with_suffix(".back")

        def get() -> None:
            with target.open("wb") as out:
                for piece in obstore.get(store, "limit/obstore").stream(min_chunk_size=8 * 2**20):
                    out.write(piece)

        seconds = timed(get)
        target.unlink()
    else:
        seconds = timed(lambda: obstore.get(store, "limit/obstore").bytes())
    obstore.delete(store, "limit/obstore")
    return put, seconds


def boto3_seconds(body: bytes | Path) -> tuple[float, float]:
    """Put and get by boto3, as it comes."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=s3_endpoint(),
        aws_access_key_id="development",
        aws_secret_access_key="development",
        region_name="us-east-1",
    )
    client.put_object(Bucket="bench", Key="limit/warm", Body=b"x")
    if isinstance(body, Path):
        target = body.with_suffix(".back")
        put = timed(lambda: client.upload_file(str(body), "bench", "limit/boto3"))
        get = timed(lambda: client.download_file("bench", "limit/boto3", str(target)))
        target.unlink()
    else:
        put = timed(lambda: client.put_object(Bucket="bench", Key="limit/boto3", Body=body))
        get = timed(lambda: client.get_object(Bucket="bench", Key="limit/boto3")["Body"].read())
    client.delete_object(Bucket="bench", Key="limit/boto3")
    return put, get


def redis_seconds(body: bytes, chunk: int) -> tuple[float, float]:
    """SET and GET in chunks through one pipeline each, by redis-py."""
    import redis

    connection = json.loads(os.environ["AIRFLOW_CONN_BENCH_REDIS"])
    client = redis.Redis(host=connection["host"], port=connection["port"])
    client.ping()
    view = memoryview(body)
    pieces = {f"limit:{start}": view[start : start + chunk] for start in range(0, len(body), chunk)}

    def put() -> None:
        with client.pipeline(transaction=False) as pipe:
            for name, piece in pieces.items():
                pipe.set(name, piece)
            pipe.execute()

    def get() -> None:
        with client.pipeline(transaction=False) as pipe:
            for name in pieces:
                pipe.get(name)
            b"".join(pipe.execute())

    seconds = timed(put), timed(get)
    if pieces:
        client.delete(*pieces)
    return seconds


def measure(name: str) -> dict[str, Any]:
    """All limits for one payload."""
    from xcom_bench.xcom.codecs import Options, codec_for

    options = Options(max_size=2**34)
    warm = small_like(name)
    codec_for(warm).encode(warm, options)
    value = payloads.PAYLOADS[name]()
    codec = codec_for(value)
    started = time.perf_counter()
    payload = codec.encode(value, options)
    body = payload.body if isinstance(payload.body, Path) else b"".join(payload.chunks())
    result: dict[str, Any] = {"encode": time.perf_counter() - started, "stored": payload.length}
    del value
    content = Encoded(body)
    result["decode"] = timed(lambda: codec.decode(content, payload.meta, options))
    result["obstore_put"], result["obstore_get"] = obstore_seconds(body)
    result["boto3_put"], result["boto3_get"] = boto3_seconds(body)
    if isinstance(body, bytes):
        result["redis_set"], result["redis_get"] = redis_seconds(body, 2**20)
        result["memory_copy"] = timed(lambda: bytearray(body))
    else:
        copy = body.with_suffix(".copy")
        result["file_copy"] = timed(lambda: shutil.copyfile(body, copy))
        copy.unlink()
    return result


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
