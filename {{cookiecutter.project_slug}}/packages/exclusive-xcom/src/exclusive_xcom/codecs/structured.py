"""Values made of Python's own types, as JSON text; with frames, arrays or files among them, as a zip."""

from __future__ import annotations

import functools
import re
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import PayloadUnreadable, UnsupportedValue, one
from . import Content, Options, OurCodec, Payload, codec_named, encoded, items, kind_word
from ._container import Place, pack, unpack
from ._json import decoded_size, decoded_sizes, dumps, exact, is_repeated, loads
from ._tagged import Tagger, untag
from .common import THREADS, check_decoded, check_encoded, check_known, readable, sized, within

_WORTH_PACKING = 2**17  # bytes; below, loading the library that packs takes longer than sending them
_PIECE = 4 * 2**20  # bytes of text that a thread packs at a time
_LARGE = 2**19  # bytes of the parts of a list; of fewer, all are read in a moment
_VALUE = "value"  # what the entry of a container is called that has its text
_JSON, _ZSTD = ("application/json", ".json"), ("application/zstd", ".json.zst")


class StructuredCodec(OurCodec):
    """Carries what JSON holds exactly, what `_tagged` adds to it, and containers of what other codecs carry.

    Plain values become plain JSON that any tool reads, compressed with zstd unless it is to stay legible.
    A container is a zip: `value.json` holds {"value": ..., "parts": [[entry, codec, meta], ...]}.
    """

    name = "structured"

    def encode(self, value: Any, options: Options) -> Payload:
        form, written, tagger = _write(value, options)
        _, value = tagger.plain.get(id(value), (None, value))
        kind, framed = kind_word(value), written if isinstance(written, items.Written) else None
        text = written if isinstance(written, bytes) else b""
        length = framed.size if framed else len(text)
        size = _decoded_size(framed.texts if framed else lambda: [text], length, form, options)
        check_encoded(one(kind), size, options)
        if framed:
            meta = {"form": form, "size": length, "zstd": True, **framed.notes}
            payload = Payload("items/1", kind, *_ZSTD, framed.body, meta=meta)
        elif tagger.parts:
            several = len(value) if type(value) is list else 0
            payload = _contained(text, tagger, kind, options, size, several)
        else:
            payload = _of_text(text, kind, form, options)
        payload = replace(payload, summary=sized(value), turned=tuple(tagger.turned))
        if isinstance(payload.body, Path):
            weakref.finalize(payload, payload.body.unlink, missing_ok=True)
        return payload

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> Any:
        with readable("container" if "files" in meta else "JSON text"):
            if meta["form"] == "plain":
                return parsed(content, meta, options)[0]
            if meta["form"] == "tagged":
                return untag(parsed(content, meta, options)[0], options)
            check_known(meta["form"], ("container",), "form")
            entries = unpack(content, options, in_file=meta["files"])
            text = entries.pop(_VALUE + (_ZSTD if meta["zstd"] else _JSON)[1])
            found, size = parsed(text, meta, options)
            if list(entries) != [name for name, _, _ in found["parts"]]:
                raise PayloadUnreadable("The container does not hold the parts that it lists")
            contents = list(entries.values())
            return untag(
                found["value"], options, reading(found["parts"], contents.__getitem__, size, options)
            )


CODEC = StructuredCodec()


def _write(value: Any, options: Options) -> tuple[str, bytes | items.Written, Tagger]:
    """(form, JSON text or frames of it, what was noted): the fast way if JSON holds the value exactly,
    otherwise by `Tagger`."""
    tagger = Tagger(options)
    try:
        if (later := _is_framed(value, options) and not is_repeated(value)) or exact(value):
            return "plain", _dumped(value, options, is_exact=not later, tagged=False), tagger
    except (UnicodeEncodeError, ValueError):
        pass  # half a surrogate pair, or an integer of thousands of digits
    try:
        found = tagger.run(value)
        if tagger.parts:
            return "container", _text(found, options), tagger
        return "tagged", _dumped(found, options), tagger
    except RecursionError as error:
        advice = "Flatten it, or write it to a file."
        raise UnsupportedValue("The value is nested too deeply", advice) from error


def _is_framed(found: Any, options: Options) -> bool:
    return type(found) is list and len(found) > 1 and options.compress


def _dumped(
    found: Any, options: Options, *, is_exact: bool = True, tagged: bool = True
) -> bytes | items.Written:
    if not _is_framed(found, options):
        return _text(found, options, tagged=tagged)
    return items.write(found, options, is_exact=is_exact, tagged=tagged)


