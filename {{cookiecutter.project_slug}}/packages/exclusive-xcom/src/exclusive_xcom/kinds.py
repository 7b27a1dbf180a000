"""How the text of a Variable is read, by the type of its field; what the rule is in words; what is secret.

Only lists, dicts and models are read as JSON. What Airflow keeps of a default is read back as that default.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import astuple, dataclass, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from itertools import chain
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel, RootModel, Secret, SecretBytes, SecretStr, TypeAdapter
from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class InWords:
    """The rule of a field in words, where its annotation has none: `Annotated[Path, InWords("a folder")]`."""

    rule: str


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError("a path must not be empty")
    return Path(text)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it must be JSON: {error}") from None


def _number(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if not text.isascii() or "_" in text:  # Python takes 1_000 and digits of every script
            raise ValueError("it is not a number in plain digits")
        return kind(text)

    return read


def short(text: str, most: int = 100) -> str:
    """A text as errors and tables show it: its beginning, and whether that is all."""
    return text if len(text) <= most else f"{text[:most]}…"


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    return _ANY.dump_python(value, mode="json", by_alias=True, round_trip=True)


def as_text(plain: Any) -> str:
    """What Airflow keeps: JSON, unless it is a text."""
    return plain if isinstance(plain, str) else json.dumps(plain)


Kind = tuple[str, Callable[[str], Any]]  # in words, and how a text is read
_KINDS: dict[Any, Kind] = {
    bool: ("true or false", lambda text: {"true": True, "false": False}[text.lower()]),
    int: ("a whole number", _number(int)),
    float: ("a number", _number(float)),
    Decimal: ("a number", _number(Decimal)),
    date: ("a day such as 2024-12-31", date.fromisoformat),
    datetime: ("a time such as 2024-12-31T18:30:00+00:00", datetime.fromisoformat),
    NoneType: ("null", {"null": None}.__getitem__),
    Path: ("a path", _path),
}
_LIMITS: dict[Any, str] = {Ge: "of at least {}", Gt: "above {}", Le: "of at most {}", Lt: "below {}"}
_LIMITS |= {MinLen: "of at least {} characters", MaxLen: "of at most {} characters"}
UNREADABLE = (ValueError, ArithmeticError, KeyError)  # what reading a text raises
_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def kind_of(annotation: Any, notes: Collection[Any] = ()) -> Kind:
    """How an annotation's text is read, and its rule in words, with the limits that its notes set."""
    words, read = _bare_kind(annotation)
    if own := [note.rule for note in notes if isinstance(note, InWords)]:
        return str(own[0]), read
    limits = {type(note): note for note in notes}
    if not words or not limits.keys() <= _LIMITS.keys():
        return "", read
    at = {limit: astuple(note)[0] for limit, note in limits.items()}
    if at.keys() == {Ge, Le}:
        return f"{words} from {at[Ge]} to {at[Le]}", read
    said = " and ".join(_LIMITS[limit].format(number) for limit, number in at.items())
    return f"{words} {said}".rstrip(), read


def _bare_kind(annotation: Any) -> Kind:
    origin, inner = get_origin(annotation), get_args(annotation)
    if named := _named(annotation):
        return kind_of(named)
    if origin is Annotated:
        groups = (note.metadata if isinstance(note, FieldInfo) else [note] for note in inner[1:])
        return kind_of(inner[0], [*chain.from_iterable(groups)])
    if origin in (Union, UnionType):
        return _any_of([kind_of(member) for member in sorted(inner, key=lambda one: one is not NoneType)])
    if origin is Secret:
        return kind_of(inner[0])
    if origin is Literal:
        return _one_of(inner)
    known = origin or annotation
    if known in _KINDS:
        words, read = _KINDS[known]
        return words, lambda text: read(text.strip())
    if known is Any or not isinstance(known, type):  # it says nothing: JSON where it is some, else a text
        return _any_of([("", _json), ("", str)])
    if issubclass(known, Enum):
        return _one_of(known)
    if issubclass(known, str | bytes | SecretStr | SecretBytes):
        return "a text", str
    if issubclass(known, RootModel):
        return kind_of(known.model_fields["root"].annotation)
    if issubclass(known, Collection | BaseModel) or is_dataclass(known):
        return "", _json
    return "", str.strip  # pydantic reads it


def _one_of(choices: Iterable[Any]) -> Kind:
    texts = {as_text(plain(choice)): choice for choice in choices}
    return f"one of {', '.join(texts)}", lambda text: texts[text if text in texts else text.strip()]


def _any_of(kinds: list[Kind]) -> Kind:
    """Each kind in turn reads the text; those that take every text come last."""
    readers = sorted((read for _, read in kinds), key=lambda read: read in (str, str.strip))

    def read(text: str) -> Any:
        for reader in readers:
            try:
                return reader(text)
            except UNREADABLE as error:
                reason = error
        raise reason

    words = [words for words, _ in kinds]
    return " or ".join(words) if all(words) else "", read


def _named(annotation: Any) -> Any:
    """What a `type` statement or a NewType is a name for; None for all else."""
    return getattr(annotation, "__value__", None) or getattr(annotation, "__supertype__", None)


def holds_secret(annotation: Any, seen: tuple[Any, ...] = ()) -> bool:
    """Whether a type is a secret, or has one among its arguments or its fields, however deep."""
    if any(annotation is known for known in seen):  # a model may hold itself
        return False
    kind, inner = get_origin(annotation) or annotation, [*get_args(annotation), _named(annotation)]
    if isinstance(inner[-1], str):  # an alias in quotes cannot be looked into: better hidden than shown
        return True
    if isinstance(kind, type):
        if issubclass(kind, Secret | SecretStr | SecretBytes):
            return True
        if issubclass(kind, BaseModel):
            kind.model_rebuild()  # names of classes that came later
            inner += [field.annotation for field in kind.model_fields.values()]
        elif is_dataclass(kind) or issubclass(kind, dict | tuple):  # also TypedDict and NamedTuple
            inner += get_type_hints(kind, include_extras=True).values()
    return any(holds_secret(part, (*seen, annotation)) for part in inner)
