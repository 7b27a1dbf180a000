"""What the tool says when it has merged: what happened, what is left to decide, what to do next."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from managed import MANAGED
from merging import Outcome
from moved import Line
from project import LINK, answers_of
from repository import Git, listed

SETTINGS = "config/airflow.env"
# Settings of a backend that reading needs after a switch, and what they are called then.
KEPT_SETTINGS = {"URL": "FORMER_URL", "CONN_ID": "FORMER_CONN_ID", "PREFIX": "PREFIX"}


def tell_outcome(git: Git, outcome: Outcome, managed: str, *, dry_run: bool) -> None:
    """Say in plain words what the merge did. `managed` says what became of packages/, or nothing."""
    lines = [f"{MANAGED}/  ({managed})"] if managed else []
    lines += [f"{name}  ({how})" for name, how in gathered(outcome.changed).items()]
    if lines:
        print(f"\nWhat {'would change' if dry_run else 'changed'}:{listed(lines, 60)}")
    would_be = " (there would be)" if dry_run else ""
    if outcome.conflicts:
        unmarked = [name for name in outcome.conflicts if b"<<<<<<<" not in content(git.folder / name)]
        told = [name + "  (yours, without marks)" * (name in unmarked) for name in outcome.conflicts]
        print(f"\nConflicts{would_be}: you and the template changed the same lines. Both are there, between")
        print("<<<<<<< and >>>>>>>. Put each file right, then `git add` it:" + listed(told))
    if outcome.left_behind:
        print(f"\nLeft behind{would_be}: you edited these, and the template dropped them.")
        print("Drop a file with `git rm`, or keep it with `git add`:" + listed(outcome.left_behind))
    if outcome.elsewhere:
        print(f"\nChanged by the template, not here any more{would_be}: you moved or replaced these. Bring")
        print("in by hand what you want of it; the commands show the change:" + listed(outcome.elsewhere))
    if not (lines or outcome.unresolved):
        print("\nNothing in the project changes but .cruft.json, which notes what it was made from.")


def gathered(changed: Mapping[str, str], most: int = 5) -> dict[str, str]:
    """The same with one line for a folder from which more than `most` files were removed."""
    folders = Counter(name.rpartition("/")[0] for name, how in changed.items() if how == "removed")
    told = {}
    for name, how in changed.items():
        folder = name.rpartition("/")[0]
        if how == "removed" and folder and folders[folder] > most:
            told[f"{folder}/"] = f"{folders[folder]} files removed"
        else:
            told[name] = how
    return told


def content(path: Path) -> bytes:
    """A file's bytes; none where it is no file any more."""
    return path.read_bytes() if path.is_file() else b""


def tell_edits(edits: Mapping[str, str], replaced: bool, patch: Path | None) -> None:
    """Say which managed files a person edited, and where these edits are now.

    Args:
        edits: paths, and what happened to each.
        replaced: whether packages/ is taken whole; otherwise the edits stay.
        patch: the file that keeps them; None where none was written, as in a dry run.
    """
    if not edits:
        return
    print(f"\nYou edited managed files; what is in {MANAGED}/ belongs to the template:", end="")
    print(listed([f"{name}  ({how})" for name, how in edits.items()]))
    if not replaced:
        print("They stay as they are now. The next update will replace them.")
    elif patch is None:
        print("They would be replaced, and your edits be kept as a patch beside the project.")
    else:
        print(f"They were replaced. Your edits are kept in\n    {patch}")
        print("`git apply --3way` with that file puts them back until the next update, and marks conflicts.")
        print("It wants --exclude=FILE for each file of yours in it that the release no longer has.")
    print("What shall last: a codec of your own belongs into src/, and its name into AIRFLOW__XCOM__CODECS.")


def tell_old_lines(lines: Sequence[Line], *, dry_run: bool) -> None:
    """Say which lines of a person's own files name modules that are gone."""
    if lines:
        print(f"\nModules that {'would move' if dry_run else 'moved'}. Change these lines of yours:", end="")
        print(listed([str(line) for line in lines], 60))


def next_steps(outcome: Outcome, lock: str | None) -> str:
    """The commands that a person runs after a merge. `lock`: why uv.lock is stale, or None if it is not."""
    steps = ["git diff HEAD    what changed, in full"]
    if outcome.unresolved:
        steps.append("git status       what is left to decide")
    if lock is not None:
        steps.append("uv lock          until then, `uv sync --locked` fails")
    steps += ["make test", "git commit"]
    return "\nNext:" + listed(steps) + "\nOr take it all back: git reset --hard"


def to_go_on_reading(git: Git, former: str) -> str:
    """What a person does so that values which the former backend stored can still be read after a switch."""
    told = "\nValues that are kept in rows of Airflow's database stay readable as they are."
    found = dict(re.findall(r"^AIRFLOW__XCOM__(\w+)=(.+)$", git("show", f"HEAD:./{SETTINGS}"), re.MULTILINE))
    lines = [f"AIRFLOW__XCOM__{new}={found[old]}" for old, new in KEPT_SETTINGS.items() if old in found]
    if former == "db" or not lines:
        return told
    add = f'make add PACKAGES="exclusive-xcom[{former}]"'
    return (
        f"{told}\nTo go on reading what {former} stored, keep its connection, set this in {SETTINGS}:"
        f"{listed(lines)}\nand keep its libraries:{listed([add])}"
    )


def tell_new_questions(link: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Say what a release asks that this project was never asked, with the default that it now has."""
    asked = answers_of(link)
    new = [f"{name} = {answer}" for name, answer in answers_of(state).items() if name not in asked]
    if new:
        print(f"\nNew questions of the template, answered by their defaults in {LINK}:" + listed(new))
