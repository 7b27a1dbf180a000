"""What the metadata database keeps of a value that is not plain JSON: where it is, whose, and its digest.

A reference is small JSON, legible in Airflow's UI. It carries its own address, so that it can be compared
with what was asked for (binding.py), and the digest of the payload, so that what is read can be proved to be
what was pushed. Values too small to store elsewhere travel inside it.

A reader ignores entries that it does not know, unless `must` names them: then it refuses the row in words. So
what a value depends on is named there, and what only helps, as a preview, is not. What changes the bytes of a
payload is a new form of its codec (codecs/__init__.py).
"""

from __future__ import annotations

import base64
import contextlib
import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Any, TypeGuard

import msgspec

from .address import Address, Attempt
from .errors import BadReference, legible

MARK = "$xcom"  # the key that tells a reference from a value; its value is the version
VERSION = "3"
UNDERSTOOD = frozenset({"encryption", "readers", "once"})  # entries that `must` may name here
_FIRST = ("kind", "summary", "length", "uri")  # what a person looks for
_RULE = 300  # characters of a rule that are told
_TEXT = "application/json"  # legible UTF-8, so that a row can hold it as it is


@dataclass(frozen=True)
class Expiry:
    """When a payload goes (keeping.py).

    Attributes:
        rule: which says so, for people.
        at: when its time is over; None if only its run counts.
        run: whether it may go as soon as its run has ended well.
    """

    rule: str
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    run: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "rule", legible(self.rule)[:_RULE])


@dataclass(frozen=True)
class Encryption:
    """By which key a payload is encrypted (encryption.py).

    Attributes:
        key: its id in the keyset.
        check: nothing, encrypted by it: tells whether a key of that id is the same.
        about: what the reference would say of the value, encrypted. Both in base64.
    """

    key: Annotated[int, msgspec.Meta(ge=1, lt=2**32)]
    check: Annotated[str, msgspec.Meta(max_length=1024)]
    about: str


@dataclass(frozen=True)
class Reference:
    """One stored value.

    Attributes:
        address, attempt: whose XCom it is and which try wrote it.
        codec, meta: what decodes it, and what that needs beyond the bytes.
        kind, summary: for people: "pandas DataFrame", "1,000 rows × 4 columns".
        media_type, filename: for other tools.
        length, sha256: of the payload, in bytes and hexadecimal digits.
        uri: where the payload is; None when `data` holds it.
        data: the payload itself, as text if it is JSON and in base64 otherwise; None when it is elsewhere.
        lazy: whether the producer asked for the consumer to get a `Handle`.
        expires: when its time is over; None if never.
        readers: who alone may read it, as patterns of "dag.task"; none if nothing is said (access.py).
        once: whether it is read once, by the one reader.
        encryption: by which key it is encrypted; None if it is not. Then length and sha256 are those of the
            encrypted bytes, and codec, kind, summary, media_type, filename and meta say nothing of the value.
        preview: what `glimpse` tells of the value, as JSON; "" if nothing.
    """

    address: Address
    attempt: Attempt
    codec: str
    kind: str
    media_type: str
    length: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    summary: str = ""
    uri: str | None = None
    data: str | None = None
    filename: str | None = None
    lazy: bool = False
    expires: Expiry | None = None
    readers: tuple[str, ...] = ()
    once: bool = False
    encryption: Encryption | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    preview: str = ""

    def __post_init__(self) -> None:
        # A file's name may be no Unicode, which no database and no log takes.
        for name in ("summary", "filename"):
            if text := getattr(self, name):
                object.__setattr__(self, name, text.encode(errors="replace").decode())
        for name in ("kind", "summary"):  # people see them, in the log too
            object.__setattr__(self, name, legible(getattr(self, name)))

    def row(self) -> dict[str, Any]:
        """The JSON that Airflow keeps."""
        address = _shallow(self.address)
        if not self.address.region:
            del address["region"]
        if self.address.turn < 0:
            del address["turn"]
        whole = {**_shallow(self), "address": address, "attempt": _shallow(self.attempt)}
        # Airflow's page shows them in this order, but for PostgreSQL's, which keeps its own.
        whole = {name: whole[name] for name in _FIRST} | whole
        fields = {name: value for name, value in whole.items() if value not in (None, "", False, {}, ())}
        # PostgreSQL keeps JSON as numbers and objects of its own kind (jsonb), which may change what a
        # codec noted; as text it stays as it is.
        if self.meta:
            fields["meta"] = json.dumps(self.meta, ensure_ascii=True)
        if self.expires:
            told = msgspec.to_builtins(self.expires)
            fields["expires"] = {name: value for name, value in told.items() if value}
        if self.readers:
            fields["readers"] = list(self.readers)
        if self.encryption:
            fields["encryption"] = _shallow(self.encryption)
        if must := sorted(UNDERSTOOD & fields.keys()):
            fields["must"] = must
        return {**fields, MARK: VERSION}

    @property
    def where(self) -> str:
        """Where the payload is, for people: its URI, or "row"."""
        return self.uri or "row"

    def inline_bytes(self) -> bytes:
        """The payload of a reference that holds it. Raises `BadReference`."""
        if self.data is None:
            raise BadReference("The reference does not hold its payload")
        form = "text" if self.media_type == _TEXT and not self.encryption else "base64"
        try:
            return self.data.encode() if form == "text" else base64.b64decode(self.data, validate=True)
        except ValueError as error:
            raise BadReference(f"The payload in the row is not {form}") from error


