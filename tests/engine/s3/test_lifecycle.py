"""What ends payloads in a bucket: tags, the rules of `xcom lifecycle`, and what the probe says of others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
from faulty import Fault, FaultyProxy, faulty
from s3_servers import BUCKET, boto, configured
from typer.testing import CliRunner

from exclusive_xcom.cli import application
from exclusive_xcom.local import services
from exclusive_xcom.local.servers import for_s3
from exclusive_xcom.reference import Expiry
from exclusive_xcom.s3 import S3Store, lifecycle
from exclusive_xcom.s3.location import Location
from exclusive_xcom.s3.login import boto_client
from exclusive_xcom.testing.store_contract import ADDRESS, attempt, payload

OLD = {
    "ID": "Forget payloads after 90 days",
    "Status": "Enabled",
    "Filter": {"Prefix": "xcom/"},
    "Expiration": {"Days": 90},
}


def lasting(**time: float) -> Expiry:
    """The end of what is kept for so long."""
    return Expiry("a rule", datetime.now(UTC) + timedelta(**time))


@pytest.fixture
def proxy(moto: str) -> Iterator[FaultyProxy]:
    with faulty(moto) as proxy:
        yield proxy


def tags(moto: str, uri: str | None) -> dict[str, str]:
    """Those of an object."""
    found = boto(moto).get_object_tagging(Bucket=BUCKET, Key=urlsplit(uri or "").path[1:])["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in found}


# -- tags ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "tag"),
    [
        ({"seconds": 1}, "1d"),
        ({"hours": 12}, "1d"),
        ({"hours": 24, "minutes": 10}, "2d"),
        ({"days": 90, "seconds": 1}, "90d"),
        ({"days": 100}, "120d"),
        ({"days": 3653}, "3653d"),
        ({"days": -1}, "1d"),
    ],
)
def test_a_tag_is_the_days_rounded_up_to_a_step(time: dict[str, float], tag: str) -> None:
    assert lifecycle.tags_of(lasting(**time)) == {"keep": tag}


@pytest.mark.parametrize("expires", [None, Expiry("a rule", run=True), lasting(days=3660)])
def test_what_no_rule_ends_has_no_tag(expires: Expiry | None) -> None:
    assert lifecycle.tags_of(expires) == {}


@pytest.mark.parametrize("size", [10, 2**20, 40 * 2**20])
def test_payloads_have_their_tag_however_they_are_uploaded(moto: str, size: int) -> None:
    with configured(moto) as store:
        stored = store.put(ADDRESS, attempt(), payload([bytes(size)]), lasting(days=7))
        assert tags(moto, stored.uri) == {"keep": "7d"}
        assert tags(moto, store.put(ADDRESS, attempt(), payload([b"x"])).uri) == {}


@pytest.mark.parametrize(
    "fault", [Fault("status", 403, "AccessDenied"), Fault("status", 501, "NotImplemented", times=2)]
)
def test_a_server_that_takes_no_tags_gets_payloads_without(
    moto: str, proxy: FaultyProxy, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    """The first time costs a request; then it is known."""
    with configured(proxy.url) as store:
        proxy.faults = [Fault(**{**vars(fault), "method": "PUT"})]
        stored = store.put(ADDRESS, attempt(), payload([b"x"]), lasting(days=7))
        assert tags(moto, stored.uri) == {}
        assert "takes no tags" in caplog.text
        before = proxy.count("PUT")
        store.put(ADDRESS, attempt(), payload([b"x"]), lasting(days=7))
        assert proxy.count("PUT") == before + 1


def test_a_failure_that_passes_does_not_end_the_tags(moto: str, proxy: FaultyProxy) -> None:
    with configured(proxy.url) as store:
        for faults in (3, 3):
            proxy.faults = [Fault("status", 503, "SlowDown", method="PUT", times=faults)]
            store.put(ADDRESS, attempt(), payload([b"x"]), lasting(days=7))
        proxy.faults = []
        assert tags(moto, store.put(ADDRESS, attempt(), payload([b"x"]), lasting(days=7)).uri) == {
            "keep": "7d"
        }


def test_a_folder_has_no_tags(tmp_path: Path) -> None:
    with configured("", tmp_path.as_uri()) as store:
        store.put(ADDRESS, attempt(), payload([b"x"]), lasting(days=7))


# -- rules --------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(moto: str) -> Iterator[str]:
    """One of the test's own, which is configured with the prefix xcom."""
    name = f"bucket-{uuid.uuid4()}"
    boto(moto).create_bucket(Bucket=name)
    with configured(moto, f"s3://{name}/xcom"):
        yield name


def rules(moto: str, bucket: str) -> list[dict[str, Any]]:
    return list(boto(moto).get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"])


def set_rules(moto: str, bucket: str, *rules: Any) -> None:
    boto(moto).put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [*rules]})


