"""Small payloads that would take much memory as tables: each is refused before it does.

They are made here, as somebody who can write rows and objects would make them, and decoded in a process of
their own, which may not have more than twice the limit and a constant.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from exclusive_xcom.codecs import Options, codec_named
from exclusive_xcom.codecs._ipc import alone
from exclusive_xcom.codecs._parquet import _varint
from exclusive_xcom.errors import PayloadUnreadable
from exclusive_xcom.testing.codec_contract import OPTIONS, Stored, data_of, decode, encode

MIB = 2**20
LIMIT = 16 * MIB
CONSTANT = 64 * MIB  # stacks of threads, what an allocator keeps
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits and tells the memory")

Bomb = tuple[str, bytes, dict[str, Any]]  # codec, payload, its notes in the row


# -- how they are made -----------------------------------------------------------------------------------


def ipc(schema: pa.Schema, *batches: pa.RecordBatch, **options: Any) -> bytes:
    out = io.BytesIO()
    form = pa.ipc.IpcWriteOptions(compression="zstd", emit_dictionary_deltas=True, **options)
    with pa.ipc.new_file(out, schema, options=form) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return out.getvalue()


def of_table(codec: str, table: pa.Table, rows: int | None = None, form: str = "arrow") -> Bomb:
    meta = {"shape": "DataFrame" if codec != "arrow" else "Table", "format": form}
    rows = table.num_rows if rows is None else rows
    return codec, ipc(table.schema, *table.to_batches()), meta | {"rows": rows}


def of_pandas(like: pd.DataFrame, column: Any, **notes: Any) -> Bomb:
    """A frame with the notes of another, and one column."""
    found = pa.ipc.open_file(pa.py_buffer(data_of(encode(like)))).schema.metadata[b"xcom:pandas"]
    kept = json.loads(found) | {"rows": len(column)} | notes
    kept["index"] = (
        {"names": [None], "range": [0, len(column), 1]} if "index" not in notes else notes["index"]
    )
    table = pa.table({"a": column}).replace_schema_metadata(
        {"xcom:pandas": json.dumps(kept, separators=(",", ":"))}
    )
    return of_table("frame_pandas", table)


def of_parquet(schema: Any, table: Any, notes: dict[str, str] | None = None, **form: Any) -> Bomb:
    """A parquet file that says that its table has a schema."""
    kept = base64.b64encode(schema.serialize()).decode()
    notes = {"xcom:columns": json.dumps({"schema": kept, "dictionaries": {}})} | (notes or {})
    out = io.BytesIO()
    form = {"compression": "zstd", "write_page_checksum": True, "store_schema": False} | form
    with parquet.ParquetWriter(out, table.schema, **form) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"ARROW:schema": kept} | notes)
    data = out.getvalue()
    (length,) = struct.unpack("<I", data[-8:-4])
    tail = [length + 8, hashlib.sha256(data[-8 - length :]).hexdigest()]
    return "arrow", data, {"shape": "Table", "format": "parquet 2", "rows": table.num_rows, "tail": tail}


LONG = "x" * MIB


def text_as_dictionary() -> Bomb:
    codes = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2000, "i4")), [LONG])
    return of_pandas(pd.DataFrame({"a": pd.Series(["x"], dtype=object)}), codes)


def str_as_dictionary() -> Bomb:
    codes = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2000, "i4")), [LONG])
    return of_pandas(pd.DataFrame({"a": ["x"]}), codes)


def numbers_as_dictionary() -> Bomb:
    codes = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2000, "i4")), [LONG])
    return of_pandas(pd.DataFrame({"a": [1]}), codes)


def objects() -> Bomb:
    return of_pandas(pd.DataFrame({"a": pd.Series(["x"], dtype=object)}), pa.array(["xy"] * 2_200_000))


def wide_text() -> Bomb:
    cells = pa.array(["x" * 14 * MIB + "\U0001f600"], pa.large_string())
    return of_pandas(pd.DataFrame({"a": pd.Series(["x"], dtype=object)}), cells)


def python_text() -> Bomb:
    like = pd.DataFrame({"a": pd.array(["x"], pd.StringDtype("python"))})
    return of_pandas(like, pa.array(["xy"] * 2_200_000))


def dates() -> Bomb:
    import datetime as dt

    like = pd.DataFrame({"a": pd.Series([dt.date(2024, 1, 1)], dtype=object)})
    return of_pandas(like, pa.array(np.arange(3_000_000, dtype="i4") % 9999).cast(pa.date32()))


def json_cells(cell: str = "[" + "[]," * 5_000_000 + "[]]") -> Bomb:
    return of_pandas(pd.DataFrame({"a": [[1]]}), pa.array([cell], pa.large_string()))


def json_notes() -> Bomb:
    return of_pandas(pd.DataFrame({"a": [1]}), pa.array([1]), attrs=[[]] * 3_000_000)


def dtype_of_objects() -> Bomb:
    notes = [{"as": "dense", "dense": "|O"}]
    return of_pandas(pd.DataFrame({"a": [1]}), pa.array(["xy"] * 2_200_000), columns=notes)


def dtype_of_wide_text() -> Bomb:
    notes = [{"as": "json", "dtype": "<U50000"}]
    return of_pandas(pd.DataFrame({"a": [1]}), pa.array(["1"] * 2000, pa.large_string()), columns=notes)


def dtype_of_many_blanks() -> Bomb:
    """A pattern of pandas' tries each blank anew."""
    note = {"as": "extension", "dtype": "PeriodDtype", "of": f"period[{' ' * 200_000}]"}
    return of_pandas(pd.DataFrame({"a": [1]}), pa.array([1]), columns=[note])


