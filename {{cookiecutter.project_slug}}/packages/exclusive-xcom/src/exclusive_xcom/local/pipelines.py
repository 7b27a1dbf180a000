"""The pipelines of a project, and which of them somebody means by a name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from textwrap import indent

from ..console import Failed, Refused

MOST = 30  # names that are listed in one sentence


@dataclass(frozen=True)
class Pipeline:
    """A DAG: its id, its file (a path in the project), its tags, and whether it is to be off until somebody
    switches it on (`is_paused_upon_creation`)."""

    dag_id: str
    file: str
    tags: list[str] = field(default_factory=list)
    off: bool = False


@dataclass(frozen=True)
class Found:
    """What is in the DAGs folder (a path in the project): pipelines, and the files that can't be imported,
    each with the reason for people."""

    folder: str
    pipelines: list[Pipeline]
    broken: dict[str, str]


@dataclass(frozen=True)
class Chosen:
    """The ids of the pipelines to run, those that were left out, and broken files: what was asked for can't
    be had because of `broken`; `beside` are others."""

    dag_ids: list[str]
    left_out: list[str]
    broken: dict[str, str]
    beside: dict[str, str]


def choose(found: Found, names: Sequence[str], tags: Sequence[str] = ()) -> Chosen:
    """The pipelines that are meant by these names. Without a name: of those that are not off those that have
    one of the tags; without a tag, all. Raises `Refused`, or `Failed` if what was named may be in a file that
    is broken."""
    if not names:
        known = [each for each in found.pipelines if not each.off]
        chosen = [each for each in known if not tags or set(tags) & set(each.tags)]
        left_out = [each.dag_id for each in known if each not in chosen]
        return Chosen([each.dag_id for each in chosen], left_out, found.broken, {})
    dag_ids: dict[str, None] = {}
    files: set[str] = set()
    for name in names:
        if any(name == each.dag_id for each in found.pipelines):
            dag_ids[name] = None
        else:
            file = _file(found, name)
            files.add(file)
            dag_ids |= {each.dag_id: None for each in found.pipelines if each.file == file}
    broken = {file: why for file, why in found.broken.items() if file in files}
    beside = {file: why for file, why in found.broken.items() if file not in files}
    return Chosen(list(dag_ids), [], broken, beside)


def _file(found: Found, name: str) -> str:
    """The file that somebody means: by its path, its path below the DAGs folder, or its name alone if no
    other has it; with or without .py."""
    files = dict.fromkeys([*(each.file for each in found.pipelines), *found.broken])
    wanted = os.path.normpath(name).removesuffix(".py")
    for spelled in range(len(_spellings("", ""))):
        matches = [file for file in files if _spellings(file, found.folder)[spelled] == wanted]
        if len(matches) > 1:
            raise Refused(f"{name!r} can be each of {', '.join(matches)}. Say which, by its path.")
        if matches:
            return matches[0]
    raise _unknown(found, name, wanted)


def _spellings(file: str, folder: str) -> tuple[str, ...]:
    """The ways to say which file is meant, the most exact one first."""
    path = file.removesuffix(".py")
    return path, os.path.abspath(path), path.removeprefix(f"{folder}/"), os.path.basename(path)


def _unknown(found: Found, name: str, wanted: str) -> Failed:
    """The error for a name that nothing has."""
    for path in (f"{wanted}.py", f"{found.folder}/{wanted}.py"):
        if os.path.isfile(path):
            advice = (
                "Is the function below `@dag` called at the end of the file? Does an .airflowignore name it?"
            )
            return Refused(f"{path} is there, but Airflow finds no DAG in it. {advice}")
    known = [each.dag_id for each in found.pipelines]
    text = f"There is no pipeline {name!r} in {found.folder}/."
    if close := get_close_matches(name, [*known, *(os.path.basename(file)[:-3] for file in found.broken)]):
        text += f" Did you mean {' or '.join(close)}?"
    text += f" There are: {listed(known)}." if known else ""
    if not found.broken:
        return Refused(text)
    broken = [f"\n{file} can't be imported:\n{indent(why, '  ')}" for file, why in found.broken.items()]
    return Failed(f"{text} It may be in a file that is broken:{''.join(broken)}")


def shown(path: str | os.PathLike[str]) -> str:
    """A path for people: from the current folder, which is the project's, where it is in there."""
    path = Path(path)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def listed(names: Sequence[str]) -> str:
    """The names with commas; of very many the first ones."""
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more
