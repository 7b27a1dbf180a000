"""Codecs of arrays, images, bytes and files."""

from __future__ import annotations

import array
import io
import os
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

from exclusive_xcom import errors
from exclusive_xcom.codecs import codec_named
from exclusive_xcom.testing.codec_contract import OPTIONS, CodecContract, Stored, data_of, decode, encode
from exclusive_xcom.testing.identical import identical

FIELDS = np.ones(3, [("a", "i4"), ("b", "f8"), ("c", "i2")])


class TestNumpy(CodecContract):
    codec = "numpy_array"
    fuzz = "matrix"
    values: ClassVar = {
        "matrix": lambda: np.arange(12.0).reshape(3, 4),
        "no dimension": lambda: np.array(5),
        "empty": lambda: np.empty((0, 3)),
        "big-endian": lambda: np.array([1, 2], ">i4"),
        "text": lambda: np.array(["a", "größe"]),
        "bytes": lambda: np.array([b"a", b"bc"]),
        "dates": lambda: np.array(["2024-01-01", "NaT"], "M8[D]"),
        "durations": lambda: np.array([1, 2], "m8[25s]"),
        "records": lambda: np.array([(1, [0.5, 2.0])], [("é", "i4"), ("b", "f8", (2,))]),
        "booleans": lambda: np.array([True, False]),
        "half": lambda: np.array([1.5, np.nan], "f2"),
        "complex": lambda: np.array([1 + 2j]),
        "raw": lambda: np.zeros(2, "V3"),
        "strided": lambda: np.arange(10)[::2],
        "backwards": lambda: np.arange(6).reshape(2, 3)[:, ::-1],
        "repeated": lambda: np.broadcast_to(np.arange(3), (4, 3)),
    }
    refused: ClassVar = {
        "objects": (lambda: np.array([{}]), "pickle"),
        "variable text": (lambda: np.array(["a"], np.dtypes.StringDType()), "pickle"),
        "masked": (lambda: np.ma.array([1, 2], mask=[0, 1]), "filled"),
        "subclass": (lambda: np.rec.array([(1, 2)]), "asarray"),
        "endless dtype": (lambda: np.zeros(1, [("x" * 90 + str(i), "i1") for i in range(200)]), "fields"),
        "fields out of order": (lambda: FIELDS[["c", "a"]], "repack_fields"),
        "fields of which some were dropped": (lambda: FIELDS[["a", "c"]], "repack_fields"),
        "aligned fields": (lambda: np.zeros(2, np.dtype("i1,f8", align=True)), "repack_fields"),
        "aligned fields without a gap": (lambda: np.zeros(2, np.dtype("f8,f8", align=True)), "repack_fields"),
        "fields that overlap": (
            lambda: np.zeros(2, np.dtype({"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 2]})),
            "repack_fields",
        ),
        "a gap in a field of a field": (
            lambda: np.zeros(2, [("a", np.dtype("i1,f8", align=True), (2,))]),
            "repack_fields",
        ),
        "metadata": (lambda: np.zeros(2, np.dtype("i4", metadata={"a": 1})), "drop_metadata"),
        "metadata of a field": (
            lambda: np.zeros(2, [("a", np.dtype("i4", metadata={"a": 1}))]),
            "drop_metadata",
        ),
        "odd names": (lambda: np.zeros(1, [("数", "i1")]), "Rename"),
    }

    def test_fortran_order_is_kept(self) -> None:
        found = decode(encode(np.asfortranarray(np.arange(12.0).reshape(3, 4))))
        assert found.flags.f_contiguous and not found.flags.c_contiguous
        assert identical(found, np.arange(12.0).reshape(3, 4))

    @given(array=npst.arrays(npst.array_dtypes() | npst.scalar_dtypes(), npst.array_shapes(min_dims=0)))
    def test_any_array(self, array: np.ndarray[Any, Any]) -> None:
        try:
            payload = encode(array)
        except errors.UnsupportedValue:
            return  # field names outside latin-1
        assert identical(decode(payload), array)

    def test_numpy_reads_it_too(self) -> None:
        array = np.arange(6).reshape(2, 3)
        assert identical(np.load(io.BytesIO(data_of(encode(array)))), array)

    def test_it_is_written_without_a_copy(self) -> None:
        array = np.arange(6)
        data = np.frombuffer(encode(array).body[1], np.int64)
        assert np.shares_memory(array, data)

    def test_the_consumer_can_write_to_it(self) -> None:
        payload = encode(np.arange(6))
        decode(payload)[0] = 7
        stored = bytearray(data_of(payload))
        found = codec_named(f"{self.codec}/1", OPTIONS).decode(Stored(stored), {}, OPTIONS)
        found[0] = 7
        assert np.shares_memory(found, np.frombuffer(stored, np.uint8))

    @pytest.mark.parametrize(
        "header",
        [
            "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (4000000000, 4000000000)}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1)}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}",
            "{'descr': __import__('os'), 'fortran_order': False, 'shape': (1,)}",
            "(" * 5000,
        ],
    )
    def test_a_hostile_header_is_an_error(self, header: str) -> None:
        text = header.encode() + b"\n"
        data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(8)
        with pytest.raises(errors.PayloadUnreadable):
            codec_named(f"{self.codec}/1", OPTIONS).decode(Stored(data), {}, OPTIONS)


class TestBinary(CodecContract):
    codec = "binary"
    fuzz = "bytes"
    values: ClassVar = {
        "bytes": lambda: bytes(range(256)),
        "nothing": lambda: b"",
        "bytearray": lambda: bytearray(b"abc"),
    }
    refused: ClassVar = {
        "memory of numbers": (lambda: memoryview(array.array("i", [1])), "bytes(value)"),
    }

    def test_it_is_not_copied(self) -> None:
        value = bytearray(b"abc")
        body = encode(value).body
        value[0] = 0
        assert bytes(body[0]) == b"\0bc"


def noise(mode: str, size: tuple[int, int] = (23, 17), **info: Any) -> Callable[[], Image.Image]:
    """A function that makes an image of random bytes, the same ones each time."""

    def make() -> Image.Image:
        data = np.random.default_rng(0).integers(0, 256, len(Image.new(mode, size).tobytes()), np.uint8)
        image = Image.frombytes(mode, size, data.tobytes()) if mode != "1" else Image.new("1", size, 1)
        image.info.update(info)
        return image

    return make


def animation() -> Image.Image:
    file = io.BytesIO()
    noise("L")().save(file, "GIF", save_all=True, append_images=[Image.new("L", (23, 17))])
    return Image.open(file)


EXIF = Image.Exif()
EXIF[0x010E] = "Groesse"
PICTURE = {"dpi": (72, 72.5), "gamma": 0.45, "icc_profile": bytes(range(256)) * 9, "exif": EXIF.tobytes()}
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F", "CMYK", "YCbCr", "LAB", "PA", "I;16B")


class TestImage(CodecContract):
    codec = "image"
    fuzz = "PNG with all that is kept"
    values: ClassVar = {mode: noise(mode) for mode in MODES} | {
        "palette": lambda: noise("RGB")().quantize(7),
        "palette with alpha": lambda: noise("RGBA")().quantize(7),
        "empty palette": lambda: Image.new("P", (3, 3)),
        "one pixel": noise("RGB", (1, 1)),
        "one row": noise("LA", (9, 1)),
        "PNG with all that is kept": noise("RGB", transparency=(1, 2, 3), **PICTURE),
        "palette and transparency": noise("P", transparency=b"\0\1\2", **PICTURE),
        "TIFF with all that is kept": noise("CMYK", **PICTURE),
        "exif without its prefix": noise("RGB", exif=EXIF.tobytes().removeprefix(b"Exif\0\0")),
        "large palette and transparency": noise("P", (1600, 1400), transparency=b"\0\1\2", **PICTURE),
        "what the file said": noise(
            "L", comment=b"x", loop=0, background=3, Title="a", dpi=(IFDRational(72, 7), 72.009), exif=b""
        ),
        "international text": noise("RGB", Title=PngImagePlugin.iTXt("größe", "de", "Titel")),
        "transparency of other modes": noise("RGB", transparency=3),
        "transparency of three": noise("L", transparency=(1, 2, 3)),
        "transparency in bytes": noise("L", transparency=b"\1"),
        "transparency of text": noise("P", transparency="x"),
        "a profile of text": noise("L", icc_profile="x"),
        "large plot": lambda: Image.linear_gradient("L").resize((2000, 2000)),
        "one column": noise("LA", (1, 3_000_000)),
    }
    values |= {f"large {mode}": noise(mode, (1600, 1400), **PICTURE) for mode in MODES[1:7]}
    refused: ClassVar = {
        "mode": (noise("HSV"), "RGBA"),
        "no pixels": (lambda: Image.new("RGB", (0, 5)), "None"),
        "frames": (animation, "frames"),
        "huge entry": (noise("RGB", xmp=bytes(2**16), dpi=(1, 1)), "image.info.pop('xmp')"),
        "an odd entry": (noise("RGB", a={"b": object()}), "value['a']['b']"),
        "huge profile": (noise("RGB", icc_profile=bytes(2**20 + 1)), "icc_profile"),
    }

    @given(
        mode=st.sampled_from(["L", "RGB", "RGBA", "I;16", "F", "CMYK"]),
        size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
        data=st.data(),
    )
    def test_any_picture(self, mode: str, size: tuple[int, int], data: st.DataObject) -> None:
        length = len(Image.new(mode, size).tobytes())
        image = Image.frombytes(mode, size, data.draw(st.binary(min_size=length, max_size=length)))
        assert identical(decode(encode(image)), image)

    @pytest.mark.parametrize("width", range(1, 20))
    def test_bits_of_any_width(self, width: int) -> None:
        image = noise("L", (width, 5))().convert("1")
        assert identical(decode(encode(image)), image)

    def test_a_jpeg_keeps_its_pixels(self) -> None:
        file = io.BytesIO()
        noise("RGB")().save(file, "JPEG", dpi=(300, 300), exif=EXIF)
        image = Image.open(file)
        found = decode(encode(image))
        assert type(found) is Image.Image
        assert found.tobytes() == image.tobytes()
        assert found.info["dpi"] == image.info["dpi"] and found.getexif()[0x010E] == "Groesse"

    def test_pillow_reads_it_too(self) -> None:
        image = noise("RGBA", **PICTURE)()
        payload = encode(image)
        assert payload.media_type == "image/png" and payload.suffix == ".png"
        found = Image.open(io.BytesIO(data_of(payload)))
        assert found.tobytes() == image.tobytes()
        assert found.info["icc_profile"] == PICTURE["icc_profile"] and found.getexif()[0x010E] == "Groesse"

    def test_a_large_photo_is_not_packed(self) -> None:
        image = noise("RGB", (1000, 1000), **PICTURE)()
        payload = encode(image)
        assert payload.media_type == "image/tiff" and payload.suffix == ".tif"
        found = Image.open(io.BytesIO(data_of(payload)))
        assert found.tobytes() == image.tobytes() and found.info["icc_profile"] == PICTURE["icc_profile"]

    def test_the_compression_of_its_file_does_not_matter(self) -> None:
        for mode in ("RGB", "CMYK"):
            image, file = noise(mode, (1000, 1000))(), io.BytesIO()
            image.save(file, "TIFF", compression="tiff_lzw")
            assert decode(encode(Image.open(file))).tobytes() == image.tobytes()

    def test_a_huge_picture_in_few_bytes_is_not_decoded(self) -> None:
        payload = encode(Image.new("L", (3000, 3000)))
        assert payload.length < 100_000
        with pytest.raises(errors.PayloadUnreadable, match="MAX_DECODED_SIZE"):
            decode(payload, options=replace(OPTIONS, max_size=2**20))

    def test_a_picture_that_is_not_the_one_pushed_is_an_error(self) -> None:
        payload = encode(noise("RGB")())
        for other in (noise("RGB", (17, 23)), noise("RGBA")):
            with pytest.raises(errors.PayloadUnreadable):
                decode(payload, data_of(encode(other())))

    def test_compressed_tiff_is_not_decoded(self) -> None:
        image, file = noise("CMYK")(), io.BytesIO()
        image.save(file, "TIFF", compression="tiff_adobe_deflate")
        with pytest.raises(errors.PayloadUnreadable):
            decode(encode(image), file.getvalue())


FOLDER = Path()


@pytest.fixture(autouse=True, scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where the files of these tests are."""
    global FOLDER
    FOLDER = tmp_path_factory.mktemp("files")


def written(name: str, content: bytes = b"content") -> Path:
    path = FOLDER / name
    path.write_bytes(content)
    return path


def linked() -> Path:
    link = FOLDER / "link.csv"
    if not link.is_symlink():
        link.symlink_to(written("target.csv"))
    return link


def fifo() -> Path:
    path = FOLDER / "fifo"
    if not path.exists():
        os.mkfifo(path)
    return path


class TestFile(CodecContract):
    codec = "file"
    fuzz = "text"
    values: ClassVar = {
        "text": lambda: written("sales.csv"),
        "empty": lambda: written("empty", b""),
        "strange name": lambda: written("größe (1).tar.gz"),
        "link": linked,
        "narrow blank": lambda: written("a\u202fb.txt"),
        "blanks around": lambda: written(" a "),
        "joined characters": lambda: written("👩\u200d💻.png"),
        "long name": lambda: written("x" * 250 + ".csv"),
    }
    if sys.platform != "darwin":  # whose file systems know Unicode alone
        values["name that is no Unicode"] = lambda: written("a\udcff.t\udce9xt")
    refused: ClassVar = {
        "folder": (lambda: FOLDER, "make_archive"),
        "nothing there": (lambda: FOLDER / "missing.csv", "str(path)"),
        "pure path": (lambda: PurePosixPath("/etc/hosts"), "pathlib.Path"),
        "fifo": (fifo, "regular file"),
        "device": (lambda: Path("/dev/null"), "regular file"),
        "line break": (lambda: written("a\nb"), "Rename"),
        "backslash": (lambda: written("a\\b"), "Rename"),
        "NUL": (lambda: Path("a\0b"), "can't be read"),
    }

    def test_it_is_described(self) -> None:
        payload = encode(written("sales.csv"))
        assert (payload.kind, payload.summary, payload.filename) == ("file", "sales.csv", "sales.csv")
        assert (payload.suffix, payload.media_type) == (".csv", "text/csv")
        assert payload.body == FOLDER / "sales.csv"

    @pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "a\nb", "", "x" * 5000])
    def test_a_forged_name_stays_in_the_private_folder(self, name: str) -> None:
        payload = encode(written("sales.csv"))
        payload.meta["name"] = name
        found = decode(payload)
        assert found.read_bytes() == b"content"
        assert found.parent.parent.name.startswith("airflow-xcom-")

    def test_what_is_too_large_is_refused_on_both_sides(self, options: Any) -> None:
        """A file is never decoded: what limits it is the store."""
        payload = encode(written("sales.csv"), replace(options, max_size=1))
        assert decode(payload, options=replace(options, max_size=1)).read_bytes() == b"content"
