"""What the engine takes of Airflow's private names is there, is listed, and is told when it is missing."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.bases.xcom import BaseXCom

from exclusive_xcom import airflow_compat
from exclusive_xcom.airflow_compat import NEWEST, OLDEST, PRIVATE, Private

ENGINE = Path(airflow_compat.__file__).parent
HERE = tuple(map(int, metadata.version("apache-airflow-core").split(".")[:2]))


@pytest.mark.parametrize("private", PRIVATE, ids=lambda private: private.name)
def test_each_private_name_is_there(private: Private) -> None:
    """A new Airflow that moves one of them fails here, and says which part of the engine stands on it."""
    if private.since > HERE:
        pytest.skip(f"Airflow {'.'.join(map(str, private.since))} has it, and later ones")
    assert private.there(), f"{private.name} is gone: {private.use}. {airflow_compat.missing(private.name)}"


def test_those_that_came_later_are_not_there_before() -> None:
    """Otherwise the engine would replace something of which it knows nothing."""
    assert [one.name for one in PRIVATE if one.since > HERE and one.there()] == []


def test_what_a_backend_replaces_of_airflow_is_public_or_listed() -> None:
    from exclusive_xcom.backend import XComBackend

    replaced = {name for name in vars(XComBackend) if re.match("_[a-z]", name) and hasattr(BaseXCom, name)}
    listed = {one.name.rpartition(".")[2] for one in PRIVATE}
    assert replaced <= listed


def test_no_other_file_imports_a_private_name() -> None:
    """A class or module of Airflow's whose name begins with an underscore, or an attribute of such a name."""
    private = re.compile(r"from airflow[\w.]* import (?:.*\W)?_\w|import airflow[\w.]*\._|\bserde\._")
    found = [
        f"{path.relative_to(ENGINE)}: {line.strip()}"
        for path in ENGINE.rglob("*.py")
        if path.name != "airflow_compat.py"
        for line in path.read_text("utf-8").splitlines()
        if private.search(line)
    ]
    assert found == []


def test_the_distribution_takes_the_versions_that_were_read() -> None:
    project: dict[str, Any] = tomllib.loads((ENGINE.parent.parent / "pyproject.toml").read_text("utf-8"))
    (wanted,) = (one for one in project["project"]["dependencies"] if one.startswith("apache-airflow>"))
    oldest, beyond = ".".join(map(str, OLDEST)), f"{NEWEST[0]}.{NEWEST[1] + 1}"
    assert wanted == f"apache-airflow>={oldest},<{beyond}"


@pytest.mark.parametrize("version", ["3.2.2", "2.11.0", "3.5.0b1", "4.0"])
def test_another_airflow_is_told_in_one_sentence(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow_compat, "_installed", lambda: version)
    with pytest.raises(ImportError) as caught:
        airflow_compat.check()
    assert str(caught.value) == (
        f"exclusive-xcom works with Apache Airflow 3.3 and 3.4, and this is {version}: take one of these, or "
        "unset AIRFLOW__CORE__XCOM_BACKEND and uninstall exclusive-xcom."
    )


@pytest.mark.parametrize("version", ["3.3.0", "3.3.2", "3.4.0b2", "3.4.7", None])
def test_these_are_taken(version: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one of which no version is known: it is installed in another way."""
    monkeypatch.setattr(airflow_compat, "_installed", lambda: version)
    airflow_compat.check()


def test_what_is_missing_is_told_with_the_versions_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import serde

    monkeypatch.delattr(serde, "_match")
    with pytest.raises(
        RuntimeError, match=r"Airflow 3\..* has no airflow\.sdk\.serde:_match .*3\.3 and 3\.4"
    ):
        airflow_compat.class_allowed("builtins.int")
