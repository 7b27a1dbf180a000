"""What a Redis says of itself, and whether that will do (`xcom probe`, and the first push of a process)."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

from .. import config
from ..errors import StoreError, StoreMisconfigured, StoreUnreachable
from ..handle import human_size
from ..store import Check

log = logging.getLogger(__name__)


def refuse_eviction(policy: str) -> None:
    """Raise `StoreMisconfigured`, or only warn if so configured, if XComs may be thrown away."""
    if policy == "noeviction":
        return
    what = f"Redis may evict XComs when its memory is full: its maxmemory-policy is {policy}"
    advice = "Set it to noeviction, by CONFIG SET maxmemory-policy noeviction and in the server's own file."
    if config.choice("eviction", "refuse", ("refuse", "warn")) == "refuse":
        advice += " AIRFLOW__XCOM__EVICTION=warn accepts it: tasks then fail whose input was evicted."
        raise StoreMisconfigured(what, advice)
    log.warning("%s. %s", what, advice)


def refuse_too_few(command: tuple[str, ...], wanted: tuple[int, ...], counted: Any) -> None:
    """Raise `StoreUnreachable` if WAIT or WAITAOF counted fewer servers than demanded."""
    counts = tuple(counted) if isinstance(counted, list | tuple) else (counted,)
    if any(count < want for count, want in zip(counts, wanted, strict=True)):
        found, demanded = (" + ".join(map(str, numbers)) for numbers in (counts, wanted))
        raise StoreUnreachable(
            f"The value was written, but only {found} of {demanded} demanded copies were confirmed within "
            f"{int(command[-1]) / 1000:g} s ({command[0]})",
            "Bring the replicas back, or demand fewer (AIRFLOW__XCOM__WAIT_REPLICAS, "
            "AIRFLOW__XCOM__WAIT_AOF); then run the task again.",
        )


def judge(info: dict[str, Any]) -> Iterator[Check]:
    """The checks that need no more than INFO."""
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version", "0"))
    recent = [int(number) for number in re.findall(r"\d+", version)[:2]] >= [6, 2]
    yield Check("server", recent, f"{name} {version}" + ("" if recent else ": Redis 6.2 or newer is needed"))
    role = str(info.get("role", "unknown"))
    primary = role == "master"
    yield Check("role", primary, "primary" if primary else f"{role}: point the connection to the primary")
    try:
        policy = str(info.get("maxmemory_policy", "unknown"))
        refuse_eviction(policy)
        accepted = "" if policy == "noeviction" else ", accepted by AIRFLOW__XCOM__EVICTION"
        yield Check("eviction", True, f"maxmemory-policy {policy}{accepted}")
    except StoreError as error:
        yield Check("eviction", False, str(error))
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    yield Check(
        "memory", True, f"{human_size(used)} used of {human_size(limit) if limit else 'no set limit'}"
    )
    appends = bool(info.get("aof_enabled"))
    kept = "append-only file" if appends else "no append-only file: a restart may lose XComs"
    works = all(info.get(f"{file}_status", "ok") == "ok" for file in ("aof_last_write", "rdb_last_bgsave"))
    yield Check("persistence", works, kept if works else "Redis can't save its data: look into its log")
    yield Check("cluster", True, "part of a cluster" if info.get("cluster_enabled") else "one server")


def how_lost(info: dict[str, Any], age: float) -> str:
    """How a payload went that was written `age` seconds ago and has not expired, as far as INFO tells."""
    policy, evicted = info.get("maxmemory_policy", "noeviction"), info.get("evicted_keys")
    if policy != "noeviction" and evicted:
        return (
            f"it was probably evicted, as {evicted} keys were under maxmemory-policy {policy}: set noeviction"
        )
    uptime = info.get("uptime_in_seconds", age)
    if uptime < age - 1:
        return f"Redis was restarted {duration(uptime)} ago and did not keep it: turn on appendonly"
    return "it was deleted by a later try, or by hand"


def duration(seconds: float) -> str:
    """A time span for people: "7 days", "90 minutes"."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
