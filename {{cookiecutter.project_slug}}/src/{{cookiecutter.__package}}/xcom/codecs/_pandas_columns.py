"""Columns of pandas as Arrow arrays and back: one function each way for every kind of dtype.

`plan` looks at a whole column and gives a note (JSON: how pandas had it) and a function that turns a slice
of it into an Arrow array. `restore` makes the column again from the note and the Arrow arrays of its slices.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import UnsupportedValue
from . import Options
from ._json import dumps, exact, loads
from ._tables import alone, from_alone
from ._tagged import Tagger, Untagger

Note = dict[str, Any]
Cut = Callable[[Any], Any]  # a slice of the column's values → Arrow array

_MASKED = {f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)} | {
    "Float32",
    "Float64",
    "boolean",
}
_TEXT = {str: "text", bytes: "bytes", dt.date: "date"}


def values_of(column: Any) -> Any:
    """The values of a Series or Index: an ndarray for numpy's dtypes, otherwise pandas' own array."""
    import numpy as np

    return column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array


def plan(values: Any, options: Options) -> tuple[Note, Cut]:
    """How a column becomes Arrow.

    Raises:
        UnsupportedValue: it would not come back exactly.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    dtype = values.dtype
    if isinstance(dtype, np.dtype):
        if dtype.kind == "O":
            return _plan_objects(values, options)
        if dtype.kind == "c" and dtype.itemsize <= 16:
            half = dtype.newbyteorder("=").char.replace("F", "f").replace("D", "d")
            native = dtype.newbyteorder("=")
            return {"as": "complex", "dtype": dtype.str}, lambda v: pa.FixedSizeListArray.from_arrays(
                pa.array(np.ascontiguousarray(v, native).view(half)), 2
            )
        if dtype.kind in "biufmM" and dtype.itemsize <= 8:
            native = dtype.newbyteorder("=")
            return {"as": "numpy", "dtype": dtype.str}, lambda v: pa.array(v.astype(native, copy=False))
    if isinstance(dtype, pd.DatetimeTZDtype):
        tz = Tagger(options, parts=False).run(dtype.tz)
        name = getattr(dtype.tz, "key", None) or getattr(dtype.tz, "zone", None) or "UTC"
        kind = pa.timestamp(dtype.unit, name)
        moments = f"M8[{dtype.unit}]"
        return {"as": "zoned", "dtype": moments, "tz": tz}, lambda v: pa.array(np.asarray(v, moments), kind)
    if isinstance(dtype, pd.PeriodDtype):
        return {"as": "period", "dtype": str(dtype)}, lambda v: pa.array(v.asi8, mask=v.isna())
    if isinstance(dtype, pd.CategoricalDtype):
        note, cut = _plan_categories(values.categories, options)
        note |= {"as": "category", "ordered": values.ordered}
        return note, lambda v: cut(v.codes)
    if isinstance(dtype, pd.IntervalDtype):
        return _plan_intervals(values, options)
    if isinstance(dtype, pd.StringDtype):
        missing = "NA" if dtype.na_value is pd.NA else "nan"
        return {"as": "string", "storage": dtype.storage, "missing": missing}, lambda v: _whole(
            pa.array(v, pa.large_string())
        )
    if isinstance(dtype, pd.ArrowDtype):
        return {"as": "arrow"}, lambda v: _whole(pa.array(v))
    if dtype.name in _MASKED:
        return {"as": "masked", "dtype": dtype.name}, pa.array
    advice = (
        "Return column.sparse.to_dense()."
        if isinstance(dtype, pd.SparseDtype)
        else "Convert it with astype()."
    )
    raise UnsupportedValue(f"The dtype is {dtype}", advice)


def _whole(array: Any) -> Any:
    """One array of a slice of a chunked one."""
    import pyarrow as pa

    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _plan_intervals(values: Any, options: Options) -> tuple[Note, Cut]:
    import pyarrow as pa

    left, cut_left = plan(values_of(values.left), options)
    right, cut_right = plan(values_of(values.right), options)
    return {
        "as": "interval",
        "left": left,
        "right": right,
        "closed": values.closed,
    }, lambda v: pa.StructArray.from_arrays(
        [cut_left(values_of(v.left)), cut_right(values_of(v.right))], ["left", "right"]
    )


