"""A value as a file of each format that its kind can give."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import ipc, parquet

from exclusive_xcom.export import NotWritable, write, writers

PLAIN = {"name": ["a", "größe"], "n": [1, 2]}
FRAMES = {
    "pandas": pd.DataFrame(PLAIN),
    "polars": pl.DataFrame(PLAIN),
    "polars lazy": pl.LazyFrame(PLAIN),
    "arrow": pa.table(PLAIN),
    "arrow batch": pa.RecordBatch.from_pydict(PLAIN),
}
ROWS = [{"name": "a", "n": 1}, {"name": "größe", "n": 2}]


@dataclass
class Point:
    """A class of an owner's."""

    x: int
    day: date


def written(value: Any, suffix: str) -> bytes:
    """What a file of that suffix holds."""
    file = io.BytesIO()
    write(value, suffix, file)
    return file.getvalue()


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
class TestFrame:
    """Frames and tables of every library."""

    def test_every_format_has_its_rows(self, frame: Any) -> None:
        assert set(writers(frame)) == {".csv", ".parquet", ".arrow", ".json", ".jsonl"}
        assert written(frame, "") == written(frame, ".csv")
        text = written(frame, ".csv").decode().replace('"', "")
        assert text == "name,n\na,1\ngröße,2\n"
        assert json.loads(written(frame, ".json")) == ROWS
        assert [json.loads(line) for line in written(frame, ".jsonl").splitlines()] == ROWS
        assert parquet.read_table(io.BytesIO(written(frame, ".parquet"))).to_pylist() == ROWS
        assert ipc.open_file(written(frame, ".arrow")).read_all().to_pylist() == ROWS


def test_an_index_that_says_something_is_a_column() -> None:
    frame = pd.DataFrame({"n": [1]}, index=pd.Index(["a"], name="name"))
    assert written(frame, ".csv") == b"name,n\na,1\n"
    assert written(pd.Series([1.5], name="x"), ".csv") == b"x\n1.5\n"
    assert written(pl.Series("x", [1]), ".csv") == b"x\n1\n"
    assert written(pa.array([1]), ".csv") == b'"value"\n1\n'


def test_arrays() -> None:
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    assert np.array_equal(np.load(io.BytesIO(written(array, "")), allow_pickle=False), array)
    assert written(array, ".csv") == b"0,1,2\r\n3,4,5\r\n"
    assert json.loads(written(array, ".json")) == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(NotWritable, match=r"does not fit into \.csv .*3 dimensions.*\.npy, \.json"):
        written(np.zeros((1, 1, 1)), ".csv")
    with pytest.raises(NotWritable, match=r"\.npy"):
        written(np.array([object()]), ".npy")


def test_images() -> None:
    image = Image.new("RGBA", (30, 20), (200, 100, 50, 9))
    assert Image.open(io.BytesIO(written(image, ""))).mode == "RGBA"
    found = Image.open(io.BytesIO(written(image, ".JPG")))
    assert (found.format, found.size) == ("JPEG", (30, 20))


def test_files_bytes_and_texts(tmp_path: Path) -> None:
    (file := tmp_path / "report.pdf").write_bytes(b"%PDF")
    for suffix in ("", ".pdf", ".whatever"):
        assert written(file, suffix) == written(b"%PDF", suffix) == b"%PDF"
    assert written("größe", ".txt").decode() == written("größe", "").decode() == "größe"
    assert json.loads(written("größe", ".json")) == "größe"


def test_what_is_json_or_nearly_so() -> None:
    value = {
        "p": Point(1, date(2024, 1, 2)),
        "d": Decimal("1.50"),
        "t": (1, {2}),
        "n": np.int16(7),
        "x": b"\xff",
    }
    value["nan"], value["frame"] = float("nan"), FRAMES["pandas"]
    found = json.loads(written(value, ""))
    assert found == {
        "p": {"x": 1, "day": "2024-01-02"},
        "d": "1.50",
        "t": [1, [2]],
        "n": 7,
        "x": "_w==",
        "nan": None,
        "frame": ROWS,
    }
    assert written([1, {"a": 2}], ".jsonl") == b'1\n{"a":2}\n'
    assert written([{"a": 1}, {"b": 2}], ".csv") == b"a,b\r\n1,\r\n,2\r\n"
    with pytest.raises(NotWritable, match="only a list of dicts"):
        written([1, 2], ".csv")
    with pytest.raises(NotWritable, match="a image in it has no form in JSON"):
        written([Image.new("L", (1, 1))], ".json")


@pytest.mark.parametrize(
    ("value", "suffix", "possible"),
    [
        (FRAMES["pandas"], ".png", ".csv, .parquet, .arrow, .json, .jsonl"),
        ({"a": 1}, ".csv", ".json"),
        ("text", ".parquet", ".txt, .json"),
        (np.zeros(1), ".npz", ".npy, .csv, .json"),
        (7, ".txt", ".json"),
    ],
    ids=repr,
)
def test_a_wrong_format_is_answered_with_those_that_there_are(value: Any, suffix: str, possible: str) -> None:
    with pytest.raises(NotWritable) as error:
        written(value, suffix)
    assert f"is not written as {suffix!r}. Possible: {possible}." in str(error.value)
