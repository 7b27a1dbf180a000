"""How long an XCom is kept: by a rule of the project's file, or as its producer says with `keep`.

    default = "90d"

    [[rule]]
    dag = "orders*"
    key = "return_value"
    keep = "12h"

The first rule whose patterns all match counts, otherwise the default. What `keep` says counts before both.
"""

from __future__ import annotations

import difflib
import functools
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from . import config
from .address import Address
from .errors import BadOption, PayloadExpired
from .reference import Expiry, Reference

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 36525 * 86400  # seconds
_PATTERNS = ("dag", "task", "key")
_FORM = 'a whole number with s, m, h or d behind it, as in "12h" and "30d", or "run", or "never"'


@dataclass(frozen=True)
class Time:
    """How long: so many seconds (None: without an end), and whether it may end with its run before that."""

    text: str
    seconds: int | None = None
    run: bool = False

    @classmethod
    def of(cls, text: object) -> Time:
        """The time that a text says: "12h", "30d", "run" or "never". Raises `ValueError` for any other."""
        found = config.KEPT.fullmatch(text) if isinstance(text, str) else None
        if not found:
            raise ValueError(f"{text!r} is no time. It must be {_FORM}")
        number, unit = found.groups()
        seconds = int(number) * _SECONDS[unit] if unit else None
        if seconds and seconds > _LONGEST:
            raise ValueError(f"{text!r} is too long: 36525d, a hundred years, are the longest")
        return cls(found[0], seconds, run=found[0] == "run")

    @classmethod
    def shortest(cls, times: Iterable[Time]) -> Time | None:
        """What is over as soon as one of several is; None without any."""
        several = list(times)
        limits = [one.seconds for one in several if one.seconds is not None]
        texts = dict.fromkeys(one.text for one in several)
        run = any(one.run for one in several)
        return cls(" or ".join(texts), min(limits, default=None), run) if several else None


@dataclass(frozen=True, slots=True)
class Kept:
    """A value that is to be kept for a time of its own. Made by `keep`."""

    value: Any
    time: Time

    def __repr__(self) -> str:
        # Airflow writes what a task returned into its log.
        return f"<kept {self.time.text}: {type(self.value).__qualname__}>"


def keep(value: Any, time: str) -> Any:
    """Return or push `keep(value, "2h")`, and that value is kept for that long, whatever the rules say.

    Args:
        time: "90s", "30m", "12h" or "7d"; "run": until its run has ended well; "never": it does not expire.

    Works with `lazy`, in either order. Typed as Any, as `lazy` is. Raises `BadOption` for another time.
    """
    try:
        return Kept(value, Time.of(time))
    except ValueError as error:
        raise BadOption(f"keep(): {error}", "Correct it in the task.") from None


# -- rules ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """How long the XComs are kept whose dag, task and key match its patterns, as of file names."""

    keep: Time
    name: str  # for people
    dag: str = "*"
    task: str = "*"
    key: str = "*"

    def matches(self, address: Address) -> bool:
        """Whether it is about this XCom. Capitals count."""
        ids = (address.dag_id, address.task_id, address.key)
        return all(map(fnmatchcase, ids, (self.dag, self.task, self.key)))

    def covers(self, other: Rule) -> bool:
        """Whether nothing is left for another rule behind it. In doubt, something is."""
        return all(_covers(getattr(self, part), getattr(other, part)) for part in _PATTERNS)


