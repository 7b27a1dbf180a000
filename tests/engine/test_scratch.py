"""The private folder of pulled files: nobody else can read it, and nothing of it is left behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from exclusive_xcom import scratch

OTHER = """
import sys
from exclusive_xcom import scratch
path = scratch.new_file("file.txt")
path.write_text("content")
print(path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files of this test's own."""
    scratch.clear()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    scratch.clear()


def other_process(temporary: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that has written a file to its folder and waits; its file."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str], *, kill: bool = False) -> None:
    """End it, in one way or the other."""
    with process:
        if kill:
            process.send_signal(signal.SIGKILL)


def test_only_its_owner_may_look_into_it(temporary: Path) -> None:
    path = scratch.new_file("data.csv")
    path.write_text("content")
    for folder in (path.parent, path.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert folder.stat().st_uid == os.getuid()
    assert path.parent.parent.parent == temporary


def test_files_of_one_name_do_not_meet() -> None:
    first, second = scratch.new_file("data.csv"), scratch.new_file("data.csv")
    assert first != second
    assert first.name == second.name == "data.csv"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("data.csv", "data.csv"),
        ("größe 数.csv", "größe 数.csv"),
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("a\0b\nc\x1b[31m.txt", "a_b_c_[31m.txt"),
        ("", "file"),
        (".", "file"),
        ("..", "file"),
        ("/", "file"),
        (" \t", " _"),
        (" ", "file"),
        ("a\u2028b", "a_b"),
        ("a\u202fb 👩\u200d💻.txt", "a\u202fb 👩\u200d💻.txt"),
        ("x" * 300 + ".parquet", "x" * 247 + ".parquet"),
        ("x" * 251 + ".csv", "x" * 251 + ".csv"),
        ("数" * 100 + ".csv", "数" * 83 + ".csv"),
        ("\ud800.txt", "_.txt"),
        ("\udcff.txt", "\udcff.txt"),
    ],
    ids=ascii,
)
def test_a_name_is_made_safe(name: str, safe: str) -> None:
    path = scratch.new_file(name)
    assert path.name == safe
    path.write_text("content")


FULL = """
import resource, signal
from exclusive_xcom import errors, scratch
from exclusive_xcom.testing.codec_contract import Stored, decode, encode

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # as on a full disk, writing goes this far
try:
    {call}
except errors.NoSpace as error:
    print(error)
"""


@pytest.mark.parametrize(
    "call",
    [
        "Content(b'x' * 5000).file('a.csv')",
        "codecs._container.Entry(memoryview(b'x' * 5000)).file('a.csv')",
        "_ranges.Part(Content(b'x' * 5000), 0, 5000, '').file('a.csv')",
        "codecs._container.pack([('a', Payload('', '', '', '', Path(sys.executable)))], None, in_file=True)",
    ],
    ids=["a pulled file", "a file in a container", "a part of a container", "a container"],
)
def test_a_full_disk_is_told_as_one(call: str, temporary: Path) -> None:
    head = """
import sys
from pathlib import Path
from types import SimpleNamespace
import exclusive_xcom.codecs._container
from exclusive_xcom.codecs import _ranges
from exclusive_xcom import codecs
from exclusive_xcom.codecs import Payload
from exclusive_xcom.content import StoredContent
def Content(data):
    return StoredContent(SimpleNamespace(length=len(data), where="x"), None, memoryview(data))
"""
    run = subprocess.run(
        [sys.executable, "-c", head + FULL.format(call=call)],
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert f"There is no space in {temporary} for the file" in run.stdout, run
    assert "TMPDIR" in run.stdout


def test_clear_removes_everything(temporary: Path) -> None:
    for number in range(3):
        scratch.new_file(f"{number}.txt").write_text("content")
    assert list(temporary.iterdir())
    scratch.clear()
    assert not list(temporary.iterdir())
    scratch.clear()
    scratch.new_file("again.txt").write_text("content")


def test_a_process_clears_up_when_it_ends(temporary: Path) -> None:
    process, path = other_process(temporary)
    assert path.is_relative_to(temporary)
    assert path.exists()
    end(process)
    assert not list(temporary.iterdir())


def test_what_a_killed_process_leaves_is_swept_up_by_the_next(temporary: Path) -> None:
    process, path = other_process(temporary)
    end(process, kill=True)
    assert path.exists()
    mine = scratch.new_file("mine.txt")
    assert list(temporary.iterdir()) == [mine.parent.parent]


def test_what_a_living_process_has_is_left_alone(temporary: Path) -> None:
    process, path = other_process(temporary)
    try:
        scratch.new_file("mine.txt")
        assert path.read_text() == "content"
    finally:
        end(process)


def test_what_is_not_ours_is_left_alone(temporary: Path) -> None:
    precious = temporary / "elsewhere"
    precious.mkdir()
    (precious / ".in-use").touch()
    (temporary / f"airflow-xcom-{os.getuid()}-link").symlink_to(precious)
    (temporary / f"airflow-xcom-{os.getuid()}-no-lock").mkdir()
    (temporary / f"airflow-xcom-{os.getuid()}-file").touch()
    scratch.new_file("mine.txt")
    assert len(list(temporary.iterdir())) == 5
    assert (precious / ".in-use").exists()


def test_a_forked_child_has_a_folder_of_its_own(temporary: Path) -> None:
    mine = scratch.new_file("mine.txt")
    mine.write_text("content")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:  # no assertion here: pytest would go on in two processes
        other = scratch.new_file("other.txt")
        os.write(writing, os.fsencode(other))
        scratch.clear()
        os._exit(0 if not other.parent.parent.exists() else 1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        other = Path(os.fsdecode(pipe.read()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert other.parent.parent != mine.parent.parent
    assert mine.read_text() == "content"


def test_threads_share_one_folder(temporary: Path) -> None:
    """One of two folders would be without a lock, and swept up while its files are read."""
    together = Barrier(8)

    def pull(number: int) -> Path:
        together.wait()
        return scratch.new_file("pulled.txt")

    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(pull, range(8)))
    assert len(set(paths)) == 8
    assert len({path.parent.parent for path in paths}) == 1
    assert len(list(temporary.iterdir())) == 1
