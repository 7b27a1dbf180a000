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
from .. import config
from ..address import Address, Attempt
from ..errors import LeaseLost, LeaseTimeout, PayloadMissing, StoreMisconfigured, StoreUnreachable
from ..reference import Expiry, Reference
from .client import WAIT_TIMEOUT, Call, Command, Patience, Server
from .keys import Keys, claim_text, new_keys, quoted
from .leases import REMEMBERED, ServerLease, facts, identity, in_words
from .scripts import OWN

_UNREAD = "?"  # no claim looks like this, so what was never read is never taken for what is there
_NEVER = 36525 * 86_400_000  # milliseconds
STAGED = 3600  # seconds after which what was staged and never committed is gone


@dataclass
class Upload:
    """A payload on its way: written under a lease, and then committed if the task is ours to claim."""

    keys: Keys
    lease: ServerLease
    attempt: Attempt
    claim_seen: str = _UNREAD  # when the lease was got

    @classmethod
    def of(cls, server: Server, address: Address, attempt: Attempt, length: float) -> Upload:
        """A new one, which has not asked for its lease yet. Unrenewed, that lasts `length` seconds."""
        claim = claimant(address, attempt)
        own_row = claim or attempts.rows_are_kept_per_try()
        keys = new_keys(address, attempt.ti_id if own_row else "", claims=bool(claim))
        lease = ServerLease(server, keys.lease, identity(attempt, keys.owner), length, STAGED, keys.claim)
        return cls(keys, lease, attempt)

    def under_lease(self) -> Call:
        """What every request of the upload begins with: the lease is taken, and renewed from then on."""
        return self.lease.call("take" if self.claim_seen == _UNREAD else "renew")

    def go_on(self, claim: str, holder: str, wait: float) -> None:
        """Return once the lease is held, if need be after up to `wait` seconds. Raises `LeaseTimeout` if
        somebody else is writing this XCom, `LeaseLost` if somebody else took the lease meanwhile,
        `Superseded` if a later try has it."""
        if self.claim_seen == _UNREAD:
            self.claim_seen = self._turn(claim, holder, wait)
        elif holder != self.lease.holder:
            raise self._lost(holder)

    def commit(self, ref: Reference) -> None:
        """Make it current and release the lease, if both claim and lease are still ours. May be repeated.
        Raises `Superseded` if a later try has begun, `LeaseLost` if somebody else wrote this XCom since,
        `PayloadMissing` if what was staged is gone, `StoreUnreachable` if too few servers have it."""
        keys, server = self.keys, self.lease.server
        waits = demands(server)
        names = [keys.claim, keys.lease, keys.head, *keys.chunks(ref.length)]
        kept = _milliseconds(ref.expires)
        head = {"length": ref.length, "sha256": ref.sha256, "kind": ref.kind, "written": keys.written}
        head |= {"kept": kept}  # with what is left of it, a collection knows the age by the server's clock
        more: list[str | int] = [self.lease.holder, json.dumps(head), kept]
        outcome, found, counts = as_owner(
            server, self.attempt, names, keys.owner, self.claim_seen, more, waits, max(kept, REMEMBERED)
        )
        if outcome == b"lease":
            raise self._lost(found)
        if outcome == b"staged":
            raise PayloadMissing(
                f"The chunks of {keys.uri} were gone before they could be committed",
                "This process stood still for more than an hour, or Redis lost its data. Run the task again.",
            )
        for (command, *wanted, _), count in zip(waits, counts, strict=True):
            copies = count if isinstance(count, list) else [count]
            if any(copy < want for copy, want in zip(copies, wanted, strict=True)):
                confirmed, demanded = (" + ".join(map(str, numbers)) for numbers in (copies, wanted))
                raise StoreUnreachable(
                    f"The value was written, but only {confirmed} of {demanded} demanded copies were "
                    f"confirmed within {WAIT_TIMEOUT:g} s ({command})",
                    "Bring the replicas back, or demand fewer (AIRFLOW__XCOM__WAIT_REPLICAS, "
                    "AIRFLOW__XCOM__WAIT_AOF); then run the task again.",
                )

    def _turn(self, claim: str, holder: str, wait: float) -> str:
        """Wait for the lease; the claim that was seen when it was got."""
        patience, me, asked = Patience(wait), self.keys.owner, ""
        while holder != self.lease.holder:
            theirs, how = facts(holder).get("ti_id", ""), "take"
            if me and theirs not in ("", me, asked):
                # Not a second writer of our try, but another try: Airflow knows which of us is current.
                attempts.confirm(self.attempt)
                as_owner(self.lease.server, self.attempt, [self.keys.claim])
                asked, how = theirs, "seize"
            elif pause := patience.pause():
                time.sleep(pause)
            else:
                raise LeaseTimeout(
                    f"Somebody else has been writing this XCom for over {wait:g} s: {in_words(holder)}",
                    f"A lease that is not renewed ends by itself after {self.lease.length:g} s. If writing "
                    "takes that long, let the task run again; if two tasks write the same key, give them a "
                    "key each.",
                )
            claim, holder = self.lease.ask(how)
        return claim

    def _lost(self, holder: str) -> LeaseLost:
        taken = f"taken over: {in_words(holder)}" if holder else "taken by somebody who has finished"
        return LeaseLost(
            f"While this XCom was being written, its lease ran out and was {taken}",
            f"This process stood still for longer than {self.lease.length:g} s, or two tasks write the same "
            "key. Nothing of this value was kept.",
        )


