"""A wall between groups of workers, from the inside: the same for each store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exclusive_xcom.errors import StoreDenied
from exclusive_xcom.reference import Reference
from exclusive_xcom.store import Store
from exclusive_xcom.testing.payloads import ADDRESS, keep

OWN, MAY_READ, OTHER = (replace(ADDRESS, dag_id=name) for name in ("payroll", "orders", "audit"))


def theirs(store: Store) -> tuple[Reference, Reference]:
    """What others have pushed: one that the group may read, and one of which it should know nothing."""
    return keep(store, [b"theirs"], MAY_READ), keep(store, [b"theirs"], OTHER)


def check_wall(store: Store, orders: Reference, other: Reference) -> None:
    """The store, as a group has it for which the chapter gives the rights."""
    assert [check for check in store.probe() if not check.ok] == []
    own = keep(store, [b"own"], OWN)
    assert bytes(store.fetch(own)) == b"own"
    store.delete(own)
    assert bytes(store.fetch(orders)) == b"theirs"
    for refused in (
        lambda: store.fetch(other),
        lambda: keep(store, [b"x"], MAY_READ),
        lambda: keep(store, [b"x"], OTHER),
        lambda: store.delete(orders),
        lambda: store.delete(other),
    ):
        with pytest.raises(StoreDenied):
            refused()
    assert bytes(store.fetch(orders)) == b"theirs"
