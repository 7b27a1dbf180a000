"""The way of a value, there and back, for every backend.

push: value → codec → payload ─ small and plain → still the current try? → row
                              └ store.put → still the current try? → store.commit → reference → row
pull: row → reference → store → length and sha256 verified → codec → value
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import itertools
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, ClassVar, TypeGuard, TypeVar

from airflow.sdk.bases.xcom import BaseXCom

from . import attempt as attempts
from . import binding, config
from .address import Address, Attempt
from .binding import Question
from .codecs import ColumnCodec, Options, codec_named, encoded, kind_word
from .codecs._json import plain
from .codecs.common import ROW_UNFOLDS
from .content import StoredContent
from .errors import UnsupportedValue, ValueTooLarge, about
from .handle import Handle, Lazy, human_size
from .reference import Reference, is_reference
from .store import Store, store_of
from .transfer import Watch

log = logging.getLogger(__name__)
T = TypeVar("T")

# Airflow's scheduler reads this key straight from the row (branching, short circuits): it stays plain.
SCHEDULER_KEYS = frozenset({"skipmixin_key"})

# What is fetched together when a sequence is pulled: payloads of so many bytes each and in all, and so many.
_SMALL, _BATCH, _MANY = 8 * 2**20, 16 * 2**20, 256


class XComBackend(BaseXCom):
    """What all backends share. A backend names its store and the limits of its rows."""

    #: Bytes of plain JSON that stay in Airflow's row, unless AIRFLOW__XCOM__INLINE_LIMIT says otherwise.
    default_inline_limit: ClassVar[int] = 0
    #: Bytes that a payload may have, unless AIRFLOW__XCOM__MAX_SIZE says otherwise.
    default_max_size: ClassVar[int] = config.MAX_SIZE.default
    #: How frames are stored, unless AIRFLOW__XCOM__FRAME_FORMAT says otherwise.
    default_frame_format: ClassVar[str] = config.FRAME_FORMAT.default
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
        row = _Rows.get_one(**query)
        return None if row is None else cls._answer(Question.of(query), [row])[0]

    @classmethod
    async def aget_one(cls, **query: Any) -> Any:
        """The same from a coroutine, in the thread in which it pushes."""
        return await _in_our_thread(cls.get_one, **query)

    @classmethod
    def get_all(cls, **query: Any) -> list[Any] | None:
        """All values of a mapped task: their rows in one request, their payloads in as few as can be."""
        rows = _Rows.get_all(**query)
        return None if rows is None else cls._answer(Question.of(query, several=True), rows)

    @classmethod
    async def aget_all(cls, **query: Any) -> list[Any] | None:
        """The same from a coroutine, in the thread in which it pushes."""
        return await _in_our_thread(cls.get_all, **query)

    @classmethod
    def _answer(cls, question: Question, rows: list[Any]) -> list[Any]:
        """The values of rows that Airflow was asked for. A plain row does not say whose it is: the question
        does, so its pull is logged here."""
        watch, refs = Watch("pull"), question.references(rows)
        if plain := [row for ref, row in zip(refs, rows, strict=True) if ref is None]:
            several = f"{len(plain):,} values" if len(plain) > 1 else ""
            watch.log(question.address, _kinds(map(kind_word, plain)), several, sum(map(_row_size, plain)))
        return cls._values(refs, rows)

    @classmethod
    def _values(cls, refs: list[Reference | None], rows: list[Any]) -> list[Any]:
        """The values of several rows, in their order, and of the references in them.

        What is small is fetched together; its pulls are one line in the log.
        """
        watch = Watch("pull")
        small = [ref for ref in refs if _is_small(ref)]
        if len(small) < 2:
            return list(map(_value, refs, rows))
        fetched = _fetched(small)
        found = [
            _decoded(ref, fetched) if _is_small(ref) else _value(ref, row)
            for ref, row in zip(refs, rows, strict=True)
        ]
        task, length = replace(small[0].address, map_index=-1), sum(ref.length for ref in small)
        watch.log(task, _kinds(ref.kind for ref in small), f"{len(small):,} values", length, small[0].where)
        return found

    @classmethod
    def purge(cls, xcom: Any, *args: Any) -> None:
        """Delete the payload that a row names which is about to go, so a newer value is safe. Never raises: a
        failure would fail the task."""
        row = getattr(xcom, "value", None)
        if not is_reference(row):
            return
        try:
            if ref := binding.deleted().reference(row):
                with about(ref.address):
                    store_of(ref).delete(ref)
        except Exception as error:
            log.warning("The payload of a deleted XCom was left behind: %s", error)

    @classmethod
    def delete(cls, key: str, task_id: str, dag_id: str, run_id: str, map_index: int | None = None) -> None:
        """Delete a row and, by `purge`, its payload. Airflow does not tell `purge` whose row it is."""
        whose: dict[str, Any] = {"key": key, "task_id": task_id, "dag_id": dag_id, "run_id": run_id}
        with binding.deleting(Question.of({**whose, "map_index": map_index})):
            super().delete(**whose, map_index=map_index)

    # -- Airflow 3.4: rows per task instance, over the same core ------------------------------------

    @classmethod
    def store_value(cls, coordinate: Any, key: str, value: Any) -> Any:
        """Airflow 3.4's form of `serialize_value`. `coordinate.ti_id` is the writer's task instance, or
        None when one task writes another's XCom; then it is the running task that counts."""
        index = getattr(coordinate, "region_index", None)
        address = Address.of(coordinate.dag_id, coordinate.run_id, coordinate.task_id, index, key)
        running = attempts.current()
        if coordinate.ti_id is not None and str(coordinate.ti_id) != running.ti_id:
            running = Attempt(running.try_number, str(coordinate.ti_id))
        return cls._put(address, running, value)

    @classmethod
    def load_value(cls, stored: Any) -> Any:
        """Airflow 3.4's form of `deserialize_value`."""
        return _value(binding.unasked(stored), stored)

    # -- the way there ------------------------------------------------------------------------------

    @classmethod
    def _put(cls, address: Address, attempt: Attempt, value: Any) -> Any:
        watch = Watch("push")
        with about(address):
            value, is_lazy = _unwrap(value)
            if address.key in SCHEDULER_KEYS:
                attempts.confirm(attempt)
                return BaseXCom.serialize_value(value)
            if not is_lazy and (size := cls._plain_size(value)) is not None:
                attempts.confirm(attempt)
                watch.log(address, kind_word(value), "", size)
                return value
            ref, row = cls._keep(address, attempt, value, is_lazy)
        watch.done(ref)
        return row

    @classmethod
    def _keep(cls, address: Address, attempt: Attempt, value: Any, is_lazy: bool) -> tuple[Reference, Any]:
        """Encode and store a value, ask Airflow, commit. Returns the reference, and its row."""
        store, codec_options = cls.store(), cls.codec_options()
        payload = encoded(value, codec_options)
        limit = config.MAX_SIZE.read(cls.default_max_size)
        if payload.length > limit:
            sizes = f"{human_size(payload.length)} is over the limit of {human_size(limit)}"
            raise ValueTooLarge(f"A {payload.kind} of {sizes}", cls.too_large_advice)
        stored = store.put(address, attempt, payload)
        try:
            ref = stored.reference(address, attempt, payload, lazy=is_lazy)
            row = ref.row()
            if (size := _row_size(row)) > (most := config.MAX_ROW_SIZE.read()):
                raise ValueTooLarge(
                    f"A {ref.kind} that takes {human_size(size)} in Airflow's metadata database is over the "
                    f"limit of {human_size(most)} for a row (AIRFLOW__XCOM__MAX_ROW_SIZE)",
                    cls.too_large_advice,
                )
            attempts.confirm(attempt)
            store.commit(stored, ref)
        except BaseException:
            store.abandon(stored)
            raise
        return ref, row

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
        return replace(_codec_options(), frame_format=config.FRAME_FORMAT.read(cls.default_frame_format))


