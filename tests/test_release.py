"""`make release-check` says what is missing for a release: with tags, and before there is any."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from projects import TEMPLATE, Machine

GOLDEN = "tests/engine/formats/golden"


@pytest.fixture
def template(template_repository: Path, machine: Machine, tmp_path: Path) -> Path:
    """A clone of this template without tags, whose list of managed files is right, committed."""
    clone = tmp_path / "template"
    machine.git(tmp_path, "clone", "--quiet", "--no-tags", str(template_repository), str(clone))
    machine.run(sys.executable, clone / "tools/digests.py", cwd=clone, PYTHONDONTWRITEBYTECODE="1")
    commit(machine, clone)
    return clone


def commit(machine: Machine, template: Path) -> None:
    """Commit all there is."""
    machine.git(template, "add", "--all")
    machine.git(template, "commit", "--quiet", "--allow-empty", "--message", "A change")


def missing(machine: Machine, template: Path) -> list[str]:
    """What is said to be missing."""
    command = [sys.executable, str(template / "tools/release.py")]
    done = machine.run(*command, cwd=template, check=False, PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode == (1 if done.stderr else 0)
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()


def replace(template: Path, name: str, old: str, new: str) -> None:
    """Replace all of a text in a file, which must be there."""
    path = template / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def number(template: Path, version: str) -> None:
    """Give everything a new version: what the first steps of a release do."""
    was = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))["__template_version"]
    replace(
        template, "cookiecutter.json", f'"__template_version": "{was}"', f'"__template_version": "{version}"'
    )
    for name in ("pyproject.toml", "engine/pyproject.toml"):
        replace(template, name, f'version = "{was}"', f'version = "{version}"')
    entry = "It brings many things that projects gain by updating, and names what is to be done by hand."
    replace(template, "CHANGELOG.md", f"## {was}\n", f"## {version}\n\n{entry}\n\n## {was}\n")
    shutil.copytree(template / GOLDEN / was, template / GOLDEN / version)


def test_nothing_is_missing_in_this_state(template: Path, machine: Machine) -> None:
    """It can be released at any time: but for what only a release itself does."""
    assert missing(machine, template) == []


def test_each_thing_that_is_missing_is_named(template: Path, machine: Machine) -> None:
    version = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))["__template_version"]
    replace(template, "pyproject.toml", f'version = "{version}"', 'version = "9.9.9"')
    shutil.rmtree(template / GOLDEN / version)
    (template / "engine/README.md").write_text("Other\n", encoding="utf-8")
    text = (template / "CHANGELOG.md").read_text(encoding="utf-8")
    (template / "CHANGELOG.md").write_text(re.sub(r"(?s)(## \S+\n).*", r"\1", text), encoding="utf-8")
    found = "\n".join(missing(machine, template))
    for told in (
        "The files name several versions: pyproject.toml 9.9.9",
        "changes that are not committed",
        f"CHANGELOG.md does not say what {version} brings",
        f"{GOLDEN}/{version} has no golden payloads",
        "packages/DIGESTS does not list",
    ):
        assert told in found
    assert len(found.splitlines()) == 5


def test_after_a_release_its_promises_are_checked(template: Path, machine: Machine) -> None:
    version = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))["__template_version"]
    tag = f"v{version}"
    machine.git(template, "tag", tag)
    assert [line.partition(":")[0] for line in missing(machine, template)] == [
        f"{tag} is a release already",
        f"__exclude_newer in cookiecutter.json is that of {tag}",
    ]
    number(template, "9.0.0")
    date = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))["__exclude_newer"]
    replace(template, "cookiecutter.json", date, "2031-01-01T00:00:00Z")
    machine.run(sys.executable, template / "tools/digests.py", cwd=template, PYTHONDONTWRITEBYTECODE="1")
    commit(machine, template)
    assert missing(machine, template) == []

    replace(template, "cookiecutter.json", '"gitlab", ', "")
    first = min((template / GOLDEN / version).glob("*.row.json"))
    first.write_text("{}", encoding="utf-8")
    commit(machine, template)
    assert missing(machine, template) == [
        f"Golden payloads are others than in {tag}: what a release stored never changes.",
        "ci offers gitlab no more: who chose it cannot update.",
    ]


def test_maintaining_fits_on_a_page_and_names_the_check() -> None:
    text = (TEMPLATE / "MAINTAINING.md").read_text(encoding="utf-8")
    assert "make release-check" in text
    assert len(text.split()) < 900
