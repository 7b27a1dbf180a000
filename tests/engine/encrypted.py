"""Keysets in files, and pushes and pulls through each backend, for the tests of what is encrypted."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow_versions import row_of
from redis_servers import RedisContract, Valkey, connection
from s3_servers import ObjectContract, configured

from exclusive_xcom import keys, keysets
from exclusive_xcom.address import Address
from exclusive_xcom.backend import XComBackend
from exclusive_xcom.binding import Question
from exclusive_xcom.db import DbXComBackend
from exclusive_xcom.redis import RedisXComBackend
from exclusive_xcom.reference import Reference, parse
from exclusive_xcom.s3 import S3XComBackend
from exclusive_xcom.store import store_of

BACKENDS = ("db", "folder", "s3", "redis")
ADDRESS = Address("orders", "run 1", "extract", -1, "value")


def keyset_in(path: Path, found: Any = None) -> Any:
    """Write a keyset into a private file, a new one unless it is given; Tink's message of it."""
    found = found or keys.new_keyset()
    path.write_text(keys.text_of(found), encoding="utf-8")
    path.chmod(0o600)
    keysets._kept.clear()
    return found


def forget_keys() -> None:
    """As in a process that begins."""
    keysets._kept.clear()


@dataclass
class Backend:
    """A backend with its store."""

    name: str
    of: type[XComBackend]
    write: Callable[[Reference, bytes], None]

    def push(self, value: Any, address: Address = ADDRESS) -> Any:
        """The row of a value, as it comes back from a database."""
        whose = {name: getattr(address, name) for name in ("dag_id", "run_id", "task_id", "map_index")}
        return json.loads(json.dumps(row_of(self.of, address.key, value, **whose), allow_nan=False))

    def pull(self, row: Any, address: Address = ADDRESS) -> Any:
        """What a consumer gets who asks for an XCom and is answered with a row."""
        return self.of._answer(Question(address), [row])[0]

    def raw(self, row: Any) -> bytes:
        """What lies in the store."""
        ref = parse(row)
        return b"".join(map(bytes, store_of(ref).stream(ref)))

    def damaged(self, row: Any, data: bytes) -> Any:
        """Put other bytes in the place of a payload; the row as it is then."""
        if "data" in row:
            return row | {"data": base64.b64encode(data).decode()}
        self.write(parse(row), data)
        return row

    def outside(self, row: Any) -> Any:
        """What somebody gets who asks no question, as `xcom get`."""
        return self.of.deserialize_value(SimpleNamespace(value=row))


@contextlib.contextmanager
def opened(name: str, endpoint: Callable[[], str], folder: Path) -> Iterator[Backend]:
    """A backend, its store empty."""
    if name == "db":
        yield Backend(name, DbXComBackend, lambda ref, data: None)
    elif name == "folder":
        with configured("", (folder / "store").as_uri()):
            yield Backend(name, S3XComBackend, _to_file)
    elif name == "s3":
        with configured(endpoint()) as store:
            yield Backend(name, S3XComBackend, lambda ref, data: ObjectContract().damage(store, ref, data))
    else:
        with Valkey() as server, connection(server.port) as conn_id, pytest.MonkeyPatch.context() as patch:
            patch.setenv("AIRFLOW__XCOM__CONN_ID", conn_id)
            patch.setenv("AIRFLOW__XCOM__FORMER_CONN_ID", conn_id)
            store_in_redis = RedisXComBackend.store()
            yield Backend(
                name,
                RedisXComBackend,
                lambda ref, data: RedisContract().damage(store_in_redis, ref, data),
            )


def _to_file(ref: Reference, data: bytes) -> None:
    Path(urlsplit(ref.uri or "").path).write_bytes(data)
