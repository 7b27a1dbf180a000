"""How what changed in the template comes into a project: git merges, and packages/ has no part in it.

`cruft update` would merge with `git apply`: that finds nothing to merge from in a fresh clone, gives all
files up for one that was edited here and dropped there, and ends with 0 on conflicts. So both renderings
are committed to the project's own repository, on no branch, and what changed between them is
cherry-picked: onto the project, or, for a dry run, onto a work tree that is thrown away.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from following import SIMILAR
from managed import MANAGED, given_up, is_managed
from project import LINK
from rendering import remove
from repository import NOBODY, WITHOUT_HOOKS, Git, Refused, listed, reason
from unfinished import DRY_RUN

WHAT_HAPPENED = {"A": "new", "D": "removed"}


@dataclass(frozen=True)
class Kept:
    """A rendering in the project's repository: the whole tree, and a commit with the project's packages/."""

    tree: str
    commit: str


@dataclass(frozen=True)
class Outcome:
    """What a merge did, as paths below the project."""

    changed: dict[str, str]  # with words that say how
    conflicts: list[str]
    left_behind: list[str]
    elsewhere: list[
        str
    ]  # what the template changed and a person has no longer there, with words that say how

    @property
    def unresolved(self) -> bool:
        """True when a person has to decide something."""
        return bool(self.conflicts or self.left_behind or self.elsewhere)


def leave_out_what_was_removed(git: Git, before: Path, after: Path) -> None:
    """Remove from two renderings what the project no longer has: an update must not bring it back, nor ask.

    Of packages/ only a whole folder can be given up, such as an engine that comes from an index.
    """
    here = set(git.names("ls-tree", "-r", "-z", "--name-only", "HEAD"))
    made = {path.relative_to(before).as_posix() for path in before.rglob("*") if not path.is_dir()}
    gone = {name for name in made - here if not is_managed(name)} | given_up(made, here)
    for name in gone:
        remove(before / name)
        remove(after / name)


def keep(git: Git, copy: Path, message: str, *parent: str) -> Kept:
    """Put a rendered folder into this project's repository, where this project is in it."""
    index = {"GIT_INDEX_FILE": f"{copy}.index", "GIT_DIR": git("rev-parse", "--absolute-git-dir")}
    inside = Git(copy, {**index, "GIT_WORK_TREE": str(copy), **NOBODY})
    prefix = git("rev-parse", "--show-prefix")
    inside("add", "--all", "--force", "--", ".")
    tree = inside("write-tree")
    if prefix:
        inside("read-tree", "--empty")
        inside("read-tree", f"--prefix={prefix}", tree)
        tree = inside("write-tree")
    own = git("ls-tree", "--name-only", "HEAD", f"{MANAGED}/")
    inside("rm", "-r", "--cached", "--quiet", "--ignore-unmatch", "--", f":(top){prefix}{MANAGED}")
    if own:
        inside("read-tree", f"--prefix={prefix}{MANAGED}/", f"HEAD:{prefix}{MANAGED}")
    merged = inside("write-tree")
    return Kept(tree, inside("commit-tree", merged, "-m", message, *parent))


def check_untracked(git: Git, before: str, after: str, *, whole: bool) -> None:
    """Raises Refused where a file would replace what git does not keep, such as an ignored file or folder.

    Args:
        git: the project.
        before: the tree of what nobody edited, of the release that the project is at.
        after: the same, of the one to take in.
        whole: whether packages/ is taken whole, and not only what is new in it.
    """
    arguments = ("--name-only", "--no-renames", "--diff-filter=A", "--relative", "-z", before, after)
    known = set(git.names("ls-files", "-z"))
    written = git.names("diff", *arguments)
    if whole:
        written += git.names("ls-tree", "-r", "-z", "--name-only", after, "--", f"{MANAGED}/")
    ways = {name: in_the_way(git.folder, name) for name in written if name not in known}
    found = {way for way in ways.values() if way and way not in known}
    folders = {way for way in found if (git.folder / way).is_dir() and not (git.folder / way).is_symlink()}
    # Of a folder that becomes a file, only what git does not keep would be lost.
    others = [f":(literal){way}" for way in sorted(folders)]
    lost = sorted(found - folders) + (
        git.names("ls-files", "--others", "-z", "--", *others) if others else []
    )
    if lost:
        raise Refused(
            "These would be replaced, and git does not keep them. Move them away first:" + listed(lost)
        )


