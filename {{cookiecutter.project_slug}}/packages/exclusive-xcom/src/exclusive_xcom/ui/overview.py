"""What the store keeps, as the last collection counted it: of the DAGs whose XComs somebody may read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.models import DagModel
from airflow.models.variable import Variable
from airflow.sdk.configuration import conf
from airflow.utils.session import create_session
from sqlalchemy import func, select

from ..upkeep.report import DAYS, REPORT

_LARGEST = 100_000  # characters of a report as Airflow keeps it: encrypted it is a third larger
_MANY = 12  # lines of a table
_COLOURS = 5  # DAGs that have one of their own in the chart
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Payload(msgspec.Struct):
    """One of the largest, or of what goes soon."""

    run: str
    task: str
    index: int
    key: str
    bytes: _Number
    written: _Time
    dag: str = ""

    @property
    def tab(self) -> str:
        """The path of its tab in Airflow's UI, below Airflow's own."""
        parts = ["dags", self.dag, "runs", self.run, "tasks", self.task]
        parts += ["mapped", str(self.index)] if self.index >= 0 else []
        return "/".join(quote(part, safe="") for part in (*parts, "plugin", "payloads"))


class Going(Payload, kw_only=True):
    """One that goes soon, and when."""

    goes: _Time


class Dag(msgspec.Struct):
    """What is kept of a DAG: on each of the last days, and in all."""

    payloads: _Number
    bytes: _Number
    days: Annotated[list[_Number], msgspec.Meta(min_length=DAYS, max_length=DAYS)]
    largest: list[Payload]
    going: tuple[_Number, _Number]
    soon: list[Going]


class Report(msgspec.Struct):
    """What a collection wrote down."""

    form: Annotated[int, msgspec.Meta(ge=1, le=1)]
    store: str
    made: _Time
    more_dags: _Number
    garbage: tuple[_Number, _Number]
    dags: dict[str, Dag]


@dataclass(frozen=True)
class Found:
    """What the page shows. Without a report, why there is none."""

    now: datetime
    is_db: bool
    report: Report | None = None
    dags: list[tuple[str, Dag]] = field(default_factory=list)
    is_of_all: bool = False

    @property
    def payloads(self) -> int:
        """How many there are."""
        return sum(dag.payloads for _, dag in self.dags)

    @property
    def bytes(self) -> int:
        """How much they take."""
        return sum(dag.bytes for _, dag in self.dags)

    @property
    def going(self) -> tuple[int, int]:
        """Of what goes soon the number and the bytes."""
        return sum(dag.going[0] for _, dag in self.dags), sum(dag.going[1] for _, dag in self.dags)

    @property
    def largest(self) -> list[Payload]:
        """The largest payloads."""
        return sorted(self._all("largest"), key=lambda each: -each.bytes)[:_MANY]

    @property
    def soon(self) -> list[Going]:
        """What goes next."""
        return sorted(self._all("soon"), key=lambda each: each.goes)[:_MANY]

    @property
    def days(self) -> list[tuple[str, list[tuple[int, int]]]]:
        """For each day its name, and the bytes of the largest DAGs by the number of their colour; the last
        one stands for all others."""
        assert self.report is not None
        last = self.report.made.date()
        named = []
        for at in range(DAYS):
            sizes = [dag.days[at] for _, dag in self.dags]
            parts = [*enumerate(sizes[:_COLOURS]), (_COLOURS, sum(sizes[_COLOURS:]))]
            day = last - timedelta(days=DAYS - 1 - at)
            named.append((f"{day:%Y-%m-%d}", [(number, size) for number, size in parts if size]))
        return named

    @property
    def bars(self) -> list[tuple[str, int, list[tuple[int, float, float]]]]:
        """The days of a chart that is 100 high: name, bytes, and pieces by colour, top and height."""
        most = max((sum(size for _, size in parts) for _, parts in self.days), default=0) or 1
        bars = []
        for day, parts in self.days:
            top, pieces = 100.0, []
            for number, size in parts:
                height = 100 * size / most
                top -= height
                pieces.append((number, round(top, 2), round(height, 2)))
            bars.append((day, sum(size for _, size in parts), pieces))
        return bars

    @property
    def legend(self) -> list[tuple[int, str]]:
        """The colours' names."""
        named = [*enumerate(name for name, _ in self.dags[:_COLOURS])]
        return [*named, (_COLOURS, "others")] if len(self.dags) > _COLOURS else named

    def part(self, dag: Dag) -> float:
        """A DAG's bytes in hundredths of the largest one's."""
        return round(100 * dag.bytes / (self.dags[0][1].bytes or 1), 2)

    def _all(self, what: str) -> Iterator[Any]:
        for name, dag in self.dags:
            for each in getattr(dag, what):
                each.dag = name
                yield each


def find(user: Any) -> Found:
    """What this user may see of the last report."""
    now, is_db = datetime.now(UTC), ".db." in str(conf.get("core", "xcom_backend", fallback=""))
    with create_session() as session:
        kept = Variable.__table__.c.val
        wanted = select(Variable).where(Variable.key == REPORT, func.length(kept) <= _LARGEST)
        variable = session.scalar(wanted)
        text = variable.get_val() if variable else None
    try:
        report = msgspec.json.decode(text or "", type=Report)
        report.made - timedelta(days=DAYS)  # as its chart begins
    except (OverflowError, msgspec.MsgspecError, ValueError, RecursionError):
        return Found(now, is_db)
    may_read = _readable(user, report.dags)
    readable = [(name, dag) for name, dag in report.dags.items() if name in may_read]
    everything = len(readable) == len(report.dags) and get_auth_manager().is_authorized_dag(
        method="GET", access_entity=DagAccessEntity.XCOM, user=user
    )
    return Found(now, is_db, report, sorted(readable, key=lambda pair: -pair[1].bytes), everything)


def _readable(user: Any, names: Any) -> set[str]:
    """Those of some DAGs whose XComs a user may read."""
    manager = get_auth_manager()
    teams = DagModel.get_dag_id_to_team_name_mapping(list(names))
    return {
        name
        for name in names
        if manager.is_authorized_dag(
            method="GET",
            access_entity=DagAccessEntity.XCOM,
            details=DagDetails(id=name, team_name=teams.get(name)),
            user=user,
        )
    }
