"""Which keyset encrypts which XComs, and where it is: in a file, a command, the workers' secrets backend.

    default = "project"

    rules = [
        "payroll.*.* by payroll",
        "*.*.report_url in plain",
    ]

    [keyset.project]
    file = "/run/secrets/xcom-project.json"

    [keyset.payroll]
    secret = "xcom-payroll"

The first rule whose pattern matches counts, otherwise the default. A worker that has not the keyset of an
XCom can neither read nor push it: nothing is ever pushed in plain because a key is missing. Each source may
be wrapped by the key of a KMS.
"""

from __future__ import annotations

import functools
import os
import shlex
import stat
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import config, keys, rulefile
from .address import SCHEDULER_KEYS, Address
from .errors import BadOption, KeyMissing, NotEncrypted, XComError
from .keys import Key, Keyset

PLAIN = "plain"
_PATIENCE = 30  # seconds that a command may take
_AGAIN = 10.0  # seconds after which a source is asked again for a key that it did not have
_SOURCES = ("file", "command", "secret")
_LONGEST = 64  # characters of a secret's name that is shown: by mistake a longer one may be the keyset
_BY, _IN_PLAIN = " by ", " in plain"


@dataclass(frozen=True)
class Source:
    """Where a keyset comes from: one of the three. `kms` is the URI of the key that has wrapped it."""

    name: str
    file: str = ""
    command: str = field(default="", repr=False)
    secret: str = ""
    kms: str = ""

    @property
    def where(self) -> str:
        """For people."""
        if self.file:
            return self.file
        name = self.secret if len(self.secret) <= _LONGEST else f"{self.secret[:4]}…"
        return f"secret {name!r}" if name else "a command"

    def stamp(self) -> Any:
        """What changes when the file does; the others are read once, and again when a key is missing. Raises
        `KeyMissing` if it is not there, and `BadOption` if others may read it."""
        if not self.file:
            return None
        try:
            found = os.stat(self.file)
        except OSError as error:
            raise self._missing(error.strerror or "it can't be read") from None
        _check_private(self, found)
        return found.st_mtime_ns, found.st_size, found.st_ino

    def read(self) -> str:
        """The keyset's text. Raises `KeyMissing`, and `BadOption` for a source that can't be."""
        if self.file:
            try:
                return Path(self.file).read_text(encoding="utf-8")
            except OSError as error:
                raise self._missing(error.strerror or "it can't be read") from None
            except UnicodeDecodeError:
                raise BadOption(
                    f"Keyset {self.name!r} in {self.file} is no text", "Name another file."
                ) from None
        return self._by_command() if self.command else self._by_secret()

    def _by_command(self) -> str:
        """What a command prints. What it says on standard error is in the task's log."""
        try:
            words = shlex.split(self.command)
            if not words or "\0" in self.command:
                raise ValueError("nothing that can be run")
        except ValueError as error:  # its text says nothing of the command, which may hold a password
            what = f"The command of keyset {self.name!r} is none: {error}"
            raise BadOption(what, "It is read as a shell would: mind quotes.") from None
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                timeout=_PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self._missing(f"it took longer than {_PATIENCE} s") from None
        except OSError as error:
            raise self._missing(error.strerror or "it can't be run") from None
        if done.returncode:
            raise self._missing(f"it ended with exit code {done.returncode}")
        return done.stdout.decode(errors="replace")

    def _by_secret(self) -> str:
        """What the workers' own secrets backend has as configuration of that name: not as a Variable or a
        connection, which any task may ask for."""
        from airflow.sdk.configuration import get_custom_secret_backend

        try:
            backend = get_custom_secret_backend(worker_mode=True)
            found = backend.get_config(self.secret) if backend else None
        except Exception as error:
            raise self._missing(f"the backend failed: {type(error).__name__}") from None
        if not backend:
            raise self._missing("no secrets backend is set in [workers] secrets_backend")
        if not found:
            raise self._missing("the secrets backend has no configuration of that name")
        return str(found)

    def _missing(self, why: str) -> KeyMissing:
        return KeyMissing(
            f"Keyset {self.name!r} is not there: {self.where}: {why}",
            "Give it to this worker, if it is to have it; otherwise let the task run where it is.",
        )


