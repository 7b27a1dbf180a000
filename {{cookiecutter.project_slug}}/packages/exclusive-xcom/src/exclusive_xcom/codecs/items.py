"""Long lists as JSON text that is read a few items at a time: a task that is mapped over one reads its own.

The text is that of any list, in frames of zstd with some items each. What ends it is a frame that zstd passes
over (RFC 8878, 3.1.2): for each of the others where it starts, the bytes of it and of its text, the number of
its items, and its sha256. The row has the digest of this index, so an item is proved to be what was pushed
without the rest being read. And who reads all needs no room for the whole text beside what is made of it.
"""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, cast

from ..errors import PayloadUnreadable
from . import Content, Options, OurCodec, Payload, codec_named
from ._json import NOT_FINITE, decoded_sizes, dumps, exact, loads, most_decoded, paused_gc
from ._ranges import Part, Parts
from ._tagged import untag
from .common import THREADS, check_decoded, check_known, readable

LEAST = 2**20  # bytes of text; one that is shorter is read in a moment
_FRAME = 2**19  # bytes of text in a frame, about
_ITEM = 2**14  # bytes of the text of an item that is read alone
_WALKED = 2**27  # bytes of text from which on the rest of a list is looked at as a whole
_ENTRY = struct.Struct("<QQQI32s")
_INEXACT = "JSON does not hold the list exactly"
_SKIPPED = 0x184D2A50  # what a frame begins with that is passed over


class ItemsCodec(OurCodec):
    """Reads what `structured` wrote in this form."""

    name = "items"

    def encode(self, value: Any, options: Options) -> Payload:
        """As any other list."""
        return codec_named("structured/1", options).encode(value, options)

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> Any:
        with readable("JSON text"), paused_gc():
            data = content.buffer()
            entries = list(_ENTRY.iter_unpack(data[-_ENTRY.size * meta["frames"] :]))
            frames = [(data[start : start + length], size) for start, length, size, *_ in entries]
            texts = _texts(frames, meta, options, to_the_end=True)
            found: list[Any] = []
            for text, (_, _, _, count, _) in zip(texts, entries, strict=True):
                found += _items(text, count, meta, options)
            if len(found) != meta["items"]:
                raise PayloadUnreadable("The payload does not hold as many items as it lists")
            return found

    def item(self, content: Parts, meta: dict[str, Any], options: Options, number: int) -> tuple[Any, int]:
        """One item, and the bytes of its frame. Only that and the index are fetched."""
        with readable("JSON text"):
            listed = _ENTRY.size * meta["frames"]
            index = Part(content, content.length - listed, listed, meta["index"]).buffer()
            before = 0
            for at, (start, length, size, count, digest) in enumerate(_ENTRY.iter_unpack(index), 1):
                if before <= number < before + count:
                    frame = Part(content, start, length, digest.hex()).buffer()
                    (text,) = _texts([(frame, size)], meta, options, to_the_end=at == meta["frames"])
                    return _items(text, count, meta, options)[number - before], length
                before += count
            raise PayloadUnreadable(f"The payload's list has no item {number}")


CODEC = ItemsCodec()


def size_in_memory(
    texts: Callable[[], Iterable[bytes | memoryview]], length: int, options: Options, *, plain: bool
) -> int:
    """Bytes that texts of that length, and what is made of them, take at most. Nothing is counted where no
    text of that length can come near the limit."""
    most = most_decoded(length, plain=plain)
    if not options.beside and most <= options.max_size:
        return most
    return decoded_sizes(texts, options.max_size, plain=plain)


@dataclass(frozen=True)
class Written:
    """A list in this form: the payload's body, what the notes say of it, and the bytes of its text."""

    body: list[bytes | memoryview]
    notes: dict[str, Any]
    size: int

    def texts(self) -> Iterator[bytes]:
        """The text again, a frame at a time."""
        import pyarrow as pa

        for frame, (_, _, size, _, _) in zip(self.body, _ENTRY.iter_unpack(self.body[-1]), strict=False):
            yield pa.decompress(frame, decompressed_size=size, codec="zstd", asbytes=True)


def write(found: list[Any], options: Options, *, is_exact: bool, tagged: bool) -> bytes | Written:
    """The list in this form; its text if that is too short to be worth it. Raises as `dumps`, and ValueError
    for a list that JSON does not hold exactly, unless it is known that it does. `tagged` ones are what was
    made of others."""
    groups, first, size = _groups(found, is_exact), [], 0
    look = partial(_look, found, options, tagged) if options.look else None
    for group in groups:
        first.append(group)
        size += len(group[0])
        if size >= LEAST:
            return _packed(chain(first, groups), look)
    text = b"".join(text for text, _ in first)
    if look:
        look(text, 0, len(found))
    return text


