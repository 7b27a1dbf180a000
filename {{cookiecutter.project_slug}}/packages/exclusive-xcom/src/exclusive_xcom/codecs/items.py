"""Long lists of large items, as JSON text of which each item can be read alone: for the tasks mapped over it.

The text is that of any list, in frames of zstd, an item each. What ends it is a frame that zstd passes over
(RFC 8878, 3.1.2): for each item where its frame starts, the bytes of it and of its text, and its sha256. The
row has the digest of that index, so an item is proved to be what was pushed without the rest being read.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, Protocol

from ..errors import PayloadAltered, PayloadUnreadable
from . import Content, Options, OurCodec, Payload, codec_named
from ._json import decoded_size, loads
from ._tagged import untag
from .common import THREADS, check_decoded, check_known, readable

LEAST = 2**20  # bytes of text; a whole one that is smaller is read in a moment
_ITEM = 2**14  # bytes of an item's text on average; smaller ones don't pack well alone
MOST = 2**12  # items; Airflow maps over 1,024 unless it is told otherwise
_ENTRY = struct.Struct("<QII32s")
_SKIPPED = 0x184D2A50  # what a frame begins with that is passed over
_AGAIN = "Run the task that pushed it again."


class Parts(Protocol):
    """The bytes of a stored payload of which some are to be read."""

    @property
    def length(self) -> int:
        """Bytes of the payload, as the reference states them."""

    def part(self, start: int, end: int) -> memoryview:
        """Some of its bytes, NOT verified. Raises `PayloadMissing` or `StoreError`."""


class ItemsCodec(OurCodec):
    """Reads what `structured` wrote in this form."""

    name = "items"

    def encode(self, value: Any, options: Options) -> Payload:
        """As any other list."""
        return codec_named("structured/1", options).encode(value, options)

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> Any:
        return codec_named("structured/1", options).decode(content, meta, options)

    def item(self, content: Parts, meta: dict[str, Any], options: Options, number: int) -> tuple[Any, int]:
        """One item, and the bytes of its frame. Only these and the index are fetched."""
        import pyarrow as pa

        with readable("JSON text"):
            check_known(meta["form"], ("plain", "tagged"), "form")
            listed = _ENTRY.size * meta["items"]
            if not 0 <= number < meta["items"] <= MOST or listed > content.length:
                raise PayloadUnreadable(f"The payload's list has no item {number}")
            index = _proved(content, content.length - listed, listed, meta["index"])
            start, length, size, digest = _ENTRY.unpack_from(index, _ENTRY.size * number)
            if start + length > content.length - listed:
                raise PayloadUnreadable("The payload's index does not fit it")
            check_decoded(size, options)
            frame = _proved(content, start, length, digest.hex())
            text = memoryview(pa.decompress(frame, decompressed_size=size, codec="zstd"))
            # With what stands before it in the list's text, and behind the last one.
            text = text[1 : -1 if number == meta["items"] - 1 else None]
            plain = meta["form"] == "plain"
            check_decoded(decoded_size(text, options.max_size, plain=plain, alone=True), options)
            found = loads(text)
            return (found if plain else untag(found, options)), length


CODEC = ItemsCodec()


def itemized(text: bytes, lengths: Sequence[int]) -> tuple[list[bytes | memoryview], dict[str, Any]] | None:
    """The text of a list in this form, and what the notes say of that; None if it is not worth it.

    Args:
        lengths: of the items' texts, which it has behind a sign each.
    """
    if len(text) < max(LEAST, _ITEM * len(lengths)) or max(lengths) >= 2**31:
        return None
    import pyarrow as pa

    codec, ends = pa.Codec("zstd", compression_level=1), [0]
    for length in lengths:
        ends.append(ends[-1] + 1 + length)
    ends[-1] += 1

    def pack(part: tuple[int, int]) -> tuple[memoryview, bytes]:
        frame = memoryview(codec.compress(memoryview(text)[part[0] : part[1]]))
        return frame, hashlib.sha256(frame).digest()

    with ThreadPoolExecutor(THREADS, "xcom-zstd") as pool:
        frames = list(pool.map(pack, pairwise(ends)))
    index, start = bytearray(), 0
    for (frame, digest), (begin, end) in zip(frames, pairwise(ends), strict=True):
        index += _ENTRY.pack(start, frame.nbytes, end - begin, digest)
        start += frame.nbytes
    head = struct.pack("<II", _SKIPPED, len(index))
    notes = {"items": len(lengths), "index": hashlib.sha256(index).hexdigest()}
    return [*(frame for frame, _ in frames), head, memoryview(index)], notes


def _proved(content: Parts, start: int, length: int, sha256: str) -> memoryview:
    part = content.part(start, start + length)
    if part.nbytes != length or hashlib.sha256(part).hexdigest() != sha256:
        what = "An item of the payload was altered: its sha256 is not the one that was pushed"
        raise PayloadAltered(what, _AGAIN)
    return part