def _text(found: Any, options: Options, *, tagged: bool = True) -> bytes:
    text = dumps(found)
    if options.look:
        from ._places import look_at_tree

        look_at_tree(found, text, options, tagged=tagged)
    return text


def _of_text(text: bytes, kind: str, form: str, options: Options) -> Payload:
    body = _packed(text, options)
    meta = {"form": form, "size": len(text), "zstd": body is not None}
    return Payload(CODEC.name, kind, *(_JSON if body is None else _ZSTD), body or [text], meta=meta)


def _contained(text: bytes, tagger: Tagger, kind: str, options: Options, size: int, several: int) -> Payload:
    """A container of a value's text, which takes `size` bytes, and its parts. That of a large list, which has
    `several` items, has an index of these parts: see parts.py."""
    entries, shares = dict[str, Payload](), options.shares(size)
    for number, ((name, inner), share) in enumerate(zip(tagger.parts, shares, strict=False)):
        if share.look:
            from ._places import Inside

            share = replace(share, look=Inside(share.look, tagger.made, number))
        with within(f"part {name!r}"):
            part = encoded(inner, share)
        stem = re.sub(r"[^\w.-]+", "_", name)[:60] or "part"
        entries[f"{number}-{stem}{part.suffix}"] = part
        tagger.turned |= dict.fromkeys(part.turned)
    large = several > 1 and sum(part.length for part in entries.values()) >= _LARGE
    index: list[Place] | None = [] if large else None
    meta: dict[str, Any] = {}

    def told() -> tuple[str, Payload]:
        listed: dict[str, Any] = {"parts": [[name, part.codec, part.meta] for name, part in entries.items()]}
        listed |= {} if index is None else {"index": index}
        whole = b'{"value":%b,%b' % (text, dumps(listed)[1:])
        more = decoded_size(whole, options.max_size, plain=False) - size
        check_encoded(f"The list of what is in a {kind}", more, next(shares))
        payload = _of_text(whole, kind, "container", options)
        meta.update(payload.meta)
        return f"{_VALUE}{payload.suffix}", payload

    def ordered() -> Iterator[tuple[str, Payload]]:
        if index is None:
            yield told()
        yield from entries.items()
        if index is not None:
            yield told()

    in_file = any(isinstance(part.body, Path) for part in entries.values())
    packed = pack(ordered(), index, in_file=in_file)
    meta |= {"files": in_file} | ({"items": several, "index": list(index[-1])} if index else {})
    return Payload("parts/1" if index else CODEC.name, kind, "application/zip", ".zip", packed, meta=meta)


def _packed(text: bytes, options: Options) -> list[bytes | memoryview] | None:
    """The text compressed with zstd; None if it is to stay as it is."""
    if not options.compress or len(text) < _WORTH_PACKING:
        return None
    import pyarrow as pa

    codec = pa.Codec("zstd", compression_level=1)
    pieces = [memoryview(text)[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
    with ThreadPoolExecutor(THREADS, "xcom-zstd") as pool:  # a frame of zstd each; several are one file
        return list(pool.map(lambda piece: codec.compress(piece, asbytes=True), pieces))


def parsed(content: Content, meta: dict[str, Any], options: Options) -> tuple[Any, int]:
    """The objects of the text, and the bytes that they may take."""
    size, data = meta["size"], content.buffer()
    check_decoded(size, options)
    if meta["zstd"]:
        import pyarrow as pa

        data = memoryview(pa.decompress(data, decompressed_size=size, codec="zstd"))
    size = _decoded_size(lambda: [data], data.nbytes, meta["form"], options)
    check_decoded(size, options)
    return loads(data), size


def reading(
    listed: list[Any], contents: Callable[[int], Content], size: int, options: Options
) -> Callable[[int], Any]:
    """What gives the part of a number, of those listed in a text that takes `size` bytes."""
    shares = options.shares(size)

    @functools.cache  # a part that occurs twice in the value was one object, and is one again
    def part(number: int) -> Any:
        _, codec, meta = listed[number]
        if codec.partition("/")[0] in (CODEC.name, "items", "parts"):
            # Tuples that hold the same ones over and over take forever to hash.
            raise PayloadUnreadable("The container holds a part that belongs into its text")
        return codec_named(codec, options).decode(contents(number), meta, next(shares))

    return part


def _decoded_size(
    texts: Callable[[], Iterable[bytes | memoryview]], length: int, form: str, options: Options
) -> int:
    if form == "container":
        return decoded_sizes(texts, options.max_size, plain=False)
    return items.size_in_memory(texts, length, options, plain=form == "plain")
