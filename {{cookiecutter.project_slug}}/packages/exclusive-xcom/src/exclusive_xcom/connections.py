"""Airflow's connections, with the words for one that is not there or not well-formed."""

from __future__ import annotations

import os
from typing import Any

from .errors import StoreMisconfigured


def connection(
    conn_id: str, example: str, option: str = "AIRFLOW__XCOM__CONN_ID", write: str = "Write"
) -> Any:
    """Airflow's connection of this id. Raises `StoreMisconfigured`, which shows nothing of what it holds.

    Args:
        example: a URI of such a connection.
        option: the variable that says which connection is used.
        write: how the advice begins, up to that word.
    """
    from airflow.sdk import Connection

    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    found, reason = None, ""
    try:
        found = Connection.get(conn_id)
        _ = found.extra_dejson
    except Exception as error:
        reason = type(error).__name__  # the text may have parts of a password
    if found is not None and not reason and found.conn_type:
        return found
    if os.environ.get(variable):  # Airflow says of it that it isn't defined
        raise StoreMisconfigured(
            f"The connection {conn_id!r} in {variable} is malformed",
            f"Write it as a URI ({example}), in which /, @, : and % of login and password are %2F, %40, %3A "
            "and %25; or as JSON.",
        )
    raise StoreMisconfigured(
        f"Airflow did not give the connection {conn_id!r} ({reason or 'it has no type'})",
        f"{write} this line into connections.env: {variable}={example} (elsewhere: into the environment, "
        f"or under Admin → Connections). {option} says which one is used.",
    )
