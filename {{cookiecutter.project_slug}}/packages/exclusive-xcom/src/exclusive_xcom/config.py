"""Section [xcom] of Airflow's configuration: every option with its rule and its default.

Option `max_size` is `AIRFLOW__XCOM__MAX_SIZE` in the environment or `max_size` below `[xcom]` in airflow.cfg.
An empty one counts as not set. Options are read when they are needed, never at import.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from .codecs import FRAME_FORMATS, Options
from .errors import BadOption

T = TypeVar("T")


@dataclass(frozen=True)
class Option(Generic[T]):
    """One option.

    Attributes:
        name: below [xcom].
        default: when it is not set; a backend may have another one.
        parse: makes a value of its text; raises ValueError for what it can't be.
        rule: what it must be, in words.
        shown: whether an error may show what it is.
    """

    name: str
    default: T
    parse: Callable[[str], T]
    rule: str = "text"
    shown: bool = True

    @functools.cached_property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"AIRFLOW__XCOM__{self.name.upper()}"

    def read(self, default: T | None = None) -> T:
        """What it is now; `default` where the backend has one of its own. Raises `BadOption`."""
        text = os.environ.get(self.variable)
        if text is None:
            text = _elsewhere(self.name)
        elif "$" in text or "~" in text:
            text = _configured(self.name)  # Airflow puts in what these stand for, which takes 15 µs
        text = text.strip()
        if not text:
            return self.default if default is None else default
        try:
            return self.parse(text)
        except ValueError:
            found = repr(text) if self.shown else "set, and not shown here"
            raise BadOption(
                f"Option {self.variable} is {found}, but must be {self.rule}",
                "Correct it in config/airflow.env or in the environment.",
            ) from None


def _number(name: str, default: int, least: int = 0) -> Option[int]:
    def parse(text: str) -> int:
        if (number := int(text)) < least:
            raise ValueError(text)
        return number

    return Option(name, default, parse, f"a whole number of at least {least}")


def _choice(name: str, *words: str) -> Option[str]:
    return Option(name, words[0], lambda text: words[words.index(text)], " or ".join(words))


URL = Option("url", "", str)
CONN_ID = Option("conn_id", "", str)
FORMER_URL = Option("former_url", "", str)
FORMER_CONN_ID = Option("former_conn_id", "", str)
PREFIX = Option("prefix", "xcom", str)
INLINE_LIMIT = _number("inline_limit", 0)
MAX_ROW_SIZE = _number("max_row_size", 2**20, 1024)
MAX_SIZE = _number("max_size", 16 * 2**30, 1)
MAX_SHOWN_SIZE = _number("max_shown_size", 16384)
MAX_DECODED_SIZE = _number("max_decoded_size", Options.max_size, 1)
FRAME_FORMAT = _choice("frame_format", *FRAME_FORMATS)
CODECS = Option[tuple[str, ...]](
    "codecs", (), lambda text: tuple(re.split(r"[\s,]+", text)), "names of modules"
)
PREVIEW = _choice("preview", "shape", "off", "full")
UI = _choice("ui", "off", "on")
DOWNLOADS = _choice("downloads", "off", "on")
GRACE = _number("grace", 7 * 86400, 60)
API_CONN_ID = Option("api_conn_id", "xcom_api", str)
# How long something is kept: "12h", "30d", "run", "never".
KEPT = re.compile(r"([1-9][0-9]{0,8})([smhd])|run|never", re.ASCII)


def _retention(text: str) -> str:
    if not KEPT.fullmatch(text) and not os.path.isabs(text):
        raise ValueError(text)
    return text


RETENTION = Option(
    "retention", "never", _retention, "a time as 12h or 30d, run, never, or the whole path of a file of rules"
)
PULLS = _choice("pulls", "warn", "open", "declared")


def _path(text: str) -> str:
    if not os.path.isabs(text):
        raise ValueError(text)
    return text


READERS = Option("readers", "", _path, "the whole path of a file of rules")
SECRETS = _choice("secrets", "warn", "refuse", "allow")


def _never(text: str) -> str:
    raise ValueError(text)


def _no_keyset(text: str) -> str:
    if "{" in text:
        raise ValueError(text)
    return text


# Where keys are. The keyset itself is never the value of an option: Airflow shows these to whoever may ask
# for its configuration.
_WHERE = "{}, and never the keyset itself"
KEYSET = Option("keyset", "", _never, "empty: name a file in AIRFLOW__XCOM__KEYSET_FILE", shown=False)
KEYSET_FILE = Option("keyset_file", "", _path, _WHERE.format("the whole path of a file"), shown=False)
KEYSET_CMD = Option("keyset_cmd", "", _no_keyset, _WHERE.format("a command that prints one"), shown=False)
KEYSET_SECRET = Option(
    "keyset_secret", "", _no_keyset, _WHERE.format("a name in the workers' secrets backend"), shown=False
)
KEYSET_KMS = Option(
    "keyset_kms", "", _no_keyset, "the URI of the key in a KMS by which the keyset is encrypted", shown=False
)
KEYSETS = Option("keysets", "", _path, _WHERE.format("the whole path of a file of rules"), shown=False)
ENCRYPTION = _choice("encryption", "write", "demand")
_NAMING = (KEYSET_FILE, KEYSET_CMD, KEYSET_SECRET, KEYSETS)
WAIT_REPLICAS = _number("wait_replicas", 0)
WAIT_AOF = _number("wait_aof", 0)


def mistakes() -> list[str]:
    """What is wrong with the options that are set, also with those that only some tasks read: a value that it
    can't have, and a variable of the section that is no option, such as one with a slip of the pen."""
    options = [option for option in globals().values() if isinstance(option, Option)]
    found = []
    for option in options:
        try:
            option.read()
        except BadOption as error:
            found.append(str(error))
    known = [option.variable for option in options]
    for name in sorted(os.environ):
        if name.startswith("AIRFLOW__XCOM__") and name not in known and os.environ[name].strip():
            meant = [each for each in known if each != KEYSET.variable]  # which nobody should set
            near = difflib.get_close_matches(name, meant, 1, 0.8)
            found.append(f"There is no option {name}." + (f" Did you mean {near[0]}?" if near else ""))
    return found


def keysets_named() -> list[Option[str]]:
    """The options that say where keysets are, of those that are set; without one, nothing is encrypted.
    Raises `BadOption`."""
    KEYSET.read()  # raises if somebody has set it
    return [option for option in _NAMING if option.read()]


def is_encrypting() -> bool:
    """Whether an option says that XComs are encrypted, be it one that needs another. Raises `BadOption`."""
    return bool(keysets_named() or KEYSET_KMS.read()) or ENCRYPTION.read() == "demand"


def _configured(name: str) -> str:
    # Airflow imports the backend while it is importing itself.
    from airflow.sdk.configuration import conf

    return str(conf.get("xcom", name, fallback=None) or "").strip()


# An option in airflow.cfg, which this process reads once. Looking there takes 30 µs.
_elsewhere = functools.cache(_configured)
