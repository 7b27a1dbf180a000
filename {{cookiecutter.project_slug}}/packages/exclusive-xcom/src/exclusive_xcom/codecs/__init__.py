"""What a codec must do, and which one carries a value.

A codec turns one kind of value into bytes (or a file) and back, exactly. It knows neither stores nor
Airflow. It is an object called `CODEC` in a module: ours are the modules of this folder that `OURS` lists; a
project's own are modules that AIRFLOW__XCOM__CODECS names, which import a heavy library inside functions.

What is stored names the codec and the form of its bytes and notes: "structured/1". Whoever changes what a
codec writes gives it a new `form`, and keeps in `former` what reads the forms before. Then an older release
refuses in words what it does not know, and a newer one reads what is there.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast, runtime_checkable

from ..errors import (
    BadOption,
    PayloadUnreadable,
    UnknownCodec,
    UnsupportedValue,
    XComError,
    reason,
    told_as,
)

LOOKED_AT = 2**24  # bytes of a file, or of other bytes, at whose beginning `Options.look` looks
AS_THEY_ARE = ("binary", "file")  # codecs whose payload is the value's own bytes
CHUNK = 8 * 2**20  # bytes handed on at a time: large enough to be fast, small enough for constant memory
FRAME_FORMATS = ("arrow", "parquet", "packed")  # as `Options.frame_format` explains them

# Our own, in modules of their names, each with the classes whose objects it carries, in the order in which
# they are asked. To ask needs no library: a module is imported once there is a value or payload of its kind.
OURS: dict[str, tuple[str, ...]] = {
    "arrow": ("pyarrow", "Table", "RecordBatch", "ChunkedArray", "Array"),
    "binary": ("builtins", "bytes", "bytearray", "memoryview"),
    "file": ("pathlib", "PurePath"),
    "frame_pandas": ("pandas", "DataFrame", "Series", "Index"),
    "frame_polars": ("polars", "DataFrame", "Series", "LazyFrame"),
    "image": ("PIL.Image", "Image"),
    "items": ("builtins",),  # by which `structured` has some of its values written
    "numpy_array": ("numpy", "ndarray"),
    "parts": ("builtins",),  # as items
    "structured": ("builtins", "object"),
}

_PLAIN = frozenset({dict, list, tuple, str, int, float, bool, type(None)})


Holds = Callable[["str | bytes | memoryview"], bool]


class Look(Protocol):
    """Looks at a value as it is written, for what must not be in it (confidential.py)."""

    def holds(self, data: str | bytes | memoryview) -> bool:
        """Whether such a thing is in these."""

    def found(self, place: str) -> None:
        """It is in the value, in that place, which is told by position. May refuse the value."""


@dataclass(frozen=True)
class Options:
    """What a codec may need to know of the configuration.

    Attributes:
        frame_format: "arrow" (IPC file, zstd, the frame's own types), "packed" (the same with columns in
            narrower types, which only we read as they were) or "parquet" (zstd, page checksums).
        compress: whether text is compressed; off for payloads that stay legible in a row.
        max_size: bytes that a decoded value may take; decoding stops beyond it (decompression bombs).
        class_allowed: tells whether a class, by qualified name, may be built when a payload is read.
        codecs: names of the modules of the project's own codecs, which are asked before ours.
        beside: what takes a part of that limit already, for people.
        note: is told each size that is compared with `max_size`.
        look: looks at what is written; None: nothing does.
    """

    frame_format: str = "arrow"
    compress: bool = True
    max_size: int = 8 * 2**30
    class_allowed: Callable[[str], bool] = lambda name: False
    codecs: tuple[str, ...] = ()
    beside: str = ""
    note: Callable[[int], None] = lambda size: None
    look: Look | None = None

    def look_at(self, data: bytes | memoryview, place: Callable[[Holds], str | None]) -> None:
        """Have a part of a value looked at before it is compressed. Raises what `Look.found` does.

        Args:
            data: what is about to be written, without the middle of anything at its borders.
            place: finds the place of what is in it, for people: "item 3, column 2". By position, since a name
                may be what must not be told. None if it is not in the value, but across parts of it.
        """
        if not self.look:
            return
        if self.look.holds(data) and (found := place(self.look.holds)):
            self.look.found(found)

    def shares(self, used: int = 0) -> Iterator[Options]:
        """For values inside of a value: the options of each in turn, with what those before it left of
        `max_size`.

        Args:
            used: bytes that the outer value takes itself.
        """
        while True:
            largest = 0

            def note(size: int, before: int = used) -> None:
                nonlocal largest
                largest = max(largest, size)
                self.note(before + largest)

            left = max(self.max_size - used, 0)
            yield replace(self, max_size=left, beside=" beside the rest of the value", note=note)
            used += largest


@dataclass(frozen=True)
class Payload:
    """An encoded value: what a store keeps, and what the reference says about it.

    Attributes:
        codec: its name; `encoded` adds its form, as it is written into the reference.
        kind: what a person calls the value: "pandas DataFrame", "file", "list".
        media_type: IANA media type of the bytes.
        suffix: file name extension with its dot, of a format that other tools open.
        body: the bytes in order, or the local file that holds them.
        summary: size in the value's own terms: "1,000 rows × 4 columns", "4032 × 3024 RGB".
        meta: what `decode` needs beyond the bytes; JSON, a few kilobytes at most.
        filename: the name to keep, where the value is a file that has one.
        turned: what in the value comes back as a plain one, for people: "class markupsafe.Markup as str".
    """

    codec: str
    kind: str
    media_type: str
    suffix: str
    body: Sequence[bytes | memoryview] | Path
    summary: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    filename: str | None = None
    turned: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """Bytes in the body; of a file, as it is now."""
        if isinstance(self.body, Path):
            return os.stat(self.body).st_size
        return sum(memoryview(part).nbytes for part in self.body)

    def chunks(self, size: int = CHUNK) -> Iterator[memoryview]:
        """The body in order, in pieces of at most `size` bytes."""
        if isinstance(self.body, Path):
            with self.body.open("rb") as file:
                while piece := file.read(size):
                    yield memoryview(piece)
            return
        for part in self.body:
            view = memoryview(part).cast("B")
            for start in range(0, view.nbytes, size):
                yield view[start : start + size]


class Content(Protocol):
    """The bytes of a stored payload, as a codec sees them when it decodes."""

    @property
    def length(self) -> int:
        """Bytes of the payload, as the reference states them."""

    def buffer(self, *, as_bytes: bool = False) -> memoryview:
        """The whole in memory, length and digest verified; preferably that of one bytes object (`.obj`)."""

    def file(self, name: str) -> Path:
        """The whole payload as a private local file of that name, streamed and verified."""

    def reader(self) -> BinaryIO | None:
        """A seekable reader of ranges, NOT verified as a whole: who reads by it compares each piece with a
        digest (parquet's end with that in the row, its chunks with those in that end). None where the store
        has no ranges."""


@runtime_checkable
class Codec(Protocol):
    """Carries one kind of value. Stateless; one instance per module, named `CODEC`. It may have a `form`, the
    name of what it writes ("1" without), and `former`: codecs that read what it wrote before, by form."""

    name: str

    def accepts(self, value: Any) -> bool:
        """Whether this codec carries exactly this value. Must not import a library that the value's
        own existence does not prove to be imported (`is_of` does not)."""

    def encode(self, value: Any, options: Options) -> Payload:
        """Encode. Raises `UnsupportedValue` if this value would not come back exactly; the text says which
        part of it."""

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> Any:
        """Decode what `encode` made. Runs no code from the payload; refuses what grows over
        `options.max_size`. Raises `PayloadUnreadable` when the bytes are not what `meta` promises."""


@runtime_checkable
class ColumnCodec(Codec, Protocol):
    """A codec whose values have columns."""

    def select(self, content: Content, meta: dict[str, Any], options: Options, columns: Sequence[str]) -> Any:
        """Decode some columns only. Raises `UnsupportedValue` for one that is not there."""


def is_of(value: Any, module: str, *names: str) -> bool:
    """Whether a value is of one of these classes of a library, without importing the library."""
    library = sys.modules.get(module)  # without its classes yet, while another thread imports it
    return any(isinstance(value, getattr(library, name, ())) for name in names)


def kind_word(value: Any) -> str:
    """What a person calls a value of Python's own: "text", "number", "nothing", otherwise its class."""
    kind = type(value).__name__
    return {"str": "text", "int": "number", "float": "number", "NoneType": "nothing"}.get(kind, kind)


class OurCodec:
    """What our codecs have in common."""

    name: str

    def accepts(self, value: Any) -> bool:
        """Objects of the classes in `OURS`, and of their subclasses, which `encode` may refuse."""
        return is_of(value, *OURS[self.name])


@functools.cache
def own_codecs(modules: tuple[str, ...]) -> dict[str, Codec]:
    """A project's codecs by name. Raises `BadOption` for a module without one, or a name that another has."""
    found: dict[str, Codec] = {}
    for module in dict.fromkeys(modules):
        try:
            codec = getattr(importlib.import_module(module), "CODEC", None)
        except Exception as error:
            raise _no_codec(module, f"can't be imported ({reason(error)})") from error
        if codec is None:
            raise _no_codec(module, "has no CODEC")
        # Of a class the protocol can't tell that it is no object of it.
        if isinstance(codec, type) or not isinstance(codec, Codec) or type(codec.name) is not str:
            raise _no_codec(module, f"has a CODEC that is none: {codec!r}"[:300])
        if "/" in codec.name:
            raise _no_codec(module, f"has a name with a slash, {codec.name!r}")
        if codec.name in found or codec.name in OURS:
            raise _no_codec(module, f"has the name of another codec, {codec.name!r}")
        found[codec.name] = _Own(codec, codec.name)
    return found


def _no_codec(module: str, trouble: str) -> BadOption:
    advice = "Each module there has a CODEC: an object with a name of its own, accepts, encode and decode, "
    advice += "as exclusive_xcom.codecs.Codec describes them."
    return BadOption(f"The module {module!r} in AIRFLOW__XCOM__CODECS {trouble}", advice)


def codec_for(value: Any, options: Options) -> Codec:
    """The codec that carries `value`: a project's own, or one of ours; what none carries, the last refuses.
    Raises what `own_codecs` does, and `UnsupportedValue` if one of the project's fails."""
    for codec in own_codecs(options.codecs).values():
        if codec.accepts(value):
            return codec
    if type(value) in _PLAIN:  # most are, and to ask all takes longer than to encode a small one
        return _ours("structured")
    return _ours(next(name for name, classes in OURS.items() if is_of(value, *classes)))


def carrying(value: Any) -> contextlib.AbstractContextManager[None]:
    """Turn whatever a library raises while a value is encoded into `UnsupportedValue`."""

    def failure(error: BaseException) -> UnsupportedValue:
        what = f"A value of type {type(value).__name__}"
        if isinstance(error, RecursionError):
            return UnsupportedValue(f"{what} is nested too deeply", "Flatten it, or write it to a file.")
        if isinstance(error, MemoryError):
            advice = "Give the worker more, push less, or write a file and return its Path."
            return UnsupportedValue(f"There is not enough memory to encode a {kind_word(value)}", advice)
        advice = "Return plain values, or the Path of a file that holds it."
        return UnsupportedValue(f"{what} can't be encoded ({reason(error)})", advice)

    return told_as(failure)


def encoded(value: Any, options: Options) -> Payload:
    """What the codec of a value makes of it. Raises `UnsupportedValue`, whatever a library raised, and when a
    project's own codec fails or makes what is no payload of its own, which no consumer could read."""
    with carrying(value):
        codec = codec_for(value, options)
        made = _in_form(codec, codec.encode(value, options))
        if options.look:
            from ._places import look_at_payload

            look_at_payload(made, options, as_it_is=isinstance(codec, _Own) or codec.name in AS_THEY_ARE)
        return made


class _Own:
    """A project's own codec: what fails in it is told as its failure."""

    def __init__(self, codec: Any, name: str) -> None:
        self.name, self._codec = name, codec
        self.form = getattr(codec, "form", "1")
        self.former = {form: _Own(reader, name) for form, reader in getattr(codec, "former", {}).items()}
        if isinstance(codec, ColumnCodec):
            self.select = self._reading(codec.select)
        self.decode = self._reading(codec.decode)

    def accepts(self, value: Any) -> bool:
        with self._told(UnsupportedValue):
            return bool(self._codec.accepts(value))

    def encode(self, value: Any, options: Options) -> Payload:
        with self._told(UnsupportedValue):
            made: Any = self._codec.encode(value, options)
        named = isinstance(made, Payload) and made.codec in (self.name, _stored(self))
        named = named and isinstance(made.kind, str) and bool(made.kind)
        if not (named and isinstance(made.body, list | tuple | Path)):
            raise UnsupportedValue(f"The project's codec {self.name!r} made no payload of its own", _CORRECT)
        return cast("Payload", made)

    def _reading(self, read: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(read)
        def told(*args: Any) -> Any:
            with self._told(PayloadUnreadable):
                return read(*args)

        return told

    def _told(self, kind: type[XComError]) -> contextlib.AbstractContextManager[None]:
        return told_as(lambda e: kind(f"The project's codec {self.name!r} failed ({reason(e)})", _CORRECT))


_CORRECT = "Correct that codec; exclusive_xcom.testing.codec_contract has the tests that it must pass."


def _in_form(codec: Codec, made: Payload) -> Payload:
    """The payload itself, not a copy of it: a temporary file may go when it does."""
    if "/" not in made.codec:  # else it says already in whose form it is
        object.__setattr__(made, "codec", _stored(codec))
    return made


def _stored(codec: Codec) -> str:
    return f"{codec.name}/{getattr(codec, 'form', '1')}"


def codec_named(stored: str, options: Options) -> Codec:
    """What reads a payload that a codec wrote in a form, "structured/1". Raises `UnknownCodec` if this
    project has not the codec, not its library, or does not know the form; and what `own_codecs` does."""
    name, _, form = stored.partition("/")
    codec = _named(name, options)
    readers: dict[str, Codec] = {**getattr(codec, "former", {}), getattr(codec, "form", "1"): codec}
    if form not in readers:
        raise UnknownCodec(
            f"The payload was written by codec {name!r} in form {form!r}, which is not known here "
            f"(known: {', '.join(readers)})",
            "Another release wrote it. Bring this worker to that release, or run the task again.",
        )
    return readers[form]


def _named(name: str, options: Options) -> Codec:
    own = own_codecs(options.codecs)
    if name in own:
        return own[name]
    by = f"The payload was written by codec {name!r}, which "
    if name not in OURS:
        advice = f"Known codecs: {', '.join([*own, *OURS])}. "
        advice += "Name its module in AIRFLOW__XCOM__CODECS, or run the task again."
        raise UnknownCodec(f"{by}this project does not have", advice)
    try:
        return _ours(name)
    except ImportError as error:
        advice = "Install the library where this task runs, as it is where the value was pushed."
        raise UnknownCodec(f"{by}can't be loaded here ({error})", advice) from error


def _ours(name: str) -> Codec:
    return cast("Codec", importlib.import_module(f".{name}", __name__).CODEC)