def _check_private(source: Source, found: os.stat_result) -> None:
    """Others can't read the file; its group can only if somebody else has put it there for this process,
    as what mounts secrets does. Raises `BadOption`."""
    wrong = 0o077 if found.st_uid == os.geteuid() else 0o037
    if not stat.S_ISREG(found.st_mode):
        raise BadOption(f"Keyset {source.name!r} in {source.file} is no file", "Name a file.")
    if found.st_mode & wrong:
        raise BadOption(
            f"Others may read or write keyset {source.name!r}: {source.file} has mode "
            f"{stat.S_IMODE(found.st_mode):03o}",
            f"`chmod 600 {shlex.quote(source.file)}` changes that. If others could read it, take a new key.",
        )


# -- rules ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rules:
    """Which keyset is for which XComs, by patterns of "dag.task.key"; "plain" for none."""

    sources: Mapping[str, Source]
    default: str
    rules: tuple[tuple[str, str], ...] = ()

    def of(self, address: Address) -> str:
        """The name of the keyset for an XCom, or "plain"."""
        if address.key in SCHEDULER_KEYS:
            return PLAIN
        ids = (address.dag_id, address.task_id, address.key)
        return next((name for pattern, name in self.rules if rulefile.matches(pattern, ids)), self.default)


def rules() -> Rules | None:
    """The rules that are set now; None if nothing is encrypted. Raises `BadOption`."""
    given = config.keysets_named()
    if len(given) > 1:
        names = " and ".join(option.variable for option in given)
        raise BadOption(f"Keysets are named twice, by {names}", "Leave one of them.")
    if not given:
        return None
    if given[0] is config.KEYSETS:
        return rulefile.read(config.KEYSETS, Path(config.KEYSETS.read()), "encryption", parsed)
    alone = (config.KEYSET_FILE, config.KEYSET_CMD, config.KEYSET_SECRET, config.KEYSET_KMS)
    return _alone(*(option.read() for option in alone))


@functools.lru_cache(8)
def _alone(file: str, command: str, secret: str, kms: str) -> Rules:
    return Rules({"default": Source("default", file, command, secret, kms)}, "default")


def parsed(found: Mapping[str, Any], file: str) -> Rules:
    """The rules of a file's content. Raises `ValueError`, which says where it is wrong."""
    rulefile.check_names(found, ("default", "rules", "keyset"), "The file")
    tables, listed, default = found.get("keyset", {}), found.get("rules", []), found.get("default")
    if not isinstance(tables, dict) or not isinstance(listed, list):
        raise ValueError("Keysets begin with [keyset.name], and rules are a list of texts")
    sources = {name: _source(name, table) for name, table in tables.items()}
    if default != PLAIN and default not in sources:
        there = ", ".join(map(repr, [*sources, PLAIN]))
        raise ValueError(f"default must be the name of a keyset or {PLAIN!r}: there are {there}")
    return Rules(sources, str(default), tuple(_rule(text, sources) for text in listed))


def _source(name: str, table: Any) -> Source:
    where = f"Keyset {name!r}"
    if not isinstance(table, dict) or name == PLAIN:
        raise ValueError(f"{where} must be a table of another name than {PLAIN!r}")
    rulefile.check_names(table, (*_SOURCES, "kms"), where)
    if not all(isinstance(value, str) and value and "{" not in value for value in table.values()):
        raise ValueError(f"{where}: each entry is a text that says where it is; a keyset never stands here")
    if len(set(_SOURCES) & table.keys()) != 1:
        raise ValueError(f"{where} has one of {', '.join(_SOURCES)}")
    if not os.path.isabs(file := table.get("file", "/")) or "\0" in file:
        raise ValueError(f"{where}: file must be a whole path")
    return Source(name, **table)


def _rule(text: Any, sources: Mapping[str, Source]) -> tuple[str, str]:
    said = text.strip() if isinstance(text, str) else ""
    pattern, name = (said.removesuffix(_IN_PLAIN), PLAIN) if said.endswith(_IN_PLAIN) else ("", "")
    if not name:
        pattern, _, name = (part.strip() for part in said.partition(_BY))
    if pattern.count(".") < 2 or " " in pattern or (name != PLAIN and name not in sources) or not name:
        raise ValueError(
            f'Rule {text!r} must be a text as "dag.task.key by keyset" or "dag.task.key in plain", with one '
            f"of these keysets: {', '.join(sources) or 'there is none'}"
        )
    return pattern, name


