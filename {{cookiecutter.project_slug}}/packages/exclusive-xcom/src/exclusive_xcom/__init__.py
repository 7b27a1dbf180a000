"""XComs that one task of one run writes, by its current try alone, and that come back exactly as pushed.

    from exclusive_xcom import Handle, exclusive, keep, lazy, lock

The backend is chosen by Airflow's own setting `[core] xcom_backend`: DAGs import the same names with each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import airflow_compat

airflow_compat.check()

from .handle import Handle, lazy  # noqa: E402 - not before it is known that this can work

if TYPE_CHECKING:
    from .access import exclusive
    from .keeping import keep
    from .locks import lock

__all__ = ["Handle", "exclusive", "keep", "lazy", "lock"]


def __getattr__(name: str) -> Any:
    # Who takes no lease does not import what leases need, and so on.
    if name == "exclusive":
        from .access import exclusive

        return exclusive
    if name == "keep":
        from .keeping import keep

        return keep
    if name == "lock":
        from .locks import lock

        return lock
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
