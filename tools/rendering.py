"""What the template makes of a project's answers, at two of its commits. Only here cruft is known."""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from project import LINK, answers_of, pyproject
from repository import HERE, Git, Refused, called, listed
from template import FORMERLY, Target, named

EXAMPLE = re.compile(r'tags=\[[^\]]*"(?:template-)?example"')
DATE = re.compile(r'^exclude-newer = "([^"\n]*)"', re.MULTILINE)


def cruft(*arguments: str | Path, cwd: Path) -> None:
    """Run cruft apart from the settings of whoever runs it. Raises Refused when it fails."""
    config = cwd / "cookiecutter.yaml"
    config.write_text("default_context: {}\n", encoding="utf-8")
    apart = {
        "COOKIECUTTER_CONFIG": str(config),  # a new question's answer is its default, not this person's
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": str(cwd),
        "TMPDIR": str(cwd),  # where it leaves files that nobody removes
    }
    command = (sys.executable, "-I", "-X", "utf8", "-m", "cruft", *arguments)
    done = called(*command, folder=cwd, environment=HERE | apart)
    if done.returncode:
        if "No module named cruft" in done.stdout:
            raise Refused("cruft is not installed for this Python. Run: uv run " + " ".join(sys.argv))
        lines = done.stdout.strip().splitlines() or ["it does not say why"]
        told = list(itertools.takewhile(lambda line: "Traceback (most recent" not in line, lines))
        raise Refused(
            f"The template cannot be rendered; `cruft {arguments[0]}` says:" + listed(told or lines[-1:])
        )


def rendered(
    template: Git, commit: str, answers: Mapping[str, Any], directory: str | None, folder: Path
) -> Path:
    """What `cruft create` makes of a commit of the template, in a folder below this one."""
    folder.mkdir()
    inside = ["--directory", directory] if directory else []
    options: list[str | Path] = [
        "--no-input",
        "--extra-context",
        json.dumps(answers),
        "--output-dir",
        folder,
        *inside,
    ]
    cruft("create", template.folder, "--checkout", commit, *options, cwd=folder.parent)
    (made,) = folder.iterdir()
    return made


def render(
    project: Path,
    template: Git,
    link: Mapping[str, Any],
    target: Target,
    wanted: Mapping[str, str],
    folder: Path,
) -> tuple[Path, Path, dict[str, Any]]:
    """Make what nobody edited: the project as it was made, and as the target makes it with these answers.

    Returns:
        Both, as folders without the paths that updates skip, and the new .cruft.json.
    """
    former = str(link["commit"])
    there = "".join(f" with {name} = {answer}" for name, answer in wanted.items())
    print(f"Rendering {named(template, former)}, and {target.name}{there}", flush=True)
    answers = answers_of(link)
    # Hooks know by these names that the project is there already (RENDERED_AGAIN).
    places = folder / "current_template", folder / "new_template"
    before = rendered(template, former, answers, link.get("directory"), places[0])
    after = rendered(template, target.commit, {**answers, **wanted}, link.get("directory"), places[1])
    state = json.loads((after / LINK).read_text(encoding="utf-8"))
    state |= {"template": link["template"], "commit": target.commit, "checkout": target.checkout}
    state["context"]["cookiecutter"] |= {"_template": link["template"], "_commit": target.commit}
    state |= {name: link[name] for name in ("skip", FORMERLY) if name in link}

    skipped = skip_patterns(link, before, project)
    for made, pattern in itertools.product((before, after), {LINK, *skipped}):
        leave_out(made, pattern)
    settle_date(*(place / "pyproject.toml" for place in (project, before, after)))
    if "examples" not in wanted:
        leave_out_examples(project, before, after)
    return before, after, state


def skip_patterns(link: Mapping[str, Any], before: Path, project: Path) -> list[str]:
    """What updates skip, of .cruft.json and of both pyproject.toml: a person may have added to their own.

    Raises Refused for a pattern that names no path below a project.
    """
    given = [(LINK, link.get("skip") or [])]
    for settings in (before, project):
        cruft_settings = pyproject(settings).get("tool", {}).get("cruft", {})
        given.append(("[tool.cruft] of pyproject.toml", cruft_settings.get("skip") or []))
    patterns = []
    for where, skipped in given:
        for pattern in skipped if isinstance(skipped, list) else [skipped]:
            if pattern == "":
                continue
            if not is_below(pattern):
                raise Refused(
                    f"skip in {where} has {pattern!r}: a pattern must name paths below the project."
                )
            patterns.append(pattern)
    return patterns


def is_below(pattern: object) -> bool:
    """True for a pattern that pathlib can glob, and that finds nothing but what is below a folder."""
    if not isinstance(pattern, str):
        return False
    path = PurePath(pattern)
    if not path.parts or path.is_absolute() or ".." in path.parts:
        return False
    # Some versions of Python take it for another pattern, the others raise ValueError.
    return not any("**" in part and part != "**" for part in path.parts)


def leave_out(made: Path, pattern: str) -> None:
    """Remove from a rendering what a pattern finds, but nothing that a link leads to outside of it."""
    try:
        found = list(made.glob(pattern.rstrip("/")))
    except (ValueError, NotImplementedError, IndexError) as error:
        raise Refused(f"skip has {pattern!r}, which is no pattern: {error}.") from error
    inside = made.resolve()
    for path in found:
        if path != made and path.parent.resolve().is_relative_to(inside):
            remove(path)


def leave_out_examples(project: Path, before: Path, after: Path) -> None:
    """Where a person removed all examples, those that the target has in addition are not wanted either."""
    known, offered = (
        {path.name for path in made.glob("dags/*.py") if EXAMPLE.search(path.read_text(encoding="utf-8"))}
        for made in (before, after)
    )
    mine = set(Git(project)("ls-files", "-z").split("\0"))  # one that lies elsewhere now was not removed
    if known and known.isdisjoint(PurePath(name).name for name in mine):
        for name in offered - known:
            remove(after / "dags" / name)
            remove(after / "tests" / f"test_{name}")


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        for inner in list(path.iterdir()):
            remove(inner)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


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
