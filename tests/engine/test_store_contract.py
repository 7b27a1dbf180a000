"""The store contract on the stores that need no server: Airflow's row, a folder, and memory."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from exclusive_xcom.testing.store_contract import StoreContract

from exclusive_xcom.db import RowStore
from exclusive_xcom.s3 import S3Store


class TestRow(StoreContract):
    """Payloads inside their references."""

    elsewhere = False
    scans = False
    large = 2**19

    @pytest.fixture
    def store(self) -> RowStore:
        """The row."""
        return RowStore()


class TestFolder(StoreContract):
    """Objects that are files."""

    @pytest.fixture
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3Store:
        """A folder of its own, with a name that has to be quoted in a URL."""
        monkeypatch.setenv("AIRFLOW__XCOM__URL", (tmp_path / "a folder+100%").as_uri())
        monkeypatch.delenv("AIRFLOW__XCOM__CONN_ID", raising=False)
        return S3Store()


class TestMemory(StoreContract):
    """Objects that live as long as the process."""

    @pytest.fixture
    def store(self, monkeypatch: pytest.MonkeyPatch) -> S3Store:
        """A piece of memory of its own."""
        monkeypatch.setenv("AIRFLOW__XCOM__URL", f"memory:///{uuid.uuid4()}")
        monkeypatch.delenv("AIRFLOW__XCOM__CONN_ID", raising=False)
        return S3Store()
