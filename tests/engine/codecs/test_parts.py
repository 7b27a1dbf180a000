"""Lists of what other codecs carry, whose items can be read alone: each is proved to be what was pushed."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from exclusive_xcom import scratch
from exclusive_xcom.codecs import Options, codec_named, encoded
from exclusive_xcom.codecs.parts import CODEC
from exclusive_xcom.errors import PayloadAltered, PayloadUnreadable
from exclusive_xcom.testing.codec_contract import OPTIONS, Stored, data_of
from exclusive_xcom.testing.identical import identical

RANDOM = np.random.default_rng(1)
SIZE = 300_000


class Ranges:
    """Bytes of which some are read, and how many."""

    def __init__(self, data: bytes) -> None:
        self.data, self.length, self.read = data, len(data), 0

    def part(self, start: int, end: int) -> memoryview:
        """Some of them."""
        self.read += end - start
        return memoryview(self.data)[start:end]


def numbers() -> Any:
    """What hardly becomes smaller."""
    return RANDOM.random(SIZE // 8)


def file(size: int = SIZE) -> Path:
    """One of the task's."""
    path = scratch.new_file("größe.bin")
    path.write_bytes(RANDOM.bytes(size))
    return path


def one_for_all() -> list[Any]:
    """Items that have parts in common."""
    array = numbers()
    return [{"number": number, "array": array, "more": [array, numbers()]} for number in range(4)]


LISTS: dict[str, Callable[[], list[Any]]] = {
    "bytes": lambda: [RANDOM.bytes(SIZE) for _ in range(6)],
    "bytes, some of them in the text": lambda: [
        b"",
        b"x" * 4000,
        *(bytearray(RANDOM.bytes(SIZE)) for _ in range(5)),
    ],
    "pandas": lambda: [pd.DataFrame({"a": numbers(), "größe": "x"}) for _ in range(6)],
    "polars": lambda: [pl.DataFrame({"a": numbers()}) for _ in range(6)],
    "arrays": lambda: [numbers().reshape(-1, 2) for _ in range(6)],
    "of many kinds": lambda: [
        pa.table({"a": numbers()}),
        (numbers(), {1: numbers()}, dt.date(2026, 1, 2)),
        None,
        {"frame": pd.Series(numbers()), "text": "größe", "nan": float("nan")},
        *[numbers()] * 3,
    ],
    "of parts in common": one_for_all,
    "one large and a small one": lambda: [RANDOM.bytes(2**20), 1],
}


def both_ways(value: list[Any], options: Options = OPTIONS) -> None:
    """The whole and each item come back, and of an item no more is read than it has."""
    payload = encoded(value, options)
    assert (payload.codec, payload.suffix, payload.kind) == ("parts/1", ".zip", "list")
    assert payload.meta["items"] == len(value)
    data = data_of(payload)
    assert identical(codec_named(payload.codec, options).decode(Stored(data), payload.meta, options), value)
    for number, item in enumerate(value):
        ranges = Ranges(data)
        found, length = CODEC.item(ranges, payload.meta, options, number)
        assert identical(found, item)
        assert ranges.read == length + payload.meta["index"][1]
        assert length <= 2**20 + 1000


@pytest.mark.parametrize("name", LISTS)
def test_the_whole_and_each_item_come_back(name: str) -> None:
    both_ways(LISTS[name]())


def test_frames_of_any_format_come_back() -> None:
    for form in ("parquet", "packed"):
        both_ways(LISTS["pandas"](), replace(OPTIONS, frame_format=form))
    both_ways(LISTS["bytes"](), replace(OPTIONS, compress=False))


def test_files_come_back() -> None:
    value = [file(), file(0), file(20 * 2**20)]
    payload = encoded(value, OPTIONS)
    assert (payload.codec, payload.meta["files"]) == ("parts/1", True)
    data = data_of(payload)
    for number, path in enumerate(value):
        ranges = Ranges(data)
        found, length = CODEC.item(ranges, payload.meta, OPTIONS, number)
        assert (found.name, found.read_bytes()) == (path.name, path.read_bytes())
        assert length == path.stat().st_size
    found = codec_named(payload.codec, OPTIONS).decode(Stored(data), payload.meta, OPTIONS)
    assert [path.read_bytes() for path in found] == [path.read_bytes() for path in value]


def test_what_occurs_twice_in_an_item_is_one_again() -> None:
    payload = encoded(one_for_all(), OPTIONS)
    item, _ = CODEC.item(Ranges(data_of(payload)), payload.meta, OPTIONS, 2)
    assert item["array"] is item["more"][0]


def test_any_tool_opens_the_parts() -> None:
    value = [numbers() for _ in range(6)]
    archive = zipfile.ZipFile(io.BytesIO(data_of(encoded(value, OPTIONS))))
    assert archive.testzip() is None
    assert archive.namelist() == [*(f"{number}-{number}.npy" for number in range(6)), "value.json"]
    assert identical(np.load(io.BytesIO(archive.read("3-3.npy"))), value[3])


@pytest.mark.parametrize(
    "value",
    [
        lambda: [numbers(), 1],
        lambda: [RANDOM.bytes(2**21)],
        lambda: tuple(LISTS["bytes"]()),
        lambda: {"a": LISTS["bytes"]()},
    ],
    ids=["small", "one item", "a tuple", "a dict"],
)
def test_other_values_are_written_as_ever(value: Callable[[], Any]) -> None:
    payload = encoded(value(), OPTIONS)
    assert payload.codec == "structured/1"
    assert "index" not in payload.meta and "items" not in payload.meta


