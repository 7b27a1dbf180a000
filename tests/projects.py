"""What the tests know of the template, and a generated project as they see it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest

TEMPLATE = Path(__file__).resolve().parent.parent
QUESTIONS: dict[str, Any] = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
CHOICES: dict[str, list[str]] = {
    name: allowed for name, allowed in QUESTIONS.items() if isinstance(allowed, list) and name[0] != "_"
}
BACKENDS = CHOICES["xcom_backend"]
# Another Airflow than the template's own, such as a pre-release: `make airflow-next-test` says which.
AIRFLOW = os.environ.get("XCOM_TEST_AIRFLOW", "")
# From 3.4 on a row belongs to a task instance, and an old try is refused by the row's own request.
ROWS_PER_TRY = tuple(map(int, (AIRFLOW or QUESTIONS["__airflow_version"]).split(".")[:2])) >= (3, 4)

# Their scheduler ends when it gives up a lost task that has a retry: tests/zombie/executors/same_session.py.
CLOSES_SESSION = AIRFLOW in ("3.4.0b1", "3.4.0b2")


def pairs(answers: Mapping[str, str]) -> set[frozenset[tuple[str, str]]]:
    """Any two of these answers together."""
    return {frozenset(two) for two in combinations(answers.items(), 2)}


def every_pair() -> list[dict[str, str]]:
    """Few sets of answers in which any two answers come together: no line of the template asks for three."""
    # What comes from an index takes files away, and has tests of its own.
    choices = {**CHOICES, "engine": ["vendored"]}
    sets = [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]
    missing = set().union(*map(pairs, sets))
    chosen = []
    while missing:
        best = max(sets, key=lambda answers: len(missing & pairs(answers)))
        missing -= pairs(best)
        chosen.append(best)
    return chosen


EVERY_CHOICE = every_pair()
UV = os.environ.get("UV") or shutil.which("uv") or "uv"

# A machine's settings that would reach into a baked project.
FOREIGN = (
    "AIRFLOW",
    "CONDA",
    "COOKIECUTTER",
    "GIT_",
    "MAKE",
    "MFLAGS",
    "PYTEST",
    "PYTHON",
    "UV_PROJECT",
    "VIRTUAL_ENV",
)
KEPT = ("GIT_SSL_CAINFO",)

Files = dict[str, bytes]


def short(answers: Mapping[str, str]) -> str:
    """A name for a test's parameter: the choices, in few letters."""
    return "-".join(answers.values())


def as_bytes(path: Path) -> bytes:
    """A file's content; of a symbolic link, where it points."""
    return str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()


@dataclass(frozen=True)
class Machine:
    """Where commands run: a home folder that is empty but for git's name of the author."""

    home: Path

    @property
    def temporary(self) -> Path:
        """Its temporary folder, where cookiecutter leaves each rendered hook."""
        folder = self.home / "tmp"
        folder.mkdir(exist_ok=True)
        return folder

    def environment(self, **more: str) -> dict[str, str]:
        """The caller's environment without what would reach into a project, with `more` on top."""
        inherited = {
            name: value for name, value in os.environ.items() if name in KEPT or not name.startswith(FOREIGN)
        }
        # uv's cache is shared on purpose: it holds what PyPI serves, and an empty one costs minutes.
        cache = os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv")
        path = os.pathsep.join([str(Path(UV).parent), os.environ.get("PATH", os.defpath)])
        own = {"HOME": str(self.home), "PATH": path, "UV_CACHE_DIR": cache, "UV_PYTHON_DOWNLOADS": "never"}
        # The Python of the tests, which is there; not that of the projects' .python-version.
        own["UV_PYTHON"] = ".".join(map(str, sys.version_info[:2]))
        if AIRFLOW:
            own["UV_PRERELEASE"] = "allow"  # what a pre-release of Airflow needs are pre-releases, too
        return {**inherited, **own, **more}

    def run(
        self, *command: str | Path, cwd: Path, check: bool = True, timeout: float = 1200, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, with `more` in its environment. Its failure fails the test and shows what it said.

        With `check=False` it does not; `timeout` (seconds) only ends what hangs.
        """
        done = subprocess.run(
            list(map(str, command)),
            cwd=cwd,
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            shown = " ".join(map(str, command))
            pytest.fail(
                f"`{shown}` in {cwd} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}",
                pytrace=False,
            )
        return done

    def git(self, folder: Path, *arguments: str) -> str:
        """What git answers in a folder."""
        return self.run("git", *arguments, cwd=folder).stdout.strip()

    def tool(
        self, name: str, *arguments: str | Path, cwd: Path, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command that is installed beside this pytest: cookiecutter, cruft, ruff, check-jsonschema."""
        # Its Python has the engine as it lies in the template, where no bytecode belongs.
        bytecode = str(TEMPLATE / "build/pycache")
        options = {"TMPDIR": str(self.temporary), "PYTHONPYCACHEPREFIX": bytecode, **options}
        return self.run(Path(sys.executable).with_name(name), *arguments, cwd=cwd, **options)


@dataclass(frozen=True)
class BakedProject:
    """A generated project."""

    path: Path
    answers: Mapping[str, str] = field(repr=False)
    machine: Machine = field(repr=False)

    @property
    def package(self) -> str:
        """The name of its Python package."""
        return self.path.name.replace("-", "_")

    def read(self, name: str | Path) -> str:
        """The text of one of its files."""
        return (self.path / name).read_text(encoding="utf-8")

    def files(self, *, without: tuple[str, ...] = ()) -> Files:
        """Every file's content by its path below the project, but for those named in `without`."""
        found = sorted(path for path in self.path.rglob("*") if path.is_symlink() or path.is_file())
        named = {path.relative_to(self.path).as_posix(): path for path in found}
        return {name: as_bytes(path) for name, path in named.items() if name not in without}

    def texts(self) -> dict[str, str]:
        """Its text files by path: those without a NUL byte that are UTF-8."""
        texts = {}
        for name, content in self.files().items():
            if b"\0" not in content:
                try:
                    texts[name] = content.decode("utf-8")
                except UnicodeDecodeError:
                    continue
        return texts

    def run(self, *command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in it; see Machine.run."""
        return self.machine.run(*command, cwd=self.path, **options)

    def make(self, *targets: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run its make targets."""
        return self.run("make", "--no-print-directory", *targets, **options)

    def uv(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run uv in it."""
        return self.run(UV, *arguments, **options)

    def git(self, *arguments: str) -> str:
        """What git answers in it."""
        return self.machine.git(self.path, *arguments)

    def commit(self, message: str) -> str:
        """Commit all that it holds to its git repository, made if there is none; return the commit's name."""
        if not (self.path / ".git").exists():
            self.git("init", "--quiet", "--initial-branch=main")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")


Bake = Callable[..., BakedProject]


def released_files(machine: Machine) -> list[str]:
    """Every file of the template that no .gitignore excludes, by its path below the root."""
    empty = machine.home / "empty.git"  # an archive of the template has no repository of its own
    machine.git(machine.home, "init", "--quiet", "--bare", str(empty))
    options = [f"--git-dir={empty}", f"--work-tree={TEMPLATE}"]
    listed = machine.git(TEMPLATE, *options, "ls-files", "-z", "--others", "--exclude-standard")
    return sorted(name for name in listed.split("\0") if name)
