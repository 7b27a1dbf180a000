"""An auth manager that knows a person who may read the XComs of two DAGs, and of no other."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

MAY_READ = {"kinds", "orders"}


class PerDagAuthManager(SimpleAuthManager):
    """As on a platform with rights by DAG."""

    def is_authorized_dag(self, *, user: Any, details: Any = None, **more: Any) -> bool:
        """The user `guest` sees some DAGs alone."""
        if user.username == "guest":
            return details is not None and details.id in MAY_READ and more["method"] == "GET"
        return super().is_authorized_dag(user=user, details=details, **more)
