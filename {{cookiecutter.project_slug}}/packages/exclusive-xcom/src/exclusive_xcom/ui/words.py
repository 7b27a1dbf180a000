"""Sizes, times and commands as the pages write them."""

from __future__ import annotations

import shlex
from datetime import datetime

from ..address import Address
from ..handle import human_size

size = human_size


def when(time: datetime) -> str:
    """ "2026-01-02 03:04:05 UTC"."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def left(time: datetime, now: datetime) -> str:
    """How long until a time: "in 3 days", "in 5 hours", "12 days ago"."""
    seconds = (time - now).total_seconds()
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if (number := int(abs(seconds) // length)) or unit == "second":
            text = f"{number:,} {unit}{'' if number == 1 else 's'}"
            return f"in {text}" if seconds >= 0 else f"{text} ago"
    raise AssertionError("a second is the last")


def command(address: Address) -> str:
    """The command that shows an XCom in a terminal."""
    parts = ["xcom", "show", address.dag_id, address.task_id]
    parts += [address.key] if address.key != "return_value" else []
    parts += ["--run", address.run_id]
    parts += ["--map-index", str(address.map_index)] if address.map_index >= 0 else []
    # What begins with a dash would be an option.
    if any(part.startswith("-") for part in parts[2 : 5 if address.key != "return_value" else 4]):
        return ""
    return shlex.join(parts)
