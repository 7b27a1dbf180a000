"""The store contract on two independent S3 servers, and that other programs see plain objects there."""

from __future__ import annotations

import hashlib
import io
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from faulty import faulty
from s3_servers import BUCKET, ObjectContract, boto, configured, lengths
from s3_servers import rclone as rclone_server

from exclusive_xcom.codecs import Options, codec_named, encoded
from exclusive_xcom.content import StoredContent
from exclusive_xcom.s3 import S3Store
from exclusive_xcom.s3.location import Location
from exclusive_xcom.s3.login import client_of
from exclusive_xcom.store import Store
from exclusive_xcom.testing.store_contract import ADDRESS, attempt, keep, payload, stage


class TestOnMoto(ObjectContract):
    """The contract on moto."""

    @pytest.fixture
    def store(self, moto: str) -> Iterator[S3Store]:
        """A prefix of its own, which is empty again afterwards."""
        with configured(moto) as store:
            yield store
            location = Location.current()
            assert location is not None
            for uri in lengths():
                client_of(location).delete(uri.removeprefix(f"{location.url}/"))
            assert lengths() == {}


class TestOnRclone(ObjectContract):
    """The contract on rclone, which answers every ranged request with the whole."""

    @pytest.fixture
    def store(self, rclone: str) -> Iterator[S3Store]:
        """A prefix of its own."""
        with configured(rclone) as store:
            yield store

    def test_probe_is_content(self, store: Store) -> None:
        """All is well but for ranges, and the probe says so."""
        checks = {check.name: check for check in store.probe()}
        assert [name for name, check in checks.items() if not check.ok] == ["read a range"]
        assert "wrongly" in checks["read a range"].detail


class TestOnGoogle(TestOnRclone):
    """The contract by the client for Google Cloud Storage, which speaks S3's language but for signatures."""

    @pytest.fixture
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Store]:
        """A bucket on a server that wants no signatures."""
        (tmp_path / "bucket").mkdir()
        with rclone_server(tmp_path / "bucket", guarded=False) as endpoint:
            account = {"gcs_base_url": endpoint, "disable_oauth": True, "client_email": "", "private_key": ""}
            (tmp_path / "account.json").write_text(json.dumps({**account, "private_key_id": ""}))
            monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "account.json"))
            monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)  # which allows http without TLS
            with configured("", f"gs://{BUCKET}/{uuid.uuid4()}") as store:
                yield store


def test_wrong_ranges_are_read_whole_once(rclone: str) -> None:
    """A reader works on a server without ranges: the whole is fetched at the first read, and no more."""
    content = os.urandom(200_000)
    with faulty(rclone) as proxy, configured(proxy.url) as store:
        # rclone signs over the host name, which the proxy passes on as it is.
        ref = keep(store, [content])
        reader = store.reader(ref)
        assert reader is not None
        proxy.seen.clear()
        reader.seek(1000)
        assert reader.read(500) == content[1000:1500]
        reader.seek(-100, io.SEEK_END)
        assert reader.read() == content[-100:]
        assert proxy.count("GET") == 2  # the ranged one, and the whole
        assert store.reader(ref) is None  # now it is known


def test_where_ranges_are_wrong_an_item_takes_the_whole_once(rclone: str) -> None:
    """Not once for the index and once more for the item."""
    texts = [os.urandom(10_000).hex() for _ in range(60)]
    with faulty(rclone) as proxy, configured(proxy.url) as store:
        made = encoded(texts, Options())
        _, ref = stage(store, ADDRESS, attempt(), made)
        proxy.seen.clear()
        found, _ = codec_named(ref.codec, Options()).item(StoredContent(ref, store), ref.meta, Options(), 7)  # type: ignore[attr-defined]
        assert found == texts[7]
        assert proxy.count("GET") == 2  # the ranged one, and the whole


def test_objects_are_plain_and_say_what_they_are(moto: str) -> None:
    """Path, bytes, media type and try, as another client sees them."""
    writer = attempt(3)
    with configured(moto) as store:
        ref = keep(store, [b"one", b"two"], ADDRESS, writer, suffix=".json.zst")
    assert ref.uri is not None
    key = urlsplit(ref.uri).path[1:]
    found = boto(moto).get_object(Bucket=BUCKET, Key=key)
    assert found["Body"].read() == b"onetwo"
    assert found["ContentType"] == "application/octet-stream"
    assert found["Metadata"] == {"trynumber": "3", "taskinstance": writer.ti_id}
    _, *place, name = key.split("/")
    assert place == ["orders", "manual__2026-01-02T03@3A04@3A05@2B00@3A00", "extract", "-1", "return_value"]
    assert name.startswith(writer.ti_id + "-")
    assert name.endswith(".json.zst")


def test_a_file_keeps_its_name(moto: str, tmp_path: Path) -> None:
    """The last part of the path is the file's own name, in a folder of the try's own."""
    (tmp_path / "x").write_bytes(b"content")
    writer = attempt()
    with configured(moto) as store:
        _, ref = stage(store, ADDRESS, writer, payload(tmp_path / "x", filename="report 2026.pdf"))
    assert ref.uri is not None
    folder, name = ref.uri.rsplit("/", 2)[1:]
    assert folder.startswith(writer.ti_id + "-")
    assert name == "report@202026.pdf"