def demands(server: Server) -> list[tuple[Any, ...]]:
    """The commands that wait for the copies that the options demand; what each has to count stands between
    its name and the time. Raises `StoreMisconfigured` in a cluster, where it can't be asked."""
    replicas, files, most = config.WAIT_REPLICAS.read(), config.WAIT_AOF.read(), int(WAIT_TIMEOUT * 1000)
    found: list[tuple[Any, ...]] = [("WAIT", replicas, most)] if replicas else []
    found += [("WAITAOF", 1, files - 1, most)] if files else []
    if found and server.is_cluster:
        raise StoreMisconfigured(
            "In a Redis cluster it can't be asked reliably how many replicas have a value",
            "Leave AIRFLOW__XCOM__WAIT_REPLICAS and AIRFLOW__XCOM__WAIT_AOF at 0.",
        )
    return found


def as_owner(
    server: Server,
    attempt: Attempt,
    keys: Sequence[str],
    me: str | None = None,
    claim_seen: str = _UNREAD,
    more: Sequence[str | int] = (),
    then: Sequence[Command] = (),
    claim_kept: int = REMEMBERED,
) -> tuple[bytes, str, list[Any]]:
    """Run the script OWN, and commands after it: its outcome, what it found, and their replies. With a claim
    alone as key it claims the task for the try; with other keys and no more, it deletes them, too.

    Where another try has claimed the task since the claim was read, Airflow is asked, and it is run again.
    Raises `Superseded` if a later try has begun.
    """
    me = quoted(attempt.ti_id) if me is None else me
    while True:
        call = Call(OWN, keys, [me, claim_text(attempt), claim_seen, claim_kept, *more])
        (outcome, found), *replies = server.run(call, *then)
        claim_seen = found.decode()
        if outcome != b"claim":
            return outcome, claim_seen, replies
        attempts.confirm(attempt)


def _milliseconds(expires: Expiry | None) -> int:
    """From now until a payload goes; a hundred years if it does not go by time."""
    if expires is None or expires.at is None:
        return _NEVER
    return max(1, int((expires.at.timestamp() - time.time()) * 1000))


def claimant(address: Address, attempt: Attempt) -> str:
    """The try in whose name a claim is made; "" where none is.

    Outside a task there is no try, Airflow 3.4 keeps the rows of each try apart, and a task that writes
    another task's XCom must not take that task's own XComs from it.
    """
    if not attempt.ti_id or attempts.rows_are_kept_per_try() or attempts.is_anothers(address):
        return ""
    return quoted(attempt.ti_id)
