"""bytes and bytearray, as they are."""

from __future__ import annotations

from typing import Any

from ..errors import UnsupportedValue
from . import Content, Options, OurCodec, Payload
from ._kinds import plain_of
from ._objects import class_name
from .common import check_decoded, check_encoded, check_known, count, readable


class BinaryCodec(OurCodec):
    """The payload is the value's own memory. A store may do with it what it likes: it is not copied."""

    name = "binary"

    def encode(self, value: Any, options: Options) -> Payload:
        turned: tuple[str, ...] = ()
        if (cls := type(value)) not in (bytes, bytearray):
            if (plain := plain_of(value)) is None:
                raise UnsupportedValue(f"A {cls.__name__} would come back as bytes", "Return bytes(value).")
            value, turned = plain, (f"{class_name(cls)} as {type(plain).__name__}",)
        kind = type(value).__name__
        check_encoded(f"A {kind}", len(value), options)
        summary, body = count(len(value), "byte"), [memoryview(value)]
        return Payload(
            self.name, kind, "application/octet-stream", ".bin", body, summary, {"type": kind}, turned=turned
        )

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> bytes | bytearray:
        with readable("bytes"):
            check_known(meta["type"], ("bytes", "bytearray"), "type")
            check_decoded(content.length, options)
            data = content.buffer(as_bytes=meta["type"] == "bytes")
            if meta["type"] == "bytearray":
                return bytearray(data)
            whole = data.obj
            return whole if type(whole) is bytes and len(whole) == data.nbytes else bytes(data)


CODEC = BinaryCodec()