def _codec_options() -> Options:
    most, codecs = config.MAX_DECODED_SIZE.read(), config.CODECS.read()
    return Options(max_size=most, class_allowed=_class_allowed, codecs=codecs)


def in_row(codec_options: Options) -> Options:
    """The same for what a row itself holds: whoever may edit rows can't have a few kilobytes of one unfold to
    gigabytes."""
    most = min(codec_options.max_size, ROW_UNFOLDS * config.MAX_ROW_SIZE.read())
    return replace(codec_options, max_size=most)


def _class_allowed(qualified_name: str) -> bool:
    """Whether Airflow's own allow-list ([core] allowed_deserialization_classes) holds a class."""
    from airflow.sdk import serde

    return bool(serde._match(qualified_name)) or qualified_name in serde._extra_allowed


# -- the way back -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """Where a value comes from, verified: what `Handle` asks, and what a pull without one asks at once."""

    ref: Reference

    def load(self, columns: Sequence[str] | None = None) -> Any:
        watch = Watch("pull")
        value = _decoded(self.ref, columns=columns)
        watch.done(self.ref)
        return value

    def path(self) -> Path:
        watch = Watch("pull")
        name = self.ref.filename or (self.ref.uri or "").rsplit("/", 1)[-1] or "payload"
        with about(self.ref.address):
            found = StoredContent(self.ref, store_of(self.ref)).file(name)
        watch.done(self.ref)
        return found

    def open(self) -> BinaryIO:
        path = self.path()
        stream = path.open("rb")
        path.unlink()  # it is there until the stream is closed, and goes with the process
        path.parent.rmdir()
        return stream


