"""Names of objects tell whose payload they are: the whole address comes back, and no other one fits."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import re
import zlib
from dataclasses import replace
from typing import Any

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from s3_servers import configured

from exclusive_xcom.address import Address, Attempt
from exclusive_xcom.errors import UnsupportedValue
from exclusive_xcom.reference import Reference
from exclusive_xcom.s3.location import Location
from exclusive_xcom.s3.login import client_of
from exclusive_xcom.s3.names import KEY_LIMIT, is_own, metadata, object_name, whose
from exclusive_xcom.testing.payloads import ADDRESS, STRANGE, attempt, keep, payload

LOCATION = Location("s3://bucket/a/prefix", "s3", "bucket", "a/prefix")
NAME = re.compile(r"(?!\.+(?:/|$))[\w.@-]{1,200}(?:/(?!\.+(?:/|$))[\w.@-]{1,200})*", re.ASCII)
part = (
    st.sampled_from(STRANGE) | st.text(max_size=60) | st.from_regex(r"[@./=0-9A-F-]{0,250}", fullmatch=True)
)
addresses = st.builds(Address, part, part, part, st.integers(-1, 2000), part)


def recovered(name: str, told: dict[str, str]) -> Address:
    """The address, as who only sees the object can tell it."""
    if told:
        return Address(
            *json.loads(zlib.decompress(base64.b64decode(told["address"])).decode("utf-8", "surrogatepass"))
        )
    places: list[str] = []
    for piece in name.split("/"):
        if piece.startswith("@-"):
            places[-1] += piece[2:]
        else:
            places.append(piece)
    texts = [
        re.sub(rb"@([0-9A-F]{2})", lambda byte: bytes.fromhex(byte[1].decode()), place.encode())
        for place in ("" if place == "@" else place for place in places[:5])
    ]
    dag, run, task, index, key = (text.decode("utf-8", "surrogatepass") for text in texts)
    return Address(dag, run, task, int(index), key)


def ref_of(address: Address, writer: Attempt) -> Reference:
    """A reference, of which only these two count here."""
    return Reference(address, writer, "c", "k", "m", 1, "0" * 64, uri="u")


@given(addresses, addresses, st.sampled_from([None, "report.txt", "x" * 255, ".env"]))
def test_an_address_comes_back_and_no_other_fits(one: Address, other: Address, filename: str | None) -> None:
    writer = attempt()
    name = object_name(LOCATION, one, writer, payload([b""], filename=filename))
    assert NAME.fullmatch(name)
    assert len(f"a/prefix/{name}") <= KEY_LIMIT
    assert is_own(name, ref_of(one, writer))
    assert not is_own(name, ref_of(one, attempt()))
    if one != other:
        assert not is_own(name, ref_of(other, writer))
    with contextlib.suppress(UnsupportedValue):  # refused, see below
        told = metadata(name, one)
        assert recovered(name, told) == one
        assert whose(name, lambda: told) == (one, writer.ti_id, name.split("/")[-1 - bool(filename)][:53])
        if told:
            assert whose(name, dict) is None, "a folder keeps no metadata"


@pytest.mark.parametrize(
    "address",
    [ADDRESS, *(replace(ADDRESS, key=text) for text in ("x" * 512, "数" * 250, "." * 300 + "x", "a/@-b"))],
    ids=lambda address: address.key[:10],
)
def test_an_object_tells_its_address(moto: str, address: Address) -> None:
    """From a server: by its name, or by its metadata where the name had to be cut."""
    with configured(moto) as store:
        ref = keep(store, [b"value"], address)
        assert bytes(store.fetch(ref)) == b"value"
        name = (ref.uri or "").removeprefix(f"{_here().url}/")
        found: dict[str, Any] = dict(obstore.get(client_of(_here()).store(), name).attributes)
        assert recovered(name, {key: text for key, text in found.items() if key == "address"}) == address


@pytest.mark.parametrize(
    "name",
    [
        "",
        "file.csv",
        "d/r/t/-1/k/no-task-0123456789abcde",  # a digit less
        "d/r/t/one/k/no-task-0123456789abcdef",
        "d/r/t/01/k/no-task-0123456789abcdef",
        "d/r/t/-1/no-task-0123456789abcdef",
        "prefix/d/r/t/-1/k/no-task-0123456789abcdef",
        "d/r/t/-1/k/no-task-0123456789abcdef/a/b",
        "d/r/t@41/-1/k/no-task-0123456789abcdef",  # not how an A is written
        "d/r/@FF@FE/-1/k/no-task-0123456789abcdef",
        ".d/r/t/-1/k/no-task-0123456789abcdef",
        "d/r/t/-1/k/@.0123456789abcdef0123456789abcdef/no-task-0123456789abcdef",
    ],
)
@pytest.mark.parametrize(
    "told", [{}, {"address": "AAAA"}, {"address": "?"}, {"address": "eJyLNtIx1jHRMdUxiwUADxQCnQ=="}]
)
def test_what_no_payload_is_called_is_nobodys(name: str, told: dict[str, str]) -> None:
    assert whose(name, lambda: told) is None


NONCE = "0123456789abcdef"


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        # Whose names begin with the other one's prefix, and what of it the other one then reads.
        (None, Address("dag", "run", "5", -1, f"x-{NONCE}")),
        (Address("sub", "run", "task", -1, "7"), None),
    ],
)
@pytest.mark.parametrize(
    "filename", [None, f"part-{NONCE}.csv", f"-{NONCE}", "x" * 300, f"{'x' * 300}-{NONCE}"]
)
def test_a_prefix_inside_of_another_has_no_names_that_both_can_read(
    outer: Address | None, inner: Address | None, filename: str | None
) -> None:
    name = object_name(LOCATION, outer or inner or ADDRESS, attempt(), payload([b""], filename=filename))
    assert whose(name, dict) is not None
    seen = f"sub/{name}" if inner else name.removeprefix("sub/")
    assert whose(seen, dict) is None, "a collection would ask the wrong Airflow for it"


@given(
    addresses, st.sampled_from(["sub", "1", f"x-{NONCE}", "a/b"]), st.sampled_from([None, f"x-{NONCE}", "f"])
)
def test_no_name_is_read_with_a_part_more_or_less(one: Address, prefix: str, filename: str | None) -> None:
    name = object_name(LOCATION, one, attempt(), payload([b""], filename=filename))
    told = metadata(name, one) if len(name) < 900 else {}
    assert whose(f"{prefix}/{name}", lambda: told) is None
    assert whose(name.partition("/")[2], lambda: told) is None


def test_names_that_no_metadata_can_hold_are_refused(moto: str) -> None:
    chance = random.Random(0)
    names = ("".join(chr(chance.randrange(0x4E00, 0x9FFF)) for _ in range(250)) for _ in range(3))
    endless = Address(*names)
    with (
        configured(moto) as store,
        pytest.raises(UnsupportedValue, match="Give its DAG, run, task or key a sho"),
    ):
        keep(store, [b"value"], endless)


def _here() -> Location:
    location = Location.current()
    assert location is not None
    return location
