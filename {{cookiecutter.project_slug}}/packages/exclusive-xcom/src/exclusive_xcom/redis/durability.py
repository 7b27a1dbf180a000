"""How many servers must have a value before it counts as stored: WAIT and WAITAOF, and what they counted."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import config
from ..errors import StoreMisconfigured, StoreUnreachable
from .client import WAIT_TIMEOUT, Server


class Demand(NamedTuple):
    """A command that waits for copies, and the counts that it has to give."""

    command: tuple[str, ...]
    wanted: tuple[int, ...]

    def refuse_less(self, counted: Any) -> None:
        """Raise `StoreUnreachable` if fewer servers were counted than demanded."""
        counts = tuple(counted) if isinstance(counted, list | tuple) else (counted,)
        if any(count < want for count, want in zip(counts, self.wanted, strict=True)):
            found, demanded = (" + ".join(map(str, numbers)) for numbers in (counts, self.wanted))
            raise StoreUnreachable(
                f"The value was written, but only {found} of {demanded} demanded copies were confirmed "
                f"within {int(self.command[-1]) / 1000:g} s ({self.command[0]})",
                "Bring the replicas back, or demand fewer (AIRFLOW__XCOM__WAIT_REPLICAS, "
                "AIRFLOW__XCOM__WAIT_AOF); then run the task again.",
            )


def demands(server: Server) -> list[Demand]:
    """What the options demand. Raises `StoreMisconfigured` in a cluster, which can't be asked for it."""
    replicas, files = config.WAIT_REPLICAS.read(), config.WAIT_AOF.read()
    timeout = str(int(WAIT_TIMEOUT * 1000))
    found = []
    if replicas:
        found.append(Demand(("WAIT", str(replicas), timeout), (replicas,)))
    if files:
        found.append(Demand(("WAITAOF", "1", str(files - 1), timeout), (1, files - 1)))
    if found and server.is_cluster:
        raise StoreMisconfigured(
            "In a Redis cluster it can't be asked reliably how many replicas have a value",
            "Leave AIRFLOW__XCOM__WAIT_REPLICAS and AIRFLOW__XCOM__WAIT_AOF at 0.",
        )
    return found
