"""Whole tasks whose XComs are encrypted: what they hand over, what Airflow keeps of it, who can't read it.

As test_tasks.py, this is run by test_backends.py with each backend.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from airflow.sdk import DAG, dag, get_current_context, task
from airflow_versions import rendered
from encrypted import forget_keys, keyset_in
from typer.testing import CliRunner

from exclusive_xcom import cli, errors, keep, lazy

pytestmark = pytest.mark.usefixtures("airflow")

SECRET = "Geheimnis"
seen: dict[str, Any] = {}


def ti() -> Any:
    """The running task instance."""
    return get_current_context()["ti"]


@dag(schedule=None)
def hands_over() -> None:
    """Every kind of hand-over."""

    @task(multiple_outputs=True)
    def produces() -> dict[str, Any]:
        ti().xcom_push("frame", pd.DataFrame({SECRET: [1, 2]}))
        ti().xcom_push("lazily", lazy(keep(SECRET.encode() * 1000, "2h")))
        return {"number": 7, "text": SECRET}

    @task
    def numbers() -> Any:
        return [(SECRET, 1), (SECRET, 2), (SECRET, 3)]

    @task
    def mapped(pair: Any) -> Any:
        return pair[1] * 2

    @task
    def files(**context: Any) -> Any:
        path = Path(os.environ["AIRFLOW_HOME"]) / f"{SECRET}.txt"
        path.write_text(SECRET * 1000)
        return path

    @task(retries=1, retry_delay=0)
    def consumes(number: Any, text: Any, doubled: Any, file: Any) -> None:
        pull = ti().xcom_pull
        seen["arguments"] = (number, text, sorted(doubled), file.name, len(file.read_text()))
        seen["frame"] = pull(task_ids="produces", key="frame").to_dict("list")
        seen["lazily"] = len(pull(task_ids="produces", key="lazily").load())
        if ti().try_number == 1:
            raise RuntimeError("a retry reads it again")

    @task.branch
    def branches() -> str:
        return "followed"

    @task
    def followed() -> str:
        return SECRET

    @task
    def not_followed() -> None:
        seen["not followed"] = True

    found = produces()
    last = consumes(found["number"], found["text"], mapped.expand(pair=numbers()), files())
    last >> branches() >> [followed(), not_followed()]


@dag(schedule=None)
def has_no_key() -> None:
    """A worker that has the keyset of one group and not that of another."""

    @task
    def produces() -> Any:
        return (SECRET,)

    @task
    def reads() -> None:
        try:
            ti().xcom_pull(dag_id="hands_over", task_ids="followed", run_id=seen["of"])
        except errors.XComError as error:
            seen["error"] = error

    @task
    def writes_there() -> Any:
        return "never in plain"

    produces() >> reads() >> writes_there()


HANDS_OVER, HAS_NO_KEY = hands_over(), has_no_key()


@pytest.fixture
def keysets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two keysets and rules."""
    for name in ("one", "other"):
        keyset_in(tmp_path / f"{name}.json")
    text = 'default = "one"\nrules = ["has_no_key.writes_there.* by other", "hands_over.*.* by other"]\n'
    for name in ("one", "other"):
        text += f'[keyset.{name}]\nfile = "{tmp_path}/{name}.json"\n'
    (tmp_path / "keysets.toml").write_text(text)
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSETS", str(tmp_path / "keysets.toml"))
    monkeypatch.setenv("AIRFLOW__XCOM__ENCRYPTION", "demand")
    monkeypatch.setenv("AIRFLOW__XCOM__MAX_SHOWN_SIZE", "1")
    yield tmp_path
    forget_keys()


@pytest.fixture(scope="module")
def run(bundle: Path) -> Callable[..., Any]:
    """Runs a DAG once: its run, and the states of its tasks by id."""
    shutil.copy(__file__, bundle / "encrypts.py")

    def once(dag: DAG) -> Any:
        before = dict(os.environ)
        done = dag.test()
        os.environ.clear()
        os.environ.update(before)
        return done.run_id, {found.task_id: found.state for found in done.get_task_instances()}

    return once


