"""What a store must do to keep the payloads of a backend, and which store keeps a given one."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from .address import Address, Attempt
from .codecs import Options, Payload
from .errors import BadReference, ForeignReference
from .reference import Reference

# Which module holds the store of a URI scheme; "row" is a payload inside the reference.
STORE_MODULES = {
    "row": "db",
    "s3": "s3",
    "gs": "s3",
    "az": "s3",
    "file": "s3",
    "memory": "s3",
    "redis": "redis",
}


@dataclass(frozen=True)
class Stored:
    """What `Store.put` gives back: the measured payload and where it is."""

    length: int
    sha256: str
    uri: str | None = None
    data: str | None = None


@dataclass(frozen=True)
class Entry:
    """One payload that `Store.scan` found: its URI, bytes, and when it was written (seconds since 1970)."""

    uri: str
    length: int
    modified: float


@dataclass(frozen=True)
class Check:
    """One line of `xcom probe`: what was tried, whether it worked, and what was seen or is to be done."""

    name: str
    ok: bool
    detail: str


class Store(Protocol):
    """Keeps immutable payloads. One instance per process; it may be made before a fork, so clients are
    made on first use and again in a forked child. Every method raises `StoreError` or `PayloadError`
    with a text that says what to do; no library's own exception gets out.
    """

    def put(self, address: Address, attempt: Attempt, payload: Payload, codec_options: Options) -> Stored:
        """Store a payload under a name of this try's own, durably, before it returns. Never overwrites."""
        ...

    def commit(self, ref: Reference) -> None:
        """Make a stored payload current. Called after Airflow has confirmed the try and before the row is
        written; may be repeated. Most stores have nothing to do: the row is the commit."""
        ...

    def fetch(self, ref: Reference) -> memoryview:
        """The whole payload. The caller verifies it. Raises `PayloadMissing` when it is gone."""
        ...

    def fetch_many(self, refs: Sequence[Reference]) -> Iterator[memoryview]:
        """Small payloads in their order, as `fetch` gives each, by as few requests as there can be."""
        ...

    def stream(self, ref: Reference) -> Iterator[memoryview]:
        """The payload in pieces, in constant memory. The caller verifies it."""
        ...

    def reader(self, ref: Reference) -> BinaryIO | None:
        """A seekable reader of ranges, or None where the store has none."""
        ...

    def delete(self, ref: Reference) -> None:
        """Delete this payload and no other. A payload that is gone already is no error."""
        ...

    def take_over(self, address: Address, attempt: Attempt) -> None:
        """A second or later try begins. Stores that know who owns a task's XComs note it."""
        ...

    def scan(self) -> Iterator[Entry]:
        """All payloads below this store's prefix."""
        ...

    def probe(self) -> list[Check]:
        """Try everything a task will need, and say precisely what does not work."""
        ...


def store_of(ref: Reference) -> Store:
    """The store that keeps a reference's payload, be it the configured backend's or a former one's.

    Raises:
        BadReference: no backend knows such a URI.
        ForeignReference: its backend is not installed here.
    """
    scheme = ref.uri.partition(":")[0] if ref.uri is not None else "row"
    module = STORE_MODULES.get(scheme)
    if module is None:
        raise BadReference(f"No backend reads payloads at {ref.uri!r}", address=ref.address)
    try:
        found = importlib.import_module(f".{module}", __package__)
        store: Store = found.store_for(scheme)
    except ImportError as error:
        raise ForeignReference(
            f"The value was stored by the {module} backend, which is not installed here ({error})",
            f"Install it with `uv sync --extra {module}` where this task runs, or run the task that pushed "
            "the value again.",
            address=ref.address,
        ) from error
    return store
