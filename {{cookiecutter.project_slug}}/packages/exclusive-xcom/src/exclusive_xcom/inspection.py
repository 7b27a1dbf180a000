"""What `xcom probe` looks at, and the value of an XCom out of Airflow's database on this machine.

    from exclusive_xcom.inspection import get
    revenue = get("orders", "revenue")

Imports Airflow, whose configuration must be in the environment by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from airflow.models import DagRun
from airflow.models.xcom import XComModel
from airflow.sdk.execution_time.xcom import XCom
from airflow.utils.session import create_session
from sqlalchemy import Select, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from . import config, keeping, readers, sealed
from .address import Address
from .backend import XComBackend
from .binding import Question
from .codecs.common import count
from .errors import KeyMissing, XComError
from .handle import Handle
from .reference import Reference
from .store import Check

_LATEST = 5000  # rows that `probe` looks at for keys


class NotThere(LookupError):
    """There is no such run or XCom. The text says which there are."""


def latest_run(dag_id: str) -> str:
    """The id of a pipeline's latest run. Raises `NotThere`."""
    return _runs(dag_id)[0]


@dataclass(frozen=True)
class Found:
    """An XCom that was looked for: whose it is, when it was pushed, and what its row holds."""

    address: Address
    written: datetime
    stored: Any

    @property
    def run_id(self) -> str:
        """The run that it is of."""
        return self.address.run_id

    def load(self) -> Any:
        """The value, as a consumer gets it; also one that would be handed over lazily. Raises `XComError`,
        also if the row refers to another XCom."""
        Question(self.address).reference(self.stored)
        value = XCom.deserialize_value(SimpleNamespace(value=self.stored))
        return value.load() if isinstance(value, Handle) else value


def get(
    dag_id: str,
    task_id: str,
    key: str = "return_value",
    *,
    run_id: str | None = None,
    map_index: int | None = None,
) -> Any:
    """What a task handed over: for notebooks, scripts and tests.

    Args:
        run_id: of this run; without it, of the latest that has such an XCom.
        map_index: which one of a mapped task.

    Raises:
        NotThere: there is no such run or XCom; the text says which there are.
        XComError: it can't be read.
    """
    return find(dag_id, task_id, key, run_id=run_id, map_index=map_index).load()


def find(
    dag_id: str, task_id: str, key: str, *, run_id: str | None = None, map_index: int | None = None
) -> Found:
    """The XCom that `get` loads. Raises `NotThere`."""
    if run_id is not None:
        _check_run(dag_id, run_id)
    of_task = select(XComModel).where(XComModel.dag_id == dag_id, XComModel.task_id == task_id)
    wanted = of_task.where(XComModel.key == key)
    if run_id is not None:
        wanted = wanted.where(XComModel.run_id == run_id)
    exact = wanted if map_index is None else wanted.where(map_index_column() == map_index)
    with create_session() as session:
        newest = session.scalar(_newest(exact))
        if newest is None:
            raise NotThere(_what_there_is(session, dag_id, task_id, key, run_id, map_index))
        latest = exact.where(XComModel.dag_run_id == newest).order_by(XComModel.timestamp)
        columns = latest.with_only_columns(
            map_index_column(), XComModel.run_id, XComModel.timestamp, XComModel.value
        )
        rows = {row[0]: row for row in session.execute(columns)}  # of a loop's turns the last one's
        if map_index is None and -1 not in rows:
            which = f"{len(rows)} of {task_id!r}, which is mapped. Say which: map index {_ranges([*rows])}"
            raise NotThere(f"There are {which} (`--map-index`).")
        index, of_run, written, value = rows[-1 if map_index is None else map_index]
        return Found(Address.of(dag_id, of_run, task_id, index, key), written, value)


def map_index_column() -> Any:
    """The column of map indexes. On Airflow 3.4 that of the rows is the turn of a loop, too."""
    try:
        from airflow.models.task_coordinates import (  # type: ignore[import-not-found]
            public_map_index_expression,
        )
    except ImportError:
        return XComModel.map_index
    return public_map_index_expression(XComModel)