def _plan_objects(values: Any, options: Options) -> tuple[Note, Cut]:
    """Text, bytes or dates, with one kind of missing value, become Arrow's own; other cells JSON text."""
    import pandas as pd
    import pyarrow as pa

    kinds = set(map(type, values))
    absent = {type(None): "None", type(pd.NA): "NA", float: "nan"}
    missing = [kind for kind in absent if kind in kinds]
    only = kinds - set(missing)
    no_numbers = float not in kinds or all(cell != cell for cell in values if type(cell) is float)
    if len(missing) <= 1 and len(only) <= 1 and only <= _TEXT.keys() and no_numbers:
        name = _TEXT[only.pop()] if only else "text"
        arrow = {"text": pa.large_string(), "bytes": pa.large_binary(), "date": pa.date32()}[name]
        note = {"as": name, "missing": absent[missing[0]] if missing else "None"}
        return note, lambda v: pa.array(v, arrow, from_pandas=True)
    if exact(list(values)):
        return {"as": "json"}, lambda v: pa.array(list(map(dumps, v)), pa.large_string())

    def cut(v: Any) -> Any:
        cells = (Tagger(options, parts=False, careful=True).run(cell) for cell in v)
        return pa.array(list(map(dumps, cells)), pa.large_string())

    return {"as": "json", "tagged": True}, cut


def _plan_categories(categories: Any, options: Options) -> tuple[Note, Cut]:
    """Codes into some index, as an Arrow dictionary with a note on that index.

    Intervals and categories can't be in a dictionary, or no other tool would read it: the note holds them,
    and the dictionary their names.
    """
    import pandas as pd
    import pyarrow as pa

    note, columns = plan_index(categories, options)
    if isinstance(categories, pd.RangeIndex):
        dictionary = pa.array(categories.to_numpy())
    else:
        ((values, cut_values),) = columns
        dictionary = cut_values(values)
    kept: Note = {"index": note}
    if pa.types.is_dictionary(dictionary.type) or pa.types.is_nested(dictionary.type):
        kept["data"], dictionary = alone([dictionary]), pa.array(list(map(str, categories)))
    return kept, lambda codes: pa.DictionaryArray.from_arrays(
        pa.array(codes, mask=codes < 0), dictionary, ordered=bool(kept.get("ordered"))
    )


def plan_index(index: Any, options: Options) -> tuple[Note, list[tuple[Any, Cut]]]:
    """A note of an index, and the columns that it needs: (values, how a slice of them becomes Arrow)."""
    import pandas as pd
    from pandas.tseries.frequencies import to_offset

    note: Note = {"names": Tagger(options, parts=False, careful=True).run(list(index.names))}
    if isinstance(index, pd.RangeIndex):
        return note | {"range": [index.start, index.stop, index.step]}, []
    if isinstance(index, pd.MultiIndex):
        plans = [_plan_categories(level, options) for level in index.levels]
        columns = [(codes, cut) for codes, (_, cut) in zip(index.codes, plans, strict=True)]
        return note | {"levels": [level for level, _ in plans]}, columns
    values = values_of(index)
    note["values"], cut = plan(values, options)
    if isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)) and index.freq is not None:
        note["freq"] = index.freqstr
        if to_offset(index.freqstr) != index.freq:
            raise UnsupportedValue(f"The index has the frequency {index.freq!r}", "Set index.freq = None.")
    return note, [(values, cut)]


def plan_alone(index: Any, options: Options) -> Note:
    """An index as JSON with its values in it."""
    note, columns = plan_index(index, options)
    return {"index": note, "data": alone([cut(values) for values, cut in columns])}


