"""Files of the template that a person moved or replaced: a move is followed, the rest is told.

What is not where the template made it looks removed to a merge, and what the template changed in it would be
dropped without a word. A move is read off the project's history, so it is followed however much was edited
since; in a shallow clone, and where the first commit has it already, off how alike the files are.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from managed import MANAGED, is_managed
from repository import Git, Refused

# How alike two files must be for one to count as the other moved. With git's own 50 %, edits to a file that
# the template dropped would go into a new one that merely looks like it.
ALIKE = 75
SIMILAR = f"--find-renames={ALIKE}%"
LINK_MODE, SUBMODULE_MODE = "120000", "160000"


@dataclass(frozen=True)
class Place:
    """Where a person has a file of the template now."""

    name: str
    certain: bool  # otherwise it only looks a little like it


def modes(git: Git) -> dict[str, str]:
    """What the project's last commit has, by path: the mode that git keeps."""
    lines = [line.split("\t", 1) for line in git.names("ls-tree", "-r", "-z", "HEAD")]
    return {name: described.split()[0] for described, name in lines}


def check_packages(git: Git) -> None:
    """Raises Refused where packages/ is no folder of files: an update replaces it whole."""
    whole = git.run("ls-tree", "-z", "HEAD", MANAGED).stdout.split(" ", 1)[0]
    found = {MANAGED: whole, **{name: mode for name, mode in modes(git).items() if is_managed(name)}}
    if (git.folder / MANAGED).is_symlink():
        found[MANAGED] = LINK_MODE
    for name, mode in found.items():
        if mode == SUBMODULE_MODE or (mode == LINK_MODE and name.count("/") <= 1):
            what = "a submodule" if mode == SUBMODULE_MODE else "a link"
            raise Refused(
                f"{name} is {what} here, and an update replaces {MANAGED}/ whole, as files of this project. "
                f"Put the files themselves there and commit that: see `git log -- {MANAGED}`."
            )


def follow(git: Git, before: Path, after: Path) -> tuple[dict[str, str], list[str]]:
    """Put into two renderings what a person moved where they have it.

    Returns:
        The moves, as the template's names by the person's, and what to tell: a line for each file that the
        template changed and that is not where it could be changed.
    """
    here = modes(git)
    names = sorted(path.relative_to(before).as_posix() for path in before.rglob("*") if not path.is_dir())
    missing = [name for name in names if not is_managed(name) and is_missing(git, name, here, before)]
    changed = [name for name in missing if bytes_of(before / name) != bytes_of(after / name)]
    theirs = moved_by_template(git, before, after) if changed else {}
    looks_like = look_alikes(git, before, here) if changed else {}
    moves, told = {}, []
    for name in changed:
        place = place_of(git, name, here) or looks_like.get(name)
        new = after / theirs.get(name, name)
        if place is None:
            if way := replaced_by(name, here):
                told.append(f"{name}  ({way}){difference(git, before / name, new)}")
        elif not bytes_of(new):
            told.append(f"{name}  (removed by the template; yours is {place.name})")
        elif is_managed(place.name) or place.name.startswith("../"):
            where = (
                f"in {MANAGED}/, which is taken whole"
                if is_managed(place.name)
                else "outside of this project"
            )
            words = f"it is {place.name} now, {where}"
            told.append(f"{name}  ({words}){difference(git, before / name, new)}")
        elif not place.certain:
            told.append(f"{name}  (perhaps it is {place.name} now){difference(git, before / name, new)}")
        elif any(path.exists() for path in (before / place.name, after / place.name)):
            words = f"it is {place.name} now, which is another file of the template's"
            told.append(f"{name}  ({words}){difference(git, before / name, new)}")
        else:
            move(before / name, before / place.name)
            move(new, after / place.name)
            moves[place.name] = name
    told += place_new(git, before, after, here)
    for name in missing:
        if name in here:  # a link or a submodule of the same name: no merge is to touch it
            (before / name).unlink(missing_ok=True)
            (after / name).unlink(missing_ok=True)
    return moves, told


def place_new(git: Git, before: Path, after: Path, here: Mapping[str, str]) -> list[str]:
    """Put new files where a link leads that a person made of their folder. Returns lines on the others."""
    told = []
    for path in sorted(path for path in after.rglob("*") if not path.is_dir()):
        name = path.relative_to(after).as_posix()
        folder = name.rpartition("/")[0]
        above = ["/".join(folder.split("/")[: end + 1]) for end in range(folder.count("/") + 1)]
        in_the_way = any(known in here for known in above)  # a file, link or submodule in place of a folder
        if in_the_way and not is_managed(name) and not (before / name).exists():
            way = replaced_by(name, here)
            there = inside(git, name)
            if there and not (git.folder / there).exists():
                move(path, after / there)
            else:
                path.unlink()
                told.append(f"{name}  (new in the template; {way})")
    return told


