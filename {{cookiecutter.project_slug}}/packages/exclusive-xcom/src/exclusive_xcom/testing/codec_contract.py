"""What every codec must do: a test class that each codec's tests inherit from.

A subclass names its codec, values that must come back exactly, and values that must be refused. Nothing
here knows which codec it tests: it may be one of a project's own.

    class TestTrack(CodecContract):
        codec = "track"
        modules = ("my_project.tracks",)  # as in AIRFLOW__XCOM__CODECS
        values = {"melody": lambda: Track(["c", "d", "e"]), "silence": lambda: Track([])}
        refused = {"two lines": (lambda: Track(["a\\nb"]), "two notes")}
        fuzz = "melody"
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import pytest

from exclusive_xcom import errors, scratch
from exclusive_xcom.codecs import Codec, Options, Payload, codec_named, encoded
from exclusive_xcom.testing.identical import identical

OPTIONS = Options(class_allowed=lambda name: True, max_size=2**28)


class Stored:
    """The bytes of a payload, as a store would hand them to a codec. Counts what is read by range."""

    def __init__(self, data: bytes | bytearray, *, ranges: bool = False) -> None:
        self.data = data
        self.length = len(data)
        self.ranges = ranges
        self.read = 0

    def buffer(self, *, as_bytes: bool = False) -> memoryview:
        """The whole."""
        return memoryview(self.data)

    def file(self, name: str) -> Path:
        """The whole, as a file."""
        path = scratch.new_file(name)
        path.write_bytes(self.data)
        return path

    def reader(self) -> BinaryIO | None:
        """A reader that counts."""
        return _Counting(self) if self.ranges else None


class _Counting(io.BytesIO):
    def __init__(self, stored: Stored) -> None:
        super().__init__(stored.data)
        self._stored = stored

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        self._stored.read += len(found)
        return found


def encode(value: Any, options: Options = OPTIONS) -> Payload:
    """A payload, by whatever codec carries the value."""
    return encoded(value, options)


def data_of(payload: Payload) -> bytes:
    """The bytes of a payload."""
    return b"".join(payload.chunks())


def decode(payload: Payload, data: bytes | None = None, options: Options = OPTIONS) -> Any:
    """What a consumer gets of a payload, or of other bytes in its place."""
    meta = json.loads(json.dumps(payload.meta))
    stored = Stored(data_of(payload) if data is None else data)
    return codec_named(payload.codec, options).decode(stored, meta, options)


def damaged(data: bytes, count: int, seed: int = 0) -> list[bytes]:
    """Truncated, bit-flipped and overwritten versions of some bytes."""
    chance, versions = random.Random(seed), []
    for number in range(count):
        version = bytearray(data)
        at = chance.randrange(len(data))
        if number % 3 == 0:
            del version[at:]
        elif number % 3 == 1:
            version[at] ^= 1 << chance.randrange(8)
        else:
            version[at : at + chance.randrange(9)] = chance.randbytes(chance.randrange(9))
        versions.append(bytes(version))
    return versions


class CodecContract:
    """Attributes for a subclass to set.

    codec: its name.
    modules: where it is, if it is the project's own: as AIRFLOW__XCOM__CODECS names it.
    values: functions without arguments that make a value, by a name for the test's report.
    refused: (function that makes a value, a word that the error must contain), by name.
    formats: frame formats to try.
    fuzz: which of the values is damaged in a hundred ways.
    """

    codec: ClassVar[str]
    modules: ClassVar[tuple[str, ...]] = ()
    values: ClassVar[dict[str, Callable[[], Any]]]
    refused: ClassVar[dict[str, tuple[Callable[[], Any], str]]] = {}
    formats: ClassVar[tuple[str, ...]] = ("arrow",)
    fuzz: ClassVar[str]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test per value, refused value, and format."""
        if "value" in metafunc.fixturenames:
            metafunc.parametrize("value", self.values.values(), ids=self.values.keys())
        if "refusal" in metafunc.fixturenames:
            metafunc.parametrize("refusal", self.refused.values(), ids=self.refused.keys())
        if "options" in metafunc.fixturenames:
            choices = [replace(OPTIONS, codecs=self.modules, frame_format=form) for form in self.formats]
            metafunc.parametrize("options", choices, ids=self.formats)

    def test_a_value_comes_back_exactly(self, value: Callable[[], Any], options: Options) -> None:
        """In everything that a consumer could notice."""
        payload = encode(value(), options)
        assert payload.codec.partition("/")[0] == self.codec
        assert identical(decode(payload, options=options), value())

    def test_a_payload_says_what_it_is(self, value: Callable[[], Any], options: Options) -> None:
        """To people, to other programs and to the store; its notes are short JSON."""
        payload = encode(value(), options)
        assert payload.kind
        assert "/" in payload.media_type
        assert payload.suffix[:1] in ("", ".")
        assert payload.length == len(data_of(payload))
        assert len(json.dumps(payload.meta)) < 4096

    def test_a_payload_can_be_left_to_python(self, value: Callable[[], Any], options: Options) -> None:
        """Nothing in it is a view into a file in memory: such a one can't be closed while the view is there,
        which Python 3.13 and newer complain of when it collects both at once."""
        body = encode(value(), options).body
        views = [] if isinstance(body, Path) else [memoryview(part) for part in body]
        assert not [view for view in views if type(view.obj).__module__ == "_io"]

    def test_the_same_value_gives_the_same_bytes(self, value: Callable[[], Any], options: Options) -> None:
        """No clock and no chance is in them."""
        assert data_of(encode(value(), options)) == data_of(encode(value(), options))

    def test_what_would_change_is_refused(self, refusal: tuple[Callable[[], Any], str]) -> None:
        """With advice, when it is pushed."""
        make, word = refusal
        with pytest.raises(errors.UnsupportedValue) as caught:
            encode(make(), replace(OPTIONS, codecs=self.modules))
        assert word in str(caught.value)
        assert caught.value.advice.endswith(".")

    def test_damaged_bytes_are_an_error_or_a_value(self, options: Options) -> None:
        """Never another exception, a crash or a hang."""
        payload = encode(self.values[self.fuzz](), options)
        for data in damaged(data_of(payload), 150):
            try:
                decode(payload, data, options)
            except errors.XComError:
                continue

    def test_forged_notes_are_an_error_or_a_value(self, options: Options) -> None:
        """The same of what stands in the row."""
        payload = encode(self.values[self.fuzz](), options)
        data = data_of(payload)
        for name in payload.meta:
            for forged in (None, -1, 2**62, "x", [], {}, {"form": 1}, [[None, None, None]]):
                try:
                    decode(replace(payload, meta=payload.meta | {name: forged}), data, options)
                except errors.PayloadError:
                    continue
            rest = {key: item for key, item in payload.meta.items() if key != name}
            with pytest.raises(errors.PayloadError):
                decode(replace(payload, meta=rest), data, options)

    def test_what_is_too_large_is_refused_on_both_sides(self, options: Options) -> None:
        """With the setting that is the limit."""
        value = self.values[self.fuzz]()
        payload = encode(value, options)
        with pytest.raises(errors.ValueTooLarge, match="MAX_DECODED_SIZE"):
            encode(value, replace(options, max_size=10))
        with pytest.raises(errors.PayloadUnreadable, match="MAX_DECODED_SIZE"):
            decode(payload, options=replace(options, max_size=10))

    def test_the_codec_is_found_by_its_name(self) -> None:
        """As a reference has it."""
        options = replace(OPTIONS, codecs=self.modules)
        codec = codec_named(encode(self.values[self.fuzz](), options).codec, options)
        assert codec.name == self.codec
        assert isinstance(codec, Codec)
