"""What a row holds of a stored value: it comes back as it was, and nothing in it is trusted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exclusive_xcom.address import Address, Attempt
from exclusive_xcom.errors import BadReference
from exclusive_xcom.reference import Reference, inline, is_reference, parse

SHA256 = "0123456789abcdef" * 4
ADDRESS = Address("orders", "manual__2026-01-02T03:04:05+00:00", "extract", 3, "frame")
STORED = Reference(
    address=ADDRESS,
    attempt=Attempt(2, "019a2c3e-0000-7000-8000-000000000000"),
    codec="pandas",
    kind="pandas DataFrame",
    media_type="application/vnd.apache.arrow.file",
    length=123,
    sha256=SHA256,
    summary="1,000 rows × 4 columns",
    uri="s3://bucket/xcom/orders/frame.arrow",
    filename="frame.arrow",
    lazy=True,
    meta={"nested": [1, 2.5, {"a": None}]},
)

text = st.text(max_size=20)
word = st.text(min_size=1, max_size=20)
references = st.builds(
    Reference,
    address=st.builds(Address, text, text, text, st.integers(-1, 2**31), text),
    attempt=st.builds(Attempt, st.integers(0, 2**31), text),
    codec=word,
    kind=word,
    media_type=word,
    length=st.integers(1, 2**63 - 1),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    summary=text,
    uri=word,
    filename=st.none() | word,
    lazy=st.booleans(),
    meta=st.dictionaries(text, st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text),
)


def as_database(row: Any) -> Any:
    """A row as it comes back: as JSON, with the keys of its objects in an order of the database's own."""
    return json.loads(json.dumps(row, allow_nan=False, sort_keys=True))


@given(references)
def test_comes_back(reference: Reference) -> None:
    row = as_database(reference.row())
    assert is_reference(row)
    assert parse(row) == reference


@given(st.binary(max_size=200))
def test_a_payload_inside_comes_back(payload: bytes) -> None:
    row = Reference(
        ADDRESS,
        Attempt(),
        "bytes",
        "bytes",
        "application/octet-stream",
        len(payload),
        SHA256,
        data=inline("application/octet-stream", payload),
    ).row()
    assert parse(as_database(row)).inline_bytes() == payload


def test_airflow_s_page_shows_first_what_a_person_looks_for() -> None:
    assert list(STORED.row())[:4] == ["kind", "summary", "length", "uri"]


def test_json_inside_stays_legible() -> None:
    payload = '{"größe": 1}'.encode()
    data = inline("application/json", payload)
    assert data == '{"größe": 1}'
    reference = Reference(ADDRESS, Attempt(), "c", "k", "application/json", len(payload), SHA256, data=data)
    assert reference.inline_bytes() == payload


def test_what_is_for_people_is_always_text_that_a_database_takes() -> None:
    """A file's name may hold bytes that are no UTF-8, which Python shows as half surrogate pairs."""
    name = b"r\xe9sum\xe9.txt".decode(errors="surrogateescape")
    row = Reference(
        ADDRESS, Attempt(), "file", "file", "text/plain", 1, SHA256, name, "s3://b/k", None, name
    ).row()
    json.dumps(row, ensure_ascii=False).encode()
    assert row["filename"] == row["summary"] == "r?sum?.txt"


@pytest.mark.parametrize(
    "row", [None, 1, "$xcom", ["$xcom"], {}, {"xcom": "3"}, {"value": {"$xcom": "3"}}], ids=repr
)
def test_other_rows_are_no_references(row: Any) -> None:
    assert not is_reference(row)


