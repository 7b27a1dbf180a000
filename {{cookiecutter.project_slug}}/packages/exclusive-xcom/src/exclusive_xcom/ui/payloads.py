"""What a task instance has handed over: from the rows alone, without a store and without a codec."""

from __future__ import annotations

import json
import struct
from base64 import b64decode
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from airflow.models import DagRun
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import Text, case, cast, func, select

from .. import config, glimpse, preview
from ..address import Address
from ..errors import reason
from ..handle import human_size
from ..inspection import map_index_column
from ..preview.lines import NUMBERS, first, lines
from ..preview.thumbnails import MOST_SIDE
from ..reference import Reference
from ..upkeep.airflow_rest import ENDED_WELL
from ..upkeep.rows import Entry
from . import downloads, tries, words

AT_ONCE = 25  # XComs of a page
_OPEN = 5  # of which so many are shown whole
_WIDTH = 110  # characters of a line of JSON


@dataclass(frozen=True)
class Shown:
    """An XCom as a page shows it."""

    entry: Entry
    current: int  # the number of the task instance's current try
    former: int | None  # the number of the try that wrote it, if another one has replaced that
    now: datetime
    ended_well: bool

    @property
    def address(self) -> Address:
        """Whose it is."""
        return self.entry.address

    @property
    def ref(self) -> Reference | None:
        """What its row says of a stored value; None of a plain one."""
        return self.entry.ref

    @property
    def state(self) -> tuple[str, str, str]:
        """What is the matter with it: how it is marked, in a word, and in a sentence; empty if nothing is."""
        if self.entry.why_not:
            return "bad", "unreadable", self.entry.why_not
        if self.former is not None:
            said = f"Try {self.former} wrote it, and try {self.current} is the current one."
            return "warn", "superseded", said
        if self.ref is None:
            return "", "", ""
        if glimpse.is_over(self.ref, self.now, run_ended_well=self.ended_well):
            said = "Its time is over, so its payload may be gone. Nothing of the value is shown any more."
            return "warn", "expired", said
        return "", "", ""

    @property
    def is_given(self) -> bool:
        """Whether its payload may be downloaded, where anything may: not what an earlier try wrote."""
        over = self.ref and glimpse.is_over(self.ref, self.now, run_ended_well=self.ended_well)
        return self.ref is not None and self.former is None and not over and not downloads.why_not(self.ref)

    @property
    def kept_in(self) -> str:
        """Where the payload is; "" if it is in the row."""
        return (self.ref.uri or "") if self.ref else ""

    @property
    def expires(self) -> str:
        """When it goes, and by which rule; "" if never."""
        if self.ref is None or (end := self.ref.expires) is None:
            return ""
        parts = ["when its run has ended well"] if end.run else []
        parts += [f"{words.left(end.at, self.now)} ({words.when(end.at)})"] if end.at else []
        return f"{', or '.join(parts)}, by {end.rule}"

    @property
    def command(self) -> str:
        """What shows it in a terminal."""
        return words.command(self.address)

    @cached_property
    def preview(self) -> dict[str, Any] | None:
        """What is told of the value; None if nothing is."""
        if self.entry.why_not:
            return None
        if self.ref is None:
            return preview.preview(self.entry.stored, values=True, kept=True)
        return glimpse.of(self.ref, self.now, run_ended_well=self.ended_well)

    @property
    def numbers(self) -> list[bool]:
        """Which of the preview's columns stand to the right; one more for each cell beyond them."""
        columns = (self.preview or {}).get("columns", [])
        longest = max(map(len, (self.preview or {}).get("head", [])), default=0)
        found = [NUMBERS.match(column["type"]) is not None for column in columns]
        return [*found, *[False] * (longest - len(found))]

    @property
    def text(self) -> str:
        """Of the preview what is text."""
        if self.preview is None or not {"value", "beginning", "first"} & self.preview.keys():
            return ""
        if "first" in self.preview:
            return first(self.preview)
        return "\n".join(lines(self.preview, _WIDTH))

    @property
    def picture(self) -> str:
        """The preview's picture as a URL; "" for none, and for what is not one of those that are made."""
        data = (self.preview or {}).get("picture", "")
        kind, *sides = _form_of(data)
        return f"data:image/{kind};base64,{data}" if kind and max(sides) <= MOST_SIDE else ""

    @property
    def line(self) -> list[str]:
        """Points of the preview's line, for SVG; a piece ends where a number is missing."""
        points = (self.preview or {}).get("line", [])
        step = 600 / max(len(points) - 1, 1)
        pieces: list[list[str]] = [[]]
        for at, point in enumerate(points):
            if point is None:
                pieces.append([])
            else:
                pieces[-1].append(f"{at * step:.1f},{104 - point}")
        return [" ".join(piece) for piece in pieces if piece]


