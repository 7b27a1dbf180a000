"""Payloads and rows that only who has the key can read: there and back on each backend, and all that can be
done to them by who has not."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from airflow.sdk.exceptions import AirflowFailException
from encrypted import ADDRESS, BACKENDS, Backend, forget_keys, keyset_in, opened

from exclusive_xcom import (
    Handle,
    encryption,
    exclusive,
    keep,
    keys,
    keysets,
    lazy,
    mapped,
    pull,
    reference,
    scratch,
    sealed,
)
from exclusive_xcom.address import NOBODY, SCHEDULER_KEYS
from exclusive_xcom.binding import Question, deleting
from exclusive_xcom.codecs import Payload
from exclusive_xcom.errors import (
    BadReference,
    KeyMissing,
    MisplacedReference,
    NotEncrypted,
    PayloadAltered,
    PayloadError,
    PayloadForged,
    PayloadMissing,
    PayloadTruncated,
    StaleXCom,
    UnsupportedValue,
    WrongKey,
)
from exclusive_xcom.reference import is_reference, parse
from exclusive_xcom.store import store_of
from exclusive_xcom.testing.identical import identical
from exclusive_xcom.upkeep import looking
from exclusive_xcom.upkeep.key_files import KeyFile

SECRET = "Geheimnis"
OTHER = replace(ADDRESS, key="other")


@pytest.fixture(autouse=True)
def keyset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A keyset, which is set."""
    path = tmp_path / "keyset.json"
    keyset_in(path)
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_FILE", str(path))
    return path


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Each of them, with a real store."""
    with opened(request.param, lambda: request.getfixturevalue("moto"), tmp_path) as found:
        yield found


def without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has none."""
    monkeypatch.delenv("AIRFLOW__XCOM__KEYSET_FILE", raising=False)
    forget_keys()


def large(backend: Backend) -> bytes:
    """A value of several segments, as large as the backend takes."""
    return os.urandom(700_000 if backend.name == "db" else 3_500_000)


def frame() -> pd.DataFrame:
    """With a column whose name is a secret."""
    return pd.DataFrame({SECRET: [1, 2, 3], "b": ["x", SECRET, None]})


# -- there and back ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        7,
        None,
        SECRET,
        b"",
        SECRET.encode(),
        {"a": (1, SECRET)},
        [{SECRET: 1}] * 3,
        np.arange(5),
        frame(),
        [b"one" * 1000, frame()],
    ],
    ids=lambda value: type(value).__name__,
)
def test_it_comes_back(backend: Backend, value: Any, caplog: pytest.LogCaptureFixture) -> None:
    row = backend.push(value)
    assert is_reference(row) and "encryption" in row["must"]
    assert identical(backend.pull(row), value)
    assert identical(backend.outside(row), value)
    told = json.dumps(row) + caplog.text
    assert SECRET not in told and "DataFrame" not in told
    assert SECRET.encode() not in backend.raw(row)


def test_what_is_large_comes_back(backend: Backend) -> None:
    value = large(backend)
    row = backend.push(value)
    assert backend.pull(row) == value
    assert row["length"] == encryption.length_of(len(value)) == len(backend.raw(row))
    assert row["sha256"] == hashlib.sha256(backend.raw(row)).hexdigest()


def test_a_row_says_address_length_and_key_and_nothing_of_the_value(backend: Backend) -> None:
    row = backend.push(frame())
    number = keysets.keyset(next(keysets.each())[0]).primary
    assert row["encryption"]["key"] == number
    assert (row["codec"], row["kind"]) == ("encrypted/1", "encrypted value")
    assert not {"summary", "meta", "filename"} & row.keys()
    assert SECRET.encode() not in base64.b64decode(row["encryption"]["about"])
    assert row.get("uri", ".tink").endswith(".tink") or backend.name == "redis"


def test_what_would_be_plain_in_the_row_is_encrypted_in_the_row(backend: Backend) -> None:
    small, large = backend.push([SECRET]), backend.push([SECRET] * 1000)
    inside = {"db": (True, True), "redis": (False, False)}.get(backend.name, (True, False))
    assert ("data" in small, "data" in large) == inside
    assert backend.pull(small) + backend.pull(large) == [SECRET] * 1001


