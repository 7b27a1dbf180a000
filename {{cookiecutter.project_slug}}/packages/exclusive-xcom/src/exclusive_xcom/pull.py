"""The way back of a value: row → reference → store → length and sha256 verified → codec → value.

What is encrypted is decrypted before the codec sees it (encryption.py): here `ref` is what the row says,
which goes into logs, and `told` what the codec needs to know.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, TypeGuard

from airflow.sdk.bases.xcom import BaseXCom

from . import access, airflow_compat, config, keeping, mapped, readers, sealed
from .address import Address
from .binding import Question
from .codecs import ColumnCodec, Options, codec_named
from .codecs.common import ROW_UNFOLDS
from .errors import PayloadMissing, PayloadReplaced, UnsupportedValue, about, one
from .final import no_retry
from .handle import Handle
from .reference import Reference
from .sealed import content_of, opened
from .store import store_of
from .transfer import Watch, telling

# What is fetched together when a sequence is pulled: payloads of so many bytes each and in all, and so many.
_SMALL, _BATCH, _MANY = 8 * 2**20, 16 * 2**20, 256


class Rows(BaseXCom):
    """Gives rows back as they are."""

    @staticmethod
    def deserialize_value(result: Any) -> Any:
        return result.value


@telling("pull")
def values(refs: list[Reference | None], rows: list[Any]) -> list[Any]:
    """The values of several rows, in their order, and of the references in them.

    What is small is fetched together; its pulls are one line in the log.
    """
    watch = Watch("pull")
    small = [ref for ref in refs if _is_small(ref)]
    if len(refs) == 1:
        return [value(refs[0], rows[0])]
    if len(small) < 2:
        return list(map(_whole, refs, rows))
    fetched = _fetched(small)
    try:
        found = [
            _decoded(ref, fetched) if _is_small(ref) else _whole(ref, row)
            for ref, row in zip(refs, rows, strict=True)
        ]
    except PayloadMissing:
        return list(map(_whole, refs, rows))  # one of them may have been pushed again meanwhile
    task, length = replace(small[0].address, map_index=-1), sum(ref.length for ref in small)
    kinds, several = listed(ref.kind for ref in small), f"{len(small):,} values"
    watch.log(task, kinds, several, length, small[0].where, refs=small)
    return found


@dataclass(frozen=True)
class _Source:
    """Where a value comes from, verified: what `Handle` asks, and what a pull without one asks at once."""

    ref: Reference

    @telling("pull")
    def load(self, columns: Sequence[str] | None = None) -> Any:
        return self.once(columns)

    def once(self, columns: Sequence[str] | None = None) -> Any:
        """The same. Who calls this may be about to try again."""
        watch = Watch("pull")
        with _if_replaced(self.ref):
            found = _decoded(self.ref, columns=columns)
        watch.done(self.ref)
        return found

    def item(self, number: int) -> Any:
        """One item of a list that is stored so that each can be read alone (mapped.py)."""
        watch, ref = Watch("pull"), self.ref
        with _if_replaced(ref), no_retry(), about(ref.address):
            content = content_of(ref, store_of(ref))
            told = content.told
            codec, codec_options = _reading(told)
            found, length = codec.item(content, told.meta, codec_options, number)
        watch.done(ref, length, f"item {number + 1:,} of {mapped.length_of(told):,}")
        return found

    @telling("pull")
    def path(self) -> Path:
        watch = Watch("pull")
        with about(self.ref.address), _if_replaced(self.ref):
            content = content_of(self.ref, store_of(self.ref))
            name = content.told.filename or (self.ref.uri or "").rsplit("/", 1)[-1] or "payload"
            found = content.file(name)
        watch.done(self.ref)
        return found

    def open(self) -> BinaryIO:
        path = self.path()
        stream = path.open("rb")
        path.unlink()  # it is there until the stream is closed, and goes with the process
        path.parent.rmdir()
        return stream


@telling("pull")
def value(ref: Reference | None, row: Any) -> Any:
    """The value of a row, and of the reference in it if there is one: what its consumer gets."""
    if (
        ref is not None
        and not ref.lazy
        and mapped.is_looked_up()
        and (length := mapped.length_of(opened(ref)))
    ):
        return mapped.Items(length, partial(_item, ref), partial(telling("pull")(_whole), ref, row))
    return _whole(ref, row)


def _whole(ref: Reference | None, row: Any) -> Any:
    """The same, with all items of a list."""
    if ref is None:
        return BaseXCom.deserialize_value(SimpleNamespace(value=row))
    if ref.lazy:
        return Handle(ref, _Source(ref))
    try:
        return _Source(ref).once()
    except PayloadReplaced:
        return _whole(*_again(ref))


@telling("pull")
def _item(ref: Reference, number: int) -> Any:
    try:
        return _Source(ref).item(number)
    except PayloadReplaced:
        return _whole(*_again(ref))[number]


@contextmanager
def _if_replaced(ref: Reference) -> Iterator[None]:
    """Tell a payload that is gone because its XCom was pushed again, or whose time was over, from one that is
    lost."""
    try:
        yield
    except PayloadMissing as error:
        try:
            replaced = _replaces(_now(ref)[0], ref)
        except Exception:
            replaced = False  # nobody can be asked here
        if not replaced:
            if expired := keeping.expired(ref):
                expired.address = ref.address
                raise expired from error
            if ref.once:
                raise access.gone(ref) from error
            raise
        raise PayloadReplaced(
            "The XCom was pushed again since it was pulled, and what it was before is gone",
            "Pull it again. If both values are needed, push them under two keys.",
            address=ref.address,
        ) from error


def _replaces(now: Reference | None, before: Reference) -> bool:
    """Whether what an XCom's row refers to now came in the place of what it referred to before. In a loop the
    row may be that of another turn, which replaces nothing."""
    if before.address.region and (now is None or now.attempt.ti_id != before.attempt.ti_id):
        return False
    return now != before


def _now(ref: Reference) -> tuple[Reference | None, Any]:
    """What the row of a reference's XCom refers to now, and the row."""
    row = row_of(ref.address)
    return (ref, row) if row is None else (Question(ref.address).reference(row), row)


