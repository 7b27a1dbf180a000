"""Lists whose items can be read alone: each is proved to be what was pushed, as it is in the whole list."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from exclusive_xcom.codecs import Options, codec_named, encoded
from exclusive_xcom.codecs import items as form
from exclusive_xcom.codecs._json import NOT_FINITE, dumps
from exclusive_xcom.codecs.items import CODEC
from exclusive_xcom.errors import PayloadAltered, PayloadUnreadable, ValueTooLarge
from exclusive_xcom.testing.codec_contract import OPTIONS, Stored, data_of
from exclusive_xcom.testing.identical import identical

ENTRY = 60  # bytes of the index for each frame


class Parts:
    """Bytes of which some are read, and how many."""

    def __init__(self, data: bytes) -> None:
        self.data, self.length, self.read = data, len(data), 0

    def part(self, start: int, end: int) -> memoryview:
        """Some of them."""
        self.read += end - start
        return memoryview(self.data)[start:end]


def texts(count: int = 80, size: int = 20_000) -> list[str]:
    """Items that hardly become smaller."""
    rng = random.Random(1)
    return [rng.randbytes(size // 2).hex() for _ in range(count)]


_NUMBERS: list[list[Any]] = [[0.5, 1.5, "null"] * 3] * 4 + [[None, 2.5] * 4] * 4 + [[math.inf, math.nan] * 4]
LISTS: dict[str, Callable[[], list[Any]]] = {
    "texts": texts,
    "dicts": lambda: [{"number": n, "text": text, "": [None, 1.5]} for n, text in enumerate(texts())],
    "lists, some empty": lambda: [[text] * (number % 9 != 5) for number, text in enumerate(texts())],
    "tagged": lambda: [{"at": dt.date(2026, 1, 2), "of": (text, {1, 2})} for text in texts()],
    "odd": lambda: [{"text": text, "nan": math.nan, "big": 2**70, "half": "\ud800]"} for text in texts()],
    "odd at the end": lambda: [
        *({"number": number} for number in range(90_000)),
        {"at": dt.date(2026, 1, 2)},
    ],
    "None, then not finite": lambda: [{"n": n, "x": x} for n in range(9000) for x in _NUMBERS[n // 1000]],
    "infinite at the end": lambda: [*([number, 0.5] for number in range(90_000)), [-math.inf]],
    "the same": lambda: [{"text": "of all items" * 50}] * 3000,
    "wide": lambda: [f"größe €{text}😀" for text in texts()],
    "two": lambda: texts(2, 600_000),
    "records": lambda: [{"number": number, "even": number % 2 == 0} for number in range(60_000)],
}


@pytest.mark.parametrize("name", LISTS)
def test_the_whole_and_each_item_come_back(name: str) -> None:
    value = LISTS[name]()
    payload = encoded(value, OPTIONS)
    assert payload.codec == "items/1"
    data = data_of(payload)
    assert identical(codec_named(payload.codec, OPTIONS).decode(Stored(data), payload.meta, OPTIONS), value)
    for number, item in list(enumerate(value))[:: max(1, len(value) // 100)]:
        parts = Parts(data)
        found, length = CODEC.item(parts, payload.meta, OPTIONS, number)
        assert identical(found, item)
        assert parts.read == length + ENTRY * payload.meta["frames"]
        assert length < 700_000


def test_any_tool_reads_the_text() -> None:
    payload = encoded(LISTS["dicts"](), OPTIONS)
    text = pa.decompress(data_of(payload), decompressed_size=payload.meta["size"], codec="zstd", asbytes=True)
    assert json.loads(text) == LISTS["dicts"]()
    assert (payload.suffix, payload.media_type) == (".json.zst", "application/zstd")


@pytest.mark.parametrize(
    "value",
    [
        texts(2, 10_000),
        [{"number": number} for number in range(3000)],
        [texts(1, 1_200_000)[0]],
        [*texts(2, 600_000), b"x" * 10_000],
        tuple(texts()),
        {"a": texts()},
    ],
    ids=["small", "small items", "one item", "with a part", "a tuple", "a dict"],
)
def test_other_values_are_written_as_ever(value: Any) -> None:
    payload = encoded(value, OPTIONS)
    assert payload.codec == "structured/1"
    assert identical(
        codec_named(payload.codec, OPTIONS).decode(Stored(data_of(payload)), payload.meta, OPTIONS), value
    )


def test_a_legible_payload_stays_so() -> None:
    assert encoded(texts(), replace(OPTIONS, compress=False)).codec == "structured/1"


@pytest.mark.parametrize("place", [-1, 0, 8, 26, 40], ids=["text", "start", "length", "items", "digest"])
def test_an_altered_item_or_index_is_noticed(place: int) -> None:
    payload = encoded(texts(), OPTIONS)
    data = bytearray(data_of(payload))
    data[place + len(data) - ENTRY * payload.meta["frames"] if place >= 0 else 5] ^= 1
    with pytest.raises(PayloadAltered):
        CODEC.item(Parts(bytes(data)), payload.meta, OPTIONS, 0)


def test_another_item_is_not_taken_for_it() -> None:
    payload = encoded(texts(8, 200_000), OPTIONS)
    data = bytearray(data_of(payload))
    start = len(data) - ENTRY * payload.meta["frames"]
    first, second = slice(start, start + ENTRY), slice(start + ENTRY, start + 2 * ENTRY)
    data[first], data[second] = data[second], data[first]
    with pytest.raises(PayloadAltered):
        CODEC.item(Parts(bytes(data)), payload.meta, OPTIONS, 0)


@pytest.mark.parametrize(
    "notes", [{}, {"frames": 2**40}, {"frames": "80"}, {"frames": 0}, {"form": "container"}, {"index": ""}]
)
def test_notes_that_do_not_fit_are_refused(notes: dict[str, Any]) -> None:
    payload = encoded(texts(), OPTIONS)
    with pytest.raises((PayloadUnreadable, PayloadAltered)):
        CODEC.item(Parts(data_of(payload)), payload.meta | notes, OPTIONS, 80)


def test_an_item_takes_no_more_than_is_allowed() -> None:
    payload = encoded(["x" * 2_000_000] * 3, OPTIONS)
    with pytest.raises(PayloadUnreadable, match="the limit is 1,000,000"):
        CODEC.item(Parts(data_of(payload)), payload.meta, Options(max_size=1_000_000), 1)


def test_near_the_limit_what_items_take_is_counted() -> None:
    value = texts()  # of 1.6 million characters
    options = replace(OPTIONS, max_size=8_000_000)
    payload = encoded(value, options)
    assert payload.codec == "items/1"
    assert (
        codec_named(payload.codec, options).decode(Stored(data_of(payload)), payload.meta, options) == value
    )
    with pytest.raises(ValueTooLarge):
        encoded(value, replace(OPTIONS, max_size=3_000_000))


def test_a_text_without_an_end_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "_WALKED", 2**22)
    inner: list[Any] = [[] for _ in range(60_000)]
    with pytest.raises(ValueTooLarge, match="again and again"):
        encoded([[inner] for _ in range(100_000)], OPTIONS)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_tells_that_a_float_is_not_finite(number: float) -> None:
    """Lists of which JSON holds all but their floats are told by it from those that it holds."""
    assert dumps([1.5, number]) == b"[1.5,%b]" % NOT_FINITE
    assert NOT_FINITE not in dumps([1.5, {"a": -0.0}, True, "nul"])


def test_large_items_behind_many_small_ones_are_read_alone() -> None:
    value = [*range(300_000), *texts(100, 100_000)]
    payload = encoded(value, OPTIONS)
    found, length = CODEC.item(Parts(data_of(payload)), payload.meta, OPTIONS, len(value) - 1)
    assert found == value[-1]
    assert length < 700_000


def test_what_is_inside_of_strings_takes_no_room_of_the_limit() -> None:
    """As in a text that is not parted: texts of JSON are full of what would be objects elsewhere."""
    value = ['{"a": [{}, [], 1, 2]}' * 5_000] * 40
    whole = len(json.dumps(value))
    options = Options(max_size=4 * whole)
    payload = encoded(value, options)
    assert payload.codec == "items/1"
    assert CODEC.decode(Stored(data_of(payload)), payload.meta, options) == value
    with pytest.raises(ValueTooLarge):
        encoded(value, Options(max_size=whole))


@pytest.mark.parametrize(
    ("place", "number"), [(0, 2**62), (8, 2**62), (0, 10**6), (8, 0)], ids=["start", "length", "near", "none"]
)
def test_nothing_is_asked_for_that_is_not_the_payloads(place: int, number: int) -> None:
    payload = encoded(texts(), OPTIONS)
    data = bytearray(data_of(payload))
    start = len(data) - ENTRY * payload.meta["frames"]
    data[start + place : start + place + 8] = number.to_bytes(8, "little")
    parts = Parts(bytes(data))
    notes = payload.meta | {"index": hashlib.sha256(data[start:]).hexdigest()}
    with pytest.raises((PayloadUnreadable, PayloadAltered), match=r"does not fit|altered"):
        CODEC.item(parts, notes, OPTIONS, 0)
    assert parts.read == ENTRY * payload.meta["frames"]
