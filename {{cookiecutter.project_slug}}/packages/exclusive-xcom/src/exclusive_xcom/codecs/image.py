"""PIL images, pixel by pixel: PNG if they are small or become so, otherwise TIFF."""

from __future__ import annotations

import base64
import io
import math
import zlib
from typing import Any

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ..errors import PayloadUnreadable, UnsupportedValue
from . import Content, Options, OurCodec, Payload
from ._tagged import tag, untag
from .common import check_decoded, check_encoded, readable

_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_TIFF = (*_PNG, "I", "F", "CMYK", "YCbCr", "LAB", "PA", "I;16B")
_SMALL = 2 * 2**20  # bytes of pixels that are not worth a thought: PNG of them takes a tenth of a second
_EXIF = 65000  # a TIFF tag for private use: Pillow's TIFF writer takes the bytes of `exif` apart
_ICC_LIMIT = 2**20  # what Pillow reads from a PNG


class ImageCodec(OurCodec):
    """Keeps mode, size, every pixel, the palette, and of `info` what belongs to the picture: dpi, gamma,
    transparency, icc_profile, exif. What belongs to the file that it was read from (its compression, jfif,
    progression) is not kept: a JPEG's pixels come back, not the JPEG. Return its Path for that.

    A photo of 12 megapixels takes 0.1 s there and back as TIFF, its bytes as they are, and 2 s as PNG, which
    halves them; a plot of that size becomes thirty times smaller in 0.3 s. So large photos are TIFF.
    """

    name = "image"

    def encode(self, value: Any, options: Options) -> Payload:
        info = {name: value.info[name] for name in ("dpi", "gamma", "transparency") if name in value.info}
        if isinstance(info.get("dpi"), tuple):
            info["dpi"] = tuple(x if type(x) in (int, float) else float(x) for x in info["dpi"])
        exif, icc = value.info.get("exif") or b"", value.info.get("icc_profile") or b""
        _check(value, icc, options)
        value.load()
        meta: dict[str, Any] = {"mode": value.mode, "size": list(value.size), "info": tag(info, options)}
        meta |= {"exif": [len(exif), exif.startswith(b"Exif\0\0")], "icc": len(icc)}
        if value.palette is not None:
            meta["palette"] = [value.palette.mode, base64.b64encode(bytes(value.palette.palette)).decode()]
        out, form, suffix = io.BytesIO(), "png", ".png"
        if value.mode in _PNG and _is_worth_packing(value):
            if value.mode == "P":  # of a shorter palette Pillow would write fewer bits, and cut the pixels
                value = value.copy()
                value.putpalette(bytes(value.getpalette()).ljust(768, b"\0"))
            value.save(out, "PNG", compress_level=1, exif=exif, icc_profile=icc)
        else:
            form, suffix, tags = "tiff", ".tif", ImageFileDirectory_v2()
            if exif:
                tags.tagtype[_EXIF] = 7  # bytes without a meaning to others
                tags[_EXIF] = exif
            value.save(out, "TIFF", compression="raw", tiffinfo=tags, icc_profile=icc)
        summary = f"{value.width} × {value.height} {value.mode}"
        return Payload(self.name, "image", f"image/{form}", suffix, [out.getbuffer()], summary, meta)

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> Any:
        import pyarrow as pa

        with readable("image"):
            mode, size = meta["mode"], tuple(meta["size"])
            found: Any = Image.open(pa.BufferReader(content.buffer()), formats=["PNG", "TIFF"])
            if found.mode != mode or found.size != size or found.info.get("compression", "raw") != "raw":
                raise PayloadUnreadable(f"A {mode} image of {size} was pushed; the payload is another one")
            check_decoded(4 * math.prod(size), options)  # before a pixel is decoded
            found.load()
            image = Image.frombytes(mode, size, found.tobytes()) if "palette" in meta else found.copy()
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


def _check(image: Any, icc: bytes, options: Options) -> None:
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
    if len(icc) > _ICC_LIMIT:
        advice = "Take it out: image.info.pop('icc_profile')."
        raise UnsupportedValue("A colour profile of more than 1 MiB", advice)
    check_encoded("An image", 4 * math.prod(image.size), options)


def _is_worth_packing(image: Any) -> bool:
    """Whether a picture is small, or sixteen of its rows can be packed well."""
    step = max(1, image.height // 16)
    rows = [image.crop((0, y, image.width, y + 1)).tobytes() for y in range(0, image.height, step)]
    length = sum(map(len, rows))
    return length * step < _SMALL or 4 * len(zlib.compress(b"".join(rows), 1)) < length
