"""Finds in a value, before it is stored, the secrets that Airflow masks in its logs.

These are passwords of connections, Variables with such a name, and what was given to `mask_secret`, as far as
this process has seen them. Codecs hand over what they are about to write (`codecs.Options.look_at`), and each
secret is looked for in it as it is, and as JSON, URIs, Python and base64 hold it.

All are looked for at once, however many there are. Text is read as words of four bytes. Of a secret in it
one of four words is among them, by where the secret begins. So Arrow looks up all words in a table, and only
where one of a secret's is found, bytes are compared.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote, quote_plus

from . import airflow_compat, config
from .address import Address
from .codecs import Look
from .codecs._json import dumps, is_unicode
from .errors import SecretInXCom

log = logging.getLogger(__name__)

LEAST = 8  # characters of a secret that is looked for; shorter ones occur in ordinary text
_WORD = 4  # bytes
_FACTOR = 2654435761  # spreads words over the table (Knuth, The Art of Computer Programming 3, 6.4)
_BLOCK = 2**15  # words that are looked up together
_FEW = 64  # words of a block that are compared one by one; of more, the secrets are searched for one by one
_SMALL = 2**17  # bytes for which it takes longer to load Arrow than to do without

_told: set[Address] = set()  # of which it was said already


def look_for(address: Address, *, refuses: bool = False) -> Look | None:
    """What looks at the value of a push, and `refuses` it or warns; None if there is nothing to look for.

    Raises `SecretInXCom` if the XCom's own key is to be refused.
    """
    finder = _finder(airflow_compat.masked())
    if not finder or (address in _told and not refuses):
        return None
    look = _Looking(finder, address, refuses)
    if finder.holds(address.key):
        look.address = replace(address, key="***")
        look.found("its key")
    return look


class _Looking:
    """Looks at one push, until something is found. `Look` describes it."""

    def __init__(self, finder: Finder, address: Address, refuses: bool) -> None:
        self._finder, self._refuses, self._is_done = finder, refuses, False
        self._pushed = self.address = address

    def holds(self, data: str | bytes | memoryview) -> bool:
        return not self._is_done and self._finder.holds(data)

    def found(self, place: str) -> None:
        self._is_done = True
        what = f"A secret that Airflow masks in its logs is in it: in {place}"
        if self._refuses:
            raise SecretInXCom(what, _ADVICE, address=self.address) from None
        _told.add(self._pushed)
        log.warning("%s (XCom %s). With %s=refuse it is not stored.", what, self.address, _VARIABLE)


_VARIABLE = config.SECRETS.variable
_ADVICE = (
    "Hand over the name of the connection or Variable, of which its consumer asks Airflow. If it is ordinary "
    f"text, {_VARIABLE}=warn lets it pass."
)


class Finder:
    """Finds secrets in text and bytes."""

    def __init__(self, secrets: Iterable[str]) -> None:
        long = [secret for secret in secrets if len(secret) >= LEAST]
        forms = {form for secret in long for form in (*_forms(secret), *_coded(secret))}
        self._patterns = _Patterns(forms)

    def __bool__(self) -> bool:
        return bool(self._patterns.all)

    def holds(self, data: str | bytes | memoryview) -> bool:
        """Whether one of them is in a text or bytes."""
        found = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        view, patterns = memoryview(found).cast("B"), self._patterns
        large = len(view) >= _SMALL or (len(view) >= _SMALL // 8 and "pyarrow" in sys.modules)
        return patterns.in_large(view) if large else patterns.in_small(view)


class _Patterns:
    """Bytes that are looked for together."""

    def __init__(self, patterns: Iterable[bytes]) -> None:
        self.all = sorted(patterns)
        self._longest = max(map(len, self.all), default=0)
        self._words: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
        # If all are long, every other word will do, which takes half the time.
        is_long = min(map(len, self.all), default=0) >= 3 * _WORD - 1 and sys.byteorder == "little"
        self._step = 2 * _WORD if is_long else _WORD
        for pattern in self.all:
            start = _rarest(pattern, self._step + _WORD - 1)
            for at in range(start, start + self._step):
                word = int.from_bytes(pattern[at : at + _WORD], sys.byteorder)
                self._words[word].append((at, pattern))
        # The smaller the table, the faster; in the larger one there are fewer words by chance.
        self._bits = 16 if len(self._words) < 64 else 17

    def in_small(self, view: memoryview) -> bool:
        """Whether one of them is there; for less than it takes to load Arrow."""
        words = view[: len(view) // _WORD * _WORD].cast("I")
        if self._words.keys().isdisjoint(words):
            return False
        return any(self._is_at(view, _WORD * i, word) for i, word in enumerate(words))

    def in_large(self, view: memoryview) -> bool:
        """Whether one of them is there. Asks Arrow."""
        import pyarrow as pa

        data, step, marked = pa.py_buffer(view), self._step, self._marked
        skipped = -data.address % step
        count = (len(view) - skipped) // step
        kind = pa.uint32() if step == _WORD else pa.uint64()
        words = pa.Array.from_buffers(kind, count, [None, data.slice(skipped)])
        for start in range(0, count, _BLOCK):
            marks = marked(words[start : start + _BLOCK])
            if b"\1" in marks and self._in_block(view, skipped + step * start, marks):
                return True
        end = skipped + step * count  # a word may be left
        return end + _WORD <= len(view) and self._is_at(view, end, self._word(view, end))

    def _in_block(self, view: memoryview, start: int, marks: bytes) -> bool:
        """Whether one is there where words are marked that may be of one."""
        step = self._step
        read = view[start : start + step * len(marks)].cast("I")
        marked = [match.start() * step for match in re.finditer(b"\1", marks)]
        words = self._words.keys() & {read[place // _WORD] for place in marked}
        if not words:
            return False
        if len(marked) <= _FEW:
            return any(self._is_at(view, start + place, read[place // _WORD]) for place in marked)
        # They stand there again and again.
        wanted = {one for word in words for _, one in self._words[word]}
        end = start + step * len(marks) + self._longest
        region = bytes(view[max(0, start - self._longest) : end])
        return any(pattern in region for pattern in wanted)

    @staticmethod
    def _word(view: memoryview, place: int) -> int:
        return int.from_bytes(view[place : place + _WORD], sys.byteorder)

    def _is_at(self, view: memoryview, place: int, word: int) -> bool:
        """Whether one stands where a word of it was read."""
        for at, pattern in self._words.get(word, ()):
            start = place - at
            if start >= 0 and view[start : start + len(pattern)] == pattern:
                return True
        return False

    @functools.cached_property
    def _marked(self) -> Callable[[Any], bytes]:
        """Tells of an array of words which may be of ours: a byte for each, 1 or 0."""
        import pyarrow as pa

        compute, width = _compute(), self._step
        table = bytearray(2**self._bits)
        for word in self._words:
            table[(word * _FACTOR & 0xFFFFFFFF) >> (32 - self._bits)] = 1
        places = pa.Array.from_buffers(pa.uint8(), len(table), [None, pa.py_buffer(bytes(table))])
        # Not `pa.scalar`, which imports pandas to ask whether a number is one of its values. Of two words at
        # a time, the product's upper half is that of the first of them alone.
        numbers = (_FACTOR << 8 * (width - _WORD), 8 * width - self._bits)
        buffer = pa.py_buffer(b"".join(number.to_bytes(width, sys.byteorder) for number in numbers))
        kind = pa.uint32() if width == _WORD else pa.uint64()
        factor, shift = pa.Array.from_buffers(kind, 2, [None, buffer])
        # By name, since their Python functions take longer than what they call.
        multiply, shift_right, take = map(compute.get_function, ("multiply", "shift_right", "take"))
        options = compute.TakeOptions(boundscheck=False)

        def marked(words: Any) -> bytes:
            found = take.call([places, shift_right.call([multiply.call([words, factor]), shift])], options)
            return bytes(found.buffers()[1].to_pybytes()[: len(words)])

        return marked


@functools.cache
def _compute() -> Any:
    """Arrow's functions. Its public module first makes a Python function of each, which takes 50 ms, in every
    task."""
    try:
        import pyarrow._compute as compute

        compute.get_function, compute.TakeOptions  # noqa: B018
    except (ImportError, AttributeError):
        import pyarrow.compute as compute
    return compute


@functools.lru_cache(1)
def _finder(masked: frozenset[str]) -> Finder:
    """Of regular expressions that `re.escape` has made."""
    return Finder(re.sub(r"\\(.)", r"\1", pattern, flags=re.DOTALL) for pattern in masked)


def _forms(secret: str) -> Iterator[bytes]:
    """What stands for a secret in a value, and in the JSON that is made of that."""
    for text in _texts(secret):
        yield text.encode("utf-8", "surrogatepass")
        if is_unicode(text):
            yield dumps(text)[1:-1]


def _texts(secret: str) -> Iterator[str]:
    """A secret itself; in JSON and in JSON in JSON, with other signs than ASCII's as they are or escaped; in
    URIs and forms; as Python shows it in a list or dict. Most secrets are the same in all of these."""
    yield secret
    if not is_unicode(secret):
        return
    for in_ascii in (False, True):
        inner = json.dumps(secret, ensure_ascii=in_ascii)[1:-1]
        yield inner
        yield json.dumps(inner, ensure_ascii=in_ascii)[1:-1]
    yield repr(secret)[1:-1]
    yield from (quote(secret, safe=""), quote(secret), quote(secret, safe=" +"), quote_plus(secret))


def _coded(secret: str) -> Iterator[bytes]:
    """What stands for it in base64, by how many bytes are before it, of three that become four characters;
    and in that of URIs and tokens."""
    raw = secret.encode("utf-8", "surrogatepass")
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + raw)
        part = coded[(8 * shift + 5) // 6 : 8 * (shift + len(raw)) // 6]
        yield from (part, part.replace(b"+", b"-").replace(b"/", b"_"))


def _rarest(pattern: bytes, span: int) -> int:
    """Where in it the words begin that are looked for: where it looks least like ordinary text. Wherever the
    words begin that are read, there is a whole one in so many bytes."""
    starts = range(len(pattern) - span + 1)
    return max(starts, key=lambda start: sum(map(_rarity, pattern[start : start + span])))


def _rarity(sign: int) -> int:
    return 0 if sign in b'abcdefghijklmnopqrstuvwxyz ".,:/_-' else 1 if sign in b"0123456789" else 2