def index_of_a_long_range() -> Bomb:
    index = {"names": [None], "range": [0, 10**12, 1]}
    like, column = pd.DataFrame({"a": pd.period_range("2026", periods=1, freq="D")}), pa.array([1])
    return of_pandas(like, column, index=index, labels=labels_of_a_range(10**12))


def labels_of_a_range(count: int) -> dict[str, Any]:
    """Column labels that take no bytes."""
    return {"index": {"names": [None], "range": [0, count, 1]}, "data": alone([])}


def rows_that_are_not_there() -> Bomb:
    return of_pandas(pd.DataFrame({"a": [1]}), pa.array([1]), rows=10**9)


def arrays_of_nothing() -> Bomb:
    """Each an object of its own."""
    lists = pa.LargeListArray.from_arrays(np.zeros(1_000_001, "i8"), np.empty(0))
    return of_pandas(pd.DataFrame({"a": [np.empty(0)]}), lists)


def categories_that_are_objects() -> Bomb:
    words = pa.array([str(n) for n in range(1_300_000)], pa.large_string())
    codes = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), words)
    return of_pandas(pd.DataFrame({"a": pd.Categorical(pd.Index(["x"], dtype=object))}), codes)


def many_categories() -> Bomb:
    """Each column below the limit."""
    words = pa.array([str(n) for n in range(20_000)], pa.large_string())
    codes = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), words)
    like = pd.DataFrame({str(n): pd.Categorical(pd.Index(["x"], dtype=object)) for n in range(60)})
    found = pa.ipc.open_file(pa.py_buffer(data_of(encode(like)))).schema
    table = pa.Table.from_arrays([codes] * 60, schema=pa.schema([("a", codes.type)] * 60, found.metadata))
    return of_table("frame_pandas", table)


def polars_lists() -> Bomb:
    values = pa.LargeListArray.from_arrays([0, MIB], pa.array(np.zeros(MIB, "i1")))
    return of_table(
        "frame_polars", pa.table({"a": pa.DictionaryArray.from_arrays(pa.array([0] * 500), values)})
    )


def polars_bytes() -> Bomb:
    codes = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2000, "i4")), pa.array([LONG.encode()]))
    return of_table("frame_polars", pa.table({"a": codes}))


def former_version() -> Bomb:
    """Version 4 of the format has its compression in the metadata of the message."""
    table = pa.table({"a": np.zeros(10)})
    old = pa.ipc.IpcWriteOptions(metadata_version=pa.ipc.MetadataVersion.V4)
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema, options=old) as writer:
        (batch,) = table.to_batches()
        writer.write_batch(batch, custom_metadata={"ARROW:experimental_compression": "zstd"})
    data = sink.getvalue()
    at = data.index(bytes(80))  # which is read as what stands in front of a compressed buffer: its size
    data = data[:at] + struct.pack("<q", 2**31) + data[at + 8 :]
    return "arrow", data, {"shape": "Table", "format": "arrow", "rows": 10}


