"""The preview that a row keeps of a stored value: made when it is pushed, shown without the payload.

Rows are in Airflow's database, in its REST answers and its backups. So by default a preview has types, sizes
and counts alone; the beginning of a value is for who chooses it (AIRFLOW__XCOM__PREVIEW=full).
"""

from __future__ import annotations

import json
import logging
from datetime import datetime
from typing import Annotated, Any, TypedDict

import msgspec

from . import airflow_compat, config
from .address import Address
from .codecs import Payload
from .errors import is_failure
from .preview import MOST, preview, without_values
from .reference import Reference

_SMALL = 1024  # bytes of JSON
log = logging.getLogger(__name__)


def made(address: Address, value: Any, payload: Payload, *, is_for_few: bool = False) -> str:
    """The JSON that a value's row keeps; "" if there is nothing that it would add. It never fails a push.

    Args:
        is_for_few: whether its producer says who alone may read it.

    Raises:
        BadOption: AIRFLOW__XCOM__PREVIEW is none.
    """
    chosen = config.PREVIEW.read()
    says_all = payload.codec.startswith("structured/") and payload.length <= _SMALL  # "6 items"
    if chosen == "off" or (chosen == "shape" and says_all):
        return ""
    try:
        values = chosen == "full" and not is_for_few and may_tell_values(address)
        found = preview(value, values=values, kept=True, hide=airflow_compat.without_secrets)
    except BaseException as error:
        if not is_failure(error):
            raise
        log.debug("No preview of %s was made (%s)", address, type(error).__name__, exc_info=error)
        return ""
    return json.dumps(found, separators=(",", ":")) if len(found) > 1 else ""


def may_tell_values(address: Address) -> bool:
    """Whether a preview may tell the beginning of a value. Here is decided what never leaves its payload."""
    return address.map_index < 0 and address.turn < 0  # of a mapped task, or a loop, there may be thousands


# -- as it is read ----------------------------------------------------------------------------------


class _Column(TypedDict, total=False):
    name: str
    type: str
    nulls: int
    least: str
    most: str


class _Preview(TypedDict, total=False):
    """What `preview` makes. A row may have been changed by hand."""

    kind: str
    rows: int | None
    columns: list[_Column]
    more_columns: int
    head: list[list[str]]
    dtype: str
    shape: list[int]
    first: list[str]
    line: Annotated[list[Annotated[int, msgspec.Meta(ge=0, le=100)] | None], msgspec.Meta(max_length=100)]
    picture: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9+/]+={0,2}$")]
    width: int
    height: int
    mode: str
    name: str
    bytes: int
    characters: int
    beginning: str
    items: int
    kinds: dict[str, int]
    value: Any


# Made here, where there is one thread: see reference.py.
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_Preview)


def of(ref: Reference, now: datetime | None = None, *, run_ended_well: bool = False) -> dict[str, Any] | None:
    """The preview that a reference has; None if it has none, or what is none. Once its payload's time is
    over, only what is no value is left of it."""
    if not 0 < len(ref.preview) <= MOST:
        return None
    try:
        found = dict(_decoder.decode(ref.preview))
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    if "kind" not in found or ("columns" in found and not {"rows", "more_columns"} <= found.keys()):
        return None
    if "first" in found and "shape" not in found:
        return None
    if any(not {"name", "type"} <= column.keys() for column in found.get("columns", [])):
        return None
    if _is_deep(found.get("value")):
        return None
    return without_values(found) if is_over(ref, now, run_ended_well=run_ended_well) else found


def _is_deep(value: Any, left: int = 10) -> bool:
    """Whether lists and dicts are in one another deeper than `preview` makes them."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return not left or any(_is_deep(each, left - 1) for each in inner)


def is_over(ref: Reference, now: datetime | None = None, *, run_ended_well: bool = False) -> bool:
    """Whether a payload's time is over, so that it may be gone."""
    if ref.expires is None:
        return False
    by_time = bool(now and ref.expires.at and ref.expires.at <= now)
    return by_time or (ref.expires.run and run_ended_well)
