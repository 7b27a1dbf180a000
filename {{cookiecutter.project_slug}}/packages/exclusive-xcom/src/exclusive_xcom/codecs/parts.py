"""Lists of frames, arrays, images, files or large bytes: a task that is mapped over one reads its own item.

The payload is a container as `structured` writes it, with its text behind the parts. The text says of each of
these where it lies and its sha256, and the row has the digest of the text. So an item is proved to be what
was pushed without the parts of others being read.
"""

from __future__ import annotations

from typing import Any

from ..errors import PayloadUnreadable
from . import Content, Options, OurCodec, Payload, codec_named, structured
from ._ranges import Part, Parts
from ._tagged import untag
from .common import check_known, readable


class PartsCodec(OurCodec):
    """Reads what `structured` wrote in this form."""

    name = "parts"

    def encode(self, value: Any, options: Options) -> Payload:
        """As any other list."""
        return codec_named("structured/1", options).encode(value, options)

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> Any:
        return structured.CODEC.decode(content, meta, options)

    def item(self, content: Parts, meta: dict[str, Any], options: Options, number: int) -> tuple[Any, int]:
        """One item, and the bytes of its parts. Only these and the text are fetched."""
        with readable("container"):
            check_known(meta["form"], ("container",), "form")
            found, size = structured.parsed(Part(content, *meta["index"]), meta, options)
            value, fetched = found["value"], list[Part]()
            if type(value) is not list or not 0 <= number < len(value):
                raise PayloadUnreadable(f"The payload's list has no item {number}")

            def contents(at: int) -> Part:
                fetched.append(Part(content, *found["index"][at]))
                return fetched[-1]

            part = structured.reading(found["parts"], contents, size, options)
            return untag(value[number], options, part), sum(one.length for one in fetched)


CODEC = PartsCodec()