def _newest(query: Select[Any]) -> Select[Any]:
    """The number of the latest run among the rows of a query."""
    return query.with_only_columns(func.max(XComModel.dag_run_id))


def _what_there_is(
    session: Any, dag_id: str, task_id: str, key: str, run_id: str | None, map_index: int | None
) -> str:
    """Why an XCom was not found: the first of index, key and task that there is not, and those that there are
    instead, of the run or else of the latest that has some."""
    every = select(XComModel).where(XComModel.dag_id == dag_id)
    if run_id is None:
        _runs(dag_id)
    else:
        every = every.where(XComModel.run_id == run_id)
    of_task = every.where(XComModel.task_id == task_id)
    of_key = of_task.where(XComModel.key == key)
    for query, column, trouble in (
        (of_key, map_index_column(), f"{task_id!r} has no {key!r} with map index {map_index}"),
        (of_task, XComModel.key, f"{task_id!r} has no XCom {key!r}"),
        (every, XComModel.task_id, f"There is no XCom of a task {task_id!r}"),
    ):
        if newest := session.scalar(_newest(query)):
            latest = query.where(XComModel.dag_run_id == newest)
            there = sorted(session.scalars(latest.with_only_columns(column).distinct()))
            of = session.scalar(latest.with_only_columns(XComModel.run_id).limit(1))
            names = _ranges(there) if query is of_key else _listed(there)
            return f"{trouble}. In run {of} there is: {names}."
    return f"{dag_id!r} has no XComs{f' in run {run_id}' if run_id else ''}."


def _runs(dag_id: str) -> list[str]:
    """The ids of a pipeline's latest runs, newest first. Raises `NotThere` if it has none."""
    newest = select(DagRun.run_id).where(DagRun.dag_id == dag_id).order_by(DagRun.id.desc()).limit(5)
    with create_session() as session:
        if found := list(session.scalars(newest)):
            return found
        others = sorted(session.scalars(select(DagRun.dag_id).distinct()))
    there = f"There are runs of: {_listed(others)}." if others else "Nothing has run yet."
    raise NotThere(f"Airflow's database has no run of {dag_id!r}. {there}")


def _check_run(dag_id: str, run_id: str) -> None:
    """Raises `NotThere` if there is no such run."""
    latest = _runs(dag_id)
    with create_session() as session:
        wanted = select(DagRun.id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        if session.scalar(wanted) is None:
            raise NotThere(f"{dag_id!r} has no run {run_id!r}. The latest are: {_listed(latest)}.")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20:,} more" if len(names) > 20 else "")


