"""The dashboard for Grafana in the docs: its own library reads it, and Prometheus takes its queries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from exclusive_xcom.metrics import METRICS

FILE = Path(__file__).resolve().parents[2] / "engine" / "docs" / "grafana.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
VARIABLES = {"prefix": "airflow", "dag_id": ".*", "__rate_interval": "5m", "__range": "24h"}
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
# What Prometheus makes of the dots; and what the StatsD exporter and OpenTelemetry add to a name.
IN_PROMETHEUS = {
    f"{name.replace('.', '_')}{end}": name
    for name, kind in METRICS.items()
    for end in (("(_total)?",) if kind == "counter" else ("_count", "_sum", ""))
}


def filled_in(query: str) -> str:
    """A query with a value for each of the dashboard's variables."""
    for name, value in VARIABLES.items():
        query = re.sub(rf"\$(?:{name}\b|\{{{name}\}})", value, query)
    assert "$" not in query
    return query


def left_out(given: Any, read: Any, path: str = "") -> Iterator[str]:
    """The places of what was given and is not there, or is something else."""
    if isinstance(given, dict) and isinstance(read, dict):
        for name, item in given.items():
            yield from left_out(item, read.get(name), f"{path}/{name}")
    elif isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        for number, (one, other) in enumerate(zip(given, read, strict=True)):
            yield from left_out(one, other, f"{path}/{number}")
    elif given != read:
        yield path


def test_grafana_reads_all_of_it() -> None:
    """What its library does not know it leaves out, and adds what was not said."""
    read = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(DASHBOARD)))
    assert [*left_out(DASHBOARD, read)] == []
    assert [*left_out({**DASHBOARD, "titel": "x"}, read)] == ["/titel"]


@pytest.mark.parametrize("query", QUERIES)
def test_prometheus_takes_each_query(query: str) -> None:
    promql_parser.parse(filled_in(query))


def test_each_metric_is_one_that_is_sent_and_each_that_is_sent_is_shown() -> None:
    asked = {name for query in QUERIES for name in re.findall(r'\$\{prefix\}_([\w()?]+)"', query)}
    assert asked <= IN_PROMETHEUS.keys()
    assert {IN_PROMETHEUS[name] for name in asked} == METRICS.keys()


def test_each_legend_is_of_labels_that_the_query_keeps() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            kept = {label for by in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in by.split(", ")}
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) == kept


def test_its_panels_do_not_overlap() -> None:
    taken = [
        (x, y)
        for at in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(taken) == len(set(taken)) and max(x for x, _ in taken) < 24
