"""What settings classes declare: whether it is sound, and how a file of Variables differs from it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from .kinds import as_text, short
from .variables import Setting, SettingError, Settings, all_groups, all_settings, as_variables

# Names of which Airflow hides the value, too.
_SENSITIVE = re.compile(r"pass|secret|token|key|authorization|credential", re.IGNORECASE)


def problems() -> list[str]:
    """What is wrong with the classes, a sentence each with class and field: a default that breaks its rule or
    would come back as another value, the same Variable twice."""
    try:
        all_settings()
    except ValueError as error:
        return [str(error)]
    return [problem for group in all_groups() for problem in _of_group(group)]


def complaints(path: Path) -> list[str]:
    """`problems`; without any, where the file of Variables is not what the classes make, a sentence each."""
    if found := problems():
        return found
    try:
        there, declared, name = read(path), as_variables(), "/".join(path.parts[-2:])
    except ValueError as error:
        return [str(error)]
    unknown = f"{name}: `{{}}` is in no settings class. Declare it in one, or `make variables` removes it."
    missing = f"{name}: `{{}}` is missing. `make variables` adds it."
    other = f"{name}: `{{}}` is not as its settings class says. `make variables` writes it anew."
    found = [unknown.format(variable) for variable in there.keys() - declared.keys()]
    found += [missing.format(variable) for variable in declared.keys() - there.keys()]
    same = there.keys() & declared.keys()
    return sorted([*found, *(other.format(each) for each in same if there[each] != declared[each])])


def read(path: Path) -> dict[str, Any]:
    """The Variables in a file; none if there is no file. Raises ValueError if it holds something else."""
    if not path.is_file():
        return {}
    advice = "Correct it, or delete it: `make variables` makes it anew."
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}. {advice}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no Variables by their names. {advice}")
    return found


def changes(before: Mapping[str, Any], after: Mapping[str, Any], secret: Collection[str] = ()) -> list[str]:
    """What became of the Variables in a file, a line each. Of a name in `secret`, and of one that sounds like
    it, the former value is not shown: it may have been written there by hand."""
    lines = [f"added    {name} = {_shown(_parts(after[name])[0])}" for name in after if name not in before]
    for name in (name for name in after if name in before):
        (old, was), (new, about) = _parts(before[name]), _parts(after[name])
        if old != new:
            was_shown = "a value that is not shown" if _SENSITIVE.search(name) else _shown(old)
            lines.append(f"changed  {name}: {was_shown} → {_shown(new)}")
        if was != about:
            lines.append(f"changed  {name}: {about}")
    for name in (name for name in before if name not in after):
        hidden = name in secret or _SENSITIVE.search(name)
        value = "its value is not shown" if hidden else f"it was {_shown(_parts(before[name])[0])}"
        reason = "secrets stay out of the file" if name in secret else "no settings class declares it"
        lines.append(f"removed  {name}: {reason}; {value}")
    return lines


def _parts(entry: Any) -> tuple[Any, str]:
    """Value and description of an entry, in both forms that Airflow imports."""
    if isinstance(entry, dict) and "value" in entry:
        return entry["value"], entry.get("description") or ""
    return entry, ""


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _of_group(group: type[Settings]) -> Iterator[str]:
    name, items = group.__name__, group.described()
    defaults: Settings | None = None
    try:
        defaults = group()
    except ValidationError as error:
        broken = [each for each in error.errors() if each["type"] != "missing"]
        for each in broken:
            wrong = [item for item in items if item.field in each["loc"][:1]]
            for item in wrong:
                reason = each["type"] if item.is_secret else each["msg"]  # a message may hold the value
                yield _wrong(name, item, f"it must be {item.rule}" if item.rule else reason)
            if not wrong:
                yield f"{name}: its defaults do not go together: {each['msg']}."
        if broken:
            return
    values = {}
    for item in items:
        if item.info.is_required() or item.is_secret:
            continue
        try:
            values[item.field] = item.parse(as_text(item.plain_default))
        except PydanticSerializationError as error:
            yield _wrong(name, item, f"JSON can't hold it: {error}")
        except SettingError:
            yield _wrong(name, item, "it is not read back from what Airflow keeps of it")
    if defaults is not None and len(values) == sum(not item.is_secret for item in items):
        again = group.model_validate(values)
        for item in items:
            if getattr(again, item.field) != getattr(defaults, item.field) and not item.is_secret:
                yield _wrong(name, item, "it comes back as another value from what Airflow keeps of it")


def _wrong(name: str, item: Setting, reason: str) -> str:
    shown = "" if item.is_secret else f" {short(repr(item.default))}"
    return f"{name}.{item.field}: the default{shown} is not allowed: {reason}."