def in_the_way(project: Path, name: str) -> str:
    """What is where a file is to be: something of its name, or a file or link in place of its folder."""
    for above in reversed(PurePosixPath(name).parents[:-1]):
        path = project / above
        if os.path.lexists(path) and (path.is_symlink() or not path.is_dir()):
            return above.as_posix()
    return name if os.path.lexists(project / name) else ""


@contextmanager
def place(git: Git, folder: Path, *, dry_run: bool) -> Iterator[Git]:
    """Where to merge: in the project itself, or in a second work tree that is removed again.

    A merge that git gives up leaves the project as it was.
    """
    if not dry_run:
        try:
            yield git
        except Refused as refused:
            if not git.holds("reset", "--hard", "--quiet"):
                again = "What was done till then is still here: put that right, and run this again."
                raise Refused(f"{refused}\n{again}") from refused
            raise
        return
    root = folder / DRY_RUN
    git(*WITHOUT_HOOKS, "worktree", "add", "--quiet", "--detach", str(root), "HEAD")
    try:
        yield Git(root / git("rev-parse", "--show-prefix"))
    finally:
        git("worktree", "remove", "--force", str(root))


def merge(git: Git, before: str, after: str) -> None:
    """Bring what changed between two commits into the project. Raises Refused when git gives up."""
    if git("rev-parse", before + "^{tree}") == git("rev-parse", after + "^{tree}"):
        return
    # A file that a person put beside the template's must not move with a folder that the template renames.
    settings = ("-c", "merge.directoryRenames=false", "-c", "merge.renames=true", *WITHOUT_HOOKS)
    options = ("--no-commit", "--no-rerere-autoupdate", "-X", SIMILAR[2:])
    done = git.run(*settings, "cherry-pick", *options, after, **NOBODY)
    if done.returncode and not git("ls-files", "--unmerged"):
        raise Refused(f"git could not merge: {reason(done.stderr)}.")


def look(git: Git, before: str, after: str, followed: Mapping[str, str], elsewhere: list[str]) -> Outcome:
    """Read what a merge of two commits did off git's index; but of packages/, which is taken whole.

    Args:
        git: where it was merged.
        before: the commit of what nobody edited.
        after: the same, of the release that was taken in.
        followed: the template's names of files that a person moved, by the person's.
        elsewhere: what there is to tell of others.
    """
    stages: dict[str, set[str]] = {}
    for line in git.names("ls-files", "--unmerged", "-z"):
        described, name = line.split("\t", 1)
        stages.setdefault(name, set()).add(described.split()[2])
    left_behind = [name for name, found in stages.items() if found == {"1", "2"}]
    edited = set(git.names("diff", "--name-only", "--no-renames", "--relative", "-z", before, "HEAD"))
    moves = iter(
        git.names("diff", "--name-status", SIMILAR, "--diff-filter=R", "--relative", "-z", before, after)
    )
    moved = {new: old for _, old, new in zip(moves, moves, moves, strict=True)}
    changed = {}
    words = iter(git.names("diff", "--cached", "--name-status", "--no-renames", "--relative", "-z", "HEAD"))
    for status, name in zip(words, words, strict=True):
        if name in stages or name == LINK or is_managed(name) or (status == "D" and name in moved.values()):
            continue
        old = moved.get(name, name)
        how = f"moved from {old}" if old != name else WHAT_HAPPENED.get(status, "changed")
        how += f", as {followed[name]} in the template" if name in followed else ""
        changed[name] = how + (", beside your edits" if old in edited else "")
    return Outcome(changed, sorted(set(stages).difference(left_behind)), left_behind, elsewhere)
