"""What is told of the engine's work: fields for a line in the log, and Airflow's own metrics.

Airflow sends these to StatsD or OpenTelemetry, if it was told to ([metrics]). Who reads the log as JSON finds
the fields in `xcom`. Neither ever holds a value, and no failure here fails a push or a pull.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from structlog.contextvars import bound_contextvars

from .address import Address

log = logging.getLogger(__name__)
_fields_too = True

#: Every metric that is sent, and what kind of metric it is.
METRICS: Mapping[str, str] = {
    "xcom.push.bytes": "counter",
    "xcom.push.duration": "timer",
    "xcom.pull.bytes": "counter",
    "xcom.pull.duration": "timer",
    "xcom.purged": "counter",
    "xcom.refused": "counter",
    "xcom.missing": "counter",
    "xcom.corrupt": "counter",
    "xcom.failed": "counter",
    "xcom.collected": "counter",
    "xcom.collected.bytes": "counter",
}


def line(
    logger: logging.Logger,
    level: int,
    text: str,
    *args: object,
    fields: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Log a line with fields. Airflow adds to a line what is bound in structlog's context meanwhile; what a
    record of Python's own logging has as `extra` it leaves out."""
    if logger.isEnabledFor(level):
        known = {name: value for name, value in fields.items() if value not in (None, "")}
        with bound_contextvars(xcom=known) if _fields_too else nullcontext():
            logger.log(level, text, *args, extra=extra, stacklevel=2)


def only_lines() -> None:
    """From now on this process logs lines without their fields: a person reads them as text, where the fields
    would say everything a second time."""
    global _fields_too
    _fields_too = False


def place(address: Address) -> dict[str, Any]:
    """The fields that say whose an XCom is."""
    names = ("dag_id", "run_id", "task_id", "map_index", "key")
    return {name: getattr(address, name) for name in names}


def count(name: str, number: int = 1, **tags: str) -> None:
    """Add to a counter. The name is one of `METRICS`; empty tags are left out."""
    try:
        from airflow.sdk.observability import stats

        stats.incr(name, number, tags=_tags(tags))
    except Exception as error:
        _complain(f"{type(error).__name__}: {error}")


def timing(name: str, seconds: float, **tags: str) -> None:
    """Tell a timer how long something took. It gets milliseconds, as all of Airflow's."""
    try:
        from airflow.sdk.observability import stats

        stats.timing(name, seconds * 1000, tags=_tags(tags))
    except Exception as error:
        _complain(f"{type(error).__name__}: {error}")


def _tags(tags: dict[str, str]) -> dict[str, str]:
    return {name: _word(value) for name, value in tags.items() if value}


@functools.lru_cache(1024)
def _word(text: str) -> str:
    """As every receiver takes it: StatsD's line has a meaning for blanks, commas, colons and more."""
    return "several" if ", " in text else re.sub(r"[^\w.-]+", "_", text).strip("_")


@functools.lru_cache(16)
def _complain(what: str) -> None:
    """Once for each trouble."""
    log.warning("Airflow's metrics do not work, so XComs are not in them: %s", what)
