"""What `xcom probe` says of the line to a store, and of what the store encrypts by itself."""

from __future__ import annotations

import uuid
from pathlib import Path

from redis_servers import Valkey, behind_tls, cluster_of_two, store_on
from s3_servers import boto, configured

from exclusive_xcom.store import Store


def told(store: Store, name: str) -> str:
    """What a check says, which is no failure."""
    (found,) = [check for check in store.probe() if check.name == name]
    assert found.ok
    return found.detail


def test_what_a_bucket_does_by_default(moto: str) -> None:
    name, client = f"bucket-{uuid.uuid4()}", boto(moto)
    client.create_bucket(Bucket=name)
    with configured(moto, f"s3://{name}/xcom") as store:
        assert told(store, "encryption").endswith("; the bucket encrypts nothing by default")
        by = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/xcom"}
        rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": by}]}
        client.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration=rules)
        assert told(store, "encryption").endswith(
            "not asked for (AWS_SERVER_SIDE_ENCRYPTION); the bucket encrypts by default, by aws:kms with key "
            "alias/xcom"
        )


def test_a_store_without_tls_is_told(moto: str, tmp_path: Path) -> None:
    with configured(moto) as store:
        assert told(store, "tls").startswith(f"NOT encrypted: the connection to {moto[7:]} has no TLS")
    with configured("", tmp_path.as_uri()) as store:
        assert told(store, "tls") == "there is no line"
        assert told(store, "encryption") == "not asked for (AWS_SERVER_SIDE_ENCRYPTION)"


def test_a_redis_without_tls_is_told(tmp_path: Path) -> None:
    with Valkey() as server:
        with store_on(server.port) as plain:
            assert told(plain, "tls").startswith("NOT encrypted: connection 'redis_")
        with cluster_of_two() as port, store_on(port, extra={"cluster": True}) as several:
            assert told(several, "tls").startswith("NOT encrypted: connection 'redis_")
        with behind_tls(server.port, tmp_path) as (port, certificate):
            trusts = {"ssl": True, "ssl_ca_certs": str(certificate)}
            with store_on(port, host="localhost", extra=trusts) as store:
                assert told(store, "tls").endswith("is encrypted")
            blind = {"ssl": True, "ssl_cert_reqs": "none"}
            with store_on(port, host="localhost", extra=blind) as store:
                assert told(store, "tls").endswith("is encrypted, and its certificate is not checked")
