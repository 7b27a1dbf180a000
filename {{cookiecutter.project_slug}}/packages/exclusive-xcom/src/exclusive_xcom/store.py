"""What a store must do to keep the payloads of a backend, and which store keeps a given one."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

from .address import Address, Attempt
from .codecs import Payload
from .errors import BadReference, ForeignReference, about
from .reference import Expiry, Reference

# Which module has the store of a URI's scheme, and gives it by `open_store()`.
_MODULES = dict.fromkeys(("s3", "gs", "az", "file", "memory"), "s3") | {"redis": "redis", "row": "db"}


@dataclass(frozen=True)
class Stored:
    """What `Store.put` gives back: the measured payload, where it is, and what `commit` has to know of it."""

    length: int
    sha256: str
    uri: str | None = None
    data: str | None = None
    upload: Any = None

    def reference(
        self,
        address: Address,
        attempt: Attempt,
        payload: Payload,
        *,
        lazy: bool = False,
        expires: Expiry | None = None,
        preview: str = "",
    ) -> Reference:
        """What the row is to say of the payload that was put."""
        names = ("codec", "kind", "media_type", "summary", "filename", "meta")
        told: dict[str, Any] = {name: getattr(payload, name) for name in names}
        told |= {"uri": self.uri, "data": self.data, "lazy": lazy, "expires": expires, "preview": preview}
        return Reference(address, attempt, length=self.length, sha256=self.sha256, **told)


@dataclass(frozen=True)
class Check:
    """One line of `xcom probe`: what was tried, whether it worked, and what was seen or is to be done."""

    name: str
    ok: bool
    detail: str


class Store(ABC):
    """Keeps immutable payloads. One instance per process; it may be made before a fork, so clients are
    made on first use and again in a forked child. Every method raises `StoreError` or `PayloadError`
    with a text that says what to do; no library's own exception gets out.
    """

    #: The schemes of its URIs.
    schemes: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def put(
        self, address: Address, attempt: Attempt, payload: Payload, expires: Expiry | None = None
    ) -> Stored:
        """Store a payload under a name of this try's own, durably, before it returns. Never overwrites. When
        it expires its reference tells, too; here it is for who marks what was stored."""

    def commit(self, stored: Stored, ref: Reference) -> None:  # noqa: B027 - most have nothing to do
        """Make a stored payload current, after Airflow has confirmed the try and before the row is written.
        May be repeated. Unless a store needs more, the row is the commit."""

    def abandon(self, stored: Stored) -> None:  # noqa: B027 - the collector finds it
        """Take back what was put and will not be committed. Must not raise."""

    @abstractmethod
    def fetch(self, ref: Reference) -> memoryview:
        """The whole payload. The caller verifies it. Raises `PayloadMissing` when it is gone."""

    def fetch_many(self, refs: Sequence[Reference]) -> Iterator[memoryview]:
        """Small payloads in their order, as `fetch` gives each, by as few requests as there can be."""
        return map(self.fetch, refs)

    def stream(self, ref: Reference) -> Iterator[memoryview]:
        """The payload in pieces, in constant memory where the store can. The caller verifies it."""
        yield self.fetch(ref)

    def part(self, ref: Reference, start: int, end: int) -> memoryview | None:
        """Some bytes of the payload, by one request; None where only the whole can be had. The caller
        verifies them."""
        return None

    def reader(self, ref: Reference) -> BinaryIO | None:
        """A seekable reader of ranges; None where there is nothing to save by reading a part."""
        return None

    @abstractmethod
    def delete(self, ref: Reference) -> None:
        """Delete this payload and no other. A payload that is gone already is no error."""

    def take_over(self, address: Address, attempt: Attempt) -> None:  # noqa: B027 - names tell tries apart
        """A second or later try begins. Stores that know who owns a task's XComs note it."""

    @abstractmethod
    def probe(self) -> Iterable[Check]:
        """Try everything a task will need, and say precisely what does not work."""


def current_store() -> Store | None:
    """The store of the backend that Airflow is told of; None if that is not one of ours."""
    from airflow.sdk.execution_time.xcom import XCom

    find = getattr(XCom, "store", None)
    return None if find is None else find()


def store_of(ref: Reference) -> Store:
    """The store that keeps a reference's payload, be it the configured backend's or a former one's. Raises
    `BadReference` if no backend knows such a URI, `ForeignReference` if its backend is not installed here."""
    scheme = ref.uri.partition(":")[0] if ref.uri is not None else "row"
    current = current_store()
    if current is not None and scheme in current.schemes:
        return current
    module = _MODULES.get(scheme)
    with about(ref.address):
        if module is None:
            raise BadReference(f"No backend reads payloads at {ref.uri!r}")
        try:
            store: Store = importlib.import_module(f".{module}", __package__).open_store()
        except ImportError as error:
            raise ForeignReference(
                f"The value was stored by the {module} backend, which is not installed here ({error})",
                f"Add it, by `make add PACKAGES='exclusive-xcom[{module}]'` in the project, and install it "
                "anew where this task runs; or run the task that pushed the value again.",
            ) from error
    return store
