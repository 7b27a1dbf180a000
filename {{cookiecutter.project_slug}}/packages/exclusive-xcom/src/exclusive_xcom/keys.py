"""Keysets as Tink has them: read and written, also wrapped by the key of a KMS; keys made and retired.

Tink is imported when the first keyset is, and by nothing else. Nothing here shows key material: a keyset goes
out as text alone, for a file.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .errors import BadOption, KeyMissing, XComError

# What a payload looks like: Tink's template AES256_GCM_HKDF_1MB.
KIND = "AES256_GCM_HKDF_1MB"
_TYPE = "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey"
SEGMENT = 2**20  # bytes of a segment of the encrypted stream
HEADER = 1 + 32 + 7  # its own length, salt, and prefix of the nonces; in the first segment
TAG = 16  # in each segment
_MAKE = f"Make one by `xcom keys create FILE`, or by `tinkey create-keyset --key-template {KIND}`."


class Key(NamedTuple):
    """One that encrypts and decrypts: the name of its keyset, its id, and Tink's `StreamingAead`."""

    keyset: str
    number: int
    aead: Any


@dataclass(frozen=True)
class Keyset:
    """The keys of a source.

    Attributes:
        primary: the id of the one that encrypts.
        keys: those that are enabled, by id.
        states: "enabled", "disabled" or "destroyed", by id.
    """

    name: str
    primary: int
    keys: Mapping[int, Key] = field(repr=False)
    states: Mapping[int, str]


def loaded(name: str, text: str, kms: str = "") -> Keyset:
    """The keyset in a text, which the key of a KMS has wrapped if one is named. Raises `BadOption` if it is
    none that payloads can be encrypted by, and `KeyMissing` if the KMS does not unwrap it."""
    found = parsed(name, text, kms)
    states = {key.key_id: _state(key) for key in found.key}
    keys = {key.key_id: Key(name, key.key_id, _aead(key)) for key in found.key if _state(key) == "enabled"}
    if found.primary_key_id not in keys:
        raise BadOption(f"Keyset {name!r} has no primary key that is enabled", _MAKE)
    return Keyset(name, found.primary_key_id, keys, states)


# -- reading and writing ----------------------------------------------------------------------------


def parsed(name: str, text: str, kms: str = "") -> Any:
    """Tink's message of a keyset. Raises as `loaded`."""
    tink = _tink()
    try:
        is_wrapped = "encryptedKeyset" in json.loads(text)
    except (ValueError, TypeError, RecursionError):
        raise BadOption(f"Keyset {name!r} is not one in Tink's JSON form", _MAKE) from None
    if is_wrapped != bool(kms):
        what = "wrapped by a KMS, and no KMS is named" if is_wrapped else "not wrapped, and a KMS is named"
        raise BadOption(f"Keyset {name!r} is {what} for it", "See `kms` and AIRFLOW__XCOM__KEYSET_KMS.")
    try:
        if not kms:
            found = tink.JsonKeysetReader(text).read()
        else:
            handle = tink.json_proto_keyset_format.parse_encrypted(text, _wrapping(kms), b"")
            found = _message(handle)
    except XComError:
        raise
    except Exception as error:  # the text of one may hold the keyset, or a token
        if kms:
            raise KeyMissing(
                f"Keyset {name!r} was not unwrapped by {kms} ({type(error).__name__})",
                "Look whether this process may decrypt with that key, and whether the KMS answers.",
            ) from None
        raise BadOption(f"Keyset {name!r} is not one in Tink's JSON form", _MAKE) from None
    for key in found.key:
        _check(name, key)
    ids = [key.key_id for key in found.key]
    if 0 in ids or len(set(ids)) < len(ids):  # a row could not say by which of them it is encrypted
        raise BadOption(f"Keyset {name!r} has a key without an id, or two of one id", _MAKE)
    return found


def text_of(found: Any, kms: str = "") -> str:
    """A keyset for a file, wrapped by the key of a KMS if one is named. Raises `KeyMissing` if that fails."""
    tink, written = _tink(), io.StringIO()
    if not kms:
        tink.JsonKeysetWriter(written).write(found)
        return written.getvalue() + "\n"
    try:
        made = tink.json_proto_keyset_format.serialize_encrypted(_handle(found), _wrapping(kms), b"")
        return str(made) + "\n"
    except XComError:
        raise
    except Exception as error:
        raise KeyMissing(
            f"The keyset was not wrapped by {kms} ({type(error).__name__})",
            "Look whether your identity may encrypt and decrypt with that key, and whether the KMS answers.",
        ) from None


