"""Which XComs a command is about: the options that several commands have, and what they mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Annotated

import typer

from ..console import Refused

LATEST = "latest"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES = {"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
_FILTERS = "Which"


def seconds(text: str) -> float:
    """The length of a time as "12h" or "30d". Raises `Refused`."""
    from ..config import KEPT  # which takes time to import

    found = KEPT.fullmatch(text)
    if found is None or not found[1]:
        raise Refused(f"{text!r} is no time. Write it as 90s, 30m, 12h or 7d.")
    return int(found[1]) * _UNITS[found[2]]


def size(text: str) -> int:
    """A number of bytes, as "10MB". Raises `Refused`."""
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?) ?([kKMGT]?B?)", text, re.ASCII)
    if found is None or (unit := found[2].upper()) not in _SIZES:
        raise Refused(f"{text!r} is no size. Write it as 512, 100kB, 10MB or 1.5GB.")
    return int(float(found[1]) * _SIZES[unit])


Dag = Annotated[str | None, typer.Argument(metavar="DAG", help="Its id, or a pattern: 'orders*'.")]
OneDag = Annotated[str, typer.Argument(metavar="DAG", help="Its id.")]
OneTask = Annotated[str, typer.Argument(metavar="TASK", help="Its id.")]
OneKey = Annotated[str, typer.Argument(metavar="KEY", help="What it pushed it as.")]
OneRun = Annotated[str | None, typer.Option("--run", help="Of which run; else the latest that has it.")]
Index = Annotated[int | None, typer.Option("--map-index", min=-1, help="Which one of a mapped task.")]
Run = Annotated[
    str | None,
    typer.Option("--run", help="Its id, a pattern, or `latest`.", rich_help_panel=_FILTERS),
]
Task = Annotated[str | None, typer.Option("--task", help="Its id, or a pattern.", rich_help_panel=_FILTERS)]
Key = Annotated[
    str | None, typer.Option("--key", help="Of the XCom, or a pattern.", rich_help_panel=_FILTERS)
]
Older = Annotated[
    str | None,
    typer.Option(
        "--older", metavar="TIME", help="Pushed longer ago than that: 12h, 30d.", rich_help_panel=_FILTERS
    ),
]
Newer = Annotated[
    str | None,
    typer.Option("--newer", metavar="TIME", help="Pushed since then: 12h, 30d.", rich_help_panel=_FILTERS),
]
Larger = Annotated[
    str | None,
    typer.Option("--larger", metavar="SIZE", help="Of more bytes: 100kB, 10MB.", rich_help_panel=_FILTERS),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, for programs.")]


@dataclass(frozen=True)
class Selection:
    """Which XComs. A part that is None is any.

    Attributes:
        dag, run, task, key: ids or patterns as of file names; capitals count. `run` may be "latest": of each
            DAG that.
        older, newer: than so many seconds.
        larger: than so many bytes.
    """

    dag: str | None = None
    run: str | None = None
    task: str | None = None
    key: str | None = None
    older: float | None = None
    newer: float | None = None
    larger: int | None = None

    @classmethod
    def of(
        cls,
        dag: str | None,
        run: str | None,
        task: str | None,
        key: str | None,
        older: str | None = None,
        newer: str | None = None,
        larger: str | None = None,
    ) -> Selection:
        """What a person wrote. Raises `Refused`."""
        least, most = (None if text is None else seconds(text) for text in (older, newer))
        return cls(dag, run, task, key, least, most, None if larger is None else size(larger))

    @property
    def exact(self) -> tuple[str | None, str | None]:
        """The ids of DAG and run, as far as just one is meant: those can be asked for."""
        run = None if self.run == LATEST else self.run
        return one(self.dag), one(run)

    def takes_run(self, dag_id: str, run_id: str) -> bool:
        """Whether XComs of a run may be meant. `latest` is for who lists runs."""
        return matches(self.dag, dag_id) and (self.run == LATEST or matches(self.run, run_id))

    def takes(self, task_id: str, key: str, written: datetime, now: datetime) -> bool:
        """Whether an XCom of such a run is meant, but for its size."""
        age = (now - written).total_seconds()
        old_enough = self.older is None or age > self.older
        new_enough = self.newer is None or age < self.newer
        return matches(self.task, task_id) and matches(self.key, key) and old_enough and new_enough

    def takes_size(self, length: int) -> bool:
        """Whether an XCom of so many bytes is meant."""
        return self.larger is None or length > self.larger


def one(pattern: str | None) -> str | None:
    """The name that is meant, if it is just one."""
    return None if pattern is None or set("*?[") & set(pattern) else pattern


def matches(pattern: str | None, name: str) -> bool:
    """Whether a name is meant: by itself, or by a pattern."""
    return pattern is None or pattern == name or fnmatchcase(name, pattern)
