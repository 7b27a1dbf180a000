"""Executors that do not close the scheduler's database session, for pre-releases whose own ones do.

The scheduler of 3.4.0b1 and b2 holds a lost task in a session, has its executor send a callback for it, and
then gives its try up. `DatabaseCallbackSink.send` opens a session, gets the same one (they are one for each
thread), and closes it. So the old try's row is not changed any more, the next try's collides with it, and the
scheduler ends with an IntegrityError. Here the callback goes into that session and the scheduler commits it.
"""

from __future__ import annotations

from typing import Any

from airflow import settings
from airflow.executors.local_executor import LocalExecutor


class InSession:
    """What an executor has to do otherwise."""

    callback_sink: Any

    def send_callback(self, request: Any) -> None:
        """Add a callback to the session that is open, which is the scheduler's."""
        assert settings.Session is not None
        self.callback_sink.send(request, session=settings.Session())


class Local(InSession, LocalExecutor):
    """Airflow's own local executor but for that."""
