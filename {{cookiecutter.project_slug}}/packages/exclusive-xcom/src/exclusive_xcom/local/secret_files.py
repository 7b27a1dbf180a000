"""The files with the owner's secrets: fills in .env, and sees that nobody else may read them."""

from __future__ import annotations

import base64
import io
import re
import stat
from pathlib import Path
from secrets import token_bytes, token_hex

from dotenv.parser import parse_stream

from ..atomic import replacing
from . import envfile
from .environment import CONNECTIONS, SECRETS

EXAMPLE = Path(".env.example")
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def fill_in(folder: Path) -> list[str]:
    """Make .env from .env.example, or add what it lacks: each name without a value gets a random one. Returns
    the names that were added. What .env has already is left as it is. Raises `Refused` if a file can't be
    understood."""
    path = (folder / SECRETS).resolve()  # it may be a link to a place that is kept safe
    there = envfile.names(path, SECRETS)
    missing = [name for name, filled in envfile.names(folder / EXAMPLE, EXAMPLE).items() if not filled]
    missing = [name for name in missing if not there.get(name)]
    if not missing:
        return []
    text = path.read_text(encoding="utf-8") if path.exists() else f"# Secrets, explained in {EXAMPLE}.\n"
    text = _filled_in(text, {name: _random(name) for name in missing})
    with replacing(path, private=True) as file:
        file.write(text.encode())
    return missing


def _filled_in(text: str, values: dict[str, str]) -> str:
    """The text with these values: each in the last line of its name, which counts, or at the end."""
    lines = [(each.key, each.original.string) for each in parse_stream(io.StringIO(text))]
    for name, value in values.items():
        if places := [place for place, (key, _) in enumerate(lines) if key == name]:
            line = lines[places[-1]][1]
            lines[places[-1]] = (name, re.sub("=.*", f"={value}", line, count=1))
        else:
            ended = not lines or lines[-1][1].endswith("\n")
            lines.append((name, f"{'' if ended else chr(10)}{name}={value}\n"))
    return "".join(line for _, line in lines)


def _random(name: str) -> str:
    """A value that needs no quotes. 64 characters: what signs with SHA-512 wants so many bytes."""
    if name.endswith("FERNET_KEY"):
        return base64.urlsafe_b64encode(token_bytes(32)).decode()
    return token_hex(32)


def readable_by_others(folder: Path) -> list[Path]:
    """Which of the files others on this machine may read or write."""
    files = [file for file in (CONNECTIONS, SECRETS) if (folder / file).exists()]
    return [file for file in files if (folder / file).stat().st_mode & OTHERS]


def close(folder: Path) -> list[Path]:
    """Take that from them. Returns the files that were changed."""
    found = readable_by_others(folder)
    for file in found:
        (folder / file).chmod(0o600)
    return found
