"""The project as it lies in the current folder: its link to the template, its settings, its state in git."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repository import Git, Refused, listed

LINK = ".cruft.json"


def read_link(project: Path) -> dict[str, Any]:
    """What .cruft.json says. Raises Refused when the project has none, or a broken one."""
    path = project / LINK
    if not path.is_file():
        version = pyproject(project).get("tool", {}).get("xcom-template", {}).get("version", "VERSION")
        raise Refused(
            "This project is not linked to a template: there is no .cruft.json here. A template that came as "
            "a zip file or a plain folder leaves none. To link it, give the address of the template's git "
            "repository, and the answers that the project was made with:\n"
            f"    .tools/uv tool run --from cruft==2.16.0 cruft link ADDRESS --checkout v{version}\n"
            "Then commit .cruft.json."
        )
    try:
        link: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _ = link["template"], link["commit"], link["context"]["cookiecutter"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f".cruft.json cannot be read ({error!r}). Take it from an earlier commit.") from error
    return link


def answers_of(link: Mapping[str, Any]) -> dict[str, Any]:
    """The answers that a project was made with, but for those that the template derives by itself."""
    return {name: value for name, value in link["context"]["cookiecutter"].items() if name[0] != "_"}


def parsed(text: str, name: str = "pyproject.toml") -> dict[str, Any]:
    """A pyproject.toml as Python values. Raises Refused when it is broken."""
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise Refused(f"{name} cannot be read: {error}. Correct and commit it first.") from error


def pyproject(folder: Path) -> dict[str, Any]:
    """The project's pyproject.toml, or nothing if there is none. Raises Refused when it is broken."""
    path = folder / "pyproject.toml"
    return parsed(path.read_text(encoding="utf-8")) if path.is_file() else {}


def check_tree(git: Git, *, dry_run: bool) -> None:
    """Raises Refused unless everything here is committed, so that `git reset --hard` undoes what follows."""
    if not git.holds("rev-parse", "--verify", "--quiet", "HEAD"):
        raise Refused(
            "This project has no commit in git yet, and an update is merged by git. First run:\n"
            '    git init && git add --all && git commit --message "As generated"'
        )
    lines = git.names("status", "--porcelain", "--untracked-files=normal", "--no-renames", "-z")
    if lines and not dry_run:
        rejected = any(line.endswith(".rej") for line in lines)
        raise Refused(
            "Commit (or stash, or delete) these first, so that this can be undone:"
            + listed([line[3:] for line in lines])
            + (
                "\nA .rej file holds what `cruft update` could not place: bring it in by hand."
                if rejected
                else ""
            )
        )
    hidden = [] if dry_run else hidden_edits(git)
    if hidden:
        raise Refused(
            "git was told not to look at these, and they are edited: an update would replace them unseen. "
            "Let git see them, with `git update-index --no-assume-unchanged FILE` or "
            "`git update-index --no-skip-worktree FILE`, and commit (or undo) the edits:" + listed(hidden)
        )
    if not git.holds("cat-file", "-e", f"HEAD:./{LINK}"):
        raise Refused(
            f"git does not keep this project: {LINK} is not in its last commit. Commit the project first."
        )


def hidden_edits(git: Git) -> list[str]:
    """Files that `git status` passes over, by a mark that a person set, and whose content is not git's."""
    top = Git(Path(git("rev-parse", "--show-toplevel")), git.settings)
    entries = [line.split(" ", 1) for line in top.names("ls-files", "-v", "-z")]
    marked = [name for mark, name in entries if mark.islower() or mark == "S"]
    present = [name for name in marked if os.path.lexists(top.folder / name)]  # a sparse checkout lacks them
    if not present:
        return []
    with tempfile.TemporaryDirectory(prefix="index-") as folder:  # the marks are taken off a copy
        copy = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        shutil.copyfile(top.folder / top("rev-parse", "--git-path", "index"), copy["GIT_INDEX_FILE"])
        unmarked = Git(top.folder, {**top.settings, **copy})
        for mark in ("--no-assume-unchanged", "--no-skip-worktree"):
            unmarked("update-index", mark, "--", *present)
        unmarked.run("update-index", "-q", "--refresh")
        edited = set(unmarked.names("diff-files", "--name-only", "-z"))
    return [name for name in present if name in edited]
