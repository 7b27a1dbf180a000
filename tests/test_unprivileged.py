"""A project in the hands of somebody who is not root: all other tests may run as root, as CI often does."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import Bake, BakedProject

pytestmark = [
    pytest.mark.installed,
    pytest.mark.skipif(os.geteuid() != 0, reason="whoever is not root shows it by all the other tests"),
]

# What the system has for everybody: a Python, git and make, and no uv.
PROGRAMS = "/usr/local/bin:/usr/bin:/bin"
NOBODY = "nobody"


@pytest.fixture(scope="module")
def project(bake_into: Bake) -> Iterator[BakedProject]:
    """A project on s3 whose files and home folder belong to `nobody`."""
    home = Path(tempfile.mkdtemp(prefix="unprivileged-"))
    try:
        baked = bake_into(home, xcom_backend="s3")
        baked.commit("As baked")
        somebody = pwd.getpwnam(NOBODY)
        for path in (home, *home.rglob("*")):
            os.chown(path, somebody.pw_uid, somebody.pw_gid, follow_symlinks=False)
        yield baked
    finally:
        shutil.rmtree(home)


@pytest.mark.parametrize("target", ["run", "lint", "test", "clean"])
def test_its_commands_work(project: BakedProject, target: str) -> None:
    """One after the other, as a person would: `run` installs, from nothing."""
    somebody = pwd.getpwnam(NOBODY)
    environment = project.machine.environment(HOME=str(project.path.parent), PATH=PROGRAMS)
    environment = {name: value for name, value in environment.items() if not name.startswith("UV_")}
    done = subprocess.run(
        ["make", "--no-print-directory", target],
        cwd=project.path,
        env=environment,
        user=somebody.pw_uid,
        group=somebody.pw_gid,
        extra_groups=[],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
