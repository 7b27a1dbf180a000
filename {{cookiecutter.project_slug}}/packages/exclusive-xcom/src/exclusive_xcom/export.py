"""A value for a person: a short view of it by its kind, and the file formats in which it can be written.

Libraries are those that the value itself proves to be imported. None is loaded for what is not there.
"""

from __future__ import annotations

import csv
import io
import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from pydantic_core import PydanticSerializationError, to_json

from .codecs import OURS, is_of, kind_word
from .errors import one
from .handle import human_size

Writer = Callable[[Any, BinaryIO], object]

ANY = "*"  # among the suffixes of a value: its bytes are a file already, of whatever suffix
ROWS, LINES, COLUMNS, WIDTH = 10, 40, 12, 200  # what a view shows at most; WIDTH in characters


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


def kind(value: Any) -> str:
    """What a person calls a value: "pandas DataFrame", "image", "list"."""
    for name, word in (("frame_pandas", "pandas"), ("frame_polars", "polars"), ("arrow", "Arrow")):
        if is_of(value, *OURS[name]):
            return f"{word} {type(value).__name__}"
    if is_of(value, *OURS["image"]):
        return "image"
    return "file" if isinstance(value, PurePath) else kind_word(value)


def view(value: Any) -> str:
    """A value in a few lines of text: the head of a frame with its types, the beginning of JSON, the size of
    what is no text. May hold control characters of the value."""
    if frame := _head(value):
        return "\n".join(_aligned(*frame))
    if is_of(value, *OURS["image"]):
        return f"{value.width} × {value.height} pixels, {value.mode}"
    if is_of(value, *OURS["numpy_array"]):
        return f"{value.dtype}, {' × '.join(map(str, value.shape)) or 'one value'}\n{_array(value)}"
    if isinstance(value, PurePath):
        return f"{value.name}, {human_size(Path(value).stat().st_size)}"
    if isinstance(value, bytes | bytearray | memoryview):
        return human_size(len(value))
    if isinstance(value, str):
        return _cut(value)
    try:
        return _cut(to_json(value, indent=2, fallback=_in_short, bytes_mode="base64").decode())
    except (PydanticSerializationError, ValueError):
        return _cut(repr(value))


# -- frames -------------------------------------------------------------------------------------------

Head = tuple[list[str], list[str], list[list[str]], str]  # names, types, rows, and how much there is


def _head(value: Any) -> Head | None:
    """The beginning of a frame or table; None for all else."""
    if is_of(value, *OURS["frame_pandas"]):
        frame = _pandas(getattr(value, "iloc", value)[:ROWS])  # a range may be longer than memory
        names, types = [str(name) for name in frame.columns], [str(each) for each in frame.dtypes]
        rows: Iterator[Any] = frame.itertuples(index=False, name=None)
        height = len(value)
    elif is_of(value, *OURS["frame_polars"]):
        frame = _polars(value)
        names, types = list(frame.columns), [str(each) for each in frame.dtypes]
        rows, height = iter(frame.head(ROWS).rows()), frame.height
    elif is_of(value, *OURS["arrow"]):
        frame = _arrow(value)
        names, types = list(frame.column_names), [str(field.type) for field in frame.schema]
        columns = [column.to_pylist() for column in frame.slice(0, ROWS).columns]
        rows, height = zip(*columns, strict=True), frame.num_rows
    else:
        return None
    shown = [[_short(str(cell), 40) for cell in row[:COLUMNS]] for row in rows]
    size = f"{height:,} rows × {len(names):,} columns"
    left = [f"{height - ROWS:,} more rows"] if height > ROWS else []
    left += [f"{len(names) - COLUMNS:,} more columns"] if len(names) > COLUMNS else []
    return names[:COLUMNS], types[:COLUMNS], shown, " and ".join(left) or size


