"""What lies in an object store or a folder, as it lists it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import BadOption
from ..s3.client import Client
from ..s3.location import Location
from ..s3.login import open_location
from ..s3.names import whose
from .buckets import Bucket, Unlisted
from .inventory import OWN, Inventory, Item, Kind

_AT_ONCE = 1000  # objects of one answer, which is as many as S3 gives
_TEXT = "text/plain; charset=utf-8"
# Begins the name that an unfinished upload has here, behind all others: none of our objects' begins so. It
# goes on with the object's name and, behind a sign that none has, with the upload's id.
_UPLOAD, _ID = "~", "#"


class Objects(Inventory):
    """The objects below a location."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.url = client.location.url
        self._bucket = Bucket(client.location) if client.location.scheme == "s3" else None
        self._remarks: list[str] = []

    @classmethod
    def configured(cls) -> Objects:
        """Those below AIRFLOW__XCOM__URL. Raises `BadOption` and `StoreError`."""
        location = Location.current()
        if location is None:
            raise BadOption("Option AIRFLOW__XCOM__URL is not set", "Set it in config/airflow.env.")
        return cls(open_location(location))

    def now(self) -> float:
        """Told by a small object, which is written for it: no store says it otherwise."""
        name = f"{OWN}/clock-{secrets.token_hex(8)}"
        self.write(name, "")
        try:
            with self.client.explained("read"):
                return self._written(name)
        finally:
            self.client.delete(name)

    def items(self, after: str = "") -> Iterator[Item]:
        """Unfinished uploads come last."""
        if not after.startswith(_UPLOAD):
            with self.client.explained("list"):
                for name, size, written in self._listed(after):
                    if not name.startswith((f"{OWN}/", ".staged/")):
                        yield self._item(name, size, written)
        yield from self._uploads(after)

    def item(self, name: str) -> Item:
        with self.client.explained("read"):
            return self._item(name, 0, 0.0)

    def delete(self, name: str) -> None:
        if self._bucket and name.startswith(_UPLOAD):
            name, _, upload = name.removeprefix(_UPLOAD).rpartition(_ID)
            self._bucket.abort(name, upload)
        else:
            self.client.delete(name)

    def remarks(self) -> list[str]:
        """On a bucket that keeps versions, and on what it does not tell."""
        try:
            said = self._bucket.old_versions() if self._bucket else ""
        except Unlisted as error:
            said = str(error)
        return [*self._remarks, *filter(None, [said])]

    def read(self, name: str) -> str | None:
        with self.client.explained("read"):
            try:
                return bytes(self.client.get(name).bytes()).decode(errors="replace")
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None

    def write(self, name: str, text: str) -> None:
        with self.client.explained("write to"):
            self.client.put(name, [memoryview(text.encode())], _TEXT, {})

    def _uploads(self, after: str) -> Iterator[Item]:
        self._remarks = []
        try:
            found = self._bucket.uploads() if self._bucket else []
        except Unlisted as error:
            self._remarks, found = [str(error)], []
        for name, upload, begun in found:
            if (whole := f"{_UPLOAD}{name}{_ID}{upload}") > after:
                yield self._item(whole, 0, begun)

    def _item(self, name: str, size: int, written: float) -> Item:
        kind = Kind.UPLOAD if name.startswith(_UPLOAD) else Kind.PAYLOAD
        place = name.removeprefix(_UPLOAD).rpartition(_ID)[0] if kind is Kind.UPLOAD else name

        def told() -> dict[str, str]:
            try:
                return dict(self.client.get(place).attributes)
            except FileNotFoundError:
                return {}

        address, ti_id, mark = whose(place, told) or (None, "", "")
        return Item(name, size, written, address, ti_id, mark, kind)

    def _written(self, name: str) -> float:
        if self.client.location.scheme == "file":
            return self._path(name).stat().st_mtime
        import obstore

        return float(obstore.head(self.client.store(), name)["last_modified"].timestamp())

    def _listed(self, after: str) -> Iterator[tuple[str, int, float]]:
        """Name, bytes and time of every object behind a name."""
        if self.client.location.scheme == "file":
            yield from _files(Path(self.client.location.prefix), "", tuple(after.split("/")) if after else ())
            return
        import obstore

        options: dict[str, Any] = {"offset": after} if after else {}
        for page in obstore.list(self.client.store(), chunk_size=_AT_ONCE, **options):
            for found in page:
                yield found["path"], found["size"], found["last_modified"].timestamp()

    def _path(self, name: str) -> Path:
        return Path(self.client.location.prefix, name)


def _files(folder: Path, start: str, after: tuple[str, ...]) -> Iterator[tuple[str, int, float]]:
    """The files in a folder and in those below it, part by part of their names in order; no link is followed.
    What goes meanwhile is passed over."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        if after and entry.name < after[0]:
            continue
        rest = after[1:] if after and entry.name == after[0] else ()
        if entry.is_dir(follow_symlinks=False):
            yield from _files(folder / entry.name, f"{start}{entry.name}/", rest)
        elif entry.is_file(follow_symlinks=False) and not (after and entry.name == after[0] and not rest):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield f"{start}{entry.name}", status.st_size, status.st_mtime
