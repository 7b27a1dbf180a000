"""Redis or Valkey as XCom backend, for Airflow: `exclusive_xcom.redis.RedisXComBackend`."""

from __future__ import annotations

import functools
import importlib.util
from typing import ClassVar

from .. import config
from ..backend import XComBackend
from ..errors import ForeignReference
from .store import RedisStore


@functools.cache
def _store(conn_id: str) -> RedisStore:
    return RedisStore(conn_id)


def is_current_backend() -> bool:
    """Whether this project hands XComs over through Redis."""
    from airflow.sdk.execution_time.xcom import XCom

    return issubclass(XCom, RedisXComBackend)


def store_for(scheme: str) -> RedisStore:
    """The store for payloads in Redis, be it the backend or the one before it.

    Raises:
        ImportError: the library for Redis is not installed.
        ForeignReference: Redis is not the backend, and no connection is set for what was stored in it.
    """
    for library in ("redis", "airflow.providers.redis"):
        if importlib.util.find_spec(library) is None:
            raise ModuleNotFoundError(f"No module named {library!r}")
    if is_current_backend():
        return RedisXComBackend.store()
    conn_id = config.text("former_conn_id")
    if not conn_id:
        raise ForeignReference(
            "The value was stored in Redis, which is not the backend now, and no connection to it is set",
            "Set AIRFLOW__XCOM__FORMER_CONN_ID in config/airflow.env to the Airflow connection that it had.",
        )
    return _store(conn_id)


class RedisXComBackend(XComBackend):
    """XComs in Redis or Valkey. AIRFLOW__CORE__XCOM_BACKEND=exclusive_xcom.redis.RedisXComBackend"""

    default_inline_limit: ClassVar[int | None] = 0
    default_max_size: ClassVar[int] = 256 * 2**20
    too_large_advice: ClassVar[str] = (
        "Redis keeps everything in memory. Keep large values in an object store: `make switch BACKEND=s3`. "
        "Or raise AIRFLOW__XCOM__MAX_SIZE in config/airflow.env if your Redis has the memory."
    )

    @classmethod
    def store(cls) -> RedisStore:
        """The server behind AIRFLOW__XCOM__CONN_ID."""
        return _store(config.text("conn_id", "redis_default"))