def _wrapping(uri: str) -> Any:
    """The key of a KMS, by its URI, with the credentials of its own client library."""
    kind, _, path = uri.partition("://")
    try:
        if kind == "aws-kms":
            from tink.integration import awskms

            return awskms.AwsKmsClient(uri, None).get_aead(uri)
        if kind == "gcp-kms":
            from tink.integration import gcpkms

            return gcpkms.GcpKmsClient(uri).get_aead(uri)
        if kind == "hcvault":
            import hvac
            from tink.integration import hcvault

            return hcvault.new_aead(path, hvac.Client())  # VAULT_ADDR and VAULT_TOKEN say where and who
    except ImportError as error:
        extra = kind.replace("-", "")
        advice = f"Add it, by `make add PACKAGES='tink[{extra}]'` in the project, and install it anew."
        raise BadOption(f"{uri} needs a library that is not installed ({error})", advice) from None
    known = "aws-kms://arn:aws:kms:…, gcp-kms://projects/… and hcvault://transit/keys/…"
    raise BadOption(f"{kind}:// is no KMS that is known", f"There are {known}.")


# -- rotation ---------------------------------------------------------------------------------------


def new_keyset() -> Any:
    """A keyset with one key."""
    return _message(_tink().new_keyset_handle(_template()))


def add(found: Any) -> int:
    """Add a key that decrypts, and does not encrypt yet; its id."""
    while (made := new_keyset().key[0]).key_id in {key.key_id for key in found.key}:
        pass
    found.key.add().CopyFrom(made)
    return int(made.key_id)


def state(found: Any, number: int) -> str:
    """ "enabled", "disabled" or "destroyed"; "" of a key that is not there."""
    return next((_state(key) for key in found.key if key.key_id == number), "")


def activate(found: Any, number: int) -> None:
    """Let an enabled key be the one that encrypts."""
    found.primary_key_id = number


def destroy(found: Any, number: int) -> None:
    """Take the material of a key away. Its id stays, so that an error can tell what became of it."""
    from tink.proto import tink_pb2

    for key in found.key:
        if key.key_id == number:
            key.ClearField("key_data")
            key.status = tink_pb2.DESTROYED


# -- Tink -------------------------------------------------------------------------------------------


def _tink() -> Any:
    try:
        import tink
        from tink import streaming_aead
    except ImportError as error:
        raise BadOption(
            f"XComs are encrypted by a library that is not installed here ({error})",
            "Add it, by `make add PACKAGES='exclusive-xcom[encryption]'` in the project, and install it anew "
            "where this task runs.",
        ) from None
    streaming_aead.register()
    return tink


def _template() -> Any:
    from tink.streaming_aead import streaming_aead_key_templates

    return streaming_aead_key_templates.AES256_GCM_HKDF_1MB


def _check(name: str, key: Any) -> None:
    """Raises `BadOption` unless it is of the one kind whose encrypted length is known."""
    from tink.proto import aes_gcm_hkdf_streaming_pb2 as of_kind

    if _state(key) == "destroyed":
        return
    wanted = of_kind.AesGcmHkdfStreamingKeyFormat.FromString(_template().value)
    try:
        is_ours = key.key_data.type_url == _TYPE
        found = of_kind.AesGcmHkdfStreamingKey.FromString(key.key_data.value) if is_ours else None
        is_ours = found is not None and found.params == wanted.params and len(found.key_value) == 32
    except Exception:
        is_ours = False
    if not is_ours:
        raise BadOption(f"Key {key.key_id} of keyset {name!r} is of another kind than {KIND}", _MAKE)


def _state(key: Any) -> str:
    from tink.proto import tink_pb2

    names = {tink_pb2.ENABLED: "enabled", tink_pb2.DISABLED: "disabled", tink_pb2.DESTROYED: "destroyed"}
    return names.get(key.status, "disabled")


def _aead(key: Any) -> Any:
    """What encrypts and decrypts with one key: Tink itself would try all of a keyset, one after the other."""
    from tink import streaming_aead
    from tink.proto import tink_pb2

    alone = tink_pb2.Keyset(primary_key_id=key.key_id)
    alone.key.add().CopyFrom(key)
    return _handle(alone).primitive(streaming_aead.StreamingAead)


def _handle(found: Any) -> Any:
    from tink import proto_keyset_format, secret_key_access

    return proto_keyset_format.parse(found.SerializeToString(), secret_key_access.TOKEN)


def _message(handle: Any) -> Any:
    from tink import proto_keyset_format, secret_key_access
    from tink.proto import tink_pb2

    return tink_pb2.Keyset.FromString(proto_keyset_format.serialize(handle, secret_key_access.TOKEN))
