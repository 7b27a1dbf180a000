"""The table [tool.exclusive-xcom] of the project's pyproject.toml: what this wing is told of the project.

[tool.exclusive-xcom]
settings = "my_pipelines.settings"
run-tags = ["template-example", "smoke"]
rules = ["owner"]
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from ..console import Refused

FILE, TABLE = "pyproject.toml", "[tool.exclusive-xcom]"


class Project(msgspec.Struct, frozen=True, rename="kebab"):
    """What the table says; a file or a table that is not there says nothing, and every key may be left out.

    `settings` is the module whose classes are the project's Variables. `xcom run` without names runs the DAGs
    that have one of `run_tags`; without any, all. `rules` are those that tests hold every DAG to.
    """

    settings: str = ""
    run_tags: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Project:
        """Read it from the project's folder. Raises `Refused` for what is no TOML, a key that there is not
        (it would be overlooked in silence) and a value of the wrong type."""
        path = folder / FILE
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Refused(f"{path} is not valid TOML: {error}.") from None
        said = table.get("tool", {}).get("exclusive-xcom", {})
        keys = [field.encode_name for field in msgspec.structs.fields(cls)]
        for unknown in said.keys() - set(keys) if isinstance(said, dict) else ():
            raise Refused(f"{TABLE} in {FILE} has no key {unknown!r}. There are: {', '.join(keys)}.")
        try:
            return msgspec.convert(said, cls)
        except msgspec.ValidationError as error:
            what, _, where = str(error).replace("`", "").partition(" - at $")
            raise Refused(f"{TABLE}{where} in {FILE} has a wrong type: {what}.") from None
