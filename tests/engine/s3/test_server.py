"""The store contract on the S3 server that config/airflow.env and the environment name."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest
from exclusive_xcom.reference import Reference
from exclusive_xcom.s3 import S3Store
from exclusive_xcom.testing.store_contract import ADDRESS, StoreContract, attempt


class TestServer(StoreContract):
    """Objects on a server: moto's, unless AIRFLOW_CONN_XCOM_S3 names another."""

    @pytest.fixture
    def store(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Store]:
        """A prefix of its own, which is empty again afterwards."""
        url = f"{os.environ['AIRFLOW__XCOM__URL']}/contract-{uuid.uuid4()}"
        monkeypatch.setenv("AIRFLOW__XCOM__URL", url)
        store = S3Store()
        yield store
        for entry in store.scan():
            store.delete(Reference(ADDRESS, attempt(), "", "", "", entry.length, "0" * 64, uri=entry.uri))
