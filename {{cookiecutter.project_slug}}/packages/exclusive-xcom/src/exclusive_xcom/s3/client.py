"""An object store as this package sees it: obstore, speaking in this package's errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..errors import XComError
from .errors import NO_RANGE, explain, explain_boto
from .location import Location


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
    store: Any  # obstore's client of it, with the location's path as its prefix
    source: str  # where the credentials are from, for people
    provider: Provider | None = None  # gives the credentials; None where obstore finds them itself
    verify: bool | str = True  # whether TLS certificates are checked, or the file of those to trust
    ranges: bool = True  # false once the server has answered a ranged request wrongly

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
        self, name: str, pieces: Iterable[memoryview], media_type: str, told: dict[str, str], **parts: Any
    ) -> None:
        """Store an object. Raises obstore's own errors, so that the caller can tell what to repeat.

        Args:
            told: metadata, by names that S3, Google Cloud and Azure all take: letters alone.
            parts: for an upload in parts, whose `pieces` may be a stream: `chunk_size`, bytes of each, and
                `max_concurrency`, how many of them travel at once.
        """
        import obstore

        # Azure takes no empty value.
        told = {"Content-Type": media_type, **told}
        attributes = {name: value for name, value in told.items() if value}
        obstore.put(self.store, name, pieces, attributes=attributes, use_multipart=bool(parts), **parts)

    def get(self, name: str) -> Any:
        """obstore's answer to a GET; its body is not read yet. Raises obstore's own errors."""
        import obstore

        return obstore.get(self.store, name)

    def read_range(self, name: str, start: int, end: int, uri: str = "") -> memoryview | None:
        """Some bytes of an object; None if the server does not know how. Raises `StoreError`, and
        `PayloadMissing` of a payload."""
        import obstore

        with self.explained("read", uri):
            try:
                piece = memoryview(obstore.get_range(self.store, name, start=start, end=end))
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
                obstore.delete(self.store, name)
            except FileNotFoundError as error:
                if "<Code>" in str(error) and "NoSuchKey" not in str(error):
                    raise