def zeros() -> Bomb:
    return of_table("arrow", pa.table({"a": np.zeros(256 * MIB // 8)}))


def nulls() -> Bomb:
    return of_table("frame_polars", pa.table({"a": pa.nulls(2**31 - 1)}))


def nulls_inside() -> Bomb:
    return of_table(
        "frame_polars", pa.table({"a": pa.FixedSizeListArray.from_arrays(pa.nulls(2**30), 2**30)})
    )


def dictionary_that_grows() -> Bomb:
    """Each batch has the whole dictionary so far, in a copy of its own."""
    words = pa.array([f"{n:>1000}" for n in range(10_000)])
    batches = []
    for end in range(9_000, 10_000, 5):
        codes = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), words[:end])
        batches.append(pa.record_batch({"a": codes}))
    meta = {"shape": "Table", "format": "arrow", "rows": len(batches)}
    return "arrow", ipc(batches[0].schema, *batches), meta


def fields() -> Bomb:
    return of_table("arrow", pa.Table.from_arrays([pa.nulls(0)] * 300_000, names=[""] * 300_000))


def batches_of_nothing() -> Bomb:
    batch = pa.record_batch({str(n): pa.array([], pa.int8()) for n in range(100)})
    meta = {"shape": "Table", "format": "arrow", "rows": 0}
    return "arrow", ipc(batch.schema, *[batch] * 700), meta


def one_long_text() -> Bomb:
    """Packed, and in a dictionary of sixteen bits."""
    table = pa.table({"a": pa.DictionaryArray.from_arrays(pa.array(np.zeros(2000, "i2")), [LONG])})
    schema = pa.schema([pa.field("a", table.schema.types[0], metadata={"xcom:was": "string"})])
    return of_table("arrow", table.cast(schema), form="packed")


def narrow_numbers() -> Bomb:
    table = pa.table({"a": np.zeros(15 * MIB, "i1")})
    schema = pa.schema([pa.field("a", pa.int8(), metadata={"xcom:was": "int64"})])
    return of_table("arrow", table.cast(schema), form="packed")


def parquet_texts() -> Bomb:
    """Arrow makes text of a dictionary, as the schema says that is kept for it."""
    cells = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2000, "i4")), ["x" * 900_000])
    return of_parquet(pa.schema([("a", pa.string())]), pa.table({"a": cells}))


def parquet_bytes() -> Bomb:
    cells = pa.array([b"x" * 900_000], pa.binary(900_000)).take(pa.array([0] * 150))
    return of_parquet(pa.schema([("a", cells.type)]), pa.table({"a": cells}))


def parquet_prefixes() -> Bomb:
    """Each text is told by how much of the one before it is the same."""
    table = pa.table({"a": ["x" * 900_000] * 150})
    return of_parquet(table.schema, table, use_dictionary=False, column_encoding={"a": "DELTA_BYTE_ARRAY"})


def parquet_lists() -> Bomb:
    values = pa.array(np.zeros(16 * MIB, "i8"))
    table = pa.table({"a": pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)})
    return of_parquet(table.schema, table)


def parquet_wide_nulls() -> Bomb:
    table = pa.table({"a": pa.nulls(10, pa.list_(pa.int64(), 2**21))})
    return of_parquet(table.schema, table)


def parquet_notes() -> Bomb:
    table = pa.table({"a": [1]})
    return of_parquet(table.schema, table, {"xcom:columns": "[" + "[]," * 3_000_000 + "[]]"})


BOMBS = [
    text_as_dictionary, str_as_dictionary, numbers_as_dictionary, objects, wide_text, python_text, dates,
    json_cells, json_notes, dtype_of_objects, dtype_of_wide_text, dtype_of_many_blanks,
    index_of_a_long_range, rows_that_are_not_there, arrays_of_nothing,
    categories_that_are_objects, many_categories, polars_lists, polars_bytes, former_version,
    zeros, nulls, nulls_inside, dictionary_that_grows, fields, batches_of_nothing, one_long_text,
    narrow_numbers, parquet_texts, parquet_bytes, parquet_prefixes, parquet_lists, parquet_wide_nulls,
    parquet_notes,
]  # fmt: skip


