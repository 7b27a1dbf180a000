"""Which Airflow a store belongs to: the store holds an id that is also an Airflow Variable.

Another Airflow, be it for tests or rebuilt after a loss, knows none of the runs whose payloads lie here. To
it everything would be garbage. So nothing is collected unless both ids are the same.
"""

from __future__ import annotations

import json
import uuid
from typing import Protocol

from ..errors import XComError
from .airflow_rest import STORE_ID
from .inventory import OWN, Inventory

MARKER = f"{OWN}/store.json"


class WrongStore(XComError):
    """A store and an Airflow that do not belong together, or that nobody has said so of."""


class Named(Protocol):
    """What is asked of an Airflow. See airflow_rest.py."""

    url: str

    def store_id(self) -> str | None:
        """The Variable's value; None if there is none."""

    def set_store_id(self, text: str) -> None:
        """Make the Variable."""


def check(inventory: Inventory, airflow: Named) -> str:
    """The id of a store that belongs to an Airflow. Raises `WrongStore` if it does not."""
    here, there = _read(inventory), airflow.store_id()
    if here is not None and here == there:
        return here
    if here is None:
        raise WrongStore(
            f"Nobody has said that {inventory.url} holds XComs of this Airflow",
            "If it does, say so once by `xcom adopt`. If not, correct AIRFLOW__XCOM__URL.",
        )
    raise _foreign(inventory, airflow, here, there)


def adopt(inventory: Inventory, airflow: Named) -> tuple[str, bool]:
    """Make a store an Airflow's own: its id, and whether it was not so before. Raises `WrongStore` if one of
    them belongs to another."""
    here, there = _read(inventory), airflow.store_id()
    if here is not None:
        if here == there:
            return here, False
        raise _foreign(inventory, airflow, here, there)
    if there is not None and not _is_id(there):
        raise WrongStore(
            f"The Variable {STORE_ID} of Airflow at {airflow.url} is not what `xcom adopt` wrote",
            "Somebody changed it. Delete it, and say `xcom adopt` anew; or give it the id again that another "
            "of this Airflow's stores has.",
        )
    made = there or str(uuid.uuid4())
    if there is None:
        airflow.set_store_id(made)
    inventory.write(MARKER, json.dumps({"id": made, "variable": STORE_ID}))
    return check(inventory, airflow), True  # somebody else may have done the same


def _read(inventory: Inventory) -> str | None:
    """The id that a store holds; None if it has none. Raises `WrongStore` for one that can't be read."""
    text = inventory.read(MARKER)
    if text is None:
        return None
    try:
        found = json.loads(text)["id"]
        return str(uuid.UUID(found))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WrongStore(
            f"{inventory.url}/{MARKER} is not what `xcom adopt` wrote",
            "Look who writes there. If it was damaged, delete it, and say `xcom adopt` anew.",
        ) from error


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _foreign(inventory: Inventory, airflow: Named, here: str, there: str | None) -> WrongStore:
    other = "has none"
    if there is not None:
        other = f"has {there}" if _is_id(there) else "has what is none"  # which may be anything
    return WrongStore(
        f"{inventory.url} has the id {here}, and Airflow at {airflow.url} {other} in its Variable "
        f"{STORE_ID}: they do not belong together",
        "Correct AIRFLOW__XCOM__URL or the connection to Airflow. If this Airflow does have the rows of "
        f"these payloads, give its Variable {STORE_ID} the value {here}.",
    )
