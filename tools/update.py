"""Takes the release of the template that this file lies in, or other answers, into a project.

Run in the project's folder, by its `make update` and `make switch` or by hand. README.md beside this file
says what those may rely on.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["cruft==2.16.0", "cookiecutter==2.7.1"]
# ///

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent))  # it is not there with PYTHONSAFEPATH

import following
import locking
import managed
import merging
import telling
from moved import Line, old_lines
from project import LINK, answers_of, check_tree, pyproject, read_link
from rendering import render
from repository import Git, Refused
from template import SHORT, Target, check_answers, gather, here, named, short
from unfinished import check_committed, check_nothing_open, noted, recover

QUESTION = "xcom_backend"
ENGINE = "engine"  # its answer decides what is in packages/


@dataclass
class Work:
    """One update or switch, once it is clear that there is something to do."""

    git: Git
    template: Git
    link: Mapping[str, Any]
    target: Target
    wanted: Mapping[str, str]  # answers to change
    dry_run: bool
    scratch: Path

    def do(self) -> int:
        """Render, merge and tell. Returns the exit code: 0, or 2 when a person has to decide something."""
        former = str(self.link["commit"])
        was = self.link["context"]["cookiecutter"].get(QUESTION)
        reading = telling.to_go_on_reading(self.git, str(was)) if QUESTION in self.wanted else ""
        before, after, state = render(
            self.git.folder, self.template, self.link, self.target, self.wanted, self.scratch
        )
        followed, elsewhere = following.follow(self.git, before, after)
        merging.leave_out_what_was_removed(self.git, before, after)
        release = named(self.template, former)
        old = merging.keep(self.git, before, f"The template as of {release}")
        new = merging.keep(self.git, after, f"Take in {self.target.name} of the template", "-p", old.commit)
        whole = not self.wanted or ENGINE in self.wanted
        merging.check_untracked(self.git, old.tree, new.tree, whole=whole)
        edits = managed.edits(self.git, old.tree)
        with noted(self.git, dry_run=self.dry_run):
            with merging.place(self.git, self.scratch, dry_run=self.dry_run) as merged:
                merging.merge(merged, old.commit, new.commit)
                patch = self.take_packages(merged, old, new, release if edits else "") if whole else None
                write_link(merged, state)
                outcome = merging.look(merged, old.commit, new.commit, followed, elsewhere)
                stale = locking.is_stale(merged)
                moved = self.old_lines(merged, before, after, outcome)
                if self.dry_run:
                    show_difference(merged)
                telling.tell_outcome(merged, outcome, managed.summary(merged, new.tree), dry_run=self.dry_run)
            telling.tell_edits(edits, whole, patch)
            telling.tell_old_lines(moved, dry_run=self.dry_run)
            telling.tell_new_questions(self.link, state)
            unlocked = relock(self.git) if stale and not self.dry_run else None
        if self.dry_run:
            print("\nuv.lock would be made anew: the requirements are others." * stale)
            print("This was a dry run on what is committed: nothing was changed.")
            return 0
        if reading:
            print(reading)
        print(telling.next_steps(outcome, unlocked))
        return 2 if outcome.unresolved or moved else 0

    def take_packages(self, merged: Git, old: merging.Kept, new: merging.Kept, edited: str) -> Path | None:
        """Take packages/ whole; before, but not dry, keep what was `edited` of a release as a patch."""
        patch = managed.keep_as_patch(self.git, old.tree, edited) if edited and not self.dry_run else None
        managed.take_whole(merged, new.tree)
        return patch

    def old_lines(self, merged: Git, before: Path, after: Path, outcome: merging.Outcome) -> list[Line]:
        """Lines of the person's own files that name what the template moved."""
        package = str(self.link["context"]["cookiecutter"].get("project_slug", "")).replace("-", "_")
        return old_lines(merged, package, before, after, outcome.left_behind) if package else []


def show_difference(git: Git) -> None:
    """Print what a merge changed, without what was in removed files, and without packages/, taken whole."""
    short = ("--no-ext-diff", "--irreversible-delete", "--relative")
    print(git("diff", *short, "HEAD", "--", ".", f":(exclude){managed.MANAGED}"))


