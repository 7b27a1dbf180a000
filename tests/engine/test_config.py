"""Options of section [xcom]: where they come from, and what a wrong one is answered with."""

from __future__ import annotations

import pickle  # noqa: TID251 - as Airflow hands errors on

import pytest
from airflow.sdk.exceptions import AirflowFailException

from exclusive_xcom import config
from exclusive_xcom.config import Option
from exclusive_xcom.db import DbXComBackend
from exclusive_xcom.errors import BadOption, one


@pytest.mark.parametrize(
    ("option", "found", "value"),
    [
        (config.URL, " a text ", "a text"),
        (config.PREFIX, "", "xcom"),
        (config.URL, "s3://bucket/a%20b/c", "s3://bucket/a%20b/c"),
        (config.INLINE_LIMIT, "0", 0),
        (config.INLINE_LIMIT, "1_000", 1000),
        (config.MAX_ROW_SIZE, " ", 2**20),
        (config.RETENTION, "12h", "12h"),
        (config.RETENTION, "/etc/a b.toml", "/etc/a b.toml"),
        (config.FRAME_FORMAT, "parquet", "parquet"),
        (config.CODECS, "shop.codecs.shape, shop.codecs.other", ("shop.codecs.shape", "shop.codecs.other")),
        (config.CODECS, "a\tb", ("a", "b")),
    ],
)
def test_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, option: Option[object], found: str, value: object
) -> None:
    monkeypatch.setenv(option.variable, found)
    assert option.read() == value
    assert type(option.read()) is type(value)


def test_not_set_is_the_default_of_the_backend_or_of_all() -> None:
    assert config.URL.read() == ""
    assert config.CODECS.read() == ()
    assert config.INLINE_LIMIT.read() == 0
    assert config.INLINE_LIMIT.read(4096) == 4096
    assert config.RETENTION.read() == "never"
    assert config.RETENTION.read("7d") == "7d"
    assert config.FRAME_FORMAT.read("packed") == "packed"


def test_what_is_set_wins_over_the_default_of_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__XCOM__INLINE_LIMIT", "7")
    assert config.INLINE_LIMIT.read(4096) == 7


RETENTION = "a time as 12h or 30d, run, never, or the whole path of a file of rules"


@pytest.mark.parametrize(
    ("option", "found", "rule"),
    [
        (config.INLINE_LIMIT, "many", "a whole number of at least 0"),
        (config.INLINE_LIMIT, "1.5", "a whole number of at least 0"),
        (config.INLINE_LIMIT, "-1", "a whole number of at least 0"),
        (config.MAX_ROW_SIZE, "1023", "a whole number of at least 1024"),
        (config.FRAME_FORMAT, "feather", "arrow or parquet or packed"),
        (config.RETENTION, "604800", RETENTION),
        (config.RETENTION, "config/retention.toml", RETENTION),
        (config.READERS, "config/readers.toml", "the whole path of a file of rules"),
    ],
)
def test_a_wrong_one_is_named(
    monkeypatch: pytest.MonkeyPatch, option: Option[object], found: str, rule: str
) -> None:
    monkeypatch.setenv(option.variable, found)
    with pytest.raises(BadOption) as caught:
        option.read()
    assert str(caught.value) == (
        f"Option {option.variable} is {found!r}, but must be {rule}. "
        "Correct it in config/airflow.env or in the environment."
    )


def test_a_task_that_meets_a_wrong_option_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__XCOM__MAX_ROW_SIZE", "large")
    whose = {"dag_id": "d", "task_id": "t", "run_id": "r", "map_index": -1, "key": "k"}
    with pytest.raises(BadOption, match=r"MAX_ROW_SIZE is 'large'.*Correct it") as caught:
        DbXComBackend.serialize_value(b"not plain", **whose)
    assert isinstance(caught.value, AirflowFailException) and caught.value.address
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_kind_of_value_has_its_article() -> None:
    assert [one(kind) for kind in ("image", "Arrow table", "list", "UUID")] == [
        "An image",
        "An Arrow table",
        "A list",
        "A UUID",
    ]


def test_all_mistakes_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.mistakes() == []
    monkeypatch.setenv("AIRFLOW__XCOM__MAX_SIZE", "lots")
    monkeypatch.setenv("AIRFLOW__XCOM__FRAME_FORMT", "packed")
    monkeypatch.setenv("AIRFLOW__XCOM__SOMETHING", "else")
    monkeypatch.setenv("AIRFLOW__XCOM__EMPTY", "")
    value, slip, none = config.mistakes()
    assert "AIRFLOW__XCOM__MAX_SIZE is 'lots', but must be a whole number" in value
    assert slip.endswith("AIRFLOW__XCOM__FRAME_FORMT. Did you mean AIRFLOW__XCOM__FRAME_FORMAT?")
    assert none == "There is no option AIRFLOW__XCOM__SOMETHING."