def test_tasks_hand_over_what_is_encrypted(run: Callable[..., Any], keysets: Path) -> None:
    run_id, states = run(HANDS_OVER)
    assert states.pop("not_followed") == "skipped" and "not followed" not in seen
    assert set(states.values()) == {"success"}, states
    assert seen["arguments"] == (7, SECRET, [2, 4, 6], f"{SECRET}.txt", len(SECRET) * 1000)
    assert (seen["frame"], seen["lazily"]) == ({SECRET: [1, 2]}, len(SECRET) * 1000)
    rows = rows_of(run_id)
    assert {key for key, row in rows if not isinstance(row, dict) or "encryption" not in row} == {
        "skipmixin_key"
    }
    assert SECRET not in json.dumps(rows)
    assert SECRET not in json.dumps([*rendered(run_id).values()], default=str)
    (keysets / "other.json").unlink()  # from here on this process is a worker of the other group
    forget_keys()
    seen["of"] = run_id
    _, states = run(HAS_NO_KEY)
    assert states == {"produces": "success", "reads": "success", "writes_there": "failed"}
    assert isinstance(seen["error"], errors.KeyMissing)
    assert "Keyset 'other' is not there" in str(seen["error"])


def test_commands_without_the_keys(
    run: Callable[..., Any], keysets: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Digests are compared without one, what there is is listed, and what can't be shown says what lacks."""
    run_id, _ = run(HANDS_OVER)
    whole = of_command("verify", "hands_over", "--run", run_id)
    assert whole["whole"] == sum(isinstance(row, dict) and "encryption" in row for _, row in rows_of(run_id))
    assert whole["whole"] > 9 and whole["wrong"] == 0
    listed = of_command("ls", "hands_over", "--run", run_id)["xcoms"]
    assert "pandas DataFrame" in {each["kind"] for each in listed}
    monkeypatch.delenv("AIRFLOW__XCOM__KEYSETS")
    monkeypatch.delenv("AIRFLOW__XCOM__ENCRYPTION")
    forget_keys()
    assert of_command("verify", "hands_over", "--run", run_id) == whole
    blind = of_command("ls", "hands_over", "--run", run_id)["xcoms"]
    known = ("task", "map_index", "key", "bytes", "kept_in", "expires", "encrypted_by")
    assert [[each[name] for name in known] for each in blind] == [
        [each[name] for name in known] for each in listed
    ]
    assert {each["kind"] for each in blind if each["encrypted_by"]} == {"encrypted value"}
    one = ("hands_over", "produces", "frame", "--run", run_id)
    key = next(each["encrypted_by"] for each in listed if each["key"] == "frame")
    lacks = f"It is encrypted by key {key}, and no keyset is set here"
    shown = said("show", *one, code=1)
    assert lacks in shown and "Set AIRFLOW__XCOM__KEYSET_FILE or AIRFLOW__XCOM__KEYSETS" in shown
    assert f"by key {key}" in shown and SECRET not in shown
    monkeypatch.chdir(tmp_path)
    got = said("get", *one, "-o", "frame.csv", code=1)
    assert lacks in got and "Traceback" not in got
    assert not (tmp_path / "frame.csv").exists()


def said(*arguments: str, code: int = 0) -> str:
    """What a command prints, in one line."""
    before = dict(os.environ)
    done = CliRunner().invoke(cli.application(), [*arguments], env={"COLUMNS": "200"})
    os.environ.clear()
    os.environ.update(before)
    assert done.exit_code == code, (done.output, done.exception)
    return " ".join(done.output.split())


def of_command(*arguments: str) -> Any:
    """What it prints as JSON."""
    return json.loads(said(*arguments, "--json"))


def rows_of(run_id: str) -> list[Any]:
    """What Airflow's database has of a run."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.execute(select(XComModel.key, XComModel.value).where(XComModel.run_id == run_id))
        return [tuple(row) for row in found]
