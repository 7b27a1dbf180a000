"""Payloads as files: off unless somebody says so, and then whole, verified, and for whom they are."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import site_server
from site_server import Site
from test_pages import text_of

pytestmark = pytest.mark.slow

LINK = 'href="payload?'


@pytest.fixture(scope="module")
def giving(site: Site) -> Iterator[Site]:
    """A second api-server of the same site, which has the store and may give away what is in it."""
    with site_server.served(site.project, "/airflow", AIRFLOW__XCOM__DOWNLOADS="on") as made:
        yield made


def payload(
    site: Site, dag_id: str, task_id: str, user: str | None = "admin", **more: object
) -> httpx.Response:
    """What a person gets who asks for it."""
    return site.get("payload", user, **{"key": "return_value", **site.task(dag_id, task_id, **more)})


def test_by_default_there_are_none(site: Site) -> None:
    assert payload(site, "kinds", "image").status_code == 404
    assert LINK not in site.get("task", **site.task("kinds", "image")).text


def test_who_may_read_it_gets_it(giving: Site) -> None:
    assert LINK in giving.get("task", **giving.task("kinds", "report_file")).text
    answer = payload(giving, "kinds", "report_file", "guest")
    assert answer.content == b"country,orders\nDE,120\nFR,80\n" and answer.status_code == 200
    headers = answer.headers
    assert headers["content-type"] == "application/octet-stream" and headers["cache-control"] == "no-store"
    assert headers["content-length"] == "28" and headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox; frame-ancestors 'none'"
    name = "attachment; filename=\"orders_by_country.csv\"; filename*=UTF-8''orders%20by%20country.csv"
    assert headers["content-disposition"] == name


def test_nobody_else_does(giving: Site) -> None:
    assert payload(giving, "kinds", "image", None).status_code == 401
    assert payload(giving, "numerous", "huge", "guest").status_code == 403
    for user in ("admin", "guest"):
        query = {**giving.task("kinds", "image"), "dag_id": "~", "key": "return_value"}
        assert giving.get("payload", user, **query).status_code == 403
    for missing in ("dag_id", "run_id", "task_id", "key"):
        query = {**giving.task("kinds", "image"), "key": "return_value", missing: ""}
        assert giving.get("payload", "admin", **query).status_code == 422


@pytest.mark.parametrize(
    ("task", "status", "words"),
    [
        ("short_lived", 410, "time is over"),
        ("with_run", 410, "time is over"),
        ("plain", 404, "plain JSON in Airflow's row"),
        ("no_task", 404, "no such XCom"),
    ],
)
def test_what_can_t_be_given_is_said(giving: Site, task: str, status: int, words: str) -> None:
    answer = payload(giving, "kinds", task)
    assert answer.status_code == status and words in text_of(answer)
    assert answer.headers["content-type"].startswith("text/html")
    assert LINK not in giving.get("task", **giving.task("kinds", task)).text


def file_of(giving: Site, task: str, dag_id: str = "kinds") -> Path:
    """Where the store has the payload of a task."""
    page = giving.get("task", **giving.task(dag_id, task)).text
    return Path(httpx.URL(page.split("<code>file://")[1].split("</code>")[0]).path)


@contextlib.contextmanager
def damaged(file: Path, copy: Path) -> Iterator[None]:
    """Meanwhile its last byte is another one."""
    shutil.copy(file, copy)
    with file.open("r+b") as opened:
        opened.seek(-1, 2)
        last = opened.read(1)
        opened.seek(-1, 2)
        opened.write(bytes([last[0] ^ 1]))
    try:
        yield
    finally:
        copy.replace(file)


def test_what_was_altered_or_is_gone_is_told_as_that(giving: Site, tmp_path: Path) -> None:
    file = file_of(giving, "polars_frame")
    with damaged(file, tmp_path / "copy"):
        answer = payload(giving, "kinds", "polars_frame")
        assert answer.status_code == 502 and "was altered" in text_of(answer)
        file.unlink()
        answer = payload(giving, "kinds", "polars_frame")
        assert answer.status_code == 410 and "can't be downloaded" in text_of(answer)
    assert payload(giving, "kinds", "polars_frame").status_code == 200


def test_a_gibibyte_takes_no_more_memory_and_comes_whole_or_is_cut(giving: Site, tmp_path: Path) -> None:
    query = {**giving.task("numerous", "huge"), "key": "return_value"}
    cookies, url = {"_token": giving.token("admin")}, f"{giving.url}/exclusive-xcom/payload"
    server = psutil.Process(giving.pid)

    def memory() -> int:
        return sum(each.memory_info().rss for each in [server, *server.children(recursive=True)])

    def fetched() -> tuple[int, int, str]:
        """Bytes, the most memory meanwhile, and the digest. Asks for compression, as a browser does."""
        length = most = 0
        digest = hashlib.sha256()
        with httpx.stream("GET", url, params=query, cookies=cookies, timeout=600) as answer:
            assert answer.headers["content-length"] == str(2**30)
            for piece in answer.iter_raw(2**22):
                if length % 2**26 == 0:
                    most = max(most, memory())
                length += len(piece)
                digest.update(piece)
        return length, most, digest.hexdigest()

    payload(giving, "kinds", "image")  # so that the store is there
    before = memory()
    length, most, digest = fetched()
    zeros = hashlib.sha256()
    for _ in range(1024):
        zeros.update(bytes(2**20))
    assert length == 2**30 and digest == zeros.hexdigest()
    assert most - before < 200 * 2**20
    file = file_of(giving, "huge", "numerous")
    with file.open("r+b") as opened:
        opened.seek(-1, 2)
        opened.write(b"x")
    with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
        fetched()
    with file.open("r+b") as opened:
        opened.seek(-1, 2)
        opened.write(bytes(1))


def test_airflow_s_audit_log_has_it(giving: Site) -> None:
    payload(giving, "kinds", "image", "guest")
    headers = {"Authorization": f"Bearer {giving.token('admin')}"}
    url = f"{giving.url}/api/v2/eventLogs"
    asked = {"event": "xcom_download", "owner": "guest", "task_id": "image"}
    (noted,) = httpx.get(url, params=asked, headers=headers).json()["event_logs"]
    assert noted["dag_id"] == "kinds" and '"key": "return_value"' in noted["extra"]
