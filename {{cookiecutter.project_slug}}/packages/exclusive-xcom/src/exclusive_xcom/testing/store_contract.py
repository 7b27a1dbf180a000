"""What every store of payloads must do: a test class that the tests of each store inherit.

For the store of this project, or for one of your own, in a file of your tests:

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, tmp_path: Path) -> MyStore:
            self.folder = tmp_path
            return MyStore(tmp_path)  # empty, fresh for each test

        def stored(self, store: Store) -> set[str]:
            return {path.as_uri() for path in self.folder.rglob("*") if path.is_file()}

        def damage(self, store: Store, ref: Reference, body: bytes) -> None:
            Path(urlsplit(ref.uri).path).write_bytes(body)

`stored` and `damage` look past the store at what really lies there. The tests that need one which is not
given are skipped and say so, as are those for what the store says that it does not do: it keeps payloads
in the row, reads no ranges, or leaves what was not committed to the collector.
Nothing here knows which store it tests, and nothing needs more than pytest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from ..address import Address
from ..content import StoredContent
from ..errors import BadReference, PayloadError, PayloadMissing, XComError
from ..reference import Reference
from ..store import Store
from .payloads import ADDRESS, STRANGE, Body, attempt, keep, payload, stage, uri_of, whole

__all__ = ["ADDRESS", "STRANGE", "StoreContract", "attempt", "keep", "payload", "stage", "uri_of", "whole"]


class StoreContract:
    """Tests that hold for every store. See the module for how to inherit them."""

    #: Bytes of the largest payload that the tests try.
    large: ClassVar[int] = 20 * 2**20

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        """The store, with nothing in it. A subclass gives it."""
        raise NotImplementedError("a subclass gives the store")

    def stored(self, store: Store) -> set[str]:
        """The URIs of all payloads that lie in the store, committed or not, found without its help."""
        pytest.skip("this subclass does not say how to look past the store (`stored`)")

    def damage(self, store: Store, ref: Reference, body: bytes) -> None:
        """Put other bytes in the place of a payload, without the store's help."""
        pytest.skip("this subclass does not say how to write past the store (`damage`)")

    # -- there and back -----------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "body",
        [
            [b""],
            [],
            [b"x"],
            [b"one", b"", b"two", memoryview(b"three")],
            [memoryview(bytearray(range(256)))],
            [bytes(range(256)) * 40],
        ],
        ids=["empty", "no-parts", "one-byte", "parts", "view", "10-kB"],
    )
    def test_what_was_put_comes_back(self, store: Store, body: Body) -> None:
        expected = b"".join(payload(body).chunks())
        ref = keep(store, body)
        assert (ref.length, ref.sha256) == (len(expected), hashlib.sha256(expected).hexdigest())
        assert bytes(store.fetch(ref)) == expected
        assert whole(store.stream(ref)) == expected

    def test_several_come_back_in_their_order(self, store: Store) -> None:
        bodies = [b"", b"one", os.urandom(min(self.large, 2**20)), b"one", b"two"]
        refs = [keep(store, [body], replace(ADDRESS, map_index=n)) for n, body in enumerate(bodies)]
        assert [bytes(found) for found in store.fetch_many(refs)] == bodies
        assert [bytes(found) for found in store.fetch_many(refs[::-1])] == bodies[::-1]

    def test_one_of_several_that_is_missing_is_named(self, store: Store) -> None:
        refs = [keep(store, [b"value"], replace(ADDRESS, map_index=n)) for n in range(5)]
        uri = uri_of(refs[3])
        store.delete(refs[3])
        with pytest.raises(PayloadMissing) as caught:
            list(store.fetch_many(refs))
        assert uri in str(caught.value)

    def test_views_of_other_items_than_bytes_count_in_bytes(self, store: Store) -> None:
        view = memoryview(bytes(range(64))).cast("q")
        ref = keep(store, [view])
        assert (ref.length, bytes(store.fetch(ref))) == (64, bytes(range(64)))

    @pytest.mark.parametrize("length", [0, 1, 100_000])
    def test_a_file_comes_back(self, store: Store, tmp_path: Path, length: int) -> None:
        expected = os.urandom(length)
        (tmp_path / "in.bin").write_bytes(expected)
        ref = keep(store, tmp_path / "in.bin")
        assert (ref.length, ref.sha256) == (length, hashlib.sha256(expected).hexdigest())
        assert bytes(store.fetch(ref)) == expected
        assert whole(store.stream(ref)) == expected

    @pytest.mark.parametrize("as_file", [False, True], ids=["parts", "file"])
    def test_a_large_payload_comes_back(self, store: Store, tmp_path: Path, as_file: bool) -> None:
        expected = os.urandom(2**20) * (self.large // 2**20) + b"the odd end"
        expected = expected[-self.large :]
        body: Body = [memoryview(expected)[:12345], memoryview(expected)[12345:]]
        if as_file:
            body = tmp_path / "in.bin"
            body.write_bytes(expected)
        ref = keep(store, body)
        assert (ref.length, ref.sha256) == (len(expected), hashlib.sha256(expected).hexdigest())
        assert bytes(store.fetch(ref)) == expected
        assert whole(store.stream(ref)) == expected

    def test_a_file_keeps_a_strange_name(self, store: Store, tmp_path: Path) -> None:
        for number, name in enumerate(["report.pdf", "Größe 1.txt", "a%2fb.csv", "..hidden", "x" * 255]):
            path = tmp_path / f"{number}.bin"
            path.write_bytes(name.encode())
            address = replace(ADDRESS, key=f"k{number}")
            stored, ref = stage(store, address, attempt(), payload(path, filename=name))
            store.commit(stored, ref)
            assert bytes(store.fetch(ref)) == name.encode()

    def test_ranges_are_those_asked_for(self, store: Store) -> None:
        expected = os.urandom(300_000)
        ref = keep(store, [expected])
        reader = store.reader(ref)
        if reader is None:
            pytest.skip("this store reads no ranges")
        reader.seek(-8, 2)
        assert reader.read() == expected[-8:]
        for start, length in [(0, 1), (1, 100), (299_990, 100), (123_456, 70_000)]:
            reader.seek(start)
            assert (reader.read(length), reader.tell()) == (
                expected[start : start + length],
                min(start + length, 300_000),
            )

    def test_parts_are_those_asked_for(self, store: Store) -> None:
        expected = os.urandom(min(self.large, 1_300_000))
        ref, end = keep(store, [expected]), len(expected)
        for start, stop in [(0, 1), (end - 9, end), (end // 3, end // 2), (9, end - 9), (0, end)]:
            assert bytes(StoredContent(ref, store).part(start, stop)) == expected[start:stop]

    # -- whose is it --------------------------------------------------------------------------------

    def test_strange_names_come_back_and_never_meet(self, store: Store) -> None:
        refs, writer = {}, attempt()  # one try, as far as it is the same task
        for name in STRANGE:
            for address in (
                replace(ADDRESS, dag_id=name),
                replace(ADDRESS, run_id=name),
                replace(ADDRESS, task_id=name),
                replace(ADDRESS, key=name),
            ):
                refs[address] = keep(store, [repr(address).encode()], address, writer)
        for address, ref in refs.items():
            assert bytes(store.fetch(ref)) == repr(address).encode()
        uris = {ref.uri for ref in refs.values()}
        assert uris == {None} or len(uris) == len(refs)

    def test_names_that_differ_only_in_case_or_place_never_meet(self, store: Store) -> None:
        addresses = [
            Address("a", "b", "c", -1, "k"),
            Address("A", "b", "c", -1, "k"),
            Address("a", "b", "c", -1, "K"),
            Address("a/b", "c", "c", -1, "k"),
            Address("a", "b/c", "c", -1, "k"),
            Address("a", "b", "c", 0, "k"),
            Address("a", "b", "c", 10, "k"),
            Address("a", "b", "c/0", -1, "k"),
        ]
        writer = attempt()
        refs = [keep(store, [str(n).encode()], address, writer) for n, address in enumerate(addresses)]
        assert [bytes(store.fetch(ref)) for ref in refs] == [str(n).encode() for n in range(len(addresses))]

    def test_the_same_key_twice_in_one_try(self, store: Store) -> None:
        writer = attempt()
        first = keep(store, [b"first"], writer=writer)
        second = keep(store, [b"second, longer"], writer=writer)
        assert bytes(store.fetch(second)) == b"second, longer"
        self.is_itself_or_an_error(store, first, b"first")

    def test_the_same_value_twice_in_one_try(self, store: Store) -> None:
        writer = attempt()
        keep(store, [b"same"], writer=writer)
        assert bytes(store.fetch(keep(store, [b"same"], writer=writer))) == b"same"

    def test_a_newer_try_replaces_an_older_one(self, store: Store) -> None:
        older, newer = attempt(1), attempt(2)
        first = keep(store, [b"older"], writer=older)
        store.take_over(ADDRESS, newer)
        second = keep(store, [b"newer"], writer=newer)
        assert bytes(store.fetch(second)) == b"newer"
        self.is_itself_or_an_error(store, first, b"older")

    def test_a_payload_that_was_only_put_leaves_the_current_one_alone(self, store: Store) -> None:
        current = keep(store, [b"current"], writer=attempt(2))
        stage(store, ADDRESS, attempt(1), payload([b"of an older try"]))
        stage(store, ADDRESS, current.attempt, payload([b"of the same try, killed before its commit"]))
        assert bytes(store.fetch(current)) == b"current"

    def test_a_commit_may_be_repeated(self, store: Store) -> None:
        stored, ref = stage(store, ADDRESS, attempt(), payload([b"value"]))
        store.commit(stored, ref)
        store.commit(stored, ref)
        assert bytes(store.fetch(ref)) == b"value"

    def test_what_is_abandoned_takes_nothing_else_with_it(self, store: Store) -> None:
        writer = attempt(2)
        current = keep(store, [b"current"], writer=writer)
        for other in (writer, attempt(1)):
            stored, _ = stage(store, ADDRESS, other, payload([b"refused before its row"]))
            store.abandon(stored)
            store.abandon(stored)  # what is gone already is no error
        assert bytes(store.fetch(current)) == b"current"

    def test_what_is_abandoned_is_gone(self, store: Store) -> None:
        current = keep(store, [b"current"])
        if type(store).abandon is Store.abandon:
            pytest.skip("this store leaves what was not committed to the collector")
        stored, ref = stage(store, ADDRESS, attempt(), payload([b"refused before its row"]))
        store.abandon(stored)
        with pytest.raises(XComError):
            store.fetch(ref)
        assert self.stored(store) == {current.uri}

    def test_a_run_deleted_and_created_again_under_its_id_starts_at_try_one(self, store: Store) -> None:
        before = keep(store, [b"before"], writer=attempt(1))
        store.delete(before)
        after = keep(store, [b"after"], writer=attempt(1))
        assert bytes(store.fetch(after)) == b"after"
        self.is_itself_or_an_error(store, before, b"before")

    # -- deleting -----------------------------------------------------------------------------------

    def test_delete_deletes_this_payload_and_no_other(self, store: Store) -> None:
        writer = attempt()
        mine = keep(store, [b"mine"], writer=writer)
        uri_of(mine)
        others = [
            keep(store, [b"key"], replace(ADDRESS, key="return_value2"), writer),
            keep(store, [b"index"], replace(ADDRESS, map_index=0)),
            keep(store, [b"run"], replace(ADDRESS, run_id="other")),
        ]
        store.delete(mine)
        with pytest.raises(PayloadMissing):
            store.fetch(mine)
        with pytest.raises(PayloadMissing):
            whole(store.stream(mine))
        assert [bytes(store.fetch(ref)) for ref in others] == [b"key", b"index", b"run"]

    def test_delete_of_an_older_value_leaves_the_newer_one(self, store: Store) -> None:
        older = keep(store, [b"older"], writer=attempt(1))
        newer = keep(store, [b"newer"], writer=attempt(2))
        store.delete(older)
        assert bytes(store.fetch(newer)) == b"newer"

    def test_delete_twice_is_no_error(self, store: Store) -> None:
        ref = keep(store, [b"value"])
        store.delete(ref)
        store.delete(ref)

    def test_missing_says_so(self, store: Store) -> None:
        ref = keep(store, [b"value"])
        uri = uri_of(ref)
        store.delete(ref)
        with pytest.raises(PayloadMissing) as caught:
            store.fetch(ref)
        assert uri in str(caught.value)
        assert caught.value.advice

    # -- what is not ours ---------------------------------------------------------------------------

    def test_uris_outside_the_store_are_refused(self, store: Store) -> None:
        ref = keep(store, [b"value"])
        ours = uri_of(ref)
        head, _, last = ours.rpartition("/")
        scheme = ours.partition(":")[0]
        assert scheme in store.schemes
        forged = [
            "",
            f"{scheme}:",
            f"{scheme}://",
            f"{scheme}://elsewhere/{last}",
            f"{head}/../../../../../../../../{last}",
            f"{head}/%2e%2e/%2E%2E/{last}",
            f"{head}/./{last}",
            f"{head}//{last}",
            f"{ours}/..",
            f"{ours}?versionId=1",
            f"{ours}#part",
            f"{ours}\x00",
            f"{scheme}://user:password@host/{last}",
        ]
        for uri in forged:
            bad = replace(ref, uri=uri)
            for act in (store.fetch, lambda bad: whole(store.stream(bad)), store.delete):
                with pytest.raises((BadReference, PayloadMissing)) as caught:
                    act(bad)
                if ".." in uri or "%2e" in uri or "elsewhere" in uri:
                    assert isinstance(caught.value, BadReference), uri
                assert "password" not in str(caught.value)
        assert bytes(store.fetch(ref)) == b"value"

    def test_another_xcoms_payload_is_neither_read_nor_deleted(self, store: Store) -> None:
        """A row may claim the address that was asked for, and point to what another one's row points to."""
        theirs = keep(store, [b"theirs"])
        uri_of(theirs)
        for address in (
            replace(ADDRESS, dag_id="mine"),
            replace(ADDRESS, run_id="mine"),
            replace(ADDRESS, task_id="mine"),
            replace(ADDRESS, map_index=0),
            replace(ADDRESS, key="mine"),
        ):
            writer = theirs.attempt if address.key == "mine" else attempt()  # a task has one that is current
            mine = keep(store, [b"mine!!"], address, writer)
            for forged in (
                replace(mine, uri=theirs.uri),
                replace(mine, uri=theirs.uri, attempt=theirs.attempt, sha256=theirs.sha256),
                replace(theirs, address=mine.address),
                replace(mine, attempt=attempt()),
            ):
                for act in (store.fetch, lambda bad: whole(store.stream(bad)), store.delete):
                    with pytest.raises(BadReference):
                        act(forged)
                if type(store).reader is not Store.reader:
                    with pytest.raises(BadReference):
                        store.reader(forged)
            assert bytes(store.fetch(mine)) == b"mine!!"
        assert bytes(store.fetch(theirs)) == b"theirs"

    # -- past the store -----------------------------------------------------------------------------

    def test_what_is_kept_lies_there_until_it_is_deleted(self, store: Store) -> None:
        refs = [keep(store, [bytes(n)], replace(ADDRESS, key=f"k {n}/é")) for n in range(1, 6)]
        gone = keep(store, [b"gone"], replace(ADDRESS, key="gone"))
        uris = {uri_of(ref) for ref in refs}
        assert self.stored(store) == uris | {gone.uri}
        store.delete(gone)
        assert self.stored(store) == uris

    @pytest.mark.parametrize(
        "damaged", [b"", b"what was pushe", b"what was pushed and more", b"what was pushEd"]
    )
    def test_damage_is_an_error_and_never_a_value(self, store: Store, damaged: bytes) -> None:
        ref = keep(store, [b"what was pushed"])
        uri_of(ref)
        self.damage(store, ref, damaged)
        content = StoredContent(ref, store)
        for read in (content.buffer, lambda: content.file("x")):
            with pytest.raises(PayloadError):
                read()

    # -- probe --------------------------------------------------------------------------------------

    def test_probe_is_content(self, store: Store) -> None:
        checks = list(store.probe())
        assert checks
        assert all(check.ok for check in checks), checks
        assert all(check.name and check.detail for check in checks)
        assert len({check.name for check in checks}) == len(checks)

    def test_probe_leaves_nothing(self, store: Store) -> None:
        uri = uri_of(keep(store, [b"value"]))
        list(store.probe())
        assert self.stored(store) == {uri}

    # -- many at once -------------------------------------------------------------------------------

    def test_many_writers_and_readers_at_once(self, store: Store) -> None:
        def there_and_back(index: int) -> bool:
            address, body = replace(ADDRESS, map_index=index), f"{index}:".encode() * (1 + index * 50)
            ref = keep(store, [body], address)
            return bytes(store.fetch(ref)) == body and whole(store.stream(ref)) == body

        with ThreadPoolExecutor(64) as pool:
            assert all(pool.map(there_and_back, range(64)))

    # -- for subclasses -----------------------------------------------------------------------------

    @staticmethod
    def is_itself_or_an_error(store: Store, ref: Reference, expected: bytes) -> None:
        """A value that was replaced may still be read, or be refused; it is never another one."""
        read: list[Callable[[], bytes]] = [
            lambda: bytes(store.fetch(ref)),
            lambda: whole(store.stream(ref)),
        ]
        for act in read:
            try:
                assert act() == expected
            except XComError:
                continue
