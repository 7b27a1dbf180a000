"""Builds the project's image for a deployment, under a name that no other build has, and pushes it.

    python -m exclusive_xcom.local.image [REGISTRY/NAME]

The last line of standard output is the image's name. Run it in the project's folder.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from ..console import Failed, Refused


def build(push: str = "") -> str:
    """Build the image; with a registry's name for it, push it there. Returns its name with its tag. Raises
    `Refused` without docker, and `Failed` if a step of docker's fails."""
    if not shutil.which("docker"):
        raise Refused("docker is not on this machine: install Docker, or let your CI build the image.")
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = project["version"]
    own = tag(version)
    names = [f"{name}:{own}" for name in (project["name"], push) if name]
    labels = {"VERSION": version, "REVISION": _git("rev-parse", "HEAD"), "SOURCE": source()}
    options = [f"--build-arg={name}={value}" for name, value in labels.items()]
    _docker("build", *options, *(f"--tag={name}" for name in names), ".")
    if push:
        _docker("push", names[-1])
    return names[-1]


def tag(version: str) -> str:
    """The version and the commit; with the time in UTC where the current folder is not what was committed."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    now = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    parts = [version.replace("+", "-"), commit or now]
    if commit and _git("status", "--porcelain", "--", "."):
        parts += ["dirty", now]
    return "-".join(parts)


def source() -> str:
    """Where the project's repository is, without the login that its address may have; nothing if nowhere."""
    address = urlsplit(_git("remote", "get-url", "origin"))
    return address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()


def _git(*command: str) -> str:
    """What git answers; nothing if there is no repository, no commit or no git."""
    try:
        done = subprocess.run(["git", *command], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _docker(*command: str) -> None:
    # What docker says is for people: standard output is for the name alone.
    done = subprocess.run(["docker", *command], stdout=sys.stderr, check=False)
    if done.returncode:
        raise Failed(f"`docker {command[0]}` failed with exit code {done.returncode}.")


if __name__ == "__main__":
    try:
        print(build(*sys.argv[1:2]))
    except Failed as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
