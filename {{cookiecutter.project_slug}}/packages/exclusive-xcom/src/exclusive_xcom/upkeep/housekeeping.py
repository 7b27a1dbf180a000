"""A collection as a task does it: looks, deletes what is garbage, and tells what it found."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import config, keeping
from .airflow_rest import Airflow
from .collect import Collection, Pace
from .inventory import current_inventory
from .judge import GARBAGE
from .manifest import Manifest, Tally
from .report import REPORT, Report

log = logging.getLogger(__name__)


def tidy(*, delete: bool = True, most_gone: float = 0.5, rate: float = 100.0) -> list[dict[str, Any]]:
    """Do what `xcom gc` does, and then `xcom gc --delete`.

    Args:
        delete: whether what is garbage is deleted, too.
        most_gone: the part of the runs, from 0 to 1, that Airflow may no longer have; else it stops.
        rate: requests to Airflow, and deletions, in a second.

    Returns:
        A row for each reason: what was found, how much, in bytes, from when, and what became of it: "kept",
        "deleted", or "garbage" if it was left there. What is garbage no more at the second look is kept.

    Raises:
        XComError: it stopped, for store and Airflow do not belong together, one of them failed, or too many
            runs are gone. What was deleted until then had no row.
    """
    pace, inventory = Pace(rate), current_inventory()
    collection = Collection(
        inventory, Airflow.configured(pace), config.GRACE.read(), most_gone, pace, tell=_told
    )
    report = Report(inventory.url, inventory.now(), keeping.rules(_default_retention()))
    collection.seen = report.add
    with tempfile.TemporaryDirectory() as folder, Manifest(Path(folder, "garbage")) as manifest:
        found = collection.look(manifest)
        _publish(report)
        for remark in inventory.remarks():
            log.warning("%s", remark)
        if not (delete and found.garbage.payloads):
            return [*_rows(found, "garbage")]
        done = collection.delete(manifest)
    for why in GARBAGE:
        found.by_reason.pop(why, None)
    return [*_rows(found, "garbage"), *_rows(done, "deleted")]


def _default_retention() -> str:
    from airflow.sdk.execution_time.xcom import XCom

    return str(getattr(XCom, "default_retention", config.RETENTION.default))


def _publish(report: Report) -> None:
    """Have the pages in Airflow's UI show it. Who can't set a Variable goes without."""
    from airflow.sdk import Variable

    try:
        Variable.set(REPORT, report.text(), description="What the store keeps, for the page Stored XComs.")
    except Exception as error:  # each way to Airflow has errors of its own
        log.warning(
            "The report for the page Stored XComs could not be kept (%s: %s)", type(error).__name__, error
        )


def _rows(tally: Tally, garbage: str) -> Iterator[dict[str, Any]]:
    for why, count in sorted(tally.by_reason.items()):
        yield {
            "found": str(why),
            "payloads": count.payloads,
            "bytes": count.bytes,
            "oldest": datetime.fromtimestamp(count.oldest or 0, UTC).isoformat(timespec="seconds"),
            "what": garbage if why in GARBAGE else "kept",
        }


def _told(tally: Tally) -> None:
    found = sum(count.payloads for count in tally.by_reason.values())
    if found % 10_000 == 0:
        log.info("%s payloads looked at, %s of them garbage", f"{found:,}", f"{tally.garbage.payloads:,}")
