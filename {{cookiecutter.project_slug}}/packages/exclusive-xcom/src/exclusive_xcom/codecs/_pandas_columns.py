"""Columns of pandas as Arrow arrays and back.

`plan` looks at a whole column and gives a note (JSON: how pandas had it) and a function that turns a slice
of it into an Arrow array. `restore` makes the column again from the note and the Arrow arrays of its slices.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import UnsupportedValue
from . import Options
from ._json import dumps, loads
from ._tables import alone, from_alone
from ._tagged import tag, untag

Note = dict[str, Any]
Cut = Callable[[Any], Any]  # a slice of the column's values → Arrow array

# pandas' own dtypes that it turns into Arrow and back itself → the arguments of their classes
_DTYPES: dict[str, Callable[[Any], list[Any]]] = {
    "ArrowDtype": lambda dtype: [],  # the array knows its type
    "StringDtype": lambda dtype: [dtype.storage, dtype.na_value],
    "PeriodDtype": lambda dtype: [str(dtype)],
    "IntervalDtype": lambda dtype: [str(dtype.subtype), dtype.closed],
    "BooleanDtype": lambda dtype: [],
    **{f"Float{bits}Dtype": lambda dtype: [] for bits in (32, 64)},
    **{f"{sign}Int{bits}Dtype": lambda dtype: [] for sign in ("", "U") for bits in (8, 16, 32, 64)},
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

    dtype: Any = values.dtype
    if isinstance(dtype, np.dtype):
        if dtype.kind == "O":
            return _plan_objects(values, options)
        if dtype.kind == "c" and dtype.itemsize <= 16:
            return _plan_json(dtype, options)
        if dtype.kind in "biufmM" and dtype.itemsize <= 8:
            native = dtype.newbyteorder("=")
            return {"as": "numpy", "dtype": dtype.str}, lambda v: pa.array(v.astype(native, copy=False))
    if isinstance(dtype, pd.DatetimeTZDtype):
        name = getattr(dtype.tz, "key", None) or getattr(dtype.tz, "zone", None) or "UTC"
        kind, moments = pa.timestamp(dtype.unit, name), f"M8[{dtype.unit}]"
        note = {"as": "numpy", "dtype": moments, "tz": tag(dtype.tz, options)}
        return note, lambda v: pa.array(np.asarray(v, moments), kind)
    if isinstance(dtype, pd.CategoricalDtype):
        note, cut = _plan_categories(values.categories, options, ordered=bool(values.ordered))
        return note | {"as": "category"}, lambda v: cut(v.codes)
    if (name := type(dtype).__name__) in _DTYPES:
        return {"as": name, "args": tag(_DTYPES[name](dtype), options)}, _to_arrow
    sparse = isinstance(dtype, pd.SparseDtype)
    advice = "Return column.sparse.to_dense()." if sparse else "Convert it with astype()."
    raise UnsupportedValue(f"The dtype is {dtype}", advice)


def _to_arrow(values: Any) -> Any:
    import pyarrow as pa

    array = pa.array(values)
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    # Periods and intervals get extension types that others would need pandas to read.
    return array.storage if getattr(array.type, "extension_name", "").startswith("pandas.") else array


def _plan_objects(values: Any, options: Options) -> tuple[Note, Cut]:
    """Text, bytes or dates, with one kind of missing value, become Arrow's own; other cells JSON text."""
    import pandas as pd
    import pyarrow as pa

    kinds = set(map(type, values))
    absent = {type(None): "None", type(pd.NA): "NA", float: "nan"}
    missing = [kind for kind in absent if kind in kinds]
    only = kinds - set(missing)
    no_numbers = float not in kinds or all(cell != cell for cell in values if type(cell) is float)
    if len(missing) > 1 or len(only) > 1 or not only <= _TEXT.keys() or not no_numbers:
        return _plan_json(values.dtype, options)
    name = _TEXT[only.pop()] if only else "text"
    arrow = {"text": pa.large_string(), "bytes": pa.large_binary(), "date": pa.date32()}[name]
    note = {"as": name, "missing": absent[missing[0]] if missing else "None"}
    return note, lambda v: pa.array(v, arrow, from_pandas=True)


def _plan_json(dtype: Any, options: Options) -> tuple[Note, Cut]:
    """What Arrow has no type for: each cell as JSON text."""
    import pyarrow as pa

    def cut(values: Any) -> Any:
        return pa.array(list(map(dumps, tag(values.tolist(), options))), pa.large_string())

    return {"as": "json", "dtype": dtype.str}, cut


def _plan_categories(categories: Any, options: Options, *, ordered: bool = False) -> tuple[Note, Cut]:
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
    kept: Note = {"index": note, "ordered": ordered}
    if pa.types.is_dictionary(dictionary.type) or pa.types.is_nested(dictionary.type):
        kept["data"], dictionary = alone([dictionary]), pa.array(list(map(str, categories)))
    return kept, lambda codes: pa.DictionaryArray.from_arrays(
        pa.array(codes, mask=codes < 0), dictionary, ordered=ordered
    )


def plan_index(index: Any, options: Options) -> tuple[Note, list[tuple[Any, Cut]]]:
    """A note of an index, and the columns that it needs: (values, how a slice of them becomes Arrow)."""
    import pandas as pd
    from pandas.tseries.frequencies import to_offset

    note: Note = {"names": tag(list(index.names), options)}
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

    names = untag(note["names"], options)
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
    return _restore_from(note["index"], from_alone(note["data"], options), options)


def _restore_from(note: Note, arrays: Sequence[Any], options: Options) -> Any:
    """An index of one whole Arrow array for each of its columns."""
    import numpy as np

    columns: list[Any] = [[array] for array in arrays]
    if (dtype := dense_dtype(note.get("values", {}))) is not None:
        columns = [np.array(arrays[0].to_numpy(zero_copy_only=False), dtype)]
    return restore_index(note, columns, options)


def _restore_codes(note: Note, found: Sequence[Any], options: Options) -> tuple[Any, Any]:
    """(codes, index) of a column of categories or a level."""
    import numpy as np

    codes = np.concatenate([array.indices.fill_null(-1).to_numpy() for array in found])
    if "data" in note:
        return codes, restore_alone(note, options)
    return codes, _restore_from(note["index"], [found[0].dictionary], options)


def dense_dtype(note: Note) -> Any:
    """The numpy dtype of a column whose slices are copied into one array as they are read; None otherwise."""
    import numpy as np

    return np.dtype(note["dtype"]) if note.get("as") == "numpy" else None


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
        if "tz" not in note:
            return found
        tz = untag(note["tz"], options)
        return pd.DatetimeIndex(found, copy=False).tz_localize("UTC").tz_convert(tz).array
    if how == "category":
        codes, categories = _restore_codes(note, found, options)
        return pd.Categorical.from_codes(codes, categories=categories, ordered=note["ordered"])
    whole = pa.chunked_array(found)
    if how in _DTYPES:
        made = (
            pd.ArrowDtype(whole.type)
            if how == "ArrowDtype"
            else getattr(pd, how)(*untag(note["args"], options))
        )
        return made.__from_arrow__(whole)
    cells: Any = whole.to_pylist()
    if how == "json":
        cells = untag(loads(f"[{','.join(cells)}]".encode()), options)
        return np.fromiter(cells, object, len(whole)).astype(note["dtype"], copy=False)
    cells = np.fromiter(cells, object, len(whole))
    if note["missing"] != "None":
        cells[[cell is None for cell in cells]] = {"NA": pd.NA, "nan": np.nan}[note["missing"]]
    return cells
