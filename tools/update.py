"""Takes a release of the template, or another XCom backend, into this project: `make update`, `make switch`.

A script of its own, not a module of the package: it needs Python 3.11, git and cruft, and none of what the
project installs, so it still works where the project is broken.

cruft renders, git merges. `cruft update` would merge with `git apply`: that finds nothing to merge from in a
fresh clone, gives all files up for one that was edited here and dropped there, and ends with 0 on conflicts.
So cruft updates a copy of this project that holds the template's part and nobody's edits. What changed in
the copy is cherry-picked: onto this project, or, for a dry run, onto a work tree that is thrown away.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LINK = ".cruft.json"
SETTINGS = "config/airflow.env"
QUESTION = "xcom_backend"
RELEASE = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
DATE = re.compile(r'^exclude-newer = "([^"\n]*)"', re.MULTILINE)

# What people write for `cookiecutter`, and git does not know.
ABBREVIATIONS = {
    "gh": "https://github.com/{}.git",
    "gl": "https://gitlab.com/{}.git",
    "bb": "https://bitbucket.org/{}",
}

# A git hook sets these, and they name its own repository.
OF_A_HOOK = {
    f"GIT_{what}" for what in ("DIR", "WORK_TREE", "INDEX_FILE", "COMMON_DIR", "PREFIX", "OBJECT_DIRECTORY")
}
HERE = {name: value for name, value in os.environ.items() if name not in OF_A_HOOK}
NOBODY = {f"GIT_{who}_{what}": "template" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

# How alike two files must be for one to count as the other moved. With git's own 50 %, edits to a file that
# the template dropped would go into a new one that merely looks like it.
SIMILAR = "--find-renames=75%"
# Settings of a backend that reading needs after a switch, and what they are called then.
KEPT_SETTINGS = {"URL": "FORMER_URL", "CONN_ID": "FORMER_CONN_ID", "PREFIX": "PREFIX"}

WHAT_HAPPENED = {"A": "new", "D": "removed"}


class Refused(Exception):
    """Why nothing was done. Nothing was changed."""


@dataclass(frozen=True)
class Target:
    """A commit of the template, its name for people, and what .cruft.json is to call it (or None)."""

    commit: str
    name: str
    checkout: str | None


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
    """The line of git's errors that tells most: the first that it calls an error."""
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["it does not say why"]
    told = [line for line in lines if line.startswith(("fatal: ", "error: "))]
    return re.sub("^(fatal|error): ", "", (told or lines)[0]).rstrip(".")


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names for people, one in a line."""
    rest = [f"… and {len(names) - most} more"] if len(names) > most else []
    return "".join(f"\n    {name}" for name in [*names[:most], *rest])


def read_link(project: Path) -> dict[str, Any]:
    """What .cruft.json says. Raises Refused when the project has none, or a broken one."""
    path = project / LINK
    if not path.is_file():
        version = pyproject(project).get("tool", {}).get("xcom-template", {}).get("version", "VERSION")
        raise Refused(
            "This project is not linked to a template: there is no .cruft.json here. A template that came as "
            "a zip file or a plain folder leaves none. To link it, give the address of the template's git "
            "repository, and the answers that the project was made with:\n"
            f"    uvx --from cruft==2.16.0 cruft link ADDRESS --checkout v{version}\n"
            "Then commit .cruft.json."
        )
    try:
        link: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _ = link["template"], link["commit"], link["context"]["cookiecutter"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f".cruft.json cannot be read ({error!r}). Take it from an earlier commit.") from error
    return link


def pyproject(folder: Path) -> dict[str, Any]:
    """The project's pyproject.toml, or nothing if there is none. Raises Refused when it is broken."""
    try:
        return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Refused(f"pyproject.toml cannot be read: {error}. Correct and commit it first.") from error


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
    if not git.holds("cat-file", "-e", f"HEAD:./{LINK}"):
        raise Refused(
            f"git does not keep this project: {LINK} is not in its last commit. Commit the project first."
        )


