"""The store contract on the stores that need no server: Airflow's row, a folder, and memory."""

from __future__ import annotations

import contextlib
import hashlib
import re
import uuid
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from s3_servers import ObjectContract

from exclusive_xcom.address import Address, Attempt
from exclusive_xcom.codecs import Payload
from exclusive_xcom.db import RowStore
from exclusive_xcom.errors import BadReference, PayloadMissing, XComError
from exclusive_xcom.reference import Expiry, Reference
from exclusive_xcom.s3 import S3Store
from exclusive_xcom.store import Check, Store, Stored
from exclusive_xcom.testing.store_contract import StoreContract


class TestRow(StoreContract):
    """Payloads inside their references."""

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
        self.folder = tmp_path / "a folder+100%"
        monkeypatch.setenv("AIRFLOW__XCOM__URL", self.folder.as_uri())
        monkeypatch.delenv("AIRFLOW__XCOM__CONN_ID", raising=False)
        return S3Store()

    def stored(self, store: Store) -> set[str]:
        """Files; the names of ours need no quoting in a URL."""
        files = [path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file()]
        return {f"{self.folder.as_uri()}/{path.as_posix()}" for path in files}

    def damage(self, store: Store, ref: Reference, body: bytes) -> None:
        """Another file in its place."""
        Path(unquote(urlsplit(ref.uri or "").path)).write_bytes(body)


class TestMemory(ObjectContract):
    """Objects that live as long as the process."""

    @pytest.fixture
    def store(self, monkeypatch: pytest.MonkeyPatch) -> S3Store:
        """A piece of memory of its own."""
        monkeypatch.setenv("AIRFLOW__XCOM__URL", f"memory:///{uuid.uuid4()}")
        monkeypatch.delenv("AIRFLOW__XCOM__CONN_ID", raising=False)
        return S3Store()


class Shelf(Store):
    """A store of somebody's own, as small as one can be; `flaw` is what is wrong with it."""

    schemes = frozenset({"shelf"})

    def __init__(self, flaw: str = "") -> None:
        self.flaw = flaw
        self.kept: dict[str, bytes] = {}
        self.owners: dict[str, tuple[Address, Attempt]] = {}

    def put(
        self, address: Address, attempt: Attempt, payload: Payload, expires: Expiry | None = None
    ) -> Stored:
        """Under a name of its own."""
        whole = b"".join(payload.chunks())
        uri = f"shelf://{hash(address) if self.flaw == 'one name for all tries' else uuid.uuid4()}"
        self.owners[uri] = (address, attempt)
        self.kept[uri] = whole[:-1] if self.flaw == "cuts" else whole
        return Stored(len(whole), hashlib.sha256(whole).hexdigest(), uri)

    def abandon(self, stored: Stored) -> None:
        """As if it had never been."""
        if self.flaw == "abandons all":
            self.kept.clear()
        elif self.flaw != "abandons nothing":
            self.kept.pop(stored.uri or "", None)

    def fetch(self, ref: Reference) -> memoryview:
        """What is there under that name."""
        uri = ref.uri or ""
        if not re.fullmatch(r"shelf://[\w-]+", uri, re.ASCII) and self.flaw != "reads what it is told":
            raise BadReference("The reference does not point to this shelf")
        whose = (ref.address, ref.attempt)
        if self.owners.get(uri, whose) != whose and self.flaw != "asks nobody whose it is":
            raise BadReference("The reference points to another XCom's payload")
        if uri not in self.kept:
            raise PayloadMissing(f"The payload at {uri} is gone", "Run the task again.")
        return memoryview(self.kept[uri])

    def delete(self, ref: Reference) -> None:
        """What is there under that name."""
        with contextlib.suppress(PayloadMissing):
            self.fetch(ref)
        if self.flaw != "deletes nothing":
            self.kept.pop(ref.uri or "", None)

    def probe(self) -> Iterable[Check]:
        """It is there."""
        if self.flaw == "leaves its probe":
            self.kept["shelf://probe"] = b""
        return [Check("shelf", True, "is there")]


class TestShelf(StoreContract):
    """The contract is not about our own stores."""

    @pytest.fixture
    def store(self) -> Shelf:
        """An empty one."""
        return Shelf()

    def stored(self, store: Store) -> set[str]:
        """All that is there."""
        assert isinstance(store, Shelf)
        return set(store.kept)

    def damage(self, store: Store, ref: Reference, body: bytes) -> None:
        """Other bytes."""
        assert isinstance(store, Shelf)
        store.kept[ref.uri or ""] = body


@pytest.mark.parametrize(
    ("flaw", "test"),
    [
        ("one name for all tries", "test_a_payload_that_was_only_put_leaves_the_current_one_alone"),
        ("cuts", "test_views_of_other_items_than_bytes_count_in_bytes"),
        ("abandons all", "test_what_is_abandoned_takes_nothing_else_with_it"),
        ("abandons nothing", "test_what_is_abandoned_is_gone"),
        ("reads what it is told", "test_uris_outside_the_store_are_refused"),
        ("asks nobody whose it is", "test_another_xcoms_payload_is_neither_read_nor_deleted"),
        ("deletes nothing", "test_missing_says_so"),
        ("leaves its probe", "test_probe_leaves_nothing"),
    ],
)
def test_the_contract_notices(flaw: str, test: str) -> None:
    check = getattr(TestShelf(), test)
    check(Shelf())
    with pytest.raises((AssertionError, XComError, pytest.fail.Exception)):
        check(Shelf(flaw))


@pytest.mark.parametrize(
    "test",
    ["test_missing_says_so", "test_probe_leaves_nothing", "test_ranges_are_those_asked_for"],
)
def test_what_a_store_does_not_do_is_skipped_with_a_reason(test: str) -> None:
    with pytest.raises(pytest.skip.Exception, match="this store"):
        getattr(TestRow(), test)(RowStore())
