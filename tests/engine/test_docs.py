"""The chapters in packages/exclusive-xcom: what they say is what the code does, and their examples run."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from redis_servers import Valkey, store_on

from exclusive_xcom import config, errors, metrics
from exclusive_xcom.backend import XComBackend
from exclusive_xcom.codecs import Options, codec_for
from exclusive_xcom.db import DbXComBackend
from exclusive_xcom.redis import RedisXComBackend
from exclusive_xcom.s3 import S3XComBackend
from exclusive_xcom.testing.codec_contract import decode, encode

PACKAGE = Path(__file__).resolve().parents[2] / "engine"
CHAPTERS = [PACKAGE / "README.md", *sorted((PACKAGE / "docs").glob("*.md"))]
BACKENDS: list[type[XComBackend]] = [DbXComBackend, S3XComBackend, RedisXComBackend]
PROJECT = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENTRY_POINTS = PROJECT["entry-points"]
OPTIONS = {option.name: option for option in vars(config).values() if isinstance(option, config.Option)}
# Bases; other failures of a store are plain `StoreError`s.
FAMILIES = {errors.XComError, errors.PayloadError, errors.StoreError}

chapter = pytest.mark.parametrize("file", CHAPTERS, ids=lambda file: file.stem)


def text_of(name: str) -> str:
    """A chapter."""
    return (PACKAGE / "docs" / name).read_text(encoding="utf-8")


def table(text: str, first: str) -> list[list[str]]:
    """The cells of the table whose first column has this title."""
    lines = text.split(f"| {first} |", 1)[1].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def blocks(text: str, language: str) -> list[str]:
    """The blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """What links to parts of a chapter may end with, as GitHub makes it of headings."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@chapter
def test_its_links_lead_somewhere(file: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", file.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        target, _, part = link.partition("#")
        found = (file.parent / target).resolve() if target else file
        assert found.is_file(), link
        assert not part or part in anchors(found.read_text(encoding="utf-8")), link


@chapter
def test_its_python_is_python(file: Path) -> None:
    for block in blocks(file.read_text(encoding="utf-8"), "python"):
        ast.parse(block.replace("<package>", "package"))


@chapter
def test_it_names_only_what_the_package_has(file: Path) -> None:
    """Modules and what is in them, groups of entry points, options of section [xcom]."""
    text = file.read_text(encoding="utf-8")
    for name in re.findall(r"AIRFLOW__XCOM__([A-Z_]+)", text):
        assert name.lower() in OPTIONS, name
    for name in re.findall(r"\bexclusive_xcom((?:\.[a-z_]\w*)+)", text):
        *folders, last = name.strip(".").split(".")
        folder = PACKAGE.joinpath("src", "exclusive_xcom", *folders)
        module = folder.with_suffix(".py") if folder.with_suffix(".py").is_file() else folder / "__init__.py"
        known = f"exclusive_xcom{name}" in ENTRY_POINTS
        known = known or (folder / f"{last}.py").is_file() or (folder / last).is_dir()
        assert known or re.search(rf"\b{last}\b", module.read_text(encoding="utf-8")), name


def test_it_has_every_chapter() -> None:
    readme = CHAPTERS[0].read_text(encoding="utf-8")
    for file in CHAPTERS[1:]:
        assert f"(docs/{file.name})" in readme, file.name


# -- settings -----------------------------------------------------------------------------------------


def default(option: config.Option[Any], backend: type[XComBackend]) -> Any:
    """An option's default with a backend."""
    if option is config.INLINE_LIMIT:
        return backend.inline_limit()
    if option is config.CONN_ID and backend is RedisXComBackend:
        return "redis_default"
    return getattr(backend, f"default_{option.name}", option.default)


def test_the_settings_are_all_there_once() -> None:
    assert sorted(row[0] for row in table(text_of("settings.md"), "option")) == sorted(
        f"`{name}`" for name in OPTIONS
    )


