"""packages/, the template's part of a project: taken whole, with a person's edits kept as a patch."""

from __future__ import annotations

import itertools
import re
import tempfile
from collections.abc import Collection
from pathlib import Path

from repository import WITHOUT_HOOKS, Git

MANAGED = "packages"


def is_managed(name: str) -> bool:
    """True for a path in packages/."""
    return name.startswith(f"{MANAGED}/")


def given_up(before: Collection[str], here: Collection[str]) -> set[str]:
    """Folders right below packages/ that the project removed as a whole: it has them from elsewhere."""
    had, has = (
        {"/".join(parts[:2]) for name in names if is_managed(name) and len(parts := name.split("/")) > 2}
        for names in (before, here)
    )
    return had - has


def edits(git: Git, before: str) -> dict[str, str]:
    """Managed files that are not as the template made them, and what happened to each.

    Args:
        git: the project.
        before: the tree of what nobody edited, of the release that the project is at.
    """
    arguments = ("--name-status", "--no-renames", "--relative", "-z", before, "HEAD", "--", MANAGED)
    words = iter(git.names("diff", *arguments))
    return {
        name: {"A": "added", "D": "removed"}.get(how, "changed")
        for how, name in zip(words, words, strict=True)
    }


def keep_as_patch(git: Git, before: str, release: str) -> Path:
    """Write the edits to managed files beside the project, or, where that cannot be, into git's own folder.

    Returns:
        The patch, in a file that was not there before. `git apply --3way` in the project takes it.
    """
    told = re.sub(r"[^\w.-]+", "-", release)
    beside = git.folder.parent / f"{git.folder.name}-{MANAGED}-{told}"
    # Not a work tree's own folder, which goes with it.
    inside = (git.folder / git("rev-parse", "--git-common-dir")).resolve() / beside.name
    # Beside a project in a bigger repository, as folder or submodule, it would lie in that one's way.
    bigger = git("rev-parse", "--show-prefix") or git("rev-parse", "--show-superproject-working-tree")
    places = [inside] if bigger else [beside, inside]
    plain = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames")
    with tempfile.TemporaryDirectory(prefix="patch-") as folder:
        made = Path(folder, "patch")
        prefixes = ("--src-prefix=a/", "--dst-prefix=b/", f"--output={made}")
        git("-c", "diff.relative=false", "diff", *plain, *prefixes, before, "HEAD", "--", MANAGED)
        content = made.read_bytes()
    patch = next(filter(None, (new_file(place, content) for place in places)), None)
    if patch is None:
        raise OSError(f"neither {beside.parent} nor {inside.parent} can be written")
    return patch


def new_file(stem: Path, content: bytes) -> Path | None:
    """A file of this name and `.patch` with this content, with a number where that is taken by another's.

    An update that was cut short may have left the same, or its beginning. None where none can be written.
    """
    for number in itertools.count(1):
        path = stem.with_name(f"{stem.name}{f'-{number}' if number > 1 else ''}.patch")
        try:
            if path.is_file() and not content.startswith(path.read_bytes()):
                continue
            if path.is_symlink() or not (path.is_file() or not path.exists()):
                continue
            path.write_bytes(content)
        except OSError:
            return None
        return path
    return None


def take_whole(git: Git, after: str) -> None:
    """Make packages/ what it is in this tree, in the work tree and for the next commit."""
    if git("ls-tree", "--name-only", after, f"{MANAGED}/"):
        git(*WITHOUT_HOOKS, "checkout", "--quiet", "--no-overlay", after, "--", MANAGED)
    elif git.names("ls-files", "-z", "--", MANAGED):
        git("rm", "-r", "--force", "--quiet", "--", MANAGED)


def summary(git: Git, after: str) -> str:
    """What became of packages/, in a few words; nothing if it is as it was."""
    others = git.names("diff", "--cached", "--no-renames", "--name-only", "-z", "HEAD", "--", MANAGED)
    now = git.names("ls-tree", "-r", "-z", "--name-only", after, "--", f"{MANAGED}/")
    if len(others) > len(now):
        return f"taken whole: {len(now)} files are left of it"
    return f"taken whole: {len(others)} files are others, of {len(now)}" if others else ""
