"""The pipeline of large JSON logs: sessions and errors of a web shop."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from exclusive_xcom import Handle
from exclusive_xcom.testing.fixtures import Runner

DATA = Path(__file__).resolve().parents[1] / "data"


def log() -> list[dict[str, Any]]:
    """All records of the file."""
    with gzip.open(DATA / "web_requests.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_sessions_and_errors_are_reported(run: Runner) -> None:
    done = run("web_logs")
    expected = log()[:3000]
    records = done.value("parse")
    assert isinstance(records, Handle)
    assert records.load() == expected
    report = json.loads(done.text("report.json"))

    # Sessions once more, the other way round: visitor by visitor.
    times = defaultdict(list)
    for record in expected:
        times[record["visitor"]].append(datetime.fromisoformat(record["time"]))
    pauses = [later - earlier for visit in times.values() for earlier, later in pairwise(visit)]
    sessions = len(times) + sum(pause > timedelta(minutes=30) for pause in pauses)
    assert report["sessions"]["visitors"] == len(times)
    assert report["sessions"]["sessions"] == sessions
    assert report["sessions"]["requests per session"]["mean"] == round(3000 / sessions, 2)

    failed = [record for record in expected if record["status"] in (500, 503)]
    assert report["errors"]["errors"] == len(failed)
    checkouts = [record for record in expected if record["path"] == "/checkout"]
    share = sum(record["path"] == "/checkout" for record in failed) / len(checkouts)
    assert report["errors"]["percent"]["/checkout"] == round(100 * share, 2)
    # The checkout was broken between 14 and 15 o'clock.
    worst = sum(record["time"].startswith("2025-03-03T14") for record in failed)
    assert report["errors"]["worst hour"] == {"begins": "2025-03-03T14:00", "errors": worst}


def test_more_records_than_the_file_has_are_the_next_day_and_the_pause_is_a_variable(run: Runner) -> None:
    done = run("web_logs", web_logs_records=4002, web_logs_session_minutes=1440)
    records, expected = done.value("parse").load(), log()
    assert records[:4000] == expected
    assert [record["time"][:10] for record in records[4000:]] == ["2025-03-04", "2025-03-04"]
    assert [record["visitor"] for record in records[4000:]] == [record["visitor"] for record in expected[:2]]
    found = done.value("sessions")
    assert found["sessions"] == found["visitors"]
