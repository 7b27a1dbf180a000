"""Every way in which handing over an XCom can fail, each with what to do about it.

All are subclasses of `XComError`, so `except XComError` catches them and nothing else. The text of an
error is put together when it is shown: what happened, to which XCom, what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .address import Address


class XComError(Exception):
    """Base of all errors of this package.

    Args:
        what: one sentence without a full stop: what happened.
        advice: one or two whole sentences: what to do about it.
        address: whose XCom it is; code that does not know it leaves it out and the backend adds it.
    """

    def __init__(self, what: str, advice: str = "", *, address: Address | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice
        self.address = address

    def about(self, address: Address) -> XComError:
        """Name the XCom, unless it is named already. Returns the error itself, so that it can be raised."""
        self.address = self.address or address
        return self

    def __str__(self) -> str:
        where = f" (XCom {self.address})" if self.address else ""
        return f"{self.what}{where}. {self.advice}".rstrip()

    def __reduce__(self) -> tuple[object, ...]:
        # The default would call the class with str(self) alone and lose advice and address.
        return _rebuild, (type(self), self.what, self.advice, self.address)


def _rebuild(cls: type[XComError], what: str, advice: str, address: Address | None) -> XComError:
    return cls(what, advice, address=address)


class UnsupportedValue(XComError, TypeError):
    """No codec can carry this value so that the consumer gets exactly the same one back."""


class ValueTooLarge(XComError, ValueError):
    """The value, encoded, is larger than the backend or the configuration allows."""


class BadOption(XComError, ValueError):
    """An option in section [xcom] of Airflow's configuration has a value that it can't have."""


class Superseded(XComError):
    """A later try of the task instance has begun: this one may not write XComs any more."""


class CannotConfirmTry(XComError):
    """Airflow could not be asked whether this try is still the current one, so nothing was written."""


class StaleXCom(XComError):
    """The row was written by a try that does not own the task's XComs (Redis)."""


class BadReference(XComError, ValueError):
    """The row claims to be a reference, but is malformed, forged, or points outside the store."""


class ForeignReference(XComError):
    """The row points to a backend that is not installed or configured here."""


class UnknownCodec(XComError):
    """The payload was written by a codec that this project does not have."""


class PayloadError(XComError):
    """A stored payload could not be handed over whole."""


class PayloadMissing(PayloadError):
    """The payload is not in the store: deleted, expired or evicted."""


class PayloadTruncated(PayloadError):
    """The payload is shorter or longer than what was pushed."""


class PayloadAltered(PayloadError):
    """The payload has the right length, but not the content that was pushed."""


class PayloadUnreadable(PayloadError):
    """The payload is what was pushed, but its codec cannot decode it."""


class StoreError(XComError):
    """The store refused or failed."""


class StoreUnreachable(StoreError):
    """No answer from the store: wrong address, network, TLS, or it is down."""


class StoreDenied(StoreError):
    """The store answered, but the credentials do not allow the operation."""


class StoreMisconfigured(StoreError):
    """The store answered, but is not set up as this project needs it."""


class LeaseTimeout(StoreError):
    """Somebody else held the lease for longer than we were ready to wait."""


class LeaseLost(StoreError):
    """The lease expired or was taken over while we were working under it."""


class Refusal(NamedTuple):
    """What it means when a store, or the library that talks to it, says something.

    Attributes:
        sign: a regular expression that is searched in what was said.
        kind: the error.
        what: what happened; names in braces stand for the facts of the case.
        advice: what to do about it.
    """

    sign: str
    kind: type[XComError]
    what: str
    advice: str


def refused(refusals: Iterable[Refusal], said: str, **facts: object) -> XComError | None:
    """The error for the first refusal whose sign is found in what was said; None if there is none."""
    for sign, kind, what, advice in refusals:
        if re.search(sign, said):
            return kind(what.format(**facts), advice)
    return None
