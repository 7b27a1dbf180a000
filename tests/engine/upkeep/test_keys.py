"""`xcom keys`: keys are made, take over and go, and none goes before the time of what it wrote is over."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from encrypted import ADDRESS, Backend, forget_keys, keyset_in, opened
from typer.testing import CliRunner

from exclusive_xcom import cli, inspection, keep, keeping, keys, lazy
from exclusive_xcom.console import Refused
from exclusive_xcom.reference import Encryption, Expiry, Reference, parse
from exclusive_xcom.upkeep import show_command
from exclusive_xcom.upkeep.key_files import KeyFile, Wrote, longest, written
from exclusive_xcom.upkeep.rows import Entry

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a keyset is to be, in the person's folder."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "keyset.json"
    forget_keys()


def says(*arguments: str | int, code: int = 0) -> str:
    """What a command says."""
    done = CliRunner().invoke(cli.application(), ["keys", *map(str, arguments)], env={"COLUMNS": "200"})
    text = done.output
    assert done.exit_code == code, (text, done.exception)
    return text


def numbers(file: Path) -> list[int]:
    """The keys of a file, in their order."""
    return [key.key_id for key in KeyFile.at(file).read().key]


def ago(file: Path, days: int) -> None:
    """As if everything that was done to a keyset had been done so many days before."""
    log = file.with_name(f"{file.name}.log")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    for event in events:
        event["at"] = (datetime.fromisoformat(event["at"]) - days * DAY).isoformat()
    log.write_text("".join(json.dumps(event) + "\n" for event in events))


# -- files ------------------------------------------------------------------------------------------


def test_a_keyset_is_made_private_and_shown_nowhere(file: Path) -> None:
    said = says("create", "keyset.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = json.loads(file.read_text())
    (key,) = found["key"]
    assert f"AIRFLOW__XCOM__KEYSET_FILE={file}" in said and str(found["primaryKeyId"]) in said
    log = file.with_name("keyset.json.log")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert key["keyData"]["value"] not in said + log.read_text()
    assert "is there already" in says("create", "keyset.json", code=2)
    assert json.loads(file.read_text()) == found
    assert "There is no folder" in says("create", "none/keyset.json", code=2)


def test_a_key_takes_over_in_steps(file: Path) -> None:
    says("create", file)
    (old,) = numbers(file)
    assert f"xcom keys activate {file} " in says("add", file)
    _, new = numbers(file)
    assert KeyFile.at(file).read().primary_key_id == old
    assert f"xcom keys retire {file} {old}" in says("activate", file, new)
    assert KeyFile.at(file).read().primary_key_id == new
    assert "is the one that encrypts already" in says("activate", file, new, code=2)
    assert f"has no key 7. It has {old}, {new}." in says("activate", file, 7, code=2)
    told = KeyFile.at(file)
    assert told.since(old) and told.since(new) and told.when("replaced", old)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_that_others_may_read_is_not_worked_on(file: Path) -> None:
    says("create", file)
    file.chmod(0o644)
    assert "has mode 644" in says("add", file, code=1)
    file.unlink()
    assert "No such file" in says("add", file, code=1)


# -- retiring ---------------------------------------------------------------------------------------

WEEK = timedelta(days=7)


def wrote(*, days: int, kept: int | None = 7, number: int = 1) -> Wrote:
    """What rows tell of a key whose newest value was pushed so many days ago and is kept for so many."""
    when = NOW - days * DAY
    return Wrote(number, 100, when, when, None if kept is None else when + kept * DAY)


@pytest.mark.parametrize(
    ("days", "rows", "retention", "trouble"),
    [
        (8, wrote(days=8), WEEK, ""),
        (8, Wrote(), WEEK, ""),
        (6, Wrote(), WEEK, "the time of what it wrote is over at"),
        (8, wrote(days=6), WEEK, "the time of what it wrote is over at"),  # a worker had the old keyset
        (8, wrote(days=8, kept=30), WEEK, "the time of what it wrote is over at"),  # keep(value, "30d")
        (8, wrote(days=8, kept=None), WEEK, "has no end to its time"),
        (999, wrote(days=999), None, "kept without an end"),
        (999, Wrote(), None, "kept without an end"),
        (8, None, WEEK, "Airflow could not be asked"),
    ],
)
def test_a_key_goes_when_what_it_wrote_is_over(
    file: Path, days: int, rows: Wrote | None, retention: timedelta | None, trouble: str
) -> None:
    told = KeyFile(file)
    old = told.create()
    told.activate(told.add())
    ago(file, days)
    told = KeyFile.at(file)
    if trouble:
        with pytest.raises(Refused, match=trouble):
            told.retire(old, rows, retention, lose=False)
        assert keys.state(told.read(), old) == "enabled"
    told.retire(old, rows, retention, lose=bool(trouble))
    assert keys.state(KeyFile.at(file).read(), old) == "destroyed"
    with pytest.raises(Refused, match=f"Key {old} of .* is destroyed"):
        told.retire(old, rows, retention, lose=True)


def test_the_key_that_encrypts_never_goes(file: Path) -> None:
    told = KeyFile(file)
    with pytest.raises(Refused, match=r"encrypts. `xcom keys activate` another one"):
        told.retire(told.create(), Wrote(), WEEK, lose=True)


def test_a_key_that_never_encrypted_goes_at_once(file: Path) -> None:
    told = KeyFile(file)
    told.create()
    told.retire(told.add(), Wrote(), None, lose=False)


def test_a_log_that_is_lost_makes_it_harder_and_not_easier(file: Path) -> None:
    told = KeyFile(file)
    old = told.create()
    told.activate(told.add())
    file.with_name("keyset.json.log").write_text('nonsense\n{"at": "never", "did": "added", "key": 1}\n')
    with pytest.raises(Refused, match="not known when it encrypted for the last time"):
        KeyFile.at(file).retire(old, Wrote(), WEEK, lose=False)
    KeyFile.at(file).retire(old, wrote(days=8), WEEK, lose=False)


def test_the_longest_that_rules_keep() -> None:
    def of(default: str, *kept: str) -> timedelta | None:
        rules = [{"dag": str(number), "keep": time} for number, time in enumerate(kept)]
        return longest(keeping.parsed({"default": default, "rule": rules}, "f"))

    assert of("7d") == WEEK
    assert of("7d", "12h", "30d") == 30 * DAY
    assert of("7d", "run") == WEEK  # a run that never ends well is kept for the default
    assert of("run") is None and of("never") is None and of("7d", "never") is None


def test_rows_tell_what_a_key_wrote() -> None:
    def ref(key: int, at: datetime | None) -> Reference:
        expires = Expiry("r", at) if at else None
        by = Encryption(key, "", "")
        return Reference(ADDRESS, attempt_of(), "c", "k", "m", 10, "0" * 64, expires=expires, encryption=by)

    rows = [(ref(1, NOW), NOW - DAY), (ref(1, NOW - DAY), NOW - 3 * DAY), (ref(2, None), NOW), (None, NOW)]
    found = written(rows)
    assert set(found) == {1, 2}
    assert (found[1].number, found[1].length, found[1].ends) == (2, 20, NOW)
    assert (found[1].first, found[1].last, found[2].ends) == (NOW - 3 * DAY, NOW - DAY, None)


def attempt_of() -> Any:
    """A try."""
    from exclusive_xcom.address import NOBODY

    return NOBODY


# -- beside Airflow's rows --------------------------------------------------------------------------


@pytest.fixture
def backend(airflow: None, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """A folder, a keyset, and rows in Airflow's database, which go at the end."""
    says("create", file)
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_FILE", str(file))
    monkeypatch.setenv("AIRFLOW__XCOM__RETENTION", "7d")
    with opened("folder", str, tmp_path) as found:
        yield found
    delete()


