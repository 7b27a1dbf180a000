"""Tries on an object store, with small objects, everything that tasks will need of it (`xcom probe`)."""

from __future__ import annotations

import os
import secrets
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from ..errors import PayloadAltered, StoreDenied, StoreError, StoreMisconfigured, StoreUnreachable, XComError
from ..store import Check
from . import lifecycle
from .client import TRYING
from .location import Location
from .login import ENCRYPTION, ENCRYPTION_KEY, open_location

_CONTENT = bytes(range(256)) * 8
_MEDIA_TYPE = "application/octet-stream"
_METADATA = {"trynumber": "0"}
_SMALLEST_PART = 5 * 2**20  # bytes that S3 takes for a part that is not the last


class Probe:
    """The steps. Each tells what was seen, or raises `XComError`."""

    def __init__(self, location: Location) -> None:
        self.location, self.url = location, location.url
        self.small, self.large = (f"xcom-probe/{secrets.token_hex(8)}" for _ in range(2))
        self.tagged = f"{self.small}-tagged"
        self.wrote, self.refusal = False, XComError("")

    def checks(self) -> Iterator[Check]:
        """One line for each thing that tasks need, up to the first without which the rest can't be tried."""
        bucket = f"{self.location.bucket or self.url} is there"
        steps: list[tuple[str, bool, Callable[[], str]]] = [
            ("credentials", True, self.enter),
            ("reach", True, self.write),
            ("bucket", True, lambda: self.unless(StoreMisconfigured, bucket)),
            ("write", True, lambda: self.unless(StoreError, "allowed")),
            ("write in parts", False, self.write_in_parts),
            ("read", True, self.read),
            ("read a range", False, self.read_range),
            ("metadata", False, self.metadata),
            ("encryption", False, self.encryption),
            ("lifecycle", False, self.lifecycle),
        ]
        for name, needed, step in steps:
            check = self.tried(name, step)
            yield check
            if needed and not check.ok:
                break
        if self.wrote:
            yield self.tried("delete", self.delete)

    def tried(self, name: str, step: Callable[[], str]) -> Check:
        try:
            return Check(name, True, step())
        except XComError as error:
            return Check(name, False, str(error))

    def enter(self) -> str:
        self.client = open_location(self.location, TRYING)
        if self.client.provider:
            self.client.provider()
        return self.client.source

    def write(self) -> str:
        try:
            with self.client.explained("write to"):
                self.client.put(self.small, [memoryview(_CONTENT)], _MEDIA_TYPE, _METADATA)
            self.wrote = True
        except XComError as error:
            self.refusal = error
        return self.unless(StoreUnreachable, f"{self.url} answers")

    def unless(self, kind: type[XComError], seen: str) -> str:
        if isinstance(self.refusal, kind):
            raise self.refusal
        return seen

    def write_in_parts(self) -> str:
        pieces = [memoryview(bytes(_SMALLEST_PART)), memoryview(b"end")]
        with self.client.explained("write in parts to"):
            self.client.put(self.large, pieces, _MEDIA_TYPE, _METADATA, chunk_size=_SMALLEST_PART)
        return "large payloads are uploaded in parts"

    def read(self) -> str:
        with self.client.explained("read", f"{self.url}/{self.small}"):
            found = self.client.get(self.small).bytes()
        if found != _CONTENT:
            raise PayloadAltered("What was read is not what was written", "Look at the store and at proxies.")
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
        if self.location.scheme == "file":
            return "a folder keeps none; XComs do not need it"
        if found.get("Content-Type") != _MEDIA_TYPE:
            raise StoreError("The server does not keep an object's media type", "XComs do not need it.")
        return "media type and try are kept"

    def delete(self) -> str:
        for name in (self.small, self.large, self.tagged):
            self.client.delete(name)
        return "allowed"

    def encryption(self) -> str:
        """Whether the server encrypts as AWS's own variables ask. S3 itself does; others may ignore them."""
        wanted, key = os.environ.get(ENCRYPTION, ""), os.environ.get(ENCRYPTION_KEY, "")
        if not wanted:
            return f"not asked for ({ENCRYPTION})"
        if self.location.scheme != "s3":
            what = f"{ENCRYPTION} asks for S3's encryption, which {self.location.scheme}:// does not have"
            raise StoreMisconfigured(what, "Remove it, and have the bucket or the disk encrypt.")
        headers = self.head()
        given = headers.get("x-amz-server-side-encryption", "no")
        found = headers.get("x-amz-server-side-encryption-aws-kms-key-id", "")
        # An alias is not what the answer names; an id may be given with or without its account.
        same_key = not key or "alias/" in key or found.rpartition("/")[2] == key.rpartition("/")[2]
        if given != wanted or not same_key:
            asked = f"{wanted} with key {key}" if key else wanted
            answer = "another key" if given == wanted else f"{given} encryption"
            what = f"{self.url} was asked to encrypt by {asked}, and answered with {answer}"
            raise StoreMisconfigured(what, f"Correct {ENCRYPTION}, or use a server that encrypts.")
        return f"{wanted}, confirmed"

    def lifecycle(self) -> str:
        """What the bucket's own rules do to payloads, as far as one may see them."""
        if self.location.scheme != "s3":
            return f"a thing of s3://; {self.location.scheme}:// knows no tags"
        try:
            rules = lifecycle.found(self.location)
        except XComError as error:
            return f"not seen: {error}"
        if early := list(lifecycle.too_early(self.location, rules)):
            told = ", ".join(f"{name!r} {lifecycle.in_words(when)}" for name, when in early)
            what = f"Rules of bucket {self.location.bucket} end payloads before their time: {told}"
            raise StoreMisconfigured(what, "Remove them, and let `xcom lifecycle` tell which it should have.")
        if refused := self.tag():
            return f"only `xcom gc` ends payloads by time, since they get no tags: {refused}"
        lacking = len(lifecycle.missing(self.location, rules))
        return f"{lacking} rules are not set; `xcom lifecycle` has them" if lacking else "each rule is there"

    def tag(self) -> XComError | None:
        """What keeps objects from having tags. A server that takes them and drops them is not found out: to
        see them is a right that tasks do not need."""
        try:
            with self.client.explained("tag what is written to"):
                tags = {lifecycle.TAG: f"{lifecycle.STEPS[0]}d"}
                self.client.put(self.tagged, [memoryview(_CONTENT)], _MEDIA_TYPE, _METADATA, tags)
        except XComError as error:
            return error
        return None

    def head(self) -> Any:
        """The headers of a HEAD request, which obstore keeps to itself."""
        import obstore

        verify = self.client.verify
        with self.client.explained("read"):
            url = obstore.sign(self.client.store(), "HEAD", self.small, timedelta(minutes=5))
        trusted = verify if isinstance(verify, str) else os.environ.get("AWS_CA_BUNDLE")
        context = ssl.create_default_context(cafile=trusted)
        if verify is False:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                return answer.headers
        except OSError as error:  # the signed URL is a secret: nothing of it may get out
            status = error.code if isinstance(error, urllib.error.HTTPError) else type(error).__name__
            what = f"Whether {self.url} encrypts could not be seen ({status})"
            raise StoreDenied(what, "Allow the credentials to read what they write (s3:GetObject).") from None
