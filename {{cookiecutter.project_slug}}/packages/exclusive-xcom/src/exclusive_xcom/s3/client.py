"""An object store as this package sees it: obstore, speaking in this package's errors.

There is one client per process and location, made on first use. A process that was forked after its
parent had used one gets none: the threads that do obstore's work stay behind, and it would wait for ever.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ..address import Attempt
from ..errors import StoreError, XComError
from .errors import NO_RANGE, explain
from .location import Location
from .login import open_location


class Client:
    """Reads and writes objects below a location. Every method raises `StoreError` or `PayloadMissing`,
    except where it says otherwise.

    Attributes:
        location: where it is.
        opened: obstore's client of it, and where the credentials are from.
        ranges: false once the server has answered a ranged request wrongly.
    """

    def __init__(self, location: Location, *, patient: bool = True) -> None:
        self.location = location
        self.opened = open_location(location, patient=patient)
        self.ranges = True

    @contextmanager
    def explained(self, doing: str, uri: str = "") -> Iterator[None]:
        """Turn whatever obstore raises into this package's errors. See `errors.explain`."""
        try:
            yield
        except XComError:
            raise
        except Exception as error:
            provider = self.opened.provider
            trouble = provider.trouble if provider else None
            raise trouble or explain(error, self.location.url, doing, uri) from None

    def put(
        self,
        name: str,
        pieces: Iterable[memoryview],
        media_type: str,
        attempt: Attempt,
        *,
        part: int = 0,
        parallel: int = 1,
    ) -> None:
        """Store an object.

        Args:
            part: bytes of each part of a multipart upload, for which `pieces` may be a stream; 0: one
                request.
            parallel: how many parts travel at once.

        Raises:
            Exception: obstore's own, so that the caller can tell what to repeat; see `explained`.
        """
        import obstore

        more: dict[str, Any] = {"chunk_size": part, "max_concurrency": parallel} if part else {}
        if self.location.scheme != "file":  # a file has no attributes
            more["attributes"] = {
                "Content-Type": media_type,
                # Names that S3, Google Cloud and Azure all take; Azure takes no empty value.
                "trynumber": str(attempt.try_number),
                **({"taskinstance": attempt.ti_id} if attempt.ti_id else {}),
            }
        obstore.put(self.opened.store, name, pieces, use_multipart=bool(part), **more)

    def get(self, name: str) -> Any:
        """obstore's answer to a GET; its body is not read yet. Raises obstore's own errors."""
        import obstore

        return obstore.get(self.opened.store, name)

    def read_range(self, name: str, start: int, end: int, uri: str = "") -> memoryview | None:
        """Some bytes of an object; None if the server does not know how."""
        import obstore

        with self.explained("read", uri):
            try:
                piece = memoryview(obstore.get_range(self.opened.store, name, start=start, end=end))
                if piece.nbytes == end - start:
                    return piece
            except obstore.exceptions.GenericError as error:
                if not NO_RANGE.search(str(error)):
                    raise
        self.ranges = False
        return None

    def delete(self, name: str) -> None:
        """Delete an object. That it is gone already is no error."""
        import obstore

        with self.explained("delete from"):
            try:
                obstore.delete(self.opened.store, name)
            except FileNotFoundError as error:
                if "<Code>" in str(error) and "NoSuchKey" not in str(error):
                    raise


# -- one client per process and location ------------------------------------------------------------

_clients: dict[Location, Client] = {}
_lock = threading.Lock()
_maker = 0  # the process that made them


def client_of(location: Location) -> Client:
    """This process's client of a location. Raises `StoreError`."""
    global _maker
    with _lock:
        if _maker not in (0, os.getpid()):
            raise StoreError(
                "This process was forked from one that had used the object store, so it can't use it",
                "Start processes by multiprocessing's 'spawn' or 'forkserver', or fork them before the "
                "first XCom is read or written.",
            )
        if location not in _clients:
            _maker = os.getpid()
            _clients[location] = Client(location)  # made here, under the lock, so that there is one
        return _clients[location]


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)