def row(backend: Backend, run: str, value: Any, age: timedelta = timedelta(0)) -> Any:
    """Push, and have Airflow keep the row, and its run."""
    from airflow.models import DagRun
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import text

    address = replace(ADDRESS, run_id=run)
    of = {"dag_id": address.dag_id, "run_id": run, "task_id": address.task_id, "map_index": -1}
    stored = backend.push(value, address)
    with create_session() as session:
        session.execute(text("PRAGMA foreign_keys=OFF"))
        made = DagRun(dag_id=address.dag_id, run_id=run, run_type="manual", state="success")
        session.add(made)
        session.flush()
        entry = XComModel(key=address.key, value=stored, dag_run_id=made.id, **of)
        entry.timestamp = NOW - age
        session.add(entry)
    return stored


def delete() -> None:
    """Delete all rows of this module."""
    import sqlite3

    with closing(sqlite3.connect(Path(os.environ["AIRFLOW_HOME"]) / "airflow.db", timeout=30)) as database:
        for table in ("xcom", "dag_run"):
            database.execute(f"delete from {table} where dag_id = ?", [ADDRESS.dag_id])
        database.commit()


def test_keys_are_listed_with_what_they_wrote(backend: Backend, file: Path) -> None:
    row(backend, "first", (1,))
    says("add", file)
    old, new = numbers(file)
    says("activate", file, new)
    row(backend, "second", b"x" * 1000)
    row(backend, "third", keep((1,), "30d"))
    (told,) = json.loads(says("--json"))["keysets"]
    assert [(key["key"], key["state"], key["wrote"]) for key in told["keys"]] == [
        (old, "decrypts", 1),
        (new, "encrypts", 2),
    ]
    assert told["from"] == str(file) and told["keys"][1]["may_go"] == ""
    assert "the time of what it wrote is over at" in told["keys"][0]["may_go"]
    said = says()
    assert f"{old}" in said and "2 XComs" in said and "decrypts" in said and str(file) in said
    assert "the time of what it wrote is over at" in says("retire", file, old, code=2)
    ago(file, 8)
    assert "is over at" in says("retire", file, old, code=2)  # a row tells that it is still used
    delete()
    assert f"Key {old} is destroyed" in says("retire", file, old)
    assert [key["state"] for key in json.loads(says("--json"))["keysets"][0]["keys"]] == [
        "destroyed",
        "encrypts",
    ]


