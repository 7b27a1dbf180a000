"""The preview that a row keeps: what is in it by choice, what never is, and that no push fails for it."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from airflow.sdk.log import mask_secret
from airflow_versions import row_of
from PIL import Image

from exclusive_xcom import glimpse
from exclusive_xcom.db import DbXComBackend
from exclusive_xcom.errors import BadOption
from exclusive_xcom.preview import MOST
from exclusive_xcom.reference import Expiry, Reference, parse

WHERE = {"dag_id": "orders", "run_id": "run 1", "task_id": "extract", "map_index": -1}
SESAME = "open-sesame-" + "x" * 60
FRAMES = [
    pd.DataFrame({"name": ["sesame", None], "n": [7, 8]}),
    pl.DataFrame({"name": ["sesame", None], "n": [7, 8]}),
    pa.table({"name": ["sesame", None], "n": [7, 8]}),
]
RECORDS = [{"name": "sesame", "n": 7}, {"name": "x", "n": None}] * 40


def pushed(value: Any, **where: Any) -> Reference:
    """The reference of a pushed value, as it comes back from a database."""
    row = row_of(DbXComBackend, "value", value, **{**WHERE, **where})
    return parse(json.loads(json.dumps(row, allow_nan=False)))


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Previews tell how values begin."""
    monkeypatch.setenv("AIRFLOW__XCOM__PREVIEW", "full")


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stays as it is in a row."""
    monkeypatch.setenv("AIRFLOW__XCOM__INLINE_LIMIT", "0")


# -- by default: types, sizes, counts ---------------------------------------------------------------


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__module__.partition(".")[0])
def test_of_a_frame_columns_types_and_nulls(frame: Any) -> None:
    ref = pushed(frame)
    found = glimpse.of(ref)
    assert found is not None
    assert [(c["name"], c["nulls"]) for c in found["columns"]] == [("name", 1), ("n", 0)]
    assert found["rows"] == 2 and "sesame" not in ref.preview and "7" not in ref.preview


@pytest.mark.parametrize(
    "value",
    [
        ("sesame",) * 500,
        {"sesame" * 10: 1, "key 2": {"sesame"}, **{f"sesame {n}": n for n in range(100)}},
        np.array(["sesame"]),
        b"sesame" * 500,
        pl.DataFrame({"word": pl.Series(["sesame"], dtype=pl.Enum(["sesame"]))}),
        pl.DataFrame({"words": pl.Series([["sesame"]], dtype=pl.List(pl.Enum(["sesame"])))}),
        pl.DataFrame({"words": pl.Series([["a])"]], dtype=pl.List(pl.Enum(["a])", "sesame"])))}),
        pl.DataFrame({"s": pl.Series([{"e": None}], dtype=pl.Struct({"e": pl.Enum(["a])", "sesame"])}))}),
        pl.DataFrame({"a": pl.Series([[["x"]]], dtype=pl.Array(pl.Enum(["x", "sesame"]), (1, 1)))}),
        pd.DataFrame({"word": pd.Categorical(["sesame"])}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_cell_no_text_and_no_name_of_a_dict(value: Any) -> None:
    assert "sesame" not in (pushed(value).preview or pytest.fail("no preview"))


@pytest.mark.usefixtures("stored")
def test_a_list_of_records_is_a_table() -> None:
    found = glimpse.of(pushed(RECORDS))
    assert found is not None and found["rows"] == 80
    assert found["columns"] == [
        {"name": "name", "type": "text"},
        {"name": "n", "type": "number or nothing"},
    ]
    uneven = glimpse.of(pushed([{"sesame": 1}, {"b": 2}] * 90))
    assert uneven is not None and uneven["kinds"] == {"dict": 100} and "columns" not in uneven


@pytest.mark.usefixtures("stored")
def test_what_says_all_already_has_none() -> None:
    assert [pushed(value).preview for value in (1, {"a": 1}, ("x",), [1, 2])] == [""] * 4


def test_none_is_made_if_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__XCOM__PREVIEW", "off")
    assert pushed(FRAMES[0]).preview == ""
    monkeypatch.setenv("AIRFLOW__XCOM__PREVIEW", "much")
    with pytest.raises(BadOption, match="shape or off or full"):
        pushed(FRAMES[0])


def test_a_secret_that_is_the_name_of_a_field_is_masked() -> None:
    mask_secret(SESAME)
    fields = pa.struct([(SESAME, pa.int64())])
    for value in (
        pl.DataFrame({"a": [{SESAME: 1}]}),
        pa.table({"a": pa.array([{SESAME: 1}])}),
        pd.DataFrame({"a": pd.Series([{SESAME: 1}], dtype=pd.ArrowDtype(fields))}),
        np.zeros(3, dtype=[(SESAME, "f4")]),
        pd.DataFrame({SESAME: [1]}),
    ):
        ref = pushed(value)
        assert "open-ses" not in ref.preview and "***" in ref.preview, type(value)


# -- by choice: how it begins -----------------------------------------------------------------------


@pytest.mark.usefixtures("full", "stored")
class TestFull:
    """`AIRFLOW__XCOM__PREVIEW=full`."""

    @pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__module__.partition(".")[0])
    def test_of_a_frame_the_first_rows_least_and_most(self, frame: Any) -> None:
        found = glimpse.of(pushed(frame))
        assert found is not None and found["head"][0] == ["sesame", "7"]
        assert (found["columns"][1]["least"], found["columns"][1]["most"]) == ("7", "8")
        assert "least" not in found["columns"][0]

    def test_of_json_the_beginning(self, tmp_path: Path) -> None:
        records, plain = glimpse.of(pushed(RECORDS)), glimpse.of(pushed({"a": [1, "x"]}))
        assert records is not None and records["head"][1] == ["x", "None"]
        assert plain is not None and plain["value"] == {"a": [1, "x"]}
        (file := tmp_path / "report.csv").write_text("größe,b\n1,2\n")
        (other := tmp_path / "report.bin").write_bytes(b"\0\1")
        text, binary = glimpse.of(pushed(file)), glimpse.of(pushed(other))
        assert text is not None and text["beginning"] == "größe,b\n1,2"
        assert binary is not None and "beginning" not in binary

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "I;16", "F"])
    def test_of_an_image_a_small_one(self, mode: str) -> None:
        image = Image.effect_noise((600, 200), 90).convert("RGB").convert("L" if mode == "I;16" else mode)
        image = image.convert("I").convert("I;16") if mode == "I;16" else image
        image.info["comment"] = "sesame"
        before = image.tobytes()
        ref = pushed(image)
        found = glimpse.of(ref)
        assert found is not None and len(ref.preview) <= MOST and image.tobytes() == before
        data = base64.b64decode(found["picture"], validate=True)
        small = Image.open(io.BytesIO(data))
        assert b"sesame" not in data and small.width <= 144 and small.width > 2 * small.height

    def test_of_an_array_a_picture_or_a_line(self) -> None:
        for array in (np.arange(76_800.0).reshape(240, 320), np.zeros((9, 9)), np.zeros((50, 60, 3), "u1")):
            found = glimpse.of(pushed(array))
            assert found is not None
            small = Image.open(io.BytesIO(base64.b64decode(found["picture"])))
            assert small.width / small.height == pytest.approx(array.shape[1] / array.shape[0], rel=0.1)
        line = glimpse.of(pushed(np.array([0.0, np.nan, 5, 10])))
        assert line is not None and line["line"] == [0, None, 50, 100]
        for odd in (np.array([np.inf, np.nan]), np.array([1e308, -1e308]), np.array([]), np.array("a")):
            told = glimpse.of(pushed(odd))
            assert told is not None and not {"line", "picture"} & told.keys()

    def test_a_secret_is_masked_before_the_text_is_cut(self, tmp_path: Path) -> None:
        mask_secret(SESAME)
        mask_secret("31415926")
        (file := tmp_path / "a.txt").write_text(f"{'-' * 1990}{SESAME}")
        for value in (
            pd.DataFrame({"a": ["." * 20 + SESAME]}),
            pl.DataFrame({"a": [[SESAME]], "b": [{"c": SESAME}]}),
            pa.table({SESAME: ["x"]}),
            {"a": SESAME, SESAME: 31415926, "n": "-" * 30 + SESAME},
            [{"a": SESAME, "b": 1}] * 3,
            "-" * 1990 + SESAME,
            np.array([SESAME]),
            file,
        ):
            ref = pushed(value)
            assert "open-ses" not in ref.preview and "31415926" not in ref.preview, type(value)
            assert "***" in ref.preview or value is file or isinstance(value, str)

    def test_what_a_name_says_is_secret_is_masked(self) -> None:
        for value in (
            {"password": "sesame", "deep": {"api_key": ["sesame"]}},
            pd.DataFrame({"password": ["sesame"]}),
            [{"password": "sesame"}] * 2,
        ):
            assert "sesame" not in pushed(value).preview and "***" in pushed(value).preview

    def test_a_mapped_task_tells_no_values(self) -> None:
        assert "sesame" not in (pushed(FRAMES[0], map_index=3).preview or pytest.fail("no preview"))

    def test_it_ends_with_its_payload(self) -> None:
        ref, now = pushed(FRAMES[0]), datetime.now(UTC)
        over = replace(ref, expires=Expiry("rule", now - timedelta(seconds=1)))
        left = glimpse.of(over, now)
        assert left is not None and left["rows"] == 2 and "sesame" not in json.dumps(left)
        assert "least" not in left["columns"][1]
        with_run = replace(ref, expires=Expiry("rule", run=True))
        assert "head" in (glimpse.of(with_run, now) or {})
        assert "head" not in (glimpse.of(with_run, now, run_ended_well=True) or {"head": 1})


# -- it only helps ----------------------------------------------------------------------------------


def test_no_push_fails_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("odd value")

    monkeypatch.setattr(glimpse, "preview", fails)
    assert pushed(FRAMES[0]).preview == ""


TOO_LATE = {
    "a day of polars'": pl.DataFrame({"t": pl.Series([2**31 - 1], dtype=pl.Int32).cast(pl.Date), "n": [7]}),
    "a time of polars'": pl.DataFrame({"t": pl.Series([2**62]).cast(pl.Datetime("ms")), "n": [7]}),
    "a while of polars'": pl.DataFrame({"t": pl.Series([2**62]).cast(pl.Duration("ms")), "n": [7]}),
    "a time of Arrow's": pa.table({"t": pa.array([2**62], pa.timestamp("s")), "n": [7]}),
    "a place's time": pa.table({"t": pa.array([1], pa.timestamp("s", "No/Where")), "n": [7]}),
}


@pytest.mark.parametrize("preview", ["shape", "full"])
@pytest.mark.parametrize("frame", TOO_LATE.values(), ids=TOO_LATE.keys())
def test_what_python_has_no_value_for(monkeypatch: pytest.MonkeyPatch, frame: Any, preview: str) -> None:
    """polars panics over it, which is no Exception."""
    monkeypatch.setenv("AIRFLOW__XCOM__PREVIEW", preview)
    found = glimpse.of(pushed(frame))
    assert found is not None and [column["name"] for column in found["columns"]] == ["t", "n"]
    assert found.get("head") == ([["<not shown>", "7"]] if preview == "full" else None)


@pytest.mark.usefixtures("full")
def test_without_a_beginning_or_a_picture_the_rest_is_told() -> None:
    (odd := Image.new("RGB", (50, 40))).info["transparency"] = "bogus"
    found = glimpse.of(pushed(odd))
    assert found is not None and (found["width"], found.get("picture")) == (50, None)


def test_a_row_that_has_no_room_for_it_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({f"column {number}": [1] for number in range(12)})
    monkeypatch.setenv("AIRFLOW__XCOM__PREVIEW", "off")
    size = len(json.dumps(pushed(frame).row(), separators=(",", ":")))
    monkeypatch.setenv("AIRFLOW__XCOM__PREVIEW", "shape")
    assert pushed(frame).preview
    monkeypatch.setenv("AIRFLOW__XCOM__MAX_ROW_SIZE", str(size + 100))
    assert pushed(frame).preview == ""


@pytest.mark.parametrize(
    "preview",
    [
        7,
        ["x"],
        "x",
        "[]",
        "{}",
        '{"kind": 1}',
        '{"kind": "x", "columns": [{}], "rows": 1, "more_columns": 0}',
        '{"kind": "x", "columns": []}',
        '{"kind": "x", "picture": "\\"><script>"}',
        '{"kind": "x", "line": [1e9]}',
        "[" * 4000,
        f'{{"kind": "x", "value": {"[" * 300}{"]" * 300}}}',
        json.dumps({"kind": "x" * MOST}),
    ],
    ids=lambda text: str(text)[:20],
)
def test_one_that_was_changed_by_hand_is_none_and_hurts_nobody(preview: Any) -> None:
    row = json.loads(json.dumps(pushed(FRAMES[0]).row())) | {"preview": preview}
    assert glimpse.of(parse(row)) is None
