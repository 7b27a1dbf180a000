"""Tells somebody that a task has failed: `default_args={"on_failure_callback": alerts.on_failure}` in a DAG.

Nothing is told until the Airflow connection `alerts` has an address, in connections.env for example: that of
a webhook, as Slack, Teams, Google Chat, Mattermost and many others have it. Its secret end is the password:

    AIRFLOW_CONN_ALERTS='{"conn_type": "http", "host": "https://hooks.slack.com/services", "password": "…"}'

Change the text, or what sends it, as you like. For e-mail there is SmtpNotifier in Airflow's SMTP provider.
"""

from __future__ import annotations

import json
import logging
import urllib.request

from airflow.sdk import Connection, Context
from airflow.sdk.exceptions import AirflowNotFoundException

CONNECTION = "alerts"
TIMEOUT = 10  # seconds

log = logging.getLogger(__name__)


def on_failure(context: Context) -> None:
    """Send one message about a task that has failed for good. Never raises."""
    try:
        send(address(Connection.get(CONNECTION)), message(context))
    except AirflowNotFoundException:
        return  # nobody wants to know
    except Exception as error:  # no text of it: it may name the address, which is a secret
        log.warning("The alert could not be sent (%s).", type(error).__name__)


def address(connection: Connection) -> str:
    """Where a connection leads. Raises `ValueError` for what is no address of the web."""
    start = connection.host or ""
    if "://" not in start:  # a connection that was written as an address has it in parts
        port = f":{connection.port}" if connection.port else ""
        start = f"{connection.conn_type}://{start}{port}/{connection.schema or ''}"
    if not start.startswith(("https://", "http://")):
        raise ValueError("an address of another kind")
    return f"{start}/{connection.password}" if connection.password else start


def message(context: Context) -> str:
    """What failed, why, and where its log is. Of the error, 300 characters of its first line."""
    task, error = context["task_instance"], context.get("exception")
    why = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error or "")
    where = f"{task.dag_id}.{task.task_id}" + (f" [{task.map_index}]" if (task.map_index or 0) >= 0 else "")
    first = (why.splitlines() or [""])[0][:300]
    return f"{where} failed in run {task.run_id}, try {task.try_number}.\n{first}\n{task.log_url}"


def send(to: str, text: str) -> None:
    """Post a text as JSON. Raises `OSError` when it is not taken."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(to, json.dumps({"text": text}).encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=TIMEOUT):
        pass