def fetch(git: Git, link: Mapping[str, Any], folder: Path) -> Git:
    """Every branch and tag of the template, and the commit that this project came from."""
    given = str(link["template"])
    kind, _, rest = given.partition(":")
    address = ABBREVIATIONS[kind].format(rest) if kind in ABBREVIATIONS else given
    print(f"Fetching the template: {given}", flush=True)
    done = git.run("clone", "--quiet", "--bare", "--", address, str(folder))
    if done.returncode:
        raise Refused(
            f"The template cannot be fetched from {given}: {reason(done.stderr)}. "
            'If it has moved, correct "template" in .cruft.json and commit that.'
        )
    template = Git(folder)
    former = str(link["commit"])
    if not template.holds("cat-file", "-e", former + "^{commit}"):
        # Not on a branch any more; a server may still have it.
        template.run("fetch", "--quiet", "--depth=1", "origin", former)
    if not template.holds("update-ref", "refs/heads/former-of-this-project", former):
        raise Refused(
            f"The template no longer has the commit that this project was made from ({former}). Put the "
            "commit of the nearest release into .cruft.json, and commit that."
        )
    return template


def named(template: Git, commit: str) -> str:
    """How people call a commit of the template: its release, or the first letters of its name."""
    tags = template("tag", "--points-at", commit, "--sort=-version:refname").split()
    return tags[0] if tags else commit[:10]


def find(template: Git, version: str) -> Target:
    """What VERSION names: a release with or without its v, a branch or a commit."""
    for ref in (f"refs/tags/{version}", f"refs/tags/v{version}", f"refs/heads/{version}", version):
        found = template.run("rev-parse", "--verify", "--quiet", "--end-of-options", ref + "^{commit}")
        if found.returncode == 0:
            name = ref.rpartition("/")[2] if ref.startswith("refs/tags/") else version
            return Target(found.stdout.strip(), name, name)
    releases = releases_of(template)
    raise Refused(
        f"VERSION={version} is no release of the template. There is: {', '.join(releases) or 'none'}."
    )


def releases_of(template: Git) -> list[str]:
    """Tags like v1.2.3, the newest last."""
    tags = {tag: found for tag in template("tag").split() if (found := RELEASE.fullmatch(tag))}
    return sorted(tags, key=lambda tag: tuple(map(int, tags[tag].groups())))


def newest(template: Git) -> Target:
    """The newest release, or the head of the default branch where nothing was released."""
    releases = releases_of(template)
    if releases:
        return find(template, releases[-1])
    branch = template.run("symbolic-ref", "--quiet", "--short", "HEAD").stdout.strip() or "HEAD"
    commit = template("rev-parse", "HEAD")
    print(f"The template has no release yet: taking the head of its branch, {branch}.")
    return Target(commit, f"{branch} at {commit[:10]}", None)


def check_answers(template: Git, target: Target, link: Mapping[str, Any], wanted: Mapping[str, str]) -> None:
    """Raises Refused when a release does not offer an answer: cruft would end in a traceback."""
    folder = "/".join(filter(None, [link.get("directory"), "cookiecutter.json"]))
    questions = json.loads(template("show", f"{target.commit}:{folder}"))
    for name, answer in {**link["context"]["cookiecutter"], **wanted}.items():
        offered = questions.get(name, [] if name in wanted else None)
        if name.startswith("_") or not isinstance(offered, list) or answer in offered:
            continue
        given = f"BACKEND={answer}" if name in wanted else f"{name} = {answer}"
        raise Refused(
            f"{given}: {target.name} of the template offers {' and '.join(offered) or 'no choice'}."
        )


