"""Golden payloads: rows and bytes of every codec, form and frame format, which must be read for ever.

`make golden` writes those of the version that pyproject.toml has, to golden/<version>/. They are made at each
release, committed, and never changed afterwards. CASES has the values that they must decode to: a value of a
released case is not changed, either; another one gets a name of its own.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import hashlib
import io
import json
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
from airflow.sdk import Asset
from dateutil.tz import tzoffset, tzutc
from PIL import Image
from PIL.TiffImagePlugin import IFDRational
from pydantic_core import TzInfo

from exclusive_xcom.address import Address, Attempt
from exclusive_xcom.codecs import FRAME_FORMATS, Options, Payload, codec_named, encoded
from exclusive_xcom.reference import Reference, parse
from exclusive_xcom.store import Stored as Put
from exclusive_xcom.testing.codec_contract import OPTIONS, Stored, data_of

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "golden"
ADDRESS = Address("orders", "scheduled__2026-01-02T03:04:05+00:00", "extract", 3, "größe")
ATTEMPT = Attempt(2, "019a2c3e-0000-7000-8000-000000000000")
ZONE = ZoneInfo("Europe/Berlin")


# -- values -----------------------------------------------------------------------------------------


class Colour(enum.Enum):
    """A class of a project's own."""

    RED = "red"


@dataclasses.dataclass
class Order:
    """Another one."""

    number: int
    colour: Colour


@attrs.define
class Item:
    """One of attrs."""

    number: int
    tags: tuple[str, ...]


class Account:
    """One with Airflow's own two methods."""

    __version__ = 2

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Account({self.name!r})"

    def serialize(self) -> dict[str, Any]:
        """What is kept."""
        return {"name": self.name, "more": (1,)}

    @staticmethod
    def deserialize(data: dict[str, Any], version: int) -> Account:
        """Made again."""
        return Account(data["name"] if (version, data["more"]) == (2, (1,)) else "")


def pandas_frame() -> pd.DataFrame:
    """Columns of many kinds, with an index of two levels."""
    return pd.DataFrame(
        {
            "small": [1, 2, -3],
            "large": np.array([2**63 - 1, 0, -(2**63)]),
            "prices": [1.25, 0.01, 9999.99],
            "floats": [float("nan"), -0.0, 1e300],
            "half": np.array([0.5, 1, 2], "f4"),
            "truth": [True, False, True],
            "nullable": pd.array([1, None, 3], "Int16"),
            "maybe": pd.array([True, None, False], "boolean"),
            "texts": pd.array(["a", None, "größe"], "string"),
            "objects": pd.Series(["x", None, "x"], dtype=object, index=[0, 1, 2]),
            "bytes": pd.Series([b"\x00", b"", None], dtype=object),
            "words": pd.Categorical(["b", "a", None], categories=["b", "a", "c"], ordered=True),
            "times": pd.to_datetime(["2026-01-02T03:04:05.123456789", None, "1970-01-01T00:00:00.0"]),
            "zoned": pd.to_datetime(["2026-03-29T00:30", None, "2026-10-25T01:30"]).tz_localize(ZONE),
            "spans": pd.to_timedelta([1, None, 10**15]),
            "periods": pd.PeriodIndex(["2026-01", "2026-02", "2026-03"], freq="M"),
            ("tuple", 1): [1, 2, 3],
        },
        index=[0, 1, 2],
    ).set_index(pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["letter", None]))


def polars_frame() -> pl.DataFrame:
    """Columns of many kinds."""
    return pl.DataFrame(
        {
            "integers": pl.Series([1, None, -3], dtype=pl.Int64),
            "bytes": pl.Series([1, 2, 255], dtype=pl.UInt8),
            "floats": [1.25, float("nan"), None],
            "texts": ["a", None, "größe"],
            "truth": [True, None, False],
            "days": [dt.date(2026, 1, 2), None, dt.date(1900, 1, 1)],
            "times": pl.Series(
                [dt.datetime(2026, 1, 2, 3), None, None], dtype=pl.Datetime("us", "Europe/Berlin")
            ),
            "spans": pl.Series([dt.timedelta(1), None, dt.timedelta(0, 1)], dtype=pl.Duration("ms")),
            "words": pl.Series(["b", "a", None], dtype=pl.Enum(["b", "a", "c"])),
            "lists": [[1, 2], [], None],
            "structs": [{"a": 1, "b": "x"}, {"a": None, "b": "y"}, None],
            "exact": pl.Series([Decimal("1.10"), None, Decimal("-2.00")], dtype=pl.Decimal(10, 2)),
        }
    )