@dataclass(frozen=True)
class Found:
    """A page of what was looked for."""

    address: Address
    index: int | None
    word: str
    number: int
    total: int
    shown: list[Shown]
    state: str
    is_there: bool

    @property
    def pages(self) -> int:
        """How many there are."""
        return max(1, -(-self.total // AT_ONCE))

    @property
    def is_mapped(self) -> bool:
        """Whether several instances are shown, or one of several."""
        return any(each.address.map_index >= 0 for each in self.shown) or self.index is not None

    def is_open(self, at: int) -> bool:
        """Whether that one is shown whole."""
        return at < _OPEN and self.shown[at].former is None


def _form_of(picture: str) -> tuple[str, int, int]:
    """A picture's form, width and height; "" if it has another one. A few bytes may claim to be an image that
    takes a browser a gigabyte."""
    try:
        head = b64decode(picture[:48])
        if head[:8] == b"\x89PNG\r\n\x1a\n":
            width, height = struct.unpack_from(">II", head, 16)
            return "png", width, height
        if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8 ":
            width, height = struct.unpack_from("<HH", head, 26)
            return "webp", width, height
        if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X":
            width, height = (int.from_bytes(side, "little") + 1 for side in (head[24:27], head[27:30]))
            return "webp", width, height
    except (ValueError, struct.error):
        pass
    return "", 0, 0


def _entry(of: Address, written: datetime, size: int | None, text: str | None) -> Entry:
    """What a row holds, as the text that a database has; None of one that is too large."""
    if size is not None and text is None:
        trouble = f"The row takes {human_size(size)}, which is too large to be shown here"
        return Entry(of, written, None, trouble=trouble, row_size=size)
    try:
        return Entry(of, written, None if text is None else json.loads(text))
    except (ValueError, RecursionError) as error:
        trouble = f"The row is no JSON that can be read ({reason(error)})"
        return Entry(of, written, None, trouble=trouble, row_size=size or 0)


def find(dag_id: str, run_id: str, task_id: str, index: int | None, word: str = "", number: int = 1) -> Found:
    """A page of the XComs of a task instance; of all instances of a mapped task without an index.

    Args:
        word: what keys must have in them.
        number: of the page, from 1.
    """
    where = [XComModel.dag_id == dag_id, XComModel.run_id == run_id, XComModel.task_id == task_id]
    map_index = map_index_column()
    if index is not None:
        where.append(map_index == index)
    if word:
        where.append(XComModel.key.contains(word, autoescape=True))
    # As texts: one that is no JSON, or too large, is to hide none beside it.
    text = cast(XComModel.value, Text)
    size, most = func.length(text), config.MAX_ROW_SIZE.read() * 9 // 8  # databases write blanks into JSON
    columns = (
        map_index,
        XComModel.key,
        XComModel.timestamp,
        size,
        case((size <= most, text)),
        tries.writer(),
    )
    order = map_index, XComModel.key != "return_value", XComModel.key, XComModel.timestamp.desc()
    rows = select(*columns).where(*where).order_by(*order)
    of_task = tries.current(dag_id, run_id, task_id)
    now = datetime.now(UTC)
    with create_session() as session:
        state = session.scalar(select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        count = select(func.count()).select_from(XComModel).where(*where)
        total = session.scalar(count, **tries.EVERY) or 0
        found = session.execute(rows.limit(AT_ONCE).offset((number - 1) * AT_ONCE), **tries.EVERY).all()
        numbers = tries.numbers(session, of_task, {row[0] for row in found})
        is_there = bool(numbers) or session.scalar(select(of_task.exists())) is True
        entries = [
            _entry(Address.of(dag_id, run_id, task_id, at, key), written, size, value)
            for at, key, written, size, value, _ in found
        ]
        writers = [
            str(row[5] or (each.ref.attempt.ti_id if each.ref else ""))
            for row, each in zip(found, entries, strict=True)
        ]
        former = tries.former(session, writers)
    shown = [
        Shown(
            each,
            numbers.get(each.address.map_index, 0),
            former.get(writer),
            now,
            state == ENDED_WELL,
        )
        for each, writer in zip(entries, writers, strict=True)
    ]
    address = Address.of(dag_id, run_id, task_id, index)
    return Found(address, index, word, number, total, shown, str(state or ""), is_there)
