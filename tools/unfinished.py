"""What is not finished in a project: an update that was cut short, conflicts, a merge of the person's own."""

from __future__ import annotations

import fcntl
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from project import LINK, answers_of
from repository import NOBODY, Git, Refused, listed

NOTE = "template-update"
# What git leaves in its folder while it is in the midst of something, and how a person ends that.
IN_PROGRESS = {
    "rebase-merge": "rebase",
    "rebase-apply/applying": "am",
    "rebase-apply": "rebase",
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
}
DRY_RUN = "dry-run-of-the-template"  # the name of its work tree
PATIENCE = 5  # seconds, for a git whose caller was killed to end by itself


def git_path(git: Git, name: str) -> Path:
    """A file in git's own folder for this work tree."""
    return git.folder / git("rev-parse", "--git-path", name)


@contextmanager
def held(path: Path) -> Iterator[IO[str] | None]:
    """Hold a file for this process, made if there is none; None while another process holds it.

    However a process ends, it holds nothing any more.
    """
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file


@contextmanager
def noted(git: Git, *, dry_run: bool) -> Iterator[None]:
    """Note, while a merge touches the project, that it does. The note stays if it does not end well."""
    path = git_path(git, f"{DRY_RUN}.lock" if dry_run else NOTE)
    with held(path) as note:
        if note is None:
            raise at_work(path)
        note.write(git("rev-parse", "HEAD"))
        note.flush()
        yield
        path.unlink()


def at_work(path: Path) -> Refused:
    """What to say to the second of two updates."""
    return Refused(f"Another update is at work here, and holds {path}. Let it end first.")


def recover(git: Git) -> None:
    """Take back what an update had done that was cut short, and remove the work tree of such a dry run.

    What lay there is kept as a stash: nobody knows whether a person edited it since. Raises Refused when an
    update is still at work, or a git that was killed has locked the index.
    """
    if not git.holds("rev-parse", "--verify", "--quiet", "HEAD"):
        return
    for name, tidy in ((f"{DRY_RUN}.lock", remove_dry_run), (NOTE, take_back)):
        path = git_path(git, name)
        if path.is_file():
            with held(path) as note:
                if note is None:
                    raise at_work(path)
                note.seek(0)
                tidy(git, note.read())
                path.unlink(missing_ok=True)


def take_back(git: Git, head: str) -> None:
    """Put away what an update did at this commit, unless a person went on from it."""
    wait_for_lock(git)
    if head == git("rev-parse", "HEAD") and git("status", "--porcelain", "--untracked-files=all"):
        git("add", "--all", "--", ":/")
        message = ("--message", "An update of the template that was cut short")
        git("stash", "push", "--quiet", "--include-untracked", *message, **NOBODY)
        told = "The last update was cut short. What it had done is taken back, and kept: `git stash list`."
        print(told, flush=True)


def remove_dry_run(git: Git, _head: str) -> None:
    """Remove the work tree of a dry run that is no more."""
    for name in re.findall(r"^worktree (.+)$", git("worktree", "list", "--porcelain"), re.MULTILINE):
        if Path(name).name == DRY_RUN:
            git.run("worktree", "remove", "--force", "--force", name)
    git.run("worktree", "prune")


def wait_for_lock(git: Git) -> None:
    """Let a git end that was left alone. Raises Refused when its lock stays."""
    lock = git_path(git, "index.lock")
    until = time.monotonic() + PATIENCE
    while lock.exists() and time.monotonic() < until:
        time.sleep(0.1)
    if lock.exists():
        raise Refused(
            "The last update was cut short, and git's lock is still there. "
            f"Delete {lock}, and run this again."
        )


def check_nothing_open(git: Git) -> None:
    """Raises Refused when conflicts are open, or a merge, rebase or the like is not finished."""
    if not git.holds("rev-parse", "--verify", "--quiet", "HEAD"):
        return
    unmerged = sorted({line.split("\t", 1)[1] for line in git.names("ls-files", "--unmerged", "-z")})
    ways = [how for name, how in IN_PROGRESS.items() if git_path(git, name).exists()]
    if (todo := git_path(git, "sequencer/todo")).is_file():  # several, of which one was committed by hand
        ways.append("revert" if todo.read_bytes().startswith(b"revert") else "cherry-pick")
    go_on = f"git {ways[0]} --continue" if ways else "git commit"
    take_back = f"git {ways[0]} --abort" if ways else "git reset --hard"
    if unmerged:
        raise Refused(
            f"These are still open from the last merge:{listed(unmerged)}\n"
            f"Put each right and `git add` it (or `git rm` it), then `{go_on}`. "
            f"Or take it all back: `{take_back}`."
        )
    if ways:
        raise Refused(
            f"A `git {ways[0]}` is in progress here. Finish it (`{go_on}`), or give it up (`{take_back}`)."
        )


def check_committed(git: Git, link: str) -> None:
    """Raises Refused when the merge that `link`, the text of .cruft.json, tells of is not committed yet."""
    try:
        was, now = json.loads(git.run("show", f"HEAD:./{LINK}").stdout), json.loads(link)
    except ValueError:
        return
    if was.get("commit") == now["commit"] and answers_of(was) == answers_of(now):
        return
    marked = git.run("grep", "-lIE", "-z", "^(<<<<<<<|>>>>>>>) ", "--", ".").stdout
    left = sorted(filter(None, marked.split("\0")))
    raise Refused(
        "That is merged, but not committed yet: look at `git diff HEAD`, then `git commit`. "
        "Or take it all back: `git reset --hard`."
        + (f"\nMarks of conflicts are still in:{listed(left)}" if left else "")
    )
