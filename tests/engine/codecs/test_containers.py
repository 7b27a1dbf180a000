"""Values with frames, arrays, images or files among them: a zip of parts."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

from exclusive_xcom import codecs, errors, scratch
from exclusive_xcom.codecs import OURS, codec_named
from exclusive_xcom.testing.codec_contract import OPTIONS, CodecContract, Stored, data_of, decode, encode
from exclusive_xcom.testing.identical import identical


def numbers() -> pd.DataFrame:
    return pd.DataFrame({"a": [1, 2], "b": ["x", None]})


def some() -> dict[str, Any]:
    return {
        "frames": [numbers(), pl.DataFrame({"a": [1]}), pa.table({"a": [1]})],
        "array": (np.arange(5.0), np.arange(3)),
        ("key", 1): {
            "image": Image.new("RGB", (3, 2), "red"),
            "bytes": os.urandom(0) + bytes(range(256)) * 20,
        },
        "plain": [1, None, "größe"],
    }


def with_files() -> dict[str, Any]:
    folder = scratch.new_file("x").parent
    (folder / "a.csv").write_text("1,2")
    (folder / "other").mkdir()
    (folder / "other" / "a.csv").write_bytes(bytes(3 * 2**20 + 7))
    (folder / "empty").touch()
    return {"files": [folder / "a.csv", folder / "other" / "a.csv", folder / "empty"], "array": np.arange(4)}


class TestContainers(CodecContract):
    codec = "structured"
    fuzz = "some"
    values: ClassVar = {
        "some": some,
        "files": with_files,
        "one array": lambda: [np.arange(3)],
        "in a tuple and a set of keys": lambda: ({1: (np.arange(3),)},),
        "large bytes": lambda: {"a": bytes(10_000), "b": bytearray(10_000)},
        "nothing in it": lambda: [np.empty((0, 2)), pd.DataFrame()],
    }
    refused: ClassVar = {
        "part that can't be carried": (lambda: {"a": [1, np.array([object()])]}, "'a-1'"),
        "folder": (lambda: {"out": Path("/")}, "'out'"),
    }

    def test_the_same_value_gives_the_same_bytes(self, value: Any, options: Any) -> None:
        made = value()
        assert data_of(encode(made, options)) == data_of(encode(made, options))

    def test_a_part_that_occurs_twice_is_one_again(self) -> None:
        array, frame = np.arange(3), numbers()
        payload = encode([array, {"again": array}, frame, (frame,)])
        assert len(zipfile.ZipFile(io.BytesIO(data_of(payload))).namelist()) == 3
        found = decode(payload)
        assert found[0] is found[1]["again"] and found[2] is found[3][0]

    def test_any_tool_opens_the_parts(self) -> None:
        payload = encode({"customers": numbers(), "a/../b": [np.arange(3)]}, replace(OPTIONS, compress=False))
        assert (payload.suffix, payload.media_type, payload.kind) == (".zip", "application/zip", "dict")
        archive = zipfile.ZipFile(io.BytesIO(data_of(payload)))
        assert archive.testzip() is None
        assert archive.namelist() == ["value.json", "0-customers.arrow", "1-a_.._b-0.npy"]
        assert pd.read_feather(io.BytesIO(archive.read("0-customers.arrow"))).equals(numbers())
        assert np.load(io.BytesIO(archive.read("1-a_.._b-0.npy"))).tolist() == [0, 1, 2]

    def test_parts_are_not_copied_into_the_container(self) -> None:
        array = np.arange(1000)
        body = encode({"a": array}).body
        assert not isinstance(body, Path)
        assert any(np.shares_memory(array, np.frombuffer(piece, np.uint8)) for piece in body)

    def test_arrays_are_used_in_place(self) -> None:
        payload = encode({"a": np.arange(1000), "b": "x", "c": np.arange(5, dtype="i1")})
        data = bytearray(data_of(payload))
        found = codec_named("structured/1", OPTIONS).decode(Stored(data), payload.meta, OPTIONS)
        assert np.shares_memory(found["a"], np.frombuffer(data, np.uint8))

    def test_the_temporary_file_goes_with_the_payload(self) -> None:
        payload = encode(with_files())
        path = payload.body
        assert isinstance(path, Path) and path.exists()
        del payload
        assert not path.exists()

    def test_files_in_a_container_keep_their_names(self) -> None:
        found = decode(encode(with_files()))
        assert [path.name for path in found["files"]] == ["a.csv", "a.csv", "empty"]
        assert len({path.parent for path in found["files"]}) == 3

    @pytest.mark.parametrize("name", ["value.json", "0-a.npy"])
    def test_compressed_entries_are_refused(self, name: str) -> None:
        payload = encode({"a": np.zeros(1000)})
        with pytest.raises(errors.PayloadUnreadable, match="not as it was written"):
            decode(payload, rewritten(payload, compress=name))

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_other_entries_than_those_listed_are_refused(self) -> None:
        payload = encode({"a": np.zeros(3)})
        for data in (
            rewritten(payload, add=("extra", b"x")),
            rewritten(payload, add=("0-a.npy", b"x")),
            rewritten(payload, leave_out="0-a.npy"),
            rewritten(payload, leave_out="value.json"),
        ):
            with pytest.raises(errors.PayloadUnreadable):
                decode(payload, data)

    def test_sizes_that_do_not_add_up_are_refused(self) -> None:
        payload = encode({"a": np.zeros(100)})
        data = data_of(payload)
        at = data.rindex(b"PK\1\2")  # the last entry of the directory: its two sizes, its offset
        for offset, number in ((20, 10**6), (24, 10**6), (42, 7), (10, 8)):
            forged = bytearray(data)
            struct.pack_into("<I" if offset != 10 else "<H", forged, at + offset, number)
            with pytest.raises(errors.PayloadUnreadable):
                decode(payload, bytes(forged))

    def test_a_part_can_not_name_a_container_as_its_codec(self) -> None:
        payload = encode({"a": np.zeros(3)}, replace(OPTIONS, compress=False))
        data = data_of(payload).replace(b'"numpy_array/1",{}', b'"structured/1" ,{}')
        with pytest.raises(errors.XComError):
            decode(payload, data)


def rewritten(payload: Any, *, compress: str = "", add: Any = None, leave_out: str = "") -> bytes:
    """A container, with something about it changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data_of(payload))) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            if name != leave_out:
                kind = zipfile.ZIP_DEFLATED if name == compress else zipfile.ZIP_STORED
                new.writestr(zipfile.ZipInfo(name), old.read(name), kind)
        if add:
            new.writestr(zipfile.ZipInfo(add[0]), add[1])
    return out.getvalue()


