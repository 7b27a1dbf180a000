"""A folder as a store: private, and with no way out of it, whatever somebody puts there."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from s3_servers import configured

from exclusive_xcom.errors import PayloadError, StoreDenied, StoreError
from exclusive_xcom.reference import Reference
from exclusive_xcom.s3 import S3Store
from exclusive_xcom.testing.payloads import keep

SECRET = b"what only the worker may read"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where it is; the test makes it."""
    return tmp_path / "shared" / "xcom"


@pytest.fixture
def store(folder: Path) -> Iterator[S3Store]:
    """The store."""
    with configured("", folder.as_uri()) as store:
        yield store


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder that is none of the store's."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    return place


def kept(store: S3Store) -> tuple[Reference, Path]:
    """A payload as long as the secret, and its file."""
    ref = keep(store, [b"x" * len(SECRET)])
    return ref, Path(unquote(urlsplit(ref.uri or "").path))


def test_it_is_private(store: S3Store, folder: Path) -> None:
    before = os.umask(0)
    try:
        _, file = kept(store)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for place in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_the_modes_of_a_folder_that_was_there_are_its_owners_business(store: S3Store, folder: Path) -> None:
    folder.mkdir(mode=0o750, parents=True)
    kept(store)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_no_link_is_followed(store: S3Store, elsewhere: Path, depth: int) -> None:
    """Neither in a file's place nor in that of a folder: to read, to delete or to write."""
    ref, file = kept(store)
    place = file if not depth else file.parents[depth - 1]
    target = elsewhere / file.relative_to(place) if depth else elsewhere / "secret"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(SECRET)
    place.rename(f"{place}-before")
    place.symlink_to(target if not depth else elsewhere)
    for read in (
        lambda: bytes(store.fetch(ref)),
        lambda: b"".join(store.stream(ref)),
        lambda: store.reader(ref).read(4),  # type: ignore[union-attr]
    ):
        with pytest.raises(StoreDenied, match="not followed"):
            read()
    if depth:
        with pytest.raises(StoreDenied, match="not followed"):
            store.delete(ref)
        with pytest.raises(StoreDenied, match="not followed"):
            kept(store)
        assert list(target.parent.iterdir()) == [target]
    else:
        store.delete(ref)  # the link, and not what it leads to
        assert not place.is_symlink()
    assert target.read_bytes() == SECRET


def test_a_link_to_the_folder_itself_is_the_owners_own(folder: Path, elsewhere: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.symlink_to(elsewhere)
    with configured("", folder.as_uri()) as store:
        ref, _ = kept(store)
        assert bytes(store.fetch(ref)) == b"x" * len(SECRET)
    assert list(elsewhere.rglob("*"))


def test_what_is_no_file_is_not_waited_for(store: S3Store) -> None:
    ref, file = kept(store)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(StoreError):
        store.fetch(ref)


def test_a_link_that_comes_and_goes_is_never_followed(store: S3Store, elsewhere: Path) -> None:
    """However the places change between a look and the opening."""
    ref, file = kept(store)
    (elsewhere / file.name).write_bytes(SECRET)
    place, aside, link = file.parent, file.parents[1] / "aside", file.parents[1] / "link"
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            link.symlink_to(elsewhere)
            place.rename(aside)
            link.rename(place)
            place.unlink()
            aside.rename(place)

    changing = threading.Thread(target=change)
    changing.start()
    try:
        seen = set()
        for _ in range(500):
            try:
                seen.add(bytes(store.fetch(ref)))
            except (PayloadError, StoreError):
                continue
    finally:
        over.set()
        changing.join()
    assert SECRET not in seen
