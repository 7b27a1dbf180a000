"""Python text in the project's one style, by its ruff: for files that are about to be written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ..console import Refused


def formatted(path: Path, text: str) -> str:
    """The text of a file as `make format` would leave it. Raises `Refused` where ruff fails or is missing."""
    return _said(path, text, "format")


def fixed(path: Path, text: str, rules: str) -> str:
    """The text with what breaks these rules corrected, as far as ruff does that. Raises as above."""
    return _said(path, text, "check", "--fix", "--exit-zero", "--select", rules)


def _said(path: Path, text: str, *arguments: str) -> str:
    command = [sys.executable, "-m", "ruff", *arguments, "--quiet", "--stdin-filename", str(path), "-"]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise Refused(f"{path} as it would be: ruff failed. {''.join(reason)}")
    return done.stdout.decode()
