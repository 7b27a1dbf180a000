"""What every task's process imports at its first push or pull is imported before it is forked, once for all.

Airflow's executors fork a process for each task, from one that has imported the backend and no more. In it a
library for Redis would take a tenth of a second each time. Who does not fork does not import it any earlier.
"""

from __future__ import annotations

import importlib
import logging
import os

log = logging.getLogger(__name__)
_wanted: dict[str, None] = {}


def shared(*modules: str) -> None:
    """Import these, in this order, just before this process forks, unless it has imported them by then."""
    _wanted.update(dict.fromkeys(modules))


def _import() -> None:
    """What fails here fails again where it is needed, and is told there."""
    while _wanted:
        name = next(iter(_wanted))
        del _wanted[name]  # before it is imported, which may fork
        try:
            importlib.import_module(name)
        except Exception as error:
            log.debug("%s can't be imported before a fork: %s: %s", name, type(error).__name__, error)


os.register_at_fork(before=_import)
