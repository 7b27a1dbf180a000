"""git in a folder: how the tool asks it, and how a refusal is put in words."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Of what a shell or a git hook may set for git, this says how a server is reached and what a person prefers.
# All else names another repository or changes what git's answers mean.
HARMLESS = re.compile(
    "(?!GIT_)|GIT_(SSH|SSL|HTTP|PROXY|ASKPASS|CONFIG|TERMINAL|EXEC_PATH|TRACE|CURL|ALLOW|PROTO)"
)
HERE = {name: value for name, value in os.environ.items() if HARMLESS.match(name)}
NOBODY = {f"GIT_{who}_{what}": "template" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
WITHOUT_HOOKS = ("-c", f"core.hooksPath={os.devnull}")


class Refused(Exception):
    """Why nothing was done. Nothing was changed."""


def called(
    *command: str | Path, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command that asks nobody; both of its outputs are in `stdout`."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


@dataclass(frozen=True)
class Git:
    """git in a folder, with a person's own settings."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run git with `more` in its environment. Raises Refused when there is no git."""
        try:
            return subprocess.run(
                ["git", *arguments],
                cwd=self.folder,
                env={**HERE, **self.settings, **more},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="surrogateescape",
                check=False,
            )
        except FileNotFoundError as error:
            raise Refused("git is not installed, and it is git that merges.") from error

    def __call__(self, *arguments: str, **more: str) -> str:
        """What git says. Raises Refused when it fails."""
        done = self.run(*arguments, **more)
        if done.returncode:
            command = next(word for word in arguments if not word.startswith("-") and "=" not in word)
            raise Refused(f"`git {command}` failed: {reason(done.stderr)}.")
        return done.stdout.strip("\n")

    def holds(self, *arguments: str) -> bool:
        """True when git ends well."""
        return self.run(*arguments).returncode == 0

    def names(self, *arguments: str) -> list[str]:
        """What git lists with `-z`."""
        return [name for name in self(*arguments).split("\0") if name]


def reason(said: str) -> str:
    """The line of a tool's errors that tells most: the first that it calls an error."""
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["it does not say why"]
    told = [line for line in lines if line.startswith(("fatal: ", "error: "))]
    return re.sub("^(fatal|error): ", "", (told or lines)[0]).rstrip(".")


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names for people, one in a line."""
    rest = [f"… and {len(names) - most} more"] if len(names) > most else []
    return "".join(f"\n    {name}" for name in [*names[:most], *rest])