def arrow_table() -> pa.Table:
    """Columns of many kinds, with metadata."""
    columns = {
        "integers": pa.array([1, None, 3], pa.int32()),
        "texts": pa.array(["a", None, "größe"], pa.large_string()),
        "words": pa.array(["u", "v", "u"]).dictionary_encode(),
        "lists": pa.array([[1], [], None], pa.list_(pa.int64())),
        "times": pa.array([0, None, 1], pa.timestamp("ms", "UTC")),
        "exact": pa.array([Decimal("1.10"), None, Decimal("2.00")], pa.decimal128(10, 2)),
        "maps": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int8())),
    }
    return pa.table(columns).replace_schema_metadata({"by": "exclusive-xcom"})


def text_file(name: str = "Größe 1.csv") -> Path:
    """A file with a name of its own, which is removed when the process ends."""
    path = Path(tempfile.mkdtemp(prefix="golden-", dir=_scratch())) / name
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    return path


def picture(mode: str, size: tuple[int, int] = (5, 3), **info: Any) -> Image.Image:
    """A small picture, not of one colour."""
    depth = len(Image.new(mode, (1, 1)).getbands()) * (4 if mode in ("I", "F") else 1)
    image = Image.frombytes(mode, size, bytes(n * 7 % 251 for n in range(size[0] * size[1] * depth)))
    if mode == "P":
        image.putpalette([n for shade in range(256) for n in (shade, 255 - shade, 7)])
    image.info |= {"dpi": (72, 72), **info}
    return image