def run(*arguments: str) -> tuple[int, str]:
    """The exit code of `xcom lifecycle`, and what it says."""
    done = CliRunner().invoke(application(), ["lifecycle", *arguments])
    return done.exit_code, done.output


def test_printing_them_needs_no_store_and_says_nothing_else(tmp_path: Path) -> None:
    """As a process of its own, in which Airflow is new and finds the backend in its configuration."""
    more = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__XCOM_BACKEND": "exclusive_xcom.s3.S3XComBackend"}
    more["AIRFLOW__XCOM__URL"] = "s3://bucket/xcom"
    command = [str(Path(sys.executable).with_name("xcom")), "lifecycle"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | more, cwd=tmp_path, check=True
    )
    assert json.loads(done.stdout)["Rules"]
    assert not done.stderr


def test_printed_rules_are_what_s3_takes(moto: str, bucket: str) -> None:
    code, said = run()
    assert code == 0
    set_rules(moto, bucket, *json.loads(said)["Rules"])
    assert run("--check") == (0, f"Bucket {bucket} has the rules that s3://{bucket}/xcom needs.\n")
    for step in lifecycle.STEPS:
        (tagged,) = (rule for rule in json.loads(said)["Rules"] if rule["ID"].endswith(f" {step}d"))
        assert tagged["Expiration"] == {"Days": step}
        tag = {"Key": "keep", "Value": lifecycle.tags_of(lasting(days=step))["keep"]}
        assert tagged["Filter"]["And"] == {"Prefix": "xcom/", "Tags": [tag]}


def test_a_bucket_without_rules_lacks_them(bucket: str) -> None:
    code, said = run("--check")
    assert code == 1
    assert said.count("Missing: ") == len(lifecycle.STEPS) + 1


def test_applying_keeps_the_rules_of_others_and_can_be_repeated(moto: str, bucket: str) -> None:
    other = {**OLD, "ID": "theirs", "Filter": {"Prefix": "backup/"}}
    set_rules(moto, bucket, other)
    for _ in range(2):
        assert run("--apply")[0] == 0
        assert len(rules(moto, bucket)) == len(lifecycle.STEPS) + 2
    assert "theirs" in {rule["ID"] for rule in rules(moto, bucket)}


THEIRS = """<Rule><ID>theirs &amp; more</ID><Status>Enabled</Status><Filter><And><Prefix>a&lt;b/</Prefix>
<Tag><Key>k</Key><Value>v</Value></Tag><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan></And></Filter>
<Transition><Date>2030-01-01T00:00:00Z</Date><StorageClass>GLACIER</StorageClass></Transition>
<NoncurrentVersionExpiration><NoncurrentDays>9</NoncurrentDays><NewerNoncurrentVersions>2</NewerNoncurrentVersions>
</NoncurrentVersionExpiration></Rule>
<Rule><ID>an old form</ID><Prefix>old/</Prefix><Status>Disabled</Status>
<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>%s</Rule>"""
SIZE = "x-amz-transition-default-minimum-object-size"


