"""The way of a value, there and back, for every backend.

push: value → codec → payload ─ small and plain → still the current try? → row
                              └ store.put → still the current try? → store.commit → reference → row
pull: row → reference → store → length and sha256 verified → codec → value

Where a keyset is set (keysets.py), every payload is encrypted between codec and store (encryption.py).
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import json
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from airflow.sdk.bases.xcom import BaseXCom

from . import access, binding, config, forks, garbage, glimpse, keeping, pull, readers, sealed
from . import attempt as attempts
from .address import NOBODY, SCHEDULER_KEYS, Address, Attempt
from .binding import Question
from .codecs import Look, Options, encoded, kind_word
from .codecs._json import dumps, plain
from .codecs.common import sized
from .errors import ValueTooLarge, about, one
from .final import no_retry
from .handle import human_size
from .reference import Reference, is_reference
from .store import Store, row_store
from .transfer import Watch, telling, told
from .wishes import Wishes, unwrapped

log = logging.getLogger(__name__)
forks.shared("airflow.sdk.definitions.connection", "airflow.sdk.observability.stats")
forks.shared(f"{__package__}.codecs.structured")
T = TypeVar("T")


class XComBackend(BaseXCom):
    """What all backends share. A backend names its store and the limits of its rows."""

    #: Bytes of plain JSON that stay in Airflow's row, unless AIRFLOW__XCOM__INLINE_LIMIT says otherwise.
    default_inline_limit: ClassVar[int] = 0
    #: Bytes that a payload may have, unless AIRFLOW__XCOM__MAX_SIZE says otherwise.
    default_max_size: ClassVar[int] = config.MAX_SIZE.default
    #: How frames are stored, unless AIRFLOW__XCOM__FRAME_FORMAT says otherwise.
    default_frame_format: ClassVar[str] = config.FRAME_FORMAT.default
    #: How long values are kept, unless AIRFLOW__XCOM__RETENTION says otherwise.
    default_retention: ClassVar[str] = config.RETENTION.default
    #: What to do about a value that is too large, for the error's text.
    too_large_advice: ClassVar[str] = "Raise AIRFLOW__XCOM__MAX_SIZE, or push less."

    @classmethod
    def store(cls) -> Store:
        """The store that this backend writes to."""
        raise NotImplementedError("a backend names its store")

    # -- Airflow 3.3: the hooks of BaseXCom ---------------------------------------------------------

    @classmethod
    def serialize_value(cls, value: Any, **coordinates: Any) -> Any:
        """Store a value and give back the JSON of its row. Raises `XComError`."""
        return cls._put(Question.of(coordinates).address, attempts.current(), value)

    @classmethod
    def set(cls, key: str, value: Any, **coordinates: Any) -> None:
        """Push, and once Airflow has the row, delete what this process had pushed there before."""
        with _pushing(Question.of({**coordinates, "key": key}).address):
            super().set(key, value, **coordinates)

    @classmethod
    async def aset(cls, key: str, value: Any, **coordinates: Any) -> None:
        """Push from a coroutine: in a thread of our own, one push after the other. Raises `XComError`.

        Asking Airflow on the event loop's own thread is refused while another coroutine's request is under
        way. In the loop's pool we might take the last thread in which that request waits for its answer. And
        Airflow's own `aset`, when it is called off, can leave the way to the supervisor locked for good.
        """
        await _in_our_thread(cls.set, key, value, **coordinates)

    @classmethod
    def deserialize_value(cls, result: Any) -> Any:
        """Give back the value of a row: the whole, verified, or an `XComError`. Never the reference."""
        return cls.load_value(result.value)

    @classmethod
    def get_one(cls, **query: Any) -> Any:
        """One XCom, or None if there is no such row."""
        row = pull.Rows.get_one(**query)
        return None if row is None else cls._answer(Question.of(query), [row])[0]

    @classmethod
    async def aget_one(cls, **query: Any) -> Any:
        """The same from a coroutine, in the thread in which it pushes."""
        return await _in_our_thread(cls.get_one, **query)

    @classmethod
    def get_all(cls, **query: Any) -> list[Any] | None:
        """All values of a mapped task: their rows in one request, their payloads in as few as can be."""
        rows = pull.Rows.get_all(**query)
        return None if rows is None else cls._answer(Question.of(query, several=True), rows)

    @classmethod
    async def aget_all(cls, **query: Any) -> list[Any] | None:
        """The same from a coroutine, in the thread in which it pushes."""
        return await _in_our_thread(cls.get_all, **query)

    @classmethod
    def _answer(cls, question: Question, rows: list[Any]) -> list[Any]:
        """The values of rows that Airflow was asked for. A plain row does not say whose it is: the question
        does, so its pull is logged here."""
        watch = Watch("pull")
        with telling("pull"), no_retry(), about(question.address):
            refs = question.references(rows)
            readers.check(question, refs)
            sealed.check(question, refs)
        if plain := [row for ref, row in zip(refs, rows, strict=True) if ref is None]:
            several = f"{len(plain):,} values" if len(plain) > 1 else ""
            watch.log(
                question.address, pull.listed(map(kind_word, plain)), several, sum(map(_row_size, plain))
            )
        return pull.values(refs, rows)

    @classmethod
    def purge(cls, xcom: Any, *args: Any) -> None:
        """Delete the payload that a row names which is about to go, so a newer value is safe. Never raises: a
        failure would fail the task."""
        row = getattr(xcom, "value", None)
        if not is_reference(row):
            return
        try:
            if ref := binding.deleted().reference(row):
                garbage.discard(ref)
        except Exception as error:
            garbage.left_behind(error)

    @classmethod
    def delete(cls, key: str, task_id: str, dag_id: str, run_id: str, map_index: int | None = None) -> None:
        """Delete a row and, by `purge`, its payload. Airflow does not tell `purge` whose row it is."""
        whose: dict[str, Any] = {"key": key, "task_id": task_id, "dag_id": dag_id, "run_id": run_id}
        question = Question.of({**whose, "map_index": map_index})
        with telling("delete"), about(question.address), binding.deleting(question):
            try:
                super().delete(**whose, map_index=map_index)
            except Exception as error:
                if refused := attempts.refusal(error, "deleted"):
                    raise refused from error
                raise

    # -- Airflow 3.4: rows per task instance, over the same core ------------------------------------

    @classmethod
    def store_value(cls, coordinate: Any, key: str, value: Any) -> Any:
        """Airflow 3.4's form of `serialize_value`. `coordinate.ti_id` is the task instance whose row it will
        be; None when one task writes another's XCom, as only Airflow knows whose that will be."""
        attempt = NOBODY
        if coordinate.ti_id is not None:
            running, ti_id = attempts.current(), str(coordinate.ti_id)
            attempt = running if running.ti_id == ti_id else Attempt(0, ti_id)
        return cls._put(_place(coordinate, key), attempt, value)

    @classmethod
    def _push(cls, ti: Any, key: str, value: Any, **options: Any) -> None:
        """The same as `set` for a task's own XCom: `ti.xcom_push` and a returned value come here."""
        with _pushing(Address.of(ti.dag_id, ti.run_id, ti.task_id, ti.map_index, key)):
            super()._push(ti, key, value, **options)  # type: ignore[misc] # 3.3 does not call it

    @classmethod
    async def _apush(cls, ti: Any, key: str, value: Any, **options: Any) -> None:
        """The same from a coroutine. See `aset`; and under `dag.test()` Airflow's own does not work."""
        await _in_our_thread(cls._push, ti, key, value, **options)

    @classmethod
    def load_value(cls, stored: Any) -> Any:
        """Airflow 3.4's form of `deserialize_value`."""
        with telling("pull"), no_retry():
            question, ref = binding.unasked(stored)
            if question:
                with about(question.address):
                    readers.check(question, [ref])
                    sealed.check(question, [ref])
        return pull.value(ref, stored)

    # -- the way there ------------------------------------------------------------------------------

    @classmethod
    def _put(cls, address: Address, attempt: Attempt, value: Any) -> Any:
        watch = Watch("push")
        with no_retry(), about(address):
            value, wishes = unwrapped(value)
            readers.check_once(address, wishes.access)
            access.check_push(address, attempt, wishes.access, functools.partial(pull.row_of, address))
            look = _look_for(address)
            if address.key in SCHEDULER_KEYS:
                row = _looked_at(BaseXCom.serialize_value(value), look)
                attempts.confirm(attempt)
            elif (
                wishes == Wishes()
                and (size := cls._plain_size(value)) is not None
                and sealed.key_for(address) is None
            ):
                row = _looked_at(value, look)
                attempts.confirm(attempt)
                watch.log(address, kind_word(value), sized(value), size, attempt=attempt)
            else:
                ref, row = cls._keep(address, attempt, value, wishes, look)
                garbage.note(ref)
                watch.done(ref)
            access.pushed(address, attempt, wishes.access)
        if push := _under_way.get():
            push.has_row = True
        return row

    @classmethod
    def _keep(
        cls, address: Address, attempt: Attempt, value: Any, wishes: Wishes, look: Look | None
    ) -> tuple[Reference, Any]:
        """Encode and store a value, ask Airflow, commit. Returns the reference, and its row."""
        store, codec_options = cls.store(), replace(cls.codec_options(), look=look)
        key = sealed.key_for(address)
        payload = encoded(value, codec_options)
        if payload.turned:
            log.warning("XCom %s comes back with plain values: %s", address, ", ".join(payload.turned))
        limit = config.MAX_SIZE.read(cls.default_max_size)
        if payload.length > limit:
            sizes = f"{human_size(payload.length)} is over the limit of {human_size(limit)}"
            raise ValueTooLarge(f"{one(payload.kind)} of {sizes}", cls.too_large_advice)
        preview = glimpse.made(
            address, value, payload, is_for_few=bool(wishes.access and wishes.access.readers)
        )
        payload = sealed.payload_for(payload, key, address, attempt)
        if key is not None:
            preview = ""
            if wishes == Wishes() and cls._plain_size(value) is not None:
                store = row_store()  # where it would be in plain
        expires = keeping.rules(cls.default_retention).expiry(address, wishes.kept)
        while True:
            age = garbage.Age()
            stored = store.put(address, attempt, payload, expires)
            try:
                told = wishes.said() | {"expires": expires, "preview": preview}
                ref = sealed.described(stored.reference(address, attempt, payload, **told), payload, key)
                row = cls._checked_row(ref)
                attempts.confirm(attempt)
                if not age.is_over(config.GRACE.read() / 2):
                    store.commit(stored, ref)
                    return ref, row
            except BaseException:
                store.abandon(stored)
                raise
            # This process stood still. A collection may come before the row does, so it is stored anew.
            store.abandon(stored)

    @classmethod
    def _checked_row(cls, ref: Reference) -> dict[str, Any]:
        """A reference's row. Raises `ValueTooLarge` if it is too large for the metadata database."""
        row, most = ref.row(), config.MAX_ROW_SIZE.read()
        if ref.preview and _row_size(row) > most:
            del row["preview"]
        if (size := _row_size(row)) > most:
            raise ValueTooLarge(
                f"{one(ref.kind)} that takes {human_size(size)} in Airflow's metadata database is over "
                f"the limit of {human_size(most)} for a row (AIRFLOW__XCOM__MAX_ROW_SIZE)",
                cls.too_large_advice,
            )
        return row

    @classmethod
    def _plain_size(cls, value: Any) -> int | None:
        """Bytes of a value that stays in the row as Airflow would write it; None if it must be encoded."""
        limit = cls.inline_limit()
        if limit == 0 or not plain(value, limit):
            return None
        size = _row_size(value)
        return size if size <= limit else None

    @classmethod
    def inline_limit(cls) -> int:
        """Bytes of plain JSON that stay in the row; 0: everything is stored."""
        return config.INLINE_LIMIT.read(cls.default_inline_limit)

    @classmethod
    def codec_options(cls) -> Options:
        """What the codecs are told of the configuration."""
        return pull.configured(config.FRAME_FORMAT.read(cls.default_frame_format))


