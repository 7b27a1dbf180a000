"""For whom an XCom is written, and which try of a task writes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from .errors import legible

Id = str | None

# Airflow's scheduler reads this key straight from the row (branching, short circuits): it stays plain.
SCHEDULER_KEYS = frozenset({"skipmixin_key"})


@dataclass(frozen=True, slots=True)
class Address:
    """Whose XCom it is. `map_index` is -1 for a task that is not mapped.

    Where Airflow runs a task several times in a run (3.4), `region` is the id of the loop or of the mapped
    task's turn in it, and `turn` counts the turns of a task that is not mapped, from 0. Who asks for an XCom
    does not name them: Airflow knows which turn is meant. So they are no part of what addresses are compared
    by; an `Attempt` tells the turns apart.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: Annotated[int, msgspec.Meta(ge=-1)] = -1
    key: str = "return_value"
    region: str = field(default="", compare=False)
    turn: Annotated[int, msgspec.Meta(ge=-1)] = field(default=-1, compare=False)

    @classmethod
    def of(cls, dag_id: Id, run_id: Id, task_id: Id, map_index: int | None, key: Id = None) -> Address:
        """The address that Airflow means, which leaves out what does not matter to it."""
        index = -1 if map_index is None else map_index
        return cls(dag_id or "", run_id or "", task_id or "", index, key or "return_value")

    def __str__(self) -> str:
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        turn = f", turn {self.turn + 1}" if self.turn >= 0 else ""
        return legible(f"{self.key!r} of {self.dag_id}.{self.task_id}{index}, run {self.run_id}{turn}")


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which try writes. `ti_id`, the id of the task instance, is its identity and changes with every
    try and every turn of a loop; the number is for people. Outside a task both are empty: (0, "")."""

    try_number: Annotated[int, msgspec.Meta(ge=0)] = 0
    ti_id: str = ""


NOBODY = Attempt()
