"""Payloads as somebody from outside looks at them: compared with their digest, decoded without classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .. import keeping
from ..codecs import codec_named
from ..content import Measured, verify
from ..errors import PayloadMissing, about
from ..pull import configured, in_row
from ..reference import Reference
from ..sealed import content_of
from ..store import store_of


def value_of(ref: Reference) -> Any:
    """The value of a reference, for a look at it. No class and no codec of a project is called: a value that
    needs one is an error. Raises `XComError`."""
    options = replace(configured(), class_allowed=lambda name: False, codecs=())
    options = options if ref.uri else in_row(options)
    try:
        with about(ref.address):
            content = content_of(ref, store_of(ref))
            codec = codec_named(content.told.codec, options)
            return codec.decode(content, content.told.meta, options)
    except PayloadMissing as error:
        raise keeping.expired(ref) or error from None


def check(ref: Reference) -> None:
    """Read a payload and compare it with its digest; nothing is decoded. Raises `XComError`."""
    try:
        with about(ref.address):
            measured = Measured(store_of(ref).stream(ref))
            for _ in measured:
                pass
            verify(ref, measured.length, measured.sha256)
    except PayloadMissing as error:
        raise keeping.expired(ref) or error from None