# -- small things -----------------------------------------------------------------------------------


@dataclass
class _Push:
    """A push: of which XCom, and whether its row was made. What fails from then on is Airflow's answer."""

    address: Address
    has_row: bool = False


_under_way: contextvars.ContextVar[_Push | None] = contextvars.ContextVar("under_way", default=None)


@contextmanager
def _pushing(address: Address) -> Iterator[None]:
    """Meanwhile an XCom is pushed, by whichever hook Airflow calls for its value, and its row is sent."""
    push = _Push(address)
    token = _under_way.set(push)
    try:
        with told(), about(address), garbage.replacing(address):
            try:
                yield
            except Exception as error:
                if push.has_row and (refused := attempts.refusal(error)):
                    raise refused from error
                raise
    finally:
        _under_way.reset(token)


def _place(coordinate: Any, key: str) -> Address:
    """The address of a value that Airflow 3.4 has stored. Its coordinate names the place in a region, which
    is the turn of a loop or a map index: which of them, the push under way tells, or else the task."""
    region, index = coordinate.region_id, coordinate.region_index
    of = Address.of(coordinate.dag_id, coordinate.run_id, coordinate.task_id, index, key)
    push = _under_way.get()
    for known in (push.address if push else None, attempts.own_task()):
        if known is not None and replace(known, key=of.key, map_index=of.map_index) == of:
            of = replace(of, map_index=known.map_index)
            break
    turn = index if region is not None and of.map_index < 0 else None
    return replace(of, region=str(region or ""), turn=-1 if turn is None else turn)