def _aligned(names: list[str], types: list[str], rows: list[list[str]], left: str) -> list[str]:
    grid = [[_short(name, 40) for name in names], types, *rows]
    # What is of no width on a terminal does not matter here: it is replaced before it gets there.
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in grid]
    lines.insert(2, "  ".join("-" * width for width in widths))
    ending = f"… {left}" if "more" in left else left
    return [*(line.rstrip() for line in lines), ending]


def _pandas(value: Any) -> Any:
    """A pandas DataFrame of a frame, series or index: an index that says something is a column."""
    import pandas as pd

    frame = value if isinstance(value, pd.DataFrame) else value.to_frame()
    plain = (isinstance(frame.index, pd.RangeIndex) and frame.index.name is None) or isinstance(
        value, pd.Index
    )
    return frame if plain else frame.reset_index(allow_duplicates=True)


def _polars(value: Any) -> Any:
    import polars as pl

    if isinstance(value, pl.LazyFrame):
        return value.collect()
    return value.to_frame() if isinstance(value, pl.Series) else value


def _arrow(value: Any) -> Any:
    import pyarrow as pa

    if isinstance(value, pa.RecordBatch):
        return pa.Table.from_batches([value])
    return value if isinstance(value, pa.Table) else pa.table({"value": value})


def _as_arrow(value: Any) -> Any:
    import pyarrow as pa

    if is_of(value, *OURS["frame_pandas"]):
        return pa.Table.from_pandas(_pandas(value), preserve_index=False)
    return _polars(value).to_arrow() if is_of(value, *OURS["frame_polars"]) else _arrow(value)


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

    arrow_csv.write_csv(_arrow(value), file)


_TABLE: dict[str, Writer] = {".parquet": _parquet, ".arrow": _ipc}
_JSON_OPTIONS: dict[str, Any] = {"orient": "records", "date_format": "iso", "force_ascii": False}


# -- arrays, images, files ----------------------------------------------------------------------------


def _array(value: Any) -> str:
    import numpy as np

    return np.array2string(value, threshold=200, edgeitems=3, max_line_width=100)


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
        return _pandas(value).to_dict("records")
    if is_of(value, *OURS["frame_polars"]):
        return _polars(value).to_dicts()
    if is_of(value, *OURS["arrow"]):
        return _arrow(value).to_pylist()
    raise TypeError(f"a {kind(value)} in it has no form in JSON")


def _in_short(value: Any) -> str:
    """What JSON has no form for, as a view shows it."""
    frame = _head(value)
    return f"<{kind(value)}, {len(value):,} rows>" if frame else _short(str(value), 60)


def _short(text: str, width: int = WIDTH) -> str:
    text = text.replace("\n", "⏎")
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _cut(text: str) -> str:
    """The beginning of a text, and how much more there is."""
    lines = text.splitlines() or [""]
    shown = [_short(line) for line in lines[:LINES]]
    if len(lines) > LINES:
        shown.append(f"… {len(lines) - LINES:,} more lines")
    return "\n".join(shown)


_FORMATS: dict[str, dict[str, Writer]] = {
    "frame_pandas": {
        ".csv": lambda value, file: _pandas(value).to_csv(file, index=False),
        **_TABLE,
        ".json": lambda value, file: _pandas(value).to_json(file, **_JSON_OPTIONS),
        ".jsonl": lambda value, file: _pandas(value).to_json(file, lines=True, **_JSON_OPTIONS),
    },
    "frame_polars": {
        ".csv": lambda value, file: _polars(value).write_csv(file),
        **_TABLE,
        ".json": lambda value, file: _polars(value).write_json(file),
        ".jsonl": lambda value, file: _polars(value).write_ndjson(file),
    },
    "arrow": {
        ".csv": _arrow_csv,
        **_TABLE,
        ".json": lambda value, file: _write_json(_arrow(value).to_pylist(), file),
        ".jsonl": lambda value, file: _write_lines(_arrow(value).to_pylist(), file),
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