def cruft(*arguments: str | Path, cwd: Path) -> None:
    """Run cruft apart from the settings of whoever runs it. Raises Refused when it fails."""
    config = cwd / "cookiecutter.yaml"
    config.write_text("default_context: {}\n", encoding="utf-8")
    apart = {
        "COOKIECUTTER_CONFIG": str(config),  # a new question's answer is its default, not this person's
        "GIT_CONFIG_GLOBAL": os.devnull,  # apply.whitespace and the like
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": str(cwd),
        "TMPDIR": str(cwd),  # where it leaves files that nobody removes
    }
    done = subprocess.run(
        [sys.executable, "-I", "-X", "utf8", "-m", "cruft", *map(str, arguments)],
        cwd=cwd,
        env=HERE | apart,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        if "No module named cruft" in done.stdout:
            raise Refused("cruft is not installed for this Python: run this script by `make update`.")
        lines = done.stdout.strip().splitlines() or ["it does not say why"]
        told = list(itertools.takewhile(lambda line: "Traceback (most recent" not in line, lines))
        raise Refused(
            f"The template cannot be rendered; `cruft {arguments[0]}` says:" + listed(told or lines[-1:])
        )


def render(
    git: Git, template: Git, link: Mapping[str, Any], target: Target, wanted: Mapping[str, str], folder: Path
) -> tuple[str, str, dict[str, Any]]:
    """Let cruft update a copy of this project that nobody edited.

    Returns:
        The copy before and after, as commits in this project's repository, and the new .cruft.json.
    """
    former = str(link["commit"])
    there = "".join(f" with {name} = {answer}" for name, answer in wanted.items())
    print(f"Rendering {named(template, former)}, and {target.name}{there}", flush=True)
    answers = {name: answer for name, answer in link["context"]["cookiecutter"].items() if name[0] != "_"}
    inside = ["--directory", str(link["directory"])] if link.get("directory") else []
    made: list[str | Path] = [
        "--no-input",
        "--extra-context",
        json.dumps(answers),
        "--output-dir",
        folder / "copies",
        *inside,
    ]
    (folder / "copies").mkdir()
    cruft("create", template.folder, "--checkout", former, *made, cwd=folder)
    (copy,) = (folder / "copies").iterdir()
    remove_what_was_removed(git, copy)
    untouched = folder / "untouched"
    shutil.copytree(copy, untouched, symlinks=True)

    # cruft reads what to skip in the copy's pyproject.toml, and here; a person may have added to their own.
    state = json.loads((copy / LINK).read_text(encoding="utf-8"))
    skip = [*link.get("skip", []), *pyproject(git.folder).get("tool", {}).get("cruft", {}).get("skip", [])]
    (copy / LINK).write_text(json.dumps({**state, "skip": skip}), encoding="utf-8")
    changes = ["--variables-to-update", json.dumps(dict(wanted))] if wanted else []
    cruft(
        "update", "--project-dir", copy, "--checkout", target.commit, "--skip-apply-ask", *changes, cwd=folder
    )
    state = json.loads((copy / LINK).read_text(encoding="utf-8"))
    state |= {"template": link["template"], "commit": target.commit, "checkout": target.checkout}
    state["context"]["cookiecutter"] |= {"_template": link["template"], "_commit": target.commit}
    del state["skip"]
    state |= {"skip": link["skip"]} if "skip" in link else {}

    settle_date(git.folder / "pyproject.toml", untouched / "pyproject.toml", copy / "pyproject.toml")
    before = keep(git, untouched, f"The template as of {named(template, former)}")
    after = keep(git, copy, f"Take in {target.name} of the template", "-p", before)
    return before, after, state


def remove_what_was_removed(git: Git, copy: Path) -> None:
    """Files and folders that this project no longer has: an update must not bring them back, nor ask."""
    files = {Path(name) for name in git.names("ls-tree", "-r", "-z", "--name-only", "HEAD")}
    here = files.union(*(name.parents for name in files))
    for path in sorted(copy.rglob("*"), reverse=True):  # what is in a folder comes before it
        if path.relative_to(copy) not in here:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def settle_date(mine: Path, before: Path, after: Path) -> None:
    """Let the later `exclude-newer` win: `make upgrade` moves it here, and releases move it there."""
    if not all(path.is_file() for path in (mine, before, after)):
        return
    texts = [path.read_bytes().decode("utf-8") for path in (mine, before, after)]
    own, old, new = map(DATE.search, texts)
    if old is None or new is None or (own and own[1] == old[1]):
        return
    if own is None:  # taken out, as a mirror without upload dates needs it
        dates = (old[1], old[1])
    else:
        dates = (own[1], max(own[1], new[1]) if own[1].startswith("20") else own[1])
    for path, text, found, date in zip((before, after), texts[1:], (old, new), dates, strict=True):
        path.write_bytes((text[: found.start(1)] + date + text[found.end(1) :]).encode("utf-8"))


def keep(git: Git, copy: Path, message: str, *parent: str) -> str:
    """Commit a rendered folder to this project's repository, on no branch, where this project is in it."""
    index = {"GIT_INDEX_FILE": f"{copy}.index", "GIT_DIR": git("rev-parse", "--absolute-git-dir")}
    inside = Git(copy, {**index, "GIT_WORK_TREE": str(copy), **NOBODY})
    inside("add", "--all", "--force", "--", ".", f":(exclude){LINK}")
    tree = inside("write-tree")
    prefix = git("rev-parse", "--show-prefix")
    if prefix:
        inside("read-tree", "--empty")
        inside("read-tree", f"--prefix={prefix}", tree)
        tree = inside("write-tree")
    return inside("commit-tree", tree, "-m", message, *parent)


def check_untracked(git: Git, before: str, after: str) -> None:
    """Raises Refused where a new file would replace one that git does not keep, such as an ignored one."""
    new = git.names(
        "diff", "--name-only", "--no-renames", "--diff-filter=A", "--relative", "-z", before, after
    )
    known = set(git.names("ls-files", "-z"))
    lost = [name for name in new if name not in known and os.path.lexists(git.folder / name)]
    if lost:
        raise Refused(
            "These would be replaced, and git does not keep them. Move them away first:" + listed(lost)
        )


@contextmanager
def place(git: Git, folder: Path, *, dry_run: bool) -> Iterator[Git]:
    """Where to merge: in the project itself, or in a second work tree that is removed again."""
    if not dry_run:
        yield git
        return
    root = folder / "dry-run"
    git("-c", f"core.hooksPath={os.devnull}", "worktree", "add", "--quiet", "--detach", str(root), "HEAD")
    try:
        yield Git(root / git("rev-parse", "--show-prefix"))
    finally:
        git("worktree", "remove", "--force", str(root))


def merge(git: Git, before: str, after: str) -> None:
    """Bring what changed between two commits into the project. Raises Refused when git gives up."""
    if git("rev-parse", before + "^{tree}") == git("rev-parse", after + "^{tree}"):
        return
    # A file that a person put beside the template's must not move with a folder that the template renames.
    settings = (
        "-c",
        "merge.directoryRenames=false",
        "-c",
        "merge.renames=true",
        "-c",
        f"core.hooksPath={os.devnull}",
    )
    done = git.run(
        *settings, "cherry-pick", "--no-commit", "--no-rerere-autoupdate", "-X", SIMILAR[2:], after, **NOBODY
    )
    if done.returncode and not git("ls-files", "--unmerged"):
        raise Refused(f"git could not merge: {reason(done.stderr)}.")


@dataclass(frozen=True)
class Outcome:
    """What a merge did, as paths below the project."""

    changed: dict[str, str]  # with words that say how
    conflicts: list[str]
    left_behind: list[str]

    @property
    def unresolved(self) -> bool:
        """True when a person has to decide something."""
        return bool(self.conflicts or self.left_behind)


def look(git: Git, before: str, after: str) -> Outcome:
    """Read what a merge did off git's index."""
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
        if name in stages or name == LINK or (status == "D" and name in moved.values()):
            continue
        old = moved.get(name, name)
        how = f"moved from {old}" if old != name else WHAT_HAPPENED.get(status, "changed")
        changed[name] = how + (", beside your edits" if old in edited else "")
    return Outcome(changed, sorted(set(stages).difference(left_behind)), left_behind)


def tell(git: Git, outcome: Outcome, *, dry_run: bool) -> None:
    """Say in plain words what happened, and what to do next."""
    if outcome.changed:
        lines = [f"{name}  ({how})" for name, how in outcome.changed.items()]
        print(f"\nWhat {'would change' if dry_run else 'changed'}:{listed(lines, 60)}")
    would_be = " (there would be)" if dry_run else ""
    if outcome.conflicts:
        unmarked = [name for name in outcome.conflicts if b"<<<<<<<" not in content(git.folder / name)]
        lines = [name + "  (yours, without marks)" * (name in unmarked) for name in outcome.conflicts]
        print(f"\nConflicts{would_be}: you and the template changed the same lines. Both are there, between")
        print("<<<<<<< and >>>>>>>. Put each file right, then `git add` it:" + listed(lines))
    if outcome.left_behind:
        print(f"\nLeft behind{would_be}: you edited these, and the template dropped them.")
        print("Drop a file with `git rm`, or keep it with `git add`:" + listed(outcome.left_behind))
    if not (outcome.changed or outcome.unresolved):
        print("\nNothing in the project changes but .cruft.json, which notes what it was made from.")


def content(path: Path) -> bytes:
    """A file's bytes; none where it is no file any more."""
    return path.read_bytes() if path.is_file() else b""


def next_steps(outcome: Outcome) -> str:
    """The commands that a person runs after a merge."""
    steps = ["git diff HEAD    what changed, in full"]
    if outcome.unresolved:
        steps.append("git status       what is left to decide")
    if "pyproject.toml" in [*outcome.changed, *outcome.conflicts]:
        steps.append("uv lock          the requirements may be others")
    steps += ["make test", "git commit"]
    return "\nNext:" + listed(steps) + "\nOr take it all back: git reset --hard"


def to_go_on_reading(git: Git, former: str) -> str:
    """What a person does so that values which the former backend stored can still be read after a switch."""
    told = "\nValues that are kept in rows of Airflow's database stay readable as they are."
    found = dict(re.findall(r"^AIRFLOW__XCOM__(\w+)=(.+)$", git("show", f"HEAD:./{SETTINGS}"), re.MULTILINE))
    lines = [f"AIRFLOW__XCOM__{new}={found[old]}" for old, new in KEPT_SETTINGS.items() if old in found]
    packages = pyproject(git.folder).get("project", {}).get("optional-dependencies", {}).get(former, [])
    if former == "db" or not lines:
        return told
    return (
        f"{told}\nTo go on reading what {former} stored, keep its connection, set this in {SETTINGS}:"
        f"{listed(lines)}\nand keep its libraries:{listed(['uv add ' + ' '.join(packages)])}"
    )


def new_questions(link: Mapping[str, Any], state: Mapping[str, Any]) -> list[str]:
    """What a release asks that this project was never asked, with the default that it now has."""
    asked, answers = (found["context"]["cookiecutter"] for found in (link, state))
    return [f"{name} = {answer}" for name, answer in answers.items() if name[0] != "_" and name not in asked]


def go(arguments: argparse.Namespace, project: Path, scratch: Path) -> int:
    """Do what was asked. Returns the exit code: 0, or 2 when a person has to decide something."""
    git = Git(project)
    link = read_link(project)
    wanted = {QUESTION: arguments.backend} if arguments.command == "switch" else {}
    template = fetch(git, link, scratch / "template.git")
    former = str(link["commit"])
    here = named(template, former)
    if wanted:
        target = Target(former, here, link.get("checkout"))
    else:
        target = find(template, arguments.version) if arguments.version else newest(template)
    check_answers(template, target, link, wanted)
    was = link["context"]["cookiecutter"].get(QUESTION)
    if wanted and arguments.backend == was:
        print(f"The backend is {was} already. Nothing to do.")
        return 0
    if not wanted and target.commit == former:
        print(f"This project is at {target.name} already. Nothing to do.")
        return 0
    if not (wanted or arguments.version) and template.holds(
        "merge-base", "--is-ancestor", target.commit, former
    ):
        print(f"This project ({here}) is newer than {target.name}, the newest release. Nothing to do.")
        return 0

    check_tree(git, dry_run=arguments.dry_run)
    reading = to_go_on_reading(git, str(was)) if wanted else ""
    before, after, state = render(git, template, link, target, wanted, scratch)
    check_untracked(git, before, after)
    with place(git, scratch, dry_run=arguments.dry_run) as merged:
        merge(merged, before, after)
        text = json.dumps(state, ensure_ascii=False, indent=2, separators=(",", ": ")) + "\n"  # as cruft does
        (merged.folder / LINK).write_text(text, encoding="utf-8")
        merged("add", "--force", "--", LINK)
        if arguments.dry_run:
            print(merged("diff", "--no-ext-diff", "--relative", "HEAD"))
        outcome = look(merged, before, after)
        tell(merged, outcome, dry_run=arguments.dry_run)
    if new := new_questions(link, state):
        print("\nNew questions of the template, answered by their defaults in .cruft.json:" + listed(new))
    if arguments.dry_run:
        print("\nThis was a dry run on what is committed: nothing was changed.")
        return 0
    if reading:
        print(reading)
    print(next_steps(outcome))
    return 2 if outcome.unresolved else 0


def main() -> int:
    """Read the command line and do it in the current folder, the project's."""
    parser = argparse.ArgumentParser(prog="update.py", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    update = commands.add_parser("update", help="take in a release of the template")
    update.add_argument("--version", default="", help="which release; without it, the newest")
    switch = commands.add_parser("switch", help="change the XCom backend, and stay at the same release")
    switch.add_argument("backend", help="db, s3 or redis")
    for command in (update, switch):
        command.add_argument(
            "--dry-run", action="store_true", help="show what would change, and change nothing"
        )
    arguments = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name or text may be in any encoding
    try:
        with tempfile.TemporaryDirectory(prefix="update-") as scratch:
            return go(arguments, Path.cwd(), Path(scratch).resolve())
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    except BrokenPipeError:  # who reads has seen enough, and all is done but the telling
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
