"""Says what is missing for a release: `make release-check`, which also updates projects of the past."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from digests import listing
from repository import Git

GOLDEN = "tests/engine/formats/golden"
SOURCE = "{{cookiecutter.project_slug}}"


def versions(root: Path) -> dict[str, str]:
    """The version, by the file that names it."""
    pyprojects = ("pyproject.toml", f"{SOURCE}/packages/exclusive-xcom/pyproject.toml")
    found = {
        name: str(tomllib.loads((root / name).read_text(encoding="utf-8"))["project"]["version"])
        for name in pyprojects
    }
    found["cookiecutter.json"] = str(
        questions((root / "cookiecutter.json").read_text())["__template_version"]
    )
    heading = re.search(r"^## (\S+)$", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    return found | {"CHANGELOG.md": heading[1] if heading else "none"}


def questions(text: str) -> dict[str, object]:
    """What a cookiecutter.json asks."""
    found: dict[str, object] = json.loads(text)
    return found


def missing(root: Path) -> Iterator[str]:
    """What is missing for a release of what lies in this clone of the template, in words."""
    git = Git(root)
    named = versions(root)
    version = named["cookiecutter.json"]
    if len(set(named.values())) > 1:
        yield "The files name several versions: " + ", ".join(
            f"{name} {told}" for name, told in named.items()
        )
    if git("status", "--porcelain"):
        yield "There are changes that are not committed: a release is a commit."
    tags = re.findall(r"^v\d+\.\d+\.\d+$", git("tag", "--sort=version:refname"), re.MULTILINE)
    if f"v{version}" in tags:
        yield f"v{version} is a release already: give this one a new number."
    told = re.search(rf"^## {re.escape(version)}$(.*?)(?=^## |\Z)", changelog(root), re.MULTILINE | re.DOTALL)
    if not told or len(told[1].split()) < 10:
        yield f"CHANGELOG.md does not say what {version} brings."
    if not list((root / GOLDEN / version).glob("*.row.json")):
        yield f"{GOLDEN}/{version} has no golden payloads: make golden"
    if (root / SOURCE / "packages/DIGESTS").read_text(encoding="utf-8") != listing(
        root / SOURCE / "packages"
    ):
        yield "packages/DIGESTS does not list what is there: make digests"
    for tag in tags:
        if not git.holds("diff", "--quiet", "--diff-filter=DMT", tag, "--", GOLDEN):
            yield f"Golden payloads are others than in {tag}: what a release stored never changes."
    if tags:
        yield from changed_questions(git, tags[-1], root)


def changelog(root: Path) -> str:
    """CHANGELOG.md."""
    return (root / "CHANGELOG.md").read_text(encoding="utf-8")


def changed_questions(git: Git, tag: str, root: Path) -> Iterator[str]:
    """What cookiecutter.json may not do after a release: MAINTAINING.md says why."""
    was = questions(git("show", f"{tag}:cookiecutter.json"))
    now = questions((root / "cookiecutter.json").read_text(encoding="utf-8"))
    if not str(now["__exclude_newer"]) > str(was["__exclude_newer"]):
        yield f"__exclude_newer in cookiecutter.json is that of {tag}: new projects would get old packages."
    if now["__bucket"] != was["__bucket"]:
        yield f"__bucket is made otherwise than in {tag}: projects would look for their XComs elsewhere."
    for name, offered in was.items():
        kept = now.get(name)
        if name.startswith("_") or not isinstance(offered, list):
            continue
        gone = [choice for choice in offered if not isinstance(kept, list) or choice not in kept]
        if gone:
            yield f"{name} offers {', '.join(map(str, gone))} no more: who chose it cannot update."


def main() -> int:
    """Say it. Returns 1 if anything is missing."""
    found = list(missing(Path(__file__).resolve().parents[1]))
    print(*found, sep="\n", file=sys.stderr) if found else print("Nothing is missing in the files.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
