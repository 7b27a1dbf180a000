"""How many servers must have a value before it counts as stored: WAIT and WAITAOF, and what they counted."""

from __future__ import annotations

from typing import Any

from .. import config
from ..errors import StoreMisconfigured, StoreUnreachable
from .client import WAIT_TIMEOUT, Server


def demands(server: Server) -> dict[tuple[str, ...], list[int]]:
    """The commands that wait for the copies that the options demand, and the counts that each has to give.

    Raises:
        StoreMisconfigured: in a cluster it can't be asked.
    """
    replicas, files = config.WAIT_REPLICAS.read(), config.WAIT_AOF.read()
    timeout = str(int(WAIT_TIMEOUT * 1000))
    found: dict[tuple[str, ...], list[int]] = {}
    if replicas:
        found["WAIT", str(replicas), timeout] = [replicas]
    if files:
        found["WAITAOF", "1", str(files - 1), timeout] = [1, files - 1]
    if found and server.is_cluster:
        raise StoreMisconfigured(
            "In a Redis cluster it can't be asked reliably how many replicas have a value",
            "Leave AIRFLOW__XCOM__WAIT_REPLICAS and AIRFLOW__XCOM__WAIT_AOF at 0.",
        )
    return found


def refuse_too_few(command: tuple[str, ...], wanted: list[int], counted: Any) -> None:
    """Raise `StoreUnreachable` if the command counted fewer servers than demanded."""
    counts = counted if isinstance(counted, list) else [counted]
    if any(count < want for count, want in zip(counts, wanted, strict=True)):
        found, demanded = (" + ".join(map(str, numbers)) for numbers in (counts, wanted))
        raise StoreUnreachable(
            f"The value was written, but only {found} of {demanded} demanded copies were confirmed within "
            f"{int(command[-1]) / 1000:g} s ({command[0]})",
            "Bring the replicas back, or demand fewer (AIRFLOW__XCOM__WAIT_REPLICAS, "
            "AIRFLOW__XCOM__WAIT_AOF); then run the task again.",
        )
