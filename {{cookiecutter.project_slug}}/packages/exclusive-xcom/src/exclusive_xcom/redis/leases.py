"""Leases in Redis: one holder at a time, of an XCom while it is written, and of a name in locks.py.

A lease keeps writers apart, and protects nothing: a holder that is frozen beyond it goes on when it wakes.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..address import Attempt
from .client import Call, Server
from .scripts import LEASE, NUMBER, RELEASE

REMEMBERED = 7 * 86_400_000  # milliseconds that claims and numbers are kept at least


@dataclass(frozen=True)
class ServerLease:
    """A lease as the server keeps it, for one who wants it or holds it."""

    server: Server
    key: str  # where it is kept
    holder: str  # what stands there while it is ours: JSON that nobody else writes (`identity`)
    length: float  # seconds after which it may be taken over, unless it is renewed
    grace: float = 0  # seconds for which it is kept beyond that, as long as nobody takes it over
    claim: str = ""  # the key of the claim whose owner may seize it; "" if its holders are numbered instead

    @property
    def _number(self) -> str:
        return "" if self.claim else f"{self.key}/fence"

    def call(self, how: str) -> Call:
        """The request to "take", "renew" or "seize" it, with the reply of `ask`."""
        times = (int(self.length * 1000), int(self.grace * 1000))
        return Call(LEASE, [self.key, *filter(None, [self.claim])], [self.holder, *times, how])

    def ask(self, how: str) -> tuple[str, str]:
        """Take, renew or seize it: the claim, and who holds the lease then. Raises `StoreError`."""
        claim, holder = self.server.run(self.call(how))[0]
        return claim.decode(), holder.decode()

    def take_number(self) -> tuple[int, str]:
        """Take it, if it is not somebody else's: our number or 0, and who holds it. Raises `StoreError`."""
        number = Call(NUMBER, [self.key, self._number], [self.holder, REMEMBERED])
        (_, holder), fence = self.server.run(self.call("take"), number)
        return int(fence), holder.decode()

    def give_back(self) -> Call:
        """The request to give it back; the reply is 0 if it was not ours any more."""
        return Call(RELEASE, [self.key, *filter(None, [self._number])], [self.holder, REMEMBERED])


def identity(attempt: Attempt, ti_id: str = "") -> str:
    """What is written into a lease: a token that nobody else has, the try in whose name it is taken (from
    which a later one may seize it), and who we are, for people."""
    names = ("AIRFLOW_CTX_DAG_ID", "AIRFLOW_CTX_TASK_ID", "AIRFLOW_CTX_DAG_RUN_ID")
    dag_id, task_id, run_id = (os.environ.get(name, "") for name in names)
    who = {
        "token": secrets.token_hex(8),
        "ti_id": ti_id,
        "task": f"{dag_id}.{task_id}, run {run_id}" if dag_id else "",
        "try_number": attempt.try_number,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return json.dumps(who)


def in_words(holder: str) -> str:
    """Who holds a lease, for people."""
    who = facts(holder)
    task = f"{who['task']}, " if who.get("task") else ""
    number = f"try {who['try_number']}, " if who.get("try_number") else ""
    process = f"process {who.get('pid', '?')} on host {who.get('host', '?')}"
    return f"{task}{number}{process}, since {who.get('since', 'an unknown time')}"


def facts(text: str | bytes) -> dict[str, Any]:
    """A JSON object that is kept in Redis; empty if it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
