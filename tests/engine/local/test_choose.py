"""Which pipelines somebody means by a name, a file or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from exclusive_xcom.console import Failed, Refused
from exclusive_xcom.local.pipelines import Found, Pipeline, choose
from exclusive_xcom.local.runner import log_name

PIPELINES = [
    Pipeline("shipments", "dags/logistics/ship.py", ["example"]),
    Pipeline("returns", "dags/logistics/ship.py"),
    Pipeline("tenants.a", "dags/tenants.py", ["smoke", "daily"]),
    Pipeline("tenants.b", "dags/tenants.py", ["smoke"]),
    Pipeline("same", "dags/a/twice.py"),
    Pipeline("other", "dags/b/twice.py"),
    Pipeline("v1.2", "dags/v1.2.py"),
    Pipeline("off", "dags/off.py", ["smoke"], off=True),
]
WHOLE = Found("dags", PIPELINES, {})
BROKEN = Found("dags", PIPELINES, {"dags/x/bad.py": "ValueError: no\nin dags/x/bad.py, line 3: raise"})


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project's folder, in which commands work."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dags").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("shipments", ["shipments"]),
        ("returns", ["returns"]),
        ("dags/logistics/ship.py", ["shipments", "returns"]),
        ("./dags/logistics/ship", ["shipments", "returns"]),
        ("logistics/ship.py", ["shipments", "returns"]),
        ("logistics/ship", ["shipments", "returns"]),
        ("ship.py", ["shipments", "returns"]),
        ("ship", ["shipments", "returns"]),
        ("tenants", ["tenants.a", "tenants.b"]),
        ("tenants.b", ["tenants.b"]),
        ("a/twice", ["same"]),
        ("v1.2", ["v1.2"]),
        ("v1.2.py", ["v1.2"]),
    ],
)
def test_a_name_is_an_id_or_a_file(name: str, meant: list[str]) -> None:
    assert choose(WHOLE, [name]).dag_ids == meant


def test_what_is_off_is_run_only_by_its_name() -> None:
    for tags in ([], ["smoke"]):
        chosen = choose(WHOLE, [], tags)
        assert "off" not in [*chosen.dag_ids, *chosen.left_out]
    assert choose(WHOLE, ["off"]).dag_ids == ["off"] == choose(WHOLE, ["dags/off.py"]).dag_ids


def test_an_absolute_path_is_a_file_too(here: Path) -> None:
    assert choose(WHOLE, [str(here / "dags/tenants.py")]).dag_ids == ["tenants.a", "tenants.b"]


def test_what_is_named_twice_runs_once() -> None:
    assert choose(WHOLE, ["returns", "ship", "same"]).dag_ids == ["returns", "shipments", "same"]


def test_a_name_of_two_files_is_refused() -> None:
    with pytest.raises(Refused, match=r"'twice' can be each of dags/a/twice.py, dags/b/twice.py"):
        choose(WHOLE, ["twice"])


def test_a_mistyped_name_is_told_what_there_is() -> None:
    with pytest.raises(Refused) as refused:
        choose(WHOLE, ["shipment"])
    assert str(refused.value).startswith("There is no pipeline 'shipment' in dags/. Did you mean shipments")
    assert "There are: shipments, returns, tenants.a" in str(refused.value)


def test_a_name_that_may_be_in_a_broken_file_fails_with_that_files_error() -> None:
    with pytest.raises(Failed) as failed:
        choose(BROKEN, ["nothing"])
    assert failed.value.exit_code == 1
    assert "dags/x/bad.py can't be imported:\n  ValueError: no\n  in dags/x/bad.py, line 3" in str(
        failed.value
    )


def test_a_file_without_a_dag_is_not_called_unknown(here: Path) -> None:
    (here / "dags/helpers.py").touch()
    with pytest.raises(Refused, match=r"dags/helpers.py is there, but Airflow finds no DAG in it"):
        choose(WHOLE, ["helpers"])


def test_a_broken_file_is_what_was_asked_for_only_if_it_was_named() -> None:
    named = choose(BROKEN, ["bad", "same"])
    assert (named.dag_ids, list(named.broken), named.beside) == (["same"], ["dags/x/bad.py"], {})
    other = choose(BROKEN, ["same"])
    assert (other.broken, list(other.beside)) == ({}, ["dags/x/bad.py"])
    assert list(choose(BROKEN, []).broken) == ["dags/x/bad.py"]


def test_without_names_the_tags_choose_and_without_tags_all_run() -> None:
    tagged = choose(WHOLE, [], ["smoke", "example"])
    assert tagged.dag_ids == ["shipments", "tenants.a", "tenants.b"]
    assert tagged.left_out == ["returns", "same", "other", "v1.2"]
    assert choose(WHOLE, []).dag_ids == [each.dag_id for each in PIPELINES if not each.off]
    assert choose(WHOLE, ["same"], ["smoke"]).left_out == [], "who names something knows the others"


def test_every_id_has_a_log_that_a_file_system_takes() -> None:
    assert log_name("a-b.c_d") == "a-b.c_d.log" and log_name("..") == "...log"
    long = [log_name("ü" * 249 + end) for end in "ab"]
    assert long[0] != long[1] and all(len(name.encode()) <= 255 for name in long)
