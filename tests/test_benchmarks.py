"""The arithmetic of the benchmarks' report, and (marked `bench`) that `make bench` measures something."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/report.py."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for name in ("report", "contestants", "payloads"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import importlib

    return importlib.import_module("report")


def one(
    contestant: str, push: float, pull: float, payload: str = "pandas mixed", **more: Any
) -> dict[str, Any]:
    """A round."""
    memory = {"push_peak": 3e6, "pull_peak": 9e6, "stored": 100, "exact": True}
    return {"payload": payload, "contestant": contestant, "push": push, "pull": pull, **memory, **more}


def test_medians_are_of_what_belongs_together(report: ModuleType) -> None:
    rounds = [one("ours, s3", 1, 9), one("ours, s3", 2, 2), one("ours, s3", 9, 1)]
    assert report.total(rounds) == 10  # of the sums, not the sum of the medians
    assert report.peak(rounds) == 9e6
    assert report.median(rounds, "never measured") is None


def test_the_best_peer_is_the_fastest_that_was_not_refused(report: ModuleType) -> None:
    refused = {"payload": "pandas mixed", "contestant": "Airflow object storage", "refused": "TypeError"}
    slow, fast = one("Airflow object storage, gzip", 9, 1), one("Airflow object storage, zstd", 1, 2)
    best = report.best_peer([refused, slow, fast], "pandas mixed")
    assert best.name == "Airflow object storage, zstd"
    assert report.best_peer([refused], "pandas mixed") is None


def test_limits_need_all_their_parts(report: ModuleType) -> None:
    limit = {"payload": "bytes", "contestant": "limit", "encode": 1, "decode": 2, "obstore_put": 3}
    assert report.limit_of([limit], "bytes", "moto") is None
    limit["obstore_get"] = 4
    assert report.limit_of([limit], "bytes", "moto") == 10
    assert report.limit_of([limit], "bytes", "moto", codec=False) == 7
    assert report.limit_of([limit], "bytes", "valkey") is None


def test_targets_are_met_missed_or_not_measured(report: ModuleType) -> None:
    results = [
        one("ours, s3", 1, 1, stored=50),
        one("Airflow object storage", 3, 3.1, push_peak=3e7),
        one("ours, s3", 1, 1, payload="pandas random"),
        one("Airflow object storage", 3, 3, payload="pandas random"),
    ]
    rows = report.targets({"transfers": results})
    said = {(work, target): met for work, target, _, met in rows}
    assert said["pandas mixed, s3", "≥ 3 × the fastest peer"] is True
    assert said["pandas mixed, s3, peak memory", "≤ 1/3 of that peer's"] is True
    assert said["pandas mixed, s3, stored bytes", "< 1 × that peer's"] is True
    assert said["pandas random, s3", "≥ 4 × the fastest peer"] is False
    assert said["bytes, redis", "≤ 1.3 × raw chunked SET/GET"] is None


def test_who_cannot_take_a_payload_is_shown(report: ModuleType) -> None:
    results = [
        one("ours, s3", 1, 1, payload="numpy"),
        {"payload": "numpy", "contestant": "Airflow default", "refused": "TypeError: no"},
    ]
    table = report.table(results, "numpy")
    assert "| Airflow default | cannot take it: TypeError: no |" in table
    widths = {line.count("|") for line in table.splitlines() if line.startswith("|")}
    assert len(widths) == 1


@pytest.mark.bench
def test_make_bench_measures() -> None:
    subprocess.run(["make", "bench", "QUICK=1"], cwd=ROOT, check=True)
    whole = json.loads((ROOT / "build/bench/bench.json").read_text())
    measured = {r["contestant"] for r in whole["transfers"] if "push" in r}
    assert {"ours, s3", "ours, redis", "ours, db", "Airflow object storage"} <= measured
    assert all(r["exact"] for r in whole["transfers"] if "push" in r and "ours" in r["contestant"])