def _groups(found: list[Any], is_exact: bool) -> Iterator[tuple[bytes, int]]:
    """The text of a list, a few items at a time, and how many they are."""
    start, count, written, floats = 0, 1, 0, False
    while start < len(found):
        count = min(count, len(found) - start)
        end = start + count
        some = found[start:end]
        if not is_exact:
            # A few, while those before them are packed; but all that is left of a very long list. What holds
            # the same lists over and over, and has a text without an end, shows only in many of its items.
            is_exact = written > _WALKED
            if not exact(found[start:] if is_exact else some, floats=is_exact or floats):
                raise ValueError(_INEXACT)
        text = dumps(some)
        if not is_exact and not floats and NOT_FINITE in text:
            floats = True  # from now on it is less work to look at all at once
            if not exact(some):
                raise ValueError(_INEXACT)
        if count > 1 and len(text) > 2 * _FRAME:  # larger items than those before
            count = max(1, count * _FRAME // len(text))
            continue
        size, inner = len(text), memoryview(text)[1:-1]
        text = b"".join((b"," if start else b"[", inner, b"]" if end >= len(found) else b""))
        yield text, count
        written += size
        small = size < count * _ITEM
        start, count = end, min(4 * count, max(1, count * _FRAME // size)) if small else 1


def _look(found: list[Any], options: Options, tagged: bool, text: bytes, at: int, count: int) -> None:
    """Have the text of some items looked at."""
    from ._places import look_at_tree

    look_at_tree(found[at : at + count], text, options, tagged=tagged, first=at)


def _packed(groups: Iterable[tuple[bytes, int]], look: Callable[[bytes, int, int], None] | None) -> Written:
    """Packed while the next texts are written, so that there never are more than a few of these in memory.
    Looked at here: a thread that asks Arrow for little, again and again, waits for the others each time."""
    import pyarrow as pa

    codec, frames, index = pa.Codec("zstd", compression_level=1), list[bytes | memoryview](), bytearray()
    under_way: deque[tuple[bytes, int, Future[tuple[memoryview, bytes]]]] = deque()
    items = length = written = seen = 0

    def pack(text: bytes) -> tuple[memoryview, bytes]:
        frame = memoryview(codec.compress(text, asbytes=True))  # a buffer keeps the room it was given
        return frame, hashlib.sha256(frame).digest()

    def take(most: int) -> None:
        nonlocal items, length, written
        while len(under_way) > most:
            text, count, packing = under_way.popleft()
            frame, digest = packing.result()
            index.extend(_ENTRY.pack(written, frame.nbytes, len(text), count, digest))
            frames.append(frame)
            items, length, written = items + count, length + len(text), written + frame.nbytes

    with ThreadPoolExecutor(THREADS, "xcom-zstd") as pool:
        for text, count in groups:
            if look:
                look(text, seen, count)
                seen += count
            under_way.append((text, count, pool.submit(pack, text)))
            take(THREADS)
        take(0)
    notes = {"items": items, "frames": len(frames), "index": hashlib.sha256(index).hexdigest()}
    return Written([*frames, struct.pack("<II", _SKIPPED, len(index)), bytes(index)], notes, length)


def _texts(
    frames: list[tuple[memoryview, int]], meta: dict[str, Any], options: Options, *, to_the_end: bool
) -> Iterator[memoryview]:
    """The texts of frames, of which each has so many bytes, without what stands before its items in the
    list's text and, in the last one if it is the list's, behind them. Raises `PayloadUnreadable` if they, or
    what is made of them, take more than is allowed."""
    import pyarrow as pa

    check_known(meta["form"], ("plain", "tagged"), "form")
    length = sum(size for _, size in frames)
    check_decoded(length, options)

    def texts() -> Iterator[memoryview]:
        for at, (frame, size) in enumerate(frames, 1):
            text = memoryview(pa.decompress(frame, decompressed_size=size, codec="zstd"))
            yield text[1 : -1 if to_the_end and at == len(frames) else None]

    check_decoded(size_in_memory(texts, length, options, plain=meta["form"] == "plain"), options)
    return texts()


def _items(text: memoryview, count: int, meta: dict[str, Any], options: Options) -> list[Any]:
    found: list[Any] = loads(b"".join((b"[", text, b"]")))
    if len(found) != count:
        raise PayloadUnreadable("A frame does not hold as many items as the index says")
    return found if meta["form"] == "plain" else cast("list[Any]", untag(found, options))
