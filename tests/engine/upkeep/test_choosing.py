"""Which XComs options choose."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from exclusive_xcom.console import Refused
from exclusive_xcom.upkeep.choosing import Selection, matches, seconds, size

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_times_and_sizes() -> None:
    assert [seconds(text) for text in ("90s", "2m", "12h", "7d")] == [90, 120, 43200, 604800]
    assert [size(text) for text in ("0", "512", "1.5kB", "10MB", "1 GB")] == [0, 512, 1500, 10**7, 10**9]


@pytest.mark.parametrize("text", ["", "12", "h", "-1h", "1w", "run", "never", "1h\n", "٣h"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(Refused, match="is no time"):
        seconds(text)


@pytest.mark.parametrize("text", ["", "kB", "-1", "1e9", "1XB", "1\n", "٣kB", "9" * 99])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(Refused, match="is no size"):
        size(text)


def test_names_and_patterns() -> None:
    assert matches(None, "x") and matches("a*", "ab") and not matches("A*", "ab")
    assert matches("odd[name", "odd[name") and matches("[1]", "[1]"), "a name stands for itself"
    assert Selection("orders", "manual__1").exact == ("orders", "manual__1")
    assert Selection("or*", "latest").exact == (None, None)


def test_ages() -> None:
    chosen = Selection.of(None, None, "t*", None, "1h", "1d", "1kB")
    for age, taken in ((60, False), (7200, True), (2 * 86400, False)):
        assert chosen.takes("task", "key", NOW - timedelta(seconds=age), NOW) is taken
    assert not chosen.takes("other", "key", NOW - timedelta(hours=2), NOW)
    assert chosen.takes_size(1001) and not chosen.takes_size(1000)
