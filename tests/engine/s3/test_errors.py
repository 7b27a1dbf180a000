"""Every way in which an object store can refuse has an error of its own, which says which it was.

Where moto can really refuse (identities and their rights, buckets), it does; for what only AWS says, a
proxy gives AWS's answers. No error and no log line holds a secret.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faulty import Fault, faulty
from s3_identities import Identities
from s3_servers import BUCKET, KEY, SECRET, boto, configured, lengths, probed

from exclusive_xcom.errors import (
    BadOption,
    BadReference,
    PayloadMissing,
    StoreDenied,
    StoreError,
    StoreMisconfigured,
    XComError,
)
from exclusive_xcom.s3 import S3Store
from exclusive_xcom.s3.location import Location
from exclusive_xcom.s3.login import client_of
from exclusive_xcom.testing.store_contract import keep

TOKEN = "FwoGZXIvYXdzEXAMPLETOKEN"


def failure(store: S3Store) -> XComError:
    """How a push fails."""
    with pytest.raises(XComError) as caught:
        keep(store, [b"value"])
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.advice
    for secret in (SECRET, TOKEN, "X-Amz-Signature"):
        assert secret not in text
    assert caught.value.__cause__ is None  # whose text might hold one
    return caught.value


# -- not there --------------------------------------------------------------------------------------


def test_nothing_listens() -> None:
    """The port is closed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with configured(f"http://127.0.0.1:{port}") as store:
        (what,) = probed(store).items()
        assert what[0] == "reach"
        assert f"Nothing listens at 127.0.0.1:{port}" in what[1]


def test_no_such_host() -> None:
    """The name is not known."""
    with configured("http://no-such-host.invalid:9000") as store:
        assert "There is no host no-such-host.invalid:9000" in probed(store)["reach"]


def test_a_host_that_says_nothing_a_store_would_say(moto: str) -> None:
    """Some other web server."""
    with faulty(moto) as proxy, configured(proxy.url) as store:
        proxy.faults = [Fault("status", 200, times=10_000)]
        error = failure(store)
        assert isinstance(error, StoreMisconfigured)
        assert "does not answer as an object store does" in str(error)


# -- TLS --------------------------------------------------------------------------------------------


def certificate(folder: Path, host: str, days: int = 2) -> tuple[Path, Path]:
    """A self-signed certificate and its key, as files."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=5))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / f"{host}{days}.crt", folder / f"{host}{days}.key"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return cert_file, key_file


@contextlib.contextmanager
def tls(upstream: str, cert: Path, key: Path) -> Iterator[str]:
    """moto behind TLS; its address."""
    with faulty(upstream) as proxy:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server = proxy.server
        plain = server.socket
        server.socket = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        yield f"https://localhost:{server.server_address[1]}"


def test_tls(moto: str, tmp_path: Path) -> None:
    """Trusted by the file that the connection names, or unchecked: it works. Otherwise the error says why."""
    cert, key = certificate(tmp_path, "localhost")
    with tls(moto, cert, key) as endpoint:
        with configured(endpoint) as store:
            assert "TLS" in probed(store)["reach"]
            assert "nobody trusted has signed" in probed(store)["reach"]
        for verify in (str(cert), False, "False"):
            with configured(endpoint, extra={"verify": verify}) as store:
                assert bytes(store.fetch(keep(store, [b"value"]))) == b"value"
        with configured(endpoint, extra={"verify": str(tmp_path / "gone")}) as store:
            assert "cannot be read" in str(failure(store))
    other, key = certificate(tmp_path, "elsewhere")
    with tls(moto, other, key) as endpoint, configured(endpoint, extra={"verify": str(other)}) as store:
        assert "for another host" in probed(store)["reach"]
    old, key = certificate(tmp_path, "localhost", days=-1)
    with tls(moto, old, key) as endpoint, configured(endpoint, extra={"verify": str(old)}) as store:
        assert "has expired" in probed(store)["reach"]


def test_https_where_there_is_none(moto: str) -> None:
    """The endpoint should begin with http://."""
    with configured(moto.replace("http:", "https:")) as store:
        assert "no TLS there" in probed(store)["reach"]


# -- buckets and regions ----------------------------------------------------------------------------


def test_no_such_bucket(moto: str) -> None:
    """Writing and reading both say that it is the bucket."""
    with configured(moto) as store:
        ref = keep(store, [b"value"])
    with configured(moto, "s3://no-such-bucket/prefix") as store:
        assert isinstance(failure(store), StoreMisconfigured)
        assert "bucket of s3://no-such-bucket/prefix does not exist" in probed(store)["bucket"]
        elsewhere = replace(ref, uri=f"s3://no-such-bucket/prefix/{'/'.join((ref.uri or '').split('/')[4:])}")
        for act in (store.fetch, store.delete):
            with pytest.raises(StoreMisconfigured, match="does not exist"):
                act(elsewhere)