def _again(ref: Reference) -> tuple[Reference | None, Any]:
    """The same, to hand it out: who reads may no longer be the same."""
    now, row = _now(ref)
    readers.check(Question(ref.address), [now])
    sealed.check(Question(ref.address), [now])
    return now, row


def row_of(address: Address) -> Any:
    """The row of an XCom as it is; None if there is none."""
    of = address
    return Rows.get_one(
        key=of.key, dag_id=of.dag_id, task_id=of.task_id, run_id=of.run_id, map_index=of.map_index
    )


def _decoded(
    ref: Reference, fetched: Iterator[memoryview] | None = None, columns: Sequence[str] | None = None
) -> Any:
    """The value of a reference, whose payload may be the next of those that are fetched together."""
    with no_retry(), about(ref.address):
        content = content_of(ref, store_of(ref), None if fetched is None else next(fetched))
        told = content.told
        codec, codec_options = _reading(told)
        if columns is None:
            return codec.decode(content, told.meta, codec_options)
        if isinstance(codec, ColumnCodec):
            return codec.select(content, told.meta, codec_options, list(columns))
        raise UnsupportedValue(
            f"{one(told.kind)} has no columns to choose from", "Call load() without columns."
        )


def _reading(ref: Reference) -> tuple[Any, Options]:
    """The codec of a payload, and what it is told."""
    codec_options = _roomy(configured() if ref.uri else in_row(configured()))
    return codec_named(ref.codec, codec_options), codec_options


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


def configured(frame_format: str = Options.frame_format) -> Options:
    """What codecs are told of the configuration; the format matters when they encode. Raises `BadOption`."""
    most, codecs = config.MAX_DECODED_SIZE.read(), config.CODECS.read()
    allowed = airflow_compat.class_allowed
    return Options(frame_format, max_size=most, class_allowed=allowed, codecs=codecs)


def in_row(codec_options: Options) -> Options:
    """The same for what a row itself holds: whoever may edit rows can't have a few kilobytes of one unfold to
    gigabytes."""
    most = min(codec_options.max_size, ROW_UNFOLDS * config.MAX_ROW_SIZE.read())
    return replace(codec_options, max_size=most)


def _roomy(codec_options: Options) -> Options:
    """The same with an eighth more. Who pulls counts what who pushed did not have: Arrow's arrays out of a
    parquet file have a bit for each value that says whether it is missing."""
    return replace(codec_options, max_size=codec_options.max_size + codec_options.max_size // 8)


def listed(kinds: Iterable[str]) -> str:
    """Each of them once."""
    return ", ".join(dict.fromkeys(kinds))