def test_the_same_value_gives_the_same_bytes() -> None:
    value = LISTS["of many kinds"]()
    assert data_of(encoded(value, OPTIONS)) == data_of(encoded(value, OPTIONS))


@pytest.mark.parametrize("place", ["a part", "the text"])
def test_an_altered_part_or_text_is_noticed(place: str) -> None:
    payload = encoded(LISTS["bytes"](), OPTIONS)
    data = bytearray(data_of(payload))
    data[1000 if place == "a part" else payload.meta["index"][0] + 5] ^= 1
    with pytest.raises(PayloadAltered):
        CODEC.item(Ranges(bytes(data)), payload.meta, OPTIONS, 0)


def test_an_altered_part_is_noticed_in_a_file() -> None:
    payload = encoded([file(), file(2**20)], OPTIONS)
    data = bytearray(data_of(payload))
    data[1000] ^= 1
    with pytest.raises(PayloadAltered):
        CODEC.item(Ranges(bytes(data)), payload.meta, OPTIONS, 0)


def forged(change: Callable[[Any], Any]) -> tuple[Ranges, dict[str, Any]]:
    """A payload with another text, and notes that fit it."""
    payload = encoded(LISTS["bytes"](), OPTIONS)
    data, (start, length, _) = data_of(payload), payload.meta["index"]
    text = json.loads(data[start : start + length])
    change(text)
    new = json.dumps(text).encode()
    index = [len(data), len(new), hashlib.sha256(new).hexdigest()]
    return Ranges(data + new), payload.meta | {"index": index, "size": len(new)}


def test_what_is_forged_here_could_be_read() -> None:
    ranges, notes = forged(lambda text: None)
    assert len(CODEC.item(ranges, notes, OPTIONS, 0)[0]) == SIZE


@pytest.mark.parametrize(("place", "number"), [(0, 2**62), (1, 2**62), (0, -1), (1, -1), (0, 10**9)], ids=str)
def test_nothing_is_asked_for_that_is_not_the_payloads(place: int, number: int) -> None:
    ranges, notes = forged(lambda text: text["index"][0].__setitem__(place, number))
    with pytest.raises(PayloadUnreadable, match="does not fit"):
        CODEC.item(ranges, notes, OPTIONS, 0)
    assert ranges.read == notes["index"][1]


@pytest.mark.parametrize(("at", "shift"), [(1, 0), (0, 64)])
def test_the_range_of_another_part_is_not_taken_for_it(at: int, shift: int) -> None:
    """Nor one that reaches into it."""
    ranges, notes = forged(lambda text: text["index"][0].__setitem__(0, text["index"][at][0] + shift))
    with pytest.raises(PayloadAltered):
        CODEC.item(ranges, notes, OPTIONS, 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.pop("index"),
        lambda text: text.update(index=[]),
        lambda text: text.update(index=[{}] * 6),
        lambda text: text.update(index=[["0", "1", "x"]] * 6),
        lambda text: text.update(parts=[]),
        lambda text: text.update(value={"$t": "part", "v": 0}),
        lambda text: text.update(value=[]),
        lambda text: text["parts"][0].__setitem__(1, "structured/1"),
        lambda text: text["parts"][0].__setitem__(1, "items/1"),
        lambda text: text["parts"][0].__setitem__(1, "parts/1"),
        lambda text: text["value"].__setitem__(0, {"$t": "part", "v": 9}),
    ],
)
def test_a_text_that_is_not_as_it_is_written_is_refused(change: Callable[[Any], Any]) -> None:
    ranges, notes = forged(change)
    with pytest.raises(PayloadUnreadable):
        CODEC.item(ranges, notes, OPTIONS, 0)


@pytest.mark.parametrize(
    "notes",
    [{"index": None}, {"index": [0, 1]}, {"form": "plain"}, {"size": 2**40}, {"size": -1}, {"zstd": True}],
)
def test_notes_that_do_not_fit_are_refused(notes: dict[str, Any]) -> None:
    payload = encoded(LISTS["bytes"](), OPTIONS)
    with pytest.raises(PayloadUnreadable):
        CODEC.item(Ranges(data_of(payload)), payload.meta | notes, OPTIONS, 0)


@pytest.mark.parametrize("number", [6, -1])
def test_an_item_that_is_not_there_is_refused(number: int) -> None:
    payload = encoded(LISTS["bytes"](), OPTIONS)
    with pytest.raises(PayloadUnreadable, match="no item"):
        CODEC.item(Ranges(data_of(payload)), payload.meta, OPTIONS, number)


def test_an_item_takes_no_more_than_is_allowed() -> None:
    """All that is in it together, but not what is in others."""
    value = [np.zeros(2**20, "i1") for _ in range(4)] + [[np.zeros(2**20, "i1") for _ in range(4)]]
    payload = encoded(value, OPTIONS)
    few, ranges = Options(max_size=3 * 2**20), Ranges(data_of(payload))
    assert identical(CODEC.item(ranges, payload.meta, few, 0)[0], value[0])
    with pytest.raises(PayloadUnreadable, match="beside the rest of the value"):
        CODEC.item(ranges, payload.meta, few, 4)
    with pytest.raises(PayloadUnreadable, match="the limit is 100"):
        CODEC.item(ranges, payload.meta, Options(max_size=100), 0)
