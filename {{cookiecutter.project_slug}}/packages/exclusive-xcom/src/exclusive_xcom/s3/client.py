"""An object store as this package sees it: obstore, speaking in this package's errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..errors import XComError
from .errors import NO_RANGE, explain, explain_boto
from .location import Location

FLOOR = 128 * 1024  # bytes a second; a transfer that is slower has failed
_STEP = 8 * 2**20  # bytes; transfers up to here, and up to four times, sixteen times … share their limits
_MOST = 4**6 * _STEP


class Limits(NamedTuple):
    """How long a request may take, in seconds: with its body; without a byte; and with its repetitions."""

    whole: int
    silence: int
    repeated: int


def limits_for(length: int) -> Limits:
    """Those of a request with so many bytes."""
    room = _STEP
    while room < min(length, _MOST):
        room *= 4
    return Limits(60 + room // FLOOR, silence=60, repeated=120)


TRYING = Limits(100, silence=60, repeated=5)  # `xcom probe`: a person waits
TIDYING = Limits(5, silence=5, repeated=5)  # a task waits for what it does not need


class Provider:
    """Gives credentials when they are needed, and new ones before they expire."""

    def __init__(self, url: str, find: Callable[[], Any]) -> None:
        self._url, self._find = url, find
        # Why it failed the last time. obstore calls it from Rust and would bury the error.
        self.trouble: XComError | None = None

    def __call__(self) -> Any:
        self.trouble = None
        try:
            return self._find()
        except Exception as error:
            self.trouble = explain_boto(error, self._url)
            raise self.trouble from None


@dataclass
class Client:
    """Reads and writes objects below a location."""

    location: Location
    source: str  # where the credentials are from, for people
    make: Callable[[Limits], Any]  # obstore's client of it, with the location's path as its prefix
    provider: Provider | None = None  # gives the credentials; None where obstore finds them itself
    verify: bool | str = True  # whether TLS certificates are checked, or the file of those to trust
    tags: bool | None = None  # whether the server takes tags, once that is known
    ranges: bool = True  # false once the server has answered a ranged request wrongly
    limits: Limits | None = None  # of all requests; None: of each by its length
    _made: dict[Limits, Any] = field(default_factory=dict)

    def store(self, length: int = 0, limits: Limits | None = None) -> Any:
        """obstore's client for requests with so many bytes: its limits are fixed when it is made."""
        limits = self.limits or limits or limits_for(length)
        if limits not in self._made:
            self._made[limits] = self.make(limits)
        return self._made[limits]

    @contextmanager
    def explained(self, doing: str, uri: str = "") -> Iterator[None]:
        """Turn whatever obstore raises into this package's errors. See `errors.explain`."""
        try:
            yield
        except XComError:
            raise
        except Exception as error:
            trouble = self.provider.trouble if self.provider else None
            raise trouble or explain(error, self.location.url, doing, uri) from None

    def put(
        self,
        name: str,
        pieces: Iterable[memoryview],
        media_type: str,
        told: dict[str, str],
        tags: dict[str, str] | None = None,
        **parts: Any,
    ) -> None:
        """Store an object. Raises obstore's own errors, so that the caller can tell what to repeat.

        Args:
            told: metadata, by names that S3, Google Cloud and Azure all take: letters alone.
            tags: which S3 alone has.
            parts: for an upload in parts, whose `pieces` may be a stream: `chunk_size`, bytes of each, and
                `max_concurrency`, how many of them travel at once.
        """
        import obstore

        # Azure takes no empty value.
        told = {"Content-Type": media_type, **told}
        attributes = {name: value for name, value in told.items() if value}
        if parts:  # the parts that are under way share the line
            length = parts["chunk_size"] * parts.get("max_concurrency", 1)
        else:
            length = sum(piece.nbytes for piece in pieces)
        trying = limits_for(length)._replace(repeated=5) if tags and self.tags is None else None
        store = self.store(length, trying)
        obstore.put(store, name, pieces, attributes=attributes, tags=tags, use_multipart=bool(parts), **parts)

    def get(self, name: str, length: int = 0) -> Any:
        """obstore's answer to a GET of so many bytes, its body not read yet. Raises obstore's own errors."""
        import obstore

        return obstore.get(self.store(length), name)

    def read_range(self, name: str, start: int, end: int, uri: str = "") -> memoryview | None:
        """Some bytes of an object; None if the server does not know how. Raises `StoreError`, and
        `PayloadMissing` of a payload."""
        import obstore

        with self.explained("read", uri):
            try:
                piece = memoryview(obstore.get_range(self.store(end - start), name, start=start, end=end))
                if piece.nbytes == end - start:
                    return piece
            except obstore.exceptions.GenericError as error:
                if not NO_RANGE.search(str(error)):
                    raise
        self.ranges = False
        return None

    def delete(self, name: str) -> None:
        """Delete an object. That it is gone already is no error. Raises `StoreError`."""
        import obstore

        with self.explained("delete from"):
            try:
                obstore.delete(self.store(limits=TIDYING), name)
            except FileNotFoundError as error:
                if "<Code>" in str(error) and "NoSuchKey" not in str(error):
                    raise
