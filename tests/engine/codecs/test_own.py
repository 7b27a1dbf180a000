"""A project's own codec: one module with a CODEC, this one, which the setting names."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from exclusive_xcom.codecs import Content, Options, Payload, codec_for, codec_named, own_codecs
from exclusive_xcom.codecs.common import check_decoded, check_encoded, count, readable
from exclusive_xcom.errors import BadOption, PayloadUnreadable, UnknownCodec, UnsupportedValue
from exclusive_xcom.testing.codec_contract import OPTIONS, CodecContract, Stored, data_of, decode, encode


class Track:
    """A melody, of a class that no codec of ours carries."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    def __repr__(self) -> str:
        return f"Track({self.notes})"


class TrackCodec:
    """Writes a line for each note."""

    name = "track"

    def accepts(self, value: Any) -> bool:
        """Tracks."""
        return isinstance(value, Track)

    def encode(self, value: Track, options: Options) -> Payload:
        """Text. Raises `UnsupportedValue` for a note of several lines."""
        if any("\n" in note for note in value.notes):
            raise UnsupportedValue("A note of two lines", "Write it as two notes.")
        text = "".join(f"{note}\n" for note in value.notes).encode()
        check_encoded("A track", len(text), options)
        return Payload(self.name, "track", "text/plain", ".txt", [text], count(len(value.notes), "note"))

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> Track:
        """The track."""
        with readable("track"):
            check_decoded(content.length, options)
            return Track(str(content.buffer(), "utf-8").splitlines())


CODEC = TrackCodec()
OWN = replace(OPTIONS, codecs=(__name__,))


class TestTrack(CodecContract):
    """What a project writes to test it."""

    codec = "track"
    modules = (__name__,)
    fuzz = "melody"
    values: ClassVar = {"melody": lambda: Track(["c", "d", "e"] * 9), "silence": lambda: Track([])}
    refused: ClassVar = {"two lines": (lambda: Track(["a\nb"]), "two notes")}


def test_it_is_asked_before_ours() -> None:
    assert codec_for(Track([]), OWN).name == "track"
    assert codec_for([Track([])], OWN).name == "structured"
    with pytest.raises(UnsupportedValue, match=r"AIRFLOW__XCOM__CODECS"):
        encode(Track([]))


def test_a_container_has_parts_of_it() -> None:
    value = {"tracks": [Track(["c"]), (Track(["d"]), np.arange(3))]}
    payload = encode(value, OWN)
    found = decode(payload, options=OWN)
    assert repr(found) == repr(value)
    assert payload.suffix == ".zip"
    with pytest.raises(UnknownCodec, match=r"'track'.*AIRFLOW__XCOM__CODECS"):
        decode(payload)


def test_it_may_carry_what_one_of_ours_does(own: Callable[[str], str]) -> None:
    module = own(
        """
        from exclusive_xcom.codecs import Payload

        class Csv:
            name = "csv"
            def accepts(self, value):
                return type(value).__name__ == "DataFrame"
            def encode(self, value, options):
                return Payload(self.name, "frame", "text/csv", ".csv", [value.to_csv(index=False).encode()])
            def decode(self, content, meta, options):
                import io, pandas
                return pandas.read_csv(io.BytesIO(content.buffer()))

        CODEC = Csv()
        """
    )
    options, frame = replace(OPTIONS, codecs=(module,)), pd.DataFrame({"a": [1, 2]})
    assert data_of(encode(frame, options)) == b"a\n1\n2\n"
    payload = encode([frame, "text"], options)
    assert b"a\n1\n2\n" in data_of(payload)
    assert decode(payload, options=options)[0].equals(frame)


def test_dates_of_ones_own_leave_frames_alone(own: Callable[[str], str]) -> None:
    """What a frame's notes hold is no part of anything, so it is not asked about."""
    module = own(
        """
        import datetime
        from exclusive_xcom.codecs import Payload

        class Dates:
            name = "dates"
            def accepts(self, value):
                return isinstance(value, (datetime.date, datetime.tzinfo))
            def encode(self, value, options):
                return Payload(self.name, "date", "text/plain", ".txt", [value.isoformat().encode()])
            def decode(self, content, meta, options):
                return datetime.date.fromisoformat(str(content.buffer(), "ascii"))

        CODEC = Dates()
        """
    )
    options = replace(OPTIONS, codecs=(module,))
    frame = pd.DataFrame({"at": pd.date_range("2026-01-01", periods=2, tz="Europe/Rome")})
    assert decode(encode(frame, options), options=options).equals(frame)
    day = frame["at"][0].date()
    payload = encode({"day": day}, options)
    assert payload.suffix == ".zip"
    assert decode(payload, options=options) == {"day": day}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Writes a module and says its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(text: str) -> str:
        import textwrap

        name = f"own_codec_{abs(hash(text))}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        return name

    return write


@dataclass
class Bad:
    """A module that is no codec's, and what the error says about it."""

    text: str
    trouble: str


METHODS = "accepts = encode = decode = print"