# -- keys -------------------------------------------------------------------------------------------

_kept: dict[Source, tuple[Any, float, Keyset]] = {}  # with the stamp of the source, and when it was read
_lock = threading.RLock()


def keyset(source: Source, *, anew: bool = False) -> Keyset:
    """The keyset of a source: as it was read before, if that holds good; `anew` if that was some seconds ago.
    Raises `KeyMissing` and `BadOption`."""
    with _lock:
        stamp, now = source.stamp(), time.monotonic()
        if (known := _kept.get(source)) and known[0] == stamp and not (anew and now - known[1] > _AGAIN):
            return known[2]
        found = keys.loaded(source.name, source.read(), source.kms)
        _kept[source] = stamp, now, found
        return found


def needed() -> Rules | None:
    """The rules, for who would push or read in plain without any. Raises `BadOption` where that can't be
    meant: a slip of the pen in the name of an option must not turn encryption off."""
    found = rules()
    if found is None:
        for option, is_set in (
            (config.ENCRYPTION, demanded()),
            (config.KEYSET_KMS, config.KEYSET_KMS.read()),
        ):
            if is_set:
                raise BadOption(
                    f"{option.variable} is set, and no option here says where a keyset is: nothing would be "
                    "encrypted",
                    f"Set {config.KEYSET_FILE.variable}, {config.KEYSET_CMD.variable}, "
                    f"{config.KEYSET_SECRET.variable} or {config.KEYSETS.variable} where this task runs.",
                )
    return found


def demanded() -> bool:
    """Whether what has a keyset is read encrypted alone."""
    return config.ENCRYPTION.read() == "demand"


def for_push(address: Address) -> Key | None:
    """The key that encrypts an XCom; None for one in plain. Raises `KeyMissing` and `BadOption`."""
    found = needed()
    if found is None or (name := found.of(address)) == PLAIN:
        return None
    there = keyset(found.sources[name])
    return there.keys[there.primary]


def for_pull(address: Address, number: int) -> Key:
    """The key that an XCom's row names. Raises `KeyMissing`, `BadOption`, and `NotEncrypted` for one of
    another keyset than the rules demand."""
    found = rules()
    if found is None:
        raise KeyMissing(
            f"It is encrypted by key {number}, and no keyset is set here",
            "Set AIRFLOW__XCOM__KEYSET_FILE or AIRFLOW__XCOM__KEYSETS where this task runs, if it is to read "
            "it: docs/encryption.md.",
        )
    name = found.of(address)
    told: list[str] = []
    for source in sorted(found.sources.values(), key=lambda source: source.name != name):
        for anew in (False, True):
            try:
                there = keyset(source, anew=anew)
            except KeyMissing as error:
                told.append(error.what)
                break
            if (key := there.keys.get(number)) is None:
                continue
            if demanded() and source.name != name:
                raise NotEncrypted(
                    f"It is encrypted by keyset {source.name!r}, and by the rules it has to be by {name!r}",
                    "Run the task that pushed it again. Or, if it is from before the rules were changed, let "
                    "AIRFLOW__XCOM__ENCRYPTION be write until its time is over.",
                )
            return key
        else:
            told.append(_has_not(there, number))
    raise KeyMissing(
        f"It is encrypted by key {number}, which is not here. {'; '.join(dict.fromkeys(told))}",
        "If that key is new, give the newest keyset to this worker and let the task run again; `xcom keys` "
        "lists what there is. If it was retired, run the task that pushed the value again.",
    )


def _has_not(there: Keyset, number: int) -> str:
    if state := there.states.get(number):
        return f"In keyset {there.name!r} it is {state}"
    ids = ", ".join(f"{one} (primary)" if one == there.primary else str(one) for one in there.keys)
    return f"Keyset {there.name!r} has {ids}"


def demands(address: Address) -> bool:
    """Whether only what is encrypted may be read of an XCom. Raises `BadOption`."""
    return demanded() and (found := needed()) is not None and found.of(address) != PLAIN


def each() -> Iterator[tuple[Source, Keyset | XComError]]:
    """The keysets that the rules name, or why one is not there."""
    found = rules()
    for source in found.sources.values() if found else ():
        try:
            yield source, keyset(source)
        except XComError as error:
            yield source, error


def _disown() -> None:
    """Another thread of the parent may have held it."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_disown)
