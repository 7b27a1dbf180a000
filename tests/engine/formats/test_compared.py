"""What plain Airflow makes of a value, and we: each row of the tables in docs/values.md is tried."""

from __future__ import annotations

from collections.abc import Iterator

import compared
import pytest


@pytest.fixture(autouse=True)
def allowed() -> Iterator[None]:
    """Classes of a project's own are, with both."""
    with compared.prepared():
        yield


def rows(of: list[tuple[str, str, str]]) -> pytest.MarkDecorator:
    """One test for each row."""
    return pytest.mark.parametrize(("words", "code", "look"), of, ids=[code for _, code, _ in of])


@rows(compared.CHANGED)
def test_what_plain_airflow_changes_is_exact(words: str, code: str, look: str) -> None:
    assert compared.outcome(compared.AIRFLOW, code, look)[0] == "changed"
    assert compared.outcome(compared.OURS, code)[0] == "same"
    assert not compared.told(code)


@rows(compared.REFUSED)
def test_what_plain_airflow_refuses_is_exact(words: str, code: str, look: str) -> None:
    assert compared.outcome(compared.AIRFLOW, code)[0] in ("refused", "lost")
    assert compared.outcome(compared.OURS, code)[0] == "same"
    assert not compared.told(code)


@rows(compared.PLAIN)
def test_what_becomes_plain_is_told(words: str, code: str, look: str) -> None:
    assert compared.outcome(compared.OURS, code, look)[0] == "changed"
    assert len(compared.told(code)) == 1


@rows(compared.SAME)
def test_what_both_carry(words: str, code: str, look: str) -> None:
    assert compared.outcome(compared.AIRFLOW, code)[0] == "same"
    assert compared.outcome(compared.OURS, code)[0] == "same"


def test_the_chapter_has_the_tables() -> None:
    """`make compared` writes them."""
    assert compared.written() == compared.tables()
