"""The metadata database as XCom backend: the row is the store.

Plain JSON is left exactly as Airflow writes it. Every other kind is encoded into the row, up to
AIRFLOW__XCOM__MAX_ROW_SIZE bytes (default 1 MiB): the whole row passes through the api-server's memory,
and while it is posted the task sends no heartbeat.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from . import config
from .address import Address, Attempt
from .backend import XComBackend
from .codecs import Options, Payload
from .content import check_length
from .errors import ValueTooLarge, one
from .handle import human_size
from .pull import in_row
from .reference import Expiry, Reference, inline
from .store import Check, Store, Stored

_ADVICE = (
    "Keep it in an object store: `make switch BACKEND=s3` (or redis, up to 256 MiB). Or push less, "
    "or raise AIRFLOW__XCOM__MAX_ROW_SIZE in config/airflow.env if your database can take it."
)


class RowStore(Store):
    """Keeps payloads inside their references."""

    schemes = frozenset({"row"})

    def put(
        self, address: Address, attempt: Attempt, payload: Payload, expires: Expiry | None = None
    ) -> Stored:
        """Raises `ValueTooLarge` before it reads a large file."""
        limit = config.MAX_ROW_SIZE.read()
        if payload.length > limit:
            raise ValueTooLarge(
                f"{one(payload.kind)} of {human_size(payload.length)} does not fit into a row of Airflow's "
                f"metadata database, whose limit is {human_size(limit)} (AIRFLOW__XCOM__MAX_ROW_SIZE)",
                _ADVICE,
            )
        whole = b"".join(payload.chunks())
        return Stored(len(whole), hashlib.sha256(whole).hexdigest(), data=inline(payload.media_type, whole))

    def fetch(self, ref: Reference) -> memoryview:
        """Of the length that the row says: before somebody takes memory for that."""
        found = memoryview(ref.inline_bytes())
        check_length(ref, found.nbytes)
        return found

    def delete(self, ref: Reference) -> None:
        """Airflow deletes the row itself."""

    def probe(self) -> Iterable[Check]:
        limit = human_size(config.MAX_ROW_SIZE.read())
        return [Check("row limit", True, f"{limit} per XCom (AIRFLOW__XCOM__MAX_ROW_SIZE)")]


@functools.cache
def open_store() -> RowStore:
    """The store for payloads inside their references."""
    return RowStore()


class DbXComBackend(XComBackend):
    """XComs in Airflow's metadata database. AIRFLOW__CORE__XCOM_BACKEND=exclusive_xcom.db.DbXComBackend"""

    too_large_advice: ClassVar[str] = _ADVICE

    @classmethod
    def store(cls) -> RowStore:
        """The row."""
        return open_store()

    @classmethod
    def inline_limit(cls) -> int:
        """Whatever a row may have."""
        return config.INLINE_LIMIT.read(config.MAX_ROW_SIZE.read())

    @classmethod
    def codec_options(cls) -> Options:
        """Text stays legible in the row, so it is not compressed."""
        return replace(in_row(super().codec_options()), compress=False)
