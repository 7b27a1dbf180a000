"""An HTTP proxy on a free port that passes requests on to a server, and fails where it is told to.

A fault is for one request: the first that it matches. Everything else goes through untouched. All
requests are noted, so that tests can count round trips.
"""

from __future__ import annotations

import http.client
import http.server
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PIECE = 65536
# Headers that belong to one connection and not to the message.
HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade"}


@dataclass
class Seen:
    """One request: its method, path with query, bytes of body, who signed it; and bytes of the reply."""

    method: str
    path: str
    length: int
    authorization: str
    token: str
    replied: int = 0


@dataclass
class Fault:
    """What to do to one request.

    Attributes:
        what: "status" (answer with it, do not pass on), "reset-request" (break the connection half-way
            through the request's body), "lost-reply" (pass on, then break the connection), "reset-reply"
            (half-way through the reply's body), "short" (a reply of half the length, well-formed),
            "flip" (one bit in the middle of the reply), "slow" (the reply in small pieces with pauses),
            "slow-request" (read the request so), "no-range" (pass on the request as one for the whole).
        status, body: of the answer.
        method, where: for which requests: the method, and what the path holds.
        times: for how many requests.
        headers: of the answer, besides its length.
    """

    what: str
    status: int = 500
    code: str = "InternalError"
    message: str = "injected"
    method: str = ""
    where: str = ""
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)

    def matches(self, method: str, path: str) -> bool:
        """Whether this fault is for a request."""
        return self.times > 0 and self.method in ("", method) and self.where in path


class FaultyProxy:
    """See the module. `url` is its own address; `faults` may be changed at any time."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.faults: list[Fault] = []
        #: Called with each request's number from 0, and "before" or "after" it is passed on. If it says
        #: False, the connection is broken there.
        self.watch: Callable[[int, str], bool] = lambda number, moment: True
        self.seen: list[Seen] = []
        self.lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            """Knows its proxy."""

            owner = proxy

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def take(self, seen: Seen) -> tuple[int, Fault | None]:
        """Note a request; its number. Use up the first fault that is for it."""
        with self.lock:
            self.seen.append(seen)
            for fault in self.faults:
                if fault.matches(seen.method, seen.path):
                    fault.times -= 1
                    return len(self.seen) - 1, fault
            return len(self.seen) - 1, None

    def count(self, method: str = "") -> int:
        """How many requests of a method came in."""
        with self.lock:
            return sum(method in ("", seen.method) for seen in self.seen)


@contextmanager
def faulty(upstream: str) -> Iterator[FaultyProxy]:
    """A running proxy before `upstream` ("http://host:port")."""
    proxy = FaultyProxy(upstream)
    thread = threading.Thread(target=proxy.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        proxy.server.server_close()
        thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    owner: FaultyProxy
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        """As the parent's; a client that has gone is no error."""
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _any(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        signed, token = self.headers.get("authorization", ""), self.headers.get("x-amz-security-token", "")
        seen = Seen(self.command, self.path, length, signed, token)
        number, fault = self.owner.take(seen)
        what = fault.what if fault else ""
        if what == "reset-request":
            self.rfile.read(length // 2)
            self._reset()
            return
        body = b"".join(self._slowly(length)) if what == "slow-request" else self.rfile.read(length)
        if fault and what == "status":
            self._answer(fault)
            return
        if not self.owner.watch(number, "before"):
            self._reset()
            return
        upstream = self.owner.upstream
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=120)
        try:
            hidden = HOP | {"range"} if what == "no-range" else HOP
            headers = {name: value for name, value in self.headers.items() if name.lower() not in hidden}
            connection.request(self.command, self.path, body or None, headers)
            reply = connection.getresponse()
            content = reply.read()
        finally:
            connection.close()
        if not self.owner.watch(number, "after") or what == "lost-reply":
            self._reset()
            return
        seen.replied = len(content)
        self._pass_back(reply, content, what)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _any

    def _slowly(self, length: int) -> Iterator[bytes]:
        step = max(1, length // 20)
        while length > 0:
            piece = self.rfile.read(min(step, length))
            if not piece:
                return
            length -= len(piece)
            time.sleep(0.05)
            yield piece

    def _answer(self, fault: Fault) -> None:
        body = (
            f"<?xml version='1.0'?><Error><Code>{fault.code}</Code><Message>{fault.message}</Message></Error>"
        )
        content = b"" if self.command == "HEAD" else body.encode()
        self.send_response(fault.status)
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _pass_back(self, reply: http.client.HTTPResponse, content: bytes, what: str) -> None:
        if what == "short":
            content = content[: len(content) // 2]
        if what == "flip" and content:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        self.send_response_only(reply.status, reply.reason)
        for name, value in reply.getheaders():
            if name.lower() not in HOP | {"content-length"}:
                self.send_header(name, value)
        length = reply.headers.get("content-length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if what == "reset-reply":
            self.wfile.write(content[: len(content) // 2])
            self._reset()
        elif what == "slow":
            step = max(1, len(content) // 20)
            for start in range(0, len(content), step):
                self.wfile.write(content[start : start + step])
                time.sleep(0.05)
        else:
            self.wfile.write(content)

    def _reset(self) -> None:
        """Break the connection so that the other side gets a reset and not an end."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
