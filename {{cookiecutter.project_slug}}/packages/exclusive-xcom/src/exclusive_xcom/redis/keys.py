"""Names in Redis: which keys a payload, a claim and a lease have, and how legible they are.

<prefix>/{<dag>/<run>/<task>/<map index>}/claim                          which try owns the task's XComs
<prefix>/{<dag>/<run>/<task>/<map index>}/<key>/lease                    who is writing this XCom; where each
                               task instance has a row of its own: /<key>/<task instance>/lease
<prefix>/{<dag>/<run>/<task>/<map index>}/<key>/<task instance>-<nonce>    head: this payload is committed
<prefix>/{<dag>/<run>/<task>/<map index>}/<key>/<task instance>-<nonce>/0  its first chunk
<prefix>/lock/{<name>}                                                   a lease of locks.py
<prefix>/lock/{<name>}/fence                                             the number of its last holder
"""

from __future__ import annotations

import re
import secrets
import time
from typing import NamedTuple
from urllib.parse import quote, unquote

from .. import config
from ..address import Address, Attempt
from ..errors import BadReference
from ..reference import Reference

# Bytes in every chunk but a payload's last. A part of what a URI means, so it can't be changed later.
CHUNK = 512 * 2**10

_UNCLAIMED = "unclaimed"  # begins the name of a payload that no claim covers
_NAME = re.compile(r"([^/{}]+)-[0-9a-f]{20}")
_PLACES = re.compile(r"/\{([^/{}]*)/([^/{}]*)/([^/{}]*)/(-?\d+)\}/(?:claim|([^/{}]*)/([^/{}]+))")
LARGEST = 64 * 2**30  # bytes; a row that says more was not written by us


class Keys(NamedTuple):
    """The keys of one payload. A task instance's share a hash tag: one server of a cluster has them."""

    claim: str  # says which try owns the task's XComs
    lease: str  # says who is writing this XCom
    head: str  # says that the payload is committed
    owner: str  # the try that the claim has to name; "" if the claim does not matter

    @property
    def uri(self) -> str:
        return f"redis:{self.head}"

    def chunk(self, index: int) -> str:
        return f"{self.head}/{index}"

    def chunks(self, length: int) -> list[str]:
        return [self.chunk(index) for index in range(-(-length // CHUNK))]

    @property
    def written(self) -> int:
        """When it was put, in seconds since 1970."""
        return int(self.head.rpartition("-")[2][:8], 16)


def prefix() -> str:
    """What every key begins with."""
    return quoted(config.PREFIX.read())


def quoted(text: str) -> str:
    """Text as a part of a key: legible, without "/", and without the braces that mark a hash tag."""
    return quote(text, safe=":+@,= ")


def lock_key(name: str) -> str:
    """Where a lease of locks.py is kept. The braces let what is kept beside it share its server."""
    return f"{prefix()}/lock/{{{quoted(name)}}}"


def claim_key(address: Address) -> str:
    """Where it is said which try owns the XComs of an XCom's task."""
    return _keys(address, "").claim


def new_keys(address: Address, ti_id: str, *, claims: bool) -> Keys:
    """The keys of a payload to come, of a try or, with "", of none; and whether it claims the task."""
    keys = _keys(address, f"{_writer(ti_id, claims)}-{int(time.time()):08x}{secrets.token_hex(6)}")
    if claims or not ti_id:
        return keys
    return keys._replace(lease=f"{keys.lease.removesuffix('lease')}{quoted(ti_id)}/lease")


def keys_of(ref: Reference) -> Keys:
    """The keys of a reference's payload. Raises `BadReference` if it is not where we would have put it."""
    name = (ref.uri or "").rpartition("/")[2]
    keys, match = _keys(ref.address, name), _NAME.fullmatch(name)
    writers = [_UNCLAIMED, *(_writer(ref.attempt.ti_id, claims) for claims in (True, False))]
    if ref.uri != keys.uri or match is None or match[1] not in writers or ref.length > LARGEST:
        raise BadReference(
            f"The row does not point to its own payload in Redis, below the prefix {prefix()!r}",
            "It was changed by hand, or written under another AIRFLOW__XCOM__PREFIX. Run the task that "
            "pushed it again.",
            address=ref.address,
        )
    return keys


def whose(key: str) -> tuple[Address, str] | None:
    """Whose head or claim has such a key: the address, and the head's own name; of a claim both without a
    key and a name. None for any other key."""
    begin = prefix()
    found = _PLACES.fullmatch(key, len(begin)) if key.startswith(begin) else None
    if found is None or (found[6] is not None and not _NAME.fullmatch(found[6])):
        return None
    dag_id, run_id, task_id, of = (unquote(part or "") for part in found.group(1, 2, 3, 5))
    address, name = Address(dag_id, run_id, task_id, int(found[4]), of), found[6] or ""
    keys = _keys(address, name)
    return (address, name) if key == (keys.head if name else keys.claim) else None


def writer_of(name: str) -> str:
    """The task instance that a head's own name says that it is of; "" if it is of none."""
    writer = name.rpartition("-")[0]
    return unquote("" if writer == _UNCLAIMED else writer.removeprefix(f"{_UNCLAIMED}-"))


def claim_text(attempt: Attempt) -> str:
    """What a claim says: "<task instance> <try>". Only the first word counts."""
    return f"{quoted(attempt.ti_id)} {attempt.try_number}"


def claim_in_words(claim: str) -> str:
    """A claim for people."""
    ti_id, _, number = claim.partition(" ")
    return f"try {number} (task instance {ti_id})"


def _writer(ti_id: str, claims: bool) -> str:
    """How the name of a payload begins: with the try that the claim has to name, or with a word that no try
    is called."""
    own = quoted(ti_id)
    return own if claims and own else "-".join(filter(None, [_UNCLAIMED, own]))


def _keys(address: Address, name: str) -> Keys:
    path = "/".join(quoted(part) for part in (address.dag_id, address.run_id, address.task_id))
    task, owner = f"{prefix()}/{{{path}/{address.map_index}}}", name.rpartition("-")[0]
    key = f"{task}/{quoted(address.key)}"
    claimed = owner.partition("-")[0] != _UNCLAIMED
    return Keys(f"{task}/claim", f"{key}/lease", f"{key}/{name}", owner if claimed else "")
