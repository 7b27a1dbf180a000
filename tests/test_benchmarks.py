"""The arithmetic of the benchmarks' report, and (marked `bench`) that `make bench` measures something."""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


MODULES = ("figures", "report", "targets", "readme", "network")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What benchmarks/ has for figures, tables, targets and networks."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for name in (*MODULES, "contestants", "payloads"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})


def one(
    contestant: str, push: float, pull: float, payload: str = "pandas mixed", **more: Any
) -> dict[str, Any]:
    """A round."""
    memory = {"push_peak": 3e6, "pull_peak": 9e6, "stored": 100, "exact": True}
    return {"payload": payload, "contestant": contestant, "push": push, "pull": pull, **memory, **more}


def test_medians_are_of_what_belongs_together(bench: SimpleNamespace) -> None:
    rounds = [one("ours, s3", 1, 9), one("ours, s3", 2, 2), one("ours, s3", 9, 1)]
    assert bench.figures.total(rounds) == 10  # of the sums, not the sum of the medians
    assert bench.figures.peak(rounds) == 9e6
    assert bench.figures.median(rounds, "never measured") is None


def test_the_best_peer_is_the_fastest_that_was_not_refused(bench: SimpleNamespace) -> None:
    refused = {"payload": "pandas mixed", "contestant": "Airflow object storage", "refused": "TypeError"}
    slow, fast = one("Airflow object storage", 9, 1), one("Airflow object storage, zstd", 1, 2)
    best = bench.figures.best_peer([slow, fast], "pandas mixed")
    assert best.name == "Airflow object storage, zstd"
    assert bench.figures.best_peer([refused], "pandas mixed") is None


def test_limits_need_all_their_parts(bench: SimpleNamespace) -> None:
    limit = {"payload": "bytes", "contestant": "limit", "encode": 1, "decode": 2, "obstore_put": 3}
    assert bench.figures.limit_of([limit], "bytes", "s3") is None
    limit["obstore_get"] = 4
    assert bench.figures.limit_of([limit], "bytes", "s3") == 10
    assert bench.figures.limit_of([limit], "bytes", "s3", codec=False) == 7
    assert bench.figures.limit_of([limit], "bytes", "valkey") is None


def test_targets_are_met_missed_or_not_measured(bench: SimpleNamespace) -> None:
    results = [
        one("ours, s3", 1, 1, stored=50),
        one("Airflow object storage", 3, 3.1, push_peak=3e7),
        one("ours, s3", 1, 1, payload="pandas random"),
        one("Airflow object storage", 3, 3, payload="pandas random"),
    ]
    rows = bench.targets.targets({"transfers": results})
    said = {(work, target): met for work, target, _, met in rows}
    assert said["pandas mixed, s3", "≥ 3 × the fastest peer"] is True
    assert said["pandas mixed, s3, peak memory", "≤ 1/3 of that peer's"] is True
    assert said["pandas mixed, s3, stored bytes", "< 1 × that peer's"] is True
    assert said["pandas random, s3", "≥ 4 × the fastest peer"] is False
    assert said["bytes, redis", "≤ 1.3 × raw chunked SET/GET"] is None