def test_a_file_keeps_its_name_which_is_secret(backend: Backend, tmp_path: Path) -> None:
    (path := tmp_path / f"{SECRET}.pdf").write_bytes(b"%PDF" * 1000)
    row = backend.push(path)
    assert SECRET not in json.dumps(row)
    found = backend.pull(row)
    assert (found.name, found.read_bytes()) == (path.name, b"%PDF" * 1000)


def test_a_file_that_grows_meanwhile_is_refused(backend: Backend, tmp_path: Path) -> None:
    (path := tmp_path / "a.bin").write_bytes(b"1" * 1000)
    payload = Payload("file/1", "file", "application/octet-stream", ".bin", path)
    key = keysets.for_push(ADDRESS)
    assert key
    made = encryption.encrypted(payload, key, ADDRESS, NOBODY)
    path.write_bytes(b"1" * 1001)
    with pytest.raises(UnsupportedValue, match=r"was 1,000 bytes long and is 1,001"):
        backend.of.store().put(ADDRESS, NOBODY, made)


def test_a_handle_loads_what_is_asked_for(backend: Backend) -> None:
    row = backend.push(exclusive(keep(lazy(frame()), "2h"), readers=["orders.*"]))
    handle = backend.outside(row)
    assert isinstance(handle, Handle)
    assert (handle.kind, handle.summary) == ("pandas DataFrame", "3 rows × 2 columns")
    assert "DataFrame" not in str(handle) and "3 rows" not in str(handle)
    pd.testing.assert_frame_equal(handle.load(), frame())
    assert list(handle.load(columns=["b"]).columns) == ["b"]
    with handle.open() as stream:
        data = stream.read()
    assert len(data) < row["length"] and handle.path().read_bytes() == data