ALWAYS_WRONG = [None, True, 1.5, ["x"], {"a": "b"}]
NOT_TEXT = [*ALWAYS_WRONG, 7]
NOT_WHOLE = [*ALWAYS_WRONG, "7", -2, 1e308]
FORGED = [
    *[("$xcom", value) for value in [None, 1, 1.0, 3, True, "1", "2", "4", "", ["3"], {"3": "3"}]],
    *[(field, value) for field in ("codec", "kind", "media_type", "summary") for value in NOT_TEXT],
    *[(field, value) for field in ("uri", "filename") for value in NOT_TEXT if value is not None],
    *[("length", value) for value in [*NOT_WHOLE, -1, 2**63, 10**400]],
    *[
        ("sha256", value)
        for value in [*NOT_TEXT, "", SHA256[1:], SHA256 + "0", SHA256.upper(), SHA256 + "\n", "g" * 64]
    ],
    *[
        ("meta", value)
        for value in [*NOT_TEXT, "", "{", "[]", "null", "1", '"x"', "[" * 100_000, "1" * 10_000]
    ],
    *[("data", value) for value in [*NOT_TEXT[1:], "both a uri and data"]],
    *[(field, value) for field in ("address", "attempt") for value in [None, True, 1, "x", ["x"]]],
    ("address", {}),
    *[
        ("must", value)
        for value in [None, *ALWAYS_WRONG[1:3], "encryption", [1], ["encryption"], ["meta", "x"]]
    ],
    *[(("address", field), value) for field in ("dag_id", "run_id", "task_id", "key") for value in NOT_TEXT],
    *[(("address", "map_index"), value) for value in NOT_WHOLE],
    *[(("attempt", "try_number"), value) for value in [*NOT_WHOLE, -1]],
    *[(("attempt", "ti_id"), value) for value in NOT_TEXT],
]


@pytest.mark.parametrize(("field", "value"), FORGED, ids=lambda part: repr(part)[:40])
def test_a_forged_field_is_refused(field: str | tuple[str, str], value: Any) -> None:
    row = as_database(STORED.row())
    assert parse(row) == STORED
    if isinstance(field, tuple):
        outer, inner = field
        row[outer][inner] = value
    else:
        row[field] = value
    with pytest.raises(BadReference):
        parse(row)


@pytest.mark.parametrize("field", ["address", "codec", "kind", "media_type", "sha256", "uri"])
def test_a_missing_field_is_refused(field: str) -> None:
    row = as_database(STORED.row())
    del row[field]
    with pytest.raises(BadReference):
        parse(row)


def test_an_error_says_what_to_do() -> None:
    with pytest.raises(BadReference) as caught:
        parse({**STORED.row(), "$xcom": "1"})
    assert str(caught.value) == (
        "The row is a reference of version '1'; this project reads version '3'. "
        "It was written by another release of exclusive-xcom, or by hand. Bring all workers to the same "
        "release, and run the task that pushed it again."
    )
    with pytest.raises(BadReference) as caught:
        parse({**STORED.row(), "length": "7"})
    assert str(caught.value) == (
        "The row is not a well-formed reference (ValidationError: Expected `int`, got `str` - "
        "at `$.length`). It was changed by hand or by another program. Run the task that pushed it again."
    )


def test_what_has_to_be_understood_is_named() -> None:
    """A newer release's row: an older worker would hand out what later has declared readers."""
    row = {**as_database(STORED.row()), "readers": ["load"], "encryption": {"key": "k"}}
    with pytest.raises(BadReference) as caught:
        parse({**row, "must": ["readers", "encryption"]})
    assert str(caught.value) == (
        "The row needs 'encryption', 'readers', which this release does not know. "
        "A newer release of exclusive-xcom wrote it. Bring this worker to that release."
    )


def test_what_need_not_be_understood_is_ignored() -> None:
    row = as_database(STORED.row())
    assert parse({**row, "preview": [[1, 2]], "must": []}) == STORED


@pytest.mark.parametrize("data", ["not base64!", "a", "äöü", "\ud800"])
def test_data_that_is_no_payload_is_refused(data: str) -> None:
    reference = Reference(ADDRESS, Attempt(), "bytes", "bytes", "image/png", 1, SHA256, data=data)
    with pytest.raises(BadReference, match="not base64"):
        reference.inline_bytes()


def test_text_that_is_no_text_is_refused() -> None:
    reference = Reference(ADDRESS, Attempt(), "c", "k", "application/json", 1, SHA256, data="\ud800")
    with pytest.raises(BadReference, match="not text"):
        reference.inline_bytes()


def test_an_empty_payload_needs_no_data() -> None:
    reference = Reference(
        ADDRESS, Attempt(), "bytes", "bytes", "application/octet-stream", 0, SHA256, data=""
    )
    row = as_database(reference.row())
    assert parse(row).inline_bytes() == b""
    with pytest.raises(BadReference):
        parse({**row, "length": 1})
