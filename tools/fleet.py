"""For many projects: which release each is at, and a branch in each with the release of this file.

    uv run tools/fleet.py LIST           which release each is at, what an update would do; nothing is changed
    uv run tools/fleet.py LIST --push    and push a branch wherever nobody has to decide anything

LIST has the address of a project's git repository in each line, and after a blank the project's folder in it
if that is not its top (its branch then ends with the folder's name); lines that begin with # are for people.
What is found out is found out in clones, by the real update. Exit code: 0 if all are done or would be, 2 if
a person has to decide something, 1 if a project could not be looked at.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["cruft==2.16.0", "cookiecutter==2.7.1"]
# ///

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # it is not there with PYTHONSAFEPATH

from project import read_link
from repository import HERE, WITHOUT_HOOKS, Git, Refused, called
from template import here, named

TOOL = Path(__file__).resolve().with_name("update.py")
DONE, FAILED, DECIDE = 0, 1, 2


@dataclass(frozen=True)
class Project:
    """One line of the list."""

    address: str
    inside: str  # the project's folder in its repository

    def __str__(self) -> str:
        return " ".join(filter(None, [self.address, self.inside]))


@dataclass(frozen=True)
class Found:
    """What became of one project: an exit code, the release that it is at, and words."""

    code: int
    release: str
    words: str
    details: tuple[str, ...] = ()


def projects(text: str) -> Iterator[Project]:
    """The projects of a list."""
    for line in text.splitlines():
        address, *inside = line.split(None, 1) or [""]
        if address and not address.startswith("#"):
            yield Project(address, "".join(inside).strip())


def look(project: Project, folder: Path, template: Git, *, push: bool) -> Found:
    """Clone a project and update it there, on a branch of its own; push that where it may be.

    Raises Refused when git or the project's own state does not let that be.
    """
    name = here(template, "").name
    # Several projects of one repository have a branch each.
    branch = "-".join(filter(None, [f"template-{name}", re.sub(r"[^\w.]+", "-", project.inside).strip("-.")]))
    Git(folder.parent)(
        "clone", "--quiet", *WITHOUT_HOOKS, "--", project.address, str(folder), GIT_TERMINAL_PROMPT="0"
    )
    git = Git(folder / project.inside)
    if not (git.folder.is_dir() and git.folder.resolve().is_relative_to(folder)):
        raise Refused(f"there is no folder {project.inside} in it")
    release = named(template, str(read_link(git.folder)["commit"]))
    if git.holds("rev-parse", "--verify", "--quiet", f"refs/remotes/origin/{branch}"):
        return Found(DONE, release, f"has the branch {branch} already")
    git("switch", "--quiet", "--create", branch)
    command = (sys.executable, "-I", "-X", "utf8", TOOL, "update")
    done = called(*command, folder=git.folder, environment=HERE)
    said = done.stdout.strip().splitlines()
    if done.returncode == DECIDE:
        return Found(DECIDE, release, "a person has to decide: make update there", decisions(done.stdout))
    if done.returncode:
        return Found(FAILED, release, "cannot be updated", tuple(said[-3:]))
    if not git("status", "--porcelain"):
        return Found(DONE, release, "is up to date" if release == name else said[-1])
    if not push:
        return Found(DONE, release, f"takes {name} in without a question")
    git(
        *WITHOUT_HOOKS,
        "commit",
        "--quiet",
        "--all",
        "--no-verify",
        "--message",
        f"Take in {name} of the template",
    )
    git(
        *WITHOUT_HOOKS,
        "push",
        "--quiet",
        "--no-verify",
        "origin",
        f"HEAD:refs/heads/{branch}",
        GIT_TERMINAL_PROMPT="0",
    )
    return Found(DONE, release, f"has the branch {branch} now")


def decisions(said: str) -> tuple[str, ...]:
    """What of an update's words names what is left to decide."""
    kinds = "Conflicts|Left behind|Changed by the template, not here|Modules that moved"
    parts = re.findall(rf"^(?:{kinds}).*?(?=\n\n|\Z)", said, re.MULTILINE | re.DOTALL)
    return tuple(line.strip() for part in parts for line in part.splitlines() if line.startswith("    "))


def main() -> int:
    """Read the command line, and go through the list."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("list", type=Path, help="a file with an address in each line")
    parser.add_argument(
        "--push", action="store_true", help="push a branch where nobody has to decide anything"
    )
    arguments = parser.parse_args()
    template = Git(TOOL.parent)
    worst = DONE
    try:
        listed = list(projects(arguments.list.read_text(encoding="utf-8")))
        name = here(template, "").name
    except (OSError, Refused) as error:
        print(error, file=sys.stderr)
        return FAILED
    if template("status", "--porcelain", "--", "..", ":(exclude)**/__pycache__"):
        print("This clone of the template has changes that are not committed: its last commit is taken.")
    print(f"{len(listed)} projects; the template here is at {name}", flush=True)
    for project in listed:
        with tempfile.TemporaryDirectory(prefix="fleet-") as scratch:
            try:
                # A clone is named as the project is: some tools make names of a folder's.
                stem = re.sub(r"\.git$", "", project.address.rstrip("/")).rpartition("/")[2] or "project"
                found = look(project, Path(scratch).resolve() / stem, template, push=arguments.push)
            except Refused as refused:
                words, *details = str(refused).splitlines()
                found = Found(FAILED, "?", words, tuple(details))
        print(
            f"{found.release:<12} {project}: {found.words}",
            *found.details,
            sep="\n                 ",
            flush=True,
        )
        worst = FAILED if FAILED in (worst, found.code) else max(worst, found.code)
    if not arguments.push:
        print("Nothing was pushed: that is what --push is for.")
    return worst


if __name__ == "__main__":
    sys.exit(main())
