"""Who may read by which rule, and what a rule and `exclusive` must be."""

from __future__ import annotations

from pathlib import Path

import pytest

from exclusive_xcom import airflow_compat, exclusive, keep, lazy
from exclusive_xcom.address import Address
from exclusive_xcom.db import DbXComBackend
from exclusive_xcom.errors import BadOption, BadReference, NotAReader, UnsupportedValue
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
    assert push(exclusive(7, readers=["a.b"], once=True))["must"] == ["once", "readers"]
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
    from exclusive_xcom import readers
    from exclusive_xcom.binding import Question

    row = push(exclusive(7, readers=["a.b"]))
    for pulls in ("open", "warn", "declared"):
        monkeypatch.setenv("AIRFLOW__XCOM__PULLS", pulls)
        with pytest.raises(NotAReader, match=r"Somebody who is no known task may not read it.* a\.b alone"):
            readers.check(Question(ORDERS), [parse(row)])
    with pytest.raises(NotAReader, match="Somebody who is no known task is not declared as a reader"):
        readers.check(Question(ORDERS), [None])


def push(value: object) -> dict[str, object]:
    found: dict[str, object] = DbXComBackend.serialize_value(
        value, key="k", dag_id="d", run_id="r", task_id="t", map_index=-1
    )
    return found