def write_link(git: Git, state: Mapping[str, Any]) -> None:
    """Note in .cruft.json, for the next commit, what the project is made from now."""
    text = json.dumps(state, ensure_ascii=False, indent=2, separators=(",", ": ")) + "\n"  # as cruft does
    new = git.folder / f"{LINK}.new"  # so that .cruft.json is whole at any time
    new.write_text(text, encoding="utf-8")
    new.replace(git.folder / LINK)
    git("add", "--force", "--", LINK)


def relock(git: Git) -> str | None:
    """Make uv.lock anew and say so. Returns None, or why it is stale."""
    print("\nThe requirements are others: making uv.lock anew", flush=True)
    why = locking.lock(git)
    if not why:
        return None
    print(f"uv.lock could not be made anew: {why}.\nUntil `uv lock` succeeds, `uv sync --locked` fails.")
    return why


def asked_for(words: Sequence[str]) -> dict[str, str]:
    """The answers that a person wants: `CI=gitlab`, or a question's whole name; a word alone is a backend."""
    pairs = (("BACKEND", word) if "=" not in word else word.split("=", 1) for word in words)
    return {SHORT.get(name, name.lower()): answer for name, answer in pairs}


def go(arguments: argparse.Namespace, project: Path, scratch: Path) -> int:
    """Do what was asked. Returns the exit code."""
    git = Git(project)
    recover(git)
    check_nothing_open(git)
    link = read_link(project)
    pyproject(project)
    wanted = asked_for(arguments.answers) if arguments.command == "switch" else {}
    template = gather(link, scratch / "template.git")
    former = str(link["commit"])
    now = named(template, former)
    target = Target(former, now, link.get("checkout")) if wanted else here(template, arguments.version)
    check_answers(template, target, link, wanted)
    given, wanted = wanted, {name: now for name, now in wanted.items() if answers_of(link).get(name) != now}
    if given and not wanted:
        there = " and ".join(f"{short(name)} is {answer}" for name, answer in given.items())
        print(f"{there} already. Nothing to do.")
        return 0
    if not wanted and target.commit == former:
        check_committed(git, (project / LINK).read_text(encoding="utf-8"))
        print(f"This project is at {target.name} already. Nothing to do.")
        return 0
    if not (wanted or arguments.version) and template.holds(
        "merge-base", "--is-ancestor", target.commit, former
    ):
        print(f"This project ({now}) is newer than {target.name}, the newest release. Nothing to do.")
        return 0
    if not (wanted or template.holds("merge-base", "--is-ancestor", former, target.commit)):
        print(f"{target.name} does not come after {now}, and takes out again what only that has.")
    check_tree(git, dry_run=arguments.dry_run)
    following.check_packages(git)
    return Work(git, template, link, target, wanted, arguments.dry_run, scratch).do()


class Parser(argparse.ArgumentParser):
    """A command line whose mistakes end with 1: 2 has another meaning here."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line."""
        self.print_usage(sys.stderr)
        self.exit(1, f"{self.prog}: {message}\n")


def command_line() -> argparse.Namespace:
    """What was asked."""
    parser = Parser(prog="update.py", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    update = commands.add_parser("update", help="take in the release that this file lies in")
    update.add_argument("--version", default="", help="which release that must be")
    switch = commands.add_parser("switch", help="change answers, and stay at the same release")
    switch.add_argument("answers", nargs="+", metavar="NAME=ANSWER", help="such as BACKEND=s3 or CI=gitlab")
    for command in (update, switch):
        command.add_argument(
            "--dry-run", action="store_true", help="show what would change, and change nothing"
        )
    return parser.parse_args()


def main() -> int:
    """Read the command line and do it in the current folder, the project's."""
    arguments = command_line()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name or text may be in any encoding
    try:
        with tempfile.TemporaryDirectory(prefix="update-") as scratch:
            code = go(arguments, Path.cwd(), Path(scratch).resolve())
            sys.stdout.flush()  # here, where a reader that has left is no error
            return code
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    except BrokenPipeError:  # who reads has seen enough, and all is done but the telling
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a full disk, say; what was done till then is taken back by the next run
        print(
            f"{error.filename or 'Updating'}: {error.strerror or error}. Run this again then.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
