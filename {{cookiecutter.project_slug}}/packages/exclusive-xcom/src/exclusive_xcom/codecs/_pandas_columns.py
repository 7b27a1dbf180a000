"""Columns and indexes of pandas as Arrow arrays and back.

`plan` looks at a whole column and gives a note (JSON: how pandas had it) and a function that turns a slice
of it into an Arrow array. `restore` makes the column again from the note and the Arrow arrays of its slices.
Each kind of column is one class that does both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.tseries.frequencies import to_offset

from ..errors import PayloadUnreadable, UnsupportedValue
from . import Options
from ._arrow_types import alike
from ._ipc import alone, from_alone
from ._kinds import known_kind, zone
from ._pandas_objects import Arrays, Cells, Cut, Note, Objects, Plan, dtype_of, is_text, texts_of
from ._tagged import tag, untag
from .common import check_decoded

_LONGEST = 300  # characters of a dtype's name: pandas' patterns try each of many blanks anew


def values_of(column: Any) -> Any:
    """The values of a Series or Index: an ndarray for numpy's dtypes, otherwise pandas' own array."""
    return column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array


def plan(values: Any, options: Options) -> Plan:
    """How a column becomes Arrow. Raises `UnsupportedValue` if it would not come back exactly."""
    for name, kind in _KINDS.items():
        if (planned := kind.plan(values, options)) is not None:
            note, cut = planned
            return {"as": name, **note}, cut
    dtype = values.dtype
    advice = 'Convert it with astype("float64").' if dtype.kind == "f" else "Convert it with astype(str)."
    advice = 'Convert it with astype("complex128").' if dtype.kind == "c" else advice
    if isinstance(dtype, pd.SparseDtype):
        advice = "Return column.sparse.to_dense(), in place of an index numpy.asarray(index)."
    raise UnsupportedValue(f"The dtype is {dtype}", advice)


def restore(note: Note, found: Any, options: Options) -> Any:
    """The values of a column with this note, of its dense array (see `dense_dtype`) or its Arrow arrays, of
    which there is at least one."""
    return known_kind(_KINDS, note["as"]).restore(note, found, options)


def dense_dtype(note: Note) -> Any:
    """The numpy dtype of a column whose slices are copied into one array as they are read; None otherwise."""
    return dtype_of(note["dense"], "biufmM", 8) if "dense" in note else None


def check_type(note: Note, field: Any) -> None:
    """Raise `PayloadUnreadable` unless `plan` makes Arrow arrays of this field's type for this note: others
    would be unfolded into more than they claim."""
    if not _fits(note, field.type):
        raise PayloadUnreadable(f"The payload's column {field.name!r} is {field.type}, which we do not write")


def _fits(note: Note, kind: Any) -> bool:
    return bool(known_kind(_KINDS, note["as"]).fits(note, kind)) if "as" in note else _codes_fit(note, kind)


def objects_of(note: Note, column: Any) -> int:
    """Bytes of the Python objects that `restore` makes of an Arrow array, at most."""
    kind = known_kind(_KINDS, note.get("as", "category"))
    return int(kind.objects(note, column)) if hasattr(kind, "objects") else 0


def shared_objects(note: Note, column: Any) -> int:
    """Bytes of the Python objects that `restore` makes of the dictionary of an Arrow array."""
    index = note.get("index", {})
    return objects_of(index["values"], column.dictionary) if "values" in index and "data" not in note else 0


def arrow_of(cut: Cut, values: Any) -> Any:
    """The Arrow array of some values. Raises `UnsupportedValue`."""
    try:
        return cut(values)
    except UnsupportedValue:
        raise
    except UnicodeEncodeError as error:
        what = f"There is half of a surrogate pair in {error.object[:50]!r}, which is no Unicode text"
        raise UnsupportedValue(what, 'Replace it: text.encode("utf-8", "replace").decode().') from error
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        what = f"It can't be turned into Arrow ({error})"[:300]
        raise UnsupportedValue(what, "Convert it with astype(str).") from error


class _Dense:
    """Numbers, booleans and moments of numpy's dtypes, and moments in a time zone."""

    def plan(self, values: Any, options: Options) -> Plan | None:
        dtype = values.dtype
        if isinstance(dtype, pd.DatetimeTZDtype):
            name = getattr(dtype.tz, "key", None) or getattr(dtype.tz, "zone", None) or "UTC"
            kind, moments = pa.timestamp(dtype.unit, name), f"M8[{dtype.unit}]"
            try:
                note = {"dense": moments, "tz": tag(dtype.tz, options)}
            except UnsupportedValue as error:
                advice = 'Convert it with tz_convert("UTC"), a column with dt.tz_convert("UTC").'
                raise UnsupportedValue(error.what, advice) from error
            return note, lambda v: pa.array(np.asarray(v, moments), kind)
        if not isinstance(dtype, np.dtype) or dtype.kind not in "biufmM" or dtype.itemsize > 8:
            return None
        native = dtype.newbyteorder("=")
        return {"dense": dtype.str}, lambda v: pa.array(v.astype(native, copy=False))

    def fits(self, note: Note, kind: Any) -> bool:
        dtype = dense_dtype(note).newbyteorder("=")
        if "tz" in note:
            return bool(pa.types.is_timestamp(kind) and kind.tz and f"M8[{kind.unit}]" == note["dense"])
        return bool(kind == pa.array(np.empty(0, dtype)).type)

    def restore(self, note: Note, found: Any, options: Options) -> Any:
        if "tz" not in note:
            return found
        tz = zone(untag(note["tz"], options))
        return pd.DatetimeIndex(found, copy=False).tz_localize("UTC").tz_convert(tz).array


