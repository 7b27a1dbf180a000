"""How long XComs are kept: rules, what a producer says, what the row says, and who comes too late."""

from __future__ import annotations

import json
import pickle  # noqa: TID251 - as Airflow hands errors on
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from airflow_versions import row_of
from hypothesis import given
from hypothesis import strategies as st
from redis_servers import any_server

from exclusive_xcom import Handle, keep, lazy
from exclusive_xcom.address import Address
from exclusive_xcom.db import DbXComBackend
from exclusive_xcom.errors import BadOption, BadReference, PayloadExpired, PayloadMissing, UnsupportedValue
from exclusive_xcom.keeping import Rule, Rules, Time, parsed, rules
from exclusive_xcom.redis import RedisXComBackend
from exclusive_xcom.reference import parse
from exclusive_xcom.store import store_of

RULES = """
default = "90d"

[[rule]]
dag = "orders*"
key = "return_value"
keep = "12h"

[[rule]]
task = "extract"
keep = "run"

[[rule]]
key = "model"
keep = "never"
"""
DAY = 86400
COORDINATES = {"dag_id": "orders", "run_id": "run 1", "task_id": "load", "map_index": -1}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of rules, which is set."""
    path = tmp_path / "retention.toml"
    path.write_text(RULES, encoding="utf-8")
    monkeypatch.setenv("AIRFLOW__XCOM__RETENTION", str(path))
    return path


def address(dag: str = "shop", task: str = "load", key: str = "return_value") -> Address:
    return Address(dag, "run", task, -1, key)


def push(value: Any, key: str = "value", backend: Any = DbXComBackend) -> Any:
    """The row of a pushed value, as a database gives it back."""
    return json.loads(json.dumps(row_of(backend, key, value, **COORDINATES)))


def pull(row: Any, backend: Any = DbXComBackend) -> Any:
    return backend.deserialize_value(SimpleNamespace(value=row))


def left(row: dict[str, Any]) -> timedelta:
    """How long the payload of a row is kept from now on."""
    expires = parse(row).expires
    assert expires is not None and expires.at is not None
    return expires.at - datetime.now(UTC)


# -- times ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds", "run"),
    [
        ("1s", 1, False),
        ("30m", 1800, False),
        ("12h", 43200, False),
        ("90d", 90 * DAY, False),
        ("run", None, True),
        ("never", None, False),
    ],
)
def test_a_time(text: str, seconds: int | None, run: bool) -> None:
    assert Time.of(text) == Time(text, seconds, run)


WRONG = ["", "0d", "-1d", "1.5h", "12", "h", "1w", "12 h", "12H", "١d", "9999999999d", "always", "12h\n"]


@pytest.mark.parametrize("text", [*WRONG, 12, None, True], ids=repr)
def test_what_is_no_time(text: Any) -> None:
    with pytest.raises(BadOption, match=r"is no time. It must be a whole number with s, m, h or d") as caught:
        keep(1, text)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_the_longest_time_is_one_that_can_be_reached_or_is_told() -> None:
    assert left(push(keep((1,), "36500d"))) > timedelta(days=36499)
    with pytest.raises(BadOption, match="36525d, a hundred years, are the longest"):
        keep((1,), "999999999d")


# -- the file -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("whose", "text", "name"),
    [
        (address(), "90d", 'retention.toml: default = "90d"'),
        (
            address("orders"),
            "12h",
            'retention.toml: rule 1 (dag = "orders*", key = "return_value", keep = "12h")',
        ),
        (address("orders.eu", "extract"), "12h", "rule 1"),
        (address("orders", "extract", "frame"), "run", "rule 2"),
        (address("Orders"), "90d", "default"),
        (address(key="model"), "never", "rule 3"),
        (address(key="models"), "90d", "default"),
    ],
)
def test_the_first_rule_that_matches_counts(file: Path, whose: Address, text: str, name: str) -> None:
    rule = rules().rule_of(whose)
    assert rule.keep.text == text
    assert name in rule.name


def test_a_changed_file_counts_at_once(file: Path) -> None:
    assert rules().default.keep.text == "90d"
    file.write_text('default = "1h"', encoding="utf-8")
    assert rules().default.keep.text == "1h"
    assert rules().rules == ()


def test_without_a_file_an_option_or_the_backend_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rules("7d").default.keep.text == "7d"
    monkeypatch.setenv("AIRFLOW__XCOM__RETENTION", "2h")
    assert rules("7d").default == Rule(Time.of("2h"), 'AIRFLOW__XCOM__RETENTION "2h"')


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", 'There is no default, as in default = "90d"'),
        ("default = 90", "The default: 90 is no time."),
        ('default = "90d"\ndefault = "1d"\n', "Cannot overwrite a value (at "),
        ('default = "90d"\n[[rule]\n', "(at line 2, column 7)"),
        ('defualt = "90d"', "The file has 'defualt': did you mean default?"),
        ('default = "90d"\nzone = 1', "The file has 'zone': there are default, rule"),
        ('default = "90d"\n[rule]\ndag = "a"\nkeep = "1d"', "Rules begin with [[rule]]"),
        ('default = "90d"\nrule = [1]', "Rule 1 must be a table"),
        ('default = "90d"\n[[rule]]\nkeep = "1d"', 'Rule 1 (keep = "1d") has neither dag nor task nor key'),
        ('default = "90d"\n[[rule]]\ndag = "a"', 'Rule 1 (dag = "a") has no keep, as in keep = "12h"'),
        (
            'default = "90d"\n[[rule]]\ndag = "a"\nkeep = "1 d"',
            'Rule 1 (dag = "a", keep = "1 d"): \'1 d\' is no time',
        ),
        ('default = "90d"\n[[rule]]\ndag = 1\nkeep = "1d"', "dag must be a text that is not empty"),
        ('default = "90d"\n[[rule]]\ndag = ""\nkeep = "1d"', "dag must be a text that is not empty"),
        ('default = "90d"\n[[rule]]\ndags = "a"\nkeep = "1d"', "has 'dags': did you mean dag?"),
        (
            RULES + '[[rule]]\ndag = "orders_eu"\nkey = "return_value"\nkeep = "1d"',
            'Rule 4 (dag = "orders_eu", key = "return_value", keep = "1d") is never reached: '
            'Rule 1 (dag = "orders*", key = "return_value", keep = "12h") has matched before it',
        ),
    ],
)
def test_a_wrong_file_is_refused_and_says_where(file: Path, text: str, told: str) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BadOption) as caught:
        push((1, 2))
    assert f"The rules for retention in {file} are wrong: " in str(caught.value)
    assert told in str(caught.value)


def test_a_file_that_is_not_there_or_no_text_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(b"\xff")
    with pytest.raises(BadOption, match="are wrong: 'utf-8' codec can't decode"):
        rules()
    file.unlink()
    with pytest.raises(BadOption, match=r"can't be read: .*retention.toml: No such file or directory"):
        rules()
    monkeypatch.setenv("AIRFLOW__XCOM__RETENTION", "config/retention.toml")
    with pytest.raises(BadOption, match="or the whole path of a file of rules"):
        rules()


names = st.text("ab", max_size=4)
patterns = st.text("ab*?", min_size=1, max_size=4) | st.sampled_from(["[ab]", "[!a]b", "a[[]"])


@given(patterns, patterns, names)
def test_a_rule_that_is_called_unreachable_is(one: str, other: str, name: str) -> None:
    first, second = (Rule(Time.of("1d"), "", dag=dag) for dag in (one, other))
    if first.covers(second) and second.matches(address(name)):
        assert first.matches(address(name))


@given(
    st.dictionaries(
        st.sampled_from(["default", "rule", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["1d", "run"]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["dag", "task", "key", "keep", "x"]), inner, max_size=4)
            ),
        ),
    )
)
def test_any_content_is_rules_or_refused_in_words(found: dict[str, Any]) -> None:
    try:
        assert isinstance(parsed(found, "retention.toml"), Rules)
    except ValueError as error:
        refused = error
        assert type(refused) is ValueError and str(refused)


# -- what the row says --------------------------------------------------------------------------------


def test_the_row_says_when_and_by_which_rule(file: Path) -> None:
    row = push((1, 2))
    assert row["expires"]["rule"] == 'retention.toml: default = "90d"'
    assert datetime.fromisoformat(row["expires"]["at"]).tzinfo is not None
    assert timedelta(0) <= left(row) - timedelta(days=90) <= timedelta(seconds=1)


def test_what_is_kept_for_ever_has_no_end(file: Path) -> None:
    assert "expires" not in push((1, 2), "model")
    assert "expires" not in push(keep((1, 2), "never"))


def test_what_goes_with_its_run_does_so_after_the_default_at_the_latest(file: Path) -> None:
    row = push(keep((1, 2), "run"))
    assert row["expires"] == {"rule": 'keep(value, "run")', "at": row["expires"]["at"], "run": True}
    assert left(row) > timedelta(days=89)
    file.write_text('default = "never"', encoding="utf-8")
    assert push(keep((1, 2), "run"))["expires"] == {"rule": 'keep(value, "run")', "run": True}


def test_what_the_producer_says_counts_before_the_rules(file: Path) -> None:
    row = push(keep((1, 2), "2h"), "model")
    assert row["expires"]["rule"] == 'keep(value, "2h")'
    assert left(row) <= timedelta(hours=2, seconds=1)
    assert pull(row) == (1, 2)


@pytest.mark.parametrize(
    "value", [1, None, "text", {"a": 1}, [1, 2], (1,), pd.DataFrame({"a": [1]})], ids=repr
)
def test_any_value_can_be_kept_also_lazily(value: Any) -> None:
    row = push(keep(value, "2h"))
    assert left(row) > timedelta(hours=1)
    found = pull(row)
    assert type(found) is type(value) and repr(found) == repr(value)
    for both in (keep(lazy(value), "2h"), lazy(keep(value, "2h"))):
        row = push(both)
        assert left(row) > timedelta(hours=1)
        handle = pull(row)
        assert type(handle) is Handle and repr(handle.load()) == repr(value)


def test_of_two_times_the_outer_one_counts() -> None:
    assert push(keep(keep((1,), "1h"), "2h"))["expires"]["rule"] == 'keep(value, "2h")'


def test_a_dict_is_kept_as_long_as_the_shortest_of_its_values() -> None:
    """`multiple_outputs` pushes each alone, and then the dict itself."""
    value = {"secret": keep(1, "2h"), "frame": lazy(keep((1,), "run")), "rows": 3, "old": keep(2, "never")}
    row = push(value)
    assert left(row) <= timedelta(hours=2, seconds=1)
    assert row["expires"]["run"] is True
    assert row["expires"]["rule"] == 'keep(value, "2h or run or never")'
    assert pull(row) == {"secret": 1, "frame": (1,), "rows": 3, "old": 2}


def test_inside_of_other_values_it_is_refused_with_advice() -> None:
    with pytest.raises(UnsupportedValue, match=r"Put keep\(\.\.\.\) around the whole value"):
        push([keep(1, "2h")])


def test_its_text_does_not_hold_the_value() -> None:
    assert repr(keep(["secret"], "2h")) == "<kept 2h: list>"


@pytest.mark.parametrize(
    "forged",
    [
        1,
        "x",
        [],
        {},
        {"at": "2026-01-01T00:00:00Z"},
        {"rule": 1},
        {"rule": "x", "at": "2026-01-01T00:00:00"},
        {"rule": "x", "at": "soon"},
        {"rule": "x", "at": 1},
        {"rule": "x", "run": "yes"},
    ],
    ids=repr,
)
def test_a_forged_end_is_refused(forged: Any) -> None:
    with pytest.raises(BadReference, match="not a well-formed reference"):
        pull(push((1, 2)) | {"expires": forged})


# -- too late -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The connection to a Redis."""
    with any_server() as conn_id:
        yield conn_id


