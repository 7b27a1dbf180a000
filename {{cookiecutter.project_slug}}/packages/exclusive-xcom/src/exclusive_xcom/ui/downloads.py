"""A stored payload as a file, byte by byte as it lies in the store: who gets it, and how whole it is.

Of what fits into one piece of the store's all is compared with its digest before anything is sent. Of what is
longer the last piece is held back until then: who gets less than the length that was announced knows it.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from airflow.models import DagRun, Log
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from fastapi.responses import StreamingResponse
from sqlalchemy import select
from starlette.exceptions import HTTPException

from .. import glimpse, keeping, metrics, sealed
from ..address import Address
from ..binding import Question
from ..content import Measured, verify
from ..errors import (
    BadReference,
    ForeignReference,
    PayloadError,
    PayloadMissing,
    StoreError,
    XComError,
    about,
    legible,
)
from ..inspection import map_index_column
from ..reference import Reference
from ..store import store_of
from ..transfer import telling
from ..upkeep.airflow_rest import ENDED_WELL
from ..upkeep.rows import Entry

EVENT = "xcom_download"  # in Airflow's audit log
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    "Content-Encoding": "identity",  # else Airflow would compress it, and its length would not be told
    "Accept-Ranges": "none",
}
log = logging.getLogger(__name__)

_ENDINGS = {  # by media type, for what has no file name of its own
    "application/json": ".json",
    "application/zstd": ".json.zst",
    "application/zip": ".zip",
    "application/x-npy": ".npy",
    "application/vnd.apache.arrow.file": ".arrow",
    "application/vnd.apache.parquet": ".parquet",
}
_STATUS: tuple[tuple[type[XComError], HTTPStatus], ...] = (
    (PayloadMissing, HTTPStatus.GONE),
    (PayloadError, HTTPStatus.BAD_GATEWAY),
    (BadReference, HTTPStatus.CONFLICT),
    (StoreError, HTTPStatus.SERVICE_UNAVAILABLE),
    (ForeignReference, HTTPStatus.SERVICE_UNAVAILABLE),
)


class NotGiven(HTTPException):
    """A payload is not given. `detail` says to people what is the matter with it."""


def why_not(ref: Reference) -> str:
    """Why a payload is given to nobody here; "" if it may be."""
    if ref.encryption:
        return "It is encrypted. `xcom get` fetches it where its keys are; an api-server has none."
    if ref.readers:
        return f"Its producer has it read by {' and '.join(ref.readers)} alone."
    return ""


def given(user: Any, address: Address) -> StreamingResponse:
    """The payload of an XCom, and a line in Airflow's audit log that it was given to this user.

    Raises `NotGiven`.
    """
    ref = _found(address)
    pieces = verified(ref)
    try:
        first = next(pieces)
    except XComError as error:
        status = next((code for kind, code in _STATUS if isinstance(error, kind)), HTTPStatus.CONFLICT)
        raise NotGiven(status, str(error)) from error
    _note(user, ref)

    def sent() -> Iterator[bytes]:
        yield bytes(first)
        yield from map(bytes, pieces)

    length, name = {"Content-Length": str(ref.length)}, disposition(name_of(ref))
    headers = {**HEADERS, **length, "Content-Disposition": name}
    return StreamingResponse(sent(), headers=headers, media_type="application/octet-stream")


def _found(address: Address) -> Reference:
    """The reference whose payload may be given. Raises `NotGiven`."""
    of = {"dag_id": address.dag_id, "run_id": address.run_id}
    rows = select(XComModel.timestamp, XComModel.value).filter_by(**of, task_id=address.task_id)
    wanted = rows.where(XComModel.key == address.key, map_index_column() == address.map_index)
    with create_session() as session:
        row = session.execute(wanted.order_by(XComModel.timestamp.desc()).limit(1)).first()
        state = session.scalar(select(DagRun.state).filter_by(**of))
    if row is None:
        raise NotGiven(HTTPStatus.NOT_FOUND, "There is no such XCom. Its run may have been deleted.")
    entry = Entry(address, *row)
    if entry.why_not:
        raise NotGiven(HTTPStatus.CONFLICT, entry.why_not)
    if (ref := entry.ref) is None:
        raise NotGiven(HTTPStatus.NOT_FOUND, "It is plain JSON in Airflow's row, in the tab XCom.")
    try:
        sealed.check(Question(address), [ref])
    except XComError as error:
        raise NotGiven(HTTPStatus.FORBIDDEN, str(error)) from error
    if reason := why_not(ref):
        raise NotGiven(HTTPStatus.FORBIDDEN, reason)
    if glimpse.is_over(ref, datetime.now(UTC), run_ended_well=state == ENDED_WELL):
        raise NotGiven(HTTPStatus.GONE, "Its time is over, so nothing of the value is given any more.")
    return ref


def verified(ref: Reference) -> Iterator[memoryview]:
    """The payload in the store's pieces, in constant memory; the last one once it is known that all of them
    are what was pushed. Raises `XComError`, which is told in the log."""
    held = memoryview(b"")
    with telling("download"), about(ref.address):
        try:
            measured = Measured(store_of(ref).stream(ref))
            for piece in measured:
                if measured.length > ref.length:
                    break
                if held.nbytes and piece.nbytes:
                    yield held
                held = piece if piece.nbytes else held
        except PayloadMissing as error:
            raise keeping.expired(ref) or error from None
        verify(ref, measured.length, measured.sha256)
    yield held


def _note(user: Any, ref: Reference) -> None:
    """Write down who gets what, before anything is sent."""
    of, name = ref.address, legible(user.get_name())
    told = {"key": of.key, "bytes": ref.length, "sha256": ref.sha256}
    place: dict[str, Any] = {"dag_id": of.dag_id, "run_id": of.run_id}
    place |= {"task_id": of.task_id, "map_index": of.map_index}
    with create_session() as session:
        session.add(Log(EVENT, owner=name, owner_display_name=name, extra=json.dumps(told), **place))
    fields = metrics.place(of) | {"operation": "download", "user": name, "bytes": ref.length}
    fields |= {"uri": ref.where}
    text = "XCom downloaded, %s, by %s (%d bytes, %s)"
    metrics.line(log, logging.INFO, text, of, name, ref.length, ref.where, fields=fields)


def name_of(ref: Reference) -> str:
    """What the file is called: as the one that was pushed, or by task and key."""
    if ref.filename:
        return ref.filename
    of = ref.address
    index = [str(of.map_index)] if of.map_index >= 0 else []
    image = re.fullmatch(r"image/([a-z0-9]{2,5})", ref.media_type)
    ending = _ENDINGS.get(ref.media_type, f".{image[1]}" if image else ".bin")
    return ".".join([of.dag_id, of.task_id, *index, of.key]) + ending


def disposition(name: str) -> str:
    """The header by which a browser keeps a file, and shows none: without what a shell, a file system or a
    header acts on, and in ASCII for who knows no RFC 5987."""
    name = "".join(one if one.isprintable() and one not in '/\\<>:"|?*' else "_" for one in name)
    name = name.strip(" .") or "payload"
    if len(name) > 120:
        stem, dot, ending = name.rpartition(".")
        name = f"{stem[:100]}{dot}{ending}" if stem and len(ending) < 20 else name[:120]
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
