"""Payloads for the tests of a store, and the way of one into it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ..address import Address, Attempt
from ..codecs import Payload
from ..reference import Reference, parse
from ..store import Store, Stored

Body = Sequence[bytes | memoryview] | Path

ADDRESS = Address("orders", "manual__2026-01-02T03:04:05+00:00", "extract", -1, "return_value")

# Names that Airflow allows, or that get past it, and that a path or a key must survive.
STRANGE = [
    "plain",
    "with space",
    "a/b",
    "a//b",
    "/leading",
    "trailing/",
    "..",
    ".",
    "../../other",
    "a/../b",
    "%2e%2e%2f",
    "100%",
    "a%20b",
    "a b",
    "a+b",
    "scheduled__2026-01-02T03:04:05.678901+00:00",
    "größe",
    "数据",
    "😀",
    "quote'\"",
    "back\\slash",
    "{brace}",
    "star*?[x]",
    "#fragment",
    "query?x=1&y=2",
    "semi;colon",
    "tab\tnew\nline",
    "\x01control\x7f",
    "x" * 250,
    "数" * 250,
]


def attempt(number: int = 1) -> Attempt:
    """A try with an identity of its own."""
    return Attempt(number, str(uuid.uuid4()))


def payload(body: Body, *, suffix: str = ".bin", filename: str | None = None) -> Payload:
    """An encoded value, as a codec would make it."""
    return Payload(
        codec="bytes",
        kind="bytes",
        media_type="application/octet-stream",
        suffix=suffix,
        body=body,
        filename=filename,
    )


def stage(store: Store, address: Address, writer: Attempt, content: Payload) -> tuple[Stored, Reference]:
    """Put a payload; what the store gives back, and the reference to it, before the commit."""
    stored = store.put(address, writer, content)
    ref = stored.reference(address, writer, content)
    # What counts is what can be read from the row, so every test goes through its JSON.
    return stored, parse(json.loads(json.dumps(ref.row())))


def keep(
    store: Store,
    body: Body,
    address: Address = ADDRESS,
    writer: Attempt | None = None,
    *,
    suffix: str = ".bin",
) -> Reference:
    """Put and commit a payload; the reference to it."""
    stored, ref = stage(store, address, writer or attempt(), payload(body, suffix=suffix))
    store.commit(stored, ref)
    return ref


def uri_of(ref: Reference) -> str:
    """Where a payload is. Skips the test when it is in the row, where Airflow looks after it."""
    if ref.uri is None:
        pytest.skip("this store keeps payloads in the row")
    return ref.uri


def whole(pieces: Iterator[memoryview]) -> bytes:
    """The pieces of a stream as one."""
    return b"".join(pieces)
