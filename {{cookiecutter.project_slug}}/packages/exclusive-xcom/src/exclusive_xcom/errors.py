"""Every way in which handing over an XCom can fail, each with what to do about it.

All are subclasses of `XComError`, so `except XComError` catches them and nothing else. The text of an
error is put together when it is shown: what happened, to which XCom, what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .address import Address


_BREAKS = frozenset("\r\n\t\v\f")


class XComError(Exception):
    """Base of all errors of this package.

    Args:
        what: one sentence without a full stop: what happened.
        advice: one or two whole sentences: what to do about it.
        address: whose XCom it is; `about` adds it.

    Attributes:
        told: whether the log and the metrics have it already (transfer.py).
    """

    told = False

    def __init__(self, what: str, advice: str = "", *, address: Address | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice
        self.address = address

    def __str__(self) -> str:
        where = f" (XCom {self.address})" if self.address else ""
        return legible(f"{self.what}{where}. {self.advice}".rstrip())

    def __reduce__(self) -> tuple[object, ...]:
        # The default would call the class with str(self) alone and lose advice and address.
        return partial(type(self), self.what, self.advice, address=self.address), ()


def legible(text: str) -> str:
    """Text of one line, without what a terminal would obey or hide: escape sequences, marks of direction,
    halves of characters. They get into it from rows, which somebody may have forged."""
    if text.isprintable():  # nearly always, and twenty times as fast
        return text
    # In two steps, since a pattern of a break between blanks would try each of many blanks anew.
    text = re.sub(r"\s+", lambda gap: gap[0] if _BREAKS.isdisjoint(gap[0]) else " ", text)
    return visible(text)


def visible(text: str, kept: str = "") -> str:
    """Text in which an escape (`\\x1b`) stands for each character that can't be seen, except those `kept`."""
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def about(address: Address) -> Iterator[None]:
    """Name the XCom in an error that does not name one."""
    try:
        yield
    except XComError as error:
        error.address = error.address or address
        raise


class UnsupportedValue(XComError, TypeError):
    """No codec can carry this value so that the consumer gets exactly the same one back."""


class ValueTooLarge(XComError, ValueError):
    """The value, encoded, is larger than the backend or the configuration allows."""


class NoSpace(XComError, OSError):
    """This machine has no space for a file."""


class BadOption(XComError, ValueError):
    """An option in section [xcom] of Airflow's configuration, or what it names, has a value that it can't
    have."""


class Superseded(XComError):
    """A later try of the task instance has begun: this one may not write XComs any more."""


class CannotConfirmTry(XComError):
    """Airflow could not be asked whether this try is still the current one, so nothing was written."""


class NotAReader(XComError):
    """Who asks may not read this XCom: it does not run after it, and nothing names it as a reader."""


class AlreadyConsumed(XComError):
    """The XCom is read once, and its reader has read it and succeeded."""


class AlreadyPushed(XComError):
    """The key is pushed once by each try, and this one has pushed it."""


class SecretInXCom(XComError):
    """The value holds a secret that Airflow masks in its logs: it was not stored."""


class StaleXCom(XComError):
    """The row was written by a try that does not own the task's XComs (Redis)."""


class BadReference(XComError, ValueError):
    """The row claims to be a reference, but is malformed, forged, of a release that is not known here, or
    points outside the store."""


class MisplacedReference(BadReference):
    """The row holds the reference of another XCom than the one that was asked for, or that goes."""


class ForeignReference(XComError):
    """The row points to a backend that is not installed or configured here."""


class UnknownCodec(XComError):
    """The payload was written by a codec that this project does not have."""


class KeyMissing(XComError):
    """This process has not the key by which the XCom is, or would have to be, encrypted."""


class WrongKey(XComError):
    """The key that this process has under the id of the one by which the XCom is encrypted is another one."""


class NotEncrypted(XComError):
    """What is to be read has to be encrypted, by the keyset that the rules name, and is not."""


class PayloadError(XComError):
    """A stored payload could not be handed over whole."""


class PayloadMissing(PayloadError):
    """The payload is not in the store: deleted, expired or evicted."""


class PayloadReplaced(PayloadMissing):
    """The payload went because the XCom was pushed again after it was pulled."""


class PayloadExpired(PayloadMissing):
    """The payload went when its time was over, by the rule that the text names."""


class PayloadTruncated(PayloadError):
    """The payload is shorter or longer than what was pushed."""


class PayloadAltered(PayloadError):
    """The payload has the right length, but not the content that was pushed."""


class PayloadForged(PayloadError):
    """The payload, or what its row says of it, was not encrypted like that for this XCom: it was changed, or
    put together of others."""


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


def one(kind: str) -> str:
    """A kind of value with its article, as the beginning of a sentence: "An image", "A list"."""
    return f"A{'n' if kind[:1] in 'AEIOaeio' else ''} {kind}"


@contextmanager
def told_as(failure: Callable[[BaseException], XComError]) -> Iterator[None]:
    """Turn whatever a library raises into an error of ours, which `failure` makes of it. Ours stay as they
    are, and so do orders to stop."""
    try:
        yield
    except XComError:
        raise
    except BaseException as error:
        if not is_failure(error):
            raise
        raise failure(error) from error


def is_failure(error: BaseException) -> bool:
    """Whether something failed, and it is no order to stop, as Airflow's time-outs are: these are no
    `Exception`. A panic of Rust code, as polars' is, is none either, but a failure."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def reason(error: BaseException) -> str:
    """What an exception of a library says, in a few words."""
    return f"{type(error).__name__}: {error}"[:300]


#: A regular expression that is searched in what a store or its library said, the error that this means, and
#: its text: "what happened. What to do." Names in braces in the first part stand for facts of the case.
Refusal = tuple[str, type[XComError], str]


def refused(refusals: Iterable[Refusal], said: str, ending: str = "", **facts: object) -> XComError:
    """The error of the first refusal whose sign is found in what was said. The last one's is in every text.

    Args:
        ending: what is to stand behind what happened.
        facts: by the names in the texts.
    """
    kind, text = next((kind, text) for sign, kind, text in refusals if re.search(sign, said))
    what, _, advice = text.partition(". ")
    return kind(what.format(**facts) + ending, advice)