def inline(media_type: str, payload: bytes) -> str:
    """The form in which a reference holds its payload: text if it is JSON, otherwise base64."""
    return payload.decode() if media_type == _TEXT else base64.b64encode(payload).decode()


# msgspec notes what it has learned of a class when it first makes one, and crashes if two threads do so at
# once (0.22): so it learns it here, where there is one.
with contextlib.suppress(msgspec.ValidationError):
    msgspec.convert({}, Reference)


def is_reference(row: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a row claims to be a reference. A user's own dict with that key never gets into a row bare."""
    return isinstance(row, dict) and MARK in row


def parse(row: dict[str, Any]) -> Reference:
    """Read a row back. Nothing in it is trusted: every field is checked for type and range.

    Raises:
        BadReference: malformed, or of a version, or with entries that have to be understood, that this code
            does not know.
    """
    if row.get(MARK) != VERSION:
        raise BadReference(
            f"The row is a reference of version {row.get(MARK)!r}; this project reads version {VERSION!r}",
            "It was written by another release of exclusive-xcom, or by hand. Bring all workers to the same "
            "release, and run the task that pushed it again.",
        )
    try:
        if unknown := set(msgspec.convert(row.get("must", []), list[str])) - UNDERSTOOD:
            raise BadReference(
                f"The row needs {', '.join(map(repr, sorted(unknown)))}, which this release does not know",
                "A newer release of exclusive-xcom wrote it. Bring this worker to that release.",
            )
        fields = {"attempt": {}, "length": 0, **row}  # a row leaves out what is empty
        if "meta" in fields:
            fields["meta"] = json.loads(fields["meta"])
        if not isinstance(fields.get("preview", ""), str):
            del fields["preview"]  # it only helps, so it is no reason to refuse a row
        reference = msgspec.convert(fields, Reference)
        if reference.uri is not None and reference.data is not None:
            raise ValueError("it has both a uri and data")
        if reference.length and reference.uri is None and reference.data is None:
            raise ValueError("it has neither a uri nor data")
    except BadReference:
        raise
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise BadReference(
            f"The row is not a well-formed reference ({type(error).__name__}: {error})",
            "It was changed by hand or by another program. Run the task that pushed it again.",
        ) from error
    return replace(reference, data="") if reference.uri is None and not reference.length else reference


def _shallow(item: Any) -> dict[str, Any]:
    """The fields of a dataclass. `asdict` would copy all that is in them, which takes longest of all."""
    return {name: getattr(item, name) for name in item.__dataclass_fields__}