class _Categories:
    """Categories, as Arrow's dictionaries."""

    def plan(self, values: Any, options: Options) -> Plan | None:
        if not isinstance(values.dtype, pd.CategoricalDtype):
            return None
        note, cut = _plan_codes(values.categories, options, ordered=bool(values.ordered))
        return note, lambda v: cut(v.codes)

    def fits(self, note: Note, kind: Any) -> bool:
        return _codes_fit(note, kind)

    def restore(self, note: Note, found: Any, options: Options) -> Any:
        codes, categories = _restore_codes(note, found, options)
        return pd.Categorical.from_codes(codes, categories=categories, ordered=note["ordered"])


class _Extension:
    """pandas' own dtypes that it turns into Arrow and back itself."""

    def plan(self, values: Any, options: Options) -> Plan | None:
        dtype, name = values.dtype, type(values.dtype).__name__
        if getattr(pd, name, None) is not type(dtype) or not hasattr(dtype, "__from_arrow__"):
            return None
        of: Any = str(dtype)
        if isinstance(dtype, pd.StringDtype):
            of = tag([dtype.storage, dtype.na_value], options)
        elif isinstance(getattr(dtype, "subtype", None), pd.DatetimeTZDtype):
            try:
                of = [dtype.subtype.unit, tag(dtype.subtype.tz, options), dtype.closed]
            except UnsupportedValue as error:
                advice = (
                    "Make it again of its ends: pandas.arrays.IntervalArray.from_arrays("
                    'a.left.tz_convert("UTC"), a.right.tz_convert("UTC"), a.closed), where a is column.array.'
                )
                raise UnsupportedValue(error.what, advice) from error
        return {"dtype": name, "of": of}, _cut

    def fits(self, note: Note, kind: Any) -> bool:
        cls, dtype = self._dtype(note)
        if dtype is None:
            return True
        return is_text(kind) if cls is pd.StringDtype else alike(kind, _cut(pd.array([], dtype)).type)

    def objects(self, note: Note, column: Any) -> int:
        return texts_of(column) if note["dtype"] == "StringDtype" and "python" in note["of"] else 0

    def restore(self, note: Note, found: Any, options: Options) -> Any:
        cls, dtype = self._dtype(note)
        if dtype is None:
            whole = pa.chunked_array(found)
            return cls(whole.type).__from_arrow__(whole)
        if isinstance(dtype, pd.IntervalDtype) and not sum(map(len, found)):
            return pd.array([], dtype)  # pandas' own way fails without rows in a zone
        if not isinstance(dtype, pd.Float32Dtype | pd.Float64Dtype):
            return dtype.__from_arrow__(pa.chunked_array(found))
        mask = np.concatenate([array.is_null().to_numpy(zero_copy_only=False) for array in found])
        numbers = np.concatenate([array.fill_null(1).to_numpy(zero_copy_only=False) for array in found])
        return pd.arrays.FloatingArray(numbers, mask)

    @staticmethod
    def _dtype(note: Note) -> tuple[Any, Any]:
        """The class of the dtype of a note, and the dtype; None for those that Arrow's types are."""
        if len(note["of"]) > _LONGEST:
            raise PayloadUnreadable("The payload has a dtype of a longer name than we write")
        cls = getattr(pd, note["dtype"])
        if not issubclass(cls, pd.api.extensions.ExtensionDtype):
            raise ValueError(f"{cls} is no dtype")
        if cls is pd.StringDtype:
            return cls, cls(*(untag(part, Options()) for part in note["of"]))
        if isinstance(note["of"], list):  # of intervals between moments in a zone
            unit, tz, closed = (untag(part, Options()) for part in note["of"])
            return cls, pd.IntervalDtype(pd.DatetimeTZDtype(unit, zone(tz)), closed)
        return cls, None if cls is pd.ArrowDtype else cls.construct_from_string(note["of"])


def _cut(values: Any) -> Any:
    if isinstance(values, pd.arrays.FloatingArray):  # pandas' own way makes NA of NaN
        return pa.array(values._data, mask=values._mask)
    array = pa.array(values)
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    # Periods and intervals get extension types that others would need pandas to read.
    return array.storage if getattr(array.type, "extension_name", "").startswith("pandas.") else array


_KINDS: dict[str, Any] = {  # in the order in which they are asked
    "dense": _Dense(),
    "category": _Categories(),
    "extension": _Extension(),
    "objects": Objects(),
    "arrays": Arrays(),
    "json": Cells(),
}


