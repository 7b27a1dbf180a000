"""Redis or Valkey as XCom backend, for Airflow: `exclusive_xcom.redis.RedisXComBackend`."""

from __future__ import annotations

import functools
from typing import ClassVar

from .. import config, forks
from ..backend import XComBackend
from ..errors import ForeignReference
from .store import RedisStore

forks.shared("airflow.providers.redis.hooks.redis")
_store = functools.cache(RedisStore)  # one for each connection


def open_store() -> RedisStore:
    """The store for payloads in Redis where it was the backend before this one. Raises `ImportError` without
    the library, and `ForeignReference` if no connection is set for what was stored in it."""
    import airflow.providers.redis.hooks.redis  # noqa: F401 - raises what says which library is not there

    conn_id = config.FORMER_CONN_ID.read()
    if not conn_id:
        raise ForeignReference(
            "The value was stored in Redis, which is not the backend now, and no connection to it is set",
            "Set AIRFLOW__XCOM__FORMER_CONN_ID in config/airflow.env to the Airflow connection that it had.",
        )
    return _store(conn_id)


class RedisXComBackend(XComBackend):
    """XComs in Redis or Valkey. AIRFLOW__CORE__XCOM_BACKEND=exclusive_xcom.redis.RedisXComBackend"""

    default_max_size: ClassVar[int] = 256 * 2**20
    default_frame_format: ClassVar[str] = "packed"
    default_retention: ClassVar[str] = "7d"
    too_large_advice: ClassVar[str] = (
        "Redis keeps everything in memory. Keep large values in an object store: `make switch BACKEND=s3`. "
        "Or raise AIRFLOW__XCOM__MAX_SIZE in config/airflow.env if your Redis has the memory."
    )

    @classmethod
    def store(cls) -> RedisStore:
        """The server behind AIRFLOW__XCOM__CONN_ID."""
        return _store(config.CONN_ID.read("redis_default"))