def test_who_cannot_take_a_payload_is_shown(bench: SimpleNamespace) -> None:
    results = [
        one("ours, s3", 1, 1, payload="numpy"),
        {"payload": "numpy", "contestant": "Airflow default", "refused": "TypeError: no"},
    ]
    table = bench.report.table(results, "numpy")
    assert "| Airflow default | cannot take it: TypeError: no |" in table
    widths = {line.count("|") for line in table.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_a_figure_says_how_far_it_spreads(bench: SimpleNamespace) -> None:
    assert bench.figures.spread([1.0]) is None
    assert bench.figures.spread([0.9, 1.0, 1.3]) == pytest.approx(0.2)
    assert bench.figures.seconds_of([0.9, 1.0, 1.3]) == "1.00 ± 0.20 s"
    assert bench.figures.seconds_of([0.005]) == "5.00 ms"
    assert bench.figures.seconds_of([]) == ""


def test_a_run_says_that_its_spread_is_wide(bench: SimpleNamespace) -> None:
    wide = [one("ours, s3", 1, 0), one("ours, s3", 2, 0)]
    steady = [one("ours, s3", 1, 0, payload="bytes"), one("ours, s3", 1, 0, payload="bytes")]
    assert "Measure again" in bench.figures.steadiness({"transfers": [*wide, *steady]})
    assert "Measure again" not in bench.figures.steadiness({"transfers": steady})
    assert "no spread is known" in bench.figures.steadiness({"transfers": wide[:1]})


def test_the_readme_names_the_error_of_who_cannot_take_a_payload(bench: SimpleNamespace) -> None:
    refused = {"payload": "numpy", "contestant": "Airflow object storage", "refused": "TypeError: no"}
    whole = {
        "machine": {"cores": 2, "processor": "x", "memory_gib": 1, "system": "y", "python": "3"},
        "rounds": 2,
        "transfers": [one("ours, s3", 0.01, 0.01, payload="numpy"), refused],
    }
    section = bench.readme.section(whole)
    assert "| numpy, float64, 1000 × 4000 | 20.0 ms | – | TypeError | – |" in section


def test_all_that_is_measured_has_a_table(bench: SimpleNamespace) -> None:
    def run(way: str, seconds: float, **more: Any) -> dict[str, Any]:
        return {"payload": "json records", "contestant": "ours, s3", "way": way, **more, "seconds": seconds}

    ways = {"without": 100_000, "lazy": 150_000, "value": 160_000}
    small = {"payload": "small", "way": "40", "seconds": 9.0}
    tool = {"seconds": 1.0, "types": "2 × str"}
    whole = {
        "machine": {"cores": 2, "processor": "x", "memory_gib": 1, "system": "y", "python": "3"},
        "rounds": 2,
        "transfers": [
            one("ours, s3", 1, 1),
            {"payload": "pandas mixed", "contestant": "limit", "server_put": 1.0, "server_get": 1.0}
            | {f"{who}_{way}": 1.0 for who in ("obstore", "boto3") for way in ("put", "get")},
        ],
        "trips": [{"payload": "small dict", "contestant": "ours, s3", "push": 1, "pull": 1}],
        "far": [one("ours, s3", 1, 1, network="5 ms"), one("limit", 1, 1, network="5 ms")],
        "formats": [
            {
                "format": "arrow",
                "suffix": ".arrow",
                "stored": 1e6,
                "pandas": tool,
                "polars": tool,
                "duckdb": tool,
            }
        ],
        "end_to_end": [run(way, 0.0) | {"seconds": [1.0, 2.0]} for way in ways],
        "scheduled": [
            *(run(way, 2.0, peak_kib=peak, value_kib=50_000) for way, peak in ways.items()),
            {"contestant": "ours, s3, small in the row", **small},
            {"contestant": "Airflow default", **small},
        ],
    }
    report = bench.report
    assert "| pandas mixed | 1.00 s | 1.00 s |" in report.server_table(whole)
    assert "| pandas mixed | ours, s3 | 2.00 s |  |" in report.far_table(whole)
    assert "2 × str (1.00 s)" in report.formats_table(whole)
    assert "| json records | ours, s3 | value | 1.50 ± 0.50 s | 1.00 |" in report.end_to_end_table(whole)
    assert "| json records | ours, s3 | value | 2.00 s | 51 | 61 |" in report.scheduled_table(whole)
    met = {work: met for work, _, _, met in bench.targets.targets(whole)}
    assert met["scheduler, json records, plain: memory of the consumer"] is True
    assert met["scheduler, 40 small tasks"] is True
    section = bench.readme.section(whole)
    assert "40 small tasks that hand over a dict: 9.00 s with `s3`, 9.00 s with Airflow's own." in section
    assert "| `arrow` (.arrow) | 1.00 s | 1.00 s | 1.0 | 2 × str | 2 × str | 2 × str |" in section


def test_a_network_counts_who_waits(bench: SimpleNamespace) -> None:
    """Ten pieces in a row are one turn; ten questions, each after its answer, are ten."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(100):
            writer.write(piece)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def talk() -> list[int]:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        network = bench.network.Network(trip=0.05)
        async with server, network.leading_to(server.sockets[0].getsockname()[1]) as port:
            return await ask(network, *await asyncio.open_connection("127.0.0.1", port))

    async def ask(network: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[int]:
        counted = []
        for waits in (False, True):
            for _ in range(10):
                writer.write(b"x" * 10)
                await writer.drain()
                if waits:
                    await reader.readexactly(10)
            if not waits:
                await reader.readexactly(100)
            counted.append(network.turns)
        writer.close()
        await writer.wait_closed()
        if others := asyncio.all_tasks() - {
            asyncio.current_task()
        }:  # those see that the connection is closed
            await asyncio.wait(others)
        return counted

    assert asyncio.run(talk()) == [1, 11]


@pytest.mark.bench
def test_make_bench_measures() -> None:
    subprocess.run(["make", "bench", "QUICK=1"], cwd=ROOT, check=True)
    whole = json.loads((ROOT / "build/bench/bench.json").read_text())
    measured = {r["contestant"] for r in whole["transfers"] if "push" in r}
    assert {"ours, s3", "ours, redis", "ours, db", "Airflow object storage"} <= measured
    assert all(r["exact"] for r in whole["transfers"] if "push" in r and "ours" in r["contestant"])
