"""For whom an XCom is written, and which try of a task writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec

from .errors import legible

Id = str | None


@dataclass(frozen=True, slots=True)
class Address:
    """Whose XCom it is. `map_index` is -1 for a task that is not mapped."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: Annotated[int, msgspec.Meta(ge=-1)] = -1
    key: str = "return_value"

    @classmethod
    def of(cls, dag_id: Id, run_id: Id, task_id: Id, map_index: int | None, key: Id = None) -> Address:
        """The address that Airflow means, which leaves out what does not matter to it."""
        index = -1 if map_index is None else map_index
        return cls(dag_id or "", run_id or "", task_id or "", index, key or "return_value")

    def __str__(self) -> str:
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return legible(f"{self.key!r} of {self.dag_id}.{self.task_id}{index}, run {self.run_id}")


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which try writes. `ti_id`, the id of the task instance, is its identity and changes with every
    try; the number is for people. Outside a task both are empty: (0, "")."""

    try_number: Annotated[int, msgspec.Meta(ge=0)] = 0
    ti_id: str = ""


NOBODY = Attempt()
