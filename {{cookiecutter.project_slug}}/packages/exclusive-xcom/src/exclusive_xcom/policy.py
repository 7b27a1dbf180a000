"""Airflow's own way into every task that it loads: the policy that gives tasks the engine's hooks (hooks.py).

Airflow imports this by the entry point `airflow.policy` while it initialises. So nothing of Airflow may be
imported here: every command would break.
"""

from __future__ import annotations

from typing import Any

import pluggy

from . import forks

forks.shared(f"{__package__}.hooks")
_policy = pluggy.HookimplMarker("airflow.policy")


@_policy(trylast=True)
def task_policy(task: Any) -> None:
    """A task was loaded. The owner's own policies come first, and see it as its DAG made it."""
    from . import hooks

    hooks.give_to(task)
