"""The metadata database as XCom backend: the row is the store.

Plain JSON is left exactly as Airflow writes it. Every other kind is encoded into the row, up to
AIRFLOW__XCOM__MAX_ROW_SIZE bytes (default 1 MiB): the whole row passes through the api-server's memory,
and while it is posted the task sends no heartbeat.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO, ClassVar

from . import config
from .address import Address, Attempt
from .backend import XComBackend
from .codecs import Options, Payload
from .errors import ValueTooLarge
from .handle import human_size
from .reference import Reference, inline
from .store import Check, Entry, Stored

_ADVICE = (
    "Keep it in an object store: `make switch BACKEND=s3` (or redis, up to 256 MiB). Or push less, "
    "or raise AIRFLOW__XCOM__MAX_ROW_SIZE in config/airflow.env if your database can take it."
)


class RowStore:
    """Keeps payloads inside their references."""

    def put(self, address: Address, attempt: Attempt, payload: Payload, codec_options: Options) -> Stored:
        """The payload as the data of its reference. Raises `ValueTooLarge` before it reads a large file."""
        limit = config.integer("max_row_size", 2**20, minimum=1024)
        if payload.length > limit:
            raise ValueTooLarge(
                f"A {payload.kind} of {human_size(payload.length)} does not fit into a row of Airflow's "
                f"metadata database, whose limit is {human_size(limit)} (AIRFLOW__XCOM__MAX_ROW_SIZE)",
                _ADVICE,
            )
        whole = b"".join(payload.chunks())
        return Stored(len(whole), hashlib.sha256(whole).hexdigest(), data=inline(payload.media_type, whole))

    def commit(self, ref: Reference) -> None:
        """The row is the commit."""

    def fetch(self, ref: Reference) -> memoryview:
        """The payload in the reference."""
        return memoryview(ref.inline_bytes())

    def fetch_many(self, refs: Sequence[Reference]) -> Iterator[memoryview]:
        """The payloads in the references."""
        return map(self.fetch, refs)

    def stream(self, ref: Reference) -> Iterator[memoryview]:
        """The payload in one piece: it is in memory already."""
        yield self.fetch(ref)

    def reader(self, ref: Reference) -> BinaryIO | None:
        """None: there is nothing to save by reading a part."""
        return None

    def delete(self, ref: Reference) -> None:
        """Airflow deletes the row itself."""

    def take_over(self, address: Address, attempt: Attempt) -> None:
        """Nothing to note: Airflow is asked at every push."""

    def scan(self) -> Iterator[Entry]:
        """Nothing: the rows are Airflow's, and it cleans them up (`airflow db clean`)."""
        return iter(())

    def probe(self) -> list[Check]:
        """The limit of a row; whether the database answers is Airflow's own business (`airflow db check`)."""
        limit = config.integer("max_row_size", 2**20, minimum=1024)
        return [Check("row limit", True, f"{human_size(limit)} per XCom (AIRFLOW__XCOM__MAX_ROW_SIZE)")]


@functools.cache
def _row_store() -> RowStore:
    return RowStore()


def store_for(scheme: str) -> RowStore:
    """The store for payloads inside their references."""
    return _row_store()


class DbXComBackend(XComBackend):
    """XComs in Airflow's metadata database. AIRFLOW__CORE__XCOM_BACKEND=<package>.xcom.db.DbXComBackend"""

    default_inline_limit: ClassVar[int | None] = None
    too_large_advice: ClassVar[str] = _ADVICE

    @classmethod
    def store(cls) -> RowStore:
        """The row."""
        return _row_store()

    @classmethod
    def codec_options(cls) -> Options:
        """Text stays legible in the row, so it is not compressed."""
        return replace(super().codec_options(), compress=False)
