"""A small picture of an image or an array, or a line of its numbers, for a preview."""

from __future__ import annotations

import base64
import io
import math
import sys
from typing import Any

from ..codecs import OURS, is_of

MOST_SIDE, _LEAST = 144, 16  # pixels of the longer side, at most and at least
_ENOUGH = 4  # pixels of a large image for one of the small one, in each direction
_POINTS = 60  # of a line
_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")


def thumbnail(value: Any, most: int) -> dict[str, Any]:
    """ "picture": an image or a part of an array's numbers as WebP or PNG, in base64 of at most `most`
    characters; or "line": at most 60 numbers from 0 to 100. Nothing for what is neither, or has no room.

    Pillow is used where it is loaded already or the value needs it; nothing is loaded for an array alone.
    """
    if is_of(value, *OURS["image"]):
        return _picture(value, most)
    if not is_of(value, *OURS["numpy_array"]) or value.dtype.kind not in "biuf" or not value.size:
        return {}
    if value.ndim == 1:
        return line(value)
    flat = value.ndim == 2 and min(value.shape) > 1
    colours = value.ndim == 3 and value.shape[2] in (3, 4) and value.dtype == "uint8"
    if (flat or colours) and (image := _of_array(value)) is not None:
        return _picture(image, most)
    return {}


def line(value: Any) -> dict[str, Any]:
    """ "line": at most 60 numbers from 0 to 100 of an array of one dimension; nothing of another value."""
    if not is_of(value, *OURS["numpy_array"]) or value.ndim != 1 or value.dtype.kind not in "biuf":
        return {}
    return {"line": points} if (points := _points(value)) else {}


def _points(value: Any) -> list[int | None]:
    points = [float(one) for one in value[:: max(1, math.ceil(len(value) / _POINTS))]]
    known = [one for one in points if math.isfinite(one)]
    if len(known) < 2:
        return []
    least = min(known)
    span = (max(known) - least) or 1.0
    if not math.isfinite(span):
        return []
    return [round((one - least) / span * 100) if math.isfinite(one) else None for one in points]


def _of_array(value: Any) -> Any:
    """Some of an array's numbers as a picture; None without Pillow."""
    try:
        from PIL import Image
    except ImportError:
        return None
    numpy = sys.modules["numpy"]
    some = slice(None, None, max(1, math.ceil(max(value.shape[:2]) / MOST_SIDE)))
    part = value[some, some]
    if part.ndim == 3:
        return Image.fromarray(numpy.ascontiguousarray(part))
    part = part.astype("float64")
    known = part[numpy.isfinite(part)]
    if not known.size:
        return None
    least, span = known.min(), (known.max() - known.min()) or 1.0
    if not math.isfinite(span):
        return None
    grey = numpy.nan_to_num((part - least) / span * 255, nan=0.0, posinf=255.0, neginf=0.0).astype("uint8")
    small = Image.fromarray(grey)
    grow = max(1, 2 * MOST_SIDE // 3 // max(small.size))  # of few numbers each is a square
    return small.resize((small.width * grow, small.height * grow), Image.Resampling.NEAREST)


def _picture(image: Any, most: int) -> dict[str, Any]:
    from PIL import Image

    if not (image.width and image.height):
        return {}
    small = _plain(_fitting(image, MOST_SIDE, Image), Image)
    side = float(MOST_SIDE)
    while side >= _LEAST:
        data = _written(_fitting(small, round(side), Image))
        if len(text := base64.b64encode(data).decode()) <= most:
            return {"picture": text}
        side *= min(0.8, math.sqrt(most / len(text)) * 0.95)
    return {}


def _fitting(image: Any, side: int, pillow: Any) -> Any:
    """The image no larger than that, in the same proportions. The image itself stays as it is."""
    scale = min(side / image.width, side / image.height, 1.0)
    if scale == 1.0:
        return image
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    smooth = image.mode not in ("1", "P") and not image.mode.startswith("I;")
    if smooth and scale < 1 / _ENOUGH:  # pixels enough to make a mean of, in a time that does not grow
        image = image.resize((size[0] * _ENOUGH, size[1] * _ENOUGH), pillow.Resampling.NEAREST)
    return image.resize(size, pillow.Resampling.BILINEAR if smooth else pillow.Resampling.NEAREST)


def _plain(image: Any, pillow: Any) -> Any:
    """A small image in a mode that can be written, without what it tells beside its pixels."""
    if image.mode.startswith(("I", "F")):
        image = image.convert("F")
        least, most = image.getextrema()
        scale = 255 / ((most - least) or 1)
        image = image.point(lambda pixel: pixel * scale - least * scale).convert("L")
    alpha = image.mode in _ALPHA or "transparency" in image.info
    mode = "RGBA" if alpha else "L" if image.mode in ("1", "L") else "RGB"
    return pillow.frombytes(mode, image.size, image.convert(mode).tobytes())


def _written(image: Any) -> bytes:

    target = io.BytesIO()
    try:
        image.save(target, "WEBP", quality=55, method=1)
    except (KeyError, OSError):  # a Pillow without WebP
        target = io.BytesIO()
        image.save(target, "PNG")
    return target.getvalue()
