"""PIL images, pixel by pixel: PNG if they are small or become so, otherwise TIFF."""

from __future__ import annotations

import base64
import math
import zlib
from typing import Any

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ..errors import PayloadUnreadable, UnsupportedValue
from . import Content, Options, OurCodec, Payload
from ._container import Pieces
from ._json import dumps
from ._tagged import tag, untag
from .common import check_decoded, check_encoded, readable, within

_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_TIFF = (*_PNG, "I", "F", "CMYK", "YCbCr", "LAB", "PA", "I;16B")
_SMALL = 2 * 2**20  # bytes of pixels that are not worth a thought: PNG of them takes a tenth of a second
_EXIF = 65000  # a TIFF tag for private use: Pillow's TIFF writer takes the bytes of `exif` apart
_ICC_LIMIT = 2**20  # what Pillow reads from a PNG
_INFO_LIMIT = 2**16  # bytes of JSON: it stands in the row


class ImageCodec(OurCodec):
    """Keeps mode, size, every pixel, the palette and `info`. The file that it was read from is not kept: a
    JPEG's pixels come back, not the JPEG. Return its Path for that.

    A photo of 12 megapixels takes 0.1 s there and back as TIFF, its bytes as they are, and 2 s as PNG, which
    halves them; a plot of that size becomes thirty times smaller in 0.3 s. So large photos are TIFF.
    """

    name = "image"

    def encode(self, value: Any, options: Options) -> Payload:
        _check(value, options)
        value.load()  # which may find more of the file's `info`
        info = dict(value.info)
        exif, icc = (info.pop(name) if _is_some(info.get(name)) else b"" for name in ("exif", "icc_profile"))
        with within("image.info"):
            noted = tag(info, options)
        if len(icc) > _ICC_LIMIT or len(dumps(noted)) > _INFO_LIMIT:
            name = (
                "icc_profile" if len(icc) > _ICC_LIMIT else max(info, key=lambda name: len(repr(info[name])))
            )
            advice = f"Take it out: image.info.pop({name!r})."
            raise UnsupportedValue(f"The entry {name!r} of image.info is too large", advice)
        meta: dict[str, Any] = {"mode": value.mode, "size": list(value.size), "info": noted}
        meta |= {"exif": [len(exif), exif.startswith(b"Exif\0\0")], "icc": len(icc)}
        if value.palette is not None:
            meta["palette"] = [value.palette.mode, base64.b64encode(bytes(value.palette.palette)).decode()]
        shown = info.get("transparency") if _is_transparency(info.get("transparency"), value.mode) else None
        out, form, suffix = Pieces(), "png", ".png"
        if value.mode in _PNG and _is_worth_packing(value):
            if value.mode == "P":  # of a shorter palette Pillow would write fewer bits, and cut the pixels
                value = value.copy()
                value.putpalette(bytes(value.getpalette()).ljust(768, b"\0"))
            value.save(out, "PNG", compress_level=1, exif=exif, icc_profile=icc, transparency=shown)
        else:
            form, suffix, tags = "tiff", ".tif", ImageFileDirectory_v2()
            if exif:
                tags.tagtype[_EXIF] = 7  # bytes without a meaning to others
                tags[_EXIF] = exif
            value.save(out, "TIFF", compression="raw", tiffinfo=tags, icc_profile=icc)
        summary = f"{value.width} × {value.height} {value.mode}"
        return Payload(self.name, "image", f"image/{form}", suffix, out.listed(), summary, meta)

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> Any:
        import pyarrow as pa

        with readable("image"):
            mode, size = meta["mode"], tuple(meta["size"])
            check_decoded(_taken(size), options)  # before anything is
            data = content.buffer()
            found: Any = Image.open(pa.BufferReader(data), formats=["PNG", "TIFF"])
            if found.mode != mode or found.size != size or found.info.get("compression", "raw") != "raw":
                raise PayloadUnreadable(f"A {mode} image of {size} was pushed; the payload is another one")
            image = _pixels(found, data, "palette" in meta)
            if meta.get("palette", ["", ""])[1]:
                image.putpalette(base64.b64decode(meta["palette"][1]), meta["palette"][0])
            exif = found.info.get("exif", b"") if found.format == "PNG" else found.tag_v2.get(_EXIF, b"")
            exif = exif if meta["exif"][1] else exif.removeprefix(b"Exif\0\0")
            kept = {"exif": exif, "icc_profile": found.info.get("icc_profile") or b""}
            if [len(kept["exif"]), len(kept["icc_profile"])] != [meta["exif"][0], meta["icc"]]:
                raise PayloadUnreadable("The image has lost its exif data or colour profile")
            image.info = untag(meta["info"], options)
            image.info |= {name: data for name, data in kept.items() if data}
            return image


CODEC = ImageCodec()


def _pixels(found: Any, data: memoryview, has_palette: bool) -> Any:
    """A picture of an opened file's pixels alone. Those that are in the file as they are, all in a row, are
    taken from there at once: Pillow's own way takes them in small pieces, to be copied then."""
    if found.format == "TIFF" and len(found.tile) == 1 and found.tile[0].codec_name == "raw":
        _, _, offset, options = found.tile[0]
        return Image.frombytes(found.mode, found.size, data[offset:], "raw", *options)
    found.load()
    return Image.frombytes(found.mode, found.size, found.tobytes()) if has_palette else found.copy()


def _taken(size: tuple[int, int]) -> int:
    """Bytes of memory in which a picture is decoded, at most: four for each pixel, twice."""
    return 8 * math.prod(size)


def _is_some(data: Any) -> bool:
    return type(data) is bytes and len(data) > 0


def _is_transparency(shown: Any, mode: str) -> bool:
    """Whether PNG holds it. What does not fit the mode is kept beside the picture."""
    if mode == "RGB":
        return (
            type(shown) is tuple and len(shown) == 3 and all(type(x) is int and 0 <= x < 2**16 for x in shown)
        )
    if mode == "P" and type(shown) is bytes:
        return len(shown) <= 256
    return (
        mode in ("1", "L", "I;16", "P")
        and type(shown) is int
        and 0 <= shown < (256 if mode == "P" else 2**16)
    )


def _check(image: Any, options: Options) -> None:
    if getattr(image, "n_frames", 1) > 1:
        advice = "Return the Path of its file, or a list with a copy of each frame."
        raise UnsupportedValue(f"An image of {image.n_frames} frames", advice)
    if image.mode not in _TIFF:
        raise UnsupportedValue(f"An image of mode {image.mode!r}", "Return image.convert('RGBA').")
    if not all(image.size):
        raise UnsupportedValue("An image without pixels", "Return None instead.")
    if Image.MAX_IMAGE_PIXELS and math.prod(image.size) > 2 * Image.MAX_IMAGE_PIXELS:
        raise UnsupportedValue(
            f"An image of {image.width} × {image.height} pixels is more than Pillow opens",
            "Raise PIL.Image.MAX_IMAGE_PIXELS in producer and consumer, or return the Path of its file.",
        )
    check_encoded("An image", _taken(image.size), options)


def _is_worth_packing(image: Any) -> bool:
    """Whether a picture is small, or sixteen of its rows can be packed well."""
    step = max(1, image.height // 16)
    rows = [image.crop((0, y, image.width, y + 1)).tobytes() for y in range(0, image.height, step)]
    length = sum(map(len, rows))
    return length * step < _SMALL or 4 * len(zlib.compress(b"".join(rows), 1)) < length
