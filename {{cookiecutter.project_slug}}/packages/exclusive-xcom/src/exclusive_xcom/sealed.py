"""The door to encryption: it is imported only where a keyset is set, or a row says that it is encrypted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from . import config
from .address import Address, Attempt
from .binding import Question
from .codecs import Payload
from .content import StoredContent
from .reference import Reference
from .store import Store

if TYPE_CHECKING:
    from .encryption import Encrypted
    from .keys import Key


def key_for(address: Address) -> Key | None:
    """The key that encrypts an XCom; None for one in plain. Raises as `keysets.for_push`."""
    if not config.is_encrypting():
        return None
    from . import keysets

    return keysets.for_push(address)


def payload_for(payload: Payload, key: Key | None, address: Address, attempt: Attempt) -> Payload:
    """A payload as it is to be stored: encrypted, if there is a key."""
    if key is None:
        return payload
    from . import encryption

    return encryption.encrypted(payload, key, address, attempt)


def described(ref: Reference, payload: Payload, key: Key | None) -> Reference:
    """The reference to a payload that was stored: what it would say of an encrypted one is encrypted, too."""
    if key is None:
        return ref
    from . import encryption

    return encryption.described(ref, cast("Encrypted", payload))


def check(question: Question, refs: Sequence[Reference | None]) -> None:
    """Raises `NotEncrypted` if one of the rows that answer a question has to be encrypted, and is not."""
    if config.is_encrypting():
        from . import encryption

        encryption.check(question, refs)


def opened(ref: Reference) -> Reference:
    """The reference with what it says of the value. Raises as `encryption.opened` if that is encrypted."""
    if ref.encryption is None:
        return ref
    from . import encryption

    return encryption.opened(ref)


def content_of(ref: Reference, store: Store, data: memoryview | None = None) -> StoredContent:
    """The verified bytes of a reference's payload as its codec made them; `data` if what the store has is
    fetched already. Raises as `encryption.opened`."""
    if ref.encryption is None:
        return StoredContent(ref, store, data)
    from . import encryption

    return encryption.content_of(ref, store, data)
