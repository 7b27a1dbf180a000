"""Says what breaks in a project that takes the newest of everything: `make newest-test`, each week in CI.

A project is baked, `make upgrade` moves it to what the index has today, and its own commands are run, all of
them whatever the one before said. With `--airflow`, its Airflow is another than the template's, too.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from repository import called

TEMPLATE = Path(__file__).resolve().parents[1]
COMMANDS = ("run", "test", "lint", "check-image")
PINNED = re.compile(r'"apache-airflow==([^"]+)"')
PYTHON = ".".join(map(str, sys.version_info[:2]))
LAST = 60  # lines of a command that failed


class Baked:
    """A project in a folder of its own below build/newest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it; both of its outputs are in `stdout`."""
        return called(*command, folder=self.folder, environment=os.environ)

    def locked(self) -> dict[str, str]:
        """The version of each distribution in uv.lock, by name."""
        text = (self.folder / "uv.lock").read_text(encoding="utf-8")
        return dict(re.findall(r'^name = "(.+)"\nversion = "(.+)"$', text, re.MULTILINE))

    def pin(self, airflow: str) -> None:
        """Let it have another Airflow. Raises `SystemExit` where nothing is pinned."""
        path = self.folder / "pyproject.toml"
        text, pins = PINNED.subn(f'"apache-airflow=={airflow}"', path.read_text(encoding="utf-8"))
        if pins != 1:
            sys.exit(f"{path} names {pins} versions of Airflow, not one")
        path.write_text(text, encoding="utf-8")


def bake(backend: str) -> Baked:
    """A project on a backend, and git, as its owner has it. Raises `SystemExit`."""
    place = TEMPLATE / "build" / "newest" / backend
    shutil.rmtree(place, ignore_errors=True)
    cookiecutter = str(Path(sys.executable).with_name("cookiecutter"))
    options = ["--default-config", "--no-input", "--output-dir", str(place)]
    answers = [f"xcom_backend={backend}", f"python_version={PYTHON}"]
    subprocess.run([cookiecutter, *options, str(TEMPLATE), *answers], check=True)
    (folder,) = place.iterdir()
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return Baked(folder)


def newest(project: Baked, uv: str) -> str:
    """The newest Airflow of the index, pre-releases too. Raises `SystemExit`."""
    asked = [
        "pip",
        "compile",
        "--quiet",
        "--no-header",
        "--no-annotate",
        "--no-deps",
        "--prerelease",
        "allow",
    ]
    path = project.folder / "newest.in"
    path.write_text("apache-airflow\n", encoding="utf-8")
    done = project.call(uv, *asked, "--no-config", path.name)
    path.unlink()
    found = re.search(r"^apache-airflow==(\S+)$", done.stdout, re.MULTILINE)
    return found[1] if found else sys.exit(f"uv does not say which Airflow is the newest:\n{done.stdout}")


def moved(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """A line of a Markdown table for each distribution whose version is another, new or gone."""
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return [f"| {name} | {before.get(name, '')} | {after.get(name, '')} |" for name in names]


def report(title: str, table: Sequence[str], failures: Mapping[str, str]) -> str:
    """What happened, in Markdown: what moved, what failed, and the last that it said."""
    lines = [f"## {title}", ""]
    lines += ["Everything passes." if not failures else f"**Broken: {', '.join(failures)}**", ""]
    for name, said in failures.items():
        lines += [f"### {name}", "", "````text", *said.splitlines()[-LAST:], "````", ""]
    if not table:
        return "\n".join([*lines, "Nothing has moved since the template's day.", ""])
    return "\n".join([*lines, "| moved | from | to |", "|---|---|---|", *table, ""])


def judge(project: Baked, commands: Sequence[str] = COMMANDS) -> dict[str, str]:
    """What each make target that fails said, by its name."""
    failures = {}
    for name in commands:
        done = project.call("make", "--no-print-directory", name)
        print(f"make {name}: {'failed' if done.returncode else 'passes'}", flush=True)
        if done.returncode:
            failures[f"make {name}"] = done.stdout
    return failures


def main() -> int:
    """Bake, upgrade, judge, tell. Returns 1 if anything broke."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--backend", default="db")
    asked.add_argument("--airflow", default="", help='a version, or "newest" with pre-releases')
    given = asked.parse_args()
    uv = os.environ.get("UV") or shutil.which("uv") or "uv"
    project = bake(given.backend)
    if given.airflow:
        project.pin(newest(project, uv) if given.airflow == "newest" else given.airflow)
    failures = judge(project, ["uv.lock"])
    before = project.locked() if not failures else {}
    failures |= judge(project, ["upgrade"])
    if not failures:
        failures = judge(project)
    after = project.locked() if before else {}
    title = f"{given.backend}, Airflow {after.get('apache-airflow', given.airflow)}, Python {PYTHON}"
    text = report(title, moved(before, after), failures)
    print(text)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(summary, "a", encoding="utf-8") as file:
            file.write(text)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