def test_without_an_end_it_takes_a_word(
    backend: Backend, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__XCOM__RETENTION", "never")
    row(backend, "first", (1,))
    says("add", file)
    old, new = numbers(file)
    says("activate", file, new)
    assert "some of what it wrote has no end to its time" in says("retire", file, old, code=2)
    delete()
    assert "kept without an end" in says("retire", file, old, code=2)
    assert "is destroyed" in says("retire", file, old, "--lose")


def test_without_a_keyset_it_says_so(airflow: None, file: Path) -> None:
    assert "No keyset is set: XComs are not encrypted." in says()


def test_the_probe_opens_a_row_of_each_key(
    backend: Backend, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row(backend, "first", (1,))
    says("add", file)
    old, new = numbers(file)
    says("activate", file, new)
    row(backend, "second", (2,))
    found = {check.name: check for check in inspection._keys_in_rows()}
    assert set(found) == {f"key {old}", f"key {new}"} and all(check.ok for check in found.values())
    KeyFile.at(file).retire(old, None, None, lose=True)
    found = {check.name: check for check in inspection._keys_in_rows()}
    assert not found[f"key {old}"].ok and "it is destroyed" in found[f"key {old}"].detail
    other = keys.new_keyset()
    other.primary_key_id = other.key[0].key_id = new
    keyset_in(file, other)
    found = {check.name: check for check in inspection._keys_in_rows()}
    assert "encrypted by another key" in found[f"key {new}"].detail
    monkeypatch.delenv("AIRFLOW__XCOM__KEYSET_FILE")
    assert [check.ok for check in inspection._keys_in_rows()] == [False, False]


# -- looking, with and without a key ----------------------------------------------------------------


def test_what_is_listed_and_shown_with_the_key_and_without(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (path := tmp_path / "Geheimnis.pdf").write_bytes(b"%PDF")
    values = [{"Geheimnis": 1, "t": (1,)}, path, lazy(b"bytes")]
    rows = [backend.push(value) for value in values]
    entries = [Entry(ADDRESS, NOW, stored) for stored in rows]
    assert [entry.kind for entry in entries] == ["dict", "file", "bytes"]
    assert "Geheimnis" in json.dumps(show_command._looked(entries[0], values=True, whole=False))
    assert show_command._facts(entries[1], NOW)["file"] == "Geheimnis.pdf"
    told = [entry.told() for entry in entries]
    assert all(each["encrypted_by"] == parse(rows[0]).encryption.key for each in told)
    monkeypatch.delenv("AIRFLOW__XCOM__KEYSET_FILE")
    entries = [Entry(ADDRESS, NOW, stored) for stored in rows]
    assert {entry.kind for entry in entries} == {"encrypted value"}
    assert all(entry.told()["readable"] for entry in entries)
    looked = show_command._looked(entries[0], values=True, whole=False)
    assert looked["failed"] and "no keyset is set here" in looked["trouble"]
    assert "Geheimnis" not in json.dumps([show_command._facts(entry, NOW) for entry in entries])
