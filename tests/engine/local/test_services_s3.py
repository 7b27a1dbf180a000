"""The S3 server for development."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import boto3
from server_contract import ServerContract, connection_of

from exclusive_xcom.local import services


class TestMoto(ServerContract):
    """moto's server."""

    wanted: ClassVar[dict[str, str]] = {
        "AIRFLOW__XCOM__URL": "s3://bucket/xcom",
        "AIRFLOW__XCOM__CONN_ID": "xcom_s3",
    }

    def test_the_bucket_is_there(self, tmp_path: Path) -> None:
        with services.running(self.wanted, tmp_path) as variables:
            connection = connection_of(variables)
            client = boto3.client(
                "s3",
                aws_access_key_id=connection["login"],
                aws_secret_access_key=connection["password"],
                **connection["extra"],
            )
            assert [bucket["Name"] for bucket in client.list_buckets()["Buckets"]] == ["bucket"]
            client.close()