def test_another_region(moto: str) -> None:
    """Both of AWS's ways to say so; the region is named where AWS names it."""
    answers = [
        Fault("status", 301, "PermanentRedirect", method="PUT"),
        Fault(
            "status",
            400,
            "AuthorizationHeaderMalformed",
            "the region 'us-east-1' is wrong; expecting 'eu-west-1'",
        ),
        Fault("status", 400, "IllegalLocationConstraintException"),
    ]
    for answer in answers:
        with faulty(moto) as proxy, configured(proxy.url) as store:
            proxy.faults = [answer]
            error = failure(store)
            assert isinstance(error, StoreMisconfigured)
            assert "is in another region" in str(error)
            assert "region_name" in error.advice
            assert ("eu-west-1" in str(error)) == ("eu-west-1" in answer.message)


# -- credentials ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (400, "ExpiredToken", "have expired"),
        (403, "InvalidAccessKeyId", "does not know the access key"),
        (403, "SignatureDoesNotMatch", "secret key for .* is wrong"),
        (400, "InvalidToken", "session token .* is not valid"),
        (403, "RequestTimeTooSkewed", "clock of this machine"),
        (403, "AccessDenied", "may not write to"),
        (403, "", "may not write to"),
        (401, "", "may not write to"),
    ],
)
def test_what_aws_says_of_credentials(moto: str, status: int, code: str, says: str) -> None:
    """One sentence each."""
    with faulty(moto) as proxy, configured(proxy.url) as store:
        proxy.faults = [Fault("status", status, code, f"the secret is {SECRET}", method="PUT", times=10_000)]
        error = failure(store)
        assert isinstance(error, StoreDenied)
        assert re.search(says, str(error))
        assert "write" in probed(store)


@pytest.mark.parametrize(
    ("method", "name"),
    [("GET", "read"), ("DELETE", "delete"), ("PUT", "write")],
    ids=["read", "delete", "write"],
)
def test_a_probe_says_what_is_not_allowed(moto: str, method: str, name: str) -> None:
    """And nothing else is wrong."""
    with faulty(moto) as proxy, configured(proxy.url) as store:
        proxy.faults = [Fault("status", 403, "AccessDenied", method=method, times=10_000)]
        assert list(probed(store)) == [name]


def test_read_only_credentials(guarded: str, identities: Identities) -> None:
    """They may not write, and are told so; what is there they can read."""
    key, secret = identities.user("reader", "s3:GetObject")
    with configured(guarded) as store:
        ref = keep(store, [b"value"])
        url = os.environ["AIRFLOW__XCOM__URL"]
    with identities.guard(), configured(guarded, url, login=key, password=secret) as store:
        assert bytes(store.fetch(ref)) == b"value"
        error = failure(store)
        assert isinstance(error, StoreDenied)
        assert "may not write to" in str(error)
        assert list(probed(store)) == ["write"]
        with pytest.raises(StoreDenied, match="may not delete from"):
            store.delete(ref)


def test_unknown_and_wrong_keys(guarded: str, identities: Identities) -> None:
    """Told apart: the key is not known, the secret is wrong."""
    key, _ = identities.user("owner", "s3:*")
    with identities.guard():
        with configured(guarded, login="AKIAUNKNOWNUNKNOWN00", password=SECRET) as store:
            assert "does not know the access key" in str(failure(store))
        with configured(guarded, login=key, password="not the secret") as store:
            assert "secret key for" in str(failure(store))