@pytest.mark.parametrize("more", ["", "<DelMarkerExpiration><Days>7</Days></DelMarkerExpiration>"])
def test_rules_of_others_come_back_as_they_were_or_nothing_is_set(more: str) -> None:
    """Also what boto3 leaves out: a server's own kinds of rules, and what is set beside them."""
    put: list[tuple[Any, str]] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"<LifecycleConfiguration>{THEIRS % more}</LifecycleConfiguration>".encode()
            self.send_response(200)
            self.send_header(SIZE, "varies_by_storage_class")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            put.append((self.headers, self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with configured(f"http://127.0.0.1:{server.server_port}", "s3://bucket/xcom"):
            code, said = run("--apply")
        server.shutdown()
    assert code == 1
    if more:
        assert not put and "DelMarkerExpiration, which would be lost" in said
        return
    ((headers, body),) = put
    assert headers[SIZE] == "varies_by_storage_class"
    theirs, root = ElementTree.fromstring(f"<x>{THEIRS % ''}</x>"), ElementTree.fromstring(body)

    def meaning(rule: Any) -> list[Any]:
        return sorted((each.tag.rpartition("}")[2], (each.text or "").strip()) for each in rule.iter())

    assert [meaning(rule) for rule in root][:2] == [meaning(rule) for rule in theirs]


def test_two_projects_in_a_bucket_leave_each_other_alone(moto: str, bucket: str) -> None:
    assert run("--apply")[0] == 0
    with configured(moto, f"s3://{bucket}/other"):
        assert run("--check")[0] == 1
        assert run("--apply")[0] == 0
    assert run("--check")[0] == 0
    assert len(rules(moto, bucket)) == 2 * (len(lifecycle.STEPS) + 1)


@pytest.mark.parametrize(
    ("other", "early"),
    [
        (OLD, True),
        ({**OLD, "Filter": {"Prefix": ""}}, True),
        ({**OLD, "Filter": {"Prefix": "xcom/orders/"}}, True),
        ({**OLD, "Filter": {"Prefix": "xcom2/"}}, False),
        ({**OLD, "Status": "Disabled"}, False),
        ({**OLD, "Filter": {"Tag": {"Key": "keep", "Value": "90d"}}}, False),
        ({**OLD, "Filter": {"Tag": {"Key": "keep", "Value": "120d"}}}, True),
        ({**OLD, "Filter": {"Tag": {"Key": "team", "Value": "a"}}}, False),
    ],
)
def test_a_rule_that_ends_payloads_too_early_is_told(
    moto: str, bucket: str, other: dict[str, Any], early: bool
) -> None:
    run("--apply")
    set_rules(moto, bucket, *rules(moto, bucket), other)
    code, said = run("--check")
    assert code == early
    assert ("Forget payloads after 90 days, after 90 days. Remove it." in said) == early
    checks = {check.name: check for check in S3Store().probe()}
    assert checks["lifecycle"].ok == (not early)
    assert ("'Forget payloads after 90 days' after 90 days" in checks["lifecycle"].detail) == early


def test_rules_that_may_not_be_seen_fail_the_command_and_not_the_probe(
    moto: str, proxy: FaultyProxy, bucket: str
) -> None:
    with configured(proxy.url, f"s3://{bucket}/xcom"):
        for arguments in (["--check"], ["--apply"]):
            proxy.faults = [Fault("status", 403, "AccessDenied", where="lifecycle")]
            code, said = run(*arguments)
            assert code == 1
            assert "may not read the lifecycle rules" in said and "s3:GetLifecycleConfiguration" in said
        proxy.faults = [Fault("status", 501, "NotImplemented", where="lifecycle", times=9)]
        checks = {check.name: check for check in S3Store().probe()}
        assert checks["lifecycle"].ok and "has no lifecycle rules" in checks["lifecycle"].detail


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault("status", 403, "AccessDenied", where="-tagged", times=9), "may not tag what is written to"),
        (Fault("status", 501, "NotImplemented", where="-tagged", times=99), "NotImplemented"),
    ],
)
def test_the_probe_says_that_there_are_no_tags(
    moto: str, proxy: FaultyProxy, bucket: str, fault: Fault, told: str
) -> None:
    run("--apply")
    with configured(proxy.url, f"s3://{bucket}/xcom"):
        proxy.faults = [Fault(**{**vars(fault), "method": "PUT"})]
        checks = {check.name: check for check in S3Store().probe()}
    assert checks["lifecycle"].ok and checks["delete"].ok
    assert "only `xcom gc` ends payloads by time" in checks["lifecycle"].detail
    assert told in checks["lifecycle"].detail
    assert not boto(moto).list_objects_v2(Bucket=bucket).get("Contents")


@pytest.mark.parametrize("arguments", [["--apply", "--check"], ["--aply"]])
def test_what_is_asked_wrongly_is_refused(bucket: str, arguments: list[str]) -> None:
    assert run(*arguments)[0] == 2


def test_other_stores_have_no_such_rules(tmp_path: Path) -> None:
    with configured("", tmp_path.as_uri()):
        code, said = run()
        assert code == 2
        assert "for a bucket (s3://" in said
    assert run()[0] == 2
    assert Location.current() is None


# -- another server -----------------------------------------------------------------------------------


@pytest.mark.skipif(for_s3() != "seaweedfs", reason="SeaweedFS has no wheel for this machine")
def test_seaweedfs_keeps_tags_and_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__XCOM__CONN_ID", "xcom_s3")
    monkeypatch.setenv("AIRFLOW__XCOM__URL", f"s3://{BUCKET}/xcom")
    with services.running(os.environ, tmp_path) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        location = Location.current()
        assert location is not None
        store = S3Store()
        stored = store.put(ADDRESS, attempt(), payload([b"x"]), lasting(days=7))
        name = urlsplit(stored.uri or "").path[1:]
        told = boto_client(location).get_object_tagging(Bucket=BUCKET, Key=name)["TagSet"]
        assert told == [{"Key": "keep", "Value": "7d"}]
        assert run("--check")[0] == 1
        assert run("--apply") == (0, f"Bucket {BUCKET} has the rules that s3://{BUCKET}/xcom needs.\n")
        assert run("--check")[0] == 0
        checks = {check.name: check for check in store.probe()}
        assert checks["lifecycle"].detail == "each rule is there"
