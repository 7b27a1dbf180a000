"""Which references answer a question: that of one XCom, and those of several map indexes."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.contextvars import bound_contextvars

from exclusive_xcom import errors
from exclusive_xcom.address import Address
from exclusive_xcom.binding import Question
from exclusive_xcom.db import DbXComBackend

ASKED = Address("orders", "run 1", "extract", -1, "value")
OTHERS = [
    replace(ASKED, dag_id="other"),
    replace(ASKED, run_id="run 2"),
    replace(ASKED, task_id="other"),
    replace(ASKED, map_index=0),
    replace(ASKED, key="other"),
]


def row(address: Address) -> Any:
    """A row that was pushed for an address."""
    names = ("dag_id", "run_id", "task_id", "map_index", "key")
    return DbXComBackend.serialize_value((1,), **{name: getattr(address, name) for name in names})


def indexes(*found: int | None) -> list[Any]:
    """Rows of a mapped task, or plain ones."""
    return ["plain" if index is None else row(replace(ASKED, map_index=index)) for index in found]


def test_the_one_that_was_asked_for() -> None:
    found = Question(ASKED).reference(row(ASKED))
    assert found is not None and found.address == ASKED
    assert Question(ASKED).reference("plain") is None


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_another_one_is_refused_and_both_are_named(other: Address) -> None:
    with pytest.raises(errors.MisplacedReference) as caught:
        Question(ASKED).reference(row(other))
    assert str(caught.value) == (
        f"The row does not belong to this XCom: it refers to {other} (XCom {ASKED}). It was moved, copied or "
        "changed by hand or by another program; nothing was read or deleted. Run the task that pushed it "
        "again. To hand one XCom's value on as another, pull it in a task and push it there."
    )


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_open_is_only_what_airflow_leaves_open(other: Address) -> None:
    query = {"dag_id": "orders", "run_id": "run 1", "task_id": "extract", "key": "value"}
    for question, is_open in (
        (Question.of({**query, "include_prior_dates": True}), other.run_id != ASKED.run_id),
        (Question.of(query, several=True), other.map_index != ASKED.map_index),
    ):
        if is_open:
            assert question.reference(row(other)) is not None
        else:
            with pytest.raises(errors.MisplacedReference):
                question.reference(row(other))


@pytest.mark.parametrize(
    "found", [(), (-1,), (0, 1, 2), (0, 2, 7), (None, 0), (None, 1, None, 3, None), (3,)]
)
def test_indexes_that_ascend(found: tuple[int | None, ...]) -> None:
    rows = indexes(*found)
    refs = Question(ASKED, any_index=True).references(rows)
    assert [ref and ref.address.map_index for ref in refs] == list(found)


@pytest.mark.parametrize(
    "found", [(0, 0), (1, 0), (0, 2, 1), (0, None, 1), (-1, None, 0), (None, None, 0), (0, None, 0)]
)
def test_indexes_that_do_not(found: tuple[int | None, ...]) -> None:
    """Each row has one, also that of a plain value, which does not tell it."""
    with pytest.raises(errors.MisplacedReference, match=rf"Row \d of the sequence .*\(XCom {ASKED}\)"):
        Question(ASKED, any_index=True).references(indexes(*found))


def test_indexes_repeat_only_from_run_to_run() -> None:
    question = Question(ASKED, any_run=True, any_index=True)
    one, two = (row(replace(ASKED, map_index=0, run_id=f"run {n}")) for n in (1, 2))
    later = row(replace(ASKED, map_index=1))
    assert len(question.references([one, "plain", two, later])) == 4
    for wrong in ([one, two, one], [later, one]):
        with pytest.raises(errors.MisplacedReference):
            question.references(wrong)


def test_a_bare_row_is_read_outside_of_tasks_only() -> None:
    bare = SimpleNamespace(value=row(ASKED))
    assert DbXComBackend.deserialize_value(bare) == (1,)
    with bound_contextvars(ti_id="019a2c3e-0000-7000-8000-000000000000", try_number=1):
        with pytest.raises(errors.MisplacedReference, match=r"without a question.*ti\.xcom_pull"):
            DbXComBackend.deserialize_value(bare)
        assert DbXComBackend.deserialize_value(SimpleNamespace(value="plain")) == "plain"


def test_a_bare_purge_deletes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        DbXComBackend.purge(SimpleNamespace(value=row(ASKED)))
    assert "was left behind: It is not known whose XCom goes." in caplog.text
