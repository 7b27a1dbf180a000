"""Whole tasks that push a connection's password, in every way there is.

As test_tasks.py, this is run by test_backends.py with each backend.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, Connection, dag, get_current_context, task
from airflow.sdk.execution_time.xcom import XCom

from exclusive_xcom import airflow_compat, confidential, errors, exclusive, keep, lazy

pytestmark = pytest.mark.usefixtures("airflow")

PASSWORD = 'tr0ub4dor "&" 3'
LARGE = ["x" * 100] * 5_000  # more than stays in a row of s3 or redis
seen: dict[str, Any] = {}


def ti() -> Any:
    """The running task instance."""
    return get_current_context()["ti"]


def password() -> str:
    """The password, as a task gets it."""
    return str(Connection.get("shop").password)


def said(act: Callable[[], Any]) -> str:
    """In which place it was found; "" if it was not."""
    try:
        act()
    except errors.SecretInXCom as error:
        seen.setdefault("texts", []).append(str(error))
        return error.what.partition(": in ")[2]
    return ""


@dag(schedule=None)
def leaks() -> None:
    """Each task pushes what another should not read."""

    @task
    def before_it_is_known() -> Any:
        return PASSWORD  # this process has not asked for the connection yet

    @task
    def pushes() -> None:
        secret, push = password(), ti().xcom_push
        values = {
            "small": {"user": "me", "password": secret},
            "nothing": {"user": "me"},
            "large": [*LARGE, secret],
            "tuple": (1, secret),
            "lazy": lazy({"dsn": f"postgres://me:{secret}@host"}),
            "kept": keep([secret], "2h"),
            "exclusive": exclusive([secret], readers=["leaks.reads"]),
            "bytes": secret.encode(),
        }
        seen["pushed"] = {key: said(lambda key=key: push(key, values[key])) for key in values}

    @task(retries=2, retry_delay=0)
    def returns() -> Any:
        seen["tries"] = seen.get("tries", 0) + 1
        return [password()]

    @task(multiple_outputs=True)
    def returns_several() -> dict[str, Any]:
        return {"one": 1, "two": (2, password())}

    @task
    async def in_a_coroutine() -> None:
        secret = password()
        try:
            await ti().axcom_push("key", (secret,))
        except errors.SecretInXCom as error:
            seen["coroutine"] = error.what

    @task
    def mapped(number: int) -> Any:
        return (number, password() if number == 2 else "")

    @task
    def of_another() -> None:
        secret, of = password(), {"dag_id": "leaks", "task_id": "pushes", "run_id": ti().run_id}
        seen["of another"] = said(lambda: XCom.set(key="key", value={"a": secret}, **of, map_index=-1))

    first = before_it_is_known()
    for other in (pushes(), returns(), returns_several(), in_a_coroutine(), of_another()):
        first >> other
    first >> mapped.expand(number=[1, 2])


LEAKS = leaks()


@pytest.fixture(scope="module")
def run(bundle: Path) -> Callable[[DAG], Any]:
    """Runs a DAG once: the states of its tasks by id and map index."""
    shutil.copy(__file__, bundle / "secrets.py")

    def once(dag: DAG) -> Any:
        seen.clear()
        before = dict(os.environ)
        done = dag.test()
        os.environ.clear()
        os.environ.update(before)
        return {(found.task_id, found.map_index): found.state for found in done.get_task_instances()}

    return once


@pytest.fixture(autouse=True)
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A connection with a password, which this process does not know yet."""
    connection = Connection(conn_id="shop", conn_type="http", password=PASSWORD)
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", connection.as_json())
    masker: Any = importlib.import_module(airflow_compat._MASKER)._secrets_masker()
    before = set(masker.patterns), masker.replacer
    yield
    masker.patterns, masker.replacer = before
    confidential._told.clear()


PLACES = {
    "small": "entry 2",
    "nothing": "",
    "large": "item 5001",
    "tuple": "item 2",
    "lazy": "entry 1",
    "kept": "item 1",
    "exclusive": "item 1",
    "bytes": "the content of the bytes",
}


def test_refused(
    run: Callable[[DAG], Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__XCOM__SECRETS", "refuse")
    states = run(LEAKS)
    failed = {of for of, state in states.items() if state != "success"}
    assert failed == {("returns", -1), ("returns_several", -1), ("mapped", 1)}, states
    assert seen["tries"] == 1
    assert seen["pushed"] == PLACES
    assert seen["coroutine"] == "A secret that Airflow masks in its logs is in it: in item 1"
    assert seen["of another"] == "entry 1"
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("exclusive_xcom")]
    assert [text for text in (*ours, *seen["texts"]) if "tr0ub4dor" in text] == []


def test_warned(
    run: Callable[[DAG], Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__XCOM__SECRETS", "warn")
    states = run(LEAKS)
    assert set(states.values()) == {"success"}, states
    assert set(seen["pushed"].values()) == {""}
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("exclusive_xcom")]
    lines = [text for text in ours if text.startswith("A secret that Airflow masks in its logs")]
    assert len([text for text in lines if "leaks.pushes" in text]) == len(PLACES)  # with `of_another`'s
    assert [text for text in ours if "tr0ub4dor" in text] == []


def test_allowed(
    run: Callable[[DAG], Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__XCOM__SECRETS", "allow")
    assert set(run(LEAKS).values()) == {"success"}
    assert "A secret that Airflow masks" not in caplog.text
