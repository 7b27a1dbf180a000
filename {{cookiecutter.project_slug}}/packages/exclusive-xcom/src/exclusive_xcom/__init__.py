"""XComs that one task of one run writes, by its current try alone, and that come back exactly as pushed.

    from exclusive_xcom import Handle, lazy, lock

The backend is chosen by Airflow's own setting `[core] xcom_backend`: DAGs import the same names with each.
"""

from __future__ import annotations

import re
from importlib import metadata
from typing import TYPE_CHECKING, Any

_OLDEST = (3, 3)


def _check_airflow() -> None:
    """Raises ImportError for an Airflow that can't tell whether a try is the current one: a platform has it
    pinned, and pip was told not to mind. Airflow is not imported for that: it may be what imports us."""
    try:
        found = metadata.version("apache-airflow-core")
    except metadata.PackageNotFoundError:  # installed in another way: what is missing will say so
        return
    if tuple(map(int, re.findall(r"\d+", found)[:2])) < _OLDEST:
        wanted = ".".join(map(str, _OLDEST))
        raise ImportError(
            f"exclusive-xcom needs Apache Airflow {wanted} or newer, and this is {found}: take a newer one, "
            "or unset AIRFLOW__CORE__XCOM_BACKEND and uninstall exclusive-xcom."
        )


_check_airflow()

from .handle import Handle, lazy  # noqa: E402 - not before it is known that this can work

if TYPE_CHECKING:
    from .locks import lock

__all__ = ["Handle", "lazy", "lock"]


def __getattr__(name: str) -> Any:
    # Who takes no lease does not import what leases need.
    if name == "lock":
        from .locks import lock

        return lock
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