# -- what holds for all codecs --------------------------------------------------------------------------


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_library_is_loaded_before_it_is_needed() -> None:
    code = """
        import sys
        from exclusive_xcom.codecs import Options, codec_for
        codec_for({"a": 1}, Options())
        heavy = {"pandas", "polars", "numpy", "pyarrow", "PIL", "pydantic", "pendulum"}
        print(sorted(heavy & set(sys.modules)))
    """
    assert run(code).strip() == "[]"


def test_each_codec_is_called_as_its_module_is() -> None:
    modules = Path(codecs.__path__[0]).glob("[a-z]*.py")
    assert {path.stem for path in modules} == {*OURS, "common"}
    for name in OURS:
        codec = codec_named(f"{name}/1", OPTIONS)
        assert codec.name == name == type(codec).__module__.rpartition(".")[2]


def test_tables_need_neither_numpy_nor_pandas() -> None:
    code = """
        import sys
        sys.modules |= {"numpy": None, "pandas": None, "polars": None}  # as if they were not installed
        import pyarrow as pa
        from exclusive_xcom import errors
        from exclusive_xcom.codecs import Options, codec_for, codec_named

        class Stored:
            def __init__(self, data): self.data, self.length = data, len(data)
            def buffer(self, *, as_bytes=False): return memoryview(self.data)
            def reader(self): return None

        table = pa.table({"a": [1.5, None], "b": ["x", "y"], "c": pa.array(["u", "v"]).dictionary_encode()})
        for form in ("arrow", "parquet"):
            options = Options(frame_format=form)
            payload = codec_for(table, options).encode(table, options)
            codec, stored = codec_named("arrow/1", options), Stored(b"".join(payload.chunks()))
            assert codec.decode(stored, payload.meta, options).equals(table)
            assert codec.select(stored, payload.meta, options, ["b"]).equals(table.select(["b"]))
        options = Options(frame_format="packed")
        try:
            codec_for(table, options).encode(table, options)
        except errors.BadOption as error:
            print(error)
        try:
            codec_named("frame_pandas/1", options).decode(stored, payload.meta, options)
        except errors.UnknownCodec as error:
            print(error)
    """
    packed, frame = run(code).splitlines()
    assert "FRAME_FORMAT=packed needs numpy" in packed
    assert "make add PACKAGES=numpy" in packed
    assert "Install the library where this task runs" in frame