@pytest.fixture
def redis(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The Redis backend."""
    monkeypatch.setenv("AIRFLOW__XCOM__CONN_ID", server)
    monkeypatch.setenv("AIRFLOW__XCOM__FORMER_CONN_ID", server)  # Airflow itself is told of none
    return RedisXComBackend


def test_who_comes_too_late_reads_which_rule_it_was(redis: Any) -> None:
    row = push(keep((1, 2), "1s"), backend=redis)
    assert pull(row, redis) == (1, 2)
    ref = parse(row)
    while datetime.now(UTC) < ref.expires.at:  # type: ignore[union-attr, operator]
        time.sleep(0.05)
    with pytest.raises(PayloadExpired) as caught:
        while True:  # Redis' clock may be behind by the rest of a second
            pull(row, redis)
    assert "was kept until 20" in caught.value.what and 'by keep(value, "1s")' in caught.value.what
    assert "(XCom 'value' of " in str(caught.value)
    assert isinstance(caught.value, PayloadMissing)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_so_does_who_pulls_a_sequence_or_has_a_handle(redis: Any) -> None:
    row = push(lazy(keep((1, 2), "1s")), backend=redis)
    handle, ref = pull(row, redis), parse(row)
    store_of(ref).delete(ref)
    row["expires"]["at"] = "2026-01-01T00:00:00Z"
    for use in (pull(row, redis).load, pull(row, redis).path, pull(row, redis).open):
        with pytest.raises(PayloadExpired, match="kept until 2026-01-01 00:00:00"):
            use()
    with pytest.raises(PayloadMissing) as caught:
        handle.load()
    assert type(caught.value) is PayloadMissing, "its time was not over"


def test_what_goes_with_its_run_is_told(redis: Any) -> None:
    row = push(keep((1, 2), "run"), backend=redis)
    ref = parse(row)
    store_of(ref).delete(ref)
    with pytest.raises(PayloadExpired, match=r"kept until its run had ended well, by keep\(value, \"run\"\)"):
        pull(row, redis)


def test_what_was_to_be_there_is_lost(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    row = push(keep((1, 2), "never"), backend=redis)
    ref = parse(row)
    store_of(ref).delete(ref)
    with pytest.raises(PayloadMissing) as caught:
        pull(row, redis)
    assert type(caught.value) is PayloadMissing
