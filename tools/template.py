"""The template as this tool lies in it: the commit that is to be taken in, and what people call it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repository import Git, Refused

# What people write for `cookiecutter`, and git does not know.
ABBREVIATIONS = {
    "gh": "https://github.com/{}.git",
    "gl": "https://gitlab.com/{}.git",
    "bb": "https://bitbucket.org/{}",
}
# Questions that people know by a shorter name; the others by their own, in capitals.
SHORT = {"BACKEND": "xcom_backend", "PYTHON": "python_version"}
RELEASE = re.compile(r"v?\d+\.\d+\.\d+(\.\d+)?")  # with a fourth number those of a company's fork
FORMERLY = "formerly"  # in .cruft.json: addresses that the template had before


@dataclass(frozen=True)
class Target:
    """A commit of the template, its name for people, and what .cruft.json is to call it (or None)."""

    commit: str
    name: str
    checkout: str | None


def gather(link: Mapping[str, Any], folder: Path) -> Git:
    """The template's commits in a repository of our own: those of the clone around this file, whose HEAD is
    to be taken in, and the commit that the project came from.

    Raises Refused when this file lies in no clone, or that commit is nowhere.
    """
    clone = Git(Path(__file__).resolve().parent)
    if not clone.holds("cat-file", "-e", "HEAD:./update.py"):
        raise Refused(
            f"{clone.folder.parent} is no clone of the template, and only a clone knows the commit that this "
            "project came from: `git clone` the template, and run the tools/update.py there."
        )
    if clone("status", "--porcelain", "--", "..", ":(exclude)**/__pycache__"):
        print("The template's clone has changes that are not committed: its last commit is taken in.")
    template = Git(folder, {"GIT_DIR": str(folder)})
    clone("init", "--quiet", "--bare", str(folder))
    whole = clone("rev-parse", "--show-toplevel")
    template("fetch", "--quiet", "--update-shallow", whole, "+refs/*:refs/*", "+HEAD:refs/heads/to-take-in")
    template("symbolic-ref", "HEAD", "refs/heads/to-take-in")
    former = str(link["commit"])
    if not template.holds("cat-file", "-e", former + "^{commit}"):
        # Not on a branch any more, or this clone is a shallow one; a server may have it, or a former place.
        places = link.get(FORMERLY) or []
        for place in (link["template"], *([places] if isinstance(places, str) else places)):
            kind, _, rest = str(place).partition(":")
            address = ABBREVIATIONS[kind].format(rest) if kind in ABBREVIATIONS else str(place)
            if template.holds("fetch", "--quiet", "--depth=1", "--", address, former):
                break
    if not template.holds("update-ref", "refs/heads/former-of-this-project", former):
        raise Refused(
            f"The template no longer has the commit that this project was made from ({former}). If it was "
            f'elsewhere before, name these addresses in .cruft.json: "{FORMERLY}": ["ADDRESS"]. Else put '
            "the commit of the nearest release there. Then commit that."
        )
    return template


def named(template: Git, commit: str) -> str:
    """How people call a commit of the template: its release, or the first letters of its name."""
    tags = template("tag", "--points-at", commit, "--sort=-version:refname").split()
    return [*filter(RELEASE.fullmatch, tags), *tags, commit[:10]][0]


def here(template: Git, version: str) -> Target:
    """The commit that this file lies in. Raises Refused when `version` is given and names another."""
    commit = template("rev-parse", "HEAD")
    if not version:
        name = named(template, commit)
        return Target(commit, name, name if RELEASE.fullmatch(name) else None)
    kinds = ("refs/tags/", "refs/tags/v", "refs/heads/", "refs/remotes/origin/", "")
    # What counts from HEAD meant the default branch's, where the name was given. This clone has another HEAD.
    from_head = re.sub("^(HEAD|@)(?![^~^@])", "refs/remotes/origin/HEAD", version)
    for ref in (*(kind + version for kind in kinds), from_head):
        found = template.run("rev-parse", "--verify", "--quiet", "--end-of-options", ref + "^{commit}")
        if found.stdout.strip() == commit:
            if re.search(r"[~^:@]|^HEAD$", version):  # it will mean another commit tomorrow
                name = named(template, commit)
                return Target(commit, name, name if RELEASE.fullmatch(name) else None)
            name = ref.rpartition("/")[2] if ref.startswith("refs/tags/") else version
            return Target(commit, name, name)
    raise Refused(
        f"VERSION={version} is not what this clone of the template is at ({named(template, commit)}). "
        f"In the clone: git checkout {version}"
    )


def check_answers(template: Git, target: Target, link: Mapping[str, Any], wanted: Mapping[str, str]) -> None:
    """Raises Refused when a release does not offer an answer: cruft would end in a traceback."""
    folder = "/".join(filter(None, [link.get("directory"), "cookiecutter.json"]))
    questions = json.loads(template("show", f"{target.commit}:{folder}"))
    for name, answer in {**link["context"]["cookiecutter"], **wanted}.items():
        offered = questions.get(name, [] if name in wanted else None)
        if name in wanted and not isinstance(offered, list):
            offered = []  # words, not choices: they are edited where they stand
        if name.startswith("_") or not isinstance(offered, list) or answer in offered:
            continue
        given = f"{short(name)}={answer}" if name in wanted else f"{name} = {answer}"
        raise Refused(
            f"{given}: {target.name} of the template offers {' and '.join(offered) or 'no choice'}."
        )


def short(question: str) -> str:
    """A question as people name it for `make switch`."""
    return next((name for name, whole in SHORT.items() if whole == question), question.upper())
