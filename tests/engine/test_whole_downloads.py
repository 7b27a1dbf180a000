"""Payloads that whole tasks have pushed, as the pages give them to a person.

As test_tasks.py, this is run by test_backends.py with each backend.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import unquote

import pytest
from airflow.models import Log
from airflow.sdk import dag, get_current_context, task
from airflow.utils.session import create_session
from sqlalchemy import select

from exclusive_xcom import errors, exclusive, inspection, keep
from exclusive_xcom.address import Address
from exclusive_xcom.reference import Reference, parse
from exclusive_xcom.store import store_of
from exclusive_xcom.ui import downloads

pytestmark = pytest.mark.usefixtures("airflow")

SMALL = b"a,b\n1,2\n" * 1000
LARGE = 0 if os.environ["XCOM_TEST_BACKEND"] == "db" else 40 * 2**20  # bytes; a row has no pieces
NAME = 'orders; "of" größe 100%.csv'
USER = SimpleNamespace(get_name=lambda: "ada\r\nmallory")


@dag(schedule=None)
def given_away() -> None:
    """Each key is another case."""

    @task
    def one() -> None:
        push = get_current_context()["ti"].xcom_push
        (file := Path(os.environ["GIVEN_FOLDER"]) / NAME).write_bytes(SMALL)
        push("file", file)
        push("few", exclusive(SMALL, readers=["given_away.two"]))
        push("over", keep(SMALL, "1s"))
        push("large", os.urandom(LARGE))
        push("gone", SMALL)
        push("bytes", SMALL)

    one()


GIVEN = given_away()


@pytest.fixture(scope="module")
def run_id(airflow: None, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The run that pushed them."""
    shutil.copy(__file__, bundle / "given_away.py")
    before = dict(os.environ)
    os.environ["GIVEN_FOLDER"] = str(tmp_path_factory.mktemp("given"))
    run = GIVEN.test()
    os.environ.clear()
    os.environ.update(before)
    assert run.state == "success"
    return str(run.run_id)


def asked(run_id: str, key: str) -> Address:
    """The address of a key."""
    return Address.of("given_away", run_id, "one", -1, key)


def row_of(run_id: str, key: str) -> Reference:
    """What its row refers to."""
    return parse(inspection.find("given_away", "one", key, run_id=run_id).stored)


def sent(answer: Any) -> bytes:
    """The body that a browser gets."""

    async def read() -> bytes:
        return b"".join([bytes(piece) async for piece in cast("AsyncIterator[bytes]", answer.body_iterator)])

    return asyncio.run(read())


def refused(run_id: str, key: str) -> tuple[int, str]:
    """The status and the words."""
    with pytest.raises(downloads.NotGiven) as raised:
        downloads.given(USER, asked(run_id, key))
    return raised.value.status_code, str(raised.value.detail)


def test_the_bytes_are_those_that_lie_in_the_store(run_id: str) -> None:
    for key in ("file", "bytes"):
        answer = downloads.given(USER, asked(run_id, key))
        assert sent(answer) == SMALL and answer.headers["content-length"] == str(len(SMALL))
        assert answer.headers["content-type"] == "application/octet-stream"
        assert "sandbox" in answer.headers["content-security-policy"]


def test_a_large_one_comes_in_pieces_and_is_whole(run_id: str) -> None:
    answer = downloads.given(USER, asked(run_id, "large"))
    assert len(sent(answer)) == LARGE


def test_what_is_wrong_at_its_end_never_comes_whole(run_id: str) -> None:
    """Nor does it when it is small, and then nothing of it comes."""
    for key, most in (("large", LARGE - 1), ("bytes", 0)):
        got = 0
        with pytest.raises(errors.PayloadAltered):
            for piece in downloads.verified(replace(row_of(run_id, key), sha256="0" * 64)):
                got += piece.nbytes
        assert got <= max(most, 0)
        with pytest.raises((errors.PayloadTruncated, errors.PayloadError, errors.StoreError)):
            length = row_of(run_id, key).length + 1
            got = sum(
                piece.nbytes for piece in downloads.verified(replace(row_of(run_id, key), length=length))
            )


def test_its_name_is_that_of_the_file_or_of_the_xcom(run_id: str) -> None:
    header = downloads.given(USER, asked(run_id, "file")).headers["content-disposition"]
    assert unquote(header.rpartition("''")[2]) == "orders; _of_ größe 100%.csv"
    other = downloads.given(USER, asked(run_id, "bytes")).headers["content-disposition"]
    assert 'filename="given_away.one.bytes.bin"' in other


def test_who_got_what_is_written_down(run_id: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="exclusive_xcom.ui.downloads")
    downloads.given(USER, asked(run_id, "bytes"))
    (line,) = [each.getMessage() for each in caplog.records if each.name.endswith("downloads")]
    assert "'bytes' of given_away.one" in line and "by ada mallory (8000 bytes" in line
    with create_session() as session:
        latest = select(Log).where(Log.event == downloads.EVENT).order_by(Log.id.desc()).limit(1)
        noted = session.scalar(latest)
        assert (noted.dag_id, noted.task_id, noted.run_id) == ("given_away", "one", run_id)
        assert noted.owner == "ada mallory" and json.loads(noted.extra)["key"] == "bytes"


def test_what_is_for_few_is_refused_in_words(run_id: str) -> None:
    assert refused(run_id, "few") == (403, "Its producer has it read by given_away.two alone.")
    assert refused(run_id, "no such key")[0] == 404


def test_what_is_over_or_gone_or_altered_is_told_as_that(run_id: str) -> None:
    ends = row_of(run_id, "over").expires
    assert ends
    assert ends.at
    time.sleep(max(0.0, (ends.at - datetime.now(UTC)).total_seconds()))
    status, text = refused(run_id, "over")
    assert status == 410 and "time is over" in text
    ref = row_of(run_id, "gone")
    if ref.uri:  # a payload in a row can't be missing
        store_of(ref).delete(ref)
        status, text = refused(run_id, "gone")
        assert status == 410 and "'gone' of given_away.one" in text