def test_columns_are_read_alone_though_the_whole_is_fetched(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__XCOM__FRAME_FORMAT", "parquet")
    handle = backend.outside(backend.push(lazy(frame())))
    assert list(handle.load(columns=[SECRET]).columns) == [SECRET]
    with pytest.raises(UnsupportedValue, match="no column"):
        handle.load(columns=["none"])


def test_an_item_of_a_list_is_read_alone(backend: Backend) -> None:
    if backend.name == "db":
        pytest.skip("a row is too small for a list whose items are read alone")
    value = [os.urandom(300_000) for _ in range(5)]
    ref = parse(backend.push(value))
    assert mapped.length_of(ref) == 0 and mapped.length_of(encryption.opened(ref)) == 5
    assert pull._Source(ref).item(3) == value[3]


def test_several_come_back_together(backend: Backend) -> None:
    addresses = [replace(ADDRESS, map_index=index) for index in range(5)]
    rows = [backend.push(("value", index), address) for index, address in enumerate(addresses)]
    found = backend.of._answer(Question(ADDRESS, any_index=True), rows)
    assert found == [("value", index) for index in range(5)]


@pytest.mark.parametrize("key", SCHEDULER_KEYS)
def test_what_airflows_scheduler_reads_stays_plain(backend: Backend, key: str) -> None:
    value = {"followed": ["a"]}
    row = backend.push(value, replace(ADDRESS, key=key))
    assert row == value


def test_the_same_value_twice_gives_other_bytes(backend: Backend) -> None:
    one, other = backend.push(SECRET), backend.push(SECRET, OTHER)
    assert backend.raw(one) != backend.raw(other)
    assert one["encryption"]["about"] != other["encryption"]["about"]


def test_the_length_is_known_before(tmp_path: Path) -> None:
    key = keysets.for_push(ADDRESS)
    assert key
    first, step = keys.SEGMENT - keys.HEADER - keys.TAG, keys.SEGMENT - keys.TAG
    for size in (0, 1, first - 1, first, first + 1, first + step, first + step + 1, 3 * keys.SEGMENT):
        payload = Payload("binary/1", "bytes", "", ".bin", [bytes(size)])
        made = encryption.encrypted(payload, key, ADDRESS, NOBODY)
        assert sum(piece.nbytes for piece in made.chunks(100_000)) == made.length, size
        assert max(piece.nbytes for piece in made.chunks(100_000)) <= 100_000


# -- who has no key, or another ---------------------------------------------------------------------


def test_without_a_keyset_it_says_which_key_it_needs(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = backend.push(lazy(frame()))
    handle = backend.pull(row)
    without_keys(monkeypatch)
    for act in (lambda: handle.load(), lambda: handle.path(), lambda: handle.kind):
        with pytest.raises(KeyMissing) as caught:
            act()
        assert f"encrypted by key {row['encryption']['key']}, and no keyset is set here" in str(caught.value)
        assert "AIRFLOW__XCOM__KEYSET_FILE" in str(caught.value) and caught.value.address == ADDRESS


def test_without_the_file_nothing_is_pushed_in_plain(backend: Backend, keyset: Path) -> None:
    keyset.unlink()
    for value in (7, b"bytes"):
        with pytest.raises(KeyMissing, match="No such file"):
            backend.push(value)


def test_another_key_is_told_from_a_payload_that_was_changed(backend: Backend, keyset: Path) -> None:
    row = backend.push(frame())
    made = keys.new_keyset()
    made.primary_key_id = made.key[0].key_id = row["encryption"]["key"]  # the same id by chance, or by hand
    keyset_in(keyset, made)
    with pytest.raises(WrongKey, match=r"another key than the one that is key \d+ of keyset 'default' here"):
        backend.pull(row)


def test_a_keyset_of_another_environment_says_what_it_has(backend: Backend, keyset: Path) -> None:
    row = backend.push(frame())
    found = keyset_in(keyset)
    with pytest.raises(KeyMissing) as caught:
        backend.pull(row)
    has = f"Keyset 'default' has {found.primary_key_id} (primary)"
    assert f"by key {row['encryption']['key']}, which is not here. {has}" in str(caught.value)


def test_it_can_be_verified_without_a_key(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    row = backend.push(large(backend))
    without_keys(monkeypatch)
    looking.check(parse(row))
    data = bytearray(backend.raw(row))
    data[-1] ^= 1
    with pytest.raises(PayloadAltered):
        looking.check(parse(backend.damaged(row, bytes(data))))


def test_a_look_from_outside_needs_the_key(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    row = backend.push({"a": 1})
    assert looking.value_of(parse(row)) == {"a": 1}
    without_keys(monkeypatch)
    with pytest.raises(KeyMissing):
        looking.value_of(parse(row))


def test_it_goes_with_its_row_without_a_key(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    row = backend.push(large(backend))
    without_keys(monkeypatch)
    with deleting(Question(ADDRESS)):
        backend.of.purge(SimpleNamespace(value=row))
    if backend.name != "db":  # where Airflow deletes the row, and the payload with it
        with pytest.raises(PayloadMissing):
            backend.raw(row)


def test_an_older_release_refuses_the_row(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    row = backend.push(7)
    monkeypatch.setattr(reference, "UNDERSTOOD", frozenset({"readers", "once"}))
    with pytest.raises(BadReference, match="needs 'encryption', which this release does not know"):
        backend.pull(row)


# -- who changes things -----------------------------------------------------------------------------


def flipped(data: bytes, place: int) -> bytes:
    """With another bit."""
    changed = bytearray(data)
    changed[place] ^= 0x40
    return bytes(changed)


def reordered(data: bytes) -> bytes:
    """With two whole segments exchanged."""
    step = keys.SEGMENT
    pieces = [data[start : start + step] for start in range(0, len(data), step)]
    assert len(pieces) > 3
    pieces[1], pieces[2] = pieces[2], pieces[1]
    return b"".join(pieces)


DAMAGES = {
    "the first byte": lambda data: flipped(data, 0),
    "the salt": lambda data: flipped(data, 5),
    "the first segment": lambda data: flipped(data, 100),
    "the middle": lambda data: flipped(data, len(data) // 2),
    "the last byte": lambda data: flipped(data, -1),
    "the end is missing": lambda data: data[:-1],
    "a segment is missing": lambda data: data[: -(len(data) % keys.SEGMENT) or -keys.SEGMENT],
    "there is more": lambda data: data + b"\0",
    "nothing is left": lambda data: b"",
    "another order": reordered,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_was_changed_in_the_store_is_refused(backend: Backend, damage: str) -> None:
    if backend.name == "db" and damage in ("another order", "a segment is missing"):
        pytest.skip("a row has one segment")
    value = large(backend)
    row = backend.push(value)
    data = DAMAGES[damage](backend.raw(row))
    row = backend.damaged(row, data)
    with pytest.raises((PayloadAltered, PayloadTruncated, PayloadError)) as caught:
        backend.pull(row)
    assert type(caught.value) is not PayloadForged
    # Whoever changes the row, too, so that it fits again, is found by what is encrypted in the row.
    again = row | {"length": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    with pytest.raises((PayloadError, StaleXCom)):
        backend.pull(again)
    if backend.name != "redis":  # whose own head says how long it is
        with pytest.raises(PayloadForged):
            backend.pull(again)


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_stream_by_itself_refuses_it(tmp_path: Path, damage: str) -> None:
    """As if what the row says were right: what Tink checks, each segment in its place."""
    with opened("folder", str, tmp_path) as backend:
        row = backend.push(value := large(backend))
        ref = parse(row)
        inner, size, key = encryption._opened(ref)
        data = DAMAGES[damage](backend.raw(row))
        backend.damaged(row, data)
        forged = replace(ref, length=len(data), sha256=hashlib.sha256(data).hexdigest())
        bound = encryption._payload_bound(ref.address, ref.attempt.ti_id, inner.codec, size)
        content = encryption.DecryptedContent(forged, store_of(ref), None, key=key, size=size, bound=bound)
        for read in (content.buffer, lambda: content.file("a"), lambda: content.part(0, 1)):
            with pytest.raises(PayloadForged, match="was not encrypted for this XCom"):
                read()
        assert len(value) == size


def test_nothing_is_left_of_a_file_that_was_not_intact(tmp_path: Path, keyset: Path) -> None:
    with opened("folder", str, tmp_path) as backend:
        handle = backend.outside(row := backend.push(lazy(large(backend))))
        folder = scratch.new_file("x").parents[1]
        before = {path for path in folder.rglob("*") if path.is_file()}
        backend.damaged(row, flipped(backend.raw(row), -1))
        with pytest.raises(PayloadAltered):
            handle.path()
        assert {path for path in folder.rglob("*") if path.is_file()} == before


def test_two_addresses_exchanged(backend: Backend) -> None:
    one, other = backend.push(("one",)), backend.push(("two",), OTHER)
    with pytest.raises(MisplacedReference):
        backend.pull(other)
    with pytest.raises((PayloadForged, BadReference)):
        backend.pull(other | {"address": one["address"]})
    # The payloads alone, with what the rows say of these.
    a, b = backend.raw(one), backend.raw(other)
    swapped = backend.damaged(one, b), backend.damaged(other, a)
    for row, from_row, address in zip(swapped, (other, one), (ADDRESS, OTHER), strict=True):
        with pytest.raises(PayloadError):
            backend.pull(row, address)
        more = {"length": from_row["length"], "sha256": from_row["sha256"]}
        with pytest.raises(PayloadForged):
            backend.pull(row | more, address)
        with pytest.raises(PayloadForged):
            backend.pull(row | more | {"encryption": from_row["encryption"]}, address)


def test_two_pushes_of_one_key_can_not_be_mixed(backend: Backend) -> None:
    """Not what the row says of the one with the bytes of the other, though address and try are the same."""
    first, second = backend.push(["first"] * 3), backend.push(("second",))
    with pytest.raises(PayloadForged):
        backend.pull(second | {"encryption": first["encryption"]})


@pytest.mark.parametrize(
    ("name", "forged"),
    [
        ("readers", ["orders.*"]),
        ("once", True),
        ("lazy", True),
        ("expires", {"rule": "mine", "at": "2030-01-01T00:00:00Z"}),
        ("attempt", {"try_number": 7, "ti_id": ""}),
        ("codec", "binary/1"),
    ],
)
def test_what_the_row_says_in_plain_is_bound_to_the_rest(backend: Backend, name: str, forged: Any) -> None:
    row = backend.push(exclusive((1,), readers=["*.*"]))
    if name == "readers":
        row = backend.push((1,))
    with pytest.raises((PayloadForged, BadReference)):
        pulled = backend.outside(row | {name: forged})
        pulled.load()


@pytest.mark.parametrize("name", ["check", "about"])
def test_nonsense_in_the_row_is_refused(backend: Backend, name: str) -> None:
    row = backend.push((1,))
    for text in ("", "no base64!", "AAAA", base64.b64encode(os.urandom(300)).decode()):
        entry = row["encryption"] | {name: text}
        if name == "check":
            assert backend.pull(row | {"encryption": entry}) == (1,)  # asked only when something is wrong
            entry["about"] = "AAAA"
        with pytest.raises((PayloadForged, WrongKey)):
            backend.pull(row | {"encryption": entry})
    for number in (0, -1, 2**32, "1", None):
        with pytest.raises(BadReference):
            backend.pull(row | {"encryption": row["encryption"] | {"key": number}})


def test_what_a_store_says_is_not_taken_for_forgery(tmp_path: Path) -> None:
    """Tink makes texts of errors that come out of what it reads."""
    with opened("folder", str, tmp_path) as backend:
        handle = backend.outside(row := backend.push(lazy(large(backend))))
        store_of(parse(row)).delete(parse(row))
        with pytest.raises(PayloadError) as caught:
            handle.load()
        assert type(caught.value).__name__ == "PayloadMissing"


# -- rows in plain ----------------------------------------------------------------------------------


def test_what_was_pushed_before_is_read(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    file = os.environ["AIRFLOW__XCOM__KEYSET_FILE"]
    without_keys(monkeypatch)
    rows = [backend.push(value) for value in (7, (1,))]
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_FILE", file)
    assert [backend.pull(row) for row in rows] == [7, (1,)]


def test_where_it_is_demanded_plain_rows_are_refused(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = os.environ["AIRFLOW__XCOM__KEYSET_FILE"]
    without_keys(monkeypatch)
    rows = [backend.push(value) for value in (7, (1,), {"forged": True})]
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_FILE", file)
    monkeypatch.setenv("AIRFLOW__XCOM__ENCRYPTION", "demand")
    for row in rows:
        with pytest.raises(NotEncrypted, match="AIRFLOW__XCOM__ENCRYPTION demands") as caught:
            backend.pull(row)
        assert isinstance(caught.value, AirflowFailException)  # no retry would mend it
    skip = replace(ADDRESS, key="skipmixin_key")
    assert backend.pull(backend.push({"skipped": []}, skip), skip) == {"skipped": []}
    assert backend.pull(backend.push((1,))) == (1,)


# -- rotation ---------------------------------------------------------------------------------------


def test_two_workers_in_the_middle_of_a_rotation(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a file of its own, which gets the newest keyset at its own time."""
    files = [tmp_path / f"worker {number}.json" for number in (1, 2)]
    found = keyset_in(files[0])
    keyset_in(files[1], found)
    before = found.primary_key_id

    def at(worker: int) -> None:
        monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_FILE", str(files[worker]))

    def both_ways(*by: int) -> None:
        for worker, number in enumerate(by):
            at(worker)
            row = backend.push(value := (worker, number))
            assert row["encryption"]["key"] == number
            at(1 - worker)
            assert backend.pull(row) == value

    both_ways(before, before)
    added = keys.add(found)
    keyset_in(files[0], found)  # one has the new key, the other has not
    both_ways(before, before)
    keyset_in(files[1], found)
    keys.activate(found, added)
    keyset_in(files[1], found)  # one encrypts by the new key already
    both_ways(before, added)
    keyset_in(files[0], found)
    both_ways(added, added)


def test_who_has_not_the_new_key_is_told_and_gets_it_without_a_restart(
    backend: Backend, keyset: Path
) -> None:
    """A rotation in the wrong order: activated before every worker had it."""
    found = keys.parsed("k", keyset.read_text())
    old = keyset.read_text()
    added = keys.add(found)
    keys.activate(found, added)
    keyset_in(keyset, found)
    row = backend.push((1,))
    keyset.write_text(old)
    with pytest.raises(KeyMissing, match="If that key is new, give the newest keyset to this worker"):
        backend.pull(row)
    keyset.write_text(keys.text_of(found))
    assert backend.pull(row) == (1,)


def test_a_retired_key_reads_nothing_any_more(backend: Backend, keyset: Path) -> None:
    row = backend.push((1,))
    old = row["encryption"]["key"]
    found = keys.parsed("k", keyset.read_text())
    keys.activate(found, keys.add(found))
    keyset_in(keyset, found)
    assert backend.pull(row) == (1,)
    keys.destroy(found, old)
    keyset_in(keyset, found)
    with pytest.raises(
        KeyMissing, match=f"by key {old}, which is not here. In keyset 'default' it is destroyed"
    ):
        backend.pull(row)
    assert backend.pull(backend.push((2,))) == (2,)


def test_pushes_and_pulls_go_on_while_keys_change(backend: Backend, keyset: Path) -> None:
    """Threads of one process, whose file changes under their hands."""
    problems: list[BaseException] = []
    done = threading.Event()

    def work(number: int) -> None:
        address = replace(ADDRESS, map_index=number)
        with contextlib.ExitStack() as stack:
            stack.callback(done.set) if number == 0 else None
            for turn in range(15):
                try:
                    assert backend.pull(backend.push((number, turn), address), address) == (number, turn)
                except BaseException as error:
                    problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    found = keys.parsed("k", keyset.read_text())
    file = KeyFile.at(keyset)
    for _ in range(3):
        file.activate(file.add())
    for thread in threads:
        thread.join()
    assert not problems and found.primary_key_id != KeyFile.at(keyset).read().primary_key_id


# -- what it takes ----------------------------------------------------------------------------------


WING = {"exclusive_xcom.encryption", "exclusive_xcom.keysets", "exclusive_xcom.keys", "tink"}
# What a process does that pushes and pulls a value, a list, and one that is read on demand.
PROGRAM = f"""
import importlib, json, sys
from types import SimpleNamespace
from exclusive_xcom import lazy
from exclusive_xcom.binding import Question
from exclusive_xcom.address import Address
module, _, name = sys.argv[1].rpartition(".")
sys.path[:0] = json.loads(sys.argv[2])
from airflow_versions import row_of
backend = getattr(importlib.import_module(module), name)
whose = dict(dag_id="d", run_id="r", task_id="t", map_index=-1)
for value in (1, [(1,)] * 9, lazy((1, 2))):
    row = row_of(backend, "k", value, **whose)
    found = backend._answer(Question(Address(**whose, key="k")), [row])[0]
    if hasattr(found, "load"):
        assert found.kind == "tuple"
        found = found.load()
    assert found == getattr(value, "value", value)
print(*sorted({WING!r} & set(sys.modules)))
"""


@pytest.mark.parametrize("is_set", [False, True])
def test_without_a_keyset_nothing_of_it_is_imported(
    backend: Backend, is_set: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, which pushes and pulls; and it would be seen if it were."""
    if not is_set:
        monkeypatch.delenv("AIRFLOW__XCOM__KEYSET_FILE")
    of = f"{backend.of.__module__}.{backend.of.__name__}"
    arguments = [sys.executable, "-c", PROGRAM, of, json.dumps(sys.path)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert set(done.stdout.splitlines()[-1].split()) == (WING if is_set else set()), done.stdout


def test_a_stream_takes_constant_memory(tmp_path: Path) -> None:
    """What Python holds of 300 MB at a time; test_encrypted_sizes.py has the whole process, with 5 GB."""
    import tracemalloc

    with (path := tmp_path / "large.bin").open("wb") as file:
        file.truncate(300_000_000)
    with opened("folder", str, tmp_path) as backend:
        tracemalloc.start()
        row = backend.push(path)
        _, pushed = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        found = backend.pull(row)
        _, pulled = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert found.stat().st_size == 300_000_000
    assert max(pushed, pulled) < 80_000_000


def test_a_payload_in_plain_is_not_touched() -> None:
    payload = Payload("binary/1", "bytes", "", ".bin", [b"x"])
    ref = reference.Reference(ADDRESS, NOBODY, "binary/1", "bytes", "x/y", 0, "0" * 64, data="")
    assert sealed.payload_for(payload, None, ADDRESS, NOBODY) is payload
    assert sealed.described(ref, payload, None) is ref
    assert sealed.opened(ref) is ref