STRUCTURED: dict[str, Callable[[], Any]] = {
    "plain": lambda: {
        "text": "größe 😀",
        "numbers": [1, -(2**63), 0.1, 1e300],
        "none": None,
        "truth": [True],
    },
    "long": lambda: [f"row {number}" for number in range(15_000)],
    "tagged": lambda: {
        "tuple": (1, (2,), {"a": ()}),
        "sets": [{1, 2}, frozenset({"a"})],
        "floats": [float("nan"), float("-inf"), -0.0, 1.0],
        "large": [10**30, 3 + 4j],
        "bits": [struct.unpack(">d", bytes.fromhex("fff8000000000001"))[0]],
        "moments": [pd.Timestamp("2026-10-25 02:30"), pd.Timestamp("2026-10-25 02:30").replace(fold=1)],
        "bytes": [b"\x00\xff", bytearray(b"x")],
        "keys": {1: "a", "1": "b", None: "c", (1, 2): "d", 2.5: "e"},
        "times": [
            dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC),
            dt.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZONE),
            dt.date(2026, 1, 2),
            dt.time(3, 4),
            dt.timedelta(days=-1, microseconds=1),
        ],
        "exact": [Decimal("12345678901234567890.1230"), UUID(int=7)],
        "reference": {"$xcom": "3"},
        "tags": {"$t": "tuple", "v": []},
    },
    "classes": lambda: [Order(1, Colour.RED), Colour.RED],
    "more classes": lambda: [Item(1, ("a",)), Account("x"), Asset("orders", extra={"a": 1})],
    "zones": lambda: [
        dt.datetime(2026, 1, 2, tzinfo=zone) for zone in (tzutc(), tzoffset("X", -3600), TzInfo(19800))
    ],
    "addresses": lambda: [pydantic.AnyUrl("https://a/b?c#d"), pydantic.PostgresDsn("postgres://u@a,b/c")],
    "container": lambda: {
        "frame": pandas_frame(),
        "more": [polars_frame(), arrow_table(), np.arange(6, dtype="i2").reshape(2, 3)],
        "file": text_file(),
        "picture": picture("RGB"),
        "bytes": bytes(range(256)) * 8,
    },
}
OTHERS: dict[str, Callable[[], Any]] = {
    "items, plain": lambda: [{"number": number, "text": f"{number} " * 6000} for number in range(70)],
    "items, tagged": lambda: [(number, dt.date(2026, 1, 2), "größe " * 6000) for number in range(70)],
    "parts, many kinds": lambda: [
        {"frame": pandas_frame(), "array": np.zeros((2, 30_000))},
        (bytes(65_536), dt.date(2026, 1, 2)),
        "größe",
    ],
    "binary, bytes": lambda: bytes(range(256)),
    "binary, bytearray": lambda: bytearray(b"content"),
    "file, text": text_file,
    "numpy_array, floats": lambda: np.array([[1.5, float("nan")], [-0.0, 2]]),
    "numpy_array, fortran": lambda: np.asfortranarray(np.arange(6, dtype="i2").reshape(2, 3)),
    "numpy_array, times": lambda: np.array(["2026-01-02", "NaT"], "M8[s]"),
    "numpy_array, texts": lambda: np.array([["größe", "b"]]),
    "numpy_array, records": lambda: np.array([(1, 2.5)], dtype=[("a", "u1"), ("b", "<f4")]),
    **{f"image, {mode}": lambda mode=mode: picture(mode) for mode in ("1", "L", "P", "RGB", "RGBA", "F")},
    "image, info": lambda: picture("RGB", dpi=(IFDRational(72, 7), 72), comment=b"x", exif=b"Exif\0\0x"),
    "file, odd name": lambda: text_file("a\u202fb \U0001f469\u200d\U0001f4bb.csv"),
    "image, large": lambda: Image.frombytes("RGB", (120, 120), _noise(120 * 120 * 3)),
}
TABLES: dict[str, Callable[[], Any]] = {
    "frame_pandas, frame": pandas_frame,
    "frame_pandas, series": lambda: pd.Series(
        [1.5, None], name=("x", 1), index=pd.Index(["a", "b"], name="id")
    ),
    "frame_pandas, index": lambda: pd.date_range("2026-01-01", periods=3, freq="D", tz="UTC"),
    "frame_pandas, cells": lambda: pd.DataFrame(
        {
            "vectors": [np.array([1.5, -0.0], "f4"), None, np.array([], "f4")],
            "lists": [[1.5], [], [2.5, 3.5]],
            "intervals": pd.interval_range(pd.Timestamp("2026", tz=tzutc()), periods=3),
            "zoned": pd.DatetimeIndex(["2026-01-02"] * 3).tz_localize(TzInfo(19800)),
        }
    ),
    "frame_pandas, no rows": lambda: pandas_frame()[:0],
    "frame_polars, frame": polars_frame,
    "frame_polars, series": lambda: pl.Series("größe", ["a", None]),
    "frame_polars, no rows": lambda: polars_frame().clear(),
    "arrow, table": arrow_table,
    "arrow, batch": lambda: arrow_table().to_batches()[0],
    "arrow, array": lambda: pa.array([1, None, 3]),
    "arrow, chunks": lambda: pa.chunked_array([[1], [2, None]]),
}
CASES: dict[str, tuple[Callable[[], Any], Options]] = {
    **{f"structured, {name}": (make, OPTIONS) for name, make in STRUCTURED.items()},
    "structured, legible": (STRUCTURED["tagged"], dataclasses.replace(OPTIONS, compress=False)),
    **{name: (make, OPTIONS) for name, make in OTHERS.items()},
    **{
        f"{name}, {form}": (make, dataclasses.replace(OPTIONS, frame_format=form))
        for name, make in TABLES.items()
        for form in FRAME_FORMATS
    },
}


def _file_name(case: str) -> str:
    return re.sub(r"[^\w]+", "-", case)