def _ranges(numbers: list[int]) -> str:
    """Numbers as people write them: "0 to 3, 7"."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return _listed([str(part[0]) if len(part) == 1 else f"{part[0]} to {part[-1]}" for part in parts])


def probe() -> list[Check]:
    """Try the database and the configured XCom backend, as a task would find them."""
    wrong = config.mistakes()
    checks = [
        _database(),
        Check("options", not wrong, " ".join(wrong) or "each has a value that it can have"),
        _retention(getattr(XCom, "default_retention", config.RETENTION.default)),
        _readers(),
        _secrets(),
        *_keysets(),
        *_keys_in_rows(),
    ]
    name = f"{XCom.__module__}.{XCom.__qualname__}"
    if not issubclass(XCom, XComBackend):
        advice = "see AIRFLOW__CORE__XCOM_BACKEND, which a project sets in config/airflow.env"
        return [*checks, Check("backend", False, f"{name} is not one of exclusive_xcom's: {advice}")]
    checks.append(Check("backend", True, name))
    try:
        checks += XCom.store().probe()
        checks += _lost_first()
    except XComError as error:
        checks.append(Check("store", False, str(error)))
    return checks


def _lost_first() -> Iterator[Check]:
    """Which XCom a rule of the bucket ends first that should stay, where there is such a rule."""
    from .s3 import lifecycle  # imports boto3 when it is asked for more than names
    from .s3.location import Location

    location = Location.current()
    if location is None or location.scheme != "s3":
        return
    try:
        early = list(lifecycle.too_early(location, lifecycle.found(location)))
    except XComError:
        return  # the probe has told it
    if not (days := [(when, name) for name, when in early if isinstance(when, int)]):
        return
    when, name = min(days)
    wanted = select(XComModel).order_by(XComModel.timestamp)
    with create_session() as session:
        for row in session.scalars(wanted.execution_options(yield_per=1000)):
            address = Address.of(row.dag_id, row.run_id, row.task_id, row.map_index, row.key)
            ref = _reference(address, row.value)
            if ref is None or not (ref.uri or "").startswith(f"{location.url}/"):
                continue
            end = row.timestamp + timedelta(days=when)
            if ref.expires is None or ref.expires.at is None or ref.expires.at > end:
                what = f"{address} is the first that is lost, {end:%Y-%m-%d} or the day after, by {name!r}"
                yield Check("lost first", False, what)
                return


def _reference(address: Address, value: Any) -> Reference | None:
    try:
        return Question(address).reference(value)
    except XComError:
        return None


def _retention(default: str) -> Check:
    try:
        found = keeping.rules(default)
    except XComError as error:
        return Check("retention", False, str(error))
    more = f", and {count(len(found.rules), 'rule')} before it" if found.rules else ""
    return Check("retention", True, f"{found.default.keep.text} by default{more}")


def _readers() -> Check:
    try:
        pulls, rules = config.PULLS.read(), readers.declared()
    except XComError as error:
        return Check("readers", False, str(error))
    return Check("readers", True, f"{pulls}, and {count(len(rules), 'rule')}")


def _secrets() -> Check:
    try:
        return Check("secrets", True, config.SECRETS.read())
    except XComError as error:
        return Check("secrets", False, str(error))


def _keysets() -> Iterator[Check]:
    """Whether XComs are encrypted, and the keysets that the rules name. That one is not here may be meant."""
    try:
        if not config.is_encrypting():
            yield Check("encryption", True, "by the store alone, if it does: no keyset is set")
            return
        from . import encryption, keysets

        rules = keysets.needed()
        found = list(keysets.each())
    except XComError as error:
        yield Check("encryption", False, str(error))
        return
    if rules is None:  # taken away just now
        return
    of = "in plain" if rules.default == keysets.PLAIN else f"by keyset {rules.default!r}"
    reads = "what is in plain is refused" if keysets.demanded() else "what is in plain is read, too"
    yield Check("encryption", True, f"{of} by default, and {count(len(rules.rules), 'rule')}; {reads}")
    for source, there in found:
        name = f"keyset {source.name}"
        if isinstance(there, KeyMissing) and source.name != rules.default:
            yield Check(name, True, f"not here, so this process neither reads nor pushes by it: {there.what}")
        elif isinstance(there, XComError):
            yield Check(name, False, str(there))
        else:
            works = encryption.try_out(there.keys[there.primary])
            told = f"key {there.primary} encrypts, {len(there.keys)} decrypt; from {source.where}"
            yield Check(name, works, told if works else f"key {there.primary} does not decrypt")


def _keys_in_rows() -> Iterator[Check]:
    """Whether what the latest rows were encrypted by is here: one row of each key is opened."""
    seen: set[int] = set()
    latest = select(XComModel).order_by(XComModel.timestamp.desc()).limit(_LATEST)
    try:
        with create_session() as session:
            for row in session.scalars(latest.execution_options(yield_per=1000)):
                address = Address.of(row.dag_id, row.run_id, row.task_id, row.map_index, row.key)
                ref = _reference(address, row.value)
                if ref is None or ref.encryption is None or ref.encryption.key in seen:
                    continue
                seen.add(ref.encryption.key)
                name = f"key {ref.encryption.key}"
                try:
                    sealed.opened(ref)
                    yield Check(name, True, f"reads what it wrote, as {address}")
                except XComError as error:
                    yield Check(name, False, str(error))
    except SQLAlchemyError:
        return  # the check of the database has told it


def _database() -> Check:
    try:
        with create_session() as session:
            session.execute(text("select 1"))
            return Check("metadata database", True, session.get_bind().dialect.name)
    except Exception as error:
        return Check("metadata database", False, str(error).strip().splitlines()[0])
