"""Options of section [xcom]: where they come from, and what a wrong one is answered with."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from exclusive_xcom import config
from exclusive_xcom.errors import BadOption


@pytest.mark.parametrize(
    ("read", "found", "value"),
    [
        (lambda: options.text("test_me", "default"), " a text ", "a text"),
        (lambda: options.text("test_me", "default"), "", "default"),
        (lambda: options.text("test_me", "default"), "s3://bucket/a%20b/c", "s3://bucket/a%20b/c"),
        (lambda: options.integer("test_me", 5), "0", 0),
        (lambda: options.integer("test_me", 5), "1_000", 1000),
        (lambda: options.integer("test_me", 5), " ", 5),
        (lambda: options.number("test_me", 0.5), "2", 2.0),
        (lambda: options.flag("test_me", True), "False", False),
        (lambda: options.flag("test_me", False), "on", True),
        (lambda: options.choice("test_me", "arrow", ("arrow", "parquet")), "parquet", "parquet"),
    ],
)
def test_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[], object], found: str, value: object
) -> None:
    monkeypatch.setenv("AIRFLOW__XCOM__TEST_ME", found)
    assert read() == value
    assert type(read()) is type(value)


def test_not_set_is_the_default() -> None:
    assert options.text("test_me") == ""
    assert options.integer("test_me", 7) == 7
    assert options.number("test_me", 0.25) == 0.25
    assert options.flag("test_me", True) is True
    assert options.choice("test_me", "b", ("a", "b")) == "b"


@pytest.mark.parametrize(
    ("read", "found", "rule"),
    [
        (lambda: options.integer("test_me", 5), "many", "a whole number of at least 0"),
        (lambda: options.integer("test_me", 5), "1.5", "a whole number of at least 0"),
        (lambda: options.integer("test_me", 5), "-1", "a whole number of at least 0"),
        (lambda: options.integer("test_me", 5, minimum=1024), "1023", "a whole number of at least 1024"),
        (lambda: options.number("test_me", 5), "nan", "a number of at least 0.0"),
        (lambda: options.number("test_me", 5), "inf", "a number of at least 0.0"),
        (lambda: options.number("test_me", 5), "soon", "a number of at least 0.0"),
        (lambda: options.flag("test_me", True), "maybe", "true or false"),
        (lambda: options.choice("test_me", "a", ("a", "b")), "c", "a or b"),
    ],
)
def test_a_wrong_one_is_named(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[], object], found: str, rule: str
) -> None:
    monkeypatch.setenv("AIRFLOW__XCOM__TEST_ME", found)
    with pytest.raises(BadOption) as caught:
        read()
    assert str(caught.value) == (
        f"Option AIRFLOW__XCOM__TEST_ME is {found!r}, but must be {rule}. "
        "Correct it in config/airflow.env or in the environment."
    )
