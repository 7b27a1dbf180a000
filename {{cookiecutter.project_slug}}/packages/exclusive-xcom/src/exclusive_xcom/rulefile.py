"""A file of rules in the project's config/, to which an option leads: read anew when it was changed."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

from .config import Option
from .errors import BadOption

T = TypeVar("T")


def read(option: Option[str], path: Path, subject: str, parse: Callable[[Mapping[str, Any], str], T]) -> T:
    """The rules of a file.

    Args:
        subject: what the rules are about, for the error's text.
        parse: makes rules of the file's content and name. Raises `ValueError`, which says where it is wrong.

    Raises `BadOption`.
    """
    try:
        seen = path.stat()
        found: T = _read(path, parse, seen.st_mtime_ns, seen.st_size)
        return found
    except OSError as error:
        raise BadOption(
            f"The rules for {subject} can't be read: {path}: {error.strerror}",
            f"{option.variable} names that file. In a project of the template it is config/{path.name}, "
            "which the image has, too.",
        ) from None
    except (ValueError, RecursionError) as error:
        what = f"The rules for {subject} in {path} are wrong: {error}"
        raise BadOption(what, "Correct the file.") from None


@functools.lru_cache(8)
def _read(path: Path, parse: Callable[[Mapping[str, Any], str], Any], changed: int, size: int) -> Any:
    import tomllib  # a push without a file does not need it

    return parse(tomllib.loads(path.read_text(encoding="utf-8")), path.name)


def check_names(found: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    """Raises `ValueError` for a name that is not known, which may be a slip of the pen."""
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ValueError(f"{where} has {name!r}: {meant}")


def matches(pattern: str, ids: Sequence[str]) -> bool:
    """Whether patterns with dots between them match names. Names have dots, too: any division counts."""
    return any(all(map(fnmatchcase, ids, parts)) for parts in _divided(pattern, len(ids)))


def literal(name: str) -> str:
    """The pattern that matches this name alone, also within a rule whose end is not looked at."""
    return re.sub(r"[*?\[]|\s\Z", r"[\g<0>]", name)


def quoted(rule: str) -> str:
    """A rule as it stands in the file: a text of TOML, in one line, with nothing that can't be seen."""
    text = rule.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text) + '"'


@functools.lru_cache(1024)
def _divided(pattern: str, number: int) -> list[list[str]]:
    words = pattern.split(".")
    return [
        [".".join(words[begin:end]) for begin, end in zip((0, *cuts), (*cuts, len(words)), strict=True)]
        for cuts in combinations(range(1, len(words)), number - 1)
    ]
