"""Gives the logs of tasks that `xcom run` ran to Airflow's UI, which looks for a file for each try.

`dag.test()` makes no such files: all that is printed while it runs goes to standard output, which is one file
for each pipeline (worker.py). What one try printed is copied out of it.

Imports Airflow, so `environment.activate()` comes first.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from airflow.sdk.log import init_log_file
from airflow.utils.helpers import log_filename_template_renderer


class TaskLogs:
    """The log of the try that runs."""

    def __init__(self) -> None:
        self._begun: tuple[Path, int] | None = None
        self._name = log_filename_template_renderer()

    def begin(self, task: Any) -> None:
        """From here on what is printed belongs to this task instance's try."""
        self.end()
        self._begun = init_log_file(self._name(ti=task, try_number=task.try_number)), _printed()

    def end(self) -> None:
        """The try is over, and its log complete."""
        if self._begun:
            path, start = self._begun
            self._begun = None
            with path.open("ab") as log:  # a deferred try goes on in its file
                log.write(os.pread(1, _printed() - start, start))


def _printed() -> int:
    """Bytes that were printed so far into this pipeline's file."""
    sys.stdout.flush()
    sys.stderr.flush()
    return os.lseek(1, 0, os.SEEK_CUR)