@pytest.mark.parametrize("length", [0, 10, 500, 900])
def test_names_fit_into_1024_bytes(moto: str, length: int) -> None:
    """Long ids are cut, with a digest that keeps them apart; the prefix counts too."""
    prefix = ("p" * 99 + "/") * (length // 100) + "p" * (length % 100 or 1)
    if length == 900:
        with (
            configured(moto, f"s3://{BUCKET}/{prefix}") as store,
            pytest.raises(ValueError, match="too long"),
        ):
            keep(store, [b"x"])
        return
    with configured(moto, f"s3://{BUCKET}/{prefix}") as store:
        keys = set()
        for number in range(3):
            address = replace(
                ADDRESS, dag_id="数" * 200 + str(number), run_id="r" * 250, task_id="ä" * 250, key="k" * 512
            )
            ref = keep(store, [b"value"], address)
            assert ref.uri is not None
            assert len(urlsplit(ref.uri).path[1:]) <= 1024
            assert bytes(store.fetch(ref)) == b"value"
            keys.add(ref.uri.split("/")[-2])
        assert len(keys) == 3


def test_a_file_with_a_long_name_keeps_its_ending(moto: str, tmp_path: Path) -> None:
    """So that other tools know what it is."""
    (tmp_path / "x").write_bytes(b"content")
    with configured(moto) as store:
        _, ref = stage(store, ADDRESS, attempt(), payload(tmp_path / "x", filename="é" * 120 + ".parquet"))
    assert ref.uri is not None
    assert ref.uri.endswith(".parquet")


@pytest.mark.parametrize("length", [32 * 2**20, 32 * 2**20 + 1], ids=["one-request", "parts"])
def test_both_ways_of_uploading_measure_what_they_send(moto: str, length: int, tmp_path: Path) -> None:
    """Length and digest are those of the stored bytes, from memory and from a file."""
    content = os.urandom(2**20) * (length // 2**20) + b"!" * (length % 2**20)
    (tmp_path / "x").write_bytes(content)
    with faulty(moto) as proxy, configured(proxy.url) as store:
        for body in ([memoryview(content)[:7], memoryview(content)[7:]], tmp_path / "x"):
            proxy.seen.clear()
            ref = keep(store, body)
            assert proxy.count("POST") == (0 if length == 32 * 2**20 else 2)
            assert (ref.length, ref.sha256) == (length, hashlib.sha256(content).hexdigest())
            assert bytes(store.fetch(ref)) == content
            store.delete(ref)


def test_parts_grow_where_there_would_be_too_many(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 takes 10,000. Here it is three, and so many bytes that they have to be of 12 MiB."""
    monkeypatch.setattr("exclusive_xcom.s3.store._PARTS", 3)
    content = os.urandom(2**20) * 34
    with faulty(moto) as proxy, configured(proxy.url) as store:
        ref = keep(store, [memoryview(content)])
        assert sorted(seen.length for seen in proxy.seen if seen.method == "PUT") == [
            10 * 2**20,
            12 * 2**20,
            12 * 2**20,
        ]
        assert bytes(store.fetch(ref)) == content


def test_round_trips(moto: str) -> None:
    """One request each way, and none besides: no HEAD, no list, no bucket look-up."""
    with faulty(moto) as proxy, configured(proxy.url) as store:
        ref = keep(store, [b"value"])
        assert [seen.method for seen in proxy.seen] == ["PUT"]
        proxy.seen.clear()
        store.fetch(ref)
        assert [seen.method for seen in proxy.seen] == ["GET"]
        proxy.seen.clear()
        b"".join(store.stream(ref))
        assert [seen.method for seen in proxy.seen] == ["GET"]
        proxy.seen.clear()
        store.delete(ref)
        assert [seen.method for seen in proxy.seen] == ["DELETE"]


def test_the_former_place_stays_readable(moto: str, rclone: str) -> None:
    """After a move, payloads below FORMER_URL are read and deleted with its own connection."""
    with configured(moto) as store:
        ref = keep(store, [b"before the move"])
        url, conn_id = os.environ["AIRFLOW__XCOM__URL"], os.environ["AIRFLOW__XCOM__CONN_ID"]
        with configured(rclone) as moved, pytest.raises(ValueError, match="FORMER_URL"):
            moved.fetch(ref)
        with configured(rclone, former_url=url, former_conn_id=conn_id) as moved:
            assert bytes(moved.fetch(ref)) == b"before the move"
            assert bytes(moved.fetch(keep(moved, [b"after"]))) == b"after"
            moved.delete(ref)
    assert boto(moto).list_objects_v2(Bucket=BUCKET, Prefix=urlsplit(url).path[1:])["KeyCount"] == 0


def test_what_is_asked_of_the_new_place_is_not_asked_of_the_former(
    moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encryption is about what is written, and a folder has none."""
    with configured("", tmp_path.as_uri()) as store:
        ref = keep(store, [b"in the folder"])
    monkeypatch.setenv("AWS_SERVER_SIDE_ENCRYPTION", "AES256")
    with configured(moto, former_url=tmp_path.as_uri()) as store:
        assert bytes(store.fetch(ref)) == b"in the folder"
        assert bytes(store.fetch(keep(store, [b"in the bucket"]))) == b"in the bucket"
        store.delete(ref)


def test_delete_works_without_the_bulk_request(moto: str) -> None:
    """Not every server knows it."""
    with faulty(moto) as proxy, configured(proxy.url) as store:
        ref = keep(store, [b"value"])
        proxy.seen.clear()
        store.delete(ref)
        assert [(seen.method, "delete" in seen.path) for seen in proxy.seen] == [("DELETE", False)]
