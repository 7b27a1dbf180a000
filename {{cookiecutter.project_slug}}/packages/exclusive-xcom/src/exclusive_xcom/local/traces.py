"""Errors for people: what happened, and at which line of this project, which is what they can change."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import dropwhile
from pathlib import Path
from traceback import FrameSummary, StackSummary, TracebackException, extract_tb

from ..errors import XComError

NOT_OURS = {".venv", ".airflow", "packages", "site-packages"}
LONGEST = 4000  # characters
MOST = 5  # frames of a traceback without a line of this project
_UNDEFINED = re.compile(r"conn_id `([\w.-]+)` isn't defined")  # what Airflow says
_EXAMPLE = '\'{"conn_type": "…", "host": "…", "login": "…", "password": "…"}\''
_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+)(?:, in (?P<name>.+))?$')


def in_short(error: BaseException | str | None) -> str:
    """An error as its kind, its text and the line of this project where it came up."""
    if not isinstance(error, BaseException):
        return str(error or "no reason given")
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if (name := _UNDEFINED.search(text)) and not isinstance(error, XComError):
        text += f"\nWrite this line into connections.env: AIRFLOW_CONN_{name[1].upper()}={_EXAMPLE}"
    return f"{text}{_where(extract_tb(error.__traceback__))}"[:LONGEST]


def in_short_of_text(trace: str) -> str:
    """The same for an error of which only the printed traceback is left. Of a chain the last one counts."""
    lines = trace.rpartition("Traceback (most recent call last):\n")[2].rstrip().splitlines()
    frames, end = [], 0
    for number, line in enumerate(lines):
        if frame := _FRAME.match(line):
            source = lines[number + 1].strip() if number + 1 < len(lines) else ""
            frames.append(FrameSummary(frame["file"], int(frame["line"]), frame["name"] or "", line=source))
            end = number + 1
    while end < len(lines) and lines[end].startswith("    "):
        end += 1  # the source, and the marks below it
    text = "\n".join(lines[end:]) or "no reason given"
    return f"{text[:LONGEST]}{_where(frames)}"


def printed(error: BaseException) -> str:
    """The traceback as Python prints it, but from the first line of this project on."""
    whole = TracebackException.from_exception(error)
    told: TracebackException | None = whole
    while told:
        from_ours = list(dropwhile(lambda frame: not ours(frame.filename), told.stack))
        told.stack = StackSummary.from_list(from_ours or told.stack[-MOST:])
        told = told.__cause__ or told.__context__
    return "".join(whole.format())


def ours(file: str) -> Path | None:
    """The path in this project, which is the current folder, of a file that is its owner's; else None."""
    try:
        path = Path(file).relative_to(Path.cwd())
    except ValueError:
        return None
    return None if NOT_OURS & set(path.parts) else path


def _where(frames: Iterable[FrameSummary]) -> str:
    """The last of these frames that is in this project, as a line of its own; nothing, if none is."""
    for frame in reversed([*frames]):
        if path := ours(frame.filename):
            name = "" if frame.name in ("", "<module>") else f", {frame.name}"
            return f"\nin {path}, line {frame.lineno}{name}" + (f": {frame.line}" if frame.line else "")
    return ""
