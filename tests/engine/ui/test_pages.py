"""The pages as a program gets them: who may open which, and what no answer is without."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import httpx
import pytest
from airflow_versions import asks_first, rows_per_try
from PIL import Image
from site_server import TABLE, Site

from exclusive_xcom.upkeep.report import DAYS, REPORT

pytestmark = pytest.mark.slow  # a whole site is started for it


def text_of(answer: httpx.Response) -> str:
    """What a person reads."""
    body = answer.text.split("<main>")[1].split("</main>")[0]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


# -- who may ----------------------------------------------------------------------------------------


def test_nobody_gets_nothing(site: Site) -> None:
    for path, query in (("task", site.task("kinds", "plain")), ("", {})):
        answer = site.get(path, None, **query)
        assert answer.status_code == 401 and "9876.5" not in answer.text, path
    forged = httpx.get(f"{site.url}/exclusive-xcom/", cookies={"_token": "x.y.z"})
    assert forged.status_code == 403


def test_who_may_not_read_a_dag_s_xcoms_gets_nothing(site: Site) -> None:
    assert site.get("task", "guest", **site.task("kinds", "plain")).status_code == 200
    refused = site.get("task", "guest", **site.task("hostile", "names"))
    assert refused.status_code == 403 and "may not read" in text_of(refused)


def test_the_wildcard_and_two_dags_are_refused(site: Site) -> None:
    query = site.task("kinds", "plain")
    for user in ("admin", "guest"):
        assert site.get("task", user, **{**query, "dag_id": "~"}).status_code == 403
    for two in (["kinds", "hostile"], ["hostile", "kinds"]):
        hostile = {**site.task("hostile", "names"), "dag_id": two}
        answer = site.get("task", "guest", **hostile)
        assert answer.status_code == 403 or "DataFrame" not in text_of(answer)
    for missing in ("dag_id", "run_id", "task_id"):
        for text in ("", "\0", "a\0b"):
            assert site.get("task", "admin", **{**query, missing: text}).status_code == 422
    assert site.get("task/", "admin", **query).status_code == 404  # and no way elsewhere


def test_nothing_can_be_changed(site: Site) -> None:
    cookies = {"_token": site.token("admin")}
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for path in ("", "task"):
            url = f"{site.url}/exclusive-xcom/{path}"
            answer = httpx.request(method, url, params=site.task("kinds", "plain"), cookies=cookies)
            assert answer.status_code == 405


def test_every_answer_has_its_headers(site: Site) -> None:
    for user, path, query in (
        ("admin", "task", site.task("kinds", "plain")),
        (None, "task", {}),
        ("admin", "task", {}),
        ("admin", "nowhere", {}),
        ("admin", "docs", {}),
        ("admin", "openapi.json", {}),
    ):
        answer = site.get(path, user, **query)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-"), path
        assert "frame-ancestors 'self'" in policy and "unsafe" not in policy and "http" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Type"].startswith("text/html")
        assert answer.status_code < 500


def test_no_page_asks_for_anything_else(site: Site) -> None:
    for task in ("pandas_frame", "image", "nested"):
        page = site.get("task", **site.task("kinds", task)).text
        assert not re.search(r"""(?:src|srcset|action|data)=["'](?!data:image/)[^"']*[:/]""", page)


# -- what is in them --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "seen"),
    [
        (
            "pandas_frame",
            ["pandas DataFrame, 5,000 rows × 5 columns", "order_id", "385 nulls", "4,990 more rows"],
        ),
        ("polars_frame", ["polars DataFrame", "grace", "1 null"]),
        ("arrow_table", ["Arrow Table", "ada"]),
        ("array", ["numpy array, 240 × 320 float64"]),
        ("records", ["list, 300 items", "/item/0", "290 more rows"]),
        ("nested", ["dict, 4 items", "1234.50", "2026-11-30"]),
        ("report_file", ["orders by country.csv", "DE,120", "text/csv"]),
        ("text", ["text, 6,400 characters", "A line of text."]),
        ("raw_bytes", ["bytes, 25,600 bytes"]),
        ("plain", ["as plain JSON", "9876.5"]),
    ],
)
def test_each_kind_is_seen(site: Site, task: str, seen: list[str]) -> None:
    said = text_of(site.get("task", **site.task("kinds", task)))
    for words in (*seen, "xcom show kinds", "UTC"):
        assert words in said, words


