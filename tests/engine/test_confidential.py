"""Secrets are found in whatever is pushed, and told by place alone."""

from __future__ import annotations

import base64
import collections
import dataclasses
import importlib
import json
import logging
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.log import mask_secret
from airflow_versions import row_of
from PIL import Image

from exclusive_xcom import airflow_compat, confidential, exclusive, lazy
from exclusive_xcom.address import Address
from exclusive_xcom.codecs import LOOKED_AT, Options, encoded
from exclusive_xcom.confidential import Finder
from exclusive_xcom.db import DbXComBackend
from exclusive_xcom.errors import SecretInXCom, UnsupportedValue
from exclusive_xcom.inspection import probe

PLAIN = "correct-horse-9"
ODD = 'ärger "x\\y"\n9X'  # JSON, URIs and base64 write it in ways of their own
WHOSE = {"dag_id": "orders", "run_id": "run 1", "task_id": "extract", "map_index": -1}


@dataclasses.dataclass
class Login:
    """Comes back as it is."""

    user: str
    word: Any


Pair = collections.namedtuple("Pair", ["user", "word"])


@pytest.fixture(autouse=True)
def masked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two secrets that this process has seen, and what is said of them is not said yet."""
    monkeypatch.setenv("AIRFLOW__XCOM__SECRETS", "refuse")
    monkeypatch.setattr(airflow_compat, "class_allowed", lambda name: True)
    masker: Any = importlib.import_module(airflow_compat._MASKER)._secrets_masker()
    before = set(masker.patterns), masker.replacer
    for secret in (PLAIN, ODD, "short-7"):
        mask_secret(secret)
    yield
    masker.patterns, masker.replacer = before
    confidential._told.clear()


def push(value: Any, key: str = "value") -> Any:
    """The row of a pushed value."""
    return row_of(DbXComBackend, key, value, **WHOSE)


def place(value: Any) -> str:
    """Where it is told to be, by an error that says no secret, in whatever form."""
    with pytest.raises(SecretInXCom) as caught:
        push(value)
    error: Any = caught.value
    said = f"{error!s} {error!r} {error.args} {error.__cause__!r} {error.__context__!r}"
    for secret in (PLAIN, ODD, repr(ODD)[1:-1], base64.b64encode(ODD.encode()).decode()[:-4]):
        assert secret not in said
    assert "(XCom 'value' of orders.extract, run run 1)" in str(error)
    before, _, found = error.what.partition(": in ")
    assert before == "A secret that Airflow masks in its logs is in it"
    return str(found)


def frame(column: Any) -> Any:
    return pd.DataFrame({"a": range(len(column)), "b": column})


@pytest.mark.parametrize("secret", [PLAIN, ODD], ids=["plain", "odd"])
@pytest.mark.parametrize(
    ("hold", "where"),
    [
        (lambda s: s, "the whole of it"),
        (lambda s: f"https://u:{s}@host", "the whole of it"),
        (lambda s: f"https://u:{quote(s, safe='')}@host", "the whole of it"),
        (lambda s: json.dumps({"password": s}, ensure_ascii=False), "the whole of it"),
        (lambda s: json.dumps({"password": s}), "the whole of it"),
        (lambda s: json.dumps(json.dumps({"password": s})), "the whole of it"),
        (lambda s: [repr({"password": s})], "item 1"),
        (lambda s: urlencode({"password": s}), "the whole of it"),
        (lambda s: {"Authorization": f"Basic {base64.b64encode(f'me:{s}'.encode()).decode()}"}, "entry 1"),
        (lambda s: base64.urlsafe_b64encode(f'{{"password": {s}'.encode()).decode(), "the whole of it"),
        (lambda s: {"a": 1, "b": [1, {"c": s}]}, "entry 2, item 2, entry 1"),
        (lambda s: {s: 1}, "the name of entry 1"),
        (lambda s: (1, {2: s}), "item 2, entry 1"),
        (lambda s: (1, {(s, 2): 2}), "item 2, the name of entry 1, item 1"),
        (lambda s: [{s}], "item 1, item 1"),
        (lambda s: collections.deque([1, s]), "item 2"),
        (lambda s: Login("me", s), "field 2"),
        (lambda s: [Login("me", [0, s])], "item 1, field 2, item 2"),
        (lambda s: Pair("me", s), "item 2"),
        (lambda s: s.encode(), "the content of the bytes"),
        (lambda s: bytearray(b"x" * 70_000 + s.encode()), "the content of the bytearray"),
        (lambda s: [0, b"x" + s.encode()], "item 2"),
        (lambda s: [0, b"xy" + s.encode() + b"z"], "item 2"),
        (lambda s: [0, {"a": b"x" * 5000 + s.encode()}], "item 2, entry 1, the content of the bytes"),
        (lambda s: f"{s}\ud800", "the whole of it"),
        (lambda s: frame(["x", f"a {s}", "z"]), "column 2, row 2"),
        (lambda s: [0, {"f": frame([s])}], "item 2, entry 1, column 2, row 1"),
        (lambda s: frame([1, ("x", s), None]), "column 2, row 2"),
        (lambda s: frame([1, {"x": s.encode()}, None]), "column 2, row 2"),
        (lambda s: pd.DataFrame({"a": [1]}, index=[s]), "column 2, row 1"),
        (lambda s: pd.Series(["a", s, "a"], dtype="category"), "column 1, category 2"),
        (lambda s: pd.Series(["x", s]), "column 1, row 2"),
        (lambda s: pd.DataFrame({s: [1]}), "the names of columns and what is noted of them"),
        (lambda s: pl.DataFrame({"a": [1, 2], "b": ["x", s]}), "column 2, row 2"),
        (lambda s: pl.Series(["x", s]), "column 1, row 2"),
        (lambda s: pa.table({"a": [["x", s], []]}), "column 1, row 1"),
        (lambda s: pa.table({"a": [{"b": "x"}, {"b": s}]}), "column 1, row 2"),
        (lambda s: pa.table({"a": [[], [("k", s)]]}, pa.schema([("a", pa.map_("string", "string"))])),
         "column 1, row 2"),
        (lambda s: pa.table({"a": pa.array(["x", s], pa.string_view())}), "column 1, row 2"),
        (lambda s: pa.table({"a": pa.array(["x", s]).slice(1)}), "column 1, row 1"),
        (lambda s: pa.table({"a": pa.array([b"x", s.encode()])}), "column 1, row 2"),
        (lambda s: pa.table({"a": pa.array([s.encode()], pa.binary(len(s.encode())))}), "column 1, row 1"),
        (lambda s: pa.array(["x", "y", s]), "column 1, row 3"),
        (lambda s: np.array([["x", s], ["y", "z"]]), "item 1, item 2"),
        (lambda s: np.array(["x", s]).astype(">U20"), "item 2"),
        (lambda s: np.array([b"x", s.encode()]), "item 2"),
        (lambda s: np.array([(1, "x"), (2, s)], dtype=[("a", "i4"), ("b", "U20")]), "item 2"),
        (lambda s: lazy({"a": s}), "entry 1"),
        (lambda s: exclusive([s], readers=["a.b"]), "item 1"),
    ],
)  # fmt: skip
def test_it_is_told_by_position(secret: str, hold: Callable[[str], Any], where: str) -> None:
    assert place(hold(secret)) == where


@pytest.mark.parametrize("form", ["arrow", "parquet", "packed"])
def test_in_each_format_of_frames(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__XCOM__FRAME_FORMAT", form)
    texts = ["x" * 1000] * 30_000 + [PLAIN]  # several batches, the secret in the last one
    assert place(frame(texts)) == "column 2, row 30001"
    assert place(pl.DataFrame({"a": texts})) == "column 1, row 30001"


def test_in_long_lists() -> None:
    records = [{"number": n, "text": "x" * 100} for n in range(20_000)]
    assert place([*records, {"number": 0, "text": ODD}]) == "item 20001, entry 2"
    tuples = [(n, "x" * 100) for n in range(20_000)]
    assert place([*tuples, (0, ODD), *tuples]) == "item 20001, item 2"
    assert place({"rows": [*records, {"text": ODD}]}) == "entry 1, item 20001, entry 1"
    assert place([0, (*records, PLAIN)]) == "item 2, item 20001"


def test_in_files(tmp_path: Path) -> None:
    def file(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    far = b"\n" * (LOOKED_AT // 2 - 5)
    assert place(file("a.txt", far + PLAIN.encode())) == "the content of the file"  # across pieces of reading
    assert place([file("a.txt", PLAIN.encode())]) == "item 1, the content of the file"
    assert place(file(f"{PLAIN}.txt", b"1")) == "the name of the file"
    beyond = file("b.txt", b"\n" * LOOKED_AT + PLAIN.encode())
    encoded(beyond, Options(look=confidential.look_for(Address("d", "r", "t", -1, "k"))))


def test_in_what_a_codec_of_ones_own_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "codec_of_reports.py").write_text(
        "from exclusive_xcom.codecs import Payload\n"
        "class Report: pass\n"
        "class CODEC:\n"
        "    name = 'report'\n"
        "    def accepts(self, value): return isinstance(value, Report)\n"
        "    def encode(self, value, options):\n"
        "        return Payload('report', 'report', 'text/plain', '.txt', [b'correct', b'-horse-9'])\n"
        "    def decode(self, content, meta, options): return Report()\n"
        "CODEC = CODEC()\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("AIRFLOW__XCOM__CODECS", "codec_of_reports")
    module = importlib.import_module("codec_of_reports")
    assert place(module.Report()) == "the content of the report"
    assert place({"a": module.Report()}) == "entry 1, the content of the report"


def test_what_is_ordinary_passes() -> None:
    """Numbers, images, texts that have it only between them, and secrets of fewer than 8 characters."""
    image = Image.frombytes("L", (len(PLAIN), 1), PLAIN.encode())
    halves = [PLAIN[:7], PLAIN[7:]]
    for value in (
        image,
        halves,
        pa.table({"a": halves}),
        frame(halves),
        np.array([half.ljust(8, "-")[:8] for half in halves]),
        "short-7",
        (1, None, 2.5),
        [],
        {},
        "",
        np.array([], dtype="U5"),
        pa.table({"a": pa.array([], pa.string())}),
    ):
        push(value)


@pytest.mark.parametrize("more", [{}, {"at": datetime(2026, 1, 1)}], ids=["plain", "tagged"])
@pytest.mark.parametrize("at", [0, 30_000, 39_999])
def test_in_a_list_that_is_written_in_frames(more: dict[str, Any], at: int) -> None:
    items = [{"number": number, "text": "x" * 60, **more} for number in range(40_000)]
    look = confidential.look_for(Address("d", "r", "t", -1, "k"), refuses=True)
    assert encoded(items, Options(look=look)).codec == "items/1"
    items[at]["text"] = f"a {ODD}"
    with pytest.raises(SecretInXCom) as caught:
        encoded(items, Options(look=look))
    assert f"in item {at + 1}, entry 2 " in f"{caught.value} "


def test_digits_in_numbers_are_none() -> None:
    mask_secret("123456789")
    push([123456789, 0.123456789, {"a": 1234567890}])
    assert place(["123456789"]) == "item 1"


def test_a_secret_across_json_s_own_signs_is_none() -> None:
    mask_secret('","a":"')
    push({"b": "", "a": ""})
    push([{"b": "", "a": ""}] * 2)


def test_the_key_itself(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SecretInXCom) as caught:
        push(1, f"a {PLAIN}")
    assert PLAIN not in str(caught.value)
    assert "is in it: in its key (XCom '***' of orders.extract" in str(caught.value)
    monkeypatch.setenv("AIRFLOW__XCOM__SECRETS", "warn")
    caplog.clear()
    push(1, f"a {PLAIN}")
    (line,) = (record for record in caplog.records if record.name.endswith("confidential"))
    assert PLAIN not in line.getMessage()


def test_branching_too() -> None:
    with pytest.raises(SecretInXCom, match="entry 1, item 1"):
        push({"followed": [PLAIN]}, "skipmixin_key")


def test_airflow_does_not_try_again() -> None:
    with pytest.raises(AirflowFailException) as caught:
        push(PLAIN)
    assert isinstance(caught.value, SecretInXCom)
    assert str(caught.value).endswith("If it is ordinary text, AIRFLOW__XCOM__SECRETS=warn lets it pass.")


def test_warned_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__XCOM__SECRETS")  # the default
    caplog.set_level(logging.WARNING)
    value = [{"a": PLAIN}, {"a": ODD}, frame([PLAIN])]
    for _ in range(2):
        assert push(value)["codec"] == "structured/1"
    assert push(PLAIN) == PLAIN
    assert caplog.messages == [
        "A secret that Airflow masks in its logs is in it: in item 1, entry 1 (XCom 'value' of "
        "orders.extract, run run 1). With AIRFLOW__XCOM__SECRETS=refuse it is not stored."
    ]
    push(PLAIN, "another")
    assert len(caplog.messages) == 2
    assert PLAIN not in caplog.text


def test_allowed(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the file is not even imported."""
    monkeypatch.setenv("AIRFLOW__XCOM__SECRETS", "allow")
    monkeypatch.setitem(sys.modules, "exclusive_xcom.confidential", None)
    monkeypatch.delattr("exclusive_xcom.confidential")
    push([PLAIN, (ODD,)])
    push(PLAIN)
    assert "secret" not in caplog.text


