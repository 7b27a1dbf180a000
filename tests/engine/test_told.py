"""Why a returned value could not be pushed stands in the task's log where a person sees it."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time import comms, task_runner
from airflow.sdk.execution_time.context import set_current_context
from structlog.contextvars import bound_contextvars

from exclusive_xcom.db import DbXComBackend
from exclusive_xcom.errors import UnsupportedValue

WHOSE: dict[str, Any] = {"dag_id": "orders", "run_id": "run 1", "task_id": "extract", "map_index": -1}
TI = "019a2c3e-0000-7000-8000-000000000001"


@pytest.fixture(autouse=True)
def supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    """One to whom every try is the current one."""
    all_right = SimpleNamespace(send=lambda msg: comms.OKResponse(ok=True))
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", all_right, raising=False)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Level and text of what was logged."""
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def refused() -> str:
    """The text of the error of a push that can't be."""
    with pytest.raises(UnsupportedValue) as caught:
        DbXComBackend.set("return_value", object(), **WHOSE)
    return str(caught.value)


def test_of_a_returned_value(caplog: pytest.LogCaptureFixture) -> None:
    """Outside of the group that Airflow has opened by then, and once."""
    caplog.set_level(logging.INFO)
    with bound_contextvars(ti_id=TI, try_number=1):
        text = refused()
    assert lines(caplog) == [("INFO", "::endgroup::"), ("ERROR", text)]


def test_what_the_tasks_own_code_pushes_is_its_own_business(caplog: pytest.LogCaptureFixture) -> None:
    """It may catch the error, which is a line of its own then; and what it does not catch is in no group."""
    caplog.set_level(logging.INFO)
    ti: Any = SimpleNamespace(try_number=1, id=TI, region_id=None, region_index=None, **WHOSE)
    with bound_contextvars(ti_id=TI, try_number=1), set_current_context({"ti": ti}):  # type: ignore[typeddict-item]
        text = refused()
    assert lines(caplog) == [("INFO", f"XCom push failed: {text}")]


def test_of_what_went_well_nothing_is_told_but_that(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with bound_contextvars(ti_id=TI, try_number=1):
        DbXComBackend.set("return_value", (1, 2), **WHOSE)
    assert [text[:11] for _, text in lines(caplog)] == ["XCom pushed"]