def test_what_is_over_is_said_and_its_value_is_not(site: Site) -> None:
    for task, shape in (("short_lived", "name"), ("with_run", "tuple, 400 items")):
        said = text_of(site.get("task", **site.task("kinds", task)))
        assert "expired" in said and "payload may be gone" in said and shape in said
        assert "sesame" not in said


def test_of_a_mapped_task_one_or_all(site: Site) -> None:
    one = text_of(site.get("task", **site.task("orders", "each", map_index=1)))
    assert "1 XCom" in one and "map index 1" in one
    for index in ("{MAP_INDEX}", "", "-1", "x", "²"):
        assert "3 XComs" in text_of(site.get("task", **site.task("orders", "each", map_index=index)))


def test_a_thousand_keys_come_in_pages_and_can_be_found(site: Site) -> None:
    first = site.get("task", **site.task("numerous", "thousand"))
    assert "1,000 XComs" in text_of(first) and "page 1 of 40" in text_of(first) and len(first.content) < 10**6
    last = text_of(site.get("task", **site.task("numerous", "thousand", page=40)))
    assert "key-0999" in last and "next" not in last
    found = text_of(site.get("task", **site.task("numerous", "thousand", find="y-077")))
    assert "10 XComs with “y-077” in the key" in found
    assert "No key has" in text_of(site.get("task", **site.task("numerous", "thousand", find="%")))
    assert "not so many" in text_of(site.get("task", **site.task("numerous", "thousand", page=99)))


def test_a_payload_of_a_gibibyte_is_a_row_as_any_other(site: Site) -> None:
    page = site.get("task", **site.task("numerous", "huge"))
    assert "1,073,741,824 bytes" in text_of(page) and len(page.content) < 50_000


def test_what_is_not_there(site: Site) -> None:
    assert "handed over nothing" in text_of(site.get("task", **site.task("numerous", "nothing")))
    nowhere = site.get("task", dag_id="kinds", run_id="x", task_id="y")
    assert "no such task instance" in text_of(nowhere)


@contextlib.contextmanager
def held(site: Site, text: str, of: tuple[str, str] = ("kinds", "arrow_table")) -> Iterator[None]:
    """Meanwhile the row of a task is another one."""
    at = site.rows_of(*of)
    with site.database() as rows:
        ((before,),) = rows.execute(f"select value from {TABLE} where {at}").fetchall()
        rows.execute(f"update {TABLE} set value = ? where {at}", [text])
    try:
        yield
    finally:
        with site.database() as rows:
            rows.execute(f"update {TABLE} set value = ? where {at}", [before])


def row(site: Site, **change: object) -> str:
    """The row of a task, changed."""
    with site.database() as rows:
        at = site.rows_of("kinds", "arrow_table")
        ((before,),) = rows.execute(f"select value from {TABLE} where {at}").fetchall()
    return json.dumps({**json.loads(before), **change})


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "no JSON that can be read"),
        ("[" * 99_999 + "]" * 99_999, "no JSON that can be read"),
        (json.dumps({"n": 1})[:-1] + ', "m": ' + "9" * 9999 + "}", "no JSON that can be read"),
        (json.dumps("x" * 2**21), "too large to be shown here"),
        ('"\\ud800"', "\\ud800"),
    ],
    ids=["none", "deep", "number", "large", "half"],
)
def test_a_row_that_is_no_value(site: Site, text: str, word: str) -> None:
    with held(site, text):
        answer = site.get("task", **site.task("kinds", "arrow_table"))
    assert answer.status_code == 200 and word in text_of(answer) and len(answer.content) < 50_000


