"""uv.lock, when a release changes what the project requires."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from project import parsed
from repository import HERE, Git, Refused, reason

LOCK = "uv.lock"
ASKING = ("pyproject.toml", "packages/exclusive-xcom/pyproject.toml")


def required(text: str) -> Any:
    """What of a pyproject.toml decides about uv.lock. None where it is broken, as by a conflict."""
    try:
        found = parsed(text)
    except Refused:
        return None
    return found.get("project"), found.get("dependency-groups"), found.get("tool", {}).get("uv")


def is_stale(git: Git) -> bool:
    """True when the project has a uv.lock, and what was merged into it requires other things than before."""
    if not git.holds("cat-file", "-e", f"HEAD:./{LOCK}"):
        return False
    return any(required(text_at(git, name)) != required(text_now(git.folder / name)) for name in ASKING)


def text_at(git: Git, name: str) -> str:
    """A file as it was before the merge; nothing if it was not there."""
    return git.run("show", f"HEAD:./{name}").stdout


def text_now(path: Path) -> str:
    """A file as it lies; nothing if it is not there."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def lock(git: Git) -> str:
    """Let uv lock the project anew, for the next commit. Returns why that failed, or nothing."""
    if any(required(text_now(git.folder / name)) is None for name in ASKING):
        return "pyproject.toml has a conflict to be put right first"
    # An environment that happens to be active is not the project's; this tool's own is active now.
    apart = {name: value for name, value in HERE.items() if name != "VIRTUAL_ENV"}
    command = [HERE.get("UV") or "uv", "lock"]
    try:
        done = subprocess.run(
            command,
            cwd=git.folder,
            env=apart,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        return f"{command[0]}: {os.strerror(error.errno or 0)}"
    if done.returncode:
        return reason(done.stderr.replace("× ", "error: "))
    git("add", "--", LOCK)
    return ""
