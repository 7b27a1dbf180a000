"""The name of an image: which commit it is of, and that no login gets into it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from exclusive_xcom.console import Refused
from exclusive_xcom.local import image


def git(*command: str) -> None:
    """Run git here."""
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *who, *command], check=True, capture_output=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: one file, in no repository yet."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("one")
    return tmp_path


def test_a_commit_is_named_and_what_is_no_commit_has_the_time(folder: Path) -> None:
    assert re.fullmatch(r"1\.0-x-\d{8}T\d{6}", image.tag("1.0+x"))
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "One")
    clean = image.tag("1.0")
    assert re.fullmatch(r"1\.0-[0-9a-f]{12}", clean)
    (folder / "file").write_text("two")
    assert re.fullmatch(rf"{clean}-dirty-\d{{8}}T\d{{6}}", image.tag("1.0"))


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        ("https://me:t0ken@example.com/team/repo.git", "https://example.com/team/repo.git"),
        ("git@example.com:team/repo.git", "git@example.com:team/repo.git"),
        ("", ""),
    ],
)
def test_where_it_is_from_is_told_without_a_login(folder: Path, origin: str, told: str) -> None:
    git("init", "--quiet")
    if origin:
        git("remote", "add", "origin", origin)
    assert image.source() == told


def test_without_docker_one_sentence_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(Refused, match="docker is not on this machine"):
        image.build()
