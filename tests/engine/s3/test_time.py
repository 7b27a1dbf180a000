"""A server that takes a request and never answers, and one that answers byte by byte: both have an end."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from s3_servers import configured
from structlog.contextvars import bound_contextvars

from exclusive_xcom import garbage
from exclusive_xcom.address import Attempt
from exclusive_xcom.binding import Question, deleting
from exclusive_xcom.errors import StoreUnreachable
from exclusive_xcom.reference import Reference
from exclusive_xcom.s3 import S3Store, S3XComBackend, client
from exclusive_xcom.s3.client import Limits, limits_for
from exclusive_xcom.s3.location import Location
from exclusive_xcom.s3.names import object_name
from exclusive_xcom.testing.payloads import ADDRESS, keep, payload

LENGTH = 100_000
HEAD = (
    f'HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\nETag: "x"\r\n'
    "Last-Modified: Mon, 30 Nov 2026 00:00:00 GMT\r\n\r\n"
).encode()


class Deaf:
    """A server that accepts connections and, if it trickles, answers each with a byte now and then."""

    def __init__(self, *, trickles: bool) -> None:
        self.trickles, self.asked, self.over = trickles, 0, threading.Event()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.lines: list[socket.socket] = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        """All who come."""
        with contextlib.suppress(OSError):
            while True:
                line, _ = self.listening.accept()
                self.asked += 1
                self.lines.append(line)
                if self.trickles:
                    threading.Thread(target=self.trickle, args=(line,), daemon=True).start()

    def trickle(self, line: socket.socket) -> None:
        """An answer that never ends."""
        with contextlib.suppress(OSError):
            line.recv(65536)
            line.sendall(HEAD)
            while not self.over.wait(0.05):
                line.sendall(b"x")

    def close(self) -> None:
        """For all."""
        self.over.set()
        for one in (self.listening, *self.lines):
            one.close()


@pytest.fixture(params=[False, True], ids=["never answers", "trickles"])
def deaf(request: pytest.FixtureRequest) -> Iterator[Deaf]:
    """One of each kind."""
    server = Deaf(trickles=request.param)
    yield server
    server.close()


@pytest.fixture
def store(deaf: Deaf, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Store]:
    """A store there, which has a second for a request, and does not take silence for an end."""
    monkeypatch.setattr(client, "limits_for", lambda length: Limits(1, 60, 1))
    monkeypatch.setattr(client, "TIDYING", Limits(1, 60, 1))
    with configured(deaf.url) as store:
        yield store


def reference(number: int = 0) -> Reference:
    """To a payload that may be there."""
    location, address, writer = Location.current(), replace(ADDRESS, key=f"key {number}"), Attempt(1, "ti")
    assert location is not None
    name = object_name(location, address, writer, payload([b"x"]))
    told: dict[str, Any] = {"uri": f"{location.url}/{name}", "length": LENGTH, "sha256": "0" * 64}
    return Reference(address, writer, codec="binary/1", kind="bytes", media_type="x", **told)


def test_a_pull_has_an_end(store: S3Store) -> None:
    for read in (lambda ref: bytes(store.fetch(ref)), lambda ref: list(store.stream(ref))):
        with pytest.raises(StoreUnreachable):
            read(reference())


@pytest.mark.parametrize("deaf", [False], indirect=True)
def test_a_push_has_an_end(store: S3Store, deaf: Deaf) -> None:
    with pytest.raises(StoreUnreachable, match="did not answer in time"):
        keep(store, [b"value"])


@pytest.mark.parametrize("deaf", [False], indirect=True)
def test_clearing_many_keys_asks_a_dead_server_for_one(
    store: S3Store, deaf: Deaf, caplog: pytest.LogCaptureFixture
) -> None:
    """The rest is left to a collection, which is told once."""
    caplog.set_level(logging.WARNING)
    with bound_contextvars(ti_id=str(uuid.uuid4()), try_number=2):
        for number in range(5):
            ref = reference(number)
            with deleting(Question(ref.address)):
                S3XComBackend.purge(type("Row", (), {"value": ref.row()}))
    assert deaf.asked <= 6  # three times, each of which obstore may repeat
    assert caplog.text.count("left behind: ") == 1
    assert caplog.text.count("deletes no more payloads") == 1
    assert garbage._left[1] <= 0


def test_what_is_large_has_more_time() -> None:
    """A second for so many bytes, and never less than a small one has."""
    for length in (0, 1, 8 * 2**20, 100 * 2**20, 16 * 2**30):
        assert limits_for(length).whole >= 60 + length // client.FLOOR
        assert limits_for(length).whole <= 60 + max(4 * length, 8 * 2**20) // client.FLOOR
    assert len({limits_for(2**power) for power in range(64)}) <= 7  # each needs connections of its own
