"""What codecs share, a project's own too: one error for what can't be decoded, the size limit, words."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from typing import Any

from ..errors import (
    PayloadUnreadable,
    UnsupportedValue,
    ValueTooLarge,
    reason,
    told_as,
)
from . import Options

THREADS = 4  # that pack one value
ROW_UNFOLDS = 64  # times AIRFLOW__XCOM__MAX_ROW_SIZE that a value may take whose bytes are in a row
_LIMITS = f"AIRFLOW__XCOM__MAX_DECODED_SIZE; of what is in a row {ROW_UNFOLDS} × AIRFLOW__XCOM__MAX_ROW_SIZE"


def readable(what: str) -> contextlib.AbstractContextManager[None]:
    """Turn every exception that decoding raises into `PayloadUnreadable`: libraries have their own each."""

    def failure(error: BaseException) -> PayloadUnreadable:
        said = reason(error)
        advice = "Perhaps another version of the library wrote it. Run the task that pushed it again."
        if isinstance(error, ImportError):
            advice = "Install it where this task runs, as it is where the value was pushed."
        elif isinstance(error, MemoryError):  # also Arrow's
            said = "there is too little memory"
            advice = (
                "Give the worker more memory, let it run fewer tasks at once, or pull a part of the value."
            )
        elif isinstance(error, OSError) and error.errno:  # Arrow's own have no number
            said = os.strerror(error.errno)
            advice = "The payload is well: look at this machine's disk for temporary files, and its limits."
        return PayloadUnreadable(f"The payload can't be decoded as {what} ({said})", advice)

    return told_as(failure)


def check_known(found: Any, known: Collection[str], what: str) -> None:
    """Refuse notes of a payload of which no release up to this one writes. Raises `PayloadUnreadable`."""
    if found not in known:
        raise PayloadUnreadable(f"The payload has the {what} {found!r:.60}, which this release does not know")


def check_decoded(size: int, options: Options) -> None:
    """Refuse a payload that takes more memory than allowed, before it does. Raises `PayloadUnreadable`."""
    options.note(size)
    if not 0 <= size <= options.max_size:
        raise PayloadUnreadable(
            f"Decoded, the payload would take {size:,} bytes; the limit is {options.max_size:,}"
            f"{options.beside}",
            f"If it is what your pipeline made, raise the limit: {_LIMITS}.",
        )


def check_encoded(what: str, size: int, options: Options, *, first: str = "") -> None:
    """Refuse a value of at least `size` bytes that no consumer would be allowed to decode. Raises
    `ValueTooLarge`, which calls it `what` ("A numpy array"); `first` is better advice than a higher limit."""
    options.note(size)
    if size > options.max_size:
        advice = f"{first} Otherwise raise" if first else "Raise"
        raise ValueTooLarge(
            f"{what} of {size:,} bytes is over the limit of {options.max_size:,} for a decoded value"
            f"{options.beside}",
            f"{advice} the limit ({_LIMITS}), or write a file and return its Path.",
        )


@contextlib.contextmanager
def within(place: str) -> Iterator[None]:
    """Add to an `UnsupportedValue` in which part of the value the trouble is."""
    try:
        yield
    except UnsupportedValue as error:
        raise UnsupportedValue(f"{error.what}, in {place}", error.advice) from error


def extent(rows: int, columns: int | None = None) -> str:
    """ "1,000 rows × 1 column"; "1 value" if there are no columns to count."""
    return count(rows, "value") if columns is None else f"{count(rows, 'row')} × {count(columns, 'column')}"


def sized(value: Any) -> str:
    """How much there is of a text or of what has items: "43 characters", "6 items"; "" of anything else."""
    if isinstance(value, str):
        return count(len(value), "character")
    return count(len(value), "item") if isinstance(value, dict | list | tuple | set | frozenset) else ""


def count(number: int, noun: str) -> str:
    """ "1 row", "1,000 rows"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
