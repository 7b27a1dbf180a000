"""Hands tasks to workers with an older Airflow than the scheduler's, as while many machines are updated."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from airflow.executors.base_executor import BaseExecutor
from same_session import InSession


class OlderWorker(InSession, BaseExecutor):
    """One process for each task, started as executors do that have it started on another machine.

    In a run called "newer-push", the task "push" gets a worker with the scheduler's own Airflow.
    """

    supports_task_instance_uuid = True

    def start(self) -> None:
        """Nobody works yet."""
        self._workers: dict[Any, subprocess.Popen[bytes]] = {}

    def _process_workloads(self, workload_items: Any) -> None:
        for workload in workload_items:
            key = self.get_workload_key(workload)
            self.executor_queues[workload.type].pop(key)
            self.running.add(key)
            module = "airflow.sdk.execution_time.execute_workload"
            said = workload.model_dump_json()
            # A worker does not reach the database, and has no driver for it.
            environment = {**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite://"}
            is_newer = workload.ti.run_id == f"newer-{workload.ti.task_id}"
            python = sys.executable if is_newer else os.environ["OLDER_PYTHON"]
            self._workers[key] = subprocess.Popen(
                [python, "-m", module, "--json-string", said], env=environment
            )

    def sync(self) -> None:
        """Tell the scheduler who has ended."""
        for key, worker in list(self._workers.items()):
            if (code := worker.poll()) is not None:
                del self._workers[key]
                (self.fail if code else self.success)(key)

    def end(self) -> None:
        """Whoever stops the scheduler ends its whole session."""

    terminate = end
