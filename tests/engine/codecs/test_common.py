"""What is said when decoding fails: what a person has to do depends on why."""

from __future__ import annotations

import errno

import pyarrow as pa
import pytest

from exclusive_xcom.codecs.common import readable
from exclusive_xcom.errors import PayloadUnreadable


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "too little memory.*more memory"),
        (pa.ArrowMemoryError("malloc of size 12 failed"), "too little memory.*more memory"),
        (ImportError("No module named 'x'"), "No module named 'x'.*Install it where this task runs"),
        (OSError(errno.ENOSPC, "x"), "No space left on device.*disk"),
        (OSError("Invalid parquet file"), "Invalid parquet file.*another version"),
        (ValueError("x"), r"ValueError: x.*another version"),
    ],
)
def test_the_reason_and_what_to_do(error: Exception, said: str) -> None:
    with pytest.raises(PayloadUnreadable, match=said), readable("a table"):
        raise error
