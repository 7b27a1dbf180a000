"""Notes beside a payload that name a kind of a later release: refused in words, not taken for the nearest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from exclusive_xcom import errors
from exclusive_xcom.testing.codec_contract import decode, encode

CASES: dict[str, tuple[Any, dict[str, str]]] = {
    "of Arrow": (pa.array([1]), {"shape": "Scalar"}),
    "of pandas": (pd.Series([1]), {"shape": "MultiSeries"}),
    "of polars": (pl.Series([1]), {"shape": "Array"}),
    "of bytes": (b"x", {"type": "memoryview"}),
    "of objects": ({"a": 1}, {"form": "folded"}),
    "of a container": ({"a": np.zeros(3)}, {"form": "folded"}),
}


@pytest.mark.parametrize(("value", "notes"), CASES.values(), ids=CASES.keys())
def test_what_is_not_known_is_refused(value: Any, notes: dict[str, str]) -> None:
    payload = encode(value)
    assert payload.meta.keys() >= notes.keys()
    with pytest.raises(errors.PayloadUnreadable, match="which this release does not know"):
        decode(replace(payload, meta=payload.meta | notes))
