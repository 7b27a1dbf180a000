"""Who may read by which rule, and what a rule and `exclusive` must be."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from encrypted import opened

from exclusive_xcom import access, airflow_compat, attempt, exclusive, keep, lazy, pull, readers
from exclusive_xcom.address import Address, Attempt
from exclusive_xcom.binding import Question
from exclusive_xcom.db import DbXComBackend
from exclusive_xcom.errors import (
    AlreadyConsumed,
    AlreadyPushed,
    BadOption,
    BadReference,
    NotAReader,
    PayloadExpired,
    UnsupportedValue,
)
from exclusive_xcom.readers import Reader, Rule, declared, parsed
from exclusive_xcom.reference import parse

ORDERS = Address("orders", "run", "extract", -1, "return_value")


def rule(text: str) -> Rule:
    (found,) = parsed({"rules": [text]}, "readers.toml")
    return found


@pytest.mark.parametrize(
    ("text", "reader", "address", "allowed"),
    [
        ("report.daily reads orders.extract.return_value", Reader("report", "r", "daily"), ORDERS, True),
        ("report.daily reads orders.*.return_value", Reader("report", "r", "daily"), ORDERS, True),
        ("report.* reads orders.*.*", Reader("report", "r", "daily", 3), ORDERS, True),
        ("report.daily  reads  orders.*.*", Reader("report", "r", "daily"), ORDERS, True),
        ("report.daily reads orders.*.other", Reader("report", "r", "daily"), ORDERS, False),
        ("report.daily reads orders2.*.*", Reader("report", "r", "daily"), ORDERS, False),
        ("report.daily reads orders.*.*", Reader("report", "r", "weekly"), ORDERS, False),
        ("report.daily reads orders.*.*", Reader("Report", "r", "daily"), ORDERS, False),
        # Names have dots, as those of tasks in groups.
        ("a.b.c reads x.y.z.key", Reader("a.b", "r", "c"), Address("x", "", "y.z", -1, "key"), True),
        ("a.b.c reads x.y.z.key", Reader("a", "r", "b.c"), Address("x.y", "", "z", -1, "key"), True),
        ("a.b.c reads x.y.z.key", Reader("a", "r", "b"), Address("x.y", "", "z", -1, "key"), False),
        ("a.* reads x.*.a key", Reader("a", "r", "b"), Address("x", "", "y", -1, "a key"), True),
        # A callback of a DAG is the DAG.
        ("report reads orders.*.*", Reader("report", "r"), ORDERS, True),
        ("report.* reads orders.*.*", Reader("report", "r"), ORDERS, True),
        ("report.daily reads orders.*.*", Reader("report", "r"), ORDERS, False),
        ("report reads orders.*.*", Reader("report", "r", "daily"), ORDERS, False),
        ("@triggerer reads orders.*.*", Reader("@triggerer"), ORDERS, True),
        ("*.* reads orders.*.*", Reader("@triggerer"), ORDERS, False),
    ],
)
def test_rules(text: str, reader: Reader, address: Address, allowed: bool) -> None:
    assert rule(text).allows(reader, address) is allowed


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('rules = "a.b reads c.d.e"', "Rules are a list of texts"),
        ("rule = []", "The file has 'rule': did you mean rules?"),
        ("rules = [7]", 'Rule 1 (7) must be a text as "report.daily reads orders.*.return_value"'),
        ('rules = ["a.b reads c.d.e", "a.b read c.d.e"]', 'Rule 2 ("a.b read c.d.e") must be a text as'),
        ('rules = ["a.b reads c.d"]', 'what is read must be "dag.task.key"'),
        ('rules = ["* reads c.d.e"]', 'the reader must be "dag.task", "dag" or "@triggerer", not \'*\''),
        ('rules = ["@worker reads c.d.e"]', "not '@worker'"),
        ('rules = ["a b reads c.d.e"]', "not 'a b'"),
        ("rules = [", "readers.toml are wrong:"),
        ("rules = [" + "[" * 5000, "readers.toml are wrong:"),
    ],
)
def test_wrong_rules(content: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "readers.toml"
    file.write_text(content, encoding="utf-8")
    monkeypatch.setenv("AIRFLOW__XCOM__READERS", str(file))
    with pytest.raises(BadOption) as caught:
        declared()
    assert said in str(caught.value)


def test_no_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert declared() == ()
    monkeypatch.setenv("AIRFLOW__XCOM__READERS", str(tmp_path / "none.toml"))
    with pytest.raises(BadOption, match=r"can't be read.*config/none\.toml"):
        declared()
    monkeypatch.setenv("AIRFLOW__XCOM__READERS", "config/readers.toml")
    with pytest.raises(BadOption, match="must be the whole path"):
        declared()


@pytest.mark.parametrize(
    "said",
    [
        {"readers": ["report"]},
        {"readers": ["a b.c"]},
        {"readers": ""},
        {"readers": [7]},
        {"readers": ["a.b\n"]},
        {"readers": ["a.b,c.d"]},
        {"readers": ["@worker.b"]},
        {"once": True},
        {"readers": ["a.b", "a.c"], "once": True},
        {"readers": ["a.*"], "once": True},
        {},
    ],
)
def test_what_exclusive_refuses(said: dict[str, object]) -> None:
    with pytest.raises(BadOption, match=r"exclusive\(\): "):
        exclusive((1,), **said)  # type: ignore[arg-type]  # that is the test


def test_the_row_names_them() -> None:
    for value in (
        exclusive(lazy(keep(7, "2h")), readers="a.b"),
        keep(lazy(exclusive(7, readers="a.b")), "2h"),
    ):
        row = push(value)
        assert (row["must"], row["readers"], row["lazy"]) == (["readers"], ["a.b"], True)
        ref = parse(row)
        assert (ref.readers, ref.once) == (("a.b",), False)
        assert ref.expires is not None
        # A release that knows nothing of them must not hand it out.
        with pytest.raises(BadReference, match="'another', which this release does not know"):
            parse(row | {"must": ["readers", "another"]})
    assert push(exclusive(7, readers=["d.b"], once=True))["must"] == ["once", "readers"]
    assert repr(exclusive("secret", write_once=True)) == "<exclusive str>"


@pytest.mark.parametrize(
    "value",
    [
        [exclusive(1, readers="a.b")],
        (exclusive(1, readers="a.b"), 2),
        {"a": {"b": exclusive(1, once=False, readers="a.b")}},
    ],
)
def test_inside_of_other_values_it_is_refused(value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where every class is allowed: as a dataclass it would be stored, and be for everybody."""
    monkeypatch.setattr(airflow_compat, "class_allowed", lambda name: True)
    with pytest.raises(UnsupportedValue, match=r"Put exclusive\(\.\.\.\) around the whole value"):
        push(value)


