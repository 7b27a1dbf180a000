"""What any release stored is read as the same value, and what this one stores has the form that it names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import golden
import pytest

from exclusive_xcom.codecs import FRAME_FORMATS, OURS, codec_named
from exclusive_xcom.encryption import content_of, opened
from exclusive_xcom.reference import parse
from exclusive_xcom.store import store_of
from exclusive_xcom.testing.identical import identical

AGAIN = (
    "What is stored of this value has another form than in {}. If that was not intended, it is a mistake: "
    "released workers would read it as another value, or not at all. If it was: give the codec a new `form` "
    "and keep what reads the former one (MAINTAINING.md), then run `make golden`."
)


def newest() -> dict[str, tuple[Path, dict[str, Any]]]:
    """By case, the row of the last release that has it."""
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    for row in sorted(golden.files(), key=lambda row: [int(part) for part in row.parent.name.split(".")]):
        told = json.loads(row.read_text(encoding="utf-8"))
        found[told["case"]] = row, told
    return found


def entries(row: dict[str, Any]) -> dict[str, Any]:
    """Those of a row that do not depend on the payload's bytes."""
    kept = {name: entry for name, entry in row.items() if name not in ("length", "sha256")}
    return kept | {"meta": golden.without_digests(json.loads(row.get("meta", "{}")))}


@pytest.mark.parametrize(
    "row", golden.files(), ids=lambda row: f"{row.parent.name}-{row.name.removesuffix('.row.json')}"
)
def test_it_is_read_as_the_same_value(row: Path) -> None:
    case = json.loads(row.read_text(encoding="utf-8"))["case"]
    assert identical(golden.value_of(row), golden.CASES[case][0]())


@pytest.mark.parametrize("case", golden.CASES)
def test_what_is_stored_has_the_form_that_it_had(case: str) -> None:
    row, told = newest()[case]
    payload, data, ref = golden.made(case)
    assert golden.fingerprint(payload, data) == told["fingerprint"], AGAIN.format(row.parent.name)
    assert entries(json.loads(json.dumps(ref.row()))) == entries(told["row"]), AGAIN.format(row.parent.name)


@pytest.mark.parametrize("file", golden.encrypted_files(), ids=lambda file: file.parent.name)
def test_what_was_encrypted_is_decrypted(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads(file.read_text(encoding="utf-8"))
    (keyset := tmp_path / "keyset.json").write_text(json.dumps(found["keyset"]), encoding="utf-8")
    keyset.chmod(0o600)
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_FILE", str(keyset))
    for case, row in found["rows"].items():
        ref = parse(row)
        told = opened(ref)
        make, options = golden.CASES[case]
        value = codec_named(told.codec, options).decode(content_of(ref, store_of(ref)), told.meta, options)
        assert identical(value, make())


def test_what_is_encrypted_has_the_form_that_it_had(tmp_path: Path) -> None:
    """Its entries; of the bytes, Tink's own tests say it."""
    golden.write_encrypted(tmp_path)
    now = json.loads((tmp_path / "encrypted.json").read_text(encoding="utf-8"))
    then = json.loads(golden.encrypted_files()[-1].read_text(encoding="utf-8"))
    changing = ("data", "length", "sha256", "encryption")
    for case, row in then["rows"].items():
        assert row.keys() == now["rows"][case].keys()
        assert row["encryption"].keys() == now["rows"][case]["encryption"].keys()
        for name in row.keys() - {*changing}:
            assert row[name] == now["rows"][case][name]


def test_nothing_is_left_out() -> None:
    """Neither a codec nor a format of frames; and it stays small."""
    rows = [told["row"] for _, told in newest().values()]
    assert {row["codec"].partition("/")[0] for row in rows} == {*OURS}
    for codec in ("arrow", "frame_pandas", "frame_polars"):
        for form in FRAME_FORMATS:
            assert any(name.startswith(codec) and name.endswith(form) for name in golden.CASES)
    size = sum(path.stat().st_size for path in golden.FOLDER.rglob("*") if path.is_file())
    assert size < 2**20 * len(list(golden.FOLDER.iterdir()))