def inside(git: Git, name: str) -> str:
    """Where a path of the project leads through links, if that is in the project; otherwise nothing."""
    root, there = git.folder.resolve(), (git.folder / name).resolve()
    return there.relative_to(root).as_posix() if there.is_relative_to(root) else ""


def difference(git: Git, before: Path, after: Path) -> str:
    """The command that shows what the template changed: both files are kept in the project's repository."""
    if not after.is_file():
        return ": the template removed it"
    old, new = (git("hash-object", "-w", "--no-filters", "--", str(path))[:12] for path in (before, after))
    return f": git diff {old} {new}"


def is_missing(git: Git, name: str, here: Mapping[str, str], before: Path) -> bool:
    """True where the project has no file at the place of the template's."""
    kept = here.get(name)
    return kept is None or (kept in (LINK_MODE, SUBMODULE_MODE) and not (before / name).is_symlink())


def bytes_of(path: Path) -> bytes:
    """A file's content, told apart from that of no file."""
    return b"file:" + path.read_bytes() if path.is_file() else b""


def move(path: Path, to: Path) -> None:
    """Move a file, to a folder that need not be there."""
    to.parent.mkdir(parents=True, exist_ok=True)
    path.replace(to)


def replaced_by(name: str, here: Mapping[str, str]) -> str:
    """What a person put in place of a file or of a folder above it; nothing where it is just gone."""
    parts = name.split("/")
    for above in ("/".join(parts[:end]) for end in range(1, len(parts) + 1)):
        if here.get(above) in (LINK_MODE, SUBMODULE_MODE):
            what = "a link" if here[above] == LINK_MODE else "a submodule"
            return f"{above} is {what} now" if above != name else f"{what} now"
        if above != name and above in here:
            return f"{above} is a file now"
    return "a folder now" if any(known.startswith(f"{name}/") for known in here) else ""


def place_of(git: Git, name: str, here: Mapping[str, str]) -> Place | None:
    """Where a link leads, or the project's history says that a file went; None where it was removed."""
    if replaced_by(name, here):
        there = inside(git, name)
        return Place(there, True) if here.get(there, "").startswith("100") else None
    since, certain, inside_of = "", True, git("rev-parse", "--show-prefix") or "."
    for _ in range(20):  # moves of one file
        options = ("-1", "--format=%H", "--diff-filter=D", "--no-renames", "--full-history")
        commit = git.run("log", *options, f"{since}HEAD", "--", f":(literal){name}").stdout.strip()
        if not commit:
            return None
        words = ("-r", "-M50%", "--name-status", "-z", "--diff-filter=R", "--no-commit-id", commit)
        found = iter(git.run("diff-tree", *words).stdout.split("\0"))
        to = {
            posixpath.relpath(old, inside_of): (int(how[1:]), posixpath.relpath(new, inside_of))
            for how, old, new in zip(found, found, found, strict=False)
        }
        if name not in to:
            return None
        alike, name = to[name]
        certain = certain and alike >= ALIKE
        outside = name.startswith("../")  # in a bigger repository
        if here.get(name, "").startswith("100") or (
            outside and git.holds("cat-file", "-e", f"HEAD:./{name}")
        ):
            return Place(name, certain)
        since = f"{commit}.."
    return None


def look_alikes(git: Git, before: Path, here: Mapping[str, str]) -> dict[str, Place]:
    """The same by likeness, of files that no commit of this project moved."""
    index = {"GIT_INDEX_FILE": f"{before}.look", "GIT_WORK_TREE": str(before)}
    made = Git(before, {**index, "GIT_DIR": git("rev-parse", "--absolute-git-dir")})
    made("add", "--all", "--force", "--", ".")
    tree = made("write-tree")
    head = f"HEAD:{git('rev-parse', '--show-prefix')}".removesuffix("/")
    found = iter(git.names("diff-tree", "-r", SIMILAR, "--name-status", "-z", "--diff-filter=R", tree, head))
    pairs = ((old, new) for _, old, new in zip(found, found, found, strict=True))
    return {old: Place(new, True) for old, new in pairs if here[new].startswith("100")}


def moved_by_template(git: Git, before: Path, after: Path) -> dict[str, str]:
    """Files that the template itself moved between two renderings: new names by old."""
    words = ("--no-index", SIMILAR, "--name-status", "-z", "--diff-filter=R", str(before), str(after))
    found = iter(git.run("diff", *words).stdout.split("\0"))
    pairs = ((old, new) for _, old, new in zip(found, found, found, strict=False))
    return {below(old, before): below(new, after) for old, new in pairs}


def below(name: str, folder: Path) -> str:
    """A path as git writes it outside of a repository, below a folder."""
    return name.partition(f"{folder.as_posix().lstrip('/')}/")[2]