def test_a_look_at_much_imports_arrow_alone() -> None:
    """A task is a new process. pandas takes a third of a second, Arrow's Python functions 50 ms."""
    code = (
        "import sys; from exclusive_xcom.confidential import Finder; "
        "assert not Finder(['a secret of ours']).holds(bytes(10**6)); "
        "print({'pyarrow', 'pyarrow.compute', 'pandas'} & {*sys.modules})"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "{'pyarrow'}\n"


def test_what_is_refused_anyway_says_why() -> None:
    with pytest.raises(UnsupportedValue):
        push([object(), PLAIN])


def test_probe_tells_what_is_done(airflow: None) -> None:
    assert [check.detail for check in probe() if check.name == "secrets"] == ["refuse"]


# -- the search -------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [100, 2**15, 3 * 2**18])
def test_it_is_found_wherever_it_begins(length: int) -> None:
    """In short texts, which Arrow is not asked about, and across the borders of blocks in long ones."""
    rng = random.Random(7)
    secrets = ["X9k#mQ2z", "a-long-one-of-words", "postgres"]
    finder, text = Finder(secrets), "".join(rng.choices("abcdefgh ", k=length))
    border = 4 * confidential._BLOCK
    starts = [*range(9), *range(length - 28, length - 19), length // 2 + 1]
    starts += range(border - 20, border + 4) if length > border else []
    assert not finder.holds(text)
    for secret in secrets:
        for start in starts:
            held = (text[:start] + secret + text[start + len(secret) :]).encode()
            assert finder.holds(held), (secret, start)
            for skipped in range(4 if start < 4 else 0):  # whatever the address of its first byte
                assert finder.holds(memoryview(b"\0" * skipped + held)[skipped:]), (secret, start, skipped)
        assert finder.holds(text[: -len(secret)] + secret)
        assert not finder.holds(text[: -len(secret) + 1] + secret[:-1])


@pytest.mark.parametrize("repeats", [10, 30_000])
def test_words_that_stand_there_again_and_again(repeats: int) -> None:
    """As those of a secret that looks like the text around it."""
    finder = Finder(["post-office"])
    text = "post-offic, post_office;" * repeats
    assert not finder.holds(text)
    assert finder.holds(f"{text}post-office{text}")
    assert finder.holds(f"{text}post-office")


def test_many_secrets_are_looked_for_together() -> None:
    rng = random.Random(7)
    secrets = [f"{rng.getrandbits(80):020x}" for _ in range(500)]
    finder, text = Finder(secrets), f"{rng.getrandbits(8 * 400_000):x}"
    assert not finder.holds(text)
    for secret in secrets[::50]:
        assert finder.holds(text + secret)
        coded = base64.b64encode(b"user:" + secret.encode()).decode()
        assert finder.holds(text + coded)


def test_none_are_looked_for_when_there_are_none() -> None:
    assert not Finder(["short", "1234567"])
    assert Finder(["12345678"])


def test_a_buffer_that_was_no_bytes() -> None:
    held = np.frombuffer(b"xx" + PLAIN.encode().ljust(62), "i8")
    assert Finder([PLAIN]).holds(held.data)
