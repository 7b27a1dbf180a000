"""What a producer wishes for a value that it wraps: `lazy`, `keep` and `exclusive`, in any order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from .access import Access, Exclusive
from .errors import UnsupportedValue
from .handle import Handle, Lazy
from .keeping import Kept, Time


@dataclass(frozen=True)
class Wishes:
    """What was said of a value.

    Attributes:
        lazy: its consumer gets a handle.
        kept: for how long; None if the rules say.
        access: who reads it, and how often; None if the rules say.
    """

    lazy: bool = False
    kept: Time | None = None
    access: Access | None = None

    def said(self) -> dict[str, Any]:
        """What of it the reference says, beside until when."""
        access = self.access or Access()
        return {"lazy": self.lazy, "readers": access.readers, "once": access.once}


def unwrapped(value: Any) -> tuple[Any, Wishes]:
    """The value inside of its wrappers, and what they say. The outer one of a kind was said last.

    Also for the values of a returned dict, whose keys `multiple_outputs` has pushed alone before it pushes
    the dict itself: that is kept for the shortest of their times, and read by whom all of them name.

    Raises `UnsupportedValue`.
    """
    wishes = Wishes()
    while (kind := type(value)) in (Lazy, Kept, Exclusive):
        if kind is Lazy:
            wishes = replace(wishes, lazy=True)
        elif kind is Kept:
            wishes = replace(wishes, kept=wishes.kept or value.time)
        else:
            wishes = replace(wishes, access=wishes.access or value.access)
        value = value.value
    if type(value) is dict and any(type(item) in (Lazy, Kept, Exclusive) for item in value.values()):
        parts = {key: unwrapped(item) for key, item in value.items()}
        said = [wish for _, wish in parts.values()]
        kept = wishes.kept or Time.shortest(wish.kept for wish in said if wish.kept)
        access = wishes.access or _shared(wish.access for wish in said if wish.access)
        return {key: item for key, (item, _) in parts.items()}, replace(wishes, kept=kept, access=access)
    if type(value) is Handle:
        raise UnsupportedValue(
            "A Handle was pushed: it stands for another task's XCom and may outlive it",
            "Push what handle.load() gives, or let the consumer pull from the first producer.",
        )
    return value, wishes


def _shared(several: Iterable[Access]) -> Access | None:
    """What is said of the parts of a dict, for the whole."""
    if not (said := list(dict.fromkeys(several))):
        return None
    if len(said) > 1:
        raise UnsupportedValue(
            "The values of a dict are exclusive in different ways, and the dict is pushed whole, too",
            "Say it of the dict: exclusive({…}, readers=[…]). Or push the values by ti.xcom_push().",
        )
    return said[0]