@pytest.mark.parametrize("row", table(text_of("settings.md"), "option"), ids=lambda row: row[0])
def test_a_setting_has_the_default_and_the_rule_that_it_says(row: list[str]) -> None:
    name, *defaults, rule, why = row
    option = OPTIONS[name.strip("`")]
    assert rule == option.rule
    assert why
    for told, backend in zip(defaults, BACKENDS, strict=True):
        found = default(option, backend)
        words = {"": "not set", (): "none"}
        shown = words.get(found) or (f"`{found}`" if isinstance(found, str) else str(found))
        assert told in ("–", shown), backend.__name__


def test_what_may_be_decoded_has_one_default() -> None:
    """In the code, in the chapter, and in the file that shows it to the owner of a project."""
    (shown,) = re.findall(
        r"^# AIRFLOW__XCOM__MAX_DECODED_SIZE=(\d+)$",
        (PACKAGE.resolve().parents[1] / "config" / "airflow.env").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    (told,) = (row[1:4] for row in table(text_of("settings.md"), "option") if row[0] == "`max_decoded_size`")
    assert {int(shown), *map(int, told), config.MAX_DECODED_SIZE.default} == {Options().max_size}


def test_redis_asks_for_the_connection_that_the_settings_name() -> None:
    assert RedisXComBackend.store().server.conn_id == "redis_default"


# -- errors -------------------------------------------------------------------------------------------


def test_every_error_is_in_the_list() -> None:
    classes = [found for found in vars(errors).values() if isinstance(found, type)]
    kinds = {found for found in classes if issubclass(found, errors.XComError)} - FAMILIES
    rows = table(text_of("errors.md"), "error")
    assert {row[0] for row in rows} == {f"`{kind.__name__}`" for kind in kinds}
    for name, what, advice in rows:
        assert what and advice, name


def test_families_of_errors_are_as_it_says() -> None:
    names = [row[0].strip("`") for row in table(text_of("errors.md"), "error")]
    stores = [name for name in names if issubclass(getattr(errors, name), errors.StoreError)]
    assert stores == names[-5:]
    for name in names:
        assert issubclass(getattr(errors, name), errors.PayloadError) == name.startswith("Payload")


# -- Redis --------------------------------------------------------------------------------------------


def test_a_user_of_redis_with_the_rights_that_it_lists() -> None:
    (rights,) = re.findall(r"^    (~PREFIX/\* .+)$", text_of("redis.md"), re.MULTILINE)
    with Valkey() as server:
        command = f"ACL SETUSER xcom on >secret {rights}".replace("PREFIX", "xcom")
        server.client().execute_command(*command.split())
        with store_on(server.port, login="xcom", password="secret") as store:
            failed = [check for check in store.probe() if not check.ok]
            assert failed == []


# -- examples -----------------------------------------------------------------------------------------


def test_the_codec_of_the_chapter_keeps_the_contract(tmp_path: Path) -> None:
    module, test = blocks(text_of("codecs.md"), "python")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "networks.py").write_text(module, encoding="utf-8")
    (tmp_path / "test_networks.py").write_text(test.replace("<package>", "shop"), encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_networks.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b1\d passed", done.stdout), done.stdout


def test_a_codec_is_asked_also_inside_of_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "networks_of_chapter.py"
    module.write_text(blocks(text_of("codecs.md"), "python")[0], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    options = Options(codecs=("networks_of_chapter",))
    assert codec_for(ip_network("10.0.0.0/8"), options).name == "ip_network"
    value = {"ours": [ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")]}
    assert decode(encode(value, options), options=options) == value
    del sys.modules["networks_of_chapter"]


# -- metrics.md ---------------------------------------------------------------------------------------


def test_each_metric_is_told_with_its_kind() -> None:
    rows = {name.strip("`"): kind for name, kind, _ in table(text_of("metrics.md"), "metric")}
    assert rows == metrics.METRICS
