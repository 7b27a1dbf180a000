"""The texts of errors, and that nothing of them is lost between processes."""

from __future__ import annotations

import copy
import pickle  # noqa: TID251 - only to see that errors survive it, as multiprocessing needs
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exclusive_xcom import Handle, errors
from exclusive_xcom.address import Address
from exclusive_xcom.reference import parse
from exclusive_xcom.store import store_of

ADDRESS = Address("orders", "run 1", "extract", 3, "frame")
CLASSES = [
    found
    for found in vars(errors).values()
    if isinstance(found, type) and issubclass(found, errors.XComError)
]


def test_the_text_says_what_happened_to_which_xcom_and_what_to_do() -> None:
    error = errors.PayloadMissing("The payload is gone", "Run the task again.")
    assert str(error) == "The payload is gone. Run the task again."
    with pytest.raises(errors.PayloadMissing) as caught, errors.about(ADDRESS):
        raise error
    assert str(caught.value) == (
        "The payload is gone (XCom 'frame' of orders.extract[3], run run 1). Run the task again."
    )


def test_without_advice_it_is_one_sentence() -> None:
    assert str(errors.XComError("It failed")) == "It failed."


def test_the_first_address_counts() -> None:
    with pytest.raises(errors.XComError) as caught, errors.about(Address("other", "run 2", "load")):
        raise errors.XComError("It failed", address=ADDRESS)
    assert caught.value.address == ADDRESS


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_errors_go_between_processes(cls: type[errors.XComError]) -> None:
    error = cls("It failed", "Do this.", address=ADDRESS)
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is cls
        assert (other.what, other.advice, other.address) == (error.what, error.advice, error.address)
        assert str(other) == str(error)


def test_one_except_catches_all_of_them() -> None:
    assert len(CLASSES) > 15
    for cls in CLASSES:
        with pytest.raises(errors.XComError):
            raise cls("It failed")


HOSTILE = "a\x1b[2J\x9b31m\nb\u202ec\ud800"


def test_nothing_of_a_row_reaches_a_terminal_as_it_is() -> None:
    """No escape sequence, no second line, no mark of direction."""
    address = replace(ADDRESS, run_id=HOSTILE, dag_id=HOSTILE)
    for text in (str(errors.BadReference(HOSTILE, HOSTILE, address=address)), str(address)):
        assert text.isprintable()
    row = {"$xcom": "3", "address": {"dag_id": "d", "run_id": "r", "task_id": "t"}, "codec": "structured/1"}
    row |= {"sha256": "0" * 64, "kind": HOSTILE, "summary": HOSTILE, "media_type": "x", "uri": HOSTILE}
    ref = parse(row)
    assert f"{ref.kind}{ref.summary}{Handle(ref, None)}".isprintable()  # type: ignore[arg-type]
    for wrong in (row | {"$xcom": HOSTILE}, row | {"must": [HOSTILE]}, row | {"sha256": HOSTILE}):
        with pytest.raises(errors.BadReference) as caught:
            parse(wrong)
        assert str(caught.value).isprintable()
    with pytest.raises(errors.BadReference) as caught:
        store_of(ref)
    assert str(caught.value).isprintable()


def test_text_of_many_letters_stays_as_it_is() -> None:
    text = "größe 数 😀 1,000 rows × 4 columns → “x”"
    assert errors.legible(text) == text
    assert errors.legible("one\n  two\tthree") == "one two three"


@given(st.text(" \t\n\r\x1c\x85\u2028a", max_size=12))
def test_a_break_and_the_blanks_around_it_become_one(text: str) -> None:
    joined = re.sub(r"\s*[\r\n\t\v\f]\s*", " ", text)
    assert errors.legible(text) == errors.legible(joined)
    assert "\n" not in errors.legible(text)


def test_many_blanks_are_read_once() -> None:
    """Of a forged row's summary, of which an error or a log tells."""
    assert errors.legible(" " * 2_000_000) == " " * 2_000_000
