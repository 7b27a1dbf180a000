"""Names of objects: legible, unlike any other, and such that they tell whose payload it is.

`<dag>/<run>/<task>/<map index>/<key>/<task instance>-<nonce><suffix>`. Letters, digits and `._-` stay; any
other byte, and a leading point, becomes `@` and two hexadecimal digits. Percent signs would be decoded by
some tools, and `=` or `*` mean something to others. So does a `-` before 16 hexadecimal digits: it stands
before the nonce alone, so a prefix inside of another one, or a DAG called as such a prefix, makes no name
that both projects could read. What is longer than a file's name may be goes on in the next part, behind
`@-`. So the address can be read from the name. Only if the whole is too long its parts are cut, and followed
by `@.` and a digest; then the object's metadata has it, which a folder does not keep.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
import secrets
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from ..address import Address, Attempt
from ..codecs import Payload
from ..errors import BadOption, UnsupportedValue
from ..reference import Reference
from .location import Location

KEY_LIMIT = 1024  # bytes of an object's name with its prefix, in S3, GCS and Azure
_PART_LIMIT = 200  # bytes of one part of it; file systems end at 255
_CUT = 40  # bytes that are left of a part that is cut
_METADATA_LIMIT = 1900  # bytes of the address in an object's metadata, which has 2,048 in S3
_UNIQUE = re.compile(r"-[0-9a-f]{16}[^/]*(?:/[^/]+)?")  # what follows the task instance
_NONCE = len("-") + 16  # bytes
_MOST = 2**16  # bytes that an address in metadata may have, unpacked


def object_name(location: Location, address: Address, attempt: Attempt, payload: Payload) -> str:
    """A name for a payload below a location. Raises `BadOption` when its path leaves no room."""
    last = f"{_writer(attempt)}-{secrets.token_hex(8)}"
    if payload.filename:
        last += f"/{quoted(payload.filename, _PART_LIMIT, Path(payload.filename).suffix)}"
    else:
        last += quoted(payload.suffix, 30)
    for head_of in (_whole, _cut):
        name = f"{head_of(address)}/{last}"
        if len(f"{location.prefix}/{name}".encode()) <= KEY_LIMIT:
            return name
    raise BadOption(
        f"The path in AIRFLOW__XCOM__URL is too long: an object's name has at most {KEY_LIMIT} bytes",
        "Choose a shorter prefix.",
    )


def run_prefix(dag_id: str, run_id: str) -> str:
    """What the names of a run's payloads begin with, but for those that are cut."""
    return "".join(f"{_goes_on(_place(place))}/" for place in (dag_id, run_id))


def is_own(name: str, ref: Reference) -> bool:
    """Whether a name is one that the reference's payload can have."""
    for head_of in (_whole, _cut):
        start = f"{head_of(ref.address)}/{_writer(ref.attempt)}"
        if name.startswith(start):
            return _UNIQUE.fullmatch(name, len(start)) is not None
    return False


def metadata(name: str, address: Address) -> dict[str, str]:
    """What an object's metadata has to tell of its address: nothing, if its name tells it; otherwise dag,
    run, task, map index and key as a JSON list, by zlib and base64. Raises `UnsupportedValue` if that is too
    long."""
    if not name.startswith(f"{_cut(address)}/"):
        return {}
    places = [address.dag_id, address.run_id, address.task_id, address.map_index, address.key]
    listed = json.dumps(places, ensure_ascii=False).encode("utf-8", "surrogatepass")
    text = base64.b64encode(zlib.compress(listed)).decode()
    if len(text) > _METADATA_LIMIT:
        raise UnsupportedValue(
            f"The names of this XCom take {len(text):,} bytes, which an object store does not keep",
            "Give its DAG, run, task or key a shorter name.",
        )
    return {"address": text}


