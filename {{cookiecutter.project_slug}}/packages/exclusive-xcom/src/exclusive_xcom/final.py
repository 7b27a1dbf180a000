"""Failures that another try can't mend, as Airflow is told of them: the task fails at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from . import errors


@contextmanager
def no_retry() -> Iterator[None]:
    """Let a `BadOption` end a task for good: an option that is wrong now is wrong in the next try, too."""
    try:
        yield
    except errors.BadOption as error:
        from airflow.sdk.exceptions import AirflowFailException

        class BadOption(errors.BadOption, AirflowFailException):
            """A `BadOption` after which Airflow does not try again."""

            def __reduce__(self) -> tuple[object, ...]:
                return errors.BadOption(self.what, self.advice, address=self.address).__reduce__()

        raise BadOption(error.what, error.advice, address=error.address) from error.__cause__
