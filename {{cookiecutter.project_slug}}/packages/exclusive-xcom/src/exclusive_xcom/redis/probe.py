"""What a Redis says of itself, and whether that will do (`xcom probe`, and the first push of a process)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import Any

from ..address import NOBODY, Address
from ..codecs import Payload
from ..errors import StoreError, StoreMisconfigured
from ..handle import human_size
from ..store import Check, Store
from .claims import demands
from .client import Server
from .keys import CHUNK


def refuse_eviction(policy: str) -> None:
    """Raise `StoreMisconfigured` if XComs may be thrown away."""
    if policy != "noeviction":
        raise StoreMisconfigured(
            f"Redis may evict XComs when its memory is full: its maxmemory-policy is {policy}",
            "Set it to noeviction, by CONFIG SET maxmemory-policy noeviction and in the server's own file.",
        )


def judge(info: dict[str, Any], line: str) -> Iterator[Check]:
    """The checks that need no more than INFO, and what is known of the connection."""
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version", "0"))
    recent = [int(number) for number in re.findall(r"\d+", version)[:2]] >= [6, 2]
    yield Check("server", recent, f"{name} {version}" + ("" if recent else ": Redis 6.2 or newer is needed"))
    role = str(info.get("role", "unknown"))
    primary = role == "master"
    yield Check("role", primary, "primary" if primary else f"{role}: point the connection to the primary")
    policy = str(info.get("maxmemory_policy", "unknown"))
    try:
        refuse_eviction(policy)
        yield Check("eviction", True, f"maxmemory-policy {policy}")
    except StoreError as error:
        yield Check("eviction", False, str(error))
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    yield Check("memory", True, f"{human_size(used)} used of {human_size(limit) if limit else 'no limit'}")
    kept = "append-only file" if info.get("aof_enabled") else "no append-only file: a restart may lose XComs"
    works = all(info.get(f"{file}_status", "ok") == "ok" for file in ("aof_last_write", "rdb_last_bgsave"))
    yield Check("persistence", works, kept if works else "Redis can't save its data: look into its log")
    yield Check("tls", True, line)
    yield Check("cluster", True, "part of a cluster" if info.get("cluster_enabled") else "one server")


def try_out(store: Store, server: Server) -> Iterator[Check]:
    """Write, commit, read and delete a value of two chunks."""
    address, body = Address("xcom-probe", secrets.token_hex(8), "probe"), secrets.token_bytes(CHUNK + 1)
    payload = Payload("bytes", "bytes", "application/octet-stream", ".bin", [body])
    step = "write"
    try:
        stored = store.put(address, NOBODY, payload)
        yield Check(step, True, "a lease and two chunks were written")
        step = "commit"
        ref = stored.reference(address, NOBODY, payload)
        store.commit(stored, ref)
        waited = "".join(f", {' '.join(map(str, command[:-1]))} was fulfilled" for command in demands(server))
        yield Check(step, True, f"scripts are allowed{waited}")
        step = "read"
        same = store.fetch(ref) == body
        yield Check(step, same, "it was read" if same else "what was read is not what was written")
        step = "delete"
        store.delete(ref)
        yield Check(step, True, "it was deleted")
    except StoreError as error:
        yield Check(step, False, str(error))
