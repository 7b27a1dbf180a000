"""Values made of Python's own types, as JSON text; with frames, arrays or files among them, as a zip."""

from __future__ import annotations

import functools
import re
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import PayloadUnreadable, UnsupportedValue, one
from . import Content, Options, OurCodec, Payload, codec_named, encoded, items, kind_word
from ._container import pack, unpack
from ._json import decoded_size, decoded_sizes, dumps, exact, is_repeated, loads
from ._tagged import Tagger, untag
from .common import THREADS, check_decoded, check_encoded, check_known, count, readable, within

_WORTH_PACKING = 2**17  # bytes; below, loading the library that packs takes longer than sending them
_PIECE = 4 * 2**20  # bytes of text that a thread packs at a time


class StructuredCodec(OurCodec):
    """Carries what JSON holds exactly, what `_tagged` adds to it, and containers of what other codecs carry.

    Plain values become plain JSON that any tool reads, compressed with zstd unless it is to stay legible.
    A container is a zip: `value.json` holds {"value": ..., "parts": [[entry, codec, meta], ...]}.
    """

    name = "structured"

    def encode(self, value: Any, options: Options) -> Payload:
        form, written, tagger = _write(value, options)
        parts, turned = tagger.parts, tagger.turned
        _, value = tagger.plain.get(id(value), (None, value))
        kind, entries = kind_word(value), {}
        framed = written if isinstance(written, items.Written) else None
        text = written if isinstance(written, bytes) else b""
        length = framed.size if framed else len(text)
        size = _decoded_size(framed.texts if framed else lambda: [text], length, form, options)
        check_encoded(one(kind), size, options)
        shares = options.shares(size)
        for number, ((name, inner), share) in enumerate(zip(parts, shares, strict=False)):
            with within(f"part {name!r}"):
                part = encoded(inner, share)
            stem = re.sub(r"[^\w.-]+", "_", name)[:60] or "part"
            entries[f"{number}-{stem}{part.suffix}"] = part
            turned |= dict.fromkeys(part.turned)
        if parts:
            listed = [[name, part.codec, part.meta] for name, part in entries.items()]
            text = b'{"value":%b,"parts":%b}' % (text, dumps(listed))
            length = len(text)
            more = decoded_size(text, options.max_size, plain=False) - size
            check_encoded(f"The list of what is in a {kind}", more, next(shares))
        sized = isinstance(value, (str, dict, list, tuple, set, frozenset))
        summary = count(len(value), "character" if isinstance(value, str) else "item") if sized else ""
        body = framed.body if framed else _packed(text, options)
        name, notes = ("items/1", framed.notes) if framed else (self.name, {})
        meta = {"form": form, "size": length, "zstd": body is not None, **notes}
        suffix, media_type = (".json", "json") if body is None else (".json.zst", "zstd")
        payload = Payload(name, kind, f"application/{media_type}", suffix, body or [text], summary, meta)
        payload = replace(payload, turned=tuple(turned))
        if not parts:
            return payload
        packed = pack({"value" + suffix: payload, **entries})
        meta["files"] = isinstance(packed, Path)
        payload = replace(payload, media_type="application/zip", suffix=".zip", body=packed)
        if isinstance(packed, Path):
            weakref.finalize(payload, packed.unlink, missing_ok=True)
        return payload

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> Any:
        with readable("container" if "files" in meta else "JSON text"):
            if meta["form"] == "plain":
                return _parse(content, meta, options)[0]
            if meta["form"] == "tagged":
                return untag(_parse(content, meta, options)[0], options)
            check_known(meta["form"], ("container",), "form")
            text, *entries = unpack(content, options, in_file=meta["files"]).items()
            found, size = _parse(text[1], meta, options)
            shares = options.shares(size)
            if [name for name, _ in entries] != [name for name, _, _ in found["parts"]]:
                raise PayloadUnreadable("The container does not hold the parts that it lists")

            @functools.cache  # a part that occurs twice in the value was one object, and is one again
            def part(number: int) -> Any:
                _, codec, part_meta = found["parts"][number]
                if codec.partition("/")[0] in (self.name, items.CODEC.name):
                    # Tuples that hold the same ones over and over take forever to hash.
                    raise PayloadUnreadable("The container holds a part that belongs into its text")
                return codec_named(codec, options).decode(entries[number][1], part_meta, next(shares))

            return untag(found["value"], options, part)


CODEC = StructuredCodec()


def _write(value: Any, options: Options) -> tuple[str, bytes | items.Written, Tagger]:
    """(form, JSON text or frames of it, what was noted): the fast way if JSON holds the value exactly,
    otherwise by `Tagger`."""
    tagger = Tagger(options)
    try:
        if (later := _is_framed(value, options) and not is_repeated(value)) or exact(value):
            return "plain", _dumped(value, options, is_exact=not later), tagger
    except (UnicodeEncodeError, ValueError):
        pass  # half a surrogate pair, or an integer of thousands of digits
    try:
        found = tagger.run(value)
        if tagger.parts:
            return "container", dumps(found), tagger
        return "tagged", _dumped(found, options), tagger
    except RecursionError as error:
        advice = "Flatten it, or write it to a file."
        raise UnsupportedValue("The value is nested too deeply", advice) from error


def _is_framed(found: Any, options: Options) -> bool:
    return type(found) is list and len(found) > 1 and options.compress


def _dumped(found: Any, options: Options, *, is_exact: bool = True) -> bytes | items.Written:
    return items.write(found, is_exact=is_exact) if _is_framed(found, options) else dumps(found)


def _packed(text: bytes, options: Options) -> list[bytes | memoryview] | None:
    """The text compressed with zstd; None if it is to stay as it is."""
    if not options.compress or len(text) < _WORTH_PACKING:
        return None
    import pyarrow as pa

    codec = pa.Codec("zstd", compression_level=1)
    pieces = [memoryview(text)[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
    with ThreadPoolExecutor(THREADS, "xcom-zstd") as pool:  # a frame of zstd each; several are one file
        return [memoryview(piece) for piece in pool.map(codec.compress, pieces)]


def _parse(content: Content, meta: dict[str, Any], options: Options) -> tuple[Any, int]:
    """The objects of the text, and the bytes that they may take."""
    size, data = meta["size"], content.buffer()
    check_decoded(size, options)
    if meta["zstd"]:
        import pyarrow as pa

        data = memoryview(pa.decompress(data, decompressed_size=size, codec="zstd"))
    size = _decoded_size(lambda: [data], data.nbytes, meta["form"], options)
    check_decoded(size, options)
    return loads(data), size


def _decoded_size(
    texts: Callable[[], Iterable[bytes | memoryview]], length: int, form: str, options: Options
) -> int:
    if form == "container":
        return decoded_sizes(texts, options.max_size, plain=False)
    return items.size_in_memory(texts, length, options, plain=form == "plain")
