"""Payloads looked at from outside: wrong ones are told as what they are, nothing of a project is called."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl
import pytest
from airflow_versions import row_of
from s3_servers import boto, configured

from exclusive_xcom.address import Address
from exclusive_xcom.codecs import Options, codec_for
from exclusive_xcom.db import DbXComBackend
from exclusive_xcom.errors import (
    BadReference,
    PayloadAltered,
    PayloadExpired,
    PayloadMissing,
    PayloadTruncated,
    UnknownCodec,
    XComError,
)
from exclusive_xcom.reference import Expiry, Reference
from exclusive_xcom.s3 import S3Store
from exclusive_xcom.s3.location import Location
from exclusive_xcom.s3.versions import Versions
from exclusive_xcom.testing.payloads import ADDRESS, attempt, keep
from exclusive_xcom.upkeep import ls_command, show_command
from exclusive_xcom.upkeep.choosing import seconds
from exclusive_xcom.upkeep.looking import check, value_of
from exclusive_xcom.upkeep.rows import Entry, now
from exclusive_xcom.upkeep.stats_command import Totals

BUILT: list[str] = []


class Own:
    """A class that notices when it is built."""

    @classmethod
    def deserialize(cls, data: dict[str, Any], version: int) -> Own:
        """As Airflow's classes have it."""
        BUILT.append("built")
        return cls()

    def serialize(self) -> dict[str, Any]:
        """As above."""
        return {}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[S3Store]:
    """A folder."""
    with configured("http://127.0.0.1:1", (tmp_path / "xcom").as_uri()) as made:
        yield made


def pushed(store: S3Store, value: Any, **more: Any) -> Reference:
    """The reference to a value that was pushed."""
    options, writer = Options(class_allowed=lambda name: True), attempt()
    payload = codec_for(value, options).encode(value, options)
    payload = replace(payload, codec=f"{payload.codec.partition('/')[0]}/1")
    stored = store.put(ADDRESS, writer, payload)
    return replace(stored.reference(ADDRESS, writer, payload), **more)


def file_of(ref: Reference) -> Path:
    """Its payload."""
    return Path(unquote(urlsplit(ref.uri or "").path))


def test_what_is_whole(store: S3Store) -> None:
    ref = pushed(store, {"a": [1, 2]})
    check(ref)
    assert value_of(ref) == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("body", "kind"), [(b"x" * 9, PayloadAltered), (b"x", PayloadTruncated), (None, PayloadMissing)]
)
def test_what_is_wrong(store: S3Store, body: bytes | None, kind: type[XComError]) -> None:
    ref = keep(store, [b"value" + b"!" * 4], ADDRESS, attempt())
    file_of(ref).unlink() if body is None else file_of(ref).write_bytes(body)
    with pytest.raises(kind):
        check(ref)


def test_what_is_over_is_told_as_that(store: S3Store) -> None:
    over = Expiry("rule 1", datetime.now(UTC) - timedelta(hours=1))
    ref = pushed(store, b"value", expires=over)
    check(ref)  # it is there still
    file_of(ref).unlink()
    for look in (check, value_of):
        with pytest.raises(PayloadExpired, match="rule 1"):
            look(ref)


@pytest.mark.parametrize(
    ("expires", "left", "told"),
    [
        (None, "", ""),
        (Expiry("r", run=True), "run", "when its run has ended well, by r"),
        (
            Expiry("r", datetime(2999, 1, 2, tzinfo=UTC), run=True),
            "run",
            "when its run has ended well, or 2999-01-02 00:00 UTC, by r",
        ),
        (Expiry("r", datetime(2999, 1, 2, tzinfo=UTC)), " d", "2999-01-02 00:00 UTC, by r"),
        (Expiry("r", datetime(2000, 1, 2, tzinfo=UTC), run=True), "over", "2000-01-02 00:00 UTC, by r"),
    ],
)
def test_when_it_goes_is_told(store: S3Store, expires: Expiry | None, left: str, told: str) -> None:
    entry = Entry(ADDRESS, now(), pushed(store, b"value", expires=expires).row())
    assert left in ls_command._cells(entry, now())[-2]
    assert show_command._facts(entry, now())["expires"].endswith(told)