def restore_index(note: Note, found: Sequence[Any], options: Options) -> Any:
    """The index, from its note and its columns in the form that `restore` wants."""
    import pandas as pd

    names = Untagger(options, part=no_part).run(note["names"])
    if "range" in note:
        return pd.RangeIndex(*note["range"], name=names[0])
    if "levels" in note:
        pairs = [
            _restore_codes(level, codes, options) for level, codes in zip(note["levels"], found, strict=True)
        ]
        return pd.MultiIndex([level for _, level in pairs], [codes for codes, _ in pairs], names=names)
    values = restore(note["values"], found[0], options)
    index = pd.Index(values, dtype=values.dtype, copy=False)
    if "freq" in note:
        index = type(index)(index, freq=note["freq"])
    index.names = names
    return index


def restore_alone(note: Note, options: Options) -> Any:
    """The index that `plan_alone` made JSON of."""
    columns = [[array] for array in from_alone(note["data"], options)]
    if "values" in note["index"]:
        columns = [_read(note["index"]["values"], columns[0])]
    return restore_index(note["index"], columns, options)


def _restore_codes(note: Note, found: Sequence[Any], options: Options) -> tuple[Any, Any]:
    """(codes, index) of a column of categories or a level."""
    import numpy as np

    codes = np.concatenate([array.indices.fill_null(-1).to_numpy() for array in found])
    if "data" in note:
        return codes, restore_alone(note, options)
    index = note["index"]
    columns = [_read(index["values"], [found[0].dictionary])] if "values" in index else []
    return codes, restore_index(index, columns, options)


def dense_dtype(note: Note) -> Any:
    """The numpy dtype of a column whose slices are copied into one array as they are read; None otherwise."""
    import numpy as np

    return np.dtype(note["dtype"]) if note.get("as") in ("numpy", "zoned") else None


def restore(note: Note, found: Any, options: Options) -> Any:
    """The column's values.

    Args:
        note: from `plan`.
        found: the dense array if the note has a `dense_dtype`, otherwise Arrow arrays, at least one.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    how = note["as"]
    if how == "numpy":
        return found
    if how == "zoned":
        tz = Untagger(options, part=no_part).run(note["tz"])
        return pd.DatetimeIndex(found, copy=False).tz_localize("UTC").tz_convert(tz).array
    if how == "category":
        codes, categories = _restore_codes(note, found, options)
        return pd.Categorical.from_codes(codes, categories=categories, ordered=note["ordered"])
    if how == "interval":
        left, right = (
            restore(note[side], _read(note[side], [c.field(side) for c in found]), options)
            for side in ("left", "right")
        )
        return pd.arrays.IntervalArray.from_arrays(left, right, closed=note["closed"])
    if how == "complex":
        return (
            np.concatenate([c.flatten().to_numpy() for c in found])
            .view(note["dtype"][1:])
            .astype(note["dtype"])
        )
    whole = pa.chunked_array(found)
    if how == "period":
        ordinals = whole.fill_null(pd.NaT.value).to_numpy()
        return pd.arrays.PeriodArray(np.array(ordinals), dtype=pd.PeriodDtype(note["dtype"]))
    if how == "string":
        missing = [np.nan] if note["missing"] == "nan" and note["storage"] != "pyarrow_numpy" else []
        return pd.StringDtype(note["storage"], *missing).__from_arrow__(whole)
    if how == "arrow":
        return pd.arrays.ArrowExtensionArray(whole)
    if how == "masked":
        return pd.array([], dtype=note["dtype"]).dtype.__from_arrow__(whole)
    if how == "json":
        untag = Untagger(options, part=no_part).run if note.get("tagged") else lambda cell: cell
        return np.fromiter((untag(loads(text.encode())) for text in whole.to_pylist()), object, len(whole))
    cells: Any = np.fromiter(whole.to_pylist(), object, len(whole))
    if note["missing"] != "None":
        cells[[cell is None for cell in cells]] = {"NA": pd.NA, "nan": np.nan}[note["missing"]]
    return cells


def _read(note: Note, arrays: Sequence[Any]) -> Any:
    """Arrow arrays in the form that `restore` wants for this note."""
    import numpy as np

    dtype = dense_dtype(note)
    if dtype is None:
        return arrays
    return np.concatenate([array.to_numpy(zero_copy_only=False) for array in arrays]).astype(
        dtype, copy=False
    )


def no_part(number: int) -> Any:
    raise ValueError("a cell refers to a part of a container")