@functools.cache
def _our_thread(process: int) -> ThreadPoolExecutor:
    """The thread in which coroutines push and pull. A forked process has none of its parent's threads."""
    return ThreadPoolExecutor(1, "xcom")


async def _in_our_thread(call: Callable[..., T], *args: Any, **options: Any) -> T:
    """Await what a call gives that asks Airflow. See `XComBackend.aset` for why it is not made here."""
    there = functools.partial(contextvars.copy_context().run, call, *args, **options)
    return await asyncio.get_running_loop().run_in_executor(_our_thread(os.getpid()), there)


def _look_for(address: Address) -> Look | None:
    """What looks for secrets in the value of a push. Raises `SecretInXCom` if its key is one."""
    if (said := config.SECRETS.read()) == "allow":
        return None
    from . import confidential

    return confidential.look_for(address, refuses=said == "refuse")


def _looked_at(row: Any, look: Look | None) -> Any:
    """A plain row itself. Raises `SecretInXCom` for one that is not to be stored."""
    if look and look.holds(text := dumps(row)):
        from .codecs._places import look_at_tree

        look_at_tree(row, text, Options(look=look), tagged=False)
    return row


_compact = json.JSONEncoder(separators=(",", ":")).encode


def _row_size(row: Any) -> int:
    return len(_compact(row))
