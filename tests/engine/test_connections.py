"""A connection that is there, one that is not, and one that nobody can read."""

from __future__ import annotations

import pytest

from exclusive_xcom.connections import connection
from exclusive_xcom.errors import StoreMisconfigured

EXAMPLE = "redis://user:password@host:6379/0"


def test_one_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHELF", "redis://:a%2Fb@host:6379/0")
    assert connection("shelf", EXAMPLE).password == "a/b"


@pytest.mark.parametrize(
    "text",
    [
        "redis://:cor/rect@host:6379/0",
        "redis://h:70000/0",
        '{"conn_type": "redis", ',
        '{"conn_type": "redis", "nonsense": "cor/rect"}',
        "cor/rect",
    ],
)
def test_one_that_is_malformed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Airflow says of it that it isn't defined, which it is."""
    monkeypatch.setenv("AIRFLOW_CONN_SHELF", text)
    with pytest.raises(
        StoreMisconfigured, match=r"'shelf' in AIRFLOW_CONN_SHELF is malformed.*%2F"
    ) as caught:
        connection("shelf", EXAMPLE)
    assert "cor" not in str(caught.value)


def test_one_that_is_not_there() -> None:
    with pytest.raises(StoreMisconfigured, match=f"into connections.env: AIRFLOW_CONN_NOWHERE={EXAMPLE}"):
        connection("nowhere", EXAMPLE)