def test_what_turns_letters_around_or_has_no_end_is_told_as_what_it_is(site: Site) -> None:
    beginning = json.dumps({"kind": "x", "beginning": "\u202egnp.exe"})
    for change in (
        {"filename": "\u202egnp.exe"},
        {"codec": "\ud800"},
        {"media_type": "\u202e\ud800"},
        {"uri": "s3://\ud800" + "x" * 10**5},
        {"kind": "k" * 10**5},
        {"preview": beginning},
    ):
        with held(site, row(site, **change)):
            answer = site.get("task", **site.task("kinds", "arrow_table"))
        assert answer.status_code == 200 and len(answer.content) < 50_000, change
        assert "\u202e" not in answer.text and ("\\u" in answer.text or "kkk" in answer.text), change


def test_a_picture_that_would_take_a_browser_s_memory_is_none(site: Site) -> None:
    for width, there in ((100, True), (16_000, False)):
        out = io.BytesIO()
        Image.new("RGB", (width, 40)).save(out, "WEBP", quality=1)
        found = {"kind": "x", "picture": base64.b64encode(out.getvalue()).decode()}
        with held(site, row(site, preview=json.dumps(found))):
            page = site.get("task", **site.task("kinds", "arrow_table")).text
        assert len(found["picture"]) < 4000 and ("data:image/webp" in page) is there


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"length": "many"}, "unreadable"),
        ({"must": ["tomorrow"]}, "does not know"),
        ({"address": {"dag_id": "other", "run_id": "r", "task_id": "t"}}, "does not belong to this XCom"),
        ({"preview": '{"kind": "x", "picture": "AAAA"}'}, "Arrow Table"),
        ({"preview": '{"kind": "x", "columns": [{"name": "a", "type": "t"}], "rows": 1, "more_columns": 0, '
          '"head": [["1", "2", "3"]]}'}, "Arrow Table"),
        ({"preview": '{"kind": "x", "beginning": "<b>"}'}, "<b>"),
    ],
)  # fmt: skip
def test_a_row_that_was_changed_by_hand(site: Site, change: dict[str, object], word: str) -> None:
    with held(site, row(site, **change)):
        answer = site.get("task", **site.task("kinds", "arrow_table"))
    assert answer.status_code == 200 and word in text_of(answer)
    assert "data:image" not in answer.text and "<b>" not in answer.text


@asks_first
def test_what_an_older_try_wrote_is_said(site: Site) -> None:
    """As it is left behind in the instant that no question to Airflow covers."""
    of = "dag_id = 'kinds' and task_id = 'signal'"
    with site.database() as rows:
        names = [name for _, name, *_ in rows.execute("pragma table_info(task_instance_history)")]
        known = {name for _, name, *_ in rows.execute("pragma table_info(task_instance)")}
        chosen = [name for name in names if name in known]
        ((ti_id,),) = rows.execute(f"select id from task_instance where {of}").fetchall()
        columns = ", ".join(["task_instance_id", *chosen])
        copied = f"select id, {', '.join(chosen)} from task_instance where {of}"
        rows.execute(f"insert into task_instance_history ({columns}) {copied}")
        rows.execute(f"update task_instance set try_number = 2 where {of}")
    try:
        said = text_of(site.get("task", **site.task("kinds", "signal")))
        assert "superseded" in said and "Try 1 wrote it, and try 2 is the current one." in said
    finally:
        with site.database() as rows:
            rows.execute("delete from task_instance_history where task_instance_id = ?", [ti_id])
            rows.execute(f"update task_instance set try_number = 1 where {of}")


@rows_per_try
def test_other_tries_are_shown_beside_the_current_one(site: Site) -> None:
    page = site.get("task", **site.task("numerous", "twice"))
    said = text_of(page)
    assert "4 XComs" in said and said.count("superseded") == 2
    assert said.count("Try 1 wrote it, and try 2 is the current one.") == 2
    assert said.index("tuple, 4,000 items") < said.index("tuple, 2,000 items")
    assert page.text.count('<details class="xcom" open>') == 2


@asks_first
def test_of_a_task_that_was_tried_twice_the_last_try_s_are_there(site: Site) -> None:
    said = text_of(site.get("task", **site.task("numerous", "twice")))
    assert "2 XComs" in said and "tuple, 4,000 items" in said and "superseded" not in said


# -- what the store keeps ---------------------------------------------------------------------------


