"""Reads section [xcom] of Airflow's configuration: typed, checked, with errors that name the option.

An option `max_size` is `AIRFLOW__XCOM__MAX_SIZE` in the environment or `max_size` below `[xcom]` in
airflow.cfg. config/airflow.env lists them all. Options are read when they are needed, never at import.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

from .errors import BadOption

SECTION = "xcom"


def text(name: str, default: str = "") -> str:
    """The option as text; an empty one counts as not set."""
    set_here = f"AIRFLOW__{SECTION}__{name}".upper() in os.environ
    return (_configured(name) if set_here else _elsewhere(name)) or default


def _configured(name: str) -> str:
    # Airflow imports the backend while it is importing itself.
    from airflow.sdk.configuration import conf

    return str(conf.get(SECTION, name, fallback=None) or "").strip()


@functools.cache
def _elsewhere(name: str) -> str:
    """The option in airflow.cfg, which this process has read once. Looking there takes 30 µs."""
    return _configured(name)


def integer(name: str, default: int, *, minimum: int = 0) -> int:
    """The option as a whole number of at least `minimum`. Raises `BadOption`."""
    found = text(name, str(default))
    try:
        value = int(found)
    except ValueError:
        value = minimum - 1
    if value < minimum:
        raise _bad(name, found, f"a whole number of at least {minimum}")
    return value


def number(name: str, default: float, *, minimum: float = 0.0) -> float:
    """The option as a number of at least `minimum`. Raises `BadOption`."""
    found = text(name, str(default))
    try:
        value = float(found)
    except ValueError:
        value = float("nan")
    if not minimum <= value < float("inf"):
        raise _bad(name, found, f"a number of at least {minimum}")
    return value


def flag(name: str, default: bool) -> bool:
    """The option as true or false. Raises `BadOption`."""
    found = text(name, str(default)).lower()
    if found in ("true", "1", "yes", "on", "t"):
        return True
    if found in ("false", "0", "no", "off", "f"):
        return False
    raise _bad(name, found, "true or false")


def choice(name: str, default: str, allowed: Sequence[str]) -> str:
    """The option as one of `allowed`. Raises `BadOption`."""
    found = text(name, default)
    if found not in allowed:
        raise _bad(name, found, " or ".join(allowed))
    return found


def _bad(name: str, found: str, rule: str) -> BadOption:
    return BadOption(
        f"Option AIRFLOW__XCOM__{name.upper()} is {found!r}, but must be {rule}",
        "Correct it in config/airflow.env or in the environment.",
    )