def test_a_forged_place_is_not_read(store: S3Store, tmp_path: Path) -> None:
    (secret := tmp_path / "secret").write_text("sesame")
    ref = pushed(store, b"value")
    for uri in (
        secret.as_uri(),
        f"{(tmp_path / 'xcom').as_uri()}/../secret",
        "http://example.com/x",
        "s3://a/b",
    ):
        with pytest.raises(XComError) as error:
            check(replace(ref, uri=uri))
        assert isinstance(error.value, BadReference) and "sesame" not in str(error.value)


def test_no_class_is_built(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "own_module", sys.modules[__name__])
    monkeypatch.setenv("AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES", ".*")
    monkeypatch.setattr(Own, "__module__", "own_module")
    ref = pushed(store, {"own": Own()})
    BUILT.clear()  # a push tries it
    with pytest.raises(XComError, match="own_module"):
        value_of(ref)
    assert BUILT == []
    check(ref)


def test_no_codec_of_a_project_is_called(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__XCOM__CODECS", "never_there")
    with pytest.raises(UnknownCodec):
        value_of(replace(pushed(store, b"value"), codec="mine/1"))


@pytest.mark.parametrize(
    "row", [{"$xcom": "3"}, {"$xcom": "9"}, {"$xcom": "3", "kind": "\x1b[31m", "address": 7}]
)
def test_a_row_that_can_not_be_read_is_told(row: Any) -> None:
    entry = Entry(ADDRESS, now(), row)
    assert entry.ref is None and not entry.is_plain and entry.kind == "unreadable row"
    assert entry.why_not.isprintable() and not entry.told()["readable"]
    assert entry.where == "row" and entry.length > 0


def test_old_versions(moto: str) -> None:
    bucket = "old-versions"
    with closing(boto(moto)) as client, configured(moto, f"s3://{bucket}/xcom") as store:
        client.create_bucket(Bucket=bucket)
        location = Location.current()
        assert location is not None and Versions.of(location) is None
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        refs = [keep(store, [b"value"], ADDRESS, attempt()) for _ in range(2)]
        store.delete(refs[0])
        versions = Versions.of(location)
        assert versions is not None and versions.purge(refs[0].uri or "") == 2, "one, and a mark"
        left = client.list_object_versions(Bucket=bucket)
        assert [found["Key"] for found in left["Versions"]] == [
            (refs[1].uri or "").removeprefix(f"s3://{bucket}/")
        ]
        assert "DeleteMarkers" not in left


@pytest.mark.parametrize(
    "at", [datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))]
)
def test_ends_at_the_ends_of_time_are_counted(store: S3Store, at: datetime) -> None:
    entry = Entry(ADDRESS, now(), pushed(store, b"x" * 5000, expires=Expiry("forged", at)).row())
    totals = Totals()
    totals.add(entry, now(), seconds("999999999d"))
    assert totals.soon[0] + totals.over[0] == 1


# -- what a row keeps -------------------------------------------------------------------------------


def test_without_its_payload_the_preview_of_the_row_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Expired, lost, too large to be fetched for a look: none of them is a reason to show nothing."""
    monkeypatch.setenv("AIRFLOW__XCOM__PREVIEW", "full")
    where = {"dag_id": "orders", "run_id": "run 1", "task_id": "extract", "map_index": -1}
    row = row_of(DbXComBackend, "value", pl.DataFrame({"name": ["ada"]}), **where)
    del row["data"]
    row["uri"] = f"file://{tmp_path}/gone.arrow"
    entry = Entry(Address(**where, key="value"), datetime.now(UTC), row)
    looked = show_command._looked(entry, values=True, whole=False)
    assert looked["failed"] and looked["trouble"] and looked["preview"]["head"] == [["ada"]]
    looked = show_command._looked(entry, values=False, whole=False)
    assert looked["preview"]["columns"][0]["name"] == "name" and "ada" not in json.dumps(looked)
    row["length"] = 10**9
    looked = show_command._looked(Entry(entry.address, entry.written, row), values=True, whole=False)
    assert not looked["failed"] and "not fetched" in looked["trouble"] and looked["preview"]["rows"] == 1
    (file := tmp_path / "a.csv").write_text("a,b\n1,2\n")
    entry = Entry(entry.address, entry.written, row_of(DbXComBackend, "value", file, **where))
    looked = show_command._looked(entry, values=True, whole=False)
    assert looked["preview"]["beginning"] == "a,b\n1,2" and looked["preview"]["name"] == "a.csv"