def report(*dags: str) -> dict[str, Any]:
    """What a collection would have counted of these."""
    now = datetime.now(UTC)
    place = {
        "run": "run <b>1</b>",
        "task": "t",
        "index": 2,
        "key": "k",
        "bytes": 5,
        "written": now.isoformat(),
    }
    goes = {**place, "goes": (now + timedelta(days=2, minutes=1)).isoformat()}
    dag = {"payloads": 3, "bytes": 3_000_000, "days": [1_000_000] * 3 + [0] * (DAYS - 3), "going": [1, 5]}
    dag |= {"largest": [place], "soon": [goes]}
    made = {
        "form": 1,
        "store": "s3://bucket/xcom",
        "made": now.isoformat(),
        "more_dags": 0,
        "garbage": [7, 70],
    }
    return made | {"dags": dict.fromkeys(dags, dag)}


class Reported:
    """Meanwhile Airflow has a report."""

    def __init__(self, site: Site, text: str) -> None:
        self.site, self.text = site, text

    def __enter__(self) -> None:
        made = httpx.post(
            f"{self.site.url}/api/v2/variables",
            json={"key": REPORT, "value": self.text},
            headers={"Authorization": f"Bearer {self.site.token('admin')}"},
        )
        assert made.status_code == 201, made.text

    def __exit__(self, *_: object) -> None:
        with self.site.database() as rows:
            rows.execute("delete from variable where key = ?", [REPORT])


def test_without_a_report_it_says_how_to_get_one(site: Site) -> None:
    assert "housekeeping" in text_of(site.get(""))
    for text in ("", "{}", "[", json.dumps({**report("kinds"), "form": 2}), json.dumps(report("a"))[:-9]):
        with Reported(site, text):
            answer = site.get("")
            assert answer.status_code == 200 and "Nobody has counted" in text_of(answer)


@pytest.mark.parametrize(
    "change",
    [
        {"made": "0001-01-01T00:00:00+00:00"},
        {"store": "x" * 10**6},
        {"dags": dict.fromkeys(map(str, range(40_000)))},
        {
            "dags": {
                "kinds": {
                    **report("kinds")["dags"]["kinds"],
                    "soon": report("kinds")["dags"]["kinds"]["largest"],
                }
            }
        },
    ],
    ids=["long ago", "large", "many", "never"],
)
def test_a_report_that_was_changed_by_hand_is_none(site: Site, change: dict[str, object]) -> None:
    with Reported(site, json.dumps({**report("kinds"), **change})):
        answer = site.get("")
        assert answer.status_code == 200 and "Nobody has counted" in text_of(answer)


def test_everybody_sees_their_own_dags(site: Site) -> None:
    with Reported(site, json.dumps(report("kinds", "hostile", "<b>gone</b>"))):
        all_of_it, part = site.get(""), site.get("", "guest")
    said = text_of(all_of_it)
    assert "9.0 MB" in said and "hostile" in said and "<b>gone</b>" in said and "7 without an XCom" in said
    assert "in 2 days" in said and "run <b>1</b>" in said and "<b>" not in all_of_it.text
    with Reported(site, json.dumps({**report("kinds"), "more_dags": 9})):
        said = text_of(site.get("", "guest"))
    assert "9 smaller DAGs" not in said and "without an XCom" not in said
    said = text_of(part)
    assert "3.0 MB" in said and "hostile" not in said and "gone" not in said and "without an XCom" not in said
    path = "/airflow/dags/kinds/runs/run%20%3Cb%3E1%3C%2Fb%3E/tasks/t/mapped/2/plugin/payloads"
    assert f'href="{path}"' in part.text


def test_the_pages_are_where_airflow_looks_for_them(site: Site) -> None:
    headers = {"Authorization": f"Bearer {site.token('admin')}"}
    plugins = httpx.get(f"{site.url}/api/v2/plugins", headers=headers).json()["plugins"]
    (ours,) = [plugin for plugin in plugins if plugin["name"] == "exclusive_xcom"]
    assert {view["destination"] for view in ours["external_views"]} == {"nav", "task_instance"}