def whose(name: str, told: Callable[[], Mapping[str, str]]) -> tuple[Address, str, str] | None:
    """Whose payload has such a name, the task instance that wrote it ("" for none), and the part of the name
    that no other has; None for a name that no payload can have. `told` gives the object's metadata: it is
    asked only of names that are cut."""
    parts = _places_in(name)
    is_cut = any(part.startswith("@.") for part in parts[5:6])
    head, last = parts[: 5 + is_cut], "/".join(parts[5 + is_cut :])
    found = re.fullmatch(r"([^/]+?)" + _UNIQUE.pattern, last)
    if found is None:
        return None
    try:
        writer = _unquoted(found[1])
        if is_cut:
            address, start = _told(told()), _cut
        else:
            dag_id, run_id, task_id, index, key = map(_unquoted, head)
            address, start = Address(dag_id, run_id, task_id, int(index), key), _whole
    except (ValueError, TypeError, zlib.error):
        return None
    if name != f"{start(address)}/{last}":
        return None
    return address, "" if writer == "no-task" else writer, last[: len(found[1]) + _NONCE]


def quoted(text: str, limit: int, ending: str = "") -> str:
    """A part of a name, at most `limit` bytes long; if it has to be cut, `ending` is kept if it is short."""
    plain = _quoted(text)
    if len(plain) <= limit:
        return plain
    digest = hashlib.sha256(plain.encode()).hexdigest()[:16]
    ending = ending if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", ending) else ""
    return f"{plain[: limit - 18 - len(ending)]}@.{digest}{ending}"


@functools.lru_cache(256)  # of a task's XComs most parts are the same
def _quoted(text: str) -> str:
    plain = re.sub(
        rb"[^A-Za-z0-9._-]|-(?=[0-9a-f]{16})",
        lambda byte: b"@%02X" % byte[0][0],
        text.encode("utf-8", "surrogatepass"),
    ).decode()
    return plain if plain.strip(".") else plain.replace(".", "@2E") or "@"


def _place(text: str) -> str:
    """What is quoted and never points alone, not even its beginning."""
    plain = _quoted(text)
    return f"@2E{plain[1:]}" if plain.startswith(".") else plain


def _places(address: Address) -> list[str]:
    return [address.dag_id, address.run_id, address.task_id, str(address.map_index), address.key]


def _writer(attempt: Attempt) -> str:
    return quoted(attempt.ti_id or "no-task", 60)


def _whole(address: Address) -> str:
    return "/".join(_goes_on(_place(place)) for place in _places(address))


def _goes_on(plain: str) -> str:
    """A part, and what of it has no room there behind it."""
    more, step = plain[_PART_LIMIT:], _PART_LIMIT - 2
    pieces = (f"/@-{more[start : start + step]}" for start in range(0, len(more), step))
    return plain[:_PART_LIMIT] + "".join(pieces)


def _cut(address: Address) -> str:
    digest = hashlib.sha256(_whole(address).encode()).hexdigest()[:32]
    return "/".join([*(_place(place)[:_CUT] for place in _places(address)), f"@.{digest}"])


def _places_in(name: str) -> list[str]:
    """The parts of a name, each with what went on behind it."""
    parts: list[str] = []
    for part in name.split("/"):
        if part.startswith("@-") and parts:
            parts[-1] += part[2:]
        else:
            parts.append(part)
    return parts


def _unquoted(plain: str) -> str:
    """The text of a part. Raises `ValueError` if it can't be one."""
    if plain == "@":
        return ""
    raw = re.sub(rb"@([0-9A-F]{2})", lambda found: bytes.fromhex(found[1].decode()), plain.encode())
    return raw.decode("utf-8", "surrogatepass")


def _told(told: Mapping[str, str]) -> Address:
    """The address that an object's metadata tells. Raises `ValueError`, `TypeError` or `zlib.error`."""
    unpacking = zlib.decompressobj()
    listed = unpacking.decompress(base64.b64decode(told.get("address", "")), _MOST)
    dag_id, run_id, task_id, index, key = json.loads(listed.decode("utf-8", "surrogatepass"))
    if {*map(type, (dag_id, run_id, task_id, key))} != {str} or type(index) is not int:
        raise ValueError("no address")
    return Address(dag_id, run_id, task_id, index, key)