def test_a_role_is_assumed(guarded: str, identities: Identities, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection's keys only open the door to the role."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", guarded)
    key, secret = identities.user("assumer", "s3:ListAllMyBuckets")
    role = identities.role("writer", "s3:*")
    with identities.guard():
        with configured(guarded, login=key, password=secret) as store:
            assert isinstance(failure(store), StoreDenied)
        with configured(guarded, login=key, password=secret, extra={"role_arn": role}) as store:
            assert bytes(store.fetch(keep(store, [b"value"]))) == b"value"
            assert role in next(iter(store.probe())).detail


def test_a_role_that_is_refused(
    guarded: str, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is AWS's own reason, and not one of obstore's layers."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", guarded)
    key, secret = identities.user("nobody", "s3:ListAllMyBuckets", sts=False)
    role = identities.role("unreachable", "s3:*")
    with (
        identities.guard(),
        configured(guarded, login=key, password=secret, extra={"role_arn": role}) as store,
    ):
        error = failure(store)
        assert isinstance(error, StoreDenied)
        assert "AWS gave no credentials" in str(error)
        assert "AccessDenied" in str(error)
        assert "AccessDenied" in probed(store)["credentials"]


def test_no_connection() -> None:
    """Airflow has none of that name."""
    with configured("http://127.0.0.1:9") as store:
        os.environ["AIRFLOW__XCOM__CONN_ID"] = "nowhere"
        error = failure(store)
        assert isinstance(error, StoreMisconfigured)
        assert "AIRFLOW_CONN_NOWHERE" in error.advice


@contextlib.contextmanager
def ambient(monkeypatch: pytest.MonkeyPatch, moto: str, **variables: str) -> Iterator[S3Store]:
    """No connection: AWS's own chain, of which there is nothing but these variables."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with configured(moto) as store, monkeypatch.context() as inner:  # undone before `configured` is
        inner.setenv("AIRFLOW__XCOM__CONN_ID", "")
        yield store


def test_no_credentials_at_all(moto: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Said at once, without waiting for a machine's identity that is not there."""
    with ambient(monkeypatch, moto, HOME=str(tmp_path)) as store:
        error = failure(store)
        assert isinstance(error, StoreDenied)
        assert "No AWS credentials were found" in str(error)
        assert "No AWS credentials were found" in probed(store)["credentials"]


def test_keys_in_the_environment(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are enough, and boto3 is not needed for them."""
    with ambient(
        monkeypatch, moto, AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_REGION="eu-west-1"
    ) as store:
        assert bytes(store.fetch(keep(store, [b"value"]))) == b"value"
        assert "environment" in next(iter(store.probe())).detail


def test_a_profile(moto: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Named by the connection; its endpoint counts as well."""
    (tmp_path / "config").write_text(
        f"[profile pipelines]\nregion = eu-west-1\nendpoint_url = {moto}\n"
        f"aws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with configured(
        "", login="", password="", extra={"profile_name": "pipelines", "region_name": None}
    ) as store:
        assert bytes(store.fetch(keep(store, [b"value"]))) == b"value"
        assert "profile pipelines" in next(iter(store.probe())).detail
    with configured("", login="", password="", extra={"profile_name": "nobody"}) as store:
        assert "nobody" in str(failure(store))


def test_credentials_that_run_out_are_renewed(
    moto: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By a profile whose program gives new ones for five minutes; and what is said when it fails."""
    given = {"Version": 1, "SecretAccessKey": SECRET, "SessionToken": TOKEN}
    program = tmp_path / "program.py"
    program.write_text(
        "import datetime, json, pathlib, sys\n"
        "calls = pathlib.Path(__file__).with_name('calls')\n"
        "calls.write_text(calls.read_text() + '1' if calls.exists() else '1')\n"
        "if len(calls.read_text()) > 3: sys.exit('no more')\n"
        "end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=5)\n"
        f"given = {given!r}\n"
        "given |= {'AccessKeyId': 'KEY' + calls.read_text(), 'Expiration': end.isoformat()}\n"
        "print(json.dumps(given))\n"
    )
    (tmp_path / "config").write_text(
        f"[profile renewing]\nregion = us-east-1\ncredential_process = {sys.executable} {program}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    extra = {"profile_name": "renewing"}
    with faulty(moto) as proxy, configured(proxy.url, login="", password="", extra=extra) as store:
        keep(store, [b"value"])
        first = re.search(r"Credential=(KEY1+)/", proxy.seen[0].authorization)
        assert first
        assert proxy.seen[0].token == TOKEN
        location = Location.current()
        assert location
        provider = client_of(location).provider
        assert provider
        assert provider()["access_key_id"] not in ("KEY1", first[1])
        with pytest.raises(StoreDenied, match="AWS gave no credentials"):
            for _ in range(3):
                provider()


def test_the_connection_wins_over_the_environment(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, token and endpoint of the environment are not mixed into those of the connection."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "of-the-environment")
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with faulty(moto) as proxy, configured(proxy.url) as store:
        keep(store, [b"value"])
        assert proxy.count("PUT") == 1
        assert all(KEY in seen.authorization and not seen.token for seen in proxy.seen)


def test_connections_of_another_kind(moto: str) -> None:
    """What this backend does not know it does not guess at."""
    with configured(moto, extra={"assume_role_method": "assume_role_with_saml"}) as store:
        assert "assume_role_with_saml" in str(failure(store))


# -- encryption -------------------------------------------------------------------------------------


def encrypting(monkeypatch: pytest.MonkeyPatch, kind: str, key: str = "") -> None:
    """AWS's own variables, which ask for encryption."""
    for name, value in (("AWS_SERVER_SIDE_ENCRYPTION", kind), ("AWS_SSE_KMS_KEY_ID", key)):
        if value:
            monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("kind", "key", "given"),
    [
        ("AES256", "", {"ServerSideEncryption": "AES256"}),
        (
            "aws:kms",
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "1234abcd-12ab-34cd-56ef-1234567890ab"},
        ),
        ("aws:kms", "alias/data", {"ServerSideEncryption": "aws:kms"}),
    ],
    ids=["AES256", "kms", "kms-alias"],
)
def test_encryption_is_asked_for_and_the_probe_confirms_it(
    moto: str, monkeypatch: pytest.MonkeyPatch, kind: str, key: str, given: dict[str, str]
) -> None:
    """Small objects and parts; by no further request but the probe's."""
    encrypting(monkeypatch, kind, key)
    monkeypatch.setattr("exclusive_xcom.s3.store._ONE_REQUEST", 2**20)
    with faulty(moto) as proxy, configured(proxy.url) as store:
        refs = [keep(store, [b"value"]), keep(store, [memoryview(bytes(2**21))])]
        assert [seen.method for seen in proxy.seen] == ["PUT", "POST", "PUT", "POST"]
        for ref in refs:
            head = boto(moto).head_object(Bucket=BUCKET, Key=(ref.uri or "").split("/", 3)[3])
            assert {name: head[name] for name in given} == given
        checks = {check.name: check for check in store.probe()}
        assert checks["encryption"].ok
        assert checks["encryption"].detail == f"{kind}, confirmed"


def test_encryption_that_nobody_asked_for(moto: str) -> None:
    """The bucket's own rules count, and the probe says how to ask."""
    with configured(moto) as store:
        checks = {check.name: check for check in store.probe()}
        assert checks["encryption"].ok
        assert "not asked for (AWS_SERVER_SIDE_ENCRYPTION)" in checks["encryption"].detail


@pytest.mark.parametrize("kind", ["AES256", "aws:kms"])
def test_encryption_asked_and_not_given_is_found_by_the_probe(
    moto: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A server that ignores the question says nothing of encryption later. Nothing of the probe stays there.

    (A server that repeats what it was asked, as rclone does, can't be found out by any client.)
    """
    encrypting(monkeypatch, kind)
    with faulty(moto) as proxy, configured(proxy.url) as store:
        proxy.faults = [Fault("status", 200, method="HEAD", times=10_000)]
        (found,) = probed(store).items()
        assert found[0] == "encryption"
        assert f"was asked to encrypt by {kind}, and answered with no encryption" in found[1]
        assert lengths() == {}


def test_another_key_than_asked_for_is_found_by_the_probe(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that answers a HEAD with another key."""
    encrypting(monkeypatch, "aws:kms", "mine")
    with faulty(moto) as proxy, configured(proxy.url) as store:
        headers = {
            "x-amz-server-side-encryption": "aws:kms",
            "x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:us-east-1:123456789012:key/theirs",
        }
        proxy.faults = [Fault("status", 200, method="HEAD", headers=headers)]
        assert "another key" in probed(store)["encryption"]


def test_encryption_that_cannot_be_seen_is_told_by_the_probe(
    moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No right to read; the signed URL stays out of the text."""
    encrypting(monkeypatch, "AES256")
    with faulty(moto) as proxy, configured(proxy.url) as store:
        proxy.faults = [Fault("status", 403, method="HEAD", times=10_000)]
        told = probed(store)["encryption"]
        assert "could not be seen (403)" in told
        assert "X-Amz-Signature" not in told


def test_encryption_behind_tls_is_seen(moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe's own request trusts whom the connection trusts."""
    encrypting(monkeypatch, "AES256")
    cert, key = certificate(tmp_path, "localhost")
    with tls(moto, cert, key) as endpoint:
        for verify in (str(cert), False):
            with configured(endpoint, extra={"verify": verify}) as store:
                assert probed(store) == {}


def test_a_key_without_encryption_is_an_error(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 would store it unencrypted and say nothing."""
    encrypting(monkeypatch, "", "mine")
    with configured(moto) as store:
        assert "is not aws:kms" in str(failure(store))
        assert "is not aws:kms" in probed(store)["credentials"]


def test_an_encryption_that_is_none(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said by the variable's name."""
    encrypting(monkeypatch, "yes")
    with configured(moto) as store:
        error = failure(store)
        assert "AWS_SERVER_SIDE_ENCRYPTION" in str(error)
        assert "AES256" in error.advice


def test_a_key_that_cannot_be_used(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As AWS says it."""
    encrypting(monkeypatch, "aws:kms", "mine")
    with faulty(moto) as proxy, configured(proxy.url) as store:
        proxy.faults = [Fault("status", 400, "KMS.DisabledException", method="PUT")]
        assert "encryption key" in str(failure(store))


def test_encryption_of_a_folder_is_told_by_the_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has none."""
    encrypting(monkeypatch, "AES256")
    with configured("", tmp_path.as_uri()) as store:
        assert "does not have" in probed(store)["encryption"]


# -- options ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "bucket/prefix",
        "ftp://host/x",
        "s3://",
        "s3:///prefix",
        "s3://bucket/a/../b",
        "s3://bucket/./b",
        "s3://bucket//b",
        "s3://bucket/%2e%2e/b",
        "s3://bucket/a?versionId=1",
        "s3://bucket/a#b",
        f"s3://{KEY}:{SECRET}@bucket/prefix",
        "file://host/path",
        "file:///",
        "file://",
    ],
)
def test_urls_that_are_none(url: str) -> None:
    """Refused before anything is done, and not repeated: there may be a password in one."""
    with configured("http://127.0.0.1:9", url) as store:
        error = failure(store)
        assert isinstance(error, BadOption)
        assert "AIRFLOW__XCOM__URL" in str(error)


def test_no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said with an example."""
    monkeypatch.delenv("AIRFLOW__XCOM__URL", raising=False)
    assert "s3://bucket/prefix" in str(failure(S3Store()))


def test_azure_without_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """az:// names a container, but not whose."""
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with configured("", "az://container/prefix") as store:
        assert "AZURE_STORAGE_ACCOUNT_NAME" in failure(store).advice


# -- folders ----------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    """Part of its path is a file."""
    (tmp_path / "file").write_bytes(b"")
    with configured("", (tmp_path / "file" / "folder").as_uri()) as store:
        assert "Not a directory" in str(failure(store))


def test_a_folder_without_rights() -> None:
    """One in which not even root may write."""
    with configured("", "file:///sys/kernel") as store:
        error = failure(store)
        assert isinstance(error, StoreDenied)
        assert "may not write to" in str(error)


# -- references -------------------------------------------------------------------------------------


def test_missing_is_told_from_unreachable(moto: str) -> None:
    """A 404 of the object is missing; a server that is gone is not."""
    with faulty(moto) as proxy, configured(proxy.url) as store:
        ref = keep(store, [b"value"])
        store.delete(ref)
        with pytest.raises(PayloadMissing):
            store.fetch(ref)
        proxy.faults = [Fault("status", 404, "NoSuchBucket", times=10_000)]
        with pytest.raises(StoreMisconfigured):
            store.fetch(ref)


def test_schemes_that_are_not_configured(moto: str) -> None:
    """A reference to a place that nobody named is refused, however well-formed."""
    with configured(moto) as store:
        ref = keep(store, [b"value"])
        for scheme in ("gs", "az", "file", "memory"):
            with pytest.raises(BadReference, match="FORMER_URL"):
                store.fetch(replace(ref, uri=(ref.uri or "").replace("s3://", f"{scheme}://")))


# -- logs -------------------------------------------------------------------------------------------


def test_no_secret_in_the_log(
    moto: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of what works, nor of what fails."""
    options: dict[str, Any] = {"extra": {"aws_session_token": TOKEN}}
    encrypting(monkeypatch, "AES256")
    caplog.set_level(logging.DEBUG)
    with faulty(moto) as proxy, configured(proxy.url, **options) as store:
        ref = keep(store, [b"value"])
        store.fetch(ref)
        list(store.probe())  # which signs a URL
        proxy.faults = [Fault("status", 403, times=10_000)]
        for act in (lambda: keep(store, [b"x"]), lambda: store.fetch(ref), lambda: store.delete(ref)):
            with pytest.raises(StoreError):
                act()
    for record in caplog.records:
        if not record.name.startswith(("botocore", "boto3")):
            text = record.getMessage()
            assert SECRET not in text
            assert TOKEN not in text
            assert "X-Amz-Signature" not in text


def test_a_process_forked_too_late_says_so(moto: str) -> None:
    """obstore would wait for ever in it."""
    with configured(moto) as store:
        ref = keep(store, [b"value"])
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # in case it does wait
            try:
                store.fetch(ref)
            except StoreError as error:
                os.write(writing, str(error).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as said:
            assert "spawn" in said.read()
        os.waitpid(child, 0)
        assert bytes(store.fetch(ref)) == b"value"
