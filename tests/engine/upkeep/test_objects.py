"""What lies in object stores, as a collection sees it: S3 servers and a folder."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from faulty import Fault, faulty
from s3_servers import boto, configured
from upkeep_model import ModelAirflow

from exclusive_xcom.errors import StoreDenied, StoreError, StoreMisconfigured
from exclusive_xcom.s3 import S3Store
from exclusive_xcom.s3.location import Location
from exclusive_xcom.s3.names import object_name
from exclusive_xcom.testing.payloads import ADDRESS, attempt, keep, payload
from exclusive_xcom.upkeep import inventory, marker
from exclusive_xcom.upkeep.inventory import Inventory, Kind, inventory_of
from exclusive_xcom.upkeep.judge import Judge, Why

STORES = ("moto", "rclone", "folder")
LONG = replace(ADDRESS, key="x" * 512, dag_id="y" * 250, run_id="z" * 250)


@contextmanager
def place(request: pytest.FixtureRequest, kind: str, folder: Path) -> Iterator[S3Store]:
    """The backend in a store of a kind, with nothing below its URL."""
    if kind == "folder":
        with configured("http://127.0.0.1:1", folder.as_uri()) as store:
            yield store
    else:
        with configured(request.getfixturevalue(kind)) as store:
            yield store


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[S3Store]:
    """Each store."""
    with place(request, request.param, tmp_path / "xcom") as made:
        yield made


def names(found: Inventory, after: str = "") -> list[str]:
    """What is listed."""
    return [item.name for item in found.items(after)]


def test_a_payload_is_listed_with_whose_it_is(store: S3Store) -> None:
    found, writer = inventory_of(store), attempt()
    before = found.now()
    refs = [
        keep(store, [b"value"], ADDRESS, writer),
        keep(store, [b"value"] * 3, replace(ADDRESS, dag_id="a-b", map_index=7), writer),
        keep(store, [], replace(ADDRESS, dag_id="a", run_id="b/c")),
    ]
    after = found.now()
    items = {f"{found.url}/{item.name}": item for item in found.items()}
    assert set(items) == {ref.uri for ref in refs}
    for ref in refs:
        item = items[ref.uri or ""]
        assert (item.address, item.ti_id, item.size) == (ref.address, ref.attempt.ti_id, ref.length)
        assert int(before) <= item.written <= after + 1
        assert item.mark in (ref.uri or "") and item.ti_id in item.mark
        assert found.item(item.name) == replace(item, size=0, written=0.0)


def test_a_name_that_was_cut_is_told_by_metadata(
    request: pytest.FixtureRequest, moto: str, tmp_path: Path
) -> None:
    for kind, address in (("moto", LONG), ("folder", None)):
        with place(request, kind, tmp_path / "xcom") as store:
            keep(store, [b"value"], LONG)
            (item,) = inventory_of(store).items()
            assert item.address == address, "a folder keeps no metadata, so nothing there is deleted"


def test_it_goes_on_behind_any_name(store: S3Store) -> None:
    found = inventory_of(store)
    for dag_id in ("a", "a-b", "a.b", "ab", "B"):
        for map_index in range(3):
            keep(store, [b"value"], replace(ADDRESS, dag_id=dag_id, map_index=map_index))
    every = names(found)
    assert len(every) == 15
    for number, name in enumerate(every, 1):
        assert names(found, name) == every[number:]
    runs = [name.split("/")[0] for name in every]
    assert len(list(itertools.groupby(runs))) == 5, "a DAG's are together"


def test_our_own_things_are_not_listed(store: S3Store) -> None:
    found = inventory_of(store)
    assert found.read(marker.MARKER) is None
    found.write(marker.MARKER, "a text")
    found.now()
    assert found.read(marker.MARKER) == "a text"
    assert names(found) == []


def test_what_is_deleted_is_gone_and_may_be_gone(store: S3Store) -> None:
    found = inventory_of(store)
    gone, stays = keep(store, [b"value"]), keep(store, [b"value"])
    name = (gone.uri or "").removeprefix(f"{found.url}/")
    found.delete(name)
    found.delete(name)
    assert [f"{found.url}/{left}" for left in names(found)] == [stays.uri]
    assert found.item(name).address == gone.address


def test_a_project_does_not_see_what_another_has_in_the_bucket(moto: str) -> None:
    with configured(moto, "s3://engine/one") as one:
        keep(one, [b"value"])
        assert len(names(inventory_of(one))) == 1
    with configured(moto, "s3://engine/one-more") as other:
        assert names(inventory_of(other)) == []
        keep(other, [b"value"])
    with configured(moto, "s3://engine/one") as one:
        assert len(names(inventory_of(one))) == 1
    with configured(moto, "s3://engine") as whole:
        found = [item for item in inventory_of(whole).items() if item.name.startswith("one")]
        assert len(found) == 2 and not any(item.address for item in found), "one below it is nobody's"


def test_pages_of_a_listing_are_put_together(moto: str) -> None:
    with configured(moto, "s3://engine/pages") as store:
        client = boto(moto)
        for number in range(2100):
            client.put_object(Bucket="engine", Key=f"pages/{number:05}", Body=b"x")
        found = names(inventory_of(store))
        assert found == [f"{number:05}" for number in range(2100)]
        assert names(inventory_of(store), "01999") == found[2000:]


def test_an_unfinished_upload_is_listed_last_and_ended(moto: str, tmp_path: Path) -> None:
    with configured(moto) as store:
        found, client, airflow = inventory_of(store), boto(moto), ModelAirflow()
        kept = keep(store, [b"value"], ADDRESS, attempt())
        prefix = found.url.removeprefix("s3://engine/")
        odd = replace(ADDRESS, run_id="gone")
        begun = [object_name(Location.current(), at, attempt(), payload([b""])) for at in (ADDRESS, odd)]
        for name in (*begun, "not/ours"):
            client.create_multipart_upload(Bucket="engine", Key=f"{prefix}/{name}")
        client.create_multipart_upload(Bucket="engine", Key=f"{prefix}-other/{begun[0]}")
        items = list(found.items())
        assert [item.kind for item in items] == [Kind.PAYLOAD, *[Kind.UPLOAD] * 3]
        by_address = {item.address: item for item in items[1:]}
        assert set(by_address) == {ADDRESS, odd, None}
        for number, item in enumerate(items, 1):
            assert names(found, item.name) == [each.name for each in items[number:]]
            assert item.kind is Kind.PAYLOAD or found.item(item.name) == replace(item, written=0.0)
        judge = Judge(airflow, found.now() + 600)
        airflow.runs[ADDRESS.dag_id, ADDRESS.run_id] = "running"
        whys = [judge.why(by_address[at]) for at in (ADDRESS, odd, None)]
        assert whys == [Why.UNFINISHED, Why.RUN_GONE, Why.UNKNOWN]
        airflow.runs[ADDRESS.dag_id, ADDRESS.run_id] = "failed"
        assert Judge(airflow, found.now() + 600).why(by_address[ADDRESS]) is Why.BROKEN_OFF
        now = found.now()
        young = replace(by_address[ADDRESS], written=now)  # to moto all began in 2010
        assert Judge(airflow, now - 600).why(young) is Why.YOUNG
        for at in (ADDRESS, odd):
            found.delete(by_address[at].name)
            found.delete(by_address[at].name)
        left = client.list_multipart_uploads(Bucket="engine", Prefix=prefix)["Uploads"]
        assert sorted(each["Key"] for each in left) == [f"{prefix}-other/{begun[0]}", f"{prefix}/not/ours"]
        assert bytes(store.fetch(kept)) == b"value" and found.remarks() == []


def test_a_bucket_that_keeps_versions_says_so(moto: str) -> None:
    client = boto(moto)
    client.create_bucket(Bucket="versions")
    client.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    with configured(moto, "s3://versions/xcom") as store:
        found = inventory_of(store)
        keep(store, [b"value"])
        gone = keep(store, [b"value"] * 2)
        found.delete((gone.uri or "").removeprefix(f"{found.url}/"))
        assert len(names(found)) == 1
        (said,) = found.remarks()
        assert "keeps versions: old ones of 1 payloads take 10 B there" in said


@pytest.mark.parametrize(
    ("where", "code", "said"),
    [
        (
            "uploads",
            "AccessDenied",
            "Unfinished uploads are not looked at: that needs the right s3:ListBucketM",
        ),
        ("uploads", "NotImplemented", "Unfinished uploads are not looked at: the server can't list them."),
        ("versioning", "AccessDenied", "Old versions are not looked at: that needs the right s3:GetBucketV"),
    ],
)
def test_what_a_bucket_does_not_tell_is_said(moto: str, where: str, code: str, said: str) -> None:
    with faulty(moto) as proxy, configured(proxy.url) as store:
        found = inventory_of(store)
        keep(store, [b"value"])
        status = 403 if code == "AccessDenied" else 501
        proxy.faults.append(Fault("status", status, code, where=f"?{where}", times=99))
        assert len(names(found)) == 1
        (remark,) = found.remarks()
        assert remark.startswith(said)


def test_a_bucket_that_fails_ends_the_look(moto: str) -> None:
    with faulty(moto) as proxy, configured(proxy.url) as store:
        proxy.faults.append(Fault("status", 500, where="?uploads", times=99))
        with pytest.raises(StoreError):
            names(inventory_of(store))


def test_an_upload_that_may_not_be_ended_is_told(moto: str) -> None:
    with faulty(moto) as proxy, configured(proxy.url) as store:
        found = inventory_of(store)
        name = object_name(Location.current(), ADDRESS, attempt(), payload([b""]))
        key = f"{found.url.removeprefix('s3://engine/')}/{name}"
        boto(moto).create_multipart_upload(Bucket="engine", Key=key)
        (item,) = found.items()
        proxy.faults.append(Fault("status", 403, "AccessDenied", method="DELETE", times=9))
        with pytest.raises(StoreDenied, match="Allow s3:AbortMultipartUpload"):
            found.delete(item.name)


def test_no_link_in_a_folder_is_followed(tmp_path: Path) -> None:
    with configured("http://127.0.0.1:1", (tmp_path / "xcom").as_uri()) as store:
        keep(store, [b"value"])
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "file").touch()
        os.symlink(tmp_path / "elsewhere", tmp_path / "xcom" / "link")
        os.symlink(tmp_path / "elsewhere" / "file", tmp_path / "xcom" / "another")
        assert len(names(inventory_of(store))) == 1


def test_a_bucket_that_is_not_there_is_told(moto: str) -> None:
    with configured(moto, "s3://no-such-bucket/xcom") as store:
        found = inventory_of(store)
        for act in (found.now, lambda: names(found), lambda: found.read("x")):
            with pytest.raises(StoreMisconfigured, match="does not exist"):
                act()


def test_a_backend_without_payloads_has_nothing_to_collect() -> None:
    from exclusive_xcom.db import DbXComBackend

    for store in (None, DbXComBackend.store()):
        with pytest.raises(StoreMisconfigured, match="airflow db clean"):
            inventory.inventory_of(store)
