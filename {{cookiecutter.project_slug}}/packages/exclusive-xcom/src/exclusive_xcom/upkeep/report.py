"""What a store keeps, by DAG and by day: counted while a collection looks at each payload anyway.

The pages in Airflow's UI show it. It is a Variable of Airflow's, since there neither the store can be read
nor should all rows be.
"""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ..keeping import Rules
from .inventory import Item, Kind
from .judge import GARBAGE

REPORT = "exclusive_xcom_report"  # the Variable
DAYS = 30
SOON = 7 * 86400  # seconds
_MOST = 45_000  # characters: a Variable is encrypted, and MySQL takes 64 kB
_EACH = 3  # of a DAG's largest, and of what goes soon


@dataclass
class _Dag:
    payloads: int = 0
    bytes: int = 0
    days: dict[int, int] = field(default_factory=dict)
    largest: list[tuple[int, str, Item]] = field(default_factory=list)
    soon: list[tuple[float, str, Item]] = field(default_factory=list)
    going: list[int] = field(default_factory=lambda: [0, 0])


class Report:
    """Counts payloads.

    Args:
        url: of the store.
        now: the time by the store's clock, in seconds since 1970.
        rules: by which is told what goes soon. What `keep` said stands in rows, which are not read for it.
    """

    def __init__(self, url: str, now: float, rules: Rules) -> None:
        self.url, self.now, self._rules = url, now, rules
        self._dags: dict[str, _Dag] = {}
        self._garbage = [0, 0]

    def add(self, item: Item, why: str) -> None:
        """One more payload."""
        if item.kind is not Kind.PAYLOAD:
            return
        if why in GARBAGE:
            self._garbage[0] += 1
            self._garbage[1] += item.size
            return
        if item.address is None:
            return
        dag = self._dags.setdefault(item.address.dag_id, _Dag())
        dag.payloads += 1
        dag.bytes += item.size
        day = int(item.written // 86400)
        dag.days[day] = dag.days.get(day, 0) + item.size
        _keep_most(dag.largest, (item.size, item.name, item))
        seconds = self._rules.rule_of(item.address).keep.seconds
        if seconds is not None and 0 <= (left := item.written + seconds - self.now) <= SOON:
            dag.going[0] += 1
            dag.going[1] += item.size
            _keep_most(dag.soon, (-left, item.name, item))

    def text(self) -> str:
        """As JSON that a Variable can hold: of so many DAGs as there is room for, the largest first."""
        dags = sorted(self._dags.items(), key=lambda pair: -pair[1].bytes)
        while len(text := json.dumps(self._told(dags), separators=(",", ":"))) > _MOST:
            dags = dags[: len(dags) * 2 // 3]
        return text

    def _told(self, dags: list[tuple[str, _Dag]]) -> dict[str, Any]:
        last = int(self.now // 86400)
        return {
            "form": 1,
            "store": self.url,
            "made": _time(self.now),
            "more_dags": len(self._dags) - len(dags),
            "garbage": self._garbage,
            "dags": {
                name: {
                    "payloads": dag.payloads,
                    "bytes": dag.bytes,
                    "days": [dag.days.get(day, 0) for day in range(last - DAYS + 1, last + 1)],
                    "largest": [_place(item) for _, _, item in sorted(dag.largest, reverse=True)],
                    "going": dag.going,
                    "soon": [
                        {**_place(item), "goes": _time(self.now - left)}
                        for left, _, item in sorted(dag.soon, reverse=True)
                    ],
                }
                for name, dag in dags
            },
        }


def _keep_most(heap: list[Any], entry: Any) -> None:
    heapq.heappush(heap, entry)
    if len(heap) > _EACH:
        heapq.heappop(heap)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _place(item: Item) -> dict[str, Any]:
    of = item.address
    assert of is not None
    told = {"run": of.run_id, "task": of.task_id, "index": of.map_index, "key": of.key}
    return {**told, "bytes": item.size, "written": _time(item.written)}
