"""What the machine can do at best with one payload: the very bytes that we store, without us.

Encoding and decoding alone; put and get of the encoded bytes by obstore and boto3 against the same S3 server;
SET and GET in the same chunks against the same Valkey; a copy in memory and a copy of a file. All in seconds.
`zygote.py` calls `main`.
"""

from __future__ import annotations

import gc
import http.client
import json
import os
import shutil
import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
import payloads
from measure import FEW, TIMES, small_like

CHUNK = 2**19  # what the Redis backend cuts payloads into
PART = 8 * 2**20  # and the S3 backend


class Encoded:
    """`codecs.Content` over bytes in memory or a file, without verification."""

    def __init__(self, body: bytes | Path) -> None:
        self.body = body
        self.length = body.stat().st_size if isinstance(body, Path) else len(body)

    def buffer(self, *, as_bytes: bool = False) -> memoryview:
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


def timed(work: Callable[[], Any], times: int = 1) -> float:
    """Median seconds that `work` takes."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def main(payload: str, wide: bool = True) -> dict[str, Any]:
    """All limits for one payload.

    Args:
        wide: more than putting and getting.
    """
    from exclusive_xcom.codecs import Options, codec_for

    options = Options(max_size=2**34)
    warm = small_like(payload)
    encoded = codec_for(warm, options).encode(warm, options)
    codec_for(warm, options).decode(Encoded(whole(encoded)), encoded.meta, options)
    value = payloads.make(payload)
    codec = codec_for(value, options)
    times = (TIMES if wide else FEW) if payload == "small dict" else 1
    gc.collect()
    result: dict[str, Any] = {"encode": timed(lambda: codec.encode(value, options), times)}
    encoded = codec.encode(value, options)
    body = whole(encoded)
    meta = encoded.meta
    result["stored"] = encoded.length
    value = encoded = None
    gc.collect()
    result["decode"] = timed(lambda: codec.decode(Encoded(body), meta, options), times)
    result |= obstore_seconds(body, times)
    if not wide:
        return result | (redis_seconds(body, times) if isinstance(body, bytes) else {})
    result |= boto3_seconds(body, times)
    result |= server_seconds(body, times)
    result |= folder_seconds(body, times)
    if isinstance(body, bytes):
        result |= redis_seconds(body, times)
        result["memory_copy"] = timed(lambda: bytearray(body), times)
    else:
        copy = body.with_suffix(".copy")
        result["file_copy"] = timed(lambda: shutil.copyfile(body, copy))
        copy.unlink()
    return result


def whole(payload: Any) -> bytes | Path:
    """The body of an encoded value as one."""
    return payload.body if isinstance(payload.body, Path) else b"".join(payload.chunks())


def obstore_seconds(body: bytes | Path, times: int) -> dict[str, float]:
    """Put and get by obstore against the S3 server."""
    put, get = _obstore(_bucket(), body, times)
    return {"obstore_put": put, "obstore_get": get}


def _bucket() -> Any:
    from obstore.store import S3Store

    connection = json.loads(os.environ["AIRFLOW_CONN_BENCH_S3"])
    return S3Store(
        "bench",
        endpoint=connection["extra"]["endpoint_url"],
        access_key_id=connection["login"],
        secret_access_key=connection["password"],
        region=connection["extra"]["region_name"],
        client_options={"allow_http": True},
    )


def folder_seconds(body: bytes | Path, times: int) -> dict[str, float]:
    """Put and get by obstore in a folder."""
    from obstore.store import LocalStore

    folder = Path(os.environ["XCOM_BENCH_FILES"]) / "limit"
    put, get = _obstore(LocalStore(str(folder), mkdir=True), body, times)
    shutil.rmtree(folder)
    return {"folder_put": put, "folder_get": get}


def _obstore(store: Any, body: bytes | Path, times: int) -> tuple[float, float]:
    """Seconds of put, in one request or in parts, whichever is faster, and of get."""
    obstore.put(store, "warm", b"x")
    obstore.get(store, "warm").bytes()
    puts = [timed(lambda: obstore.put(store, "parts", body, chunk_size=PART, max_concurrency=4), times)]
    if isinstance(body, bytes):
        puts.append(timed(lambda: obstore.put(store, "one", body, use_multipart=False), times))
    if isinstance(body, Path):
        target = body.with_suffix(".back")

        def get() -> None:
            with target.open("wb") as out:
                for piece in obstore.get(store, "parts").stream(min_chunk_size=2**20):
                    out.write(piece)

        seconds = timed(get)
        target.unlink()
    else:
        seconds = timed(lambda: obstore.get(store, "one").bytes(), times)
    return min(puts), seconds


def server_seconds(body: bytes | Path, times: int) -> dict[str, float]:
    """What the S3 server itself takes: requests that were signed before, on an open connection, by a client
    that does nothing with the bytes."""
    store = _bucket()
    url = {way: obstore.sign(store, way, "server", timedelta(hours=1)) for way in ("PUT", "GET")}
    parts = urlsplit(url["PUT"])
    connection = http.client.HTTPConnection(parts.netloc)

    def ask(way: str) -> None:
        content = body.open("rb") if isinstance(body, Path) else body
        length = {"Content-Length": str(body.stat().st_size)} if isinstance(body, Path) else {}
        asked = (content, length) if way == "PUT" else (None, {})
        connection.request(way, url[way].partition(parts.netloc)[2], *asked)
        answer = connection.getresponse()
        while answer.read(2**20):
            pass
        if answer.status != 200:
            raise RuntimeError(f"{way} was answered with {answer.status}")

    ask("PUT")
    return {"server_put": timed(lambda: ask("PUT"), times), "server_get": timed(lambda: ask("GET"), times)}


def boto3_seconds(body: bytes | Path, times: int) -> dict[str, float]:
    """Put and get by boto3, as it comes."""
    import boto3

    connection = json.loads(os.environ["AIRFLOW_CONN_BENCH_S3"])
    client = boto3.client(
        "s3",
        endpoint_url=connection["extra"]["endpoint_url"],
        aws_access_key_id=connection["login"],
        aws_secret_access_key=connection["password"],
        region_name=connection["extra"]["region_name"],
    )
    client.put_object(Bucket="bench", Key="limit/warm", Body=b"x")
    where = {"Bucket": "bench", "Key": "limit/boto3"}
    if isinstance(body, Path):
        target = body.with_suffix(".back")
        put = timed(lambda: client.upload_file(str(body), *where.values()))
        get = timed(lambda: client.download_file(*where.values(), str(target)))
        target.unlink()
    else:
        put = timed(lambda: client.put_object(**where, Body=body), times)
        get = timed(lambda: client.get_object(**where)["Body"].read(), times)
    return {"boto3_put": put, "boto3_get": get}


def redis_seconds(body: bytes, times: int) -> dict[str, float]:
    """SET and GET in chunks through one pipeline each, by redis-py."""
    import redis

    connection = json.loads(os.environ["AIRFLOW_CONN_BENCH_REDIS"])
    client = redis.Redis(host=connection["host"], port=connection["port"])
    client.ping()
    view = memoryview(body)
    pieces = {f"limit:{start}": view[start : start + CHUNK] for start in range(0, len(body), CHUNK)}

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

    return {"redis_set": timed(put, times), "redis_get": timed(get, times)}
