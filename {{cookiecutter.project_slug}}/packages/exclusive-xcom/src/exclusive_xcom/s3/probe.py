"""Tries on an object store, with small objects, everything that tasks will need of it (`xcom probe`)."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from ..address import NOBODY
from ..errors import PayloadAltered, StoreError, StoreMisconfigured, StoreUnreachable, XComError
from .client import Client, Location
from ..store import Check

_CONTENT = bytes(range(256)) * 8
_MEDIA_TYPE = "application/octet-stream"
_SMALLEST_PART = 5 * 2**20  # bytes that S3 takes for a part that is not the last


def probe(location: Location) -> list[Check]:
    """One line for each thing that tasks need, up to the first without which the rest can't be tried."""
    return _Probe(location).run()


class _Probe:
    def __init__(self, location: Location) -> None:
        self.client = Client(location, patient=False)
        self.small, self.large = (f"xcom-probe/{secrets.token_hex(8)}" for _ in range(2))
        self.checks: list[Check] = []

    def run(self) -> list[Check]:
        if not self.check("credentials", self.client.resolve):
            return self.checks
        url = self.client.location.url
        trouble = self.write()
        for name, kind, seen in (
            ("reach", StoreUnreachable, f"{url} answers"),
            ("bucket", StoreMisconfigured, f"{self.client.location.bucket or url} is there"),
            ("write", XComError, "allowed"),
        ):
            if isinstance(trouble, kind):
                self.checks.append(Check(name, False, str(trouble)))
                return self.checks
            self.checks.append(Check(name, True, seen))
        self.check("write in parts", self.write_in_parts)
        if self.check("read", self.read):
            self.check("read a range", self.read_range)
            self.check("metadata", self.metadata)
        self.check("encryption", lambda: self.client.confirm_encryption(self.small))
        self.check("delete", self.delete)
        return self.checks

    def check(self, name: str, act: Callable[[], str]) -> bool:
        try:
            self.checks.append(Check(name, True, act()))
        except XComError as error:
            self.checks.append(Check(name, False, str(error)))
        return self.checks[-1].ok

    def write(self) -> XComError | None:
        try:
            with self.client.explained("write to"):
                self.client.put(self.small, [memoryview(_CONTENT)], _MEDIA_TYPE, NOBODY)
        except XComError as error:
            return error
        return None

    def write_in_parts(self) -> str:
        pieces = [memoryview(bytes(_SMALLEST_PART)), memoryview(b"end")]
        with self.client.explained("write in parts to"):
            self.client.put(self.large, pieces, _MEDIA_TYPE, NOBODY, part=_SMALLEST_PART)
        return "large payloads are uploaded in parts"

    def read(self) -> str:
        with self.client.explained("read", f"{self.client.location.url}/{self.small}"):
            if self.client.get(self.small).bytes() != _CONTENT:
                raise PayloadAltered(
                    "What was read is not what was written", "Look at the store and at proxies."
                )
        return "what was written came back"

    def read_range(self) -> str:
        piece = self.client.read_range(self.small, 100, 200)
        if piece is None or piece != _CONTENT[100:200]:
            raise StoreError(
                "The server answers requests for a part of an object wrongly",
                "XComs are safe, but handle.load(columns=...) fetches the whole. Use a newer server.",
            )
        return "columns can be read alone"

    def metadata(self) -> str:
        with self.client.explained("read"):
            found = self.client.get(self.small).attributes
        if self.client.location.scheme == "file":
            return "a folder keeps none; XComs do not need it"
        if found.get("Content-Type") != _MEDIA_TYPE:
            raise StoreError("The server does not keep an object's media type", "XComs do not need it.")
        return "media type and try are kept"

    def delete(self) -> str:
        self.client.delete(self.small)
        self.client.delete(self.large)
        return "allowed"