@dataclass(frozen=True)
class Rules:
    """What counts for which XComs. The first rule that matches does, otherwise the default."""

    default: Rule
    rules: tuple[Rule, ...] = ()

    def rule_of(self, address: Address) -> Rule:
        """The rule for an XCom."""
        return next((rule for rule in self.rules if rule.matches(address)), self.default)

    def expiry(self, address: Address, asked: Time | None = None) -> Expiry | None:
        """When what is pushed now goes; None if never. `asked` is what its producer said with `keep`.

        What goes with its run does so after the default's time at the latest: a run may never end well.
        """
        rule = self.rule_of(address)
        kept, name = (asked, f"keep(value, {json.dumps(asked.text)})") if asked else (rule.keep, rule.name)
        seconds = kept.seconds
        if seconds is None and kept.run:
            seconds = self.default.keep.seconds
        if seconds is None:
            return Expiry(name, run=True) if kept.run else None
        # Of the second that has begun, so that nothing goes before its time.
        return Expiry(name, datetime.fromtimestamp(-(-time.time() // 1) + seconds, UTC), kept.run)


def rules(default: str = "never") -> Rules:
    """The rules that are set now; `default` is the time of the backend where none are. Raises `BadOption`."""
    text = config.RETENTION.read(default)
    if config.KEPT.fullmatch(text):
        return Rules(Rule(Time.of(text), f"{config.RETENTION.variable} {json.dumps(text)}"))
    path = Path(text)
    try:
        seen = path.stat()
        return _read(path, seen.st_mtime_ns, seen.st_size)
    except OSError as error:
        raise BadOption(
            f"The rules for retention can't be read: {path}: {error.strerror}",
            f"{config.RETENTION.variable} names that file. In a project of the template it is "
            "config/retention.toml, which the image has, too.",
        ) from None
    except ValueError as error:
        raise BadOption(
            f"The rules for retention in {path} are wrong: {error}", "Correct the file."
        ) from None


@functools.lru_cache(8)
def _read(path: Path, changed: int, size: int) -> Rules:
    """The rules of a file that was changed then. Raises `ValueError`, which says where, and `OSError`."""
    import tomllib  # a push without a file does not need it

    return parsed(tomllib.loads(path.read_text(encoding="utf-8")), path.name)


def parsed(found: Mapping[str, Any], file: str) -> Rules:
    """The rules of a file's content. Raises `ValueError`, which names the rule by number and text."""
    _known(found, ("default", "rule"), "The file")
    if "default" not in found:
        raise ValueError('There is no default, as in default = "90d"')
    if not isinstance(listed := found.get("rule", []), list):
        raise ValueError("Rules begin with [[rule]], in two pairs of brackets")
    default = Rule(_time(found["default"], "The default"), f"{file}: default = {_text(found['default'])}")
    rules: list[Rule] = []
    for number, each in enumerate(listed, 1):
        rule = _rule(each, number, file)
        if first := next((known for known in rules if known.covers(rule)), None):
            raise ValueError(f"{_plain(rule)} is never reached: {_plain(first)} has matched before it")
        rules.append(rule)
    return Rules(default, tuple(rules))


def _rule(found: Any, number: int, file: str) -> Rule:
    if not isinstance(found, dict):
        raise ValueError(f"Rule {number} must be a table, with keep and with dag, task or key")
    text = ", ".join(f"{name} = {_text(value)}" for name, value in found.items())
    name = f"Rule {number} ({text})"
    _known(found, (*_PATTERNS, "keep"), name)
    patterns = {part: found[part] for part in _PATTERNS if part in found}
    if not patterns:
        raise ValueError(f"{name} has neither dag nor task nor key: what is for all XComs is the default")
    for part, pattern in patterns.items():
        if not isinstance(pattern, str) or not pattern:
            raise ValueError(f"{name}: {part} must be a text that is not empty")
    if "keep" not in found:
        raise ValueError(f'{name} has no keep, as in keep = "12h"')
    return Rule(_time(found["keep"], name), f"{file}: rule {number} ({text})", **patterns)


def _known(found: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ValueError(f"{where} has {name!r}: {meant}")


def _time(text: Any, where: str) -> Time:
    try:
        return Time.of(text)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _plain(rule: Rule) -> str:
    text = rule.name.partition(": ")[2]
    return text[0].upper() + text[1:]


def _covers(one: str, other: str) -> bool:
    """Whether a pattern matches all that another matches."""
    if one == other or not set("*?[") & set(other):
        return fnmatchcase(other, one) if one != other else True
    # Only a `*` takes a wildcard for a character of a name, and rightly so.
    return not set("?[") & set(one) and "[" not in other and fnmatchcase(other, one)


# -- too late ---------------------------------------------------------------------------------------


def expired(ref: Reference) -> PayloadExpired | None:
    """The error for a payload that is gone after its time; None if it was to be there."""
    expires = ref.expires
    if expires is None:
        return None
    if expires.at is not None and expires.at <= datetime.now(UTC):
        until = f"until {expires.at.isoformat(sep=' ', timespec='seconds')}"
    elif expires.run:
        until = "until its run had ended well"
    else:
        return None
    return PayloadExpired(
        f"The payload is gone: it was kept {until}, by {expires.rule}",
        "Run the task that pushed it again. To have such values longer, change the rule, or push "
        "keep(value, …).",
    )
