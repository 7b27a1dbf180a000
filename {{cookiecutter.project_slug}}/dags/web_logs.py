"""Large JSON logs: a day of web requests becomes sessions and a report of errors."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import datetime, timedelta
from itertools import count, islice
from statistics import mean, median
from typing import Any

from airflow.sdk import dag, task
from exclusive_xcom import Handle, lazy

from {{ cookiecutter.__package }} import settings


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["template-example", "json"],
    default_args={"owner": "data-team", "retries": 1, "retry_delay": timedelta(seconds=10)},
)
def web_logs():
    """
    # What happened in the shop today?

    Reads a day of requests to a web shop (invented, `data/web_requests.jsonl.gz`), and finds the visitors'
    sessions and the pages that fail. The result is `output/web_logs/report.json`.

    **What is handed over:** a list of thousands of dicts, returned as `lazy(records)`. Airflow renders
    arguments of a task for the UI and would walk through every record before the task begins; a handle
    spares that, and `load()` gets the list. `web_logs_records` can be a million with a store; for more
    than the file holds it is read again, a day later each time.

    **Variables:** `web_logs_records`, `web_logs_session_minutes`, `data_folder`, `output_folder`.
    """

    @task
    def parse():
        """The log's records, in order of time."""
        path = settings.data_file("web_requests.jsonl.gz")

        def records():
            for day in count():
                with gzip.open(path, "rt", encoding="utf-8") as lines:
                    for line in lines:
                        record = json.loads(line)
                        moment = datetime.fromisoformat(record["time"]) + timedelta(days=day)
                        yield record | {"time": moment.isoformat(timespec="milliseconds")}

        return lazy(list(islice(records(), settings.WebLogs.read().records)))

    @task(multiple_outputs=False)
    def sessions(records: Handle) -> dict[str, Any]:
        """Requests of one visitor that follow each other without a long pause are a session."""
        pause = timedelta(minutes=settings.WebLogs.read().session_minutes)
        running: dict[str, tuple[datetime, int]] = {}  # visitor: time and number of the latest session
        lengths: list[int] = []  # requests of each session
        bought: set[int] = set()
        for record in records.load():
            moment = datetime.fromisoformat(record["time"])
            before, number = running.get(record["visitor"], (None, -1))
            if before is None or moment - before > pause:
                number = len(lengths)
                lengths.append(0)
            lengths[number] += 1
            running[record["visitor"]] = (moment, number)
            if record["path"] == "/checkout" and record["status"] == 200:
                bought.add(number)
        return {
            "visitors": len(running),
            "sessions": len(lengths),
            "sessions that bought": len(bought),
            "requests per session": {"mean": round(mean(lengths), 2), "median": median(lengths)},
        }

    @task(multiple_outputs=False)
    def errors(records: Handle) -> dict[str, Any]:
        """Failures by page, and the hour that had most of them."""
        pages: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        hours: Counter[str] = Counter()
        for record in records.load():
            pages[record["path"]] += 1
            if record["status"] >= 500:
                failed[record["path"]] += 1
                hours[record["time"][:13]] += 1
        worst = max(hours.items(), key=lambda hour: (hour[1], hour[0]), default=None)
        return {
            "errors": failed.total(),
            "percent": {page: round(100 * failed[page] / pages[page], 2) for page in sorted(failed)},
            "worst hour": worst and {"begins": f"{worst[0]}:00", "errors": worst[1]},
        }

    @task
    def report(sessions: dict[str, Any], errors: dict[str, Any]) -> str:
        """Write both into one file, and give its path."""
        path = settings.output_file("report.json")
        figures = {"sessions": sessions, "errors": errors}
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        return str(path)

    parsed = parse()
    report(sessions(parsed), errors(parsed))


web_logs()
