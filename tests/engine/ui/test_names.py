"""How a download is called, whatever a row or a key says."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import unquote

import pytest

from exclusive_xcom.address import Address, Attempt
from exclusive_xcom.reference import Encryption, Reference
from exclusive_xcom.ui import downloads

REF = Reference(
    Address.of("d", "r", "t", -1, "k"), Attempt(1, "x"), "file/1", "file", "text/csv", 1, "0" * 64
)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("x\r\nSet-Cookie: a=b", "x__Set-Cookie_ a=b"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..\\..\\boot.ini", "_.._boot.ini"),
        ('a".exe; filename="b', "a_.exe; filename=_b"),
        ("\u202egnp.exe", "_gnp.exe"),
        ("größe 日本.csv", "größe 日本.csv"),
        ("\ud800.csv", "_.csv"),
        ("C:\\x*?<>|", "C__x_____"),
        ("...", "payload"),
        ("", "payload"),
        ("%0d%0a''.csv", "%0d%0a''.csv"),
        ("n" * 5000 + ".parquet", "n" * 100 + ".parquet"),
        ("." + "e" * 5000, "e" * 120),
    ],
)
def test_a_name_steers_nothing(name: str, kept: str) -> None:
    header = downloads.disposition(name)
    whole = r"attachment; filename=\"[A-Za-z0-9._-]+\"; filename\*=UTF-8''[A-Za-z0-9._%~-]+"
    assert re.fullmatch(whole, header) and len(header) < 2000
    assert unquote(header.partition("UTF-8''")[2]) == kept


def test_what_has_no_name_is_called_by_its_xcom() -> None:
    of = replace(REF.address, map_index=2, key="../k")
    for media_type, ending in (
        ("application/zstd", ".json.zst"),
        ("image/png", ".png"),
        ("image/../x", ".bin"),
        ("text/html", ".bin"),
    ):
        name = downloads.name_of(replace(REF, media_type=media_type, address=of))
        assert name == f"d.t.2.../k{ending}"
        assert f'"d.t.2..._k{ending}"' in downloads.disposition(name)


def test_what_is_encrypted_or_for_few_is_given_to_nobody() -> None:
    assert downloads.why_not(REF) == ""
    assert "encrypted" in downloads.why_not(replace(REF, encryption=Encryption(1, "", "")))
    few = replace(REF, readers=("a.b", "c.*"), once=True)
    assert downloads.why_not(few) == "Its producer has it read by a.b and c.* alone."
