"""bytes and bytearray, as they are."""

from __future__ import annotations

from typing import Any

from ..errors import UnsupportedValue
from . import Content, Options, OurCodec, Payload
from .common import check_decoded, check_encoded, count, readable


class BinaryCodec(OurCodec):
    """The payload is the value's own memory. A store may do with it what it likes: it is not copied."""

    name = "binary"

    def encode(self, value: Any, options: Options) -> Payload:
        kind = type(value).__name__
        if type(value) not in (bytes, bytearray):
            raise UnsupportedValue(f"A {kind} would come back as bytes", "Return bytes(value).")
        check_encoded(f"A {kind}", len(value), options)
        summary, body = count(len(value), "byte"), [memoryview(value)]
        return Payload(self.name, kind, "application/octet-stream", ".bin", body, summary, {"type": kind})

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> bytes | bytearray:
        with readable("bytes"):
            check_decoded(content.length, options)
            data = content.buffer(as_bytes=meta["type"] == "bytes")
            if meta["type"] == "bytearray":
                return bytearray(data)
            whole = data.obj
            return whole if type(whole) is bytes and len(whole) == data.nbytes else bytes(data)


CODEC = BinaryCodec()
