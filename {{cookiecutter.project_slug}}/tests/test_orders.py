"""The pipeline of SQL: revenue of customers, and who brings most of it."""

from __future__ import annotations

import csv
import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import pandas as pd
from exclusive_xcom.testing.fixtures import Runner

DATA = Path(__file__).resolve().parents[1] / "data"


def rows(name: str) -> list[dict[str, str]]:
    """A CSV file of data/."""
    with (DATA / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def revenue(since: str, states: set[str]) -> dict[str, float]:
    """Revenue by customer's name, without a database."""
    names = {row["customer_id"]: row["name"] for row in rows("customers.csv")}
    found: dict[str, int] = defaultdict(int)
    for row in rows("orders.csv"):
        if row["day"] >= since and row["status"] in states:
            found[names[row["customer_id"]]] += int(row["quantity"]) * int(row["price_cents"])
    return {name: cents / 100 for name, cents in found.items()}


def test_the_query_result_is_handed_over_as_a_frame_and_main_customers_are_found(run: Runner) -> None:
    done = run("orders")
    assert done.value("load") == {"customers": 40, "orders": 600}
    frame, expected = done.value("revenue"), revenue("2024-01-01", {"paid"})
    assert list(frame.columns) == ["name", "country", "orders", "revenue"]
    assert dict(zip(frame["name"], frame["revenue"], strict=True)) == expected
    assert frame["revenue"].is_monotonic_decreasing
    assert [row["name"] for row in done.table("revenue.csv")] == frame["name"].to_list()

    # They bring eighty percent, and not one more is needed.
    everything = sum(expected.values())
    main = [float(row["revenue"]) for row in done.table("main_customers.csv")]
    assert sum(main[:-1]) < 0.8 * everything <= sum(main)
    assert done.value("report") == {
        "customers": len(expected),
        "main customers": len(main),
        "revenue": round(everything, 2),
    }


def test_parameters_are_variables_rendered_when_the_task_runs(run: Runner) -> None:
    frame = run("orders", orders_since="2024-10-01", orders_include_open="true").value("revenue")
    expected = revenue("2024-10-01", {"paid", "open"})
    assert dict(zip(frame["name"], frame["revenue"], strict=True)) == expected
    assert expected != revenue("2024-10-01", {"paid"})


def test_the_tables_are_where_the_connection_leads(run: Runner, tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    run("orders", connections={"project_sqlite": {"conn_type": "sqlite", "host": str(file)}})
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT count(*) FROM orders").fetchone() == (600,)


def test_main_customers_bring_eighty_percent(run: Runner) -> None:
    function = run.function("orders", "main_customers")  # the function below the task, called by itself
    frame = pd.DataFrame({"name": ["a", "b", "c"], "revenue": [70.0, 20.0, 10.0]})
    assert function(frame)["name"].to_list() == ["a", "b"]