MEASURE = """
    import gc, sys, threading
    import numpy as np, pandas as pd, polars as pl
    from exclusive_xcom.codecs import Options, codec_named, encoded

    def status(name):
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))

    def above(function):
        # Peak of resident memory above what was there before, in bytes.
        gc.collect()
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        before = status("VmRSS")
        result = function()
        return status("VmHWM") - before, result

    class Stored:
        def __init__(self, data): self.data, self.length = data, len(data)
        def buffer(self, *, as_bytes=False): return memoryview(self.data)
        def reader(self): return None

    options = Options(frame_format="{form}")
    warm = pd.DataFrame(np.zeros((10, 2)))
    encoded(warm, options)
    value = {value}
    size = {size}
    used, payload = above(lambda: encoded(value, options))
    encoded = payload.length
    data, meta, codec = b"".join(payload.chunks()), payload.meta, codec_named(payload.codec, options)
    del payload, value
    read, value = above(lambda: codec.decode(Stored(data), meta, options))
    print(used, read, size, encoded)
"""
RANDOM = "np.random.default_rng(0).random((400_000, 15))"
FRAMES = {
    "strided, arrow": f"pd.DataFrame({RANDOM})",
    "strided, parquet": f"pd.DataFrame({RANDOM})",
    "of prices, packed": "pd.DataFrame(np.random.default_rng(0).integers(0, 9999, (400_000, 15)) / 100)",
    "polars, arrow": f"pl.DataFrame({RANDOM})",
    "dict of three, arrow": f"dict((i, pd.DataFrame({RANDOM}[:, :5].copy())) for i in range(3))",
}


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc to measure memory"
)
@pytest.mark.parametrize("name", FRAMES)
def test_the_peak_is_the_frame_and_its_encoded_bytes(name: str) -> None:
    form, size = name.rpartition(" ")[2], 400_000 * 15 * 8
    code = MEASURE.replace("{form}", form).replace("{value}", FRAMES[name]).replace("{size}", str(size))
    # What Arrow's threads keep for themselves differs from time to time; what a codec takes does not.
    measured = [tuple(map(int, run(code).split())) for _ in range(2)]
    used, read, size, encoded = map(min, zip(*measured, strict=True))
    # One batch of rows; and its columns while they are narrowed, four at a time.
    some = (32 if form == "packed" else 16) * 2**20
    assert used <= 1.5 * encoded + some
    assert read <= size + 1.5 * encoded + some


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems know Unicode alone")
def test_a_file_whose_name_is_no_unicode_travels_in_a_container(tmp_path: Path) -> None:
    path = tmp_path / "a\udcff.t\udce9xt"
    path.write_bytes(b"content")
    found = decode(encode({"a": path}))["a"]
    assert (found.name, found.read_bytes()) == (path.name, b"content")


@pytest.mark.parametrize("inner", [lambda part: part, lambda part: (part,), lambda part: {"again": [part]}])
def test_parts_share_the_limit(inner: Callable[[Any], Any]) -> None:
    """When it is pushed and when it is pulled, however deep they are."""
    value = [inner(np.zeros(100_000, np.int8)) for _ in range(3)]
    few, enough = replace(OPTIONS, max_size=280_000), replace(OPTIONS, max_size=320_000)
    with pytest.raises(errors.ValueTooLarge, match="beside the rest of the value"):
        encode(value, few)
    payload = encode(value, enough)
    assert identical(decode(payload, options=enough), value)
    with pytest.raises(errors.PayloadUnreadable, match="beside the rest of the value"):
        decode(payload, options=few)


def test_a_part_that_occurs_twice_counts_once() -> None:
    part, options = np.zeros(100_000, np.int8), replace(OPTIONS, max_size=120_000)
    found = decode(encode([part, part], options), options=options)
    assert found[0] is found[1]