def _value(ref: Reference | None, row: Any) -> Any:
    """The value of a row, and of the reference in it if there is one: what its consumer gets."""
    if ref is None:
        return BaseXCom.deserialize_value(SimpleNamespace(value=row))
    return Handle(ref, _Source(ref)) if ref.lazy else _Source(ref).load()


def _decoded(
    ref: Reference, fetched: Iterator[memoryview] | None = None, columns: Sequence[str] | None = None
) -> Any:
    """The value of a reference, whose payload may be the next of those that are fetched together."""
    with about(ref.address):
        codec_options = _codec_options() if ref.uri else in_row(_codec_options())
        codec = codec_named(ref.codec, codec_options)
        content = StoredContent(ref, store_of(ref), None if fetched is None else next(fetched))
        if columns is None:
            return codec.decode(content, ref.meta, codec_options)
        if isinstance(codec, ColumnCodec):
            return codec.select(content, ref.meta, codec_options, list(columns))
        raise UnsupportedValue(f"A {ref.kind} has no columns to choose from", "Call load() without columns.")


def _is_small(ref: Reference | None) -> TypeGuard[Reference]:
    """Whether a payload is small enough to be fetched together with others."""
    return ref is not None and ref.uri is not None and not ref.lazy and ref.length <= _SMALL


def _fetched(refs: list[Reference]) -> Iterator[memoryview]:
    """Payloads in their order, fetched a batch at a time."""
    for store, same in itertools.groupby(refs, store_of):
        batch: list[Reference] = []
        room = _BATCH
        for ref in same:
            if batch and (ref.length > room or len(batch) == _MANY):
                yield from store.fetch_many(batch)
                batch, room = [], _BATCH
            batch.append(ref)
            room -= ref.length
        yield from store.fetch_many(batch)


# -- small things -----------------------------------------------------------------------------------


@functools.cache
def _our_thread(process: int) -> ThreadPoolExecutor:
    """The thread in which coroutines push and pull. A forked process has none of its parent's threads."""
    return ThreadPoolExecutor(1, "xcom")


async def _in_our_thread(call: Callable[..., T], *args: Any, **options: Any) -> T:
    """Await what a call gives that asks Airflow. See `XComBackend.aset` for why it is not made here."""
    there = functools.partial(contextvars.copy_context().run, call, *args, **options)
    return await asyncio.get_running_loop().run_in_executor(_our_thread(os.getpid()), there)


class _Rows(BaseXCom):
    """Gives rows back as they are."""

    @staticmethod
    def deserialize_value(result: Any) -> Any:
        return result.value


def _unwrap(value: Any) -> tuple[Any, bool]:
    """The value inside `lazy(...)` and whether it was; also for the values of a returned dict, whose
    keys `multiple_outputs` has pushed as handles before it pushes the dict itself."""
    if type(value) is Lazy:
        return value.value, True
    if type(value) is dict and any(type(item) is Lazy for item in value.values()):
        return {key: _unwrap(item)[0] for key, item in value.items()}, False
    if type(value) is Handle:
        raise UnsupportedValue(
            "A Handle was pushed: it stands for another task's XCom and may outlive it",
            "Push what handle.load() gives, or let the consumer pull from the first producer.",
        )
    return value, False


def _row_size(row: Any) -> int:
    return len(json.dumps(row, ensure_ascii=True, separators=(",", ":")))


def _kinds(kinds: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(kinds))