def test_a_dict_whose_values_are_exclusive() -> None:
    one, two = (exclusive((1,), readers=[name]) for name in ("a.b", "a.c"))
    assert push({"one": one, "plain": 1, "again": one})["readers"] == ["a.b"]
    assert push(exclusive({"one": one, "two": two}, readers="a.d"))["readers"] == ["a.d"]
    with pytest.raises(UnsupportedValue, match="exclusive in different ways"):
        push({"one": one, "two": two})


def test_somebody_who_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    row = push(exclusive(7, readers=["a.b"]))
    for pulls in ("open", "warn", "declared"):
        monkeypatch.setenv("AIRFLOW__XCOM__PULLS", pulls)
        with pytest.raises(NotAReader, match=r"Somebody who is no known task may not read it.* a\.b alone"):
            readers.check(Question(ORDERS), [parse(row)])
    with pytest.raises(NotAReader, match="Somebody who is no known task is not declared as a reader"):
        readers.check(Question(ORDERS), [None])


@pytest.mark.parametrize(
    "reader",
    [Reader("report", "r", "daily"), Reader("a.report", "r", "g.daily", 3), Reader("report", "r")],
    ids=str,
)
@pytest.mark.parametrize(
    "key",
    [
        *(
            "a b",
            "a..b",
            "",
            "*",
            "a[1]",
            "[!a]",
            "[",
            "a?",
            'a "b"',
            "a\\b",
            "a\nb",
            "a\tb",
            " a",
            "a ",
            "a\n",
        ),
        *("x reads y", "é", "\x1b[31m", "\u202e", "]", "#", "\U0001f511"),
    ],
)
def test_the_line_that_is_told_can_be_pasted(
    reader: Reader,
    key: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And allows that one key alone."""
    monkeypatch.setenv("AIRFLOW__XCOM__READERS", str(file := tmp_path / "readers.toml"))
    monkeypatch.setattr(readers, "current", lambda: reader)
    file.write_text("rules = [\n]", encoding="utf-8")
    asked = Question(Address("orders.x", "run", "g.extract", -1, key))
    monkeypatch.setenv("AIRFLOW__XCOM__PULLS", "declared")
    with pytest.raises(NotAReader) as caught:
        readers.check(asked, [None])
    monkeypatch.setenv("AIRFLOW__XCOM__PULLS", "warn")
    monkeypatch.setattr(readers, "_told", set())
    readers.check(asked, [None])
    (warned,) = caplog.messages
    line = str(caught.value).rpartition(f"{file}: ")[2]
    assert warned.endswith(f" have: {line}")
    file.write_text(f"rules = [\n    {line}\n]", encoding="utf-8")
    monkeypatch.setenv("AIRFLOW__XCOM__PULLS", "declared")
    readers.check(asked, [None])
    with pytest.raises(NotAReader):
        readers.check(Question(replace(asked.address, key=f"{key}a")), [None])


@pytest.mark.parametrize(
    ("reader", "name"),
    [(Reader("@triggerer"), "@triggerer"), (Reader("a", "r"), "a.*"), (Reader("a", "r", "b.c"), "a.b.c")],
    ids=str,
)
def test_what_an_error_says_to_name_can_be_named(
    reader: Reader, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "current", lambda: reader)
    ref = parse(push(exclusive(7, readers=["x.y"])))
    with pytest.raises(NotAReader, match=rf'Name "{re.escape(name)}" in exclusive'):
        readers.check(Question(ref.address), [ref])
    ref = parse(push(exclusive(7, readers=[name])))
    readers.check(Question(ref.address), [ref])


def test_who_reads_once_is_a_task_that_can() -> None:
    with DAG("d", schedule=None) as dag:
        one = EmptyOperator(task_id="one")
        PythonOperator.partial(task_id="many", python_callable=print).expand(op_args=[[1], [2]])
    readers.note(one)
    for name, why in {
        "other.one": "other.one is none of d",
        "@triggerer": "@triggerer is none of d",
        "d.on": "d has no task on",
        "d.many": "d.many is mapped",
    }.items():
        with pytest.raises(BadOption, match=f"a task of the same DAG that is not mapped, and {why}"):
            push(exclusive(7, readers=[name], once=True))
    push(exclusive(7, readers=["d.one"], once=True))
    del dag


def test_what_was_not_pushed_may_be_pushed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A push that failed is none, though its key is to be pushed once."""
    address, running = Address("d", "r", "t", -1, "k"), Attempt(1, "0199aaaa-0000-7000-8000-000000000000")
    monkeypatch.setattr(access, "_written", set())
    monkeypatch.setattr(attempt, "confirm", lambda attempt: None)
    monkeypatch.setattr(pull, "row_of", lambda address: None)
    with pytest.raises(UnsupportedValue):
        DbXComBackend._put(address, running, exclusive([object()], write_once=True))
    DbXComBackend._put(address, running, exclusive([7], write_once=True))
    for again in (8, exclusive(8, write_once=True)):
        with pytest.raises(AlreadyPushed):
            DbXComBackend._put(address, running, again)


def test_what_is_read_once_and_lost_was_not_read_for_sure(tmp_path: Path) -> None:
    with opened("folder", str, tmp_path) as backend:
        row = backend.push(exclusive((1,), readers=["orders.ship"], once=True))
        kept = backend.push(exclusive(keep((2,), "1s"), readers=["orders.ship"], once=True))
        for one in (row, kept):
            Path(urlsplit(one["uri"]).path).unlink()
        with pytest.raises(AlreadyConsumed, match="has read it and succeeded, or it was lost"):
            backend.outside(row)
        kept["expires"]["at"] = "2020-01-01T00:00:00Z"
        with pytest.raises(PayloadExpired):
            backend.outside(kept)


def push(value: object) -> dict[str, object]:
    found: dict[str, object] = DbXComBackend.serialize_value(
        value, key="k", dag_id="d", run_id="r", task_id="t", map_index=-1
    )
    return found
