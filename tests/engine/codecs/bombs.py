"""Decodes bombs, each in a process of its own that may take little memory: test_bombs.py runs it.

Prints JSON: for each bomb what came of it, and the bytes by which the process grew.
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from exclusive_xcom.codecs import codec_named
from exclusive_xcom.testing.codec_contract import OPTIONS, Stored, decode, encode

LIMIT = 32 * 2**20
ROOM = 3 * LIMIT  # the text and what is made of it; Pillow's own limit of a PNG's texts is 64 MiB
MANY = LIMIT // 64  # objects of some text each
SAME_HASH = 2**61 - 1  # multiples of it have the hash 0

Bomb = tuple[str, bytes, dict[str, Any]]  # codec, payload, notes


def text(data: bytes, form: str = "plain", *, packed: bool = True) -> Bomb:
    """JSON text as it is stored."""
    body = pa.compress(data, codec="zstd", asbytes=True) if packed else data
    return "structured/1", body, {"form": form, "size": len(data), "zstd": packed}


def tagged(tag: str, inside: Any) -> Bomb:
    """A value of a kind."""
    return text(json.dumps({"$t": tag, "v": inside}, separators=(",", ":")).encode(), "tagged")


def repeated(item: bytes, tag: str = "") -> Bomb:
    """A list of the same over and over, as long as may be sent."""
    items = b"[%b]" % b",".join([item] * (LIMIT // 2 // (len(item) + 1)))
    return text(b'{"$t":"%b","v":%b}' % (tag.encode(), items), "tagged") if tag else text(items)


def container(parts: list[Bomb], value: Any = None) -> Bomb:
    """A zip of them; without another value, a list of all of them."""
    out, names = io.BytesIO(), [f"{number}-x" for number in range(len(parts))]
    listed = [[name, codec, meta] for name, (codec, _, meta) in zip(names, parts, strict=True)]
    refs = [{"$t": "part", "v": number} for number in range(len(parts))]
    body = json.dumps({"value": value or refs, "parts": listed}).encode()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("value.json", body)
        for name, (_, data, _) in zip(names, parts, strict=True):
            archive.writestr(name, data)
    return (
        "structured/1",
        out.getvalue(),
        {"form": "container", "size": len(body), "zstd": False, "files": False},
    )


def twice_over(depth: int) -> Bomb:
    """A set of a tuple that holds a tuple twice, which holds a tuple twice, and so on."""
    inner = text(b'{"$t":"tuple","v":[]}', "tagged", packed=False)
    for _ in range(depth):
        inner = container([inner], {"$t": "tuple", "v": [{"$t": "part", "v": 0}] * 2})
    return container([inner], {"$t": "set", "v": [{"$t": "part", "v": 0}]})


def long_number(*, inside: bool = False) -> Bomb:
    """An integer beside a Decimal of the same hash: to compare them takes minutes."""
    digits = 4_000_000
    numbers = [
        {"$t": "int", "v": f"0x1{'0' * digits}"},
        {"$t": "Decimal", "v": str(pow(16, digits, SAME_HASH))},
    ]
    items = [{"$t": "tuple", "v": [number]} for number in numbers] if inside else numbers
    return tagged("dict", [items, [0, 0]]) if inside else tagged("set", items)


def entries(count: int) -> Bomb:
    """A zip with a list of many."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", b"")
    data = out.getvalue()
    start = data.index(b"PK\1\2")
    one, end = data[start:-22], struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0, start, 0)
    size, at = count * len(one), start + count * len(one)
    large = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    large += struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    notes = {"form": "container", "size": 9, "zstd": False, "files": False}
    return "structured/1", data[:start] + one * count + large + end, notes


def noted(mode: str, size: tuple[int, int], **more: Any) -> dict[str, Any]:
    """The notes of an image."""
    return {"mode": mode, "size": list(size), "info": {}, "exif": [0, False], "icc": 0, **more}