def _plan_codes(categories: Any, options: Options, *, ordered: bool = False) -> Plan:
    """Codes into some index, as an Arrow dictionary with a note on that index.

    Intervals and categories can't be in a dictionary, or no other tool would read it: the note holds them,
    and the dictionary their names.
    """
    note, columns = plan_index(categories, options)
    of_a_range = [(categories.to_numpy(), pa.array)] if isinstance(categories, pd.RangeIndex) else []
    ((values, cut_values),) = columns or of_a_range
    dictionary = arrow_of(cut_values, values)
    kept: Note = {"index": note, "ordered": ordered}
    if pa.types.is_dictionary(dictionary.type) or pa.types.is_nested(dictionary.type):
        kept["data"], dictionary = alone([dictionary]), pa.array(list(map(str, categories)))
    # polars looks at the codes of missing values, too.
    return kept, lambda codes: pa.DictionaryArray.from_arrays(
        pa.array(np.maximum(codes, 0), mask=codes < 0), dictionary, ordered=ordered
    )


def _codes_fit(note: Note, kind: Any) -> bool:
    """Whether a type is what `_plan_codes` makes."""
    if not pa.types.is_dictionary(kind):
        return False
    if "data" in note:
        return bool(kind.value_type == pa.string())
    index = note["index"]
    return (
        bool(kind.value_type == pa.int64()) if "range" in index else _fits(index["values"], kind.value_type)
    )


def _restore_codes(note: Note, found: Sequence[Any], options: Options) -> tuple[Any, Any]:
    """(codes, index) of a column of categories or a level."""
    codes = np.concatenate([array.indices.fill_null(-1).to_numpy() for array in found])
    if "data" in note:
        return codes, restore_alone(note, options)
    if "range" in note["index"] and len(range(*note["index"]["range"])) != len(found[0].dictionary):
        raise PayloadUnreadable("The payload has a range of categories that is not in its dictionary")
    return codes, _restore_from(note["index"], [found[0].dictionary], options)


def plan_index(index: Any, options: Options) -> tuple[Note, list[tuple[Any, Cut]]]:
    """A note of an index, and the columns that it needs: (values, how a slice of them becomes Arrow)."""
    note: Note = {"names": tag(list(index.names), options)}
    if isinstance(index, pd.RangeIndex):
        return note | {"range": [index.start, index.stop, index.step]}, []
    if isinstance(index, pd.MultiIndex):
        plans = [_plan_codes(level, options) for level in index.levels]
        columns = [(codes, cut) for codes, (_, cut) in zip(index.codes, plans, strict=True)]
        return note | {"levels": [level for level, _ in plans]}, columns
    values = values_of(index)
    note["values"], cut = plan(values, options)
    if getattr(index, "freq", None) is not None and "dense" in note["values"]:
        with contextlib.suppress(ValueError):  # of words that pandas itself does not read
            if to_offset(index.freqstr) == index.freq:
                note["freq"] = index.freqstr
        if "freq" not in note:
            raise UnsupportedValue(
                f"The index has the frequency {index.freq!r}", "Set its freq to None: index.freq = None."
            )
    return note, [(values, cut)]


def restore_index(note: Note, found: Sequence[Any], options: Options) -> Any:
    """The index, from its note and its columns in the form that `restore` wants."""
    names = untag(note["names"], options)
    if "range" in note:
        return pd.RangeIndex(*note["range"], name=names[0])
    if "levels" in note:
        pairs = zip(note["levels"], found, strict=True)
        codes, levels = zip(*[_restore_codes(level, column, options) for level, column in pairs], strict=True)
        return pd.MultiIndex(levels, codes, names=names)
    values = restore(note["values"], found[0], options)
    index = pd.Index(values, dtype=values.dtype, copy=False)
    if "freq" in note:
        index = type(index)(index, freq=note["freq"])
    index.names = names
    return index


def plan_alone(index: Any, options: Options) -> Note:
    """An index as JSON with its values in it."""
    note, columns = plan_index(index, options)
    return {"index": note, "data": alone([arrow_of(cut, values) for values, cut in columns])}


def restore_alone(note: Note, options: Options) -> Any:
    """The index that `plan_alone` made JSON of."""
    return _restore_from(note["index"], from_alone(note["data"], options), options)


def _restore_from(note: Note, arrays: Sequence[Any], options: Options) -> Any:
    """An index of one whole Arrow array for each of its columns."""
    columns: list[Any] = [[array] for array in arrays]
    kinds = [note["values"]] if "values" in note else note.get("levels", [])
    for kind, array in zip(kinds, arrays, strict=False):
        check_type(kind, pa.field("index", array.type))
    check_decoded(sum(map(objects_of, kinds, arrays)) + sum(map(shared_objects, kinds, arrays)), options)
    if (dtype := dense_dtype(note.get("values", {}))) is not None:
        columns = [np.array(arrays[0].to_numpy(zero_copy_only=False), dtype)]
    return restore_index(note, columns, options)
