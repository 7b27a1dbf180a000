"""When a server for development is started, and that it never outlives who started it."""

from __future__ import annotations
{%- if cookiecutter.xcom_backend != "db" %}

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
{%- else %}

from pathlib import Path
{%- endif %}

import pytest

from {{ cookiecutter.__package }} import services

S3 = {"AIRFLOW__XCOM__URL": "s3://bucket/xcom", "AIRFLOW__XCOM__CONN_ID": "xcom_s3"}
REDIS = {"AIRFLOW__XCOM__CONN_ID": "xcom_redis"}


@pytest.mark.parametrize(
    ("environ", "server"),
    [
        ({}, None),
        (S3, "moto"),
        (REDIS, "valkey"),
        (S3 | {"AIRFLOW_CONN_XCOM_S3": "aws://"}, None),
        (REDIS | {"AIRFLOW_CONN_XCOM_REDIS": "redis://example.com"}, None),
        (S3 | {"AIRFLOW__XCOM__CONN_ID": "our_aws"}, None),
        (S3 | {"AIRFLOW__XCOM__URL": "gs://bucket/xcom"}, None),
        (S3 | {"AIRFLOW__XCOM__URL": "file:///tmp/xcom"}, None),
    ],
)
def test_a_server_is_started_only_for_a_connection_that_nobody_defines(
    environ: dict[str, str], server: str | None
) -> None:
    assert [service.server for service in services.needed(environ)] == ([server] if server else [])


def test_nothing_is_started_for_the_database(tmp_path: Path) -> None:
    with services.running({}, tmp_path) as variables:
        assert variables == {}


def test_a_server_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "needed", lambda environ: [services.Service("none", "xcom_s3")])
    with (
        pytest.raises(services.ServiceError, match=r"KeyError: 'none'.*AIRFLOW_CONN_XCOM_S3 in \.env"),
        services.running({}, tmp_path),
    ):
        pass
{%- if cookiecutter.xcom_backend != "db" %}


BACKEND = {{ "S3" if cookiecutter.xcom_backend == "s3" else "REDIS" }}


def port_of(variables: Mapping[str, str]) -> int:
    """The port to which the one connection leads."""
    (connection,) = map(json.loads, variables.values())
    url = connection.get("extra", {}).get("endpoint_url", "")
    return int(url.rpartition(":")[2] or connection["port"])


def answers(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_server_listens_on_this_machine_until_it_is_no_longer_wanted(tmp_path: Path) -> None:
    with services.running(BACKEND, tmp_path) as variables:
        port = port_of(variables)
        assert answers(port)
    assert not answers(port)


def test_two_servers_are_no_trouble(tmp_path: Path) -> None:
    with (
        services.running(BACKEND, tmp_path / "one") as one,
        services.running(BACKEND, tmp_path / "two") as two,
    ):
        assert port_of(one) != port_of(two)
        assert answers(port_of(one)) and answers(port_of(two))


def test_a_server_ends_with_who_started_it_even_if_that_one_is_killed(tmp_path: Path) -> None:
    starter = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(
                f"""
                import sys, time
                from pathlib import Path
                from {services.__package__} import services
                with services.running({BACKEND!r}, Path(sys.argv[1])) as variables:
                    print(*variables.values(), flush=True)
                    time.sleep(600)
                """
            ),
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    with starter, starter.stdout:
        port = port_of({"": starter.stdout.readline()})
        assert answers(port)
        os.kill(starter.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while answers(port) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not answers(port)
{%- endif %}
{%- if cookiecutter.xcom_backend == "s3" %}


def test_the_bucket_is_there(tmp_path: Path) -> None:
    import boto3

    with services.running(S3, tmp_path) as variables:
        (connection,) = map(json.loads, variables.values())
        client = boto3.client(
            "s3",
            aws_access_key_id=connection["login"],
            aws_secret_access_key=connection["password"],
            **connection["extra"],
        )
        assert [bucket["Name"] for bucket in client.list_buckets()["Buckets"]] == ["bucket"]
        client.close()
{%- elif cookiecutter.xcom_backend == "redis" %}


def test_valkey_never_evicts_and_finds_again_what_it_had(tmp_path: Path) -> None:
    import redis

    with services.running(REDIS, tmp_path) as variables, redis.Redis(port=port_of(variables)) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        client.set("key", "value")
    with services.running(REDIS, tmp_path) as variables, redis.Redis(port=port_of(variables)) as client:
        assert client.get("key") == b"value"
{%- endif %}
