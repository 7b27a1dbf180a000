"""Whose XComs a task's are: how a try claims them, and what that means for a payload on its way.

A claim says to which try of a task its XComs belong. Every commit checks it, so a try that was replaced is
stopped however late it wakes up. Which of two tries is current, only Airflow knows: it is asked, and the
claim then replaced by compare-and-set on what had been read before.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .. import attempt as attempts
from ..address import Address, Attempt
from ..errors import LeaseLost, LeaseTimeout, PayloadMissing
from ..reference import Reference
from .client import Call, Command, Patience, Server
from .durability import demands, refuse_too_few
from .keys import Keys, claim_text, new_keys, quoted
from .leases import ServerLease, facts, identity, in_words, retention_ms
from .probe import duration
from .scripts import OWN

_UNREAD = "?"  # no claim looks like this, so what was never read is never taken for what is there
STAGED = 3600  # seconds after which what was staged and never committed is gone


@dataclass
class Upload:
    """A payload on its way: written under a lease, and then committed if the task is ours to claim."""

    keys: Keys
    lease: ServerLease
    address: Address
    attempt: Attempt
    claim_seen: str = _UNREAD  # when the lease was got

    @classmethod
    def of(cls, server: Server, address: Address, attempt: Attempt, length: float) -> Upload:
        """A new one, which has not asked for its lease yet. Unrenewed, that lasts `length` seconds."""
        keys = new_keys(address, claimant(address, attempt))
        lease = ServerLease(server, keys.lease, identity(attempt, keys.owner), length, STAGED, keys.claim)
        return cls(keys, lease, address, attempt)

    def under_lease(self) -> Call:
        """What every request of the upload begins with: the lease is taken, and renewed from then on."""
        return self.lease.call("take" if self.claim_seen == _UNREAD else "renew")

    def go_on(self, claim: str, holder: str, wait: float) -> None:
        """Return once the lease is held, if need be after up to `wait` seconds.

        Raises:
            LeaseTimeout: somebody else is writing this XCom.
            LeaseLost: somebody else took the lease meanwhile.
            Superseded: a later try has it.
        """
        if self.claim_seen == _UNREAD:
            self.claim_seen = self._turn(claim, holder, wait)
        elif holder != self.lease.holder:
            raise self._lost(holder)

    def commit(self, ref: Reference) -> None:
        """Make it current and release the lease, if both claim and lease are still ours. May be repeated.

        Raises:
            Superseded: a later try has begun.
            LeaseLost: somebody else has written this XCom since.
            PayloadMissing: what was staged is gone.
            StoreError: Redis can't be used, or fewer servers than demanded have the value.
        """
        keys, waits = self.keys, demands(self.lease.server)
        head = {"length": ref.length, "sha256": ref.sha256, "kind": ref.kind, "written": keys.written}
        outcome, found, counts = _as_owner(
            self.lease.server,
            self.address,
            self.attempt,
            [keys.claim, keys.lease, keys.head, *keys.chunks(ref.length)],
            keys.owner,
            self.claim_seen,
            [self.lease.holder, json.dumps(head)],
            list(waits),
        )
        if outcome == b"lease":
            raise self._lost(found)
        if outcome == b"staged":
            raise PayloadMissing(
                f"The chunks of {keys.uri} were gone before they could be committed",
                f"This process stood still for more than {duration(STAGED)}, or Redis lost its data. Run "
                "the task again.",
                address=self.address,
            )
        for (command, wanted), counted in zip(waits.items(), counts, strict=True):
            refuse_too_few(command, wanted, counted)

    def _turn(self, claim: str, holder: str, wait: float) -> str:
        """Wait for the lease; the claim that was seen when it was got."""
        patience, me, asked = Patience(wait), self.keys.owner, ""
        while holder != self.lease.holder:
            theirs, how = facts(holder).get("ti_id", ""), "take"
            if me and theirs not in ("", me, asked):
                # Not a second writer of our try, but another try: Airflow knows which of us is current.
                attempts.confirm(self.address, self.attempt)
                take_claim(self.lease.server, self.keys, self.address, self.attempt)
                asked, how = theirs, "seize"
            elif pause := patience.pause():
                time.sleep(pause)
            else:
                raise LeaseTimeout(
                    f"Somebody else has been writing this XCom for over {wait:g} s: {in_words(holder)}",
                    f"A lease that is not renewed ends by itself after {self.lease.length:g} s. If writing "
                    "takes that long, let the task run again; if two tasks write the same key, give them a "
                    "key each.",
                    address=self.address,
                )
            claim, holder = self.lease.ask(how)
        return claim

    def _lost(self, holder: str) -> LeaseLost:
        taken = f"taken over: {in_words(holder)}" if holder else "taken by somebody who has finished"
        return LeaseLost(
            f"While this XCom was being written, its lease ran out and was {taken}",
            f"This process stood still for longer than {self.lease.length:g} s, or two tasks write the same "
            "key. Nothing of this value was kept.",
            address=self.address,
        )


def take_claim(
    server: Server, keys: Keys, address: Address, attempt: Attempt, payload: Sequence[str] = ()
) -> None:
    """Claim a task for a try and delete a payload that it replaces. Airflow is asked, unless it is claimed.

    Raises:
        Superseded: a later try has begun; the payload stays.
        StoreError: Redis can't be used.
    """
    _as_owner(server, address, attempt, [keys.claim, *payload], quoted(attempt.ti_id))


def _as_owner(
    server: Server,
    address: Address,
    attempt: Attempt,
    keys: Sequence[str],
    me: str,
    claim_seen: str = _UNREAD,
    more: Sequence[str] = (),
    then: Sequence[Command] = (),
) -> tuple[bytes, str, list[Any]]:
    """Run the script OWN, and commands after it: its outcome, what it found, and their replies.

    Where another try has claimed the task since the claim was read, Airflow is asked, and it is run again.
    """
    while True:
        call = Call(OWN, keys, [me, claim_text(attempt), claim_seen, retention_ms(), *more])
        (outcome, found), *replies = server.run(call, *then)
        claim_seen = found.decode()
        if outcome != b"claim":
            return outcome, claim_seen, replies
        attempts.confirm(address, attempt)


def claimant(address: Address, attempt: Attempt) -> str:
    """The try in whose name a claim is made; "" where none is.

    Outside a task there is no try, Airflow 3.4 keeps the rows of each try apart, and a task that writes
    another task's XCom must not take that task's own XComs from it.
    """
    if not attempt.ti_id or attempts.rows_are_kept_per_try() or _is_another_tasks(address):
        return ""
    return quoted(attempt.ti_id)


def _is_another_tasks(address: Address) -> bool:
    """Whether the code of a running task handles another task's XCom."""
    from airflow.sdk import get_current_context

    try:
        ti: Any = get_current_context()["ti"]
    except (RuntimeError, KeyError):
        return False  # not a task's code, but Airflow itself, which handles the task's own
    own = Address.of(ti.dag_id, ti.run_id, ti.task_id, ti.map_index, address.key)
    return own != address