@pytest.mark.parametrize(
    "bad",
    [
        Bad("import no_such_library", "can't be imported (ModuleNotFoundError: No module named 'no_such"),
        Bad("1 / 0", "can't be imported (ZeroDivisionError"),
        Bad("codec = 1", "has no CODEC"),
        Bad("class C:\n    name = 'c'\nCODEC = C()", "has a CODEC that is none"),
        Bad(f"class C:\n    name = 'c'\n    {METHODS}\nCODEC = C", "has a CODEC that is none"),
        Bad(f"class C:\n    name = 5\n    {METHODS}\nCODEC = C()", "has a CODEC that is none"),
        Bad(f"class C:\n    name = 'image'\n    {METHODS}\nCODEC = C()", "another codec, 'image'"),
        Bad(f"class C:\n    name = 'track'\n    {METHODS}\nCODEC = C()", "another codec, 'track'"),
    ],
    ids=lambda bad: bad.trouble,
)
def test_what_is_no_codec_is_a_bad_option(bad: Bad, own: Callable[[str], str]) -> None:
    module = own(bad.text)
    options = replace(OPTIONS, codecs=(__name__, module))
    for look in (lambda: codec_for(1, options), lambda: codec_named("track/1", options)):
        with pytest.raises(BadOption) as caught:
            look()
        assert f"The module {module!r} in AIRFLOW__XCOM__CODECS {bad.trouble}" in str(caught.value).replace(
            "has the name of ", ""
        )


@pytest.mark.parametrize("module", ["no_such_module", ".relative", "", "os.path.", "a b"])
def test_a_module_that_is_not_there_is_a_bad_option(module: str) -> None:
    with pytest.raises(BadOption, match="AIRFLOW__XCOM__CODECS can't be imported"):
        own_codecs((module,))


def test_the_same_module_twice_is_one_codec() -> None:
    assert list(own_codecs((__name__, __name__))) == ["track"]


def test_damaged_text_is_an_error() -> None:
    with pytest.raises(PayloadUnreadable, match="track"):
        decode(encode(Track(["c"]), OWN), b"\xff", OWN)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda payload: None, "made no payload of its own"),
        (lambda payload: replace(payload, codec="structured"), "made no payload of its own"),
        (lambda payload: replace(payload, kind=None), "made no payload of its own"),
        (lambda payload: replace(payload, body=(part for part in [b"x"])), "made no payload of its own"),
        (lambda payload: 1 / 0, "failed (ZeroDivisionError: division by zero)"),
    ],
    ids=["nothing", "another's name", "no kind", "a generator", "an error of its own"],
)
def test_what_no_consumer_could_read_is_refused(
    made: Callable[[Payload], Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told to the producer, also for a part of a container, and by name."""
    encode_right = TrackCodec.encode
    monkeypatch.setattr(TrackCodec, "encode", lambda *given: made(encode_right(*given)))
    for value in (Track(["c"]), {"a": Track(["c"])}):
        with pytest.raises(UnsupportedValue) as caught:
            encode(value, OWN)
        assert f"The project's codec 'track' {reason}" in str(caught.value)


class Changed(TrackCodec):
    """The same codec in a later release: it writes otherwise, and knows what reads the form before."""

    form = "2"
    former: ClassVar = {"1": TrackCodec()}

    def encode(self, value: Any, options: Options) -> Payload:
        """Backwards."""
        made = super().encode(value, options)
        return replace(made, body=[data_of(made)[::-1]])

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> Any:
        """Forwards again."""
        return super().decode(Stored(bytes(content.buffer())[::-1]), meta, options)


def test_a_changed_form_has_a_name_and_the_former_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also inside of a container, which notes its parts' forms. An older release refuses it in words."""
    track, old = Track(["c", "d", "e"]), [encode(value, OWN) for value in (Track(["c"]), {"a": Track(["c"])})]
    monkeypatch.setattr(sys.modules[__name__], "CODEC", Changed())
    own_codecs.cache_clear()
    new = [encode(value, OWN) for value in (track, {"a": track})]
    assert (old[0].codec, new[0].codec) == ("track/1", "track/2")
    for payloads, notes in ((new, ["c", "d", "e"]), (old, ["c"])):
        one, container = (decode(payload, options=OWN) for payload in payloads)
        assert one.notes == container["a"].notes == notes
    monkeypatch.undo()
    own_codecs.cache_clear()
    for payload in new:
        with pytest.raises(UnknownCodec) as caught:
            decode(payload, options=OWN)
        assert str(caught.value) == (
            "The payload was written by codec 'track' in form '2', which is not known here (known: 1). "
            "Another release wrote it. Bring this worker to that release, or run the task again."
        )


class Broken(TrackCodec):
    """A codec with a mistake in each part."""

    def accepts(self, value: Any) -> bool:
        """Raises what has nothing to do with codecs."""
        return bool(value.no_such_thing)

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> Any:
        """The same."""
        return meta["no such note"]


def test_what_fails_in_it_is_told_as_its_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a value that it has nothing to do with, and of a part of a container."""
    payloads = [encode(value, OWN) for value in (Track(["c"]), {"a": Track(["c"])})]
    monkeypatch.setattr(sys.modules[__name__], "CODEC", Broken())
    own_codecs.cache_clear()
    try:
        for value in (5, {"a": (1, object())}, pd.DataFrame({"a": [1]})):
            with pytest.raises(UnsupportedValue, match=r"codec 'track' failed \(AttributeError"):
                encode(value, OWN)
        for payload in payloads:
            with pytest.raises(PayloadUnreadable, match=r"codec 'track' failed \(KeyError"):
                decode(payload, options=OWN)
    finally:
        monkeypatch.undo()
        own_codecs.cache_clear()
