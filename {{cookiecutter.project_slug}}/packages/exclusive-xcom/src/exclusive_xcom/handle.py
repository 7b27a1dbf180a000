"""A pull that loads on demand: what the consumer of `lazy(value)` gets instead of the value.

Airflow pulls a TaskFlow argument before the task's first line runs, and renders it for the UI by
walking through it. With a handle neither costs anything: the value is fetched when `load` is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from .errors import UnsupportedValue
from .reference import Reference
from .sealed import opened


@dataclass(frozen=True, slots=True)
class Lazy:
    """A value whose consumer is to get a `Handle`. Made by `lazy`."""

    value: Any

    def __repr__(self) -> str:
        # Airflow writes what a task returned into its log: a million records in full, if we let it.
        return f"<lazy {type(self.value).__qualname__}>"


def lazy(value: Any) -> Any:
    """Return or push `lazy(value)` and the consumer gets a `Handle`, which fetches the value on demand.

    Typed as Any, so that a consumer can annotate its parameter with `Handle`.
    """
    return Lazy(value)


class Source(Protocol):
    """Gives out a stored value, verified. The backend makes it."""

    def load(self, columns: Sequence[str] | None = None) -> Any: ...
    def path(self) -> Path: ...
    def open(self) -> BinaryIO: ...


class Handle:
    """An XCom that has not been fetched yet.

    `load()` gives the value, `path()` and `open()` give the payload as it is stored: a parquet file, a
    PNG image, a compressed JSON text. Whatever is handed out has been verified before.
    """

    __slots__ = ("_reference", "_source")

    def __init__(self, reference: Reference, source: Source) -> None:
        self._reference = reference
        self._source = source

    @property
    def kind(self) -> str:
        """What the value is: "pandas DataFrame", "file"."""
        return opened(self._reference).kind

    @property
    def summary(self) -> str:
        """Its size in its own terms: "1,000 rows × 4 columns"."""
        return opened(self._reference).summary

    @property
    def length(self) -> int:
        """Bytes of the stored payload."""
        return self._reference.length

    @property
    def uri(self) -> str | None:
        """Where the payload is; None when it is in Airflow's row."""
        return self._reference.uri

    def load(self, columns: Sequence[str] | None = None) -> Any:
        """Fetch and decode the value, on every call anew.

        Args:
            columns: of a data frame or table, only these columns. From parquet on an object store only
                their bytes are fetched; elsewhere the whole payload is.

        Raises:
            XComError: it is gone, altered, or has no such columns; the text says which.
        """
        return self._source.load(columns)

    def path(self) -> Path:
        """Fetch the payload into a private local file, which is removed when the task ends."""
        return self._source.path()

    def open(self) -> BinaryIO:
        """The payload as a seekable stream, in constant memory.

        It is fetched into a private file without a name first, as only the whole has a digest: that takes
        its size on the disk for temporary files, until the stream is closed.
        """
        return self._source.open()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"A Handle has no {name!r}. Call load() for the value, if it is of that.")

    def __getitem__(self, key: object) -> Any:
        what = f"A Handle is not the value, which alone has {key!r}"
        raise UnsupportedValue(what, "Call load() for it.", address=self._reference.address)

    def __iter__(self) -> Any:
        what = "A Handle is not the value, whose items alone can be had one after the other"
        raise UnsupportedValue(what, "Call load() for it.", address=self._reference.address)

    def __str__(self) -> str:  # Airflow shows and logs it: nothing of what is encrypted
        ref = self._reference
        size = f", {ref.summary}" if ref.summary else ""
        return f"<XCom {ref.kind}{size}, {human_size(ref.length)}: {ref.address}>"

    __repr__ = __str__


def human_size(length: int) -> str:
    """A number of bytes for people: "812 B", "12.3 kB", "1.5 GB" (powers of 1000, as disks count)."""
    size = float(length)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
