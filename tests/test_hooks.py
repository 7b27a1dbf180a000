"""The hooks do their two jobs and nothing else: they run in anybody's folders, and again on every update."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from projects import CHOICES, TEMPLATE, Bake, Machine

HOOKS = sorted((TEMPLATE / "hooks").glob("*.py"))

# Written beside the hook by Python itself (sitecustomize), it records what the hook does.
WATCH = """
import json, os, sys
record = os.environ["WATCH"]
watched = ("socket.", "os.", "shutil.", "subprocess.", "tempfile.", "open", "ctypes.", "urllib.")
def watch(event, arguments):
    if not event.startswith(watched) or event in ("os.listdir", "os.scandir"):
        return
    if event == "open" and (arguments[1] or "r") in ("r", "rb") and not (arguments[2] or 0) & 3:
        return
    if arguments and arguments[0] == record:
        return
    with open(record, "a") as file:
        file.write(json.dumps([event, [str(a) for a in arguments[:2]]]) + "\\n")
sys.addaudithook(watch)
"""


@pytest.mark.parametrize("hook", HOOKS, ids=lambda path: path.stem)
def test_it_needs_only_the_standard_library_of_an_older_python(hook: Path) -> None:
    tree = ast.parse(hook.read_text(encoding="utf-8"), feature_version=(3, 9))
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    # Nothing that knows the time, chance, or the network.
    allowed = "contextlib json os pathlib re shlex shutil subprocess sys unicodedata urllib.parse"
    assert imported <= set(allowed.split())


@pytest.mark.parametrize("ci", ["github", "none"])
def test_it_only_reads_git_writes_the_link_and_removes_empty_folders(
    bake_into: Bake, ci: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    record = tmp_path / "record"
    monkeypatch.setenv("WATCH", str(record))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    project = bake_into(tmp_path, ci=ci)

    did = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    ran = [ast.literal_eval(arguments[1]) for event, arguments in did if event == "subprocess.Popen"]
    assert {command[0] for command in ran} == {"git"}
    assert {tuple(command[3:5]) for command in ran} <= {
        ("cat-file", "-e"),
        ("rev-parse", "HEAD"),
        ("rev-parse", "--show-prefix"),
        ("status", "--porcelain"),
    }
    written = [arguments[0] for event, arguments in did if event == "open"]
    assert [name for name in written if name != "/dev/null"] == [".cruft.json"]
    removed = [arguments[0] for event, arguments in did if event == "os.rmdir"]
    assert removed == ([] if ci == "github" else [".github/workflows", ".github"]) + ["deploy/helm", "deploy"]
    rest = {event for event, _ in did} - {
        "subprocess.Popen",
        "open",
        "os.rmdir",
        "os.posix_spawn",
        "os.putenv",
    }
    assert rest == set()
    assert ".cruft.json" in project.files()


def test_baking_over_a_project_leaves_its_owner_s_folders_alone(
    bake_into: Bake, tmp_path: Path, cookiecutter_config: Path
) -> None:
    project = bake_into(tmp_path, ci="none")
    kept = [project.path / "mine" / "empty", project.path / ".github" / "issues"]
    for folder in kept:
        folder.mkdir(parents=True)
    project.machine.tool(
        "cookiecutter",
        "--no-input",
        "--overwrite-if-exists",
        "--config-file",
        cookiecutter_config,
        TEMPLATE,
        "ci=none",
        cwd=tmp_path,
    )
    assert all(folder.is_dir() for folder in kept)


def test_nobody_has_to_read_what_it_says(machine: Machine, tmp_path: Path, cookiecutter_config: Path) -> None:
    """As with `cookiecutter … | head -1`: a hook that fails makes cookiecutter remove the project."""
    read, write = os.pipe()
    os.close(read)
    command: list[str | Path] = [
        Path(sys.executable).with_name("cookiecutter"),
        "--no-input",
        "--config-file",
        cookiecutter_config,
        TEMPLATE,
    ]
    try:
        done = subprocess.run(command, cwd=tmp_path, env=machine.environment(), stdout=write, check=False)
    finally:
        os.close(write)
    assert done.returncode == 0
    assert (tmp_path / "my-pipelines" / "pyproject.toml").exists()


def test_the_choices_that_it_accepts_are_those_of_the_questions() -> None:
    text = (TEMPLATE / "hooks" / "pre_gen_project.py").read_text(encoding="utf-8")
    found = re.search(r"^CHOICES = (\{.*?^\})", text, re.DOTALL | re.MULTILINE)
    assert found
    accepted = ast.literal_eval(found.group(1))
    assert {name: list(values) for name, values in accepted.items()} == CHOICES
