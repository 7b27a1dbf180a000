"""`make .env`: secrets that are made, those that are kept, and who may read them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from exclusive_xcom.console import Refused
from exclusive_xcom.local import secret_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project whose example asks for three secrets."""
    example = "# why\nFERNET_KEY=\nJWT_SECRET=\nPASSWORD=\n# COMMENTED=\nUSER_NAME=airflow\n"
    (tmp_path / ".env.example").write_text(example)
    return tmp_path


def mode(path: Path) -> int:
    """Who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_they_are_random_and_for_their_owner_alone(folder: Path) -> None:
    assert secret_files.fill_in(folder) == ["FERNET_KEY", "JWT_SECRET", "PASSWORD"]
    path = folder / ".env"
    assert mode(path) == 0o600
    values = dict(line.split("=", 1) for line in path.read_text().splitlines() if line[0] != "#")
    assert set(values) == {"FERNET_KEY", "JWT_SECRET", "PASSWORD"}
    Fernet(values["FERNET_KEY"])
    assert len(values["JWT_SECRET"]) >= 64, "HS512 wants a key of 64 bytes"
    assert values["JWT_SECRET"] != values["PASSWORD"]


def test_they_are_not_made_twice(folder: Path) -> None:
    secret_files.fill_in(folder)
    before = (folder / ".env").read_text()
    assert secret_files.fill_in(folder) == []
    assert (folder / ".env").read_text() == before


def test_what_the_owner_began_is_filled_in_and_nothing_in_it_changes(folder: Path) -> None:
    began = "# mine\nPASSWORD=a$b\nFERNET_KEY=  # later\nOTHER='1'\nMORE=x"  # no line break at the end
    (folder / ".env").write_text(began)
    assert secret_files.fill_in(folder) == ["FERNET_KEY", "JWT_SECRET"]
    lines = (folder / ".env").read_text().splitlines()
    assert [lines[0], lines[1], *lines[3:5]] == ["# mine", "PASSWORD=a$b", "OTHER='1'", "MORE=x"]
    assert lines[2].startswith("FERNET_KEY=") and lines[5].startswith("JWT_SECRET=") and len(lines) == 6


def test_what_looks_like_its_line_in_another_value_is_left(folder: Path) -> None:
    began = "NOTE='\nPASSWORD=\n'\nJWT_SECRET=mine\nJWT_SECRET=\nexport PASSWORD=\n"
    (folder / ".env").write_text(began)
    assert secret_files.fill_in(folder) == ["FERNET_KEY", "JWT_SECRET", "PASSWORD"]
    lines = (folder / ".env").read_text().splitlines()
    assert lines[:4] == ["NOTE='", "PASSWORD=", "'", "JWT_SECRET=mine"]
    assert [line.partition("=")[0] for line in lines[4:]] == ["JWT_SECRET", "export PASSWORD", "FERNET_KEY"]
    assert secret_files.fill_in(folder) == [], "of two lines the last one counts, and it is filled in"


def test_a_name_that_the_example_gained_is_added(folder: Path) -> None:
    secret_files.fill_in(folder)
    with (folder / ".env.example").open("a") as example:
        example.write("S3_SECRET_KEY=\n")
    assert secret_files.fill_in(folder) == ["S3_SECRET_KEY"]


def test_a_link_stays_one(folder: Path) -> None:
    (folder / "safe").mkdir()
    (folder / "safe" / "secrets").touch()
    (folder / ".env").symlink_to("safe/secrets")
    assert len(secret_files.fill_in(folder)) == 3
    assert (folder / ".env").is_symlink() and "PASSWORD=" in (folder / "safe" / "secrets").read_text()


def test_a_file_that_can_t_be_understood_is_left_as_it_is(folder: Path) -> None:
    (folder / ".env").write_text("PASSWORD='open\n")
    with pytest.raises(Refused, match=r"^\.env, line 1: "):
        secret_files.fill_in(folder)
    assert (folder / ".env").read_text() == "PASSWORD='open\n"


def test_files_that_others_may_read_are_closed(folder: Path) -> None:
    for name in (".env", "connections.env"):
        (folder / name).touch()
        (folder / name).chmod(0o644)
    both = [Path("connections.env"), Path(".env")]
    assert secret_files.readable_by_others(folder) == both
    assert secret_files.close(folder) == both
    assert secret_files.readable_by_others(folder) == []
    assert mode(folder / ".env") == mode(folder / "connections.env") == 0o600
