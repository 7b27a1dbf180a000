"""A list that tasks are mapped over (`expand(x=upstream())`): each of them fetches its own item alone.

Airflow pulls the whole list for each of these tasks, takes its length and one item, and drops it. So where it
looks up what a task is mapped over, and nowhere else, a pull gives a sequence that fetches an item when it is
asked for one. Nobody but Airflow's own code sees it: a task gets the item, or by any other pull a real list.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from .reference import Reference

_HERE = __name__.rpartition(".")[0]
# Where Airflow looks up what a task is mapped over, and by which ways it asks for that. Wherever it has moved
# this, whole lists are pulled, as without us.
_LOOKING_UP = ("airflow.sdk.definitions._internal.expandinput", "resolve")
_WAYS = (
    "airflow.sdk.execution_time.task_runner",
    "airflow.sdk.definitions.xcom_arg",
    _LOOKING_UP[0],
    "contextlib",  # our own functions run within some contexts
)


@dataclass(frozen=True)
class Items(Sequence[Any]):
    """A stored list.

    Attributes:
        item: fetches and decodes that of a number.
        whole: the list itself, for whatever else is asked.
    """

    length: int
    item: Callable[[int], Any]
    whole: Callable[[], list[Any]]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, key: Any) -> Any:
        if type(key) is not int:
            return self.whole()[key]
        number = key + self.length if key < 0 else key
        if not 0 <= number < self.length:
            raise IndexError("list index out of range")
        return self.item(number)


def length_of(ref: Reference) -> int:
    """How many items can be fetched alone of what a reference refers to; 0 if none can."""
    length = ref.meta.get("items") if ref.codec.startswith(("items/", "parts/")) else 0
    return length if type(length) is int else 0


def is_looked_up() -> bool:
    """Whether Airflow asks for what a task is mapped over. Then only its own code stands between us and the
    place where it does: no function that a DAG gave to `map()`, and no task."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if (module, frame.f_code.co_name) == _LOOKING_UP:
            return True
        if module.partition(".")[0] != _HERE and module not in _WAYS:
            return False
        frame = frame.f_back
    return False
