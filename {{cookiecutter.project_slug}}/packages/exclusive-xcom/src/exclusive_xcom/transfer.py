"""One push or pull, as it is logged. Without Airflow, for who only reads what was logged."""

from __future__ import annotations

from dataclasses import dataclass

from .address import Address


@dataclass(frozen=True)
class Transfer:
    """One push or pull, as it is logged (`record.xcom`): `xcom run` makes its table of these.

    `length` counts the bytes of the payload, `seconds` the whole way including codec, store and the question
    to Airflow, but not Airflow's own request for the row.
    """

    direction: str
    address: Address
    kind: str
    summary: str
    length: int
    where: str
    seconds: float
