"""numpy arrays, as `.npy`."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from ..errors import PayloadUnreadable, UnsupportedValue
from . import CHUNK, Content, Holds, Options, OurCodec, Payload
from ._places import halved, position
from .common import check_decoded, check_encoded, readable

_HEADER_LIMIT = 10_000  # bytes: numpy reads no longer ones


class NumpyCodec(OurCodec):
    """Keeps dtype (byte order, structure, units), shape, and C or Fortran order; a strided view comes back
    in C order. Never pickles: arrays of objects are refused both ways.

    Written from the array's own memory without a copy, unless it is strided. Read without a copy if the
    store handed over memory that may be written to; otherwise copied once, because a consumer expects an
    array that it can change.
    """

    name = "numpy_array"

    def encode(self, value: Any, options: Options) -> Payload:
        if type(value) is not np.ndarray:
            masked = isinstance(value, np.ma.MaskedArray)
            advice = "value.filled(...) and value.mask in a dict." if masked else "numpy.asarray(value)."
            what = f"A {type(value).__name__} would come back as a plain array"
            raise UnsupportedValue(what, f"Return {advice}")
        dtype = value.dtype
        if dtype.hasobject or dtype.kind == "T":
            raise UnsupportedValue(
                f"An array of dtype {dtype} holds Python objects, which would need pickle",
                "Return value.tolist(), a data frame, or an array of numbers or fixed-width text.",
            )
        check_encoded("A numpy array", value.nbytes, options)
        _check_dtype(dtype)
        if not (value.flags.c_contiguous or value.flags.f_contiguous):
            value = np.ascontiguousarray(value)
        # In Fortran order the transposed array is the memory as it lies; through uint8, since memoryview does
        # not know every dtype.
        flat = (value if value.flags.c_contiguous else value.T).reshape(-1)
        body = [_header(value), flat.view(np.uint8).data if flat.nbytes else b""]
        if options.look:
            _look_at(value, options)
            options.look_at(body[0], lambda holds: "the names of its fields")
        shape = " × ".join(map(str, value.shape)) or "one"
        summary = f"{shape} {dtype if dtype.names is None else 'records'}"
        return Payload(self.name, "numpy array", "application/x-npy", ".npy", body, summary)

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> Any:
        with readable("numpy array"):
            data = content.buffer()
            head = io.BytesIO(data[: 2 * _HEADER_LIMIT])
            shape, fortran, dtype = _read_header(head)
            size = math.prod(shape) * dtype.itemsize
            check_decoded(size, options)
            if size != data.nbytes - head.tell():
                raise PayloadUnreadable("The header of the numpy array does not fit what follows it")
            if 0 in shape or (
                dtype.itemsize == 0 and dtype.kind == "V"
            ):  # of others without a size it makes some
                return np.empty(shape, dtype, order="F" if fortran else "C")
            flat = np.frombuffer(data, dtype, offset=head.tell())
            if not (flat.flags.writeable and flat.flags.aligned):
                flat = flat.copy()
            return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


CODEC = NumpyCodec()


def _look_at(array: Any, options: Options) -> None:
    """Have the texts and bytes of an array looked at, also those in its fields."""
    for name in array.dtype.names or ():
        _look_at(array[name], options)
    if array.dtype.kind not in "SUV" or array.dtype.names or not array.nbytes:
        return
    flat, step = array.reshape(-1), max(1, CHUNK // array.itemsize)

    def place(holds: Holds) -> str | None:
        found = halved(len(flat), lambda at, end: holds(_bytes_of(flat[at:end])))
        return next((position([*np.unravel_index(number, array.shape)]) for number in found), None)

    for start in range(0, len(flat), step):
        options.look_at(_bytes_of(flat[start : start + step]), place)


def _bytes_of(flat: Any) -> bytes:
    if flat.dtype.kind != "U":
        return bytes(flat.tobytes())
    data = bytes(flat.astype(flat.dtype.newbyteorder("<")).tobytes())
    return data.decode("utf-32-le", "replace").encode()


def _check_dtype(dtype: Any) -> None:
    """Refuse what `.npy` does not hold. Raises `UnsupportedValue`."""
    if _has_gaps(dtype):  # which may hold what was in fields that are not to be handed on
        what = "An array of fields with gaps between them, that overlap, or that are aligned or out of order"
        raise UnsupportedValue(
            what, "Return repack_fields(value, recurse=True), which is in numpy.lib.recfunctions."
        )
    if np.lib.format.drop_metadata(dtype) is not dtype:
        advice = "Return value.astype(numpy.lib.format.drop_metadata(value.dtype))."
        raise UnsupportedValue("An array whose dtype has metadata", advice)


def _has_gaps(dtype: Any) -> bool:
    if dtype.subdtype is not None:
        return _has_gaps(dtype.base)
    place = 0
    for inner, start, *_ in (dtype.fields[name] for name in dtype.names or ()):
        if start != place or _has_gaps(inner):
            return True
        place += inner.itemsize
    return dtype.names is not None and (place != dtype.itemsize or dtype.isalignedstruct)


def _header(array: Any) -> bytes:
    out, form = io.BytesIO(), np.lib.format
    try:
        form.write_array_header_1_0(out, form.header_data_from_array_1_0(array))
        if out.tell() > _HEADER_LIMIT:
            raise ValueError("its description is too long to be read back safely")
        if _read_header(io.BytesIO(out.getvalue()))[2] != array.dtype:
            raise ValueError(f"{array.dtype} would come back as another one")
    except ValueError as error:
        advice = "Rename the fields, use fewer, convert it with astype(), or return a frame."
        raise UnsupportedValue(f"The array's dtype can't be written ({error})"[:300], advice) from error
    return out.getvalue()


def _read_header(head: io.BytesIO) -> Any:
    """(shape, whether in Fortran order, dtype)"""
    if np.lib.format.read_magic(head) != (1, 0):
        raise PayloadUnreadable("The numpy array has a header of another version")
    return np.lib.format.read_array_header_1_0(head)