# -- how they are decoded --------------------------------------------------------------------------------


def memory(name: str) -> int:
    """A figure of this process, in bytes."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024


@contextmanager
def addresses_bounded() -> Iterator[None]:
    """Let this process take little more than a payload may; what it has taken before is not counted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (memory("VmSize") + 2 * LIMIT + CONSTANT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def explode(folder: Path) -> None:
    """Decode all that lies in a folder, under the limit; tell what came of each, and the memory it took."""
    options = Options(max_size=LIMIT)
    for value in (pd.DataFrame({"a": ["x"]}), pl.DataFrame({"a": ["x"]}), pa.table({"a": ["x"]})):
        for form in ("arrow", "parquet"):  # what is loaded, started and reserved once
            payload = encode(value, replace(OPTIONS, frame_format=form))
            decode(payload, options=options)
    signal.alarm(300)  # one that takes forever is killed
    bounded = nullcontext if "free" in sys.argv else addresses_bounded
    for path in sorted(folder.iterdir()):
        codec, meta = json.loads(path.read_bytes().partition(b"\n")[0])
        data = path.read_bytes().partition(b"\n")[2]
        before = memory("VmRSS")
        print(path.name, end="\t", flush=True)
        Path("/proc/self/clear_refs").write_text("5")
        try:
            with bounded():
                codec_named(f"{codec}/1", options).decode(Stored(data), meta, options)
            outcome = "decoded"
        except BaseException as error:
            outcome = f"{type(error).__name__}: {error}"
        print(len(data), memory("VmHWM") - before, outcome.replace("\n", " ")[:300], sep="\t", flush=True)


if __name__ == "__main__":
    explode(Path(sys.argv[1]))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, int, str]]:
    """For each bomb its bytes, the bytes of memory that it took, and what came of it."""
    folder = tmp_path_factory.mktemp("bombs")
    for make in BOMBS:
        codec, data, meta = make()
        (folder / make.__name__).write_bytes(json.dumps([codec, meta]).encode() + b"\n" + data)
    # Arrow's other allocator takes addresses in advance, which are then not counted; and each thread takes
    # them, so that the bound would depend on the number of cores.
    settings = os.environ | {
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "MALLOC_ARENA_MAX": "2",
        "OMP_NUM_THREADS": "2",
        "POLARS_MAX_THREADS": "2",
    }
    command = [sys.executable, __file__, folder]
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=settings)
    assert found.returncode == 0, f"after {found.stdout[-300:]!r}: {found.stderr[-2000:]}"
    lines = [line.split("\t") for line in found.stdout.splitlines()]
    return {name: (int(size), int(most), outcome) for name, size, most, outcome in lines}


@pytest.mark.parametrize("bomb", [make.__name__ for make in BOMBS])
def test_a_bomb_is_refused_before_it_takes_its_memory(
    bomb: str, outcomes: dict[str, tuple[int, int, str]]
) -> None:
    size, most, outcome = outcomes[bomb]
    assert size < 2 * LIMIT
    assert outcome.startswith("PayloadUnreadable") and "MemoryError" not in outcome
    assert most <= 2 * LIMIT + CONSTANT


def test_labels_that_are_a_long_range_are_not_counted_out() -> None:
    one = pd.DataFrame({"a": [1]})
    codec, data, meta = of_pandas(one, pa.array([1]), labels=labels_of_a_range(10**11))
    reader: Any = codec_named(f"{codec}/1", OPTIONS)
    with pytest.raises(PayloadUnreadable, match="100,000,000,000 columns instead of 1"):
        reader.select(Stored(data), meta, OPTIONS, [0])


def test_a_number_in_a_header_of_parquet_ends() -> None:
    assert _varint(memoryview(b"\xff" * 9 + b"\x01"), 0) == (2**64 - 1, 10)
    with pytest.raises(PayloadUnreadable, match="a number that we do not write"):
        _varint(memoryview(b"\xff" * 2_000_000), 0)