def chunk(kind: bytes, data: bytes) -> bytes:
    """One of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(size: tuple[int, int], depth: int, colour: int, *chunks: bytes, interlaced: int = 0) -> bytes:
    """One without a pixel that is not nought."""
    bits = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] * depth * size[0]
    packer = zlib.compressobj(9)
    row = bytes(1 + (bits + 7) // 8)
    pixels = b"".join(packer.compress(row) for _ in range(size[1])) + packer.flush()
    head = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced)
    parts = [chunk(b"IHDR", head), *chunks, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(size: tuple[int, int], mode: str) -> bytes:
    """One whose pixels are missing."""
    out = io.BytesIO()
    Image.new(mode, (1, 1)).save(out, "TIFF", compression="raw")
    data = out.getvalue()
    for tag, value in ((256, size[0]), (257, size[1]), (278, size[1])):
        at = max(data.find(struct.pack("<HHI", tag, kind, 1)) for kind in (3, 4))
        data = data[:at] + struct.pack("<HHII", tag, 4, 1, value) + data[at + 12 :]
    return data


def animated() -> bytes:
    """A PNG of many frames."""
    out = io.BytesIO()
    frames = [Image.new("L", (1500, 1500), number) for number in range(60)]
    frames[0].save(out, "PNG", save_all=True, append_images=frames[1:])
    return out.getvalue()


def texts(count: int) -> list[bytes]:
    """Compressed text chunks, each of a megabyte."""
    return [chunk(b"zTXt", b"t%d\0\0" % n + zlib.compress(bytes(2**20))) for n in range(count)]


def npy(header: str, rest: bytes = b"") -> Bomb:
    """An array of that header."""
    head = header.encode() + b"\n"
    return "numpy_array/1", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + rest, {}


def array(descr: str, shape: str) -> Bomb:
    """An array of that form."""
    return npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}")


ZEROS = b"0" * (LIMIT - 100)
BOMBS: dict[str, Callable[[], Bomb]] = {
    "JSON: lists": lambda: repeated(b"[]"),
    "JSON: dicts": lambda: repeated(b"{}"),
    "JSON: dicts of one item": lambda: repeated(b'{"":0}'),
    "JSON: dicts of six": lambda: repeated(b'{"a":0,"b":0,"c":0,"d":0,"e":0,"f":0}'),
    "JSON: texts": lambda: repeated(b'"ab"'),
    "JSON: wide texts": lambda: repeated('"a\U0001f600"'.encode()),
    "JSON: escaped texts": lambda: repeated(b'"\\ud83d\\ude00"'),
    "JSON: one wide text": lambda: text(b'"%b\\ud83d\\ude00"' % (b"a" * (LIMIT // 2))),
    "JSON: floats": lambda: repeated(b"1.5"),
    "JSON: keys": lambda: text(b"{%b}" % b",".join(b'"%d":0' % n for n in range(2 * MANY))),
    "JSON: a long number": lambda: text(b"[1%b]" % ZEROS),
    "JSON: long numbers": lambda: repeated(b"1" * 4000),
    "JSON: deep": lambda: text(b"[" * (LIMIT - 1)),
    "JSON: as long as it claims": lambda: (
        "structured/1",
        b"",
        {"form": "plain", "size": LIMIT, "zstd": True},
    ),
    "tagged: a set": lambda: tagged("set", list(range(2 * MANY))),
    "tagged: equal hashes": lambda: tagged(
        "set", [{"$t": "int", "v": hex(n * SAME_HASH)} for n in range(30_000)]
    ),
    "tagged: equal floats": lambda: tagged("frozenset", [n * SAME_HASH for n in range(4)] * 100_000),
    "tagged: equal keys": lambda: tagged("dict", [[n * SAME_HASH for n in range(4)] * 9999, [0] * 39_996]),
    "tagged: equal decimals": lambda: tagged(
        "Counter", [[{"$t": "Decimal", "v": f"{n * SAME_HASH}"} for n in range(30_000)], [0] * 30_000]
    ),
    "tagged: a long number": long_number,
    "tagged: long numbers in keys": lambda: long_number(inside=True),
    "tagged: sets": lambda: repeated(b'{"$t":"set","v":[]}', "list"),
    "tagged: a list of sets": lambda: text(b"[%b]" % b",".join([b'{"$t":"set","v":[]}'] * MANY), "tagged"),
    "tagged: frozensets": lambda: text(b"[%b]" % b",".join([b'{"$t":"frozenset","v":[0]}'] * MANY), "tagged"),
    "tagged: ordered dicts": lambda: text(
        b"[%b]" % b",".join([b'{"$t":"OrderedDict","v":[[0],[0]]}'] * MANY), "tagged"
    ),
    "tagged: deques": lambda: text(b"[%b]" % b",".join([b'{"$t":"deque","v":[[],0]}'] * MANY), "tagged"),
    "tagged: moments": lambda: text(
        b"[%b]" % b",".join([b'{"$t":"pandas.Timestamp","v":[0,"s",null]}'] * MANY), "tagged"
    ),
    "tagged: deep": lambda: text(b'{"$t":"tuple","v":[' * MANY, "tagged"),
    "tagged: Decimal of many digits": lambda: text(
        b'{"$t":"Decimal","v":"%b"}' % (b"1" * (LIMIT // 2)), "tagged"
    ),
    "tagged: long dtype": lambda: tagged("numpy.generic", ["V2000000000", "AA=="]),
    "container: packed texts": lambda: container([repeated(b'"ab"') for _ in range(30)]),
    "container: texts near the limit": lambda: container(
        [text(b'"%b"' % (b"a" * (LIMIT // 3))) for _ in range(30)]
    ),
    "container: pictures near the limit": lambda: container(
        [("image/1", png((2000, 2000), 8, 0), noted("L", (2000, 2000)))] * 30
    ),
    "container: containers near the limit": lambda: container(
        [container([text(b'"%b"' % (b"a" * (LIMIT // 3)))]) for _ in range(30)]
    ),
    "container: tuples twice over": lambda: twice_over(60),
    "container: a list of many": lambda: entries(MANY // 2),
    "container: a comment behind it": lambda: ("structured/1", entries(9)[1] + b"x", entries(9)[2]),
    "PNG of 13,000²": lambda: ("image/1", png((13_000, 13_000), 8, 0), noted("L", (13_000, 13_000))),
    "PNG of one bit": lambda: ("image/1", png((13_000, 13_000), 1, 0), noted("1", (13_000, 13_000))),
    "PNG of colours": lambda: ("image/1", png((6_000, 6_000), 8, 6), noted("RGBA", (6_000, 6_000))),
    "PNG, interlaced": lambda: (
        "image/1",
        png((6_000, 6_000), 8, 2, interlaced=1),
        noted("RGB", (6_000, 6_000)),
    ),
    "PNG with another size in the notes": lambda: (
        "image/1",
        png((13_000, 13_000), 8, 0),
        noted("L", (10, 10)),
    ),
    "PNG with texts": lambda: ("image/1", png((10, 10), 8, 0, *texts(300)), noted("L", (10, 10))),
    "PNG with a profile": lambda: (
        "image/1",
        png((10, 10), 8, 0, chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(30 * LIMIT)))),
        noted("L", (10, 10), icc=30 * LIMIT),
    ),
    "PNG with a packed exif": lambda: (
        "image/1",
        png((10, 10), 8, 0, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(30 * LIMIT)))),
        noted("L", (10, 10)),
    ),
    "PNG of frames": lambda: ("image/1", animated(), noted("L", (1500, 1500))),
    "TIFF without its pixels": lambda: (
        "image/1",
        tiff((13_000, 13_000), "CMYK"),
        noted("CMYK", (13_000, 13_000)),
    ),
    "TIFF of another size": lambda: ("image/1", tiff((13_000, 13_000), "CMYK"), noted("CMYK", (10, 10))),
    "npy: a large shape": lambda: array("'<f8'", "(40000000000,)"),
    "npy: raw without a size": lambda: array("'|V0'", "(40000000000,)"),
    "npy: bytes without a size": lambda: array("'|S0'", "(40000000000,)"),
    "npy: text without a size": lambda: array("'<U0'", "(10000000000,)"),
    "npy: fields without a size": lambda: array("[('a', '|S0'), ('b', '<U0')]", "(40000000000,)"),
    "npy: a large item": lambda: array("('<f8', (2000000000,))", "(0,)"),
    "npy: large fields": lambda: array("[('a', '|V2000000000')]", "(1,)"),
    "npy: deep": lambda: npy("[" * 9000),
}


def run(make: Callable[[], Bomb], limited: bool) -> dict[str, Any]:
    """What comes of a bomb, in a process of its own."""
    codec, data, meta = make()
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        with open(reading, encoding="utf-8") as pipe:
            said = pipe.read()
        _, status = os.waitpid(child, 0)
        return (
            {"sent": len(data), **json.loads(said)}
            if said
            else {"sent": len(data), "end": f"status {status}"}
        )
    signal.alarm(60)  # a child that hangs is killed
    if limited:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + ROOM,) * 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        found: Any = codec_named(codec, OPTIONS).decode(Stored(data), meta, replace(OPTIONS, max_size=LIMIT))
        end = f"a {type(found).__name__}"
    except BaseException as error:
        end = f"{type(error).__name__}: {error}"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    with open(writing, "w", encoding="utf-8") as pipe:
        pipe.write(json.dumps({"end": end[:300], "grown": grown * (1 if sys.platform == "darwin" else 1024)}))
    os._exit(0)


def outcomes(chosen: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of the bombs, or of some."""
    # What is imported at first use, and Arrow's arena, are no memory of a bomb.
    warm = {"a": pd.Timestamp(0), "b": np.zeros(1), "c": Image.new("L", (9, 9)), "d": [(1,)] * 20_000}
    decode(encode(warm))
    pa.decompress(pa.compress(bytes(LIMIT), codec="zstd"), decompressed_size=LIMIT, codec="zstd")
    limited = Path("/proc/self/statm").exists()  # elsewhere there is no such limit to set
    for name, make in BOMBS.items():
        if not chosen or name in chosen:
            yield name, run(make, limited)


if __name__ == "__main__":
    for name, outcome in outcomes(sys.argv[1:]):
        print(json.dumps([name, outcome]), flush=True)
