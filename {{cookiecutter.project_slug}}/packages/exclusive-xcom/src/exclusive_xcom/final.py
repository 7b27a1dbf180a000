"""Failures that another try can't mend, as Airflow is told of them: the task fails at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from . import errors

# What is wrong in them now is wrong in the next try, too.
_FINAL = (
    errors.BadOption,
    errors.NotAReader,
    errors.AlreadyConsumed,
    errors.SecretInXCom,
    errors.NotEncrypted,
)


@contextmanager
def no_retry() -> Iterator[None]:
    """Let a wrong option, and a value that the task may not read or hand over, end a task for good."""
    try:
        yield
    except _FINAL as error:
        kind: Any = type(error)
        if kind not in _FINAL:
            raise
        raise _final(kind)(error.what, error.advice, address=error.address) from error.__cause__


@cache
def _final(kind: Any) -> Any:
    """A kind of error after which Airflow does not try again. It is handed on as what it is."""
    from airflow.sdk.exceptions import AirflowFailException

    class Final(kind, AirflowFailException):  # type: ignore[misc]
        __doc__ = f"A `{kind.__name__}` after which Airflow does not try again."

        def __reduce__(self) -> Any:
            return kind(self.what, self.advice, address=self.address).__reduce__()

    Final.__name__ = Final.__qualname__ = kind.__name__
    return Final
