"""The file formats in which a value can be written, by its kind.

Libraries are those that the value itself proves to be imported. None is loaded for what is not there.
"""

from __future__ import annotations

import csv
import io
import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, BinaryIO

from pydantic_core import to_json

from .codecs import OURS, is_of
from .errors import one
from .preview import as_arrow, as_pandas, as_polars, kind

Writer = Callable[[Any, BinaryIO], object]

ANY = "*"  # among the suffixes of a value: its bytes are a file already, of whatever suffix


class NotWritable(ValueError):
    """A value can't be written in that format. The text says in which it can."""


def write(value: Any, suffix: str, file: BinaryIO) -> None:
    """Write a value in the format that a suffix stands for; an empty one: in the first that the value has.
    Raises `NotWritable`."""
    possible = writers(value)
    wanted = suffix.lower() or next(iter(possible))
    writer = possible.get(wanted) or possible.get(ANY)
    if writer is None:
        known = ", ".join(possible)
        raise NotWritable(f"{one(kind(value))} is not written as {suffix!r}. Possible: {known}.")
    try:
        writer(value, file)
    except OSError:
        raise
    except Exception as error:  # each library has errors of its own for what a format can't hold
        others = ", ".join(name for name in possible if name != wanted)
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        other = f" Other formats: {others}." if others else ""
        raise NotWritable(f"This {kind(value)} does not fit into {wanted} ({reason}).{other}") from error


def writers(value: Any) -> Mapping[str, Writer]:
    """The formats of a value by their suffix, the most usual one first."""
    if isinstance(value, PurePath):
        return {ANY: _copy}
    if isinstance(value, bytes | bytearray | memoryview):
        return {ANY: lambda data, file: file.write(data)}
    if isinstance(value, str):
        return {".txt": lambda text, file: file.write(text.encode()), ".json": _write_json}
    for name, formats in _FORMATS.items():
        if is_of(value, *OURS[name]):
            return formats
    if isinstance(value, list | tuple):
        return {".json": _write_json, ".jsonl": _write_lines, ".csv": _write_rows}
    return {".json": _write_json}


def _as_arrow(value: Any) -> Any:
    import pyarrow as pa

    if is_of(value, *OURS["frame_pandas"]):
        return pa.Table.from_pandas(as_pandas(value), preserve_index=False)
    return as_polars(value).to_arrow() if is_of(value, *OURS["frame_polars"]) else as_arrow(value)


def _parquet(value: Any, file: BinaryIO) -> None:
    from pyarrow import parquet

    parquet.write_table(_as_arrow(value), file)


def _ipc(value: Any, file: BinaryIO) -> None:
    from pyarrow import ipc

    table = _as_arrow(value)
    with ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _arrow_csv(value: Any, file: BinaryIO) -> None:
    from pyarrow import csv as arrow_csv

    arrow_csv.write_csv(as_arrow(value), file)


_TABLE: dict[str, Writer] = {".parquet": _parquet, ".arrow": _ipc}
_JSON_OPTIONS: dict[str, Any] = {"orient": "records", "date_format": "iso", "force_ascii": False}


# -- arrays, images, files ----------------------------------------------------------------------------


def _npy(value: Any, file: BinaryIO) -> None:
    import numpy as np

    np.save(file, value, allow_pickle=False)


def _array_csv(value: Any, file: BinaryIO) -> None:
    if value.ndim > 2:
        raise ValueError(f"it has {value.ndim} dimensions")
    _csv(([*row] if value.ndim == 2 else [row] for row in value.tolist()), file)


def _image(form: str, mode: str = "") -> Writer:
    return lambda image, file: (image.convert(mode) if mode else image).save(file, form)


def _copy(path: Any, file: BinaryIO) -> None:
    with open(path, "rb") as source:
        shutil.copyfileobj(source, file)


# -- JSON ---------------------------------------------------------------------------------------------


def _write_json(value: Any, file: BinaryIO) -> None:
    file.write(_json(value, indent=2) + b"\n")


def _write_lines(value: Any, file: BinaryIO) -> None:
    file.writelines(_json(item) + b"\n" for item in value)


def _write_rows(value: Any, file: BinaryIO) -> None:
    """A list of dicts as CSV."""
    if not value or not all(isinstance(row, dict) for row in value):
        raise ValueError("only a list of dicts has columns")
    names = list(dict.fromkeys(itertools.chain.from_iterable(value)))
    _csv(itertools.chain([names], ([row.get(name) for name in names] for row in value)), file)


def _csv(rows: Iterator[list[Any]] | itertools.chain[list[Any]], file: BinaryIO) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    csv.writer(text).writerows(rows)
    text.detach()


def _json(value: Any, indent: int | None = None) -> bytes:
    return to_json(value, indent=indent, fallback=_in_full, bytes_mode="base64", inf_nan_mode="null")


def _in_full(value: Any) -> Any:
    """What JSON has no form for, in one that it has. Raises TypeError, which is told."""
    if is_of(value, "numpy", "generic", "ndarray"):
        return value.tolist()
    if is_of(value, *OURS["frame_pandas"]):
        return as_pandas(value).to_dict("records")
    if is_of(value, *OURS["frame_polars"]):
        return as_polars(value).to_dicts()
    if is_of(value, *OURS["arrow"]):
        return as_arrow(value).to_pylist()
    raise TypeError(f"a {kind(value)} in it has no form in JSON")


_FORMATS: dict[str, dict[str, Writer]] = {
    "frame_pandas": {
        ".csv": lambda value, file: as_pandas(value).to_csv(file, index=False),
        **_TABLE,
        ".json": lambda value, file: as_pandas(value).to_json(file, **_JSON_OPTIONS),
        ".jsonl": lambda value, file: as_pandas(value).to_json(file, lines=True, **_JSON_OPTIONS),
    },
    "frame_polars": {
        ".csv": lambda value, file: as_polars(value).write_csv(file),
        **_TABLE,
        ".json": lambda value, file: as_polars(value).write_json(file),
        ".jsonl": lambda value, file: as_polars(value).write_ndjson(file),
    },
    "arrow": {
        ".csv": _arrow_csv,
        **_TABLE,
        ".json": lambda value, file: _write_json(as_arrow(value).to_pylist(), file),
        ".jsonl": lambda value, file: _write_lines(as_arrow(value).to_pylist(), file),
    },
    "numpy_array": {
        ".npy": _npy,
        ".csv": _array_csv,
        ".json": _write_json,
    },
    "image": {
        ".png": _image("PNG"),
        ".jpg": _image("JPEG", "RGB"),
        ".jpeg": _image("JPEG", "RGB"),
    },
}
