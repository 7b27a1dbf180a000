"""Reads files of NAME=value lines as docker compose reads its env_file: values are the same in both."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from dotenv.parser import Binding, parse_stream

from ..console import Refused

CONNECTION = "AIRFLOW_CONN_"
_QUOTED = re.compile(r"[^=]*=[^\S\r\n]*'((?:\\.|[^'\\])*)'", re.DOTALL)
_REFERENCE = re.compile(r"\$(?:\{(\w+)\})?")


class _Connection(msgspec.Struct, forbid_unknown_fields=True):
    """What a connection in JSON may have: the arguments of `airflow.sdk.Connection`."""

    conn_type: str | None = None
    description: str | None = None
    host: str | None = None
    login: str | None = None
    password: str | None = None
    schema: str | None = None
    port: int | str | None = None
    extra: dict[str, Any] | str | None = None


def read(path: Path, known: Mapping[str, str], shown: Path, *, begins: str = "") -> dict[str, str]:
    """The variables of a file that are not empty; none if there is no file.

    In single quotes a value stands as it is. Elsewhere ${NAME} is a variable of `known`, or of a line above.

    Args:
        path: The file.
        known: The variables that its values may name.
        shown: How errors name the file.
        begins: Only names that begin so count.

    Raises:
        Refused: a line can't be read, a `$` names nothing, or a connection is none. The text has the line's
            number, and nothing of its value.
    """
    found: dict[str, str] = {}
    for name, binding, where in _lines(path, shown):
        if not name.startswith(begins):
            continue
        value = _value(binding, {**known, **found}, where)
        found.pop(name, None)  # of two lines the later one counts, also if it is empty
        if value:
            if name.startswith(CONNECTION):
                _check(name.removeprefix(CONNECTION), value, where)
            found[name] = value
    return found


def names(path: Path, shown: Path) -> dict[str, bool]:
    """The names in a file, and whether they have a value. Raises `Refused` if a line can't be read."""
    return {name: bool(binding.value) for name, binding, _ in _lines(path, shown)}


def _lines(path: Path, shown: Path) -> Iterator[tuple[str, Binding, str]]:
    """Name, content and place of each line that sets a variable. The parser only logs what it skips."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{shown} can't be read: {getattr(error, 'strerror', None) or error}.") from None
    for binding in parse_stream(io.StringIO(text)):
        whole = binding.original.string
        # The parser counts empty lines before it as its own.
        line = binding.original.line + whole[: len(whole) - len(whole.lstrip())].count("\n")
        where = f"{shown}, line {line}"
        if binding.error or (binding.key and binding.value is None):
            raise Refused(f"{where}: this is not NAME=value, or NAME='value' with both of its quotes.")
        if binding.key:
            yield binding.key, binding, where


def _value(binding: Binding, known: Mapping[str, str], where: str) -> str:
    if quoted := _QUOTED.match(binding.original.string):
        return quoted[1].replace("\\'", "'")  # as compose does; the parser would also take \\ for one \

    def filled_in(reference: re.Match[str]) -> str:
        if (name := reference[1]) is None:
            advice = "put the value into single quotes, where a `$` is only a `$`"
            raise Refused(
                f"{where}: docker compose would take what follows the `$` for a variable: {advice}."
            )
        if name not in known:
            raise Refused(f"{where}: there is no variable {name}.")
        return known[name]

    return _REFERENCE.sub(filled_in, binding.value or "")


def _check(name: str, value: str, where: str) -> None:
    """Raises `Refused` if Airflow would not find it, or could not make a connection of it."""
    which = f"{where}: the connection {name.lower()!r}"
    if name != name.upper():
        raise Refused(f"{which} is looked for as {CONNECTION}{name.upper()}: write it in capitals.")
    try:
        if value.lstrip().startswith("{"):
            int(msgspec.json.decode(value, type=_Connection).port or 0)
            return
        kind, *rest = value.split("://")
        if not rest or not re.fullmatch(r"\s*[A-Za-z][\w.+-]*", kind):
            raise Refused(f"{which} is neither JSON nor a URI, type://login:password@host:port/schema.")
        if len(rest) > 2 or (len(rest) == 2 and re.search("[@:]", rest[0])):
            raise Refused(f"{which} is a URI with a second `://`: write it as %3A%2F%2F.")
        urlsplit(f"x://{rest[-1]}").port  # noqa: B018 - it raises ValueError
    except msgspec.DecodeError as error:
        raise Refused(f"{which} is no valid JSON for one: {error}.") from None
    except ValueError:
        advice = "In a URI, a / or @ of a password is written %2F or %40; in JSON it is not"
        raise Refused(f"{which} has a port that is no number. {advice}.") from None