def _noise(length: int) -> bytes:
    """Bytes that no compression makes shorter, the same each time."""
    return b"".join(hashlib.sha256(bytes([n & 255, n >> 8])).digest() for n in range(length // 32 + 1))[
        :length
    ]


def _scratch() -> Path:
    from exclusive_xcom import scratch

    return scratch.new_file("x").parent


# -- rows and payloads ------------------------------------------------------------------------------


def version() -> str:
    """That of the release to come, or that was just made."""
    project = (HERE.parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    return str(tomllib.loads(project)["project"]["version"])


def files() -> list[Path]:
    """The rows of all releases."""
    return sorted(FOLDER.glob("*/*.row.json"))


def value_of(row: Path) -> Any:
    """What a golden payload decodes to, once its digest was compared."""
    ref = parse(json.loads(row.read_text(encoding="utf-8"))["row"])
    data = (row.parent / (ref.uri or "").removeprefix("golden:")).read_bytes()
    if (ref.length, ref.sha256) != (len(data), hashlib.sha256(data).hexdigest()):
        raise ValueError(f"{row.name}: the payload is another one")
    return codec_named(ref.codec, OPTIONS).decode(Stored(data), ref.meta, OPTIONS)


def made(case: str) -> tuple[Payload, bytes, Reference]:
    """What this release stores of a case's value."""
    make, options = CASES[case]
    payload = encoded(make(), options)
    data = data_of(payload)
    put = Put(len(data), hashlib.sha256(data).hexdigest(), uri=f"golden:{_file_name(case)}{payload.suffix}")
    return payload, data, put.reference(ADDRESS, ATTEMPT, payload)


def write() -> None:
    """Write the golden payloads of this version anew. Refused once it was released."""
    folder = FOLDER / version()
    tags = subprocess.run(
        ["git", "tag", "--list", f"v{version()}"], cwd=HERE, capture_output=True, text=True, check=False
    )
    if tags.stdout.strip():
        sys.exit(f"{version()} was released: its golden payloads stay as they are. Raise the version first.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for case in CASES:
        payload, data, ref = made(case)
        row = json.loads(json.dumps(ref.row()))
        told = {"case": case, "row": row, "fingerprint": fingerprint(payload, data)}
        name = (ref.uri or "").removeprefix("golden:")
        (folder / name).write_bytes(data)
        text = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
        (folder / f"{_file_name(case)}.row.json").write_text(text, encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{len(CASES)} golden payloads in {folder.relative_to(Path.cwd())}, {size:,} bytes")


# -- the form of a payload --------------------------------------------------------------------------


def fingerprint(payload: Payload, data: bytes) -> dict[str, Any]:
    """All that a reader of a payload goes by. Not the bytes: zstd, zlib and Arrow write others in other
    versions."""
    names = ("codec", "kind", "media_type", "suffix", "meta", "filename")
    told = {name: getattr(payload, name) for name in names}
    told["meta"] = without_digests(payload.meta)
    found: dict[str, Any] = json.loads(json.dumps({**told, "content": _content(payload.suffix, data)}))
    return found


def without_digests(meta: dict[str, Any]) -> dict[str, Any]:
    """A codec's notes without what is as different as the bytes."""
    return {name: note for name, note in meta.items() if name not in ("tail", "index")}


def _content(suffix: str, data: bytes) -> Any:
    if suffix == ".zip":
        archive = zipfile.ZipFile(io.BytesIO(data))
        return {
            name: _content("".join(Path(name).suffixes), archive.read(name)) for name in archive.namelist()
        }
    if suffix == ".arrow":
        reader = pa.ipc.open_file(io.BytesIO(data))
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        return {"schema": _schema(reader.schema), "batches": [_columns(batch.columns) for batch in batches]}
    if suffix == ".parquet":
        file = pq.ParquetFile(io.BytesIO(data))
        table, groups = file.read(), file.metadata.num_row_groups
        chunks = (
            [file.metadata.row_group(0).column(n) for n in range(file.metadata.num_columns)] if groups else []
        )
        kept = {name.decode(): text.decode() for name, text in (file.metadata.metadata or {}).items()}
        kept.pop("ARROW:schema", None)  # said by `schema`
        return {
            "schema": _schema(file.schema_arrow),
            "physical": [f"{c.path_in_schema} {c.physical_type} {c.compression}" for c in chunks],
            "metadata": kept,
            "columns": _columns(column.combine_chunks() for column in table.columns),
        }
    if suffix.endswith(".zst"):
        data = pa.input_stream(pa.BufferReader(data), compression="zstd").read()
    if suffix in (".png", ".tif"):
        image: Any = Image.open(io.BytesIO(data))
        tags = sorted(getattr(image, "tag_v2", {}))
        data = b"%r" % [image.format, image.mode, image.size, image.tobytes(), image.getpalette(), tags]
    return hashlib.sha256(data).hexdigest()


def _schema(schema: pa.Schema) -> list[Any]:
    def told(metadata: Any) -> Any:
        return {
            name.decode(): hashlib.sha256(text).hexdigest()[:16] for name, text in (metadata or {}).items()
        }

    fields = [[field.name, str(field.type), field.nullable, told(field.metadata)] for field in schema]
    return [fields, told(schema.metadata)]


def _columns(columns: Iterable[Any]) -> list[str]:
    """A digest for each column: of its buffers, without what they are filled up with at their ends."""
    return [hashlib.sha256(b"".join(_buffers(column))).hexdigest()[:16] for column in columns]


def _buffers(array: Any) -> Iterable[bytes]:
    for one in array.chunks if isinstance(array, pa.ChunkedArray) else [array]:
        yield str(len(one)).encode()
        for buffer in one.buffers():
            yield b"-" if buffer is None else buffer.to_pybytes().rstrip(b"\0")
        if pa.types.is_dictionary(one.type):
            yield from _buffers(one.dictionary)
