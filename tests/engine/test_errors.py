"""The texts of errors, and that nothing of them is lost between processes."""

from __future__ import annotations

import copy
import pickle  # noqa: TID251 - only to see that errors survive it, as multiprocessing needs

import pytest

from exclusive_xcom import errors
from exclusive_xcom.address import Address

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
