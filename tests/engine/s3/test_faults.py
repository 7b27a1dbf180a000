"""What a network and a server can do to a transfer: the value arrives whole, or an error says why not.

A proxy between the backend and moto fails where it is told to. Every test looks at both ends: at what the
backend says, and at what is in the bucket.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from faulty import Fault, FaultyProxy, faulty
from s3_servers import BUCKET, boto, configured, lengths

from exclusive_xcom.content import StoredContent
from exclusive_xcom.errors import (
    PayloadAltered,
    PayloadError,
    PayloadTruncated,
    StoreUnreachable,
)
from exclusive_xcom.reference import Reference
from exclusive_xcom.s3 import S3Store
from exclusive_xcom.testing.store_contract import ADDRESS, attempt, keep, payload, stage, whole

SMALL = os.urandom(100_000)
LARGE = os.urandom(2**20) * 11  # three parts


@pytest.fixture
def proxy(moto: str) -> Iterator[FaultyProxy]:
    """A proxy before moto."""
    with faulty(moto) as proxy:
        yield proxy


@pytest.fixture
def store(proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Store]:
    """The backend's store, behind the proxy. It begins to upload in parts early, to spare the tests' time."""
    monkeypatch.setattr("exclusive_xcom.s3.store._ONE_REQUEST", 2**20)
    monkeypatch.setattr("exclusive_xcom.s3.store._PART", 5 * 2**20)  # the least that S3 takes
    with configured(proxy.url) as store:
        yield store


def stored(ref: Reference, moto: str) -> bytes:
    """What is in the bucket, asked of moto itself."""
    return boto(moto).get_object(Bucket=BUCKET, Key=urlsplit(ref.uri or "").path[1:])["Body"].read()


def uploads(moto: str) -> int:
    """How many multipart uploads were begun and not ended."""
    return len(boto(moto).list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))


PASSING = [
    Fault("status", 500),
    Fault("status", 503, "SlowDown", times=3),
    Fault("status", 429, "TooManyRequests"),
    Fault("status", 409, "OperationAborted", times=2),
    Fault("reset-request", times=2),
    Fault("lost-reply", times=2),
    Fault("slow-request"),
]
PASSING_IDS = [f"{fault.what}-{fault.status}" for fault in PASSING]


@pytest.mark.parametrize("fault", PASSING, ids=PASSING_IDS)
def test_a_put_gets_over_what_passes(store: S3Store, proxy: FaultyProxy, moto: str, fault: Fault) -> None:
    """One object is there afterwards, with the right bytes."""
    proxy.faults = [Fault(**{**vars(fault), "method": "PUT"})]
    ref = keep(store, [SMALL])
    assert proxy.faults[0].times == 0
    assert stored(ref, moto) == SMALL
    assert list(lengths()) == [ref.uri]


@pytest.mark.parametrize("where", ["uploads", "partNumber=2", "uploadId"])
@pytest.mark.parametrize("fault", PASSING, ids=PASSING_IDS)
def test_a_put_in_parts_gets_over_what_passes(
    store: S3Store, proxy: FaultyProxy, moto: str, fault: Fault, where: str
) -> None:
    """At its beginning, in a part, and at its completion; no upload is left open."""
    before = uploads(moto)
    method = "PUT" if where == "partNumber=2" else "POST"
    proxy.faults = [Fault(**{**vars(fault), "method": method, "where": where})]
    ref = keep(store, [memoryview(LARGE)])
    assert proxy.faults[0].times == 0
    assert hashlib.sha256(stored(ref, moto)).hexdigest() == ref.sha256 == hashlib.sha256(LARGE).hexdigest()
    assert list(lengths()) == [ref.uri]
    # The reply to a beginning that got lost leaves one behind, which nobody can know of; the bucket's
    # lifecycle rule removes it.
    lost = fault.times if (where, fault.what) == ("uploads", "lost-reply") else 0
    assert uploads(moto) - before <= lost


def test_a_completion_that_is_unknown_when_repeated(store: S3Store, proxy: FaultyProxy, moto: str) -> None:
    """Older servers forget an upload with its completion: after a lost reply they answer NoSuchUpload."""
    proxy.faults = [
        Fault("lost-reply", method="POST", where="uploadId"),
        Fault("status", 404, "NoSuchUpload", method="POST", where="uploadId"),
    ]
    ref = keep(store, [memoryview(LARGE)])
    assert [fault.times for fault in proxy.faults] == [0, 0]
    assert stored(ref, moto) == LARGE
    assert list(lengths()) == [ref.uri]


@pytest.mark.slow
@pytest.mark.parametrize("large", [False, True], ids=["small", "parts"])
@pytest.mark.parametrize(
    "fault",
    [Fault("status", 500), Fault("status", 503, "SlowDown"), Fault("status", 409, "OperationAborted")],
)
def test_a_put_that_never_works_says_so_and_leaves_nothing(
    store: S3Store, proxy: FaultyProxy, moto: str, fault: Fault, large: bool
) -> None:
    """The error names the answer; nothing can be read, nothing is left open."""
    before = uploads(moto)
    proxy.faults = [Fault(**{**vars(fault), "method": "PUT", "times": 10_000})]
    with pytest.raises(StoreUnreachable, match=f"{fault.status} {fault.code}") as caught:
        keep(store, [memoryview(LARGE)] if large else [SMALL])
    assert "injected" not in str(caught.value)
    assert lengths() == {}
    assert uploads(moto) == before


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", 500),
        Fault("status", 503, "SlowDown", times=3),
        Fault("lost-reply", times=2),
        Fault("reset-reply", times=2),
        Fault("slow"),
    ],
    ids=lambda fault: f"{fault.what}-{fault.status}",
)
@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_a_read_gets_over_what_passes(
    store: S3Store, proxy: FaultyProxy, fault: Fault, content: bytes
) -> None:
    """Whole and in pieces."""
    ref = keep(store, [memoryview(content)])
    for read in (lambda: bytes(store.fetch(ref)), lambda: whole(store.stream(ref))):
        proxy.faults = [Fault(**{**vars(fault), "method": "GET"})]
        assert read() == content
        assert proxy.faults[0].times == 0


@pytest.mark.parametrize(
    ("what", "expected"),
    [("short", PayloadTruncated), ("flip", PayloadAltered)],
    ids=["truncated", "flipped"],
)
@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_a_wrong_body_is_an_error_and_never_a_value(
    store: S3Store, proxy: FaultyProxy, what: str, expected: type[PayloadError], content: bytes
) -> None:
    """Truncated or altered on its way, in memory and as a file; nothing is left on the disk."""
    ref = keep(store, [memoryview(content)])
    stored_content = StoredContent(ref, store)
    for read in (stored_content.buffer, lambda: stored_content.file("x")):
        proxy.faults = [Fault(what, method="GET")]
        with pytest.raises(expected):
            read()
        assert proxy.faults[0].times == 0
    assert stored_content.buffer() == content


def test_a_wrong_length_is_noticed_before_anything_is_downloaded(store: S3Store, moto: str) -> None:
    """An object that somebody replaced by a huge one costs no memory."""
    ref = keep(store, [SMALL])
    boto(moto).put_object(Bucket=BUCKET, Key=urlsplit(ref.uri or "").path[1:], Body=SMALL * 2)
    with pytest.raises(PayloadTruncated, match="200,000 bytes instead of 100,000"):
        store.fetch(ref)


@pytest.mark.slow
def test_a_read_that_never_works_says_so(store: S3Store, proxy: FaultyProxy) -> None:
    """It is not taken for a missing payload."""
    ref = keep(store, [SMALL])
    proxy.faults = [Fault("reset-reply", method="GET", times=10_000)]
    for read in (lambda: store.fetch(ref), lambda: whole(store.stream(ref))):
        with pytest.raises(StoreUnreachable):
            read()


def test_a_body_that_breaks_off_where_ranges_are_not_answered_well(rclone: str) -> None:
    """rclone answers them with the right bytes and the wrong status."""
    with faulty(rclone) as proxy, configured(proxy.url) as store:
        ref = keep(store, [memoryview(LARGE)])
        for read in (lambda: store.fetch(ref), lambda: whole(store.stream(ref))):
            proxy.faults = [Fault("reset-reply", method="GET")]
            assert read() == LARGE


def test_a_body_that_breaks_off_where_ranges_are_ignored(store: S3Store, proxy: FaultyProxy) -> None:
    """Going on in the middle would give some bytes twice: an error, and not a value."""
    ref = keep(store, [memoryview(LARGE)])
    content = StoredContent(ref, store)
    for read in (content.buffer, lambda: content.file("x")):
        proxy.faults = [Fault("reset-reply", method="GET"), Fault("no-range", method="GET")]
        with pytest.raises(StoreUnreachable, match="broke while"):
            read()
        assert proxy.faults[1].times == 0
    assert content.buffer() == LARGE


@pytest.mark.parametrize(
    "fault", [Fault("status", 500), Fault("lost-reply", times=2)], ids=["500", "lost-reply"]
)
def test_a_delete_gets_over_what_passes(store: S3Store, proxy: FaultyProxy, fault: Fault) -> None:
    """After a lost reply the object is gone already, which is what was wanted."""
    ref = keep(store, [SMALL])
    proxy.faults = [Fault(**{**vars(fault), "method": "DELETE"})]
    store.delete(ref)
    assert lengths() == {}


@pytest.mark.parametrize("status", [403, 500])
def test_what_cannot_be_taken_back_is_told_in_the_log(
    store: S3Store, proxy: FaultyProxy, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """And is no error of its own: the one that refused the push is about to be raised."""
    stored, ref = stage(store, ADDRESS, attempt(), payload([SMALL]))
    proxy.faults = [Fault("status", status, "AccessDenied", method="DELETE", times=10_000)]
    store.abandon(stored)
    assert "left behind" in caplog.text
    assert list(lengths()) == [ref.uri]
